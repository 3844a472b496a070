/* What a watch gives, kept small.
 *
 * A list marks what it gives with its number; at its end what bears an older one is gone. Everything that a change
 * means to others is told while the old and the new entry both stand. */
#include "cache.h"

#include "digest.h"
#include "pack.h"

#include <assert.h>
#include <stdlib.h>

enum { KEYS_MAX = 64 };

/* -- Identity ------------------------------------------------------------------------------------------------------ */

static const char *texts_of(const struct cache_entry *entry)
{
    return (const char *)&entry->nodes[entry->nodes_count];
}

proa_str cache_name(const struct cache_entry *entry)
{
    return proa_str_n(texts_of(entry), entry->name_len);
}

static proa_str uid_of(const struct cache_entry *entry)
{
    return proa_str_n(texts_of(entry) + entry->name_len, entry->uid_len);
}

static proa_str version_of(const struct cache_entry *entry)
{
    return proa_str_n(texts_of(entry) + entry->name_len + entry->uid_len, entry->version_len);
}

proa_str cache_namespace(const struct cache_entry *entry)
{
    return proa_str_n(entry->namespace_->text, entry->namespace_->len);
}

proa_str cache_owner_uid(const struct cache_owner *owner)
{
    return owner ? proa_str_n(owner->text, owner->uid_len) : PROA_STR("");
}

proa_str cache_owner_name(const struct cache_owner *owner)
{
    return proa_str_n(owner->text + owner->uid_len + owner->kind_len, owner->name_len);
}

bool cache_owner_is(const struct cache_owner *owner, const struct proa_kube_kind *kind)
{
    proa_str version = proa_str_n(owner->text + owner->uid_len + owner->kind_len + owner->name_len, owner->version_len);
    ptrdiff_t slash = proa_str_find_char(version, '/');

    return proa_str_eq_c(proa_str_n(owner->text + owner->uid_len, owner->kind_len), kind->kind) &&
           proa_str_eq_c(proa_str_slice(version, 0, slash < 0 ? 0 : (size_t)slash), kind->group);
}

uint64_t cache_version(proa_str resource_version)
{
    uint64_t version;

    return proa_str_to_u64(resource_version, &version) == 0 ? version : 0;
}

void cache_show(const struct cache_entry *entry, struct proa_cached *ret_cached)
{
    *ret_cached = (struct proa_cached){
        .object = entry->object,
        .namespace_ = cache_namespace(entry),
        .name = cache_name(entry),
        .uid = uid_of(entry),
        .resource_version = version_of(entry),
        .owner_uid = cache_owner_uid(entry->owner),
        .applied_digest = entry->applied[0].digest,
    };
}

/* -- What is shared ------------------------------------------------------------------------------------------------ */

static uint32_t text_hash(proa_str text, uint64_t seed)
{
    uint64_t hash = proa_str_hash(text, seed);

    return (uint32_t)(hash ^ (hash >> 32));
}

static char *add_text(char *to, proa_str text)
{
    if (text.len > 0)
        memcpy(to, text.ptr, text.len);
    return to + text.len;
}

static struct cache_namespace *namespace_take(struct cache_shared *shared, proa_str name)
{
    uint32_t hash = text_hash(name, 0);
    struct cache_namespace *namespace_;

    for (struct table_node *node = table_first(&shared->namespaces, hash); node; node = node->next) {
        namespace_ = PROA_CONTAINER(node, struct cache_namespace, node);
        if (node->hash == hash && proa_str_eq(proa_str_n(namespace_->text, namespace_->len), name)) {
            namespace_->entries++;
            return namespace_;
        }
    }
    if (table_reserve(&shared->namespaces) < 0 || !(namespace_ = malloc(sizeof *namespace_ + name.len)))
        return NULL;
    *namespace_ = (struct cache_namespace){.entries = 1, .len = (uint32_t)name.len};
    add_text(namespace_->text, name);
    table_add(&shared->namespaces, &namespace_->node, hash);
    return namespace_;
}

static void namespace_drop(struct cache_shared *shared, struct cache_namespace *namespace_)
{
    if (!namespace_ || --namespace_->entries > 0)
        return;
    table_remove(&shared->namespaces, &namespace_->node);
    free(namespace_);
}

