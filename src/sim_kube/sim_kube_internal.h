/** The simulated API server from the inside.
 *
 *  | file         | holds                                                                                         |
 *  | ------------ | --------------------------------------------------------------------------------------------- |
 *  | sim_kube.c   | start, stop, faults, and what tests reach past HTTP                                           |
 *  | kinds.c      | which kinds are served, and how they differ                                                   |
 *  | store.c      | objects, their versions, and the history that watches resume from                             |
 *  | tree.c       | JSON as a tree that can be changed                                                            |
 *  | shape.c      | which lists are sets or maps, and which maps are one value                                    |
 *  | fields.c     | sets of fields (fieldsV1), and what two objects differ in                                     |
 *  | managed.c    | metadata.managedFields: server-side apply (KEP-555)                                           |
 *  | patch.c      | merge patches (RFC 7396) and JSON patches (RFC 6902)                                          |
 *  | schema.c     | CustomResourceDefinitions: schemas' defaults, pruning and rules                               |
 *  | selector.c   | label and field selectors                                                                     |
 *  | write.c      | create, replace, patch, apply                                                                 |
 *  | builtin.c    | what the API server fills in and refuses in built-in kinds                                    |
 *  | delete.c     | delete, finalizers, garbage collection                                                        |
 *  | identity.c   | who asks, and whom he impersonates                                                            |
 *  | read.c       | get, list, scale, discovery                                                                   |
 *  | watch.c      | watches                                                                                       |
 *  | serve.c      | HTTP: paths, queries, Status, faults                                                          |
 */
#ifndef PROA_SIM_KUBE_INTERNAL_H
#define PROA_SIM_KUBE_INTERNAL_H

#include <proa/arena.h>
#include <proa/fiber.h>
#include <proa/random.h>
#include <proa/server.h>
#include <proa/sim_kube.h>
#include <proa/sync.h>
#include <proa/vec.h>
#include <yyjson.h>

enum {
    HISTORY_DEFAULT = 1000,
    FIRST_VERSION = 100, /* no object has one below it */
    BOOKMARK_MS = 60000,
    COLLECT_MS = 20, /* until the garbage collector looks */
    BODY_MAX_BYTES = 4 * 1024 * 1024,
};

typedef yyjson_mut_val tree;

/* -- Kinds -------------------------------------------------------------------------------------------------------- */

struct sim_kind {
    struct proa_kube_kind names; /* its texts live in the server's arena, or are static */
    bool has_status, has_scale;
    bool has_generation;
    bool needs_version;     /* a replace must say which one it replaces */
    bool creates_on_update; /* a replace of what does not exist makes it */
    bool is_custom, is_served;
    const char *const *fields;                    /* that field selectors know, ended by NULL */
    proa_str schema;                              /* openAPIV3Schema of a custom kind; ptr NULL: any object goes */
    yyjson_doc *schema_doc;                       /* parsed */
    proa_str replicas, status_replicas, selector; /* of the scale subresource: ".spec.replicas" */
    proa_str singular, short_name;
    struct proa_vec objects; /* of struct sim_object *, by key */
};

/** One version of an object; never changes. */
struct sim_snapshot {
    uint32_t refs;
    uint64_t version;
    yyjson_doc *doc;
    char *text;
    size_t len;
};

struct sim_object {
    struct sim_kind *kind;
    proa_str key; /* "namespace/name", heap */
    proa_str namespace_, name;
    struct sim_snapshot *now;
};

struct sim_change {
    uint64_t version;
    struct sim_kind *kind;
    proa_str key; /* of the snapshots' object: points into `owned_key` */
    char *owned_key;
    struct sim_snapshot *before, *after; /* before NULL: added. A deletion has its last state in `after`. */
    bool is_deletion;
};

struct proa_sim_kube {
    struct proa_loop *loop;
    struct proa_sim_kube_options options;
    struct proa_arena arena; /* kinds' texts */
    struct proa_prng chance;
    struct proa_router *router;
    struct proa_server *server;
    struct proa_vec kinds; /* of struct sim_kind * */
    struct sim_change *history;
    uint32_t history_max;
    uint64_t changes;      /* made ever; history[i % max] holds the newest */
    uint64_t changes_from; /* the oldest kept */
    uint64_t forgotten;    /* version of the newest change that is no longer kept */
    uint64_t version;      /* newest */
    uint64_t uids;
    uint64_t requests;
    enum proa_sim_kube_state state;
    uint32_t epoch;            /* of the state: watches of an older one are cut */
    struct proa_event changed; /* pulsed after each change */
    struct proa_timer collector;
    bool is_stopping;
};

