/* What a reconcile does to the cluster, and how it reads its own writes. */
#include "digest.h"
#include "runtime.h"

#include <assert.h>
#include <stdio.h>

/* What an object of ours has to say before we touch it. */
struct existing {
    struct proa_kube_meta metadata;
};
PROA_DESCRIBE_WITH(existing, (.unknown = PROA_UNKNOWN_IGNORE), (metadata, object(proa_kube_meta)));

static struct reconcile_run *run_of(struct proa_reconcile *ctx)
{
    return PROA_CONTAINER(ctx, struct reconcile_run, reconcile);
}

/* A leader whose time is over writes nothing, also when it has not noticed yet: its process may have been stopped for a while. */
static int check_may_write(struct proa_reconcile *ctx)
{
    if (manager_may_write(ctx->manager))
        return 0;
    return proa_fail(ctx->err, PROA_ECANCELED, "this one leads no longer");
}

/* Remembers that a call failed as it does when the API server is away. */
static int note(struct proa_reconcile *ctx, int rc)
{
    if (rc == PROA_EUNAVAILABLE || rc == PROA_ETIMEDOUT)
        run_of(ctx)->api_may_be_away = true;
    return rc;
}

static int name_it(struct proa_reconcile *ctx, int rc, const char *verb, const struct proa_kube_kind *kind,
                   proa_str namespace_, proa_str name)
{
    if (rc < 0 && ctx->err->code)
        return proa_error_wrap(ctx->err, "%s %s " PROA_FMT "%s" PROA_FMT, verb, kind->kind, PROA_ARG(namespace_),
                               namespace_.len ? "/" : "", PROA_ARG(name));
    return rc;
}

/* -- The body ------------------------------------------------------------------------------------------------------ */

static void write_owner(struct proa_buf *out, struct proa_arena *arena, const struct proa_apply *apply)
{
    struct proa_json_writer w;

    proa_buf_add_c(out, ",\"ownerReferences\":[");
    proa_json_writer_init(&w, out);
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("apiVersion"));
    proa_json_text(&w, proa_kube_api_version(arena, apply->owner_kind));
    proa_json_key(&w, PROA_STR("blockOwnerDeletion"));
    proa_json_bool(&w, !apply->may_stay);
    proa_json_key(&w, PROA_STR("controller"));
    proa_json_bool(&w, true);
    proa_json_key(&w, PROA_STR("kind"));
    proa_json_text(&w, proa_str_c(apply->owner_kind->kind));
    proa_json_key(&w, PROA_STR("name"));
    proa_json_text(&w, apply->owner->name);
    proa_json_key(&w, PROA_STR("uid"));
    proa_json_text(&w, apply->owner->uid);
    proa_json_object_end(&w);
    proa_buf_add_char(out, ']');
}

/* The whole object; its name's metadata ends at *ret_after_name, where a version may be put. */
static int write_object(struct proa_reconcile *ctx, const struct proa_apply *apply, proa_str *ret_object,
                        size_t *ret_after_name)
{
    const proa_str metadata = PROA_STR("\"metadata\":{");
    proa_str rest = proa_str_slice(apply->body, 1, apply->body.len);
    struct proa_buf out;

    if (apply->body.len < 2 || apply->body.ptr[0] != '{')
        return proa_fail(ctx->err, PROA_EINVAL, "the body of an apply is no JSON object");
    proa_buf_init(&out, ctx->arena, 0);
    proa_buf_add_c(&out, "{\"apiVersion\":");
    proa_json_escape(&out, proa_kube_api_version(ctx->arena, apply->kind));
    proa_buf_add_c(&out, ",\"kind\":");
    proa_json_escape(&out, proa_str_c(apply->kind->kind));
    proa_buf_add_c(&out, ",\"metadata\":{\"name\":");
    proa_json_escape(&out, apply->name);
    *ret_after_name = out.len;
    if (apply->owner)
        write_owner(&out, ctx->arena, apply);
    if (proa_str_starts_with(rest, metadata)) {
        rest = proa_str_slice(rest, metadata.len, rest.len);
        if (rest.len > 0 && rest.ptr[0] != '}')
            proa_buf_add_char(&out, ',');
    } else {
        proa_buf_add_char(&out, '}');
        if (rest.len > 0 && rest.ptr[0] != '}')
            proa_buf_add_char(&out, ',');
    }
    proa_buf_add(&out, rest);
    if (out.error < 0)
        return proa_fail(ctx->err, PROA_ENOMEM, "no memory for an object");
    *ret_object = proa_buf_str(&out);
    return 0;
}