/* An owner as an ownerReference tells of it. */
struct owner_texts {
    proa_str uid, kind, name, version;
};

static struct cache_owner *owner_find(const struct cache_shared *shared, proa_str uid)
{
    uint32_t hash = text_hash(uid, 0);

    for (struct table_node *node = table_first(&shared->owners, hash); node; node = node->next) {
        struct cache_owner *owner = PROA_CONTAINER(node, struct cache_owner, node);

        if (node->hash == hash && proa_str_eq(cache_owner_uid(owner), uid))
            return owner;
    }
    return NULL;
}

static struct cache_owner *owner_take(struct cache_shared *shared, const struct owner_texts *texts)
{
    struct cache_owner *owner = owner_find(shared, texts->uid);

    if (owner) {
        owner->entries++;
        return owner;
    }
    if (table_reserve(&shared->owners) < 0 ||
        !(owner = malloc(sizeof *owner + texts->uid.len + texts->kind.len + texts->name.len + texts->version.len)))
        return NULL;
    *owner = (struct cache_owner){.entries = 1,
                                  .uid_len = (uint16_t)texts->uid.len,
                                  .kind_len = (uint16_t)texts->kind.len,
                                  .name_len = (uint16_t)texts->name.len,
                                  .version_len = (uint16_t)texts->version.len};
    add_text(add_text(add_text(add_text(owner->text, texts->uid), texts->kind), texts->name), texts->version);
    table_add(&shared->owners, &owner->node, text_hash(texts->uid, 0));
    return owner;
}

static void owner_drop(struct cache_shared *shared, struct cache_owner *owner)
{
    if (!owner || --owner->entries > 0)
        return;
    table_remove(&shared->owners, &owner->node);
    free(owner);
}

void cache_shared_done(struct cache_shared *shared)
{
    assert(shared->owners.count == 0 && shared->namespaces.count == 0);
    table_done(&shared->owners);
    table_done(&shared->namespaces);
}

/* -- Indexes ------------------------------------------------------------------------------------------------------- */

/* What an entry is to be found by. */
struct wanted_key {
    uint8_t index;
    proa_str key;
};

static struct cache_bucket *bucket_find(const struct proa_cache *cache, uint8_t index, proa_str key)
{
    uint32_t hash = text_hash(key, index);

    for (struct table_node *node = table_first(&cache->buckets, hash); node; node = node->next) {
        struct cache_bucket *bucket = PROA_CONTAINER(node, struct cache_bucket, node);

        if (node->hash == hash && bucket->index == index && proa_str_eq(proa_str_n(bucket->key, bucket->key_len), key))
            return bucket;
    }
    return NULL;
}

static struct cache_bucket *bucket_take(struct proa_cache *cache, const struct wanted_key *wanted)
{
    struct cache_bucket *bucket = bucket_find(cache, wanted->index, wanted->key);

    if (bucket)
        return bucket;
    if (table_reserve(&cache->buckets) < 0 || !(bucket = malloc(sizeof *bucket + wanted->key.len)))
        return NULL;
    *bucket = (struct cache_bucket){.index = wanted->index, .key_len = (uint32_t)wanted->key.len};
    add_text(bucket->key, wanted->key);
    table_add(&cache->buckets, &bucket->node, text_hash(wanted->key, wanted->index));
    cache->bytes += sizeof *bucket + bucket->key_len;
    return bucket;
}

static void bucket_drop_if_empty(struct proa_cache *cache, struct cache_bucket *bucket)
{
    if (bucket->first)
        return;
    table_remove(&cache->buckets, &bucket->node);
    cache->bytes -= sizeof *bucket + bucket->key_len;
    free(bucket);
}

static void node_link(struct cache_node *node)
{
    node->previous = NULL;
    node->next = node->bucket->first;
    if (node->next)
        node->next->previous = node;
    node->bucket->first = node;
}

static void node_unlink(struct proa_cache *cache, struct cache_node *node)
{
    if (node->previous)
        node->previous->next = node->next;
    else
        node->bucket->first = node->next;
    if (node->next)
        node->next->previous = node->previous;
    bucket_drop_if_empty(cache, node->bucket);
}

