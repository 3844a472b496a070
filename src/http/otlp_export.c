/* The exporter's fiber:
 *
 *      +-> EMPTY -- a span ends --> GATHERING -- delay over, batch full, stop --> SENDING -- taken, refused --+
 *      |                                               ^                            |  ^                      |
 *      |                                               |          429, 502-504, lost|  | back-off over        |
 *      |                                               |                            v  |                      |
 *      |                                               +-- given up --------------- WAITING                   |
 *      +---- nothing waits ------------------------------------------------------------------------------- <--+
 *
 *  What comes meanwhile waits in the queue of the tracer or the log, which is bounded.
 */
#include "otlp_internal.h"

#include "base/defaults.h"
#include <assert.h>
#include <proa/fiber.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <zlib.h>

enum {
    TIMEOUT_MS_DEFAULT = 10000,
    RETRY_MS_DEFAULT = 30000,
    DELAY_MS_DEFAULT = 5000,
    BATCH_DEFAULT = 512,
    RECORDS_QUEUED_DEFAULT = 2048,
    BACKOFF_FIRST_MS = 1000,
    BACKOFF_MAX_MS = 10000,
    SPANS_BETWEEN_YIELDS = 64, /* others on the loop need not wait for a whole batch */
    ZIP_BYTES_BETWEEN_YIELDS = 32 * 1024,
    ANSWER_BYTES_MAX = 64 * 1024,
};
/* What becomes of spans. */
enum { OUTCOME_SENT, OUTCOME_REJECTED, OUTCOME_FAILED, OUTCOMES };
/* The same for spans and log records. */
enum { REQUEST_RESOURCES = 1, RESOURCES_RESOURCE = 1, RESOURCES_SCOPES = 2 };
enum { SCOPES_SCOPE = 1, SCOPES_ITEMS = 2, SCOPE_NAME = 1 };

/* What is exported. */
struct signal {
    const char *name;
    const char *metric;
    const char *help;
    size_t (*bytes)(const struct export_item *item);
    void (*encode)(struct proa_buf *out, const struct export_item *item);
    void (*free)(struct export_item *item);
};

static size_t span_bytes(const struct export_item *item)
{
    return otlp_span_bytes((const struct proa_span_record *)item);
}

static void encode_span(struct proa_buf *out, const struct export_item *item)
{
    otlp_encode_span(out, (const struct proa_span_record *)item);
}

static void free_span(struct export_item *item)
{
    span_record_free((struct proa_span_record *)item);
}

static size_t log_bytes(const struct export_item *item)
{
    return otlp_log_bytes((const struct log_record *)item);
}

static void encode_log(struct proa_buf *out, const struct export_item *item)
{
    otlp_encode_log(out, (const struct log_record *)item);
}

static void free_log(struct export_item *item)
{
    free(item);
}

static const struct signal span_signal = {.name = "spans",
                                          .metric = "proa_otlp_spans",
                                          .help = "Finished spans by what became of them",
                                          .bytes = span_bytes,
                                          .encode = encode_span,
                                          .free = free_span};
static const struct signal log_signal = {.name = "log records",
                                         .metric = "proa_otlp_log_records",
                                         .help = "Log records by what became of them",
                                         .bytes = log_bytes,
                                         .encode = encode_log,
                                         .free = free_log};

struct proa_otlp {
    struct proa_otlp_options options;
    const struct signal *signal;
    struct export_queue *queue;
    struct proa_buf resource; /* encoded */
    struct proa_logger logger;
    bool has_logger;
    bool is_failing;

    /* Shared with the threads whose spans end. */
    struct proa_task wake;
    _Atomic bool is_wake_posted;
    _Atomic uint64_t counts[OUTCOMES];
    struct proa_counter_series *series[OUTCOMES];

    /* Of the loop. */
    struct proa_fiber *fiber;
    bool is_signalled; /* a batch is full, the first span came, or stop */
    bool is_stopping;
    bool is_unreachable; /* the last try got no answer */
    bool has_ended;
    proa_mono_ns stop_at;
    struct proa_waiter *waiter;  /* the exporter's own fiber */
    struct proa_waiter *stopper; /* the one in proa_otlp_stop */
};

/* Signals. */
static void signal_exporter(struct proa_otlp *otlp)
{
    otlp->is_signalled = true;
    if (otlp->waiter)
        proa_unpark(otlp->waiter, 0);
}

static void run_wake(struct proa_task *task)
{
    struct proa_otlp *otlp = PROA_CONTAINER(task, struct proa_otlp, wake);

    atomic_store(&otlp->is_wake_posted, false);
    signal_exporter(otlp);
}

