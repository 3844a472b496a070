/* Events. One record an (object, type, reason, action): first its creation is to be sent, later, at most once a minute, how often it was
 * repeated. A record forgets its text once it was sent. */
#include "events.h"

#include <proa/text.h>
#include <stdio.h>
#include <stdlib.h>

/* A name has at most 253 bytes, its suffix included. */
enum { ATTEMPTS_MAX = 4, RETRY_MS = 1000, NAME_MAX_BYTES = 230, NAME_SUFFIX_MAX = 20, STOP_MS = 1000 };

struct event_record {
    struct table_node node;
    struct proa_list recent, pending; /* unlinked when in none */
    uint64_t key;
    proa_str namespace_, name; /* in `text` */
    char *body;                /* JSON of its creation; NULL when sent */
    size_t body_len;
    proa_mono_ns touched, sent;
    proa_time_ns last;
    uint32_t count, sent_count, attempts;
    char text[];
};

static struct proa_loop *loop_of(const struct events *events)
{
    return proa_kube_loop(events->options.kube);
}

static bool is_pending(const struct event_record *record)
{
    return record->pending.next != &record->pending;
}

static void unqueue(struct events *events, struct event_record *record)
{
    if (!is_pending(record))
        return;
    proa_list_remove(&record->pending);
    events->pending_count--;
}

static void record_free(struct events *events, struct event_record *record)
{
    unqueue(events, record);
    proa_list_remove(&record->recent);
    table_remove(&events->known, &record->node);
    free(record->body);
    free(record);
}

void events_init(struct events *events, const struct events_options *options)
{
    *events = (struct events){.options = *options, .tokens = EVENTS_BURST};
    proa_list_init(&events->recent);
    proa_list_init(&events->pending);
    proa_event_init(&events->wake, proa_kube_loop(options->kube));
}

void events_done(struct events *events)
{
    while (!proa_list_empty(&events->recent))
        record_free(events, PROA_CONTAINER(events->recent.next, struct event_record, recent));
    table_done(&events->known);
}

/* -- Adding -------------------------------------------------------------------------------------------------------- */

static uint64_t key_of(const struct proa_kube_meta *regarding, enum proa_event_type type, const char *reason,
                       const char *action)
{
    uint64_t key = proa_str_hash(regarding->uid, (uint64_t)type);

    key = proa_str_hash(regarding->namespace_, key);
    key = proa_str_hash(regarding->name, key);
    return proa_str_hash(proa_str_c(action), proa_str_hash(proa_str_c(reason), key));
}

static struct event_record *find(const struct events *events, uint64_t key)
{
    for (struct table_node *node = table_first(&events->known, (uint32_t)key); node; node = node->next) {
        struct event_record *record = PROA_CONTAINER(node, struct event_record, node);

        if (record->key == key)
            return record;
    }
    return NULL;
}

/* Makes room: records that were not touched for long, and the oldest that waits for nothing. */
static void forget_old(struct events *events)
{
    proa_mono_ns now = proa_loop_now(loop_of(events));

    for (struct proa_list *at = events->recent.next, *next; at != &events->recent; at = next) {
        struct event_record *record = PROA_CONTAINER(at, struct event_record, recent);
        bool is_old = now - record->touched > PROA_SECONDS(EVENT_FORGET_S);

        next = at->next;
        if (!is_old && events->known.count < EVENTS_KEPT)
            return;
        if (!is_pending(record))
            record_free(events, record);
    }
}

static void member(struct proa_json_writer *w, const char *key, proa_str text)
{
    proa_json_key(w, proa_str_c(key));
    proa_json_text(w, text);
}

static void micro_time(struct proa_json_writer *w, const char *key, proa_time_ns time)
{
    char text[PROA_TIME_TEXT_MAX];

    member(w, key, proa_str_n(text, proa_time_text(time, 6, text)));
}

