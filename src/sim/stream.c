/* Streams of the simulation.
 *
 *   send --> outbox --window--> wire (delay, pieces, faults) --> inbox of the peer --> reader
 *              |                                                       |
 *              +-- drained, when the window took all  <--- room -------+
 *
 * As in TCP: order is kept; an end closed with bytes unread, or that gets bytes after it was closed, resets
 * the other one; a reset discards what was not read yet.
 */
#include "sim_internal.h"

#include <stdlib.h>
#include <string.h>

enum { WINDOW_DEFAULT_BYTES = 64 * 1024 };

/* Bytes on their way; none: the end of the stream. */
struct chunk {
    struct chunk *next;
    proa_mono_ns at;
    size_t begin, end;
    char data[];
};

static struct sim_end *of(const struct proa_stream *stream)
{
    return (struct sim_end *)(uintptr_t)stream;
}

static void discard_first(struct chunk_queue *queue)
{
    struct chunk *chunk = queue->first;

    queue->first = chunk->next;
    if (!queue->first)
        queue->last = NULL;
    free(chunk);
}

static void discard_all(struct chunk_queue *queue)
{
    while (queue->first)
        discard_first(queue);
}

static struct chunk *append(struct chunk_queue *queue, size_t bytes)
{
    struct chunk *chunk = malloc(sizeof *chunk + bytes);

    if (!chunk)
        return NULL;
    *chunk = (struct chunk){.end = bytes};
    if (queue->last)
        queue->last->next = chunk;
    else
        queue->first = chunk;
    queue->last = chunk;
    return chunk;
}

bool sim_chance(struct proa_sim *sim, double probability)
{
    return probability > 0 && proa_prng_double(&sim->net_prng) < probability;
}

uint64_t sim_delay(struct proa_sim *sim)
{
    const struct proa_sim_network *network = &sim->network;

    if (network->delay_max_ns <= network->delay_min_ns)
        return network->delay_min_ns;
    return network->delay_min_ns + proa_prng_below(&sim->net_prng, network->delay_max_ns - network->delay_min_ns + 1);
}

static uint64_t digest(const char *bytes, size_t count)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < count; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static void trace(const struct sim_end *end, enum sim_event event, uint64_t more)
{
    const struct sim_connection *connection = end->connection;

    sim_trace(connection->sim, event, connection->number * 2 + (end == &connection->server), more);
}

/* Arrival. */

/* Arms the timer for what happens next at this end. */
static void await_arrival(struct sim_end *end)
{
    const struct chunk *next = end->inbox.first;
    proa_mono_ns at = PROA_NEVER;

    if (end->is_reset)
        at = end->base.reading && !end->closed ? 0 : PROA_NEVER;
    else if (end->connection->is_cut || end->has_given_up)
        at = end->reset_at;
    else if (!sim_is_partitioned(end->connection)) {
        at = end->reset_at;
        if (next && (end->base.reading || end->closed) && next->at < at)
            at = next->at;
    }
    proa_ignore(proa_timer_start(&end->arrival, at));
}

static void reset_at(struct sim_end *end, proa_mono_ns at)
{
    if (at < end->reset_at)
        end->reset_at = at;
    await_arrival(end);
}

/* This end tells the other one that it has gone, after what it sent before. */
static void send_reset(struct sim_end *from)
{
    struct proa_sim *sim = from->connection->sim;
    proa_mono_ns at = sim->now + sim_delay(sim);

    reset_at(from->peer, at > from->peer->last_at ? at : from->peer->last_at);
}

void sim_connection_cut(struct sim_connection *connection)
{
    connection->is_cut = true;
    reset_at(&connection->client, connection->sim->now);
    reset_at(&connection->server, connection->sim->now);
}

/* Silence. */

static void give_up(struct proa_timer *timer)
{
    struct sim_end *end = PROA_CONTAINER(timer, struct sim_end, silence);

    end->has_given_up = true;
    reset_at(end, end->connection->sim->now);
}

static void watch_silence(struct sim_end *end)
{
    if (end->peer_timeout_ns == 0 || end->closed || !sim_is_partitioned(end->connection))
        proa_timer_stop(&end->silence);
    else if (!proa_timer_armed(&end->silence) && !end->has_given_up)
        proa_ignore(proa_timer_start(&end->silence, end->connection->sim->now + end->peer_timeout_ns));
}

/* Sending. */