/* -- Applying ------------------------------------------------------------------------------------------------------ */

struct applying {
    struct proa_reconcile *ctx;
    const struct proa_apply *apply;
    struct proa_cache *cache; /* NULL: none */
    proa_str object;
    size_t after_name;
    uint64_t digest;
    int part; /* enum cache_part, or -1: of a subresource whose fields are not known */
};

static int refuse(const struct applying *applying, const char *whose)
{
    return proa_fail(applying->ctx->err, PROA_ECONFLICT, "it exists already and %s", whose);
}

/* @param owner_uid of the object that is there, "" if none; @param has_our_fields: we applied some, so that it is ours although somebody took
 * its owner away */
static int check_ours(const struct applying *applying, proa_str owner_uid, bool has_our_fields)
{
    const struct proa_apply *apply = applying->apply;

    if (!apply->owner || proa_str_eq(owner_uid, apply->owner->uid))
        return 0;
    if (owner_uid.len > 0)
        return refuse(applying, "belongs to another controller");
    return apply->adopt || has_our_fields ? 0 : refuse(applying, "was not made for this object");
}

/* With `only_create` the version is one that no object has: the API server compares it with an object's that exists, and ignores it
 * where none does. */
static int send_apply(const struct applying *applying, bool only_create, proa_str *ret_answer)
{
    const struct proa_apply *apply = applying->apply;
    struct proa_reconcile *ctx = applying->ctx;
    struct proa_kube_request request = {.method = "PATCH",
                                        .kind = apply->kind,
                                        .namespace_ = apply->namespace_,
                                        .name = apply->name,
                                        .subresource = apply->subresource,
                                        .content_type = "application/apply-patch+yaml",
                                        .body = applying->object};
    struct proa_buf query, body;

    PROA_TRY(check_may_write(ctx));
    proa_buf_init(&query, ctx->arena, 0);
    kube_query_add(&query, "fieldManager", proa_str_c(proa_kube_field_manager(ctx->kube)));
    kube_query_add(&query, "force", apply->no_force ? PROA_STR("false") : PROA_STR("true"));
    kube_query_add(&query, "fieldValidation", PROA_STR("Strict"));
    proa_buf_init(&body, ctx->arena, 0);
    if (only_create) {
        proa_buf_add(&body, proa_str_slice(applying->object, 0, applying->after_name));
        proa_buf_add_c(&body, ",\"resourceVersion\":\"1\"");
        proa_buf_add(&body, proa_str_slice(applying->object, applying->after_name, applying->object.len));
        request.body = proa_buf_str(&body);
    }
    if (query.error < 0 || body.error < 0)
        return proa_fail(ctx->err, PROA_ENOMEM, "no memory for a request");
    request.query = proa_buf_str(&query);
    return note(ctx, proa_kube_send(ctx->kube, ctx->arena, &request, ret_answer, ctx->err));
}

/* An object that the cache does not show (its labels may hide it from a selector) is only created; if it is there all the same, its owner
 * decides. */