static void write_regarding(struct proa_json_writer *w, const struct proa_kube_kind *kind,
                            const struct proa_kube_meta *regarding)
{
    char version[192];
    int len = kind->group[0] ? snprintf(version, sizeof version, "%s/%s", kind->group, kind->version)
                             : snprintf(version, sizeof version, "%s", kind->version);

    proa_json_key(w, PROA_STR("regarding"));
    proa_json_object(w);
    member(w, "apiVersion", proa_str_n(version, (size_t)len < sizeof version ? (size_t)len : sizeof version - 1));
    member(w, "kind", proa_str_c(kind->kind));
    if (regarding->namespace_.len > 0)
        member(w, "namespace", regarding->namespace_);
    member(w, "name", regarding->name);
    member(w, "uid", regarding->uid);
    member(w, "resourceVersion", regarding->resource_version);
    proa_json_object_end(w);
}

struct event_text {
    const struct proa_kube_kind *kind;
    const struct proa_kube_meta *regarding;
    enum proa_event_type type;
    const char *reason, *action;
    proa_str note;
};

/* As much of the note as the API server takes of it as it will be written: bytes that are no UTF-8 become characters of three. */
static proa_str note_of(proa_str text)
{
    size_t used = 0, written = 0;

    while (used < text.len) {
        uint32_t code_point;
        size_t bytes = proa_utf8_next(proa_str_slice(text, used, text.len), &code_point);

        written += bytes ? bytes : strlen("\xef\xbf\xbd");
        if (written > EVENT_NOTE_MAX)
            break;
        used += bytes ? bytes : 1;
    }
    return proa_str_slice(text, 0, used);
}

static int write_body(const struct events *events, struct proa_buf *out, const struct event_record *record,
                      const struct event_text *text)
{
    struct proa_json_writer w;

    proa_json_writer_init(&w, out);
    proa_json_object(&w);
    member(&w, "apiVersion", PROA_STR("events.k8s.io/v1"));
    member(&w, "kind", PROA_STR("Event"));
    proa_json_key(&w, PROA_STR("metadata"));
    proa_json_object(&w);
    member(&w, "name", record->name);
    member(&w, "namespace", record->namespace_);
    proa_json_object_end(&w);
    micro_time(&w, "eventTime", record->last);
    member(&w, "type", text->type == PROA_EVENT_WARNING ? PROA_STR("Warning") : PROA_STR("Normal"));
    member(&w, "reason", proa_utf8_cut(proa_str_c(text->reason), 128));
    member(&w, "action", proa_utf8_cut(proa_str_c(text->action), 128));
    member(&w, "note", note_of(text->note));
    member(&w, "reportingController", proa_str_c(events->options.controller));
    member(&w, "reportingInstance", proa_utf8_cut(proa_str_c(events->options.instance), 128));
    write_regarding(&w, text->kind, text->regarding);
    proa_json_object_end(&w);
    return out->error;
}

/* What the event's name begins with: that of the object as far as it makes a DNS subdomain (RFC 1123), which some kinds' names need not be. */
static proa_str name_of(proa_str regarding)
{
    proa_str name = proa_str_slice(regarding, 0, NAME_MAX_BYTES);
    char before = '.';

    while (name.len > 0 && (name.ptr[name.len - 1] == '-' || name.ptr[name.len - 1] == '.'))
        name.len--;
    for (size_t i = 0; i < name.len; before = name.ptr[i], i++) {
        bool is_alphanumeric = (name.ptr[i] >= 'a' && name.ptr[i] <= 'z') || (name.ptr[i] >= '0' && name.ptr[i] <= '9');
        bool is_dot = name.ptr[i] == '.';

        if (!is_alphanumeric && !is_dot && name.ptr[i] != '-')
            return PROA_STR("event");
        if (is_dot ? before == '-' || before == '.' : before == '.' && !is_alphanumeric)
            return PROA_STR("event");
    }
    return name.len > 0 ? name : PROA_STR("event");
}

static struct event_record *record_new(struct events *events, uint64_t key, const struct event_text *text)
{
    /* Events of cluster-scoped objects live in "default". */
    proa_str namespace_ = text->regarding->namespace_.len > 0 ? text->regarding->namespace_ : PROA_STR("default");
    proa_str name = name_of(text->regarding->name);
    struct proa_buf body = {0};
    struct event_record *record;
    char suffix[NAME_SUFFIX_MAX];
    char *to;

