/* List and watch for ever, KEP-365 (pages), KEP-956 (bookmarks), KEP-3157 (streaming lists).
 *
 *                      +--------------------------------------------------+
 *                      v                                                  | 410, at any place
 *   start ----> LISTING: streaming list, or pages ----> WATCHING: from the last version seen, until the server's time-out
 *                      ^        |                            ^        |
 *                      +--------+ failed: back-off           +--------+ ended: at once; failed: back-off
 */
#include "list.h"

#include "digest.h"
#include "ready.h"
#include "splitter.h"

enum {
    VERSION_MAX = 64,
    WATCH_MIN_S = 300,
    WATCH_MAX_S = 600,
    WATCH_GRACE_S = 30, /* the server ends a watch; when it does not, we do */
    BACKOFF_FIRST_MS = 800,
    BACKOFF_MAX_MS = 30000,
    SHORT_WATCH_MS = 1000, /* one that ends sooner than that, without an event, is a failure */
    STREAM_SILENT_S = 30,  /* a streaming list that says nothing for so long does not know that it is one */
};

struct watch_event {
    proa_str type;
    proa_str object;
};
PROA_DESCRIBE_WITH(watch_event, (.unknown = PROA_UNKNOWN_IGNORE), (type, str), (object, raw));

struct event_meta {
    proa_str resource_version;
    PROA_MAP_OF(proa_str) annotations;
};
PROA_DESCRIBE_WITH(event_meta, (.unknown = PROA_UNKNOWN_IGNORE),
                   (resource_version, str, .json = "resourceVersion", .default_json = "\"\""),
                   (annotations, map(str), .default_json = "{}"));
struct event_object {
    struct event_meta metadata;
};
PROA_DESCRIBE_WITH(event_object, (.unknown = PROA_UNKNOWN_IGNORE), (metadata, object(event_meta)));

struct watch {
    struct proa_kube *kube;
    const struct proa_kube_kind *kind;
    const struct proa_kube_watch_options *options;
    struct proa_error *err;
    char version[VERSION_MAX];
    size_t version_len;
    uint32_t backoff_ms;
    bool must_list;
    bool is_streaming; /* the present list comes as a watch, whose initial events are not over */
    bool no_streaming; /* the server cannot */
    bool got_events;
    bool is_untried; /* nothing has come since the last list ended */
    struct kube_open_watch open;
    int event_result; /* of the caller's function, when it ended the watch */
};

static int tell(struct watch *watch, enum proa_kube_event_kind kind, proa_str json, proa_str version)
{
    struct proa_kube_event event = {kind, json, version};
    int rc = watch->options->event(watch->options->arg, &event);

    if (rc < 0)
        watch->event_result = rc;
    return rc;
}

static int keep_version(struct watch *watch, proa_str version)
{
    if (version.len == 0 || version.len > VERSION_MAX)
        return proa_fail(watch->err, PROA_EPROTOCOL, "the API server gave no resourceVersion that can be kept");
    memcpy(watch->version, version.ptr, version.len);
    watch->version_len = version.len;
    return 0;
}

static proa_str version_of(const struct watch *watch)
{
    return proa_str_n(watch->version, watch->version_len);
}

/* -- Events ------------------------------------------------------------------------------------------------------- */

static int bookmark(struct watch *watch, const struct event_object *object)
{
    bool ends_list = false;

    PROA_TRY(keep_version(watch, object->metadata.resource_version));
    for (size_t i = 0; i < object->metadata.annotations.len; i++)
        if (proa_str_eq_c(object->metadata.annotations.ptr[i].key, "k8s.io/initial-events-end"))
            ends_list = proa_str_eq_c(object->metadata.annotations.ptr[i].value, "true");
    if (ends_list && watch->is_streaming) {
        watch->is_streaming = false;
        watch->must_list = false;
        watch->is_untried = true;
        return tell(watch, PROA_KUBE_SYNCED, PROA_STR(""), version_of(watch));
    }
    return tell(watch, PROA_KUBE_BOOKMARK, PROA_STR(""), version_of(watch));
}

/* What is known of an object that is left out, from the beginning of its text. */
struct skipped {
    proa_str namespace_, name, uid, version;
};

static struct skipped skip_object(struct watch *watch, proa_str object)
{
    proa_str metadata = json_member(object, PROA_STR("metadata"));
    const struct skipped skipped = {json_plain_text(json_member(metadata, PROA_STR("namespace"))),
                                    json_plain_text(json_member(metadata, PROA_STR("name"))),
                                    json_plain_text(json_member(metadata, PROA_STR("uid"))),
                                    json_plain_text(json_member(metadata, PROA_STR("resourceVersion")))};
    const struct proa_kube_options *options = &watch->kube->options;
    proa_str kind = proa_str_c(watch->kind->kind);

