/** The cache from the inside: entries, who is told of changes, who waits for a version. */
#ifndef PROA_KUBE_CACHE_H
#define PROA_KUBE_CACHE_H

#include "client_internal.h"
#include "table.h"

#include <proa/controller.h>
#include <proa/list.h>

/** A controlling owner, shared by all entries that it has, in all caches of a manager. */
struct cache_owner {
    struct table_node node;
    uint32_t entries;
    uint16_t uid_len, kind_len, name_len, version_len;
    char text[]; /* uid, kind, name, apiVersion */
};

/** A namespace's name, shared likewise. */
struct cache_namespace {
    struct table_node node;
    uint32_t entries;
    uint32_t len;
    char text[];
};

/** What the caches of a manager share. Zero-initialised is empty; when all caches are freed, cache_shared_done. */
struct cache_shared {
    struct table owners, namespaces;
    uint64_t changes; /* of objects, ever */
};
void cache_shared_done(struct cache_shared *shared);

/** All entries with one key of one of the source's indexes. */
struct cache_bucket {
    struct table_node node;
    struct cache_node *first;
    uint8_t index;
    uint32_t key_len;
    char key[];
};

/** An entry's place in a bucket. */
struct cache_node {
    struct cache_bucket *bucket;
    struct cache_entry *entry;
    struct cache_node *next, *previous;
};

/** What an apply of ours left: equal `agreed` means that neither what was asked for nor what is there has changed
 *  since. */
struct cache_applied {
    uint64_t digest; /* over the fields that we own, 0: none */
    uint64_t agreed; /* of the body and the digest that came of it; 0: unknown */
};

/** One object in one allocation: this, its nodes, the texts, the projection. */
struct cache_entry {
    struct table_node by_name, by_owner; /* the second only when it has an owner */
    struct cache_owner *owner;           /* NULL: none */
    struct cache_namespace *namespace_;
    void *object;                    /* NULL when the source has no type */
    struct cache_applied applied[2]; /* of the object, of its status */
    uint32_t list;                   /* the list that gave it, or after which it came */
    uint32_t bytes;
    uint16_t name_len;
    uint8_t uid_len, version_len, nodes_count;
    struct cache_node nodes[]; /* behind them name, uid, version */
};

/** Told of each change, in the watching fiber; must not suspend. `old` or `new_` is NULL. */
struct cache_subscriber {
    struct proa_list list;
    void (*changed)(struct cache_subscriber *subscriber, const struct cache_entry *old, const struct cache_entry *new_);
    void (*synced)(struct cache_subscriber *subscriber); /* for the first time */
};

/** Somebody waits until the cache has seen a version, or a change of an object. Embedded in its owner. */
struct cache_await {
    struct proa_list list;
    uint64_t version;   /* 0: */
    uint32_t name_hash; /* of the object's names */
    void (*seen)(struct cache_await *await);
};

/** What was agreed for an object that the cache has not seen yet. */
struct cache_note {
    struct proa_list list;
    uint32_t hash; /* of its names */
    uint8_t part;
    uint64_t agreed;
};

struct proa_cache {
    struct proa_list list; /* of the manager's */
    struct proa_kube *kube;
    struct proa_source source;
    struct cache_shared *shared;
    struct table entries, owned, buckets;
    size_t bytes; /* of all but the tables' slots and what is shared */
    uint32_t lists;
    uint64_t version; /* the newest seen whole */
    bool is_listing, has_synced;
    struct proa_list subscribers;
    struct proa_list awaits; /* by version, rising */
    struct proa_list change_awaits;
    struct proa_list notes; /* oldest first */
    uint32_t notes_count;
    struct proa_gauge_series *objects_gauge, *bytes_gauge; /* of all caches of the kind */
    int64_t objects_told, bytes_told;                      /* this one's part of them */
    bool has_dropped_keys;                                 /* and has said so */
};

PROA_MUST_USE int cache_new(struct proa_kube *kube, struct cache_shared *shared, const struct proa_source *source,
                            struct proa_metrics *metrics, struct proa_cache **ret_cache, struct proa_error *err);
/** Nobody subscribes or waits. NULL is fine. */
void cache_free(struct proa_cache *cache);
/** The event function of proa_kube_watch; arg is the cache. */
int cache_event(void *arg, const struct proa_kube_event *event);

struct cache_entry *cache_find(const struct proa_cache *cache, proa_str namespace_, proa_str name);
proa_str cache_name(const struct cache_entry *entry);
proa_str cache_namespace(const struct cache_entry *entry);
bool cache_owner_is(const struct cache_owner *owner, const struct proa_kube_kind *kind);
proa_str cache_owner_name(const struct cache_owner *owner);
/** "" for NULL */
proa_str cache_owner_uid(const struct cache_owner *owner);
void cache_show(const struct cache_entry *entry, struct proa_cached *ret_cached);

enum cache_part { CACHE_MAIN = 0, CACHE_STATUS };
/** Whether the object is as this body wants it. */
bool cache_is_applied(const struct cache_entry *entry, enum cache_part part, uint64_t body_digest);
/** After an apply of this body, whose answer held an object of this digest. */
void cache_note_applied(struct proa_cache *cache, proa_str namespace_, proa_str name, enum cache_part part,
                        uint64_t body_digest, uint64_t answer_digest);

/** A resourceVersion as a number; 0 for none. They are comparable numbers since Kubernetes 1.35 (KEP-5504) and were
 *  before. */
uint64_t cache_version(proa_str resource_version);
/** @returns false, and does nothing, when it has been seen already. */
bool cache_await(struct proa_cache *cache, struct cache_await *await);
/** Waits until this object, which is there, changes or is gone. */
void cache_await_change(struct proa_cache *cache, struct cache_await *await, const struct cache_entry *entry);

/* For cache.c. */
/** An object that is new in the cache takes what was agreed for it. */
void cache_take_notes(struct proa_cache *cache, struct cache_entry *entry);
void cache_drop_notes(struct proa_cache *cache);
/** Wakes who awaits a version up to this one; a change of the object of these names. */
void cache_version_seen(struct proa_cache *cache, proa_str resource_version);
void cache_change_seen(struct proa_cache *cache, uint32_t name_hash);

#endif
