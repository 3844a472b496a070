/* The server: listener, one part a loop, drain. */
#include "conn.h"

#include <assert.h>
#include <proa/metrics.h>
#include <stdlib.h>
#include <string.h>

enum {
    DRAIN_LOOK_MS = 5, /* how often a drain looks whether all has ended */
};

static struct server_loop *part_of(struct proa_server *server, const struct proa_loop *loop)
{
    for (uint32_t i = 0; i < server->parts_count; i++)
        if (server->parts[i].loop == loop)
            return &server->parts[i];
    return NULL;
}

/* On its own loop, with its first connection. */
static void part_start(struct server_loop *part)
{
    if (part->has_tick)
        return;
    proa_timer_init(&part->tick, part->loop, conn_tick);
    part->has_tick = true;
}

static bool has_too_many(const struct server_loop *part)
{
    return atomic_load_explicit(&part->server->shared.connections, memory_order_relaxed) > part->limits.connections;
}

/* Keeps what was promised, as far as it is still wanted; for the rest the next answers close. */
static void reap(struct proa_task *task)
{
    struct server_loop *part = PROA_CONTAINER(task, struct server_loop, reap);
    uint32_t count;

    do {
        count = atomic_load_explicit(&part->reap_count, memory_order_acquire);
        for (uint32_t i = 0; i < count && has_too_many(part); i++)
            if (!conn_close_idle(part))
                part->owed++;
    } while (atomic_fetch_sub_explicit(&part->reap_count, count, memory_order_acq_rel) != count);
}

bool server_pays_room(struct server_loop *part)
{
    bool pays = has_too_many(part);

    part->owed = pays ? part->owed - 1 : 0;
    return pays;
}

/* One promise for each connection that is idle there. */
static bool promises_room(struct server_loop *part)
{
    uint32_t count = atomic_load_explicit(&part->reap_count, memory_order_relaxed);

    do {
        if (count >= atomic_load_explicit(&part->idle_count, memory_order_relaxed))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&part->reap_count, &count, count + 1, memory_order_acq_rel,
                                                    memory_order_relaxed));
    if (count == 0)
        proa_loop_post(part->loop, &part->reap);
    return true;
}

bool server_reap_elsewhere(struct server_loop *own)
{
    struct proa_server *server = own->server;

    for (uint32_t i = 0; i < server->parts_count; i++)
        if (&server->parts[i] != own && promises_room(&server->parts[i]))
            return true;
    return false;
}

static void accepted(void *arg, struct proa_loop *loop, struct proa_stream *stream)
{
    struct proa_server *server = arg;
    struct server_loop *part = part_of(server, loop);

    assert(part);
    part_start(part);
    conn_open(part, stream);
}

static void tune_part(struct server_loop *part, const struct proa_server_tuning *tuning)
{
    part->limits = tuning->limits;
    part->access_log_all = tuning->access_log_all;
    part->slow_ms = tuning->slow_ms;
    part->h1_limits = (struct h1_limits){.head_bytes = tuning->limits.head_bytes,
                                         .fields = tuning->limits.fields,
                                         .target_bytes = tuning->limits.target_bytes};
    part->log_from_ns = !part->server->options.logger ? UINT64_MAX
                        : tuning->access_log_all      ? 0
                                                      : PROA_MS(tuning->slow_ms);
}

static int part_init(struct proa_server *server, uint32_t index, struct proa_loop *loop)
{
    struct server_loop *part = &server->parts[index];

    part->server = server;
    part->loop = loop;
    part->shard = proa_loop_index(loop);
    proa_list_init(&part->connections);
    proa_list_init(&part->work);
    for (int i = 0; i < WAIT_CLASSES; i++)
        proa_list_init(&part->waits[i]);
    part->flush.run = conn_flush;
    part->reap.run = reap;
    tune_part(part, &(struct proa_server_tuning){.limits = server->options.limits,
                                                 .access_log_all = server->options.access_log_all,
                                                 .slow_ms = server->options.slow_ms});
    part->router = server->options.router;
    part->methods = router_methods(part->router);
    return server_series_reserve(part, router_routes(part->router));
}

