/* Patterns from text: what ECMA-262 (with its u flag) and RE2 read alike is taken, all else is refused. */
#include "pattern_internal.h"

#include <proa/text.h>
#include <stdlib.h>

struct parser {
    struct proa_arena *arena;
    proa_str text;
    size_t at;
    struct proa_error *err;
};

static int refuse(struct parser *p, int code, const char *why)
{
    proa_fail(p->err, code, "pattern, at byte %zu: %s", p->at + 1, why);
    return code; /* which tells the analyser that it is not 0 */
}

static int out_of_memory(struct parser *p)
{
    proa_fail(p->err, PROA_ENOMEM, "memory is out");
    return PROA_ENOMEM;
}

static char peek(const struct parser *p)
{
    return p->at < p->text.len ? p->text.ptr[p->at] : '\0';
}

static bool at_end(const struct parser *p)
{
    return p->at == p->text.len;
}

static bool accept_char(struct parser *p, char c)
{
    if (at_end(p) || peek(p) != c)
        return false;
    p->at++;
    return true;
}

static struct pattern_node *new_node(struct parser *p, enum pattern_node_kind kind)
{
    struct pattern_node *node = proa_arena_new(p->arena, struct pattern_node);

    if (node)
        node->kind = kind;
    return node;
}

/* -- Sets ------------------------------------------------------------------------------------------------------- */

static int add_range(struct parser *p, struct pattern_set *set, uint32_t first, uint32_t last)
{
    struct pattern_range *ranges =
        proa_arena_grow(p->arena, set->ranges, set->count * sizeof *ranges, (set->count + 1) * sizeof *ranges);

    if (!ranges)
        return out_of_memory(p);
    ranges[set->count] = (struct pattern_range){first, last};
    set->ranges = ranges;
    set->count++;
    return 0;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct pattern_range *x = a, *y = b;

    return (x->first > y->first) - (x->first < y->first);
}

/* Sorts, and joins what touches. */
static void normalise(struct pattern_set *set)
{
    uint32_t kept = 0;

    if (set->count == 0)
        return;
    qsort(set->ranges, set->count, sizeof *set->ranges, compare_ranges);
    for (uint32_t i = 1; i < set->count; i++) {
        struct pattern_range *last = &set->ranges[kept];

        if (set->ranges[i].first > last->last + 1)
            set->ranges[++kept] = set->ranges[i];
        else if (set->ranges[i].last > last->last)
            last->last = set->ranges[i].last;
    }
    set->count = kept + 1;
}

static int complement(struct parser *p, struct pattern_set *set)
{
    struct pattern_set out = {0};
    uint32_t from = 0;

    normalise(set);
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->ranges[i].first > from)
            PROA_TRY(add_range(p, &out, from, set->ranges[i].first - 1));
        from = set->ranges[i].last + 1;
    }
    if (from <= PATTERN_CODE_POINT_MAX)
        PROA_TRY(add_range(p, &out, from, PATTERN_CODE_POINT_MAX));
    *set = out;
    return 0;
}

/* Adds \d \w \s or their complements. @returns 1 when `letter` is none of them. */
static int add_shorthand(struct parser *p, struct pattern_set *set, char letter)
{
    static const struct pattern_range digits[] = {{'0', '9'}},
                                      words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
                                      spaces[] = {{'\t', '\r'}, {' ', ' '}};
    struct pattern_set own = {0};
    const struct pattern_range *from;
    size_t count;

    switch (letter | 0x20) {
    case 'd': from = digits, count = PROA_COUNT(digits); break;
    case 'w': from = words, count = PROA_COUNT(words); break;
    case 's': from = spaces, count = PROA_COUNT(spaces); break;
    default: return 1;
    }
    for (size_t i = 0; i < count; i++)
        PROA_TRY(add_range(p, &own, from[i].first, from[i].last));
    if (letter < 'a')
        PROA_TRY(complement(p, &own));
    for (uint32_t i = 0; i < own.count; i++)
        PROA_TRY(add_range(p, set, own.ranges[i].first, own.ranges[i].last));
    return 0;
}

/* What stands behind a backslash and is one code point. */
static int parse_escape(struct parser *p, bool in_class, uint32_t *ret_code)
{
    static const char controls[] = "tnvfr", values[] = "\t\n\v\f\r", syntax[] = "^$\\.*+?()[]{}|/";
    char c = peek(p);
    const char *control = c ? strchr(controls, c) : NULL;

    if (control)
        *ret_code = (unsigned char)values[control - controls];
    else if (c && (strchr(syntax, c) || (in_class && c == '-')))
        *ret_code = (unsigned char)c;
    else
        return refuse(p, PROA_ESYNTAX, "this escape is not in the subset");
    p->at++;
    return 0;
}

