'use strict';
// Shows the operations of openapi.json and sends requests to them. All text goes into the page as text, never as markup.

const make = (tag, attributes = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};

let api;

const resolve = (schema) => {
  for (let i = 0; schema && schema.$ref && i < 10; i++) {
    schema = schema.$ref.slice(2).split('/').reduce(
      (at, key) => at && at[key.replaceAll('~1', '/').replaceAll('~0', '~')], api);
  }
  return schema || {};
};

const typeOf = (schema) => {
  const at = resolve(schema);
  const type = Array.isArray(at.type) ? at.type.join(' or ') : at.type;
  if (at.type === 'array') return `list of ${typeOf(at.items)}`;
  if (schema.$ref) return schema.$ref.split('/').pop();
  return [at.enum ? at.enum.map(String).join(' | ') : type || 'anything', at.format].filter(Boolean).join(', ');
};

const rulesOf = (schema) => ['minimum', 'maximum', 'minLength', 'maxLength', 'minItems', 'maxItems', 'pattern', 'default',
  'readOnly', 'writeOnly', 'uniqueItems']
  .filter((rule) => schema[rule] !== undefined)
  .map((rule) => `${rule}: ${typeof schema[rule] === 'string' ? schema[rule] : JSON.stringify(schema[rule])}`)
  .join(', ');

// An example of a schema's value, to start from.
const example = (schema, depth = 0) => {
  const at = resolve(schema);
  if (at.examples && at.examples.length) return at.examples[0];
  if (at.default !== undefined) return at.default;
  if (at.enum) return at.enum[0];
  if (at.anyOf) return example(at.anyOf[0], depth + 1);
  const type = Array.isArray(at.type) ? at.type[0] : at.type;
  if (type === 'object' && depth < 6) {
    const out = {};
    for (const [name, member] of Object.entries(at.properties || {})) {
      if (!resolve(member).readOnly && !member.readOnly) out[name] = example(member, depth + 1);
    }
    return out;
  }
  if (type === 'array') return [];
  if (type === 'object') return {};
  if (type === 'integer' || type === 'number') return at.minimum > 0 ? at.minimum : 0;
  if (type === 'boolean') return false;
  if (type !== 'string') return null;
  return { email: 'ada@example.org', uuid: '00000000-0000-4000-8000-000000000000', uri: 'https://example.org/',
    'date-time': new Date(0).toISOString(), date: '2026-01-31' }[at.format] || '';
};

const schemaTable = (schema) => {
  const at = resolve(schema);
  if (!at.properties) return make('p', {}, typeOf(schema), ' ', make('span', { className: 'rules' }, rulesOf(at)));
  const table = make('table', {}, make('tr', {}, make('th', {}, 'Member'), make('th', {}, 'Kind'), make('th', {}, 'About')));
  for (const [name, member] of Object.entries(at.properties)) {
    const required = (at.required || []).includes(name);
    table.append(make('tr', {}, make('td', {}, make('code', {}, name), required ? ' *' : ''),
      make('td', {}, typeOf(member)),
      make('td', {}, member.description || resolve(member).description || '', ' ',
        make('span', { className: 'rules' }, rulesOf({ ...resolve(member), ...member })))));
  }
  return table;
};

const section = (title, ...nodes) => make('section', {}, make('h3', {}, title), ...nodes);