    forget_old(events);
    if (table_reserve(&events->known) < 0 ||
        !(record = calloc(1, sizeof *record + namespace_.len + name.len + sizeof suffix)))
        return NULL;
    proa_list_init(&record->recent);
    proa_list_init(&record->pending);
    record->key = key;
    record->last = proa_loop_wall(loop_of(events));
    snprintf(suffix, sizeof suffix, ".%016llx", (unsigned long long)proa_loop_random_u64(loop_of(events)));
    to = record->text;
    memcpy(to, namespace_.ptr, namespace_.len);
    record->namespace_ = proa_str_n(to, namespace_.len);
    to += namespace_.len;
    memcpy(to, name.ptr, name.len);
    memcpy(to + name.len, suffix, strlen(suffix));
    record->name = proa_str_n(to, name.len + strlen(suffix));
    if (write_body(events, &body, record, text) < 0) {
        proa_buf_done(&body);
        free(record);
        return NULL;
    }
    record->body = body.ptr;
    record->body_len = body.len;
    record->count = 1;
    table_add(&events->known, &record->node, (uint32_t)key);
    proa_list_push_back(&events->recent, &record->recent);
    return record;
}

static void enqueue(struct events *events, struct event_record *record)
{
    if (is_pending(record))
        return;
    proa_list_push_back(&events->pending, &record->pending);
    events->pending_count++;
    proa_event_set(&events->wake);
}

void events_add(struct events *events, const struct proa_kube_kind *kind, const struct proa_kube_meta *regarding,
                enum proa_event_type type, const char *reason, const char *action, proa_str note)
{
    const struct event_text text = {kind, regarding, type, reason, action, note};
    uint64_t key = key_of(regarding, type, reason, action);
    struct event_record *record = find(events, key);
    proa_mono_ns now = proa_loop_now(loop_of(events));

    if (record && now - record->touched > PROA_SECONDS(EVENT_FORGET_S) && !is_pending(record)) {
        record_free(events, record);
        record = NULL;
    }
    if (record) {
        record->count++;
        record->last = proa_loop_wall(loop_of(events));
        proa_list_remove(&record->recent);
        proa_list_push_back(&events->recent, &record->recent);
    } else {
        if (events->pending_count >= EVENTS_PENDING || !(record = record_new(events, key, &text))) {
            events->dropped++;
            return;
        }
    }
    record->touched = now;
    enqueue(events, record);
}

/* -- Sending ------------------------------------------------------------------------------------------------------- */

/* Waits for its turn. */
static int take_token(struct events *events)
{
    for (;;) {
        proa_mono_ns now = proa_loop_now(loop_of(events));

        events->tokens += (double)(now - events->tokens_at) / 1e9 * EVENTS_PER_SECOND;
        if (events->tokens > EVENTS_BURST)
            events->tokens = EVENTS_BURST;
        events->tokens_at = now;
        if (events->tokens >= 1) {
            events->tokens -= 1;
            return 0;
        }
        PROA_TRY(proa_sleep(loop_of(events), PROA_SECONDS(1) / EVENTS_PER_SECOND));
    }
}

static int send_series(struct events *events, struct proa_arena *arena, const struct event_record *record,
                       uint32_t count, struct proa_error *err)
{
    const struct proa_kube_patch_options merge = {.kind = PROA_KUBE_MERGE};
    struct proa_json_writer w;
    struct proa_buf body;

    proa_buf_init(&body, arena, 0);
    proa_json_writer_init(&w, &body);
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("series"));
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("count"));
    proa_json_u64(&w, count);
    micro_time(&w, "lastObservedTime", record->last);
    proa_json_object_end(&w);
    proa_json_object_end(&w);
    if (body.error < 0)
        return PROA_ENOMEM;
    return proa_kube_patch(events->options.kube, arena, &proa_kube_events, record->namespace_, record->name,
                           proa_buf_str(&body), &merge, NULL, NULL, err);
}