/* kinds.c */
PROA_MUST_USE int kinds_init(struct proa_sim_kube *kube);
void kinds_done(struct proa_sim_kube *kube);
/** Adds, or finds and changes. NULL when memory is out. */
struct sim_kind *kinds_add(struct proa_sim_kube *kube, const struct proa_kube_kind *names);
struct sim_kind *kinds_find(const struct proa_sim_kube *kube, proa_str group, proa_str version, proa_str plural);
struct sim_kind *kinds_of(const struct proa_sim_kube *kube, const struct proa_kube_kind *names);
/** "apps/v1". */
proa_str kind_api_version(struct proa_arena *arena, const struct sim_kind *kind);
/** "deployments.apps" or "pods". */
proa_str kind_qualified(struct proa_arena *arena, const struct sim_kind *kind);

/* tree.c; yyjson asks for no error checks but at the end: a NULL tree goes through all of it. */
static inline proa_str tree_text(tree *node)
{
    return yyjson_mut_is_str(node) ? proa_str_n(yyjson_mut_get_str(node), yyjson_mut_get_len(node))
                                   : (proa_str){NULL, 0};
}
static inline proa_str value_text(yyjson_val *value)
{
    return yyjson_is_str(value) ? proa_str_n(yyjson_get_str(value), yyjson_get_len(value)) : (proa_str){NULL, 0};
}
static inline tree *tree_get(tree *object, proa_str name)
{
    return yyjson_mut_obj_getn(object, name.ptr, name.len);
}
static inline yyjson_val *value_get(yyjson_val *object, proa_str name)
{
    return yyjson_obj_getn(object, name.ptr, name.len);
}
/** Sets a member (copying its name), or takes it away when `value` is NULL. */
void tree_set(yyjson_mut_doc *doc, tree *object, const char *name, tree *value);
void tree_set_str(yyjson_mut_doc *doc, tree *object, proa_str name, tree *value);
void tree_set_text(yyjson_mut_doc *doc, tree *object, const char *name, proa_str value);
void tree_remove(tree *object, proa_str name);
/** The object member of this name, made when absent. */
tree *tree_object(yyjson_mut_doc *doc, tree *parent, const char *name);
tree *tree_strn(yyjson_mut_doc *doc, proa_str text);
/** A value by path: ".spec.replicas" or "spec.replicas". */
yyjson_val *value_at(yyjson_val *root, proa_str path);
tree *tree_at(tree *root, proa_str path);
void tree_set_at(yyjson_mut_doc *doc, tree *root, proa_str path, tree *value);
/** Equality without regard to the order of members. */
bool tree_equal(tree *a, tree *b);
/** Heap text, or NULL. */
char *tree_write(tree *root, size_t *ret_len);
/** "name" of metadata and so on. */
proa_str meta_text(tree *root, const char *name);
proa_str meta_value(yyjson_val *root, const char *name);

/* -- Failures ----------------------------------------------------------------------------------------------------- */

/** metav1.Status of a failure; `status` 0: none. */
struct failure {
    int status;
    const char *reason;
    proa_str message;
    const struct sim_kind *kind;
    proa_str name;
    struct proa_buf causes; /* JSON objects, with commas between them */
    uint32_t retry_after_s;
};

/** A request's context: everything it makes lives in its arena. */
struct call {
    struct proa_sim_kube *kube;
    struct proa_arena *arena;
    struct sim_kind *kind;
    proa_str namespace_, name; /* "" for none */
    proa_str subresource;      /* "", "status", "scale" */
    proa_str method;
    proa_str content_type;
    proa_str query; /* as sent */
    proa_str body;
    proa_str manager;
    bool force, dry_run;
    proa_str validation; /* fieldValidation */
    struct failure failure;
};
/** @returns -1, always. */
int fail_call(struct call *call, int status, const char *reason, const char *format, ...) PROA_PRINTF(4, 5);
int fail_not_found(struct call *call);
int fail_memory(struct call *call);
/** Adds a cause to an Invalid failure. */
void add_cause(struct call *call, const char *reason, const char *field, const char *message);
/** 422 with one cause more; the message grows with each. @returns -1. */
int fail_invalid(struct call *call, const char *reason, const char *field, const char *format, ...) PROA_PRINTF(4, 5);
/** A query parameter, decoded; ptr NULL when absent. */
proa_str call_query(struct call *call, const char *name);