static int apply_unseen(const struct applying *applying, proa_str *ret_answer)
{
    const struct proa_apply *apply = applying->apply;
    struct proa_reconcile *ctx = applying->ctx;
    const struct proa_kube_owner *owner;
    struct existing existing;
    int rc;

    if (!apply->owner)
        return send_apply(applying, false, ret_answer);
    rc = send_apply(applying, true, ret_answer);
    if (rc != PROA_ECONFLICT)
        return rc;
    proa_error_clear(ctx->err);
    PROA_TRY(note(ctx, proa_kube_get(ctx->kube, ctx->arena, apply->kind, apply->namespace_, apply->name, &existing_type,
                                     &existing, ctx->err)));
    owner = proa_kube_controller_of(&existing.metadata);
    PROA_TRY(check_ours(applying, owner ? owner->uid : PROA_STR(""), false));
    return send_apply(applying, false, ret_answer);
}

/* Remembers what came of it. */
static void take_answer(const struct applying *applying, proa_str answer)
{
    const struct proa_apply *apply = applying->apply;
    proa_str metadata = json_member(answer, PROA_STR("metadata"));
    proa_str version = json_plain_text(json_member(metadata, PROA_STR("resourceVersion")));
    struct applied_digests digests;

    if (!applying->cache)
        return;
    if (applying->part >= 0) {
        digests = digest_applied(answer, json_member(metadata, PROA_STR("managedFields")),
                                 proa_str_c(proa_kube_field_manager(applying->ctx->kube)));
        cache_note_applied(applying->cache, apply->namespace_, apply->name, (enum cache_part)applying->part,
                           applying->digest, applying->part == CACHE_MAIN ? digests.main : digests.status);
    }
    queue_await(run_of(applying->ctx)->item, applying->cache, cache_version(version));
}

static int apply_it(struct applying *applying, bool *ret_changed)
{
    const struct proa_apply *apply = applying->apply;
    const struct cache_entry *entry = NULL;
    proa_str answer = {NULL, 0};
    int rc;

    PROA_TRY(write_object(applying->ctx, apply, &applying->object, &applying->after_name));
    applying->digest = digest_body(applying->object);
    if (applying->cache)
        entry = cache_find(applying->cache, apply->namespace_, apply->name);
    if (entry) {
        PROA_TRY(check_ours(applying, cache_owner_uid(entry->owner), entry->applied[CACHE_MAIN].digest != 0));
        if (applying->part >= 0 && cache_is_applied(entry, (enum cache_part)applying->part, applying->digest)) {
            *ret_changed = false;
            return 0;
        }
    }
    rc = entry || apply->subresource ? send_apply(applying, false, &answer) : apply_unseen(applying, &answer);
    PROA_TRY(rc);
    take_answer(applying, answer);
    *ret_changed = true;
    return 0;
}

/* The value as JSON, when one was given instead of a body. */
static int write_value(struct proa_reconcile *ctx, struct proa_apply *apply)
{
    struct proa_buf body;
    int rc;

    if (!apply->type)
        return 0;
    proa_buf_init(&body, ctx->arena, 0);
    rc = proa_json_write_type(&body, 0, apply->type, apply->value);
    if (rc < 0)
        return proa_fail(ctx->err, rc, "the value of a %s cannot be written as JSON", apply->type->name);
    apply->body = proa_buf_str(&body);
    return 0;
}