static int listen_on(struct proa_server *server, struct proa_error *err)
{
    const struct proa_server_options *options = &server->options;
    struct proa_loop *loops[PROA_LOOPS_MAX];
    struct proa_loop **kept;

    for (uint32_t i = 0; i < server->parts_count; i++)
        loops[i] = server->parts[i].loop;
    assert(server->parts_count > 0);
    kept = malloc(server->parts_count * sizeof(struct proa_loop *));
    if (!kept)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    memcpy(kept, loops, server->parts_count * sizeof(struct proa_loop *));
    server->loops = kept;
    return proa_listener_open(loops[0],
                              &(struct proa_listener_options){.address = options->address,
                                                              .accepted = accepted,
                                                              .arg = server,
                                                              .loops = server->parts_count > 1 ? kept : NULL,
                                                              .loops_count = server->parts_count,
                                                              .free_unix_path = true},
                              &server->listener, err);
}

int proa_server_start(const struct proa_server_options *options, struct proa_server **ret_server,
                      struct proa_error *err)
{
    uint32_t count = options->loops ? proa_loops_count(options->loops) : 1;
    struct proa_server *server;
    int rc = 0;

    if (!options->router || !options->address || (!options->loops && !options->loop))
        return proa_fail(err, PROA_EINVAL, "a server needs a router, an address and a loop");
    server = calloc(1, sizeof *server + count * sizeof server->parts[0]);
    if (!server)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    server->options = *options;
    if (options->logger)
        server->access_logger =
            (struct proa_logger){.log = options->logger->log, .target = "http.access", .parent = options->logger};
    limits_fill(&server->options.limits);
    if (server->options.slow_ms == 0)
        server->options.slow_ms = PROA_SERVER_SLOW_MS_DEFAULT;
    server->parts_count = count;
    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = part_init(server, i, options->loops ? proa_loops_at(options->loops, i) : options->loop);
    if (rc == 0)
        rc = server_metrics_init(server, err);
    if (rc == 0)
        rc = listen_on(server, err);
    if (rc == 0)
        rc = server_metrics_watch(server);
    if (rc < 0) {
        proa_server_free(server);
        return err && err->code == rc ? rc : proa_fail(err, rc, "starting the server");
    }
    proa_listener_address(server->listener, server->address);
    *ret_server = server;
    return 0;
}

void proa_server_address(const struct proa_server *server, char *out)
{
    memcpy(out, server->address, PROA_ADDRESS_MAX);
}

void proa_server_counts(const struct proa_server *server, struct proa_server_counts *ret_counts)
{
    struct proa_server_counts counts = {
        .connections = atomic_load_explicit(&server->shared.connections, memory_order_relaxed),
        .in_flight = atomic_load_explicit(&server->shared.in_flight, memory_order_relaxed),
        .streams = atomic_load_explicit(&server->shared.streams, memory_order_relaxed),
    };

    for (uint32_t i = 0; i < server->parts_count; i++)
        counts.idle += atomic_load_explicit(&server->parts[i].idle_count, memory_order_relaxed);
    if (counts.idle > counts.connections) /* some were opened or closed between the readings */
        counts.idle = counts.connections;
    *ret_counts = counts;
}

/* Drain. */
static void control(struct proa_task *task)
{
    struct server_loop *part = PROA_CONTAINER(task, struct server_loop, control);
    struct proa_server *server = part->server;

    if (part->has_tick)
        conn_drain_all(part, server_phase(server) == SERVER_CUTTING);
    atomic_fetch_sub_explicit(&server->shared.controls, 1, memory_order_release);
}

static void tell_parts(struct proa_server *server, void (*run)(struct proa_task *task))
{
    atomic_fetch_add_explicit(&server->shared.controls, server->parts_count, memory_order_relaxed);
    for (uint32_t i = 0; i < server->parts_count; i++) {
        server->parts[i].control.run = run;
        proa_loop_post(server->parts[i].loop, &server->parts[i].control);
    }
}