/* Bytes of the outbox go on the wire. */
static bool put_on_wire(struct sim_end *from, size_t bytes)
{
    struct proa_sim *sim = from->connection->sim;
    struct sim_end *to = from->peer;
    bool is_cut = sim_chance(sim, sim->network.cut_probability);
    struct chunk *chunk = is_cut ? NULL : append(&to->inbox, bytes);
    proa_mono_ns at;
    size_t done = 0;

    if (!chunk) {
        /* To the sender it looks sent, as when a kernel has it. */
        discard_all(&from->outbox);
        from->queued = 0;
        sim_connection_cut(from->connection);
        return false;
    }
    at = sim->now + sim_delay(sim);
    if (sim_chance(sim, sim->network.stall_probability))
        at += sim->network.stall_ns;
    chunk->at = to->last_at = at > to->last_at ? at : to->last_at;
    while (done < bytes) {
        struct chunk *source = from->outbox.first;
        size_t now = source->end - source->begin < bytes - done ? source->end - source->begin : bytes - done;

        memcpy(chunk->data + done, source->data + source->begin, now);
        done += now;
        source->begin += now;
        if (source->begin == source->end)
            discard_first(&from->outbox);
    }
    from->queued -= bytes;
    to->inbox_bytes += bytes;
    await_arrival(to);
    return true;
}

static size_t piece(struct proa_sim *sim, size_t most)
{
    uint32_t chunk_max = sim->network.chunk_max_bytes;

    if (chunk_max == 0)
        return most;
    return 1 + (size_t)proa_prng_below(&sim->net_prng, most < chunk_max ? most : chunk_max);
}

/* Moves what the window has room for. */
static void pump(struct sim_end *from)
{
    struct proa_sim *sim = from->connection->sim;
    size_t window = sim->network.window_bytes ? sim->network.window_bytes : WINDOW_DEFAULT_BYTES;

    if (from->is_reset || from->end_sent || from->closed)
        return;
    while (from->queued > 0 && from->peer->inbox_bytes < window) {
        size_t room = window - from->peer->inbox_bytes;

        if (!put_on_wire(from, piece(sim, from->queued < room ? from->queued : room)))
            return;
    }
    if (from->queued > 0)
        return;
    if (from->owes_drained && !proa_timer_armed(&from->drained))
        proa_ignore(proa_timer_start(&from->drained, sim->now));
    if (from->base.shut)
        from->end_sent = put_on_wire(from, 0);
}

static void maybe_free(struct sim_connection *connection)
{
    struct sim_end *ends[] = {&connection->client, &connection->server};

    if (connection->busy || !connection->client.closed || !connection->server.closed)
        return;
    for (int i = 0; i < 2; i++) {
        discard_all(&ends[i]->inbox);
        proa_timer_stop(&ends[i]->arrival);
        proa_timer_stop(&ends[i]->drained);
        proa_timer_stop(&ends[i]->silence);
    }
    proa_list_remove(&connection->node);
    free(connection);
}

static void leave(struct sim_connection *connection)
{
    connection->busy--;
    maybe_free(connection);
}

static void tell_drained(struct sim_end *end, int code)
{
    end->owes_drained = false;
    proa_timer_stop(&end->drained);
    stream_drained(&end->base, code);
}

static void on_drained(struct proa_timer *timer)
{
    struct sim_end *end = PROA_CONTAINER(timer, struct sim_end, drained);

    if (end->closed || end->queued > 0) /* more was sent meanwhile: when that has gone */
        return;
    end->connection->busy++;
    trace(end, SIM_WINDOW, 0);
    tell_drained(end, 0);
    leave(end->connection);
}

static void be_reset(struct sim_end *end)
{
    end->is_reset = true;
    discard_all(&end->inbox);
    discard_all(&end->outbox);
    end->queued = end->inbox_bytes = 0;
    trace(end, SIM_RESET, 0);
    end->base.send_error = end->has_given_up ? PROA_ETIMEDOUT : PROA_ECLOSED;
    if (!end->closed && end->owes_drained)
        tell_drained(end, end->base.send_error);
}

/* Bytes or the end, to whoever reads. In memory of its own, so that who keeps a pointer to it is found. */
static void deliver(struct sim_end *end, struct chunk *chunk)
{
    char *buffer, *bytes;
    size_t most, now = chunk->end - chunk->begin;

    if (chunk->end == 0) {
        discard_first(&end->inbox);
        trace(end, SIM_END, 0);
        stream_end(&end->base, 0);
        return;
    }
    stream_buffer(&end->base, &buffer, &most);
    now = now < most ? now : most;
    bytes = now ? malloc(now) : NULL;
    if (!bytes) {
        stream_end(&end->base, PROA_ENOMEM);
        return;
    }
    memcpy(bytes, chunk->data + chunk->begin, now);
    chunk->begin += now;
    if (chunk->begin == chunk->end)
        discard_first(&end->inbox);
    end->inbox_bytes -= now;
    trace(end, SIM_DATA, digest(bytes, now));
    stream_data(&end->base, proa_str_n(bytes, now));
    free(bytes);
    if (!end->peer->closed)
        pump(end->peer);
}

