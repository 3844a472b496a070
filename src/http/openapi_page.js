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

// "1 to 100 characters, default 20"
const rulesOf = (schema) => {
  const rules = [];
  const range = (low, high, unit) => {
    if (low !== undefined && high !== undefined) rules.push(`${low} to ${high}${unit}`);
    else if (low !== undefined) rules.push(`at least ${low}${unit}`);
    else if (high !== undefined) rules.push(`at most ${high}${unit}`);
  };
  range(schema.minimum, schema.maximum, '');
  range(schema.minLength, schema.maxLength, ' characters');
  range(schema.minItems, schema.maxItems, ' items');
  if (schema.uniqueItems) rules.push('no item twice');
  if (schema.pattern) rules.push(`like ${schema.pattern}`);
  if (schema.default !== undefined) rules.push(`default ${JSON.stringify(schema.default)}`);
  if (schema.readOnly) rules.push('only in answers');
  if (schema.writeOnly) rules.push('only in requests');
  if (schema.deprecated) rules.push('deprecated');
  return rules.join(', ');
};

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

const rulesNode = (schema) => {
  const rules = rulesOf(schema);
  return rules ? make('span', { className: 'rules' }, rules) : null;
};

const head = (...titles) => make('tr', {}, ...titles.map((title) => make('th', { scope: 'col' }, title)));

const schemaTable = (schema) => {
  const at = resolve(schema);
  if (!at.properties) return make('p', {}, typeOf(schema), rulesNode(at));
  const table = make('table', {}, head('Member', 'Kind', 'About'));
  for (const [name, member] of Object.entries(at.properties)) {
    const required = (at.required || []).includes(name) && !member.readOnly;
    table.append(make('tr', {}, make('td', {}, make('code', {}, name),
      required ? make('span', { className: 'required', title: 'required' }, ' *') : null),
    make('td', { className: 'kind' }, typeOf(member)),
    make('td', {}, member.description || resolve(member).description || '', rulesNode({ ...resolve(member), ...member }))));
  }
  return table;
};

const section = (title, ...nodes) => make('section', {}, make('h3', {}, title), ...nodes);

const answersTable = (operation) => {
  const table = make('table', {}, head('Status', 'Answer'));
  // Numbers come before "default" by themselves.
  for (const [status, reply] of Object.entries(operation.responses)) {
    const content = reply.content && Object.entries(reply.content)[0];
    const fields = Object.keys(reply.headers || {});
    table.append(make('tr', {},
      make('td', {}, make('span', { className: status < 400 ? 'ok' : 'failed' }, status === 'default' ? 'other' : status)),
      make('td', {}, reply.description,
        content ? make('span', { className: 'rules' }, `${typeOf(content[1].schema)} (${content[0]})`) : null,
        fields.length ? make('span', { className: 'rules' }, `with ${fields.join(', ')}`) : null)));
  }
  return table;
};

