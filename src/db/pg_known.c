/* What is known of the texts that a loop's shared connections were given: what their words tell, and how they did. By
 * text, with a bound. */
#include "pg_internal.h"

#include <stdlib.h>

void pg_known_release(struct pg_known *known)
{
    if (known && --known->holders == 0)
        free(known);
}

static void forget_oldest(struct pg_loop *pl)
{
    size_t it = 0;
    proa_str text;
    void *value;

    if (!proa_map_next(pl->known, &it, &text, &value))
        return;
    for (size_t i = 0; i < PG_RECENT; i++) {
        if (pl->recent[i] == value)
            pl->recent[i] = NULL;
    }
    (void)proa_map_remove(pl->known, text);
    pg_known_release(value);
}

static struct pg_known *known_new(struct pg_loop *pl, const char *text)
{
    proa_str key = proa_str_c(text);
    struct pg_known *known = malloc(sizeof *known + key.len + 1);

    if (!known)
        return NULL;
    *known = (struct pg_known){.holders = 1, .shares = pg_text_shares(text)};
    memcpy(known->text, text, key.len + 1);
    if (proa_map_count(pl->known) >= PG_KNOWN_MAX)
        forget_oldest(pl);
    if (proa_map_put(pl->known, key, known, NULL) < 0) {
        free(known);
        return NULL;
    }
    return known;
}

struct pg_known *pg_known_hold(struct pg_loop *pl, const char *text)
{
    struct pg_known **recent = &pl->recent[pg_recent_of(text)];
    struct pg_known *known = *recent;

    if (!known || strcmp(known->text, text) != 0) {
        known = proa_map_get(pl->known, proa_str_c(text));
        if (!known)
            known = known_new(pl, text);
        if (!known)
            return NULL;
        *recent = known;
    }
    known->holders++;
    return known;
}

void pg_known_clear(struct pg_loop *pl)
{
    while (pl->known && proa_map_count(pl->known))
        forget_oldest(pl);
    proa_map_free(pl->known);
    pl->known = NULL;
}