static int parse_code_point(struct parser *p, uint32_t *ret_code)
{
    size_t len = proa_utf8_next(proa_str_slice(p->text, p->at, p->text.len), ret_code);

    if (len == 0)
        return refuse(p, PROA_ESYNTAX, "not valid UTF-8");
    p->at += len;
    return 0;
}

/* One member of a class. @returns 1 when it was a shorthand (added already). */
static int parse_class_atom(struct parser *p, struct pattern_set *set, uint32_t *ret_code)
{
    if (accept_char(p, '\\')) {
        int rc = add_shorthand(p, set, peek(p));

        if (rc <= 0) {
            p->at++;
            return rc < 0 ? rc : 1;
        }
        return parse_escape(p, true, ret_code);
    }
    if (peek(p) == '[' && p->at + 1 < p->text.len && strchr(":.=", p->text.ptr[p->at + 1]))
        return refuse(p, PROA_ESYNTAX, "POSIX classes are not in the subset; write \\[ for a bracket");
    return parse_code_point(p, ret_code);
}

/* Behind "[". */
static int parse_class(struct parser *p, struct pattern_set *set)
{
    bool negated = accept_char(p, '^');
    bool first_item = true;

    for (;; first_item = false) {
        uint32_t first = 0, last;
        int rc;

        if (at_end(p))
            return refuse(p, PROA_ESYNTAX, "the class has no end");
        if (accept_char(p, ']')) {
            if (first_item)
                return refuse(p, PROA_ESYNTAX, "an empty class; write \\] for a bracket");
            break;
        }
        rc = parse_class_atom(p, set, &first);
        PROA_TRY(rc);
        last = first;
        if (peek(p) == '-' && p->at + 1 < p->text.len && p->text.ptr[p->at + 1] != ']') {
            if (rc == 1)
                return refuse(p, PROA_ESYNTAX, "a range cannot begin with a shorthand");
            p->at++;
            rc = parse_class_atom(p, set, &last);
            PROA_TRY(rc);
            if (rc == 1 || last < first)
                return refuse(p, PROA_ESYNTAX, "the range's end is below its start or a shorthand");
        }
        if (rc == 0)
            PROA_TRY(add_range(p, set, first, last));
    }
    if (negated)
        PROA_TRY(complement(p, set));
    normalise(set);
    return 0;
}

/* -- The grammar ------------------------------------------------------------------------------------------------ */

static int parse_choice(struct parser *p, int depth, struct pattern_node **ret_node);

static int parse_group(struct parser *p, int depth, struct pattern_node **ret_node)
{
    if (depth == PATTERN_NESTING_MAX)
        return refuse(p, PROA_ETOOLARGE, "groups are nested too deeply");
    if (accept_char(p, '?') && !accept_char(p, ':'))
        return refuse(p, PROA_ESYNTAX, "only (…) and (?:…) are in the subset");
    PROA_TRY(parse_choice(p, depth + 1, ret_node));
    if (!accept_char(p, ')'))
        return refuse(p, PROA_ESYNTAX, "the group has no end");
    return 0;
}

static int parse_set_atom(struct parser *p, char c, struct pattern_set *set)
{
    uint32_t code = 0;

    if (c == '[') {
        p->at++;
        return parse_class(p, set);
    }
    if (c == '.') {
        /* ECMA-262's line terminators. */
        p->at++;
        PROA_TRY(add_range(p, set, '\n', '\n'));
        PROA_TRY(add_range(p, set, '\r', '\r'));
        PROA_TRY(add_range(p, set, 0x2028, 0x2029));
        return complement(p, set);
    }
    if (c == '\\') {
        int rc;

        p->at++;
        rc = add_shorthand(p, set, peek(p));
        if (rc <= 0) {
            p->at++;
            normalise(set);
            return rc;
        }
        PROA_TRY(parse_escape(p, false, &code));
    } else {
        PROA_TRY(parse_code_point(p, &code));
    }
    return add_range(p, set, code, code);
}