// The form of one operation: parameters, body, and the answer.
const tryIt = (method, path, operation) => {
  const inputs = [];
  const form = make('form');
  for (const parameter of operation.parameters || []) {
    const input = make('input', { name: parameter.name, required: parameter.in === 'path',
      placeholder: typeOf(parameter.schema) });
    inputs.push([parameter, input]);
    form.append(make('p', {}, make('label', {}, make('code', {}, parameter.name), ` (${parameter.in}) `, input), ' ',
      parameter.description || '', ' ', make('span', { className: 'rules' }, rulesOf(parameter.schema))));
  }
  let body = null, media = null;
  const content = operation.requestBody && operation.requestBody.content;
  if (content) {
    media = Object.keys(content)[0];
    const value = method === 'patch' ? {} : example(content[media].schema);
    body = make('textarea', { rows: 6, value: JSON.stringify(value, null, 2) });
    form.append(make('p', {}, make('label', {}, `Body (${media})`, body)));
  }
  const answer = make('pre', { hidden: true });
  answer.setAttribute('aria-live', 'polite');
  form.append(make('button', { type: 'submit' }, 'Send'), answer);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const query = new URLSearchParams(), headers = {};
    let target = path;
    for (const [parameter, input] of inputs) {
      if (parameter.in === 'path') {
        target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      } else if (input.value !== '') {
        if (parameter.in === 'query') {
          const values = parameter.schema.type === 'array' ? input.value.split(',') : [input.value];
          for (const value of values) query.append(parameter.name, value);
        } else {
          headers[parameter.name] = input.value;
        }
      }
    }
    if (body) headers['Content-Type'] = media;
    answer.hidden = false;
    answer.textContent = '…';
    try {
      const began = performance.now();
      const text = query.toString();
      const reply = await fetch(new URL('.' + target + (text ? `?${text}` : ''), document.baseURI),
        { method: method.toUpperCase(), headers, body: body ? body.value : undefined });
      const raw = await reply.text();
      const shown = [...reply.headers].map(([name, value]) => `${name}: ${value}`).join('\n');
      answer.textContent = `${reply.status} ${reply.statusText} (${Math.round(performance.now() - began)} ms)\n${shown}\n\n${raw}`;
    } catch (error) {
      answer.textContent = String(error);
    }
  });
  return section('Try it', form);
};

const showOperation = (method, path, operation) => {
  const box = make('div');
  const details = make('details', { id: operation.operationId }, make('summary', {},
    make('span', { className: `method ${method}` }, method), make('code', {}, path), ' ', operation.summary || ''), box);
  details.dataset.text = `${method} ${path} ${operation.summary || ''} ${operation.operationId}`.toLowerCase();
  // Filled when it is opened: a page of hundreds of operations stays quick.
  details.addEventListener('toggle', () => {
    if (!details.open || box.hasChildNodes()) return;
    const content = operation.requestBody && operation.requestBody.content;
    if (content) box.append(section('Body', schemaTable(Object.values(content)[0].schema)));
    const table = make('table', {}, make('tr', {}, make('th', {}, 'Status'), make('th', {}, 'Answer')));
    for (const [status, reply] of Object.entries(operation.responses)) {
      const first = reply.content && Object.entries(reply.content)[0];
      table.append(make('tr', {}, make('td', {}, status), make('td', {}, reply.description, ' ',
        make('span', { className: 'rules' }, first ? `${first[0]}: ${typeOf(first[1].schema)}` : ''))));
    }
    box.append(section('Answers', table), tryIt(method, path, operation));
  });
  return details;
};

const show = () => {
  const main = document.getElementById('operations'), groups = new Map();
  document.title = api.info.title;
  document.getElementById('title').textContent = `${api.info.title} ${api.info.version}`;
  document.getElementById('description').textContent = api.info.description || '';
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const tag = (operation.tags || [''])[0];
      if (!groups.has(tag)) groups.set(tag, make('section', {}, tag ? make('h2', {}, tag) : null));
      groups.get(tag).append(showOperation(method, path, operation));
    }
  }
  main.replaceChildren(...groups.values());
  const opened = document.getElementById(location.hash.slice(1));
  if (opened && opened.tagName === 'DETAILS') opened.open = true;
};

document.getElementById('filter').addEventListener('input', (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const node of document.querySelectorAll('details')) node.hidden = !node.dataset.text.includes(wanted);
});

fetch('openapi.json').then((reply) => {
  if (!reply.ok) throw new Error(`openapi.json: ${reply.status}`);
  return reply.json();
}).then((json) => {
  api = json;
  show();
}).catch((error) => {
  document.getElementById('state').textContent = String(error);
});