/* store.c */
PROA_MUST_USE int store_init(struct proa_sim_kube *kube);
void store_done(struct proa_sim_kube *kube);
struct sim_object *store_find(const struct sim_kind *kind, proa_str namespace_, proa_str name);
/** Index of the first object whose key is not below it. */
size_t store_lower(const struct sim_kind *kind, proa_str key);
void snapshot_unref(struct sim_snapshot *snapshot);
static inline struct sim_snapshot *snapshot_ref(struct sim_snapshot *snapshot)
{
    snapshot->refs++;
    return snapshot;
}
static inline yyjson_val *snapshot_root(const struct sim_snapshot *snapshot)
{
    return yyjson_doc_get_root(snapshot->doc);
}
/** The object as it is at a resourceVersion. NULL when memory is out. */
struct sim_snapshot *snapshot_new(yyjson_mut_doc *doc, uint64_t version);
/** Puts a new version; gives it its resourceVersion. `object` NULL: a new one. */
PROA_MUST_USE int store_put(struct proa_sim_kube *kube, struct sim_kind *kind, struct sim_object *object,
                            yyjson_mut_doc *doc, struct sim_object **ret_object);
/** Removes it. `doc`: its last state, NULL: as it is now. */
PROA_MUST_USE int store_remove(struct proa_sim_kube *kube, struct sim_object *object, yyjson_mut_doc *doc);
/** The snapshots of a kind as they were at a version, by key; each is referenced. @returns PROA_EPRECONDITION when that is
 *  no longer known. */
PROA_MUST_USE int store_list_at(struct proa_sim_kube *kube, const struct sim_kind *kind, uint64_t version,
                                struct proa_vec *ret_entries);
struct store_entry {
    proa_str key; /* heap */
    struct sim_snapshot *snapshot;
};
void store_entries_done(struct proa_vec *entries);
/** The first change kept whose version is above this one; PROA_EPRECONDITION when changes between them are forgotten. */
PROA_MUST_USE int store_changes_after(const struct proa_sim_kube *kube, uint64_t version, uint64_t *ret_change);
void store_forget(struct proa_sim_kube *kube);
static inline proa_str key_namespace(proa_str key)
{
    ptrdiff_t slash = proa_str_find_char(key, '/');

    return proa_str_slice(key, 0, slash < 0 ? 0 : (size_t)slash);
}

/* shape.c */
enum list_shape { LIST_ATOMIC = 0, LIST_SET, LIST_MAP };
/** Where in an object one stands, as far as the shape of lists and maps depends on it. */
struct shape {
    const struct sim_kind *kind;
    yyjson_val *schema; /* NULL: by names */
    proa_str field;     /* the member's name; of a list's item that of the list */
    uint32_t depth;
};
enum { SHAPE_KEYS_MAX = 4 };
struct list_keys {
    enum list_shape shape;
    proa_str names[SHAPE_KEYS_MAX];
    size_t count;
};
struct shape shape_root(const struct sim_kind *kind);
struct shape shape_member(const struct shape *shape, proa_str name);
struct shape shape_item(const struct shape *shape);
bool shape_is_atomic(const struct shape *shape);
void shape_list(const struct shape *shape, tree *list, struct list_keys *ret_keys);
/** "k:{…}" or "v:…" of an item, in the arena; ptr NULL when it has none. */
proa_str shape_element(struct proa_arena *arena, const struct list_keys *keys, tree *item);

/* fields.c */
/** A set of fields, as a tree of path elements ("f:name", "k:{…}", "v:…"). */
struct field {
    proa_str element;
    bool is_member; /* the path that ends here */
    struct field *children, *next;
};
struct field *fields_new(struct proa_arena *arena);
struct field *fields_child(struct proa_arena *arena, struct field *parent, proa_str element, bool create);
struct field *fields_read(struct proa_arena *arena, tree *json);
tree *fields_write(yyjson_mut_doc *doc, const struct field *set);
bool fields_empty(const struct field *set);
bool fields_equal(const struct field *a, const struct field *b);
void fields_add(struct proa_arena *arena, struct field *set, const struct field *more);
void fields_subtract(struct field *set, const struct field *less);
struct field *fields_common(struct proa_arena *arena, const struct field *a, const struct field *b);
/** Takes away everything at and below a path of one or two names. */
void fields_strip(struct field *set, const char *name, const char *below);
/** Appends ".spec.replicas" and the like for each member, with commas between them. */
void fields_describe(struct proa_buf *out, const struct field *set, struct proa_arena *arena, proa_str prefix);
/** The fields that an applied object names. */
void fields_of(struct proa_arena *arena, const struct shape *shape, tree *value, struct field *ret_set);
/** What two objects differ in; either may be NULL. */
struct difference {
    struct field *added, *modified, *removed;
};
void fields_compare(struct proa_arena *arena, const struct shape *shape, tree *before, tree *after,
                    const struct difference *ret_difference);