    if (options->logger)
        PROA_WARN(options->logger, "object left out, it is too large", proa_kv_str("kind", kind),
                  proa_kv_str("namespace", skipped.namespace_), proa_kv_str("name", skipped.name),
                  proa_kv_u64("limit_bytes", options->item_bytes));
    if (watch->kube->skipped)
        proa_counter_add(proa_counter_with(watch->kube->skipped, &kind), proa_loop_index(options->loop), 1);
    return skipped;
}

static int skip_listed(void *arg, proa_str beginning)
{
    skip_object(arg, beginning);
    return 0;
}

/* Of an object that was small enough before nothing is known any more: it is as good as gone. */
static int skip_event(struct watch *watch, struct proa_arena *arena, proa_str beginning)
{
    struct skipped skipped = skip_object(watch, json_member(beginning, PROA_STR("object")));
    proa_str rest;

    watch->got_events = true;
    if (watch->is_streaming || skipped.name.len == 0 || skipped.version.len == 0)
        return 0;
    watch->is_untried = false;
    rest = proa_arena_printf(arena,
                             "{\"metadata\":{\"namespace\":\"" PROA_FMT "\",\"name\":\"" PROA_FMT
                             "\",\"uid\":\"" PROA_FMT "\",\"resourceVersion\":\"" PROA_FMT "\"}}",
                             PROA_ARG(skipped.namespace_), PROA_ARG(skipped.name), PROA_ARG(skipped.uid),
                             PROA_ARG(skipped.version));
    if (!rest.ptr)
        return proa_fail(watch->err, PROA_ENOMEM, "no memory for an event");
    PROA_TRY(tell(watch, PROA_KUBE_DELETED, rest, skipped.version));
    return keep_version(watch, skipped.version);
}

static int found_event(void *arg, enum splitter_part part, proa_str text)
{
    struct watch *watch = arg;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct watch_event event;
    struct event_object object;
    enum proa_kube_event_kind kind;

    proa_arena_init(&arena, proa_loop_blocks(watch->kube->options.loop), 0);
    if (part == SPLIT_TOO_LARGE)
        return skip_event(watch, &arena, text);
    PROA_TRY(proa_json_read(&arena, text, PROA_JSON_LENIENT, &watch_event_type, &event, watch->err));
    if (proa_str_eq_c(event.type, "ERROR"))
        return kube_status_error(event.object, 500, 0, watch->err);
    PROA_TRY(proa_json_read(&arena, event.object, PROA_JSON_LENIENT, &event_object_type, &object, watch->err));
    watch->got_events = true;
    if (!watch->is_streaming)
        watch->is_untried = false;
    if (proa_str_eq_c(event.type, "BOOKMARK"))
        return bookmark(watch, &object);
    if (proa_str_eq_c(event.type, "ADDED"))
        kind = PROA_KUBE_ADDED;
    else if (proa_str_eq_c(event.type, "MODIFIED"))
        kind = PROA_KUBE_MODIFIED;
    else if (proa_str_eq_c(event.type, "DELETED"))
        kind = PROA_KUBE_DELETED;
    else
        return proa_fail(watch->err, PROA_EPROTOCOL, "a watch event of the unknown type \"" PROA_FMT "\"",
                         PROA_ARG(event.type));
    PROA_TRY(tell(watch, kind, event.object, object.metadata.resource_version));
    /* While a streaming list is not over its versions are in no order. */
    return watch->is_streaming ? 0 : keep_version(watch, object.metadata.resource_version);
}

/* An API server that does not know streaming lists, and does not check what it is asked for (aggregated ones), sends what exists and then
 * waits for changes: nothing tells that the list is over. */
static int read_piece(struct watch *watch, struct proa_exchange *exchange, proa_str *ret_piece)
{
    struct proa_loop *loop = watch->kube->options.loop;
    struct proa_deadline_scope scope;
    int rc;

    if (!watch->is_streaming)
        return proa_exchange_read(exchange, ret_piece, watch->err);
    scope = proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_SECONDS(STREAM_SILENT_S));
    rc = proa_exchange_read(exchange, ret_piece, watch->err);
    proa_deadline_leave(&scope);
    watch->no_streaming = rc == PROA_ETIMEDOUT && proa_fiber_check(loop) == 0;
    return rc;
}

