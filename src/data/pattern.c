/* Patterns: Thompson's construction over sets of code points, matched by walking all states at once (Pike), or, when
 * the deterministic automaton is small, by its table. Both are linear in the text. A compiled pattern never changes, so
 * that threads may share it. */
#include "pattern_internal.h"

#include <proa/text.h>

enum {
    /* Calls of emit: repetitions of nothing make no states, but would still take time. */
    EMIT_STEPS_MAX = 16 * PROA_PATTERN_STATES_MAX,
    NO_STATE = UINT16_MAX,
};

struct emitter {
    struct proa_arena *arena;
    struct pattern_state *states;
    uint32_t count;
    uint32_t cap;
    uint32_t steps;
    int error;
};

static uint16_t new_state(struct emitter *e, enum pattern_op op, uint16_t next)
{
    if (e->error)
        return NO_STATE;
    if (e->count == PROA_PATTERN_STATES_MAX) {
        e->error = PROA_ETOOLARGE;
        return NO_STATE;
    }
    if (e->count == e->cap) {
        uint32_t cap = e->cap ? e->cap * 2 : 32;
        struct pattern_state *states =
            proa_arena_grow(e->arena, e->states, e->cap * sizeof *states, cap * sizeof *states);

        if (!states) {
            e->error = PROA_ENOMEM;
            return NO_STATE;
        }
        e->states = states;
        e->cap = cap;
    }
    e->states[e->count] = (struct pattern_state){.op = op, .next = next, .other = next};
    return (uint16_t)e->count++;
}

static uint16_t new_split(struct emitter *e, uint16_t next, uint16_t other)
{
    uint16_t state = new_state(e, STATE_SPLIT, next);

    if (state != NO_STATE)
        e->states[state].other = other;
    return state;
}

static uint16_t emit(struct emitter *e, const struct pattern_node *node, uint16_t next);

/* x{least,most} is least times x, then x* or (x(x(…)?)?)?. */
static uint16_t emit_repeat(struct emitter *e, const struct pattern_node *node, uint16_t next)
{
    uint16_t at = next;
    unsigned copies = node->least;

    if (node->most == PATTERN_REPEAT_FOREVER) {
        uint16_t loop = new_split(e, next, next);
        uint16_t body = emit(e, node->child, loop);

        if (e->error)
            return NO_STATE;
        e->states[loop].next = body;
        at = copies > 0 ? body : loop;
        copies -= copies > 0;
    } else {
        for (unsigned i = node->least; i < node->most && !e->error; i++)
            at = new_split(e, emit(e, node->child, at), next);
    }
    for (; copies > 0 && !e->error; copies--)
        at = emit(e, node->child, at);
    return at;
}

/* Backwards: the states of a node, given what follows it. @returns where the node begins. */
static uint16_t emit(struct emitter *e, const struct pattern_node *node, uint16_t next)
{
    uint16_t at = next;

    if (++e->steps > EMIT_STEPS_MAX && !e->error)
        e->error = PROA_ETOOLARGE;
    if (e->error)
        return NO_STATE;
    switch (node->kind) {
    case NODE_SET:
        at = new_state(e, STATE_SET, next);
        if (at != NO_STATE)
            e->states[at].set = node->set;
        break;
    case NODE_START: at = new_state(e, STATE_START, next); break;
    case NODE_END: at = new_state(e, STATE_END, next); break;
    case NODE_SEQUENCE:
        for (const struct pattern_node *child = node->child; child; child = child->next)
            at = emit(e, child, at);
        break;
    case NODE_CHOICE:
        at = emit(e, node->child, next);
        for (const struct pattern_node *child = node->child->next; child; child = child->next)
            at = new_split(e, emit(e, child, next), at);
        break;
    case NODE_REPEAT: at = emit_repeat(e, node, next); break;
    }
    return at;
}

int proa_pattern_compile(struct proa_arena *arena, proa_str text, const struct proa_pattern **ret_pattern,
                         struct proa_error *err)
{
    struct emitter e = {.arena = arena};
    struct proa_pattern *pattern;
    struct pattern_node *root = NULL;
    uint16_t start;

    PROA_TRY(pattern_parse(arena, text, &root, err));
    start = emit(&e, root, new_state(&e, STATE_MATCH, 0));
    if (e.error == PROA_ETOOLARGE)
        return proa_fail(err, PROA_ETOOLARGE, "pattern: it needs more than %d states", PROA_PATTERN_STATES_MAX);
    pattern = e.error ? NULL : proa_arena_new(arena, struct proa_pattern);
    if (!pattern)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    pattern->states = e.states;
    pattern->count = e.count;
    pattern->start = start;
    pattern->table = pattern_table_build(arena, pattern);
    *ret_pattern = pattern;
    return 0;
}

/* -- Walking all states at once --------------------------------------------------------------------------------- */

