/** What the files of patterns share: the tree that parsing gives, the automaton that matching takes. */
#ifndef PROA_PATTERN_INTERNAL_H
#define PROA_PATTERN_INTERNAL_H

#include <proa/pattern.h>

enum {
    PATTERN_NESTING_MAX = 32, /**< groups within groups; bounds the recursion */
    PATTERN_REPEAT_MAX = 256, /**< n and m of {n,m} */
    PATTERN_REPEAT_FOREVER = PATTERN_REPEAT_MAX + 1,
    PATTERN_CODE_POINT_MAX = 0x10ffff,
};

/** Code points first to last, both included. */
struct pattern_range {
    uint32_t first;
    uint32_t last;
};
/** Sorted, disjoint ranges. */
struct pattern_set {
    struct pattern_range *ranges;
    uint32_t count;
};
static inline bool pattern_set_has(const struct pattern_set *set, uint32_t code_point)
{
    uint32_t low = 0, high = set->count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (set->ranges[middle].last < code_point)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set->count && set->ranges[low].first <= code_point;
}

enum pattern_node_kind {
    NODE_SET,
    NODE_START,
    NODE_END,
    NODE_SEQUENCE, /**< children, last one first */
    NODE_CHOICE,   /**< children */
    NODE_REPEAT,   /**< one child, least to most times */
};
struct pattern_node {
    enum pattern_node_kind kind;
    uint16_t least;
    uint16_t most;
    struct pattern_set set;
    struct pattern_node *child;
    struct pattern_node *next; /**< sibling */
};

PROA_MUST_USE int pattern_parse(struct proa_arena *arena, proa_str text, struct pattern_node **ret_root,
                                struct proa_error *err);

enum pattern_op {
    STATE_SET,   /**< takes one code point of the set, goes on with next */
    STATE_SPLIT, /**< goes on with both, takes nothing */
    STATE_START, /**< goes on only at the text's start */
    STATE_END,   /**< goes on only at the text's end */
    STATE_MATCH,
};
struct pattern_state {
    uint8_t op;
    uint16_t next;
    uint16_t other; /**< of a split */
    struct pattern_set set;
};

/** A deterministic automaton, built when it is small: then a text costs one table look-up a code point. A state is the
 *  place of its row in `next`; those that are decided stay where they are. */
struct pattern_table {
    uint8_t ascii[128];            /**< class of an ASCII character */
    const uint32_t *starts;        /**< intervals of code points: each begins here and ends before the next */
    const uint8_t *interval_class; /**< class of each interval */
    uint32_t intervals;
    uint32_t classes;
    const uint16_t *next;    /**< [state + class] */
    const uint8_t *verdicts; /**< [state / classes]: enum pattern_verdict */
};
enum pattern_verdict {
    VERDICT_MATCHED = 1, /**< whatever follows */
    VERDICT_AT_END = 2,  /**< if the text ends here */
    VERDICT_NEVER = 4,   /**< whatever follows */
};

struct proa_pattern {
    const struct pattern_state *states;
    uint32_t count;
    uint16_t start;
    const struct pattern_table *table; /**< NULL: too large, the states are walked */
};

/** A set of states under construction, with the walk over those that take nothing. */
struct pattern_walk {
    const struct proa_pattern *pattern;
    uint16_t *members; /**< sets, ends and the match, in the order found */
    uint32_t count;
    bool matched;
    uint32_t *marks; /**< of each state: the round in which it was reached */
    uint32_t round;
    uint16_t *stack;
};
PROA_MUST_USE int pattern_walk_init(struct pattern_walk *walk, const struct proa_pattern *pattern,
                                    struct proa_arena *arena);
/** Begins an empty set. */
void pattern_walk_clear(struct pattern_walk *walk);
/** Adds a state and all that is reached from it without taking a code point. */
void pattern_walk_add(struct pattern_walk *walk, uint16_t state, bool at_start, bool at_end);

/** NULL when it would be too large or memory is out: then there is none, and matching walks the states. */
const struct pattern_table *pattern_table_build(struct proa_arena *arena, const struct proa_pattern *pattern);

#endif
