/* A watch: what exists, if asked for, then changes as they come, each seen through the selectors; bookmarks between them. */
#include "sim_kube_internal.h"

#include <stdlib.h>

enum { LAST_BOOKMARK_MS = 2000 };

struct watch {
    struct call *call;
    struct proa_req *req;
    struct proa_sim_kube *kube;
    struct selectors selectors;
    uint64_t next;    /* change */
    uint64_t version; /* as of what was sent */
    bool wants_bookmarks;
    bool sends_initial;
    uint32_t epoch;
    proa_mono_ns ends_at, bookmark_at;
};

static int send(struct watch *watch, const char *type, proa_str object)
{
    struct proa_buf line;
    int rc;

    proa_buf_init(&line, NULL, 0);
    proa_buf_printf(&line, "{\"type\":\"%s\",\"object\":" PROA_FMT "}\n", type, PROA_ARG(object));
    rc = line.error < 0 ? line.error : proa_reply_write(watch->req, proa_buf_str(&line));
    proa_buf_done(&line);
    return rc;
}

static int send_error(struct watch *watch, const struct failure *failure)
{
    struct proa_buf out;

    proa_buf_init(&out, watch->call->arena, 0);
    write_status(&out, watch->call->arena, failure);
    return send(watch, "ERROR", proa_buf_str(&out));
}

static int fail_expired(struct call *call, uint64_t version)
{
    return fail_call(call, 410, "Expired", "too old resource version: %llu (%llu)", (unsigned long long)version,
                     (unsigned long long)call->kube->forgotten);
}

static int send_bookmark(struct watch *watch, bool ends_initial)
{
    const struct sim_kind *kind = watch->call->kind;
    struct proa_buf out;

    proa_buf_init(&out, watch->call->arena, 0);
    proa_buf_printf(&out, "{\"kind\":\"%s\",\"apiVersion\":\"" PROA_FMT "\",\"metadata\":{\"resourceVersion\":\"%llu\"",
                    kind->names.kind, PROA_ARG(kind_api_version(watch->call->arena, kind)),
                    (unsigned long long)watch->version);
    proa_buf_add_c(&out, ends_initial ? ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}" : "}}");
    watch->bookmark_at = proa_loop_now_exact(watch->kube->loop) + PROA_MS(BOOKMARK_MS);
    return send(watch, "BOOKMARK", proa_buf_str(&out));
}

static bool is_in(const struct call *call, proa_str key)
{
    return !call->namespace_.len || proa_str_eq(key_namespace(key), call->namespace_);
}

static int send_initial(struct watch *watch)
{
    struct proa_vec entries;
    int rc = store_list_at(watch->kube, watch->call->kind, watch->kube->version, &entries);

    PROA_TRY(rc);
    watch->version = watch->kube->version;
    watch->next = watch->kube->changes;
    for (size_t i = 0; i < entries.len && rc == 0; i++) {
        const struct store_entry *entry = proa_vec_at(&entries, i);

        if (is_in(watch->call, entry->key) && selectors_match(&watch->selectors, entry->snapshot))
            rc = send(watch, "ADDED", proa_str_n(entry->snapshot->text, entry->snapshot->len));
        if (rc == 0 && sim_kube_chance(watch->kube, watch->kube->options.faults.cut_watch))
            rc = PROA_ECLOSED;
    }
    store_entries_done(&entries);
    if (rc == 0 && watch->sends_initial && watch->wants_bookmarks)
        rc = send_bookmark(watch, true);
    return rc;
}

/* An object that a selector no longer sees is told as deleted, with its last state and the version at which it went. */
static int send_gone(struct watch *watch, const struct sim_change *change)
{
    yyjson_mut_doc *doc = yyjson_doc_mut_copy(change->before->doc, NULL);
    char version[PROA_U64_TEXT_MAX], *text;
    size_t len;
    int rc;

    if (!doc)
        return PROA_ENOMEM;
    tree_set_text(doc, tree_object(doc, yyjson_mut_doc_get_root(doc), "metadata"), "resourceVersion",
                  proa_str_n(version, proa_u64_text(change->version, version)));
    text = tree_write(yyjson_mut_doc_get_root(doc), &len);
    yyjson_mut_doc_free(doc);
    rc = text ? send(watch, "DELETED", proa_str_n(text, len)) : PROA_ENOMEM;
    free(text);
    return rc;
}

static int send_change(struct watch *watch, const struct sim_change *change)
{
    bool was_seen = change->before && selectors_match(&watch->selectors, change->before);
    bool is_seen = !change->is_deletion && selectors_match(&watch->selectors, change->after);
    proa_str now = proa_str_n(change->after->text, change->after->len);

    if (is_seen)
        return send(watch, was_seen ? "MODIFIED" : "ADDED", now);
    if (!was_seen)
        return 0;
    return change->is_deletion ? send(watch, "DELETED", now) : send_gone(watch, change);
}

/* All changes that are there. The history may move on while one is sent, so each is held. */
static int send_changes(struct watch *watch)
{
    while (watch->next < watch->kube->changes) {
        struct sim_change change;
        int rc = 0;

        if (watch->next < watch->kube->changes_from) {
            (void)fail_expired(watch->call, watch->version);
            PROA_TRY(send_error(watch, &watch->call->failure));
            return PROA_EPRECONDITION;
        }
        change = watch->kube->history[watch->next++ % watch->kube->history_max];
        watch->version = change.version;
        if (change.kind != watch->call->kind || !is_in(watch->call, change.key))
            continue;
        if (sim_kube_chance(watch->kube, watch->kube->options.faults.cut_watch))
            return PROA_ECLOSED;
        if (change.before)
            snapshot_ref(change.before);
        snapshot_ref(change.after);
        rc = send_change(watch, &change);
        snapshot_unref(change.before);
        snapshot_unref(change.after);
        PROA_TRY(rc);
    }
    return 0;
}

