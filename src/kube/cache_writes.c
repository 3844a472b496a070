/* What we wrote, and when the cache has seen it. */
#include "cache.h"

#include <stdlib.h>

enum { NOTES_MAX = 1024 };

/* -- What was applied ---------------------------------------------------------------------------------------------- */

static uint64_t agreement(uint64_t body_digest, uint64_t object_digest)
{
    uint64_t mixed = (body_digest * UINT64_C(0x9e3779b97f4a7c15)) ^ (object_digest + (body_digest >> 31));

    return mixed ? mixed : 1;
}

bool cache_is_applied(const struct cache_entry *entry, enum cache_part part, uint64_t body_digest)
{
    const struct cache_applied *applied = &entry->applied[part];

    return applied->digest == body_digest || applied->agreed == agreement(body_digest, applied->digest);
}

static void note_drop(struct proa_cache *cache, struct cache_note *note)
{
    proa_list_remove(&note->list);
    cache->notes_count--;
    free(note);
}

void cache_note_applied(struct proa_cache *cache, proa_str namespace_, proa_str name, enum cache_part part,
                        uint64_t body_digest, uint64_t answer_digest)
{
    struct cache_entry *entry = cache_find(cache, namespace_, name);
    uint64_t agreed = agreement(body_digest, answer_digest);
    struct cache_note *note;

    if (entry) {
        entry->applied[part].agreed = agreed;
        return;
    }
    /* A body that stands as it was written needs no note; without memory for one, one apply more does no harm. */
    if (body_digest == answer_digest || !(note = malloc(sizeof *note)))
        return;
    *note = (struct cache_note){.hash = table_hash_names(namespace_, name), .part = (uint8_t)part, .agreed = agreed};
    if (cache->notes_count == NOTES_MAX)
        note_drop(cache, PROA_CONTAINER(cache->notes.next, struct cache_note, list));
    proa_list_push_back(&cache->notes, &note->list);
    cache->notes_count++;
}

void cache_take_notes(struct proa_cache *cache, struct cache_entry *entry)
{
    uint32_t hash = table_hash_names(cache_namespace(entry), cache_name(entry));

    for (struct proa_list *at = cache->notes.next, *next; at != &cache->notes; at = next) {
        struct cache_note *note = PROA_CONTAINER(at, struct cache_note, list);

        next = at->next;
        if (note->hash != hash)
            continue;
        entry->applied[note->part].agreed = note->agreed;
        note_drop(cache, note);
    }
}

void cache_drop_notes(struct proa_cache *cache)
{
    for (struct proa_list *at = cache->notes.next, *next; at != &cache->notes; at = next) {
        next = at->next;
        note_drop(cache, PROA_CONTAINER(at, struct cache_note, list));
    }
}

/* -- Waiting for a version ----------------------------------------------------------------------------------------- */

bool cache_await(struct proa_cache *cache, struct cache_await *await)
{
    struct proa_list *at = cache->awaits.prev;

    if (await->version <= cache->version)
        return false;
    while (at != &cache->awaits && PROA_CONTAINER(at, struct cache_await, list)->version > await->version)
        at = at->prev;
    proa_list_push_front(at, &await->list);
    return true;
}

void cache_await_change(struct proa_cache *cache, struct cache_await *await, const struct cache_entry *entry)
{
    await->name_hash = entry->by_name.hash;
    proa_list_push_back(&cache->change_awaits, &await->list);
}

void cache_version_seen(struct proa_cache *cache, proa_str resource_version)
{
    uint64_t version = cache_version(resource_version);

    if (version > cache->version)
        cache->version = version;
    while (!proa_list_empty(&cache->awaits)) {
        struct cache_await *await = PROA_CONTAINER(cache->awaits.next, struct cache_await, list);

        if (await->version > cache->version)
            return;
        proa_list_remove(&await->list);
        await->seen(await);
    }
}

void cache_change_seen(struct proa_cache *cache, uint32_t hash)
{
    for (struct proa_list *at = cache->change_awaits.next, *next; at != &cache->change_awaits; at = next) {
        struct cache_await *await = PROA_CONTAINER(at, struct cache_await, list);

        next = at->next;
        if (await->name_hash != hash)
            continue;
        proa_list_remove(&await->list);
        await->seen(await);
    }
}