/* What is given may lie in the cache, which changes while we wait for the API server; and what is left out has a default. */
static int take_request(struct proa_reconcile *ctx, const struct proa_apply *given, struct proa_apply *ret_own,
                        struct proa_kube_meta *ret_owner)
{
    *ret_own = *given;
    ret_own->namespace_ = given->kind->is_cluster_scoped ? PROA_STR("")
                          : given->namespace_.ptr        ? proa_arena_str(ctx->arena, given->namespace_)
                                                         : ctx->namespace_;
    ret_own->name = given->name.ptr ? proa_arena_str(ctx->arena, given->name) : ctx->name;
    if (!ret_own->namespace_.ptr || !ret_own->name.ptr)
        return proa_fail(ctx->err, PROA_ENOMEM, "no memory for an object");
    if (given->owner) {
        ret_owner->name = proa_arena_str(ctx->arena, given->owner->name);
        ret_owner->uid = proa_arena_str(ctx->arena, given->owner->uid);
        if (!ret_owner->name.ptr || !ret_owner->uid.ptr)
            return proa_fail(ctx->err, PROA_ENOMEM, "no memory for an object");
        /* The garbage collector looks for an owner in the namespace of what it owns, and takes it for gone. */
        if (given->owner->namespace_.len > 0 && !proa_str_eq(given->owner->namespace_, ret_own->namespace_))
            return proa_fail(ctx->err, PROA_EINVAL,
                             "its owner " PROA_FMT " is in the namespace " PROA_FMT
                             ", and may own nothing outside of it",
                             PROA_ARG(given->owner->name), PROA_ARG(given->owner->namespace_));
        ret_own->owner = ret_owner;
        if (!given->owner_kind)
            ret_own->owner_kind = ctx->controller->options.for_.kind;
    }
    return write_value(ctx, ret_own);
}

int proa_reconcile_apply(struct proa_reconcile *ctx, const struct proa_apply *apply, bool *ret_changed)
{
    struct proa_apply own = {0};
    struct proa_kube_meta owner = {0};
    struct applying applying = {
        .ctx = ctx, .apply = &own, .cache = proa_controller_cache(ctx->controller, apply->kind), .part = CACHE_MAIN};
    bool changed;
    int rc;

    rc = take_request(ctx, apply, &own, &owner);
    if (rc < 0)
        return own.kind ? name_it(ctx, rc, "apply", own.kind, own.namespace_, own.name) : rc;
    if (own.subresource)
        applying.part = proa_str_eq_c(proa_str_c(own.subresource), "status") ? CACHE_STATUS : -1;
    rc = apply_it(&applying, &changed);
    if (rc < 0)
        return name_it(ctx, rc, "apply", own.kind, own.namespace_, own.name);
    if (ret_changed)
        *ret_changed = changed;
    return 0;
}

int proa_reconcile_object_type(struct proa_reconcile *ctx, const struct proa_type *type, void *ret_object)
{
    const struct proa_cache *cache = ctx->controller->sources[0].cache;
    const struct cache_entry *entry = cache_find(cache, ctx->namespace_, ctx->name);

    assert(type == cache->source.type);
    if (!entry)
        return 0;
    if (proa_copy_type(ctx->arena, type, entry->object, ret_object) < 0)
        return proa_fail(ctx->err, PROA_ENOMEM, "no memory for an object");
    return 1;
}

/* -- Deleting, finalizers, waiting --------------------------------------------------------------------------------- */

void proa_reconcile_await(struct proa_reconcile *ctx, const struct proa_kube_kind *kind, proa_str resource_version)
{
    struct proa_cache *cache = proa_controller_cache(ctx->controller, kind);

    if (cache)
        queue_await(run_of(ctx)->item, cache, cache_version(resource_version));
}

/* After a 409 to a deletion by uid: whether the object of that name is gone or another one, so that nothing is left to delete. Other
 * writers' conflicts are told by 409 too. @returns 1, 0 or an error. */
static int is_gone(struct proa_reconcile *ctx, const struct proa_kube_kind *kind, proa_str namespace_, proa_str name,
                   proa_str uid)
{
    struct proa_kube_object object;
    int rc = proa_kube_get(ctx->kube, ctx->arena, kind, namespace_, name, &proa_kube_object_type, &object, ctx->err);

    if (rc == PROA_ENOTFOUND)
        return 1;
    return rc < 0 ? rc : !proa_str_eq(object.metadata.uid, uid);
}

