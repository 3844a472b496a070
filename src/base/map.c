/* A hash map: entries in the order of insertion, and an open-addressing table of their indexes. */
#include <proa/map.h>

#include <assert.h>
#include <proa/checked.h>
#include <proa/error.h>
#include <stdlib.h>

enum { FIRST_SLOTS = 16 };

struct entry {
    uint64_t hash;
    char *key; /* NULL: removed */
    size_t key_len;
    void *value;
};

struct proa_map {
    uint64_t seed;
    struct entry *entries;
    size_t entries_len; /* with the removed ones */
    size_t count;
    uint32_t *slots; /* index of an entry plus 1; 0: free */
    size_t slots_count;
};

struct proa_map *proa_map_new(uint64_t seed)
{
    struct proa_map *map = calloc(1, sizeof *map);

    if (map)
        map->seed = seed;
    return map;
}

void proa_map_free(struct proa_map *map)
{
    if (!map)
        return;
    for (size_t i = 0; i < map->entries_len; i++)
        free(map->entries[i].key);
    free(map->entries);
    free(map->slots);
    free(map);
}

size_t proa_map_count(const struct proa_map *map)
{
    return map->count;
}

static struct entry *find(const struct proa_map *map, proa_str key, uint64_t hash)
{
    size_t mask = map->slots_count - 1;

    if (map->slots_count == 0)
        return NULL;
    for (size_t i = hash & mask; map->slots[i]; i = (i + 1) & mask) {
        struct entry *entry = &map->entries[map->slots[i] - 1];

        if (entry->hash == hash && entry->key && proa_str_eq(key, proa_str_n(entry->key, entry->key_len)))
            return entry;
    }
    return NULL;
}

void *proa_map_get(const struct proa_map *map, proa_str key)
{
    const struct entry *entry = map->count ? find(map, key, proa_str_hash(key, map->seed)) : NULL;

    return entry ? entry->value : NULL;
}

static void put_slot(struct proa_map *map, uint64_t hash, size_t index)
{
    size_t mask = map->slots_count - 1;
    size_t i = hash & mask;

    while (map->slots[i])
        i = (i + 1) & mask;
    map->slots[i] = (uint32_t)index + 1;
}

/* Drops removed entries and gives the table room for at least one more: half full at most. */
static int rebuild(struct proa_map *map)
{
    size_t slots_count = FIRST_SLOTS, len = 0, bytes;
    struct entry *entries;
    uint32_t *slots;

    while (slots_count < (map->count + 1) * 4)
        if (!proa_mul_size(slots_count, 2, &slots_count))
            return PROA_ENOMEM;
    if (slots_count > UINT32_MAX || !proa_mul_size(slots_count / 2, sizeof *entries, &bytes))
        return PROA_ENOMEM;
    entries = malloc(bytes);
    slots = calloc(slots_count, sizeof *slots);
    if (!entries || !slots) {
        free(entries);
        free(slots);
        return PROA_ENOMEM;
    }
    for (size_t i = 0; i < map->entries_len; i++)
        if (map->entries[i].key)
            entries[len++] = map->entries[i];
    free(map->entries);
    free(map->slots);
    map->entries = entries;
    map->entries_len = len;
    map->slots = slots;
    map->slots_count = slots_count;
    for (size_t i = 0; i < len; i++)
        put_slot(map, entries[i].hash, i);
    return 0;
}

int proa_map_put(struct proa_map *map, proa_str key, void *value, void **ret_old)
{
    uint64_t hash = proa_str_hash(key, map->seed);
    struct entry *entry = find(map, key, hash);
    char *copy;

    assert(value);
    if (entry) {
        if (ret_old)
            *ret_old = entry->value;
        entry->value = value;
        return 0;
    }
    if (map->entries_len * 2 >= map->slots_count)
        PROA_TRY(rebuild(map));
    copy = malloc(key.len + 1);
    if (!copy)
        return PROA_ENOMEM;
    if (key.len)
        memcpy(copy, key.ptr, key.len);
    copy[key.len] = '\0';
    map->entries[map->entries_len] = (struct entry){hash, copy, key.len, value};
    put_slot(map, hash, map->entries_len++);
    map->count++;
    if (ret_old)
        *ret_old = NULL;
    return 0;
}

void *proa_map_remove(struct proa_map *map, proa_str key)
{
    struct entry *entry = map->count ? find(map, key, proa_str_hash(key, map->seed)) : NULL;

    if (!entry)
        return NULL;
    free(entry->key);
    entry->key = NULL;
    map->count--;
    return entry->value;
}

bool proa_map_next(const struct proa_map *map, size_t *it, proa_str *ret_key, void **ret_value)
{
    while (*it < map->entries_len) {
        const struct entry *entry = &map->entries[(*it)++];

        if (!entry->key)
            continue;
        *ret_key = proa_str_n(entry->key, entry->key_len);
        *ret_value = entry->value;
        return true;
    }
    return false;
}