static void change_router(struct proa_task *task)
{
    struct server_loop *part = PROA_CONTAINER(task, struct server_loop, control);
    struct proa_server *server = part->server;

    if (server_series_reserve(part, router_routes(server->next_router)) < 0) {
        atomic_store_explicit(&server->is_router_refused, true, memory_order_relaxed);
    } else {
        part->router = server->next_router;
        part->methods = router_methods(part->router);
    }
    if (atomic_fetch_sub_explicit(&server->shared.controls, 1, memory_order_acq_rel) == 1)
        proa_loop_post(server->parts[0].loop, &server->router_changed);
}

static void router_changed(struct proa_task *task)
{
    proa_unpark(&PROA_CONTAINER(task, struct proa_server, router_changed)->router_waiter, 0);
}

int proa_server_set_router(struct proa_server *server, const struct proa_router *router)
{
    /* Not long: a task on each loop, none of which suspends. The tasks must have run before this returns. */
    struct proa_loop *loop = server->parts[0].loop;
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(loop, PROA_SECONDS(3600));

    server->next_router = router;
    server->router_changed.run = router_changed;
    atomic_store_explicit(&server->is_router_refused, false, memory_order_relaxed);
    proa_waiter_init(&server->router_waiter, loop);
    tell_parts(server, change_router);
    PROA_TRY(proa_park(&server->router_waiter));
    return atomic_load_explicit(&server->is_router_refused, memory_order_relaxed) ? PROA_ENOMEM : 0;
}

static void tune(struct proa_task *task)
{
    struct server_loop *part = PROA_CONTAINER(task, struct server_loop, tune);
    struct proa_server *server = part->server;

    tune_part(part, &server->next_tuning);
    proa_loop_allow_fibers(part->loop, proa_server_fibers(part->limits.requests_in_flight));
    proa_ignore(server_series_reserve(part, router_routes(part->router))); /* else lines are made without */
    if (atomic_fetch_sub_explicit(&server->tunes, 1, memory_order_acq_rel) == 1)
        proa_loop_post(server->parts[0].loop, &server->tuned);
}

static void tuned(struct proa_task *task)
{
    proa_unpark(&PROA_CONTAINER(task, struct proa_server, tuned)->tune_waiter, 0);
}

void proa_server_tune(struct proa_server *server, const struct proa_server_tuning *tuning)
{
    /* Not long, as above. */
    struct proa_loop *loop = server->parts[0].loop;
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(loop, PROA_SECONDS(3600));

    server->next_tuning = *tuning;
    limits_fill(&server->next_tuning.limits);
    /* Parsers have room for so many, those that are at work too. */
    server->next_tuning.limits.fields = server->options.limits.fields;
    if (server->next_tuning.slow_ms == 0)
        server->next_tuning.slow_ms = PROA_SERVER_SLOW_MS_DEFAULT;
    server->tuned.run = tuned;
    proa_waiter_init(&server->tune_waiter, loop);
    atomic_store_explicit(&server->tunes, server->parts_count, memory_order_relaxed);
    for (uint32_t i = 0; i < server->parts_count; i++) {
        server->parts[i].tune.run = tune;
        proa_loop_post(server->parts[i].loop, &server->parts[i].tune);
    }
    proa_ignore(proa_park(&server->tune_waiter)); /* in a shield */
    server_limits_show(server);
}

static bool all_ended(const struct proa_server *server)
{
    return atomic_load_explicit(&server->shared.controls, memory_order_acquire) == 0 &&
           atomic_load_explicit(&server->shared.conns, memory_order_acquire) == 0;
}

/* @returns 0 once all has ended, or why waiting was given up. */
static int wait_ended(struct proa_server *server, proa_mono_ns until)
{
    struct proa_loop *loop = server->parts[0].loop;

    while (!all_ended(server)) {
        if (proa_loop_now_exact(loop) >= until)
            return PROA_ETIMEDOUT;
        PROA_TRY(proa_sleep(loop, PROA_MS(DRAIN_LOOK_MS)));
    }
    return 0;
}