/* -- Entries ------------------------------------------------------------------------------------------------------- */

struct cache_entry *cache_find(const struct proa_cache *cache, proa_str namespace_, proa_str name)
{
    uint32_t hash = table_hash_names(namespace_, name);

    for (struct table_node *node = table_first(&cache->entries, hash); node; node = node->next) {
        struct cache_entry *entry = PROA_CONTAINER(node, struct cache_entry, by_name);

        if (node->hash == hash && proa_str_eq(cache_name(entry), name) &&
            proa_str_eq(cache_namespace(entry), namespace_))
            return entry;
    }
    return NULL;
}

static void entry_link(struct proa_cache *cache, struct cache_entry *entry)
{
    table_add(&cache->entries, &entry->by_name, table_hash_names(cache_namespace(entry), cache_name(entry)));
    if (entry->owner)
        table_add(&cache->owned, &entry->by_owner, entry->owner->node.hash);
    for (uint8_t i = 0; i < entry->nodes_count; i++)
        node_link(&entry->nodes[i]);
    cache->bytes += entry->bytes;
}

static void entry_unlink(struct proa_cache *cache, struct cache_entry *entry)
{
    table_remove(&cache->entries, &entry->by_name);
    if (entry->owner)
        table_remove(&cache->owned, &entry->by_owner);
    for (uint8_t i = 0; i < entry->nodes_count; i++)
        node_unlink(cache, &entry->nodes[i]);
    cache->bytes -= entry->bytes;
}

/* Not its nodes, which are unlinked. */
static void entry_free(struct proa_cache *cache, struct cache_entry *entry)
{
    owner_drop(cache->shared, entry->owner);
    namespace_drop(cache->shared, entry->namespace_);
    free(entry);
}

/* An object on its way into the cache. */
struct incoming {
    struct proa_cache *cache;
    struct proa_arena arena;
    proa_str namespace_, name, uid, version, managed_fields;
    void *object;
    bool is_owned;
    struct owner_texts owner;
    struct wanted_key keys[KEYS_MAX];
    size_t keys_count;
    uint8_t index; /* whose keys are being added */
    bool memory_out;
};

/* Once: such objects may be many, and change often. */
static void say_dropped(struct proa_cache *cache, proa_str name)
{
    if (!cache->has_dropped_keys && cache->kube->options.logger)
        PROA_WARN(cache->kube->options.logger, "index keys dropped", proa_kv_c("kind", cache->source.kind->kind),
                  proa_kv_str("name", name), proa_kv_u64("most", KEYS_MAX));
    cache->has_dropped_keys = true;
}

static void add_key(void *ctx, proa_str key)
{
    struct incoming *incoming = ctx;

    for (size_t i = 0; i < incoming->keys_count; i++)
        if (incoming->keys[i].index == incoming->index && proa_str_eq(incoming->keys[i].key, key))
            return;
    if (incoming->keys_count == KEYS_MAX) {
        say_dropped(incoming->cache, incoming->name);
        return;
    }
    /* The key may live on the index function's stack. */
    key = proa_arena_str(&incoming->arena, key);
    if (key.ptr)
        incoming->keys[incoming->keys_count++] = (struct wanted_key){.index = incoming->index, .key = key};
    else
        incoming->memory_out = true;
}

static void find_owner(struct incoming *incoming, proa_str owners)
{
    struct json_cursor it = json_open(owners);
    proa_str owner;

    while (json_next_element(&it, &owner)) {
        if (!proa_str_eq_c(json_member(owner, PROA_STR("controller")), "true"))
            continue;
        incoming->is_owned = true;
        incoming->owner = (struct owner_texts){.uid = json_plain_text(json_member(owner, PROA_STR("uid"))),
                                               .kind = json_plain_text(json_member(owner, PROA_STR("kind"))),
                                               .name = json_plain_text(json_member(owner, PROA_STR("name"))),
                                               .version = json_plain_text(json_member(owner, PROA_STR("apiVersion")))};
        return;
    }
}