static int read_pieces(struct watch *watch, struct proa_exchange *exchange)
{
    struct splitter splitter PROA_CLEANUP(splitter_done);
    proa_str piece;

    splitter_init(&splitter, SPLIT_STREAM, watch->kube->options.item_bytes, found_event, watch);
    for (;;) {
        PROA_TRY(read_piece(watch, exchange, &piece));
        if (!piece.ptr)
            return 0;
        watch->open.heard = proa_loop_now_exact(watch->kube->options.loop);
        PROA_TRY(splitter_feed(&splitter, piece, watch->err));
    }
}

static int read_events(struct watch *watch, struct proa_exchange *exchange)
{
    int rc;

    watch->open =
        (struct kube_open_watch){.exchange = exchange, .heard = proa_loop_now_exact(watch->kube->options.loop)};
    proa_list_push_back(&watch->kube->watches, &watch->open.list);
    rc = read_pieces(watch, exchange);
    proa_list_remove(&watch->open.list);
    return rc;
}

/* -- Requests ----------------------------------------------------------------------------------------------------- */

static int watch_query(struct watch *watch, struct proa_arena *arena, uint64_t seconds, proa_str *ret_query)
{
    char text[PROA_U64_TEXT_MAX];
    struct proa_buf query;

    proa_buf_init(&query, arena, 0);
    kube_query_add(&query, "watch", PROA_STR("true"));
    kube_query_add(&query, "allowWatchBookmarks", PROA_STR("true"));
    kube_query_add(&query, "timeoutSeconds", proa_str_n(text, proa_u64_text(seconds, text)));
    kube_query_add(&query, "labelSelector", watch->options->label_selector);
    kube_query_add(&query, "fieldSelector", watch->options->field_selector);
    if (watch->is_streaming) {
        kube_query_add(&query, "sendInitialEvents", PROA_STR("true"));
        kube_query_add(&query, "resourceVersionMatch", PROA_STR("NotOlderThan"));
    } else {
        kube_query_add(&query, "resourceVersion", version_of(watch));
    }
    *ret_query = proa_buf_str(&query);
    return query.error < 0 ? proa_fail(watch->err, PROA_ENOMEM, "no memory for a request") : 0;
}

/* One watch request, to its end. */
static int watch_once(struct watch *watch)
{
    struct proa_loop *loop = watch->kube->options.loop;
    uint64_t seconds = WATCH_MIN_S + proa_loop_random_u64(loop) % (WATCH_MAX_S - WATCH_MIN_S);
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_SECONDS(seconds + WATCH_GRACE_S));
    struct proa_kube_request request = {.kind = watch->kind, .namespace_ = watch->options->namespace_};
    struct proa_exchange *exchange;
    int rc;

    proa_arena_init(&arena, proa_loop_blocks(loop), 0);
    PROA_TRY(watch_query(watch, &arena, seconds, &request.query));
    rc = kube_open(watch->kube, &arena, &request, &exchange, watch->err);
    if (watch->is_streaming && (rc == PROA_EVALIDATION || rc == PROA_EINVAL)) {
        watch->no_streaming = true; /* an API server without WatchList does not take the parameter */
        watch->is_streaming = false;
        return rc;
    }
    PROA_TRY(rc);
    if (watch->is_streaming)
        PROA_TRY(tell(watch, PROA_KUBE_RESTART, PROA_STR(""), PROA_STR("")));
    rc = read_events(watch, exchange);
    proa_exchange_close(exchange);
    return rc;
}

static int list_item(void *arg, proa_str json)
{
    struct watch *watch = arg;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct event_object object;

    proa_arena_init(&arena, proa_loop_blocks(watch->kube->options.loop), 0);
    PROA_TRY(proa_json_read(&arena, json, PROA_JSON_LENIENT, &event_object_type, &object, watch->err));
    return tell(watch, PROA_KUBE_ADDED, json, object.metadata.resource_version);
}

static int list_restart(void *arg)
{
    return tell(arg, PROA_KUBE_RESTART, PROA_STR(""), PROA_STR(""));
}

