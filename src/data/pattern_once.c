/* The patterns of descriptions, compiled once a process: on the path of a request a check only matches. */
#include "data_internal.h"

#include <stdlib.h>

/* Reached from the description's slot for the life of the process, never freed. */
struct kept {
    struct proa_arena arena;
    const struct proa_pattern *pattern;
};

static void drop(struct kept *kept)
{
    proa_arena_done(&kept->arena);
    free(kept);
}

/* Several threads may compile it at once; one is kept. */
static int kept_pattern(const struct proa_field *field, const struct proa_pattern **ret_pattern)
{
    const void **slot = &field->pattern_once->compiled;
    const struct kept *present = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    const void *none = NULL;
    struct kept *kept;
    int rc;

    if (PROA_LIKELY(present != NULL)) {
        *ret_pattern = present->pattern;
        return 0;
    }
    kept = calloc(1, sizeof *kept);
    if (!kept)
        return PROA_ENOMEM;
    proa_arena_init(&kept->arena, NULL, 0);
    rc = proa_pattern_compile(&kept->arena, proa_str_c(field->pattern), &kept->pattern, NULL);
    if (rc < 0) {
        drop(kept);
        return rc;
    }
    if (__atomic_compare_exchange_n(slot, &none, kept, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        *ret_pattern = kept->pattern;
        return 0;
    }
    drop(kept);
    *ret_pattern = ((const struct kept *)none)->pattern;
    return 0;
}

int pattern_holds(const struct proa_field *field, proa_str text, bool *ret_holds)
{
    struct proa_arena scratch PROA_CLEANUP(proa_arena_done);
    const struct proa_pattern *pattern;

    proa_arena_init(&scratch, NULL, 0);
    if (field->pattern_once)
        PROA_TRY(kept_pattern(field, &pattern));
    else
        PROA_TRY(proa_pattern_compile(&scratch, proa_str_c(field->pattern), &pattern, NULL));
    *ret_holds = proa_pattern_matches(pattern, &scratch, text);
    return 0;
}