static int wait_change(struct watch *watch)
{
    struct proa_loop *loop = watch->kube->loop;
    proa_mono_ns at =
        watch->wants_bookmarks && watch->bookmark_at < watch->ends_at ? watch->bookmark_at : watch->ends_at;
    int rc;

    {
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = proa_deadline_enter(loop, at);

        rc = proa_event_wait(&watch->kube->changed);
    }
    if (rc != PROA_ETIMEDOUT)
        return rc;
    return proa_loop_now_exact(loop) < at ? rc : 0;
}

/* Until its time is over. */
static int run(struct watch *watch)
{
    struct proa_loop *loop = watch->kube->loop;

    for (;;) {
        proa_mono_ns now;

        if (watch->epoch != watch->kube->epoch || watch->kube->is_stopping)
            return PROA_ECLOSED;
        PROA_TRY(send_changes(watch));
        watch->version = watch->kube->version;
        now = proa_loop_now_exact(loop);
        if (now >= watch->ends_at)
            return 0;
        if (watch->wants_bookmarks && now >= watch->bookmark_at)
            PROA_TRY(send_bookmark(watch, false));
        if (watch->next == watch->kube->changes)
            PROA_TRY(wait_change(watch));
    }
}

static int read_query(struct watch *watch, uint64_t *ret_from, bool *ret_has_from)
{
    struct call *call = watch->call;
    proa_str version = call_query(call, "resourceVersion"), match = call_query(call, "resourceVersionMatch");
    proa_str seconds = call_query(call, "timeoutSeconds"), bookmarks = call_query(call, "allowWatchBookmarks");
    proa_mono_ns now = proa_loop_now_exact(watch->kube->loop);
    uint64_t number = 1800 + proa_prng_below(&watch->kube->chance, 1800);

    if (selectors_read(call, &watch->selectors) < 0)
        return -1;
    if (seconds.len && proa_str_to_u64(seconds, &number) < 0)
        return fail_call(call, 400, "BadRequest", "timeoutSeconds: Invalid value");
    watch->ends_at = now + PROA_SECONDS(number);
    watch->bookmark_at = now + PROA_MS(BOOKMARK_MS);
    /* The last one comes shortly before the end. */
    if (watch->ends_at - PROA_MS(LAST_BOOKMARK_MS) < watch->bookmark_at && number * 1000 > LAST_BOOKMARK_MS)
        watch->bookmark_at = watch->ends_at - PROA_MS(LAST_BOOKMARK_MS);
    watch->wants_bookmarks = proa_str_eq_c(bookmarks, "true") || proa_str_eq_c(bookmarks, "1");
    if (watch->kube->options.ignores_watch_list)
        match = PROA_STR("");
    else
        watch->sends_initial = proa_str_eq_c(call_query(call, "sendInitialEvents"), "true");
    if (watch->sends_initial && watch->kube->options.no_watch_list)
        return fail_call(call, 422, "Invalid",
                         "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is "
                         "forbidden for watch unless the WatchList feature gate is enabled");
    if (watch->sends_initial && !proa_str_eq_c(match, "NotOlderThan"))
        return fail_call(
            call, 422, "Invalid",
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires "
            "setting resourceVersionMatch to NotOlderThan");
    if (!watch->sends_initial && match.len)
        return fail_call(
            call, 422, "Invalid",
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is "
            "forbidden for watch unless sendInitialEvents is provided");
    if (version.len && proa_str_to_u64(version, ret_from) < 0)
        return fail_call(
            call, 500, "",
            "resourceVersion: Invalid value: \"%.*s\": strconv.ParseUint: parsing \"%.*s\": invalid syntax",
            PROA_ARG(version), PROA_ARG(version));
    *ret_has_from = version.len && *ret_from > 0 && !watch->sends_initial;
    return 0;
}

int watch_serve(struct call *call, struct proa_req *req)
{
    struct watch watch = {.call = call, .req = req, .kube = call->kube, .epoch = call->kube->epoch};
    struct proa_sim_kube *kube = call->kube;
    uint64_t from = 0;
    bool has_from = false;
    int rc;

    if (read_query(&watch, &from, &has_from) < 0)
        return -1;
    if (has_from && sim_kube_chance(kube, kube->options.faults.expire)) {
        store_forget(kube);
        /* Both ways of saying so exist. */
        if (sim_kube_chance(kube, 0.5))
            return fail_expired(call, from);
    }
    PROA_TRY(proa_reply_begin(req, 200, "application/json", -1));
    if (!has_from) {
        rc = send_initial(&watch);
    } else if (store_changes_after(kube, from, &watch.next) < 0) {
        (void)fail_expired(call, from);
        return send_error(&watch, &call->failure);
    } else {
        watch.version = from;
        rc = 0;
    }
    if (rc == 0)
        rc = run(&watch);
    if (rc == PROA_EPRECONDITION)
        return 0; /* said so */
    return rc < 0 ? rc : proa_reply_end(req);
}