static void set_phase(struct proa_server *server, enum server_phase phase)
{
    atomic_store_explicit(&server->shared.phase, (int)phase, memory_order_relaxed);
}

/* Cancels what is left, also when the draining fiber itself was told to end. However long a handler takes that cannot
 * end at once: what it works with is closed next. */
static void cut_rest(struct proa_server *server)
{
    struct proa_loop *loop = server->parts[0].loop;
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(loop, PROA_NEVER);

    while (atomic_load_explicit(&server->shared.controls, memory_order_acquire) > 0 &&
           proa_sleep(loop, PROA_MS(DRAIN_LOOK_MS)) == 0)
        ;
    set_phase(server, SERVER_CUTTING);
    tell_parts(server, control);
    proa_ignore(wait_ended(server, PROA_NEVER));
}

int proa_server_drain(struct proa_server *server, uint32_t delay_ms, uint32_t drain_ms)
{
    struct proa_loop *loop = server->parts[0].loop;
    proa_mono_ns cut_at;
    int rc = 0;

    set_phase(server, SERVER_CLOSING_SOON);
    if (delay_ms)
        rc = proa_sleep(loop, PROA_MS(delay_ms));
    if (server->listener)
        proa_listener_drain_close(server->listener);
    set_phase(server, SERVER_DRAINING);
    tell_parts(server, control);
    cut_at = proa_loop_now_exact(loop) + PROA_MS(drain_ms);
    if (rc == 0)
        rc = wait_ended(server, cut_at);
    if (rc == 0)
        return 0;
    cut_rest(server);
    return PROA_ETIMEDOUT;
}

void server_flushed_late(struct proa_server *server)
{
    if (atomic_fetch_sub_explicit(&server->late_flushes, 1, memory_order_acq_rel) == 1)
        free(server);
}

static void part_done(struct server_loop *part)
{
    part->is_over = true;
    if (part->flush.queued)
        atomic_fetch_add_explicit(&part->server->late_flushes, 1, memory_order_relaxed);
    if (part->has_tick) {
        conn_close_all(part);
        proa_timer_stop(&part->tick);
    }
    while (part->parsers_count > 0)
        free(part->parsers[--part->parsers_count]);
    while (part->free_reqs) {
        struct proa_req *req = part->free_reqs;

        part->free_reqs = req->next;
        free(req);
    }
    server_series_free(part);
    proa_buf_done(&part->out);
    proa_buf_done(&part->scratch);
}

void proa_server_free(struct proa_server *server)
{
    if (!server)
        return;
    atomic_store_explicit(&server->late_flushes, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < server->parts_count; i++)
        if (server->parts[i].server)
            part_done(&server->parts[i]);
    proa_listener_free(server->listener);
    free(server->loops);
    server_flushed_late(server);
}

/* Request objects. */
struct proa_req *req_new(struct server_loop *part)
{
    struct proa_req *req = part->free_reqs;

    if (req) {
        part->free_reqs = req->next;
        part->free_reqs_count--;
    } else {
        req = malloc(sizeof *req);
        if (!req)
            return NULL;
    }
    /* All but the error's texts and the parameters, which are written before they are read. */
    memset(req, 0, offsetof(struct proa_req, error));
    req->error.code = 0;
    req->error.retry_after_s = 0;
    req->error.os_errno = 0;
    req->error.message[0] = req->error.pointer[0] = req->error.origin[0] = '\0';
    req->error.type = NULL;
    req->error.fields = req->error.fields_tail = NULL;
    req->error.fields_count = 0;
    req->params_count = 0;
    req->home = part;
    req->router = part->router;
    req->reply_left = -1;
    proa_arena_init(&req->arena, proa_loop_blocks(part->loop), 0);
    req->error.arena = &req->arena;
    return req;
}

void req_free(struct proa_req *req)
{
    struct server_loop *part = req->home;

    proa_arena_done(&req->arena);
    if (part->free_reqs_count >= REQS_KEPT) {
        free(req);
        return;
    }
    req->next = part->free_reqs;
    part->free_reqs = req;
    part->free_reqs_count++;
}