/* Waits until the cache has seen an object change or go, if it shows it still: its deletion's version is in no answer. */
static void await_gone(struct proa_reconcile *ctx, const struct proa_kube_kind *kind, proa_str namespace_,
                       proa_str name)
{
    struct proa_cache *cache = proa_controller_cache(ctx->controller, kind);
    const struct cache_entry *entry = cache ? cache_find(cache, namespace_, name) : NULL;

    if (entry)
        queue_await_change(run_of(ctx)->item, cache, entry);
}

int proa_reconcile_delete(struct proa_reconcile *ctx, const struct proa_kube_kind *kind,
                          const struct proa_kube_meta *meta, const struct proa_kube_delete_options *options)
{
    struct proa_kube_delete_options own = {0};
    /* They may lie in the cache, which changes meanwhile. */
    proa_str namespace_ = proa_arena_str(ctx->arena, meta->namespace_), name = proa_arena_str(ctx->arena, meta->name);
    int rc;

    if (options)
        own = *options;
    own.uid = proa_arena_str(ctx->arena, meta->uid);
    own.resource_version = proa_arena_str(ctx->arena, own.resource_version);
    if (!namespace_.ptr || !name.ptr || !own.uid.ptr || !own.resource_version.ptr)
        return proa_fail(ctx->err, PROA_ENOMEM, "no memory for a request");
    PROA_TRY(check_may_write(ctx));
    rc = proa_kube_delete(ctx->kube, ctx->arena, kind, namespace_, name, &own, ctx->err);
    if (rc == PROA_ECONFLICT && own.resource_version.len == 0 && own.uid.len > 0) {
        int gone = is_gone(ctx, kind, namespace_, name, own.uid);

        if (gone == 0)
            return proa_fail(ctx->err, rc, "delete %s " PROA_FMT ": the API server says that it changed meanwhile",
                             kind->kind, PROA_ARG(name));
        rc = gone > 0 ? PROA_ENOTFOUND : gone;
    }
    if (rc == PROA_ENOTFOUND) {
        proa_error_clear(ctx->err);
        return 0;
    }
    PROA_TRY(note(ctx, rc));
    await_gone(ctx, kind, namespace_, name);
    return 0;
}

int proa_reconcile_finalizer(struct proa_reconcile *ctx, const struct proa_kube_kind *kind,
                             const struct proa_kube_meta *meta, const char *finalizer, bool is_wanted)
{
    struct proa_kube_object object;
    proa_str namespace_, name;
    uint64_t version;

    if (proa_kube_has_finalizer(meta, finalizer) == is_wanted)
        return 0;
    /* They may lie in the cache, which changes meanwhile. */
    namespace_ = proa_arena_str(ctx->arena, meta->namespace_);
    name = proa_arena_str(ctx->arena, meta->name);
    version = cache_version(meta->resource_version);
    if (!namespace_.ptr || !name.ptr)
        return proa_fail(ctx->err, PROA_ENOMEM, "no memory for a finalizer");
    PROA_TRY(check_may_write(ctx));
    PROA_TRY(note(ctx, kube_set_finalizer(ctx->kube, ctx->arena, kind, meta, finalizer, is_wanted, &object, ctx->err)));
    if (cache_version(object.metadata.resource_version) > version)
        proa_reconcile_await(ctx, kind, object.metadata.resource_version);
    else
        await_gone(ctx, kind, namespace_, name);
    return 0;
}

void proa_reconcile_event(struct proa_reconcile *ctx, const struct proa_kube_kind *kind,
                          const struct proa_kube_meta *regarding, enum proa_event_type type, const char *reason,
                          const char *action, const char *format, ...)
{
    char note[EVENT_NOTE_MAX + 1];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(note, sizeof note, format, args);
    va_end(args);
    if (len < 0)
        return;
    events_add(
        &ctx->manager->events, kind, regarding, type, reason, action,
        proa_utf8_cut(proa_str_n(note, (size_t)len < sizeof note ? (size_t)len : sizeof note - 1), EVENT_NOTE_MAX));
}