static int read_identity(struct incoming *incoming, proa_str json, struct proa_error *err)
{
    struct json_cursor it = json_open(json_member(json, PROA_STR("metadata")));
    proa_str key, value;

    incoming->namespace_ = PROA_STR("");
    while (json_next_member(&it, &key, &value)) {
        if (proa_str_eq_c(key, "name"))
            incoming->name = json_plain_text(value);
        else if (proa_str_eq_c(key, "namespace"))
            incoming->namespace_ = json_plain_text(value);
        else if (proa_str_eq_c(key, "uid"))
            incoming->uid = json_plain_text(value);
        else if (proa_str_eq_c(key, "resourceVersion"))
            incoming->version = json_plain_text(value);
        else if (proa_str_eq_c(key, "managedFields"))
            incoming->managed_fields = value;
        else if (proa_str_eq_c(key, "ownerReferences"))
            find_owner(incoming, value);
    }
    if (incoming->name.len == 0 || incoming->name.len > UINT16_MAX || incoming->uid.len > UINT8_MAX ||
        incoming->version.len > UINT8_MAX)
        return proa_fail(err, PROA_EPROTOCOL, "an object without a proper name, uid or version");
    return 0;
}

static int read_projection(struct incoming *incoming, proa_str json, struct proa_error *err)
{
    const struct proa_source *source = &incoming->cache->source;

    if (!source->type)
        return 0;
    incoming->object = proa_arena_alloc(&incoming->arena, source->type->size);
    if (!incoming->object)
        return PROA_ENOMEM;
    PROA_TRY(proa_json_read_type(&incoming->arena, json, PROA_JSON_LENIENT, source->type, incoming->object, err));
    for (uint8_t i = 0; i < PROA_INDEXES_MAX && source->indexes[i]; i++) {
        incoming->index = i;
        source->indexes[i](incoming->object, add_key, incoming);
    }
    return incoming->memory_out ? PROA_ENOMEM : 0;
}

