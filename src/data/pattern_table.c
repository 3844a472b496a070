/* The deterministic automaton of a pattern, by the subset construction, given up when it grows large. */
#include "pattern_internal.h"

#include <stdlib.h>

enum {
    TABLE_STATES_MAX = 255,
    TABLE_CLASSES_MAX = 64,
    TABLE_INTERVALS_MAX = 128,
    TABLE_FROM_MAX = 1024, /* states of the other kind that it is built from */
    TABLE_CELLS_MAX = 16384,
};

struct builder {
    const struct proa_pattern *pattern;
    struct proa_arena *scratch;
    struct pattern_walk walk;
    uint32_t *starts; /* of intervals */
    uint8_t *interval_class;
    uint32_t *samples; /* one code point of each class */
    uint32_t intervals;
    uint32_t classes;
    uint16_t *sets[TABLE_STATES_MAX]; /* members of each state, sorted */
    uint32_t counts[TABLE_STATES_MAX];
    uint8_t verdicts[TABLE_STATES_MAX];
    uint32_t states;
    uint16_t *next; /* rows of `classes` cells, holding the place of a row */
};

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static int compare_u16(const void *a, const void *b)
{
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

/* Where the sets of the pattern begin and end. */
static bool find_intervals(struct builder *b)
{
    size_t count = 1, kept = 1;

    for (uint32_t i = 0; i < b->pattern->count; i++)
        count += 2 * (size_t)b->pattern->states[i].set.count;
    b->starts = proa_arena_calloc(b->scratch, count, sizeof *b->starts);
    if (!b->starts)
        return false;
    count = 1;
    for (uint32_t i = 0; i < b->pattern->count; i++) {
        const struct pattern_set *set = &b->pattern->states[i].set;

        for (uint32_t j = 0; j < set->count; j++) {
            b->starts[count++] = set->ranges[j].first;
            b->starts[count++] = set->ranges[j].last + 1;
        }
    }
    qsort(b->starts, count, sizeof *b->starts, compare_u32);
    for (size_t i = 1; i < count; i++)
        if (b->starts[i] != b->starts[kept - 1] && b->starts[i] <= PATTERN_CODE_POINT_MAX)
            b->starts[kept++] = b->starts[i];
    b->intervals = (uint32_t)kept;
    return kept <= TABLE_INTERVALS_MAX;
}

static bool same_class(const struct builder *b, uint32_t code, uint32_t other)
{
    for (uint32_t i = 0; i < b->pattern->count; i++) {
        const struct pattern_state *s = &b->pattern->states[i];

        if (s->op == STATE_SET && pattern_set_has(&s->set, code) != pattern_set_has(&s->set, other))
            return false;
    }
    return true;
}

/* Intervals that no set tells apart are one class. */
static bool find_classes(struct builder *b)
{
    b->interval_class = proa_arena_calloc(b->scratch, b->intervals, 1);
    b->samples = proa_arena_calloc(b->scratch, TABLE_CLASSES_MAX, sizeof *b->samples);
    if (!b->interval_class || !b->samples)
        return false;
    for (uint32_t i = 0; i < b->intervals; i++) {
        uint32_t class = 0;

        while (class < b->classes && !same_class(b, b->samples[class], b->starts[i]))
            class ++;
        if (class == TABLE_CLASSES_MAX)
            return false;
        if (class == b->classes)
            b->samples[b->classes++] = b->starts[i];
        b->interval_class[i] = (uint8_t) class;
    }
    return true;
}

static uint8_t verdict_of(struct builder *b, const uint16_t *members, uint32_t count, bool matched, bool at_start)
{
    if (matched)
        return VERDICT_MATCHED;
    if (count == 0)
        return VERDICT_NEVER;
    pattern_walk_clear(&b->walk);
    for (uint32_t i = 0; i < count; i++)
        if (b->pattern->states[members[i]].op == STATE_END)
            pattern_walk_add(&b->walk, b->pattern->states[members[i]].next, at_start, true);
    return b->walk.matched ? VERDICT_AT_END : 0;
}

/* The state for the walk's present set, a new one when it is unknown. The first state stands for the text's start and
 * is shared with no other. @returns -1 when there is no room. */
static int state_of(struct builder *b, bool at_start)
{
    uint32_t count = b->walk.matched ? 0 : b->walk.count;
    bool matched = b->walk.matched;
    uint16_t *members;

    qsort(b->walk.members, count, sizeof *b->walk.members, compare_u16);
    for (uint32_t i = 1; i < b->states; i++)
        if (b->counts[i] == count && ((b->verdicts[i] & VERDICT_MATCHED) != 0) == matched &&
            (count == 0 || memcmp(b->sets[i], b->walk.members, count * sizeof *members) == 0))
            return (int)i;
    if (b->states == TABLE_STATES_MAX || (b->states + 1) * b->classes > TABLE_CELLS_MAX)
        return -1;
    members = proa_arena_calloc(b->scratch, count, sizeof *members);
    if (!members)
        return -1;
    if (count)
        memcpy(members, b->walk.members, count * sizeof *members);
    b->sets[b->states] = members;
    b->counts[b->states] = count;
    b->verdicts[b->states] = verdict_of(b, members, count, matched, at_start);
    return (int)b->states++;
}

static int step(struct builder *b, uint32_t from, uint32_t code)
{
    pattern_walk_clear(&b->walk);
    for (uint32_t i = 0; i < b->counts[from]; i++) {
        const struct pattern_state *s = &b->pattern->states[b->sets[from][i]];

        if (s->op == STATE_SET && pattern_set_has(&s->set, code))
            pattern_walk_add(&b->walk, s->next, false, false);
    }
    pattern_walk_add(&b->walk, b->pattern->start, false, false);
    return state_of(b, false);
}

static bool find_states(struct builder *b)
{
    b->next = proa_arena_calloc(b->scratch, TABLE_CELLS_MAX, sizeof *b->next);
    if (!b->next)
        return false;
    pattern_walk_clear(&b->walk);
    pattern_walk_add(&b->walk, b->pattern->start, true, false);
    if (state_of(b, true) < 0)
        return false;
    for (uint32_t from = 0; from < b->states; from++) {
        bool decided = b->verdicts[from] & (VERDICT_MATCHED | VERDICT_NEVER);

        for (uint32_t class = 0; class < b->classes; class ++) {
            int to = decided ? (int)from : step(b, from, b->samples[class]);

            if (to < 0)
                return false;
            b->next[from * b->classes + class] = (uint16_t)((uint32_t)to * b->classes);
        }
    }
    return true;
}

static void *keep(struct proa_arena *arena, const void *from, size_t bytes)
{
    void *out = proa_arena_alloc(arena, bytes);

    return out ? memcpy(out, from, bytes) : NULL;
}

static const struct pattern_table *finish(struct proa_arena *arena, const struct builder *b)
{
    struct pattern_table *table = proa_arena_new(arena, struct pattern_table);
    uint32_t interval = 0;

    if (!table)
        return NULL;
    table->intervals = b->intervals;
    table->classes = b->classes;
    table->starts = keep(arena, b->starts, b->intervals * sizeof *b->starts);
    table->interval_class = keep(arena, b->interval_class, b->intervals);
    table->next = keep(arena, b->next, (size_t)b->states * b->classes * sizeof *b->next);
    table->verdicts = keep(arena, b->verdicts, b->states);
    if (!table->starts || !table->interval_class || !table->next || !table->verdicts)
        return NULL;
    for (uint32_t c = 0; c < 128; c++) {
        while (interval + 1 < b->intervals && b->starts[interval + 1] <= c)
            interval++;
        table->ascii[c] = b->interval_class[interval];
    }
    return table;
}

const struct pattern_table *pattern_table_build(struct proa_arena *arena, const struct proa_pattern *pattern)
{
    struct proa_arena scratch PROA_CLEANUP(proa_arena_done);
    struct builder *b;

    if (pattern->count > TABLE_FROM_MAX)
        return NULL;
    proa_arena_init(&scratch, NULL, 0);
    b = proa_arena_new(&scratch, struct builder);
    if (!b)
        return NULL;
    b->pattern = pattern;
    b->scratch = &scratch;
    if (pattern_walk_init(&b->walk, pattern, &scratch) < 0 || !find_intervals(b) || !find_classes(b) || !find_states(b))
        return NULL;
    return finish(arena, b);
}