/** Merges an applied object into a live one; the result is new or `live`, changed. */
tree *fields_merge(struct proa_arena *arena, yyjson_mut_doc *doc, const struct shape *shape, tree *live, tree *applied);
/** Removes the members of a set from an object. @returns whether nothing is left of `value`. */
bool fields_prune(struct proa_arena *arena, const struct shape *shape, tree *value, const struct field *set);

/* managed.c */
/** Sets metadata.managedFields of `after`, changed by an update of `before` (NULL: created). */
void managed_update(struct call *call, yyjson_mut_doc *doc, tree *before, tree *after);
/** Applies `applied` to `doc`'s root (empty object: created). May fail with conflicts. */
PROA_MUST_USE int managed_apply(struct call *call, yyjson_mut_doc *doc, tree *applied);

/* patch.c */
PROA_MUST_USE int patch_merge(struct call *call, yyjson_mut_doc *doc, yyjson_val *patch);
PROA_MUST_USE int patch_json(struct call *call, yyjson_mut_doc *doc, yyjson_val *patch);

/* schema.c */
/** Defaults, pruning, rules of a custom kind. May fail. */
PROA_MUST_USE int schema_admit(struct call *call, yyjson_mut_doc *doc, tree *root);
/** A CustomResourceDefinition was written or removed. */
PROA_MUST_USE int schema_define(struct proa_sim_kube *kube, yyjson_val *crd);
void schema_remove(struct proa_sim_kube *kube, yyjson_val *crd);
/** Fills the status of a CustomResourceDefinition. */
void schema_establish(struct proa_sim_kube *kube, yyjson_mut_doc *doc, tree *crd);

/* selector.c */
struct selectors {
    proa_str labels, fields;
};
/** Reads both from the query and checks them. May fail. */
PROA_MUST_USE int selectors_read(struct call *call, struct selectors *ret_selectors);
bool selectors_match(const struct selectors *selectors, const struct sim_snapshot *snapshot);

/* write.c */
enum patch_type { WRITE_REPLACE, WRITE_MERGE, WRITE_JSON, WRITE_APPLY };
/** *ret_created tells 201 from 200. The snapshot is referenced. */
PROA_MUST_USE int write_create(struct call *call, struct sim_snapshot **ret_snapshot);
PROA_MUST_USE int write_change(struct call *call, enum patch_type type, struct sim_snapshot **ret_snapshot,
                               bool *ret_created);
/** Stores a changed object, or removes it when nothing holds it any more. */
PROA_MUST_USE int write_store(struct call *call, struct sim_object *object, yyjson_mut_doc *doc,
                              struct sim_snapshot **ret_snapshot);

/** Puts call->body as it is, status and all. */
PROA_MUST_USE int write_direct(struct call *call);

/* metadata.c */
/** Names of labels, annotations and finalizers, and owners. May fail. */
PROA_MUST_USE int metadata_check(struct call *call, tree *root);
/** Of ASCII. */
static inline bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
bool is_dns_subdomain(proa_str name);
/** Whether all values of a map are text; `field` and `type` are Go's names of it, for the message. May fail. */
PROA_MUST_USE int check_text_map(struct call *call, tree *map, const char *field, const char *type);

/* builtin.c */
/** Fills in and checks an object before it is stored; `before` NULL: created. May fail. */
PROA_MUST_USE int builtin_admit(struct call *call, yyjson_mut_doc *doc, tree *before, tree *root);

/* delete.c */
/** *ret_snapshot is NULL when it is gone at once. */
PROA_MUST_USE int delete_one(struct call *call, struct sim_object *object, proa_str body,
                             struct sim_snapshot **ret_snapshot);
void collector_wake(struct proa_sim_kube *kube);
void collector_run(struct proa_timer *timer);

/* read.c: answers as JSON text into `out`. */
PROA_MUST_USE int read_list(struct call *call, struct proa_buf *out);
PROA_MUST_USE int read_scale(struct call *call, const struct sim_snapshot *snapshot, struct proa_buf *out);
/** @returns whether the path is one of discovery's. */
bool read_discovery(struct proa_sim_kube *kube, struct proa_arena *arena, proa_str path, struct proa_buf *out,
                    int *ret_status);

/* watch.c */
/** Answers the request; may suspend for long. */
PROA_MUST_USE int watch_serve(struct call *call, struct proa_req *req);

/* serve.c */
int serve_request(struct proa_req *req);
void write_status(struct proa_buf *out, struct proa_arena *arena, const struct failure *failure);
bool sim_kube_chance(struct proa_sim_kube *kube, double probability);
int cut_connection(struct proa_req *req);

/* identity.c */
/** POST /apis/authentication.k8s.io/v1/selfsubjectreviews. */
int serve_self_review(struct call *call, struct proa_req *req);

#endif