static void items_wait(void *arg)
{
    struct proa_otlp *otlp = arg;

    if (!atomic_exchange(&otlp->is_wake_posted, true))
        proa_loop_post(otlp->options.loop, &otlp->wake);
}

/* Until a signal, or `until`. @returns 0, or why the fiber must end. */
static int wait_signal(struct proa_otlp *otlp, proa_mono_ns until)
{
    struct proa_loop *loop = otlp->options.loop;
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = proa_deadline_enter(loop, until);
    struct proa_waiter waiter;
    int rc = 0;

    if (!otlp->is_signalled) {
        proa_waiter_init(&waiter, loop);
        otlp->waiter = &waiter;
        rc = proa_park(&waiter);
        otlp->waiter = NULL;
    }
    otlp->is_signalled = false;
    return rc == PROA_ETIMEDOUT && until != PROA_NEVER ? 0 : rc;
}

/* Encoding. */

/* At once, so that it is not copied as it grows. */
static int reserve(const struct proa_otlp *otlp, const struct export_item *item, struct proa_buf *out)
{
    enum { HEADS_BYTES = 64 };
    size_t bytes = HEADS_BYTES + otlp->resource.len;

    for (; item; item = item->next)
        bytes += otlp->signal->bytes(item);
    return proa_buf_reserve(out, bytes);
}

static int encode(struct proa_otlp *otlp, const struct export_item *item, struct proa_buf *out)
{
    size_t resource_spans, scope_spans, scope;
    uint32_t count = 0;

    PROA_TRY(reserve(otlp, item, out));
    resource_spans = otlp_open(out, REQUEST_RESOURCES);
    otlp_put_bytes(out, RESOURCES_RESOURCE, proa_buf_str(&otlp->resource));
    scope_spans = otlp_open(out, RESOURCES_SCOPES);
    scope = otlp_open(out, SCOPES_SCOPE);
    otlp_put_bytes(out, SCOPE_NAME, PROA_STR("proa"));
    otlp_close(out, scope);
    for (; item; item = item->next) {
        size_t opened = otlp_open(out, SCOPES_ITEMS);

        otlp->signal->encode(out, item);
        otlp_close(out, opened);
        if (++count % SPANS_BETWEEN_YIELDS == 0)
            PROA_TRY(proa_yield(otlp->options.loop));
    }
    otlp_close(out, scope_spans);
    otlp_close(out, resource_spans);
    return out->error;
}

static int deflate_all(struct proa_loop *loop, z_stream *zip, proa_str bytes, struct proa_buf *out)
{
    int rc = Z_OK;

    PROA_TRY(proa_buf_reserve(out, deflateBound(zip, (uLong)bytes.len)));
    while (rc == Z_OK) {
        size_t piece = bytes.len < ZIP_BYTES_BETWEEN_YIELDS ? bytes.len : ZIP_BYTES_BETWEEN_YIELDS;

        zip->next_in = (Bytef *)(uintptr_t)bytes.ptr;
        zip->avail_in = (uInt)piece;
        zip->next_out = (Bytef *)out->ptr + out->len;
        zip->avail_out = (uInt)(out->cap - out->len);
        rc = deflate(zip, piece == bytes.len ? Z_FINISH : Z_NO_FLUSH);
        out->len = (size_t)((char *)zip->next_out - out->ptr);
        bytes = proa_str_slice(bytes, piece, bytes.len);
        if (rc == Z_OK)
            PROA_TRY(proa_yield(loop));
    }
    return rc == Z_STREAM_END ? 0 : PROA_EINTERNAL;
}