const pretty = (text, type) => {
  if (!/json/.test(type || '')) return text;
  try {
    // Numbers of more than 53 bits would be changed.
    return /\d{16}/.test(text) ? text : JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};

const labelled = (id, title, kind, required, field, ...hints) => {
  field.id = id;
  return make('div', {}, make('label', { htmlFor: id }, title,
    required ? make('span', { className: 'required', title: 'required' }, ' *') : null, ' ',
    make('span', { className: 'kind' }, kind)), field, ...hints);
};

const parameterField = (operation, parameter) => {
  const input = make('input', { name: parameter.name, required: parameter.in === 'path', autocomplete: 'off', spellcheck: false });
  const schema = resolve(parameter.schema), hints = [];
  if (schema.default !== undefined) input.placeholder = schema.default;
  if (parameter.description) hints.push(make('p', { className: 'hint' }, parameter.description));
  const rules = rulesOf({ ...schema, default: undefined });
  if (rules) hints.push(make('p', { className: 'hint' }, rules));
  return [input, labelled(`${operation.operationId}-${parameter.name}`, make('code', {}, parameter.name),
    `${parameter.in}, ${typeOf(parameter.schema)}`, parameter.required, input, ...hints)];
};

// What the form's fields come to: target and header fields.
const requestOf = (path, inputs) => {
  const query = new URLSearchParams(), headers = {};
  let target = path;
  for (const [parameter, input] of inputs) {
    if (parameter.in === 'path') {
      target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    } else if (input.value !== '' && parameter.in === 'query') {
      for (const value of parameter.schema.type === 'array' ? input.value.split(',') : [input.value]) query.append(parameter.name, value);
    } else if (input.value !== '') {
      headers[parameter.name] = input.value;
    }
  }
  const text = query.toString();
  return { url: new URL('.' + target + (text ? `?${text}` : ''), document.baseURI), headers };
};

// The form of one operation: parameters, body, and the answer.
const tryIt = (method, path, operation) => {
  const inputs = [], form = make('form');
  for (const parameter of operation.parameters || []) {
    const [input, node] = parameterField(operation, parameter);
    inputs.push([parameter, input]);
    form.append(node);
  }
  let body = null, media = null;
  const content = operation.requestBody && operation.requestBody.content;
  if (content) {
    media = Object.keys(content)[0];
    body = make('textarea', { rows: 6, value: JSON.stringify(example(content[media].schema), null, 2), spellcheck: false });
    form.append(labelled(`${operation.operationId}-body`, 'Body', media, true, body));
  }
  const button = make('button', { type: 'submit' }, 'Send');
  const line = make('p', { className: 'status', hidden: true }), answer = make('pre', { hidden: true });
  line.setAttribute('aria-live', 'polite');
  form.append(button, line, answer);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const { url, headers } = requestOf(path, inputs);
    if (body) headers['Content-Type'] = media;
    button.disabled = true;
    line.hidden = false;
    line.className = 'status';
    line.textContent = '…';
    answer.hidden = true;
    try {
      const began = performance.now();
      const reply = await fetch(url, { method: method.toUpperCase(), headers, cache: 'no-store', body: body ? body.value : undefined });
      const raw = await reply.text();
      line.className = `status ${reply.status < 400 ? 'ok' : 'failed'}`;
      line.textContent = `${reply.status} ${reply.statusText} in ${Math.round(performance.now() - began)} ms`;
      answer.textContent = `${[...reply.headers].map(([name, value]) => `${name}: ${value}`).join('\n')}\n\n`
        + pretty(raw, reply.headers.get('content-type'));
      answer.hidden = false;
    } catch (error) {
      line.className = 'status failed';
      line.textContent = String(error);
    }
    button.disabled = false;
  });
  return section('Try it', form);
};

const showOperation = (method, path, operation) => {
  const box = make('div', { className: 'operation' });
  const details = make('details', { id: operation.operationId }, make('summary', {},
    make('span', { className: `method ${method}` }, method), make('span', { className: 'path' }, path),
    make('span', { className: 'about' }, operation.summary || '')), box);
  details.dataset.text = `${method} ${path} ${operation.summary || ''} ${operation.operationId}`.toLowerCase();
  // Filled when it is opened: a page of hundreds of operations stays quick.
  details.addEventListener('toggle', () => {
    if (!details.open || box.hasChildNodes()) return;
    const content = operation.requestBody && operation.requestBody.content;
    box.append(make('div', {}, content ? section('Body', schemaTable(Object.values(content)[0].schema)) : null,
      section('Answers', answersTable(operation))), make('div', {}, tryIt(method, path, operation)));
  });
  return details;
};

const show = () => {
  const main = document.getElementById('operations'), groups = new Map();
  document.title = api.info.title;
  document.getElementById('title').textContent = api.info.title;
  document.getElementById('version').textContent = api.info.version;
  document.getElementById('version').hidden = false;
  document.getElementById('description').textContent = api.info.description || '';
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const tag = (operation.tags || [''])[0];
      if (!groups.has(tag)) groups.set(tag, make('section', {}, tag ? make('h2', {}, tag) : null));
      groups.get(tag).append(showOperation(method, path, operation));
    }
  }
  main.replaceChildren(...groups.values());
  openNamed();
};

const openNamed = () => {
  const named = document.getElementById(location.hash.slice(1));
  if (named && named.tagName === 'DETAILS') named.open = true;
};
window.addEventListener('hashchange', openNamed);

document.getElementById('filter').addEventListener('input', (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const node of document.querySelectorAll('details')) node.hidden = !node.dataset.text.includes(wanted);
  for (const group of document.querySelectorAll('main > section')) group.hidden = !group.querySelector('details:not([hidden])');
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
