/** A hash map from byte strings to pointers, in insertion order when walked. */
#ifndef PROA_MAP_H
#define PROA_MAP_H

#include <proa/defs.h>
#include <proa/str.h>

PROA_BEGIN_DECLS

struct proa_map;

/** `seed` comes from proa_random or a loop's random where keys come from outside; 0 is fine otherwise.
 *  @returns NULL when memory is out. */
struct proa_map *proa_map_new(uint64_t seed);
/** Frees the map and its copies of the keys, not the values. NULL is fine. */
void proa_map_free(struct proa_map *map);
size_t proa_map_count(const struct proa_map *map);
/** The value, or NULL. */
void *proa_map_get(const struct proa_map *map, proa_str key);
/** Sets a value (not NULL); the key is copied. @param ret_old may be NULL; the replaced value or NULL.
 *  @returns 0 or PROA_ENOMEM (unchanged). */
PROA_MUST_USE int proa_map_put(struct proa_map *map, proa_str key, void *value, void **ret_old);
/** Removes a key. @returns its value or NULL. */
void *proa_map_remove(struct proa_map *map, proa_str key);

/** Walk: `size_t it = 0; while (proa_map_next(map, &it, &key, &value)) …`. Removing the entry just
 *  given is allowed during a walk, adding is not. */
bool proa_map_next(const struct proa_map *map, size_t *it, proa_str *ret_key, void **ret_value);

PROA_END_DECLS
#endif