static int zip_all(struct proa_loop *loop, proa_str bytes, struct proa_buf *out)
{
    enum { GZIP_WINDOW_BITS = 15 + 16, MEMORY_LEVEL = 8 };
    z_stream zip = {0};
    int rc;

    if (deflateInit2(&zip, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        return PROA_ENOMEM;
    rc = deflate_all(loop, &zip, bytes, out);
    deflateEnd(&zip);
    return rc;
}

/* Sending. */
enum outcome { TAKEN, REFUSED, AGAIN };

static enum outcome judge(int status)
{
    if (status >= 200 && status < 300)
        return TAKEN;
    return status == 429 || status == 502 || status == 503 || status == 504 ? AGAIN : REFUSED;
}

static proa_mono_ns earlier_of(proa_mono_ns a, proa_mono_ns b)
{
    return a < b ? a : b;
}

/* One try. @param ret_wait_ms  what the collector asked for; 0: nothing */
static enum outcome try_once(struct proa_otlp *otlp, const struct proa_otlp_request *request, proa_mono_ns give_up_at,
                             uint64_t *ret_rejected, uint64_t *ret_wait_ms, struct proa_error *err)
{
    struct proa_loop *loop = otlp->options.loop;
    proa_mono_ns until = proa_loop_now_exact(loop) + PROA_MS(otlp->options.timeout_ms);
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(loop, earlier_of(earlier_of(until, give_up_at), otlp->stop_at));
    struct proa_otlp_answer answer = {.body = {.max = ANSWER_BYTES_MAX}};
    enum outcome outcome = AGAIN;
    int rc;

    proa_error_clear(err);
    rc = otlp->options.send(otlp->options.send_arg, request, &answer, err);
    otlp->is_unreachable = rc < 0;
    if (rc == PROA_EINVAL || rc == PROA_EUNSUPPORTED)
        outcome = REFUSED; /* by the sender: it would be the next time */
    if (rc == 0) {
        outcome = judge(answer.status);
        *ret_wait_ms = (uint64_t)answer.retry_after_s * 1000;
        if (outcome == TAKEN)
            *ret_rejected = otlp_read_rejected(proa_buf_str(&answer.body));
        else
            proa_fail(err, PROA_EUNAVAILABLE, "the collector answered %d", answer.status);
    }
    proa_buf_done(&answer.body);
    return outcome;
}

/* Doubling, from a jittered second; the collector's own wish goes before. */
static uint64_t backoff_ms(struct proa_otlp *otlp, unsigned tries, uint64_t wanted_ms)
{
    uint64_t ms = BACKOFF_FIRST_MS;

    for (unsigned i = 1; i < tries && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    if (ms > BACKOFF_MAX_MS)
        ms = BACKOFF_MAX_MS;
    ms = ms / 2 + proa_loop_random_u64(otlp->options.loop) % (ms / 2 + 1);
    return wanted_ms > ms ? wanted_ms : ms;
}

/* Waits before the next try. A stop may make the wait too long, and is a reason to try earlier only where nobody
 * answers: that try is the last. @returns whether to try. */
static bool wait_backoff(struct proa_otlp *otlp, uint64_t ms, proa_mono_ns give_up_at)
{
    struct proa_loop *loop = otlp->options.loop;
    proa_mono_ns at = proa_loop_now_exact(loop) + PROA_MS(ms);

    if (otlp->is_unreachable && otlp->is_stopping)
        return false;
    while (at < give_up_at && at < otlp->stop_at && proa_loop_now_exact(loop) < at) {
        if (wait_signal(otlp, at) < 0)
            return false;
        if (otlp->is_unreachable && otlp->is_stopping)
            return true;
    }
    return at < give_up_at && at < otlp->stop_at;
}

static enum outcome send_batch(struct proa_otlp *otlp, const struct proa_otlp_request *request, uint64_t *ret_rejected,
                               struct proa_error *err)
{
    proa_mono_ns give_up_at = proa_loop_now_exact(otlp->options.loop) + PROA_MS(otlp->options.retry_ms);
    enum outcome outcome;
    unsigned tries = 0;
    uint64_t wait_ms;

    do {
        wait_ms = 0;
        outcome = try_once(otlp, request, give_up_at, ret_rejected, &wait_ms, err);
    } while (outcome == AGAIN && wait_backoff(otlp, backoff_ms(otlp, ++tries, wait_ms), give_up_at));
    return outcome;
}

/* One line when it begins to fail, and one when it works again: not one a batch. */
static void tell(struct proa_otlp *otlp, bool fails, const struct proa_error *err)
{
    if (fails == otlp->is_failing)
        return;
    otlp->is_failing = fails;
    if (!otlp->has_logger)
        return;
    if (fails)
        proa_log_failure(&otlp->logger, PROA_LOG_WARN,
                         otlp->signal == &span_signal ? "spans cannot be exported" : "log records cannot be exported",
                         err);
    else
        PROA_INFO(&otlp->logger,
                  otlp->signal == &span_signal ? "spans are exported again" : "log records are exported again");
}

static int prepare(struct proa_otlp *otlp, const struct export_item *items, struct proa_buf *plain,
                   struct proa_buf *zipped, struct proa_otlp_request *ret_request)
{
    PROA_TRY(encode(otlp, items, plain));
    if (otlp->options.gzip)
        PROA_TRY(zip_all(otlp->options.loop, proa_buf_str(plain), zipped));
    *ret_request = (struct proa_otlp_request){.content_type = "application/x-protobuf",
                                              .is_gzip = otlp->options.gzip,
                                              .body = proa_buf_str(otlp->options.gzip ? zipped : plain)};
    if (otlp->options.gzip)
        proa_buf_done(plain);
    return 0;
}

static void free_items(const struct proa_otlp *otlp, struct export_item *item)
{
    while (item) {
        struct export_item *next = item->next;

        otlp->signal->free(item);
        item = next;
    }
}

static void count_items(struct proa_otlp *otlp, int outcome, uint64_t count)
{
    atomic_fetch_add(&otlp->counts[outcome], count);
    if (otlp->series[outcome])
        proa_counter_add(otlp->series[outcome], proa_loop_index(otlp->options.loop), count);
}

static void export_batch(struct proa_otlp *otlp, struct export_item *items, uint32_t count)
{
    struct proa_buf plain = {0}, zipped = {0};
    struct proa_otlp_request request;
    struct proa_error err = {0};
    uint64_t rejected = 0;
    enum outcome outcome = REFUSED;
    int rc = prepare(otlp, items, &plain, &zipped, &request);

    free_items(otlp, items);
    if (rc < 0)
        proa_fail(&err, rc, "a batch of %u %s could not be encoded", count, otlp->signal->name);
    else
        outcome = send_batch(otlp, &request, &rejected, &err);
    if (outcome == TAKEN) {
        rejected = rejected < count ? rejected : count;
        count_items(otlp, OUTCOME_SENT, count - rejected);
        count_items(otlp, OUTCOME_REJECTED, rejected);
    } else {
        count_items(otlp, OUTCOME_FAILED, count);
    }
    tell(otlp, outcome != TAKEN, &err);
    proa_buf_done(&plain);
    proa_buf_done(&zipped);
}

/* The batch may gather until it is full, for delay_ms at most. */
static int gather(struct proa_otlp *otlp)
{
    struct proa_loop *loop = otlp->options.loop;
    proa_mono_ns until = proa_loop_now_exact(loop) + PROA_MS(otlp->options.delay_ms);

    while (export_waiting(otlp->queue) < otlp->options.batch_spans && !otlp->is_stopping &&
           proa_loop_now_exact(loop) < until)
        PROA_TRY(wait_signal(otlp, until));
    return 0;
}

static bool must_end(const struct proa_otlp *otlp)
{
    return otlp->is_stopping &&
           (export_waiting(otlp->queue) == 0 || proa_loop_now_exact(otlp->options.loop) >= otlp->stop_at);
}

static int run_exporter(struct proa_otlp *otlp)
{
    while (!must_end(otlp)) {
        struct export_item *items;
        uint32_t count;

        if (export_waiting(otlp->queue) == 0) {
            if (otlp->options.tracer)
                tracer_free_spares(otlp->options.tracer);
            PROA_TRY(wait_signal(otlp, PROA_NEVER));
            continue;
        }
        PROA_TRY(gather(otlp));
        items = export_take(otlp->queue, otlp->options.batch_spans, &count);
        if (items)
            export_batch(otlp, items, count);
        else /* one is just being put */
            PROA_TRY(proa_yield(otlp->options.loop));
        PROA_TRY(proa_fiber_check(otlp->options.loop));
    }
    return 0;
}

/* Those for which no time was left. */
static void drop_rest(struct proa_otlp *otlp)
{
    uint32_t count;
    struct export_item *items = export_take(otlp->queue, UINT32_MAX, &count);

    free_items(otlp, items);
    count_items(otlp, OUTCOME_FAILED, count);
}

static int exporter_main(void *arg)
{
    struct proa_otlp *otlp = arg;

    otlp->fiber = proa_fiber_current(otlp->options.loop);
    proa_ignore(run_exporter(otlp)); /* or cancelled, as when the loop ends */
    export_attach(otlp->queue, 0, NULL, NULL);
    drop_rest(otlp);
    otlp->fiber = NULL;
    otlp->has_ended = true;
    if (otlp->stopper)
        proa_unpark(otlp->stopper, 0);
    return 0;
}

void proa_otlp_read_counts(const struct proa_otlp *otlp, struct proa_otlp_counts *ret_counts)
{
    *ret_counts = (struct proa_otlp_counts){
        .sent = atomic_load(&otlp->counts[OUTCOME_SENT]),
        .rejected = atomic_load(&otlp->counts[OUTCOME_REJECTED]),
        .failed = atomic_load(&otlp->counts[OUTCOME_FAILED]),
        .dropped = atomic_load(&otlp->queue->dropped),
    };
}

static int add_metrics(struct proa_otlp *otlp, struct proa_error *err)
{
    static const char *const labels[OUTCOMES] = {"sent", "rejected", "failed"};
    const struct proa_metric_options options = {
        .name = otlp->signal->metric, .help = otlp->signal->help, .labels = {"outcome"}};
    const proa_str dropped = PROA_STR("dropped");
    struct proa_counter *counter;

    if (!otlp->options.metrics)
        return 0;
    PROA_TRY(proa_counter_new(otlp->options.metrics, &options, &counter, err));
    for (int i = 0; i < OUTCOMES; i++) {
        const proa_str label = proa_str_c(labels[i]);

        otlp->series[i] = proa_counter_with(counter, &label);
    }
    otlp->queue->dropped_series = proa_counter_with(counter, &dropped);
    return 0;
}

/* Life. */
static void set_defaults(struct proa_otlp_options *options)
{
    fill_u32(&options->timeout_ms, TIMEOUT_MS_DEFAULT);
    fill_u32(&options->retry_ms, RETRY_MS_DEFAULT);
    fill_u32(&options->delay_ms, DELAY_MS_DEFAULT);
    fill_u32(&options->batch_spans, BATCH_DEFAULT);
}

static int choose_signal(struct proa_otlp *otlp, struct proa_error *err)
{
    const struct proa_otlp_options *options = &otlp->options;

    if (options->log) {
        otlp->signal = &log_signal;
        return log_export_to(options->log, options->queue_records ? options->queue_records : RECORDS_QUEUED_DEFAULT,
                             &otlp->queue, err);
    }
    otlp->signal = &span_signal;
    otlp->queue = tracer_queue(options->tracer);
    return 0;
}

int proa_otlp_start(const struct proa_otlp_options *options, struct proa_otlp **ret_otlp, struct proa_error *err)
{
    static const struct proa_fiber_options fiber = {.name = "otlp"};
    struct proa_otlp *otlp = calloc(1, sizeof *otlp);
    int rc;

    if (!otlp)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    otlp->options = *options;
    set_defaults(&otlp->options);
    otlp->stop_at = PROA_NEVER;
    otlp->wake.run = run_wake;
    if (options->logger) {
        otlp->has_logger = true;
        otlp->logger = *options->logger;
        otlp->logger.target = "otlp";
    }
    rc = choose_signal(otlp, err);
    if (rc == 0)
        rc = otlp_encode_resource(&otlp->resource, options, err);
    /* Only needed for the resource, and the caller's. */
    otlp->options.service_name = otlp->options.service_version = otlp->options.resource_attributes = NULL;
    if (rc == 0)
        rc = add_metrics(otlp, err);
    if (rc == 0) {
        rc = proa_loop_start_fiber(options->loop, &fiber, exporter_main, otlp);
        if (rc < 0)
            proa_fail(err, rc, "the exporter's fiber cannot be started");
    }
    if (rc < 0) {
        proa_buf_done(&otlp->resource);
        free(otlp);
        return rc;
    }
    export_attach(otlp->queue, otlp->options.batch_spans, items_wait, otlp);
    *ret_otlp = otlp;
    return 0;
}

static void stop_exporting(struct proa_otlp *otlp, uint32_t timeout_ms)
{
    enum { GRACE_MS = 100, UNREACHABLE_MS = 500 };
    struct proa_loop *loop = otlp->options.loop;
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) =
        proa_shield_enter(loop, PROA_MS(timeout_ms + GRACE_MS));
    struct proa_waiter waiter;

    otlp->is_stopping = true;
    if (otlp->is_unreachable && timeout_ms > UNREACHABLE_MS)
        timeout_ms = UNREACHABLE_MS;
    otlp->stop_at = proa_loop_now_exact(loop) + PROA_MS(timeout_ms);
    signal_exporter(otlp);
    for (int round = 0; !otlp->has_ended && round < 2; round++) {
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
            proa_deadline_enter(loop, otlp->stop_at + (round ? PROA_MS(GRACE_MS) : 0));

        proa_waiter_init(&waiter, loop);
        otlp->stopper = &waiter;
        proa_ignore(proa_park(&waiter));
        otlp->stopper = NULL;
        if (!otlp->has_ended && otlp->fiber) /* in a send that began before */
            proa_fiber_cancel(otlp->fiber, PROA_ECANCELED);
    }
    while (atomic_load(&otlp->is_wake_posted)) /* the loop still has it */
        proa_ignore(proa_yield(loop));
}

void proa_otlp_stop(struct proa_otlp *otlp, uint32_t timeout_ms)
{
    if (otlp && !otlp->has_ended && !otlp->is_stopping)
        stop_exporting(otlp, timeout_ms);
}

void proa_otlp_free(struct proa_otlp *otlp)
{
    if (!otlp)
        return;
    export_attach(otlp->queue, 0, NULL, NULL);
    proa_buf_done(&otlp->resource);
    free(otlp);
}