static size_t align_up(size_t bytes)
{
    return (bytes + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
}

/* Takes the buckets of an entry; on failure none stays that is empty. */
static int take_buckets(struct incoming *incoming, struct cache_entry *entry)
{
    for (uint8_t i = 0; i < entry->nodes_count; i++) {
        entry->nodes[i] =
            (struct cache_node){.bucket = bucket_take(incoming->cache, &incoming->keys[i]), .entry = entry};
        if (entry->nodes[i].bucket)
            continue;
        while (i > 0)
            bucket_drop_if_empty(incoming->cache, entry->nodes[--i].bucket);
        return PROA_ENOMEM;
    }
    return 0;
}

static int take_shared(struct incoming *incoming, struct cache_entry *entry)
{
    entry->namespace_ = namespace_take(incoming->cache->shared, incoming->namespace_);
    if (!entry->namespace_)
        return PROA_ENOMEM;
    if (incoming->is_owned) {
        entry->owner = owner_take(incoming->cache->shared, &incoming->owner);
        if (!entry->owner)
            return PROA_ENOMEM;
    }
    return take_buckets(incoming, entry);
}

static int entry_new(struct incoming *incoming, struct cache_entry **ret_entry)
{
    const struct proa_type *type = incoming->cache->source.type;
    proa_str shared[] = {incoming->namespace_, incoming->name, incoming->uid, incoming->version};
    struct pack_shared pack_shared = {shared, PROA_COUNT(shared)};
    size_t object_at, bytes = sizeof(struct cache_entry) + incoming->keys_count * sizeof(struct cache_node) +
                              incoming->name.len + incoming->uid.len + incoming->version.len;
    struct cache_entry *entry;
    char *to;

    object_at = align_up(bytes);
    if (type)
        bytes = object_at + pack_bytes(type, incoming->object, &pack_shared);
    if (bytes > UINT32_MAX || table_reserve(&incoming->cache->entries) < 0 ||
        table_reserve(&incoming->cache->owned) < 0 || !(entry = malloc(bytes)))
        return PROA_ENOMEM;
    *entry = (struct cache_entry){.bytes = (uint32_t)bytes,
                                  .name_len = (uint16_t)incoming->name.len,
                                  .uid_len = (uint8_t)incoming->uid.len,
                                  .version_len = (uint8_t)incoming->version.len,
                                  .nodes_count = (uint8_t)incoming->keys_count};
    if (take_shared(incoming, entry) < 0) {
        entry_free(incoming->cache, entry);
        return PROA_ENOMEM;
    }
    to = add_text(add_text(add_text((char *)&entry->nodes[entry->nodes_count], incoming->name), incoming->uid),
                  incoming->version);
    assert(to <= (char *)entry + bytes);
    (void)to;
    if (type) {
        proa_str own[] = {cache_namespace(entry), cache_name(entry), uid_of(entry), version_of(entry)};

        entry->object = (char *)entry + object_at;
        pack_copy(type, incoming->object, &(struct pack_shared){own, PROA_COUNT(own)}, entry->object);
    }
    *ret_entry = entry;
    return 0;
}

/* -- Changes ------------------------------------------------------------------------------------------------------- */

static void tell(struct proa_cache *cache, const struct cache_entry *old, const struct cache_entry *new_)
{
    for (struct proa_list *at = cache->subscribers.next; at != &cache->subscribers; at = at->next) {
        struct cache_subscriber *subscriber = PROA_CONTAINER(at, struct cache_subscriber, list);

        subscriber->changed(subscriber, old, new_);
    }
}

static void tell_gauge(struct proa_gauge_series *gauge, uint32_t shard, int64_t now, int64_t *told)
{
    proa_gauge_add(gauge, shard, now - *told);
    *told = now;
}

static void set_gauges(struct proa_cache *cache, int64_t objects, int64_t bytes)
{
    uint32_t shard = proa_loop_index(cache->kube->options.loop);

    if (!cache->objects_gauge)
        return;
    tell_gauge(cache->objects_gauge, shard, objects, &cache->objects_told);
    tell_gauge(cache->bytes_gauge, shard, bytes, &cache->bytes_told);
}

static void remove_entry(struct proa_cache *cache, struct cache_entry *entry)
{
    entry_unlink(cache, entry);
    /* Its nodes' buckets may be gone: the owner is told apart from the entry while both stand. */
    entry_free(cache, entry);
}

static void object_gone(struct proa_cache *cache, struct cache_entry *entry)
{
    uint32_t hash = entry->by_name.hash;

    tell(cache, entry, NULL);
    remove_entry(cache, entry);
    cache_change_seen(cache, hash);
}

static void put(struct proa_cache *cache, struct incoming *incoming, proa_str json, struct cache_entry *old,
                struct cache_entry *entry)
{

    struct applied_digests digests =
        digest_applied(json, incoming->managed_fields, proa_str_c(proa_kube_field_manager(cache->kube)));

    entry->list = cache->lists;
    entry->applied[0].digest = digests.main;
    entry->applied[1].digest = digests.status;
    if (old && proa_str_eq(uid_of(old), uid_of(entry)))
        for (size_t i = 0; i < PROA_COUNT(entry->applied); i++)
            entry->applied[i].agreed = old->applied[i].agreed;
    /* Linked first, so that a bucket which both are in stays. */
    entry_link(cache, entry);
    if (old) {
        tell(cache, old, entry);
        remove_entry(cache, old);
        cache_change_seen(cache, entry->by_name.hash);
    } else {
        cache_take_notes(cache, entry);
        tell(cache, NULL, entry);
    }
}

/* An object that does not fit its description is as good as not there; said once for each of its versions. */
static void unreadable(struct proa_cache *cache, const struct incoming *incoming, const struct proa_error *err)
{
    const struct proa_logger *logger = cache->kube->options.logger;

    if (logger)
        PROA_WARN(logger, "object not understood", proa_kv_c("kind", cache->source.kind->kind),
                  proa_kv_str("namespace", incoming->namespace_), proa_kv_str("name", incoming->name),
                  proa_kv_c("error", err->message));
}

static int object_seen(struct proa_cache *cache, struct incoming *incoming, proa_str json)
{
    struct cache_entry *old, *entry;
    struct proa_error err = {0};
    int rc = read_identity(incoming, json, &err);

    if (rc < 0) {
        unreadable(cache, incoming, &err);
        return 0;
    }
    old = cache_find(cache, incoming->namespace_, incoming->name);
    if (old && incoming->version.len > 0 && proa_str_eq(version_of(old), incoming->version)) {
        old->list = cache->lists;
        return 0;
    }
    rc = read_projection(incoming, json, &err);
    if (rc == 0)
        rc = entry_new(incoming, &entry);
    if (rc == 0) {
        put(cache, incoming, json, old, entry);
    } else if (rc != PROA_ENOMEM) {
        unreadable(cache, incoming, &err);
        if (old)
            object_gone(cache, old);
        rc = 0;
    }
    return rc;
}

static int object_event(struct proa_cache *cache, const struct proa_kube_event *event)
{
    struct incoming *incoming;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct cache_entry *old;
    int rc = 0;

    proa_arena_init(&arena, proa_loop_blocks(cache->kube->options.loop), 0);
    incoming = proa_arena_new(&arena, struct incoming); /* too large for a fiber's stack to carry lightly */
    if (!incoming)
        return PROA_ENOMEM;
    incoming->cache = cache;
    proa_arena_init(&incoming->arena, proa_loop_blocks(cache->kube->options.loop), 0);
    if (event->kind != PROA_KUBE_DELETED) {
        rc = object_seen(cache, incoming, event->json);
    } else if (read_identity(incoming, event->json, NULL) == 0) {
        old = cache_find(cache, incoming->namespace_, incoming->name);
        if (old)
            object_gone(cache, old);
    }
    proa_arena_done(&incoming->arena);
    return rc;
}

static void drop_unseen(struct proa_cache *cache)
{
    struct table_node *node = table_next(&cache->entries, NULL), *next;

    for (; node; node = next) {
        struct cache_entry *entry = PROA_CONTAINER(node, struct cache_entry, by_name);

        next = table_next(&cache->entries, node);
        if (entry->list != cache->lists)
            object_gone(cache, entry);
    }
}

/* -- Events of the watch ------------------------------------------------------------------------------------------- */

static void list_ended(struct proa_cache *cache)
{
    bool is_first = !cache->has_synced;

    cache->is_listing = false;
    drop_unseen(cache);
    cache->has_synced = true;
    for (struct proa_list *at = cache->subscribers.next; is_first && at != &cache->subscribers; at = at->next) {
        struct cache_subscriber *subscriber = PROA_CONTAINER(at, struct cache_subscriber, list);

        subscriber->synced(subscriber);
    }
}

int cache_event(void *arg, const struct proa_kube_event *event)
{
    struct proa_cache *cache = arg;

    switch (event->kind) {
    case PROA_KUBE_RESTART:
        cache->lists++;
        cache->is_listing = true;
        return 0;
    case PROA_KUBE_SYNCED: list_ended(cache); break;
    case PROA_KUBE_BOOKMARK: break;
    case PROA_KUBE_ADDED:
    case PROA_KUBE_MODIFIED:
    case PROA_KUBE_DELETED:
        cache->shared->changes++;
        PROA_TRY(object_event(cache, event));
        break;
    }
    /* The objects of a list come in no order of versions. */
    if (!cache->is_listing)
        cache_version_seen(cache, event->resource_version);
    set_gauges(cache, (int64_t)cache->entries.count, (int64_t)proa_cache_bytes(cache));
    return 0;
}

/* -- Making and freeing -------------------------------------------------------------------------------------------- */

static int add_gauges(struct proa_cache *cache, struct proa_metrics *metrics, struct proa_error *err)
{
    const struct proa_metric_options objects = {
        .name = "proa_cache_objects", .help = "Objects in the cache of a kind", .labels = {"kind"}};
    const struct proa_metric_options bytes = {
        .name = "proa_cache_bytes", .help = "Memory of the cache of a kind", .unit = "bytes", .labels = {"kind"}};
    proa_str kind = proa_str_c(cache->source.kind->kind);
    struct proa_gauge *gauge;

    if (!metrics)
        return 0;
    PROA_TRY(proa_gauge_new(metrics, &objects, &gauge, err));
    cache->objects_gauge = proa_gauge_with(gauge, &kind);
    PROA_TRY(proa_gauge_new(metrics, &bytes, &gauge, err));
    cache->bytes_gauge = proa_gauge_with(gauge, &kind);
    return 0;
}

int cache_new(struct proa_kube *kube, struct cache_shared *shared, const struct proa_source *source,
              struct proa_metrics *metrics, struct proa_cache **ret_cache, struct proa_error *err)
{
    struct proa_cache *cache = calloc(1, sizeof *cache);
    int rc;

    if (!cache)
        return proa_fail(err, PROA_ENOMEM, "no memory for a cache");
    cache->kube = kube;
    cache->source = *source;
    proa_list_init(&cache->list);
    proa_list_init(&cache->subscribers);
    proa_list_init(&cache->awaits);
    proa_list_init(&cache->notes);
    proa_list_init(&cache->change_awaits);
    cache->shared = shared;
    rc = add_gauges(cache, metrics, err);
    if (rc < 0) {
        cache_free(cache);
        return rc;
    }
    *ret_cache = cache;
    return 0;
}

void cache_free(struct proa_cache *cache)
{
    struct table_node *node;

    if (!cache)
        return;
    assert(proa_list_empty(&cache->subscribers) && proa_list_empty(&cache->awaits) &&
           proa_list_empty(&cache->change_awaits));
    if (cache->bytes_gauge)
        set_gauges(cache, 0, 0);
    while ((node = table_next(&cache->entries, NULL)))
        remove_entry(cache, PROA_CONTAINER(node, struct cache_entry, by_name));
    cache_drop_notes(cache);
    assert(cache->bytes == 0 && cache->buckets.count == 0 && cache->owned.count == 0);
    table_done(&cache->entries);
    table_done(&cache->owned);
    table_done(&cache->buckets);
    free(cache);
}

/* -- For controllers ----------------------------------------------------------------------------------------------- */

bool proa_cache_has_synced(const struct proa_cache *cache)
{
    return cache->has_synced;
}

bool proa_cache_get(const struct proa_cache *cache, proa_str namespace_, proa_str name, struct proa_cached *ret_cached)
{
    const struct cache_entry *entry = cache_find(cache, namespace_, name);

    if (!entry)
        return false;
    cache_show(entry, ret_cached);
    return true;
}

bool proa_cache_next_owned(const struct proa_cache *cache, proa_str owner_uid, void **it,
                           struct proa_cached *ret_cached)
{
    const struct cache_entry *after = *it;
    const struct cache_owner *owner = after ? after->owner : owner_find(cache->shared, owner_uid);
    struct table_node *node;

    if (!owner)
        return false;
    for (node = after ? after->by_owner.next : table_first(&cache->owned, owner->node.hash); node; node = node->next) {
        struct cache_entry *entry = PROA_CONTAINER(node, struct cache_entry, by_owner);

        if (entry->owner != owner)
            continue;
        *it = entry;
        cache_show(entry, ret_cached);
        return true;
    }
    return false;
}

bool proa_cache_next_indexed(const struct proa_cache *cache, unsigned index, proa_str key, void **it,
                             struct proa_cached *ret_cached)
{
    struct cache_node *node = *it;
    struct cache_bucket *bucket;

    assert(index < PROA_INDEXES_MAX);
    if (node) {
        node = node->next;
    } else {
        bucket = bucket_find(cache, (uint8_t)index, key);
        node = bucket ? bucket->first : NULL;
    }
    if (!node)
        return false;
    *it = node;
    cache_show(node->entry, ret_cached);
    return true;
}

bool proa_cache_next(const struct proa_cache *cache, void **it, struct proa_cached *ret_cached)
{
    const struct cache_entry *after = *it;
    struct table_node *node = table_next(&cache->entries, after ? &after->by_name : NULL);
    struct cache_entry *entry;

    if (!node)
        return false;
    entry = PROA_CONTAINER(node, struct cache_entry, by_name);
    *it = entry;
    cache_show(entry, ret_cached);
    return true;
}

size_t proa_cache_count(const struct proa_cache *cache)
{
    return cache->entries.count;
}

size_t proa_cache_bytes(const struct proa_cache *cache)
{
    const struct table *tables[] = {&cache->entries, &cache->owned, &cache->buckets};
    size_t slots = 0;

    for (size_t i = 0; i < PROA_COUNT(tables); i++)
        slots += tables[i]->slots ? tables[i]->mask + 1u : 0;
    return cache->bytes + slots * sizeof(struct table_node *);
}
