/* Fuzzes patterns: the first line is the pattern, the rest the text. What is compiled matches where a simple backtracking
 * matcher over the pattern's tree does (when that comes to an end), by its table as by walking its states. */
#include "fuzz.h"

#include "data/pattern_internal.h"

#include <proa/text.h>

enum { STEPS_MAX = 200000, DEPTH_MAX = 400 };

/* What is still to be matched, as a list of continuations. */
struct rest {
    const struct pattern_node *node;
    unsigned done; /* of a repetition */
    size_t from;   /* of its present turn */
    const struct rest *next;
};
struct matcher {
    proa_str text;
    size_t steps, depth;
    bool gave_up;
};

static bool match(struct matcher *m, const struct rest *rest, size_t at);

/* A sequence's children stand last first. */
static bool match_sequence(struct matcher *m, const struct pattern_node *child, const struct rest *next, size_t at)
{
    struct rest rest = {.node = child, .next = next};

    if (!child)
        return match(m, next, at);
    if (child->next)
        return match_sequence(m, child->next, &rest, at);
    return match(m, &rest, at);
}

static bool match_repeat(struct matcher *m, const struct rest *rest, size_t at)
{
    const struct pattern_node *node = rest->node;
    struct rest again = {.node = node, .done = rest->done + 1, .from = at, .next = rest->next};
    struct rest turn = {.node = node->child, .next = &again};
    bool more = node->most == PATTERN_REPEAT_FOREVER || rest->done < node->most;

    /* A turn that took nothing may be the last one of those that must be. */
    if (rest->done > 0 && rest->from == at)
        return match(m, rest->next, at);
    if (more && match(m, &turn, at))
        return true;
    return rest->done >= node->least && match(m, rest->next, at);
}

static bool match_node(struct matcher *m, const struct rest *rest, size_t at)
{
    const struct pattern_node *node = rest->node;
    uint32_t code;
    size_t len;

    switch (node->kind) {
    case NODE_SET:
        len = proa_utf8_next(proa_str_slice(m->text, at, m->text.len), &code);
        return len > 0 && pattern_set_has(&node->set, code) && match(m, rest->next, at + len);
    case NODE_START: return at == 0 && match(m, rest->next, at);
    case NODE_END: return at == m->text.len && match(m, rest->next, at);
    case NODE_SEQUENCE: return match_sequence(m, node->child, rest->next, at);
    case NODE_CHOICE:
        for (const struct pattern_node *child = node->child; child; child = child->next) {
            struct rest choice = {.node = child, .next = rest->next};

            if (match(m, &choice, at))
                return true;
        }
        return false;
    case NODE_REPEAT: return match_repeat(m, rest, at);
    }
    return false;
}

static bool match(struct matcher *m, const struct rest *rest, size_t at)
{
    bool found;

    if (!rest)
        return true;
    if (m->gave_up || ++m->steps > STEPS_MAX || m->depth >= DEPTH_MAX) {
        m->gave_up = true;
        return false;
    }
    m->depth++;
    found = match_node(m, rest, at);
    m->depth--;
    return found;
}

/* 1, 0, or -1 when it gave up. */
static int backtrack(const struct pattern_node *root, proa_str text)
{
    struct matcher m = {.text = text};
    struct rest all = {.node = root};

    for (size_t at = 0; at <= text.len; at++) {
        if (at < text.len && ((unsigned char)text.ptr[at] & 0xc0) == 0x80)
            continue;
        if (match(&m, &all, at))
            return 1;
        if (m.gave_up)
            return -1;
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proa_arena arena;
    proa_str text = proa_str_n((const char *)data, size), pattern;
    const struct proa_pattern *compiled = NULL;
    struct pattern_node *root = NULL;
    struct proa_error err = {0};
    int rc;

    if (size > 4096 || !proa_str_split(&text, '\n', &pattern))
        return 0;
    if (!text.ptr)
        text = proa_str_n("", 0);
    proa_arena_init(&arena, NULL, 0);
    rc = proa_pattern_compile(&arena, pattern, &compiled, &err);
    must(rc == 0 || rc == PROA_ESYNTAX || rc == PROA_ETOOLARGE);
    must(rc == 0 ? compiled != NULL : err.message[0] != '\0' && !compiled);
    if (rc == 0) {
        bool found = proa_pattern_matches(compiled, &arena, text);
        struct proa_pattern walked = *compiled;

        walked.table = NULL;
        must(proa_pattern_matches(&walked, &arena, text) == found);
        must(pattern_parse(&arena, pattern, &root, &err) == 0);
        if (proa_utf8_valid(text)) {
            int expected = backtrack(root, text);

            must(expected < 0 || (expected == 1) == found);
        }
    }
    proa_arena_done(&arena);
    return 0;
}