static int send_record(struct events *events, struct event_record *record, uint32_t count, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);

    proa_arena_init(&arena, proa_loop_blocks(loop_of(events)), 0);
    if (!record->body)
        return send_series(events, &arena, record, count, err);
    return proa_kube_create(events->options.kube, &arena, &proa_kube_events, record->namespace_,
                            proa_str_n(record->body, record->body_len), NULL, NULL, err);
}

/* Whether sending again may help. */
static bool is_passing(int rc)
{
    return rc == PROA_EUNAVAILABLE || rc == PROA_ETIMEDOUT || rc == PROA_EBUSY || rc == PROA_EIO ||
           rc == PROA_ECLOSED || rc == PROA_EUNKNOWN || rc == PROA_ECANCELED;
}

static void give_up(struct events *events, struct event_record *record, const struct proa_error *err)
{
    events->dropped++;
    if (events->options.logger)
        proa_log_failure(events->options.logger, PROA_LOG_DEBUG, "event not written", err);
    record_free(events, record);
}

/* The record stays in its place while it is sent, so that it is not freed meanwhile. */
static void send_one(struct events *events, struct event_record *record)
{
    uint32_t count = record->body ? 1 : record->count;
    struct proa_error err = {0};
    int rc = send_record(events, record, count, &err);

    if (rc == PROA_EEXISTS && record->body)
        rc = 0; /* an attempt whose answer was lost */
    if (rc < 0 && (!is_passing(rc) || ++record->attempts >= ATTEMPTS_MAX)) {
        give_up(events, record, &err);
        return;
    }
    proa_list_remove(&record->pending);
    proa_list_push_back(&events->pending, &record->pending);
    record->sent = proa_loop_now(loop_of(events));
    if (rc < 0)
        return;
    free(record->body);
    record->body = NULL;
    record->attempts = 0;
    record->sent_count = count;
    if (record->count == count)
        unqueue(events, record);
}

/* The first that is due; *ret_due is when the earliest of the others is. */
static struct event_record *next_due(struct events *events, bool at_once, proa_mono_ns *ret_due)
{
    proa_mono_ns now = proa_loop_now(loop_of(events));

    *ret_due = PROA_NEVER;
    for (struct proa_list *at = events->pending.next; at != &events->pending; at = at->next) {
        struct event_record *record = PROA_CONTAINER(at, struct event_record, pending);
        /* The first repetition tells at once that there is a series. */
        proa_mono_ns due = record->sent_count < 2 ? 0 : record->sent + PROA_SECONDS(EVENT_SERIES_S);

        if (record->attempts > 0)
            due = record->sent + PROA_MS(RETRY_MS) * record->attempts;
        if (at_once || due <= now)
            return record;
        if (due < *ret_due)
            *ret_due = due;
    }
    return NULL;
}

/* Waits until something is added or due; the caller looks at why it ended. */
static void wait_for_work(struct events *events, proa_mono_ns due)
{
    struct proa_deadline_scope scope = proa_deadline_enter(loop_of(events), due);

    proa_event_reset(&events->wake);
    proa_ignore(proa_event_wait(&events->wake));
    proa_deadline_leave(&scope);
}

static void send_rest(struct events *events)
{
    struct proa_shield_scope shield = proa_shield_enter(loop_of(events), PROA_MS(STOP_MS));
    proa_mono_ns due;
    struct event_record *record;

    while (proa_fiber_check(loop_of(events)) == 0 && (record = next_due(events, true, &due))) {
        record->attempts = ATTEMPTS_MAX; /* no second one */
        send_one(events, record);
    }
    proa_shield_leave(&shield);
}

int events_run(struct events *events)
{
    for (;;) {
        proa_mono_ns due;
        struct event_record *record = next_due(events, false, &due);

        if (record) {
            if (take_token(events) == 0)
                send_one(events, record);
        } else {
            wait_for_work(events, due);
        }
        if (proa_fiber_check(loop_of(events)) < 0)
            break;
    }
    send_rest(events);
    return 0;
}