static int parse_atom(struct parser *p, int depth, struct pattern_node **ret_node)
{
    char c = peek(p);

    if (accept_char(p, '('))
        return parse_group(p, depth, ret_node);
    if (c == '*' || c == '+' || c == '?')
        return refuse(p, PROA_ESYNTAX, "nothing here to repeat");
    if (c == '{' || c == '}' || c == ']')
        return refuse(p, PROA_ESYNTAX, "this bracket must be escaped");
    *ret_node = new_node(p, c == '^' ? NODE_START : c == '$' ? NODE_END : NODE_SET);
    if (!*ret_node)
        return out_of_memory(p);
    if ((*ret_node)->kind == NODE_SET)
        return parse_set_atom(p, c, &(*ret_node)->set);
    p->at++;
    return 0;
}

static int parse_count(struct parser *p, uint16_t *ret_count)
{
    size_t start = p->at;
    unsigned count = 0;

    while (peek(p) >= '0' && peek(p) <= '9' && count <= PATTERN_REPEAT_MAX)
        count = count * 10 + (unsigned)(p->text.ptr[p->at++] - '0');
    if (p->at == start)
        return refuse(p, PROA_ESYNTAX, "a number must stand here; write \\{ for a brace");
    if (count > PATTERN_REPEAT_MAX)
        return refuse(p, PROA_ETOOLARGE, "more than 256 repetitions");
    *ret_count = (uint16_t)count;
    return 0;
}

/* Behind "{". */
static int parse_counts(struct parser *p, struct pattern_node *repeat)
{
    PROA_TRY(parse_count(p, &repeat->least));
    repeat->most = repeat->least;
    if (accept_char(p, ',')) {
        if (peek(p) == '}')
            repeat->most = PATTERN_REPEAT_FOREVER;
        else
            PROA_TRY(parse_count(p, &repeat->most));
    }
    if (!accept_char(p, '}'))
        return refuse(p, PROA_ESYNTAX, "the repetition has no end; write \\{ for a brace");
    if (repeat->most < repeat->least)
        return refuse(p, PROA_ESYNTAX, "the repetition's maximum is below its minimum");
    return 0;
}

static bool is_quantifier(char c)
{
    return c == '*' || c == '+' || c == '?' || c == '{';
}

/* An atom with what repeats it. */
static int parse_term(struct parser *p, int depth, struct pattern_node **ret_node)
{
    struct pattern_node *atom = NULL, *repeat;

    PROA_TRY(parse_atom(p, depth, &atom));
    if (!is_quantifier(peek(p))) {
        *ret_node = atom;
        return 0;
    }
    if (atom->kind == NODE_START || atom->kind == NODE_END)
        return refuse(p, PROA_ESYNTAX, "^ and $ cannot be repeated");
    repeat = new_node(p, NODE_REPEAT);
    if (!repeat)
        return out_of_memory(p);
    repeat->child = atom;
    if (accept_char(p, '{')) {
        PROA_TRY(parse_counts(p, repeat));
    } else {
        char c = p->text.ptr[p->at++];

        repeat->least = c == '+';
        repeat->most = c == '?' ? 1 : PATTERN_REPEAT_FOREVER;
    }
    if (is_quantifier(peek(p)))
        return refuse(p, PROA_ESYNTAX, "lazy, possessive and doubled repetition are not in the subset");
    *ret_node = repeat;
    return 0;
}

static int parse_sequence(struct parser *p, int depth, struct pattern_node **ret_node)
{
    struct pattern_node *sequence = new_node(p, NODE_SEQUENCE);

    if (!sequence)
        return out_of_memory(p);
    while (!at_end(p) && peek(p) != '|' && peek(p) != ')') {
        struct pattern_node *term = NULL;

        PROA_TRY(parse_term(p, depth, &term));
        /* A group's node may be shared with nobody, so its sibling link is free. */
        term->next = sequence->child;
        sequence->child = term;
    }
    *ret_node = sequence;
    return 0;
}

static int parse_choice(struct parser *p, int depth, struct pattern_node **ret_node)
{
    struct pattern_node *choice = new_node(p, NODE_CHOICE);

    if (!choice)
        return out_of_memory(p);
    do {
        struct pattern_node *sequence = NULL;

        PROA_TRY(parse_sequence(p, depth, &sequence));
        sequence->next = choice->child;
        choice->child = sequence;
    } while (accept_char(p, '|'));
    *ret_node = choice;
    return 0;
}

int pattern_parse(struct proa_arena *arena, proa_str text, struct pattern_node **ret_root, struct proa_error *err)
{
    struct parser p = {.arena = arena, .text = text, .err = err};
    struct pattern_node *root = NULL;

    PROA_TRY(parse_choice(&p, 0, &root));
    if (!at_end(&p))
        return refuse(&p, PROA_ESYNTAX, "a group ends that was not begun");
    *ret_root = root;
    return 0;
}