int pattern_walk_init(struct pattern_walk *walk, const struct proa_pattern *pattern, struct proa_arena *arena)
{
    *walk = (struct pattern_walk){.pattern = pattern};
    walk->members = proa_arena_calloc(arena, pattern->count, sizeof *walk->members);
    walk->marks = proa_arena_calloc(arena, pattern->count, sizeof *walk->marks);
    walk->stack = proa_arena_calloc(arena, pattern->count + 1, sizeof *walk->stack);
    return walk->members && walk->marks && walk->stack ? 0 : PROA_ENOMEM;
}

void pattern_walk_clear(struct pattern_walk *walk)
{
    walk->count = 0;
    walk->matched = false;
    if (++walk->round == 0) {
        memset(walk->marks, 0, walk->pattern->count * sizeof *walk->marks);
        walk->round = 1;
    }
}

static void reach(struct pattern_walk *walk, uint32_t *depth, uint16_t state)
{
    if (walk->marks[state] == walk->round)
        return;
    walk->marks[state] = walk->round;
    walk->stack[(*depth)++] = state;
}

void pattern_walk_add(struct pattern_walk *walk, uint16_t state, bool at_start, bool at_end)
{
    uint32_t depth = 0;

    reach(walk, &depth, state);
    while (depth > 0) {
        uint16_t at = walk->stack[--depth];
        const struct pattern_state *s = &walk->pattern->states[at];

        switch (s->op) {
        case STATE_SPLIT:
            reach(walk, &depth, s->other);
            reach(walk, &depth, s->next);
            break;
        case STATE_START:
            if (at_start)
                reach(walk, &depth, s->next);
            break;
        case STATE_END:
            if (at_end)
                reach(walk, &depth, s->next);
            else
                walk->members[walk->count++] = at;
            break;
        case STATE_MATCH: walk->matched = true; break;
        default: walk->members[walk->count++] = at; break;
        }
    }
}

/* The end of the text: what waited for it goes on. */
static bool matches_at_end(struct pattern_walk *now, struct pattern_walk *next, bool at_start)
{
    pattern_walk_clear(next);
    for (uint32_t i = 0; i < now->count; i++)
        if (now->pattern->states[now->members[i]].op == STATE_END)
            pattern_walk_add(next, now->pattern->states[now->members[i]].next, at_start, true);
    return next->matched;
}

/* Invalid UTF-8, which the contract excludes, counts as U+FFFD, byte by byte. */
static size_t next_code_point(proa_str rest, uint32_t *ret_code)
{
    size_t len = proa_utf8_next(rest, ret_code);

    if (len > 0)
        return len;
    *ret_code = 0xfffd;
    return 1;
}

static bool matches_by_walk(const struct proa_pattern *pattern, struct proa_arena *scratch, proa_str text)
{
    struct pattern_walk walks[2], *now = &walks[0], *next = &walks[1];
    size_t at = 0;

    if (pattern_walk_init(now, pattern, scratch) < 0 || pattern_walk_init(next, pattern, scratch) < 0)
        return false;
    pattern_walk_clear(now);
    pattern_walk_add(now, pattern->start, true, false);
    while (!now->matched && at < text.len) {
        struct pattern_walk *swapped = now;
        uint32_t code;

        at += next_code_point(proa_str_n(text.ptr + at, text.len - at), &code);
        pattern_walk_clear(next);
        for (uint32_t i = 0; i < now->count; i++) {
            const struct pattern_state *s = &pattern->states[now->members[i]];

            if (s->op == STATE_SET && pattern_set_has(&s->set, code))
                pattern_walk_add(next, s->next, false, false);
        }
        /* It may also begin here. */
        pattern_walk_add(next, pattern->start, false, false);
        now = next;
        next = swapped;
    }
    return now->matched || matches_at_end(now, next, text.len == 0);
}

/* -- By the table ----------------------------------------------------------------------------------------------- */

static uint32_t class_of(const struct pattern_table *table, uint32_t code)
{
    uint32_t low = 0, high = table->intervals;

    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;

        if (table->starts[middle] <= code)
            low = middle;
        else
            high = middle;
    }
    return table->interval_class[low];
}

static bool matches_by_table(const struct pattern_table *table, proa_str text)
{
    const uint16_t *next = table->next;
    uint32_t state = 0, code;
    size_t at = 0;
    uint8_t verdict;

    while (at < text.len) {
        unsigned char c = (unsigned char)text.ptr[at];

        if (PROA_LIKELY(c < 0x80)) {
            state = next[state + table->ascii[c]];
            at++;
        } else {
            at += next_code_point(proa_str_n(text.ptr + at, text.len - at), &code);
            state = next[state + class_of(table, code)];
        }
    }
    verdict = table->verdicts[state / table->classes];
    return (verdict & (VERDICT_MATCHED | VERDICT_AT_END)) != 0;
}

bool proa_pattern_matches(const struct proa_pattern *pattern, struct proa_arena *scratch, proa_str text)
{
    if (pattern->table)
        return matches_by_table(pattern->table, text);
    return matches_by_walk(pattern, scratch, text);
}