static int list_pages(struct watch *watch)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct kube_list list = {.kind = watch->kind,
                             .namespace_ = watch->options->namespace_,
                             .label_selector = watch->options->label_selector,
                             .field_selector = watch->options->field_selector,
                             .page = watch->options->page,
                             .each = list_item,
                             .too_large = skip_listed,
                             .restart = list_restart,
                             .arg = watch};
    proa_str version;

    proa_arena_init(&arena, proa_loop_blocks(watch->kube->options.loop), 0);
    PROA_TRY(list_restart(watch));
    PROA_TRY(kube_list_pages(watch->kube, &arena, &list, &version, watch->err));
    PROA_TRY(keep_version(watch, version));
    watch->must_list = false;
    watch->is_untried = true;
    return tell(watch, PROA_KUBE_SYNCED, PROA_STR(""), version);
}

/* -- For ever ----------------------------------------------------------------------------------------------------- */

/* Lists if it must, or watches. @returns 0 when the server ended it in order. */
static int step(struct watch *watch)
{
    watch->got_events = false;
    if (!watch->must_list)
        return watch_once(watch);
    if (!watch->options->no_streaming_list && !watch->no_streaming) {
        int rc;

        watch->is_streaming = true;
        rc = watch_once(watch);
        /* The stream goes on as the watch; one that ended in order before its list was whole was none. */
        if (rc == 0 && watch->is_streaming)
            watch->no_streaming = true;
        if (!watch->no_streaming)
            return rc;
        watch->is_streaming = false;
        if (watch->err)
            proa_error_clear(watch->err);
    }
    return list_pages(watch);
}

static uint64_t next_backoff(struct watch *watch)
{
    uint64_t ms = watch->backoff_ms ? watch->backoff_ms : BACKOFF_FIRST_MS;

    watch->backoff_ms = ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : (uint32_t)(ms * 2);
    /* Between one and two times, as client-go does. */
    return PROA_MS(ms) + proa_loop_random_u64(watch->kube->options.loop) % PROA_MS(ms);
}

static void log_failure(struct watch *watch, int rc)
{
    const struct proa_logger *logger = watch->kube->options.logger;

    if (!logger)
        return;
    if (watch->err && watch->err->code)
        PROA_WARN(logger, "watch failed", proa_kv_c("kind", watch->kind->kind), proa_kv_c("error", watch->err->message),
                  proa_kv_c("code", proa_code_name(rc)));
    else
        PROA_WARN(logger, "watch failed", proa_kv_c("kind", watch->kind->kind), proa_kv_c("code", proa_code_name(rc)));
}

/* @returns 0 to go on, or why the watch is over. */
static int handle(struct watch *watch, int rc, proa_mono_ns started)
{
    struct proa_loop *loop = watch->kube->options.loop;
    bool was_short = proa_loop_now_exact(loop) - started < PROA_MS(SHORT_WATCH_MS);
    int stop = watch->event_result ? watch->event_result : proa_fiber_check(loop);
    bool is_back;

    if (stop < 0)
        return stop;
    watch->is_streaming = false;
    if (watch->open.was_cut) { /* the API server is back: again at once */
        watch->open.was_cut = false;
        watch->backoff_ms = 0;
        return 0;
    }
    if (rc == PROA_EPRECONDITION) {
        /* What we saw last is too old: list anew; at once, unless that has just been done, to no use. */
        bool again = watch->must_list || watch->is_untried;

        watch->must_list = true;
        if (!again)
            return 0;
    }
    if (rc == 0 && !was_short)
        watch->is_untried = false;
    if ((watch->got_events || (rc == 0 && !was_short)) && !watch->is_untried)
        watch->backoff_ms = 0;
    if (rc == 0 && (!was_short || watch->got_events))
        return 0;
    if (rc == PROA_ETIMEDOUT && !was_short)
        return 0;
    if (rc < 0)
        log_failure(watch, rc);
    PROA_TRY(kube_wait_ready(watch->kube, next_backoff(watch), &is_back));
    if (is_back)
        watch->backoff_ms = 0;
    return 0;
}

int proa_kube_watch(struct proa_kube *kube, const struct proa_kube_kind *kind,
                    const struct proa_kube_watch_options *options, struct proa_error *err)
{
    struct proa_error own = {0};
    struct watch watch = {.kube = kube, .kind = kind, .options = options, .err = err ? err : &own, .must_list = true};

    for (;;) {
        proa_mono_ns started = proa_loop_now_exact(kube->options.loop);
        bool was_list = watch.must_list;
        int rc;

        proa_error_clear(watch.err);
        rc = step(&watch);
        if (rc == 0 && was_list && !watch.must_list && watch.event_result == 0) {
            /* Listed by pages: watch now. */
            PROA_TRY(proa_fiber_check(kube->options.loop));
            continue;
        }
        PROA_TRY(handle(&watch, rc, started));
    }
}