/* @returns whether there may be more to do now. */
static bool arrive(struct sim_end *end)
{
    proa_mono_ns now = end->connection->sim->now;
    struct chunk *next = end->inbox.first;

    if (!end->connection->is_cut && !end->has_given_up && sim_is_partitioned(end->connection))
        return false;
    if (!end->is_reset && end->reset_at <= now)
        be_reset(end);
    if (end->is_reset) {
        if (!end->closed && end->base.reading)
            stream_end(&end->base, end->base.send_error);
        return false;
    }
    if (!next || next->at > now)
        return false;
    if (end->closed) {
        if (next->end > 0)
            send_reset(end);
        discard_first(&end->inbox);
        return true;
    }
    if (!end->base.reading)
        return false;
    deliver(end, next);
    return true;
}

static void on_arrival(struct proa_timer *timer)
{
    struct sim_end *end = PROA_CONTAINER(timer, struct sim_end, arrival);
    struct sim_connection *connection = end->connection;

    connection->busy++;
    while (arrive(end))
        ;
    await_arrival(end);
    leave(connection);
}

void sim_connection_touch(struct sim_connection *connection)
{
    pump(&connection->client);
    pump(&connection->server);
    await_arrival(&connection->client);
    await_arrival(&connection->server);
    watch_silence(&connection->client);
    watch_silence(&connection->server);
}

void sim_connection_lose(struct sim_connection *connection)
{
    connection->is_lost = true;
    sim_connection_touch(connection);
}

/* The stream's operations. */
static int read_start(struct proa_stream *stream)
{
    await_arrival(of(stream));
    return 0;
}

static void read_stop(struct proa_stream *stream)
{
    (void)stream; /* on_arrival looks */
}

static int send_slices(struct proa_stream *stream, const proa_str *slices, size_t count)
{
    struct sim_end *end = of(stream);
    struct chunk *chunk;
    size_t total = 0, at = 0;

    for (size_t i = 0; i < count; i++)
        total += slices[i].len;
    if (total == 0)
        return 0;
    chunk = append(&end->outbox, total);
    if (!chunk)
        return PROA_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (slices[i].len > 0)
            memcpy(chunk->data + at, slices[i].ptr, slices[i].len);
        at += slices[i].len;
    }
    end->queued += total;
    pump(end);
    if (end->queued > 0)
        end->owes_drained = true;
    return 0;
}

static size_t queued(const struct proa_stream *stream)
{
    return of(stream)->queued;
}

static void shut_down(struct proa_stream *stream)
{
    pump(of(stream));
}

static bool has_unread(const struct sim_end *end)
{
    const struct chunk *next = end->inbox.first;

    return next && next->end > 0 && next->at <= end->connection->sim->now;
}

static void close_stream(struct proa_stream *stream, bool reset)
{
    struct sim_end *end = of(stream);

    assert(!end->closed);
    discard_all(&end->outbox);
    end->queued = 0;
    proa_timer_stop(&end->drained);
    if (!end->is_reset && !end->peer->closed) {
        if (reset || has_unread(end))
            send_reset(end);
        else if (!end->end_sent)
            end->end_sent = put_on_wire(end, 0);
    }
    end->closed = true;
    await_arrival(end);
    watch_silence(end);
    maybe_free(end->connection);
}

static void address(const struct proa_stream *stream, bool peer, char *out)
{
    const struct sim_connection *connection = of(stream)->connection;
    bool of_client = (of(stream) == &connection->client) != peer;

    memcpy(out, of_client ? connection->from : connection->dialed, PROA_ADDRESS_MAX);
}

static void set_peer_timeout(struct proa_stream *stream, uint32_t ms)
{
    of(stream)->peer_timeout_ns = PROA_MS(ms);
    watch_silence(of(stream));
}

static const struct proa_stream_ops sim_stream_ops = {
    .read_start = read_start,
    .read_stop = read_stop,
    .send = send_slices,
    .queued = queued,
    .shutdown = shut_down,
    .close = close_stream,
    .address = address,
    .set_peer_timeout = set_peer_timeout,
};

static void end_init(struct sim_end *end, struct sim_end *peer, struct sim_connection *connection)
{
    struct proa_loop *loop = &connection->sim->loop;

    end->base.ops = &sim_stream_ops;
    end->base.loop = loop;
    end->connection = connection;
    end->peer = peer;
    end->reset_at = PROA_NEVER;
    proa_timer_init(&end->arrival, loop, on_arrival);
    proa_timer_init(&end->drained, loop, on_drained);
    proa_timer_init(&end->silence, loop, give_up);
}

struct sim_connection *sim_connection_new(struct proa_sim *sim)
{
    struct sim_connection *connection = calloc(1, sizeof *connection);

    if (!connection)
        return NULL;
    connection->sim = sim;
    connection->number = ++sim->connections_made;
    end_init(&connection->client, &connection->server, connection);
    end_init(&connection->server, &connection->client, connection);
    proa_list_push_back(&sim->connections, &connection->node);
    return connection;
}
