/* The simulated network: listeners, connecting, and what is done to all connections of an address. */
#include "sim_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { FIRST_FREE_PORT = 40000, FIRST_CLIENT_PORT = 50000, CLIENT_PORTS = 10000 };

struct sim_listener {
    struct proa_list node;
    struct proa_listener *listener;
};

struct sim_partition {
    struct sim_partition *next;
    char address[PROA_ADDRESS_MAX];
};

/* A connect under way; on the stack of the fiber that waits. */
struct sim_connect {
    struct proa_list node;
    struct proa_waiter waiter;
    struct proa_timer timer;
    struct proa_sim *sim;
    char address[PROA_ADDRESS_MAX];
    bool has_arrived; /* at the other side: the timer is that of the answer */
    int code;
    struct sim_connection *connection;
};

void sim_network_init(struct proa_sim *sim)
{
    proa_list_init(&sim->listeners);
    proa_list_init(&sim->connects);
    proa_list_init(&sim->connections);
    sim->next_port = FIRST_FREE_PORT;
}

void sim_network_done(struct proa_sim *sim)
{
    struct sim_partition *next;

    assert(proa_list_empty(&sim->listeners) && "a listener was left open");
    assert(proa_list_empty(&sim->connections) && "a stream was left open");
    for (struct sim_partition *partition = sim->partitions; partition; partition = next) {
        next = partition->next;
        free(partition);
    }
}

/* Numeric addresses in one spelling; any other host is a name, which needs no resolving here. */
static int normalise(const char *text, char *out, struct proa_error *err)
{
    struct sockaddr_storage storage;
    unsigned len;
    int rc = address_parse(text, &storage, &len, err);

    if (rc == 0)
        address_text(&storage, len, out);
    else if (rc == PROA_EUNSUPPORTED && strlen(text) < PROA_ADDRESS_MAX)
        snprintf(out, PROA_ADDRESS_MAX, "%s", text);
    else
        return rc;
    proa_error_clear(err);
    return 0;
}

static const char *port_of(const char *address)
{
    const char *colon = strrchr(address, ':');

    return colon && strncmp(address, "unix:", 5) != 0 ? colon + 1 : NULL;
}

static bool is_any(const char *address)
{
    return strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0;
}

static struct sim_listener *find_listener(const struct proa_sim *sim, const char *address)
{
    const char *port = port_of(address);
    struct sim_listener *of_any = NULL;

    for (struct proa_list *node = sim->listeners.next; node != &sim->listeners; node = node->next) {
        struct sim_listener *own = PROA_CONTAINER(node, struct sim_listener, node);

        if (strcmp(own->listener->address, address) == 0)
            return own;
        if (port && is_any(own->listener->address) && strcmp(port_of(own->listener->address), port) == 0)
            of_any = own;
    }
    return of_any;
}

static int sim_listen(struct proa_loop *loop, struct proa_listener *listener, const char *address,
                      struct proa_error *err)
{
    struct proa_sim *sim = sim_of(loop);
    struct sim_listener *own, *taken;
    const char *port;

    PROA_TRY(normalise(address, listener->address, err));
    port = port_of(listener->address);
    if (port && strcmp(port, "0") == 0) {
        size_t host = (size_t)(port - listener->address);

        snprintf(listener->address + host, sizeof listener->address - host, "%u", sim->next_port++);
    }
    taken = find_listener(sim, listener->address);
    if (taken && strcmp(taken->listener->address, listener->address) == 0)
        return proa_fail(err, PROA_EEXISTS, "listening on %s: address in use", address);
    own = calloc(1, sizeof *own);
    if (!own)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    own->listener = listener;
    listener->simulation = own;
    proa_list_push_back(&sim->listeners, &own->node);
    sim_trace(sim, SIM_LISTEN, sim->now, 0);
    return 0;
}

static void sim_listener_close(struct proa_listener *listener)
{
    struct sim_listener *own = listener->simulation;

    proa_list_remove(&own->node);
    free(own);
}

/* Partitions. */
/* @returns where it hangs, or where one would: then NULL stands there. */
static struct sim_partition **find_partition(struct proa_sim *sim, const char *address)
{
    struct sim_partition **at = &sim->partitions;

    while (*at && strcmp((*at)->address, address) != 0)
        at = &(*at)->next;
    return at;
}

bool sim_is_partitioned(const struct sim_connection *connection)
{
    struct proa_sim *sim = connection->sim;

    if (connection->is_lost)
        return true;
    return sim->partitions && (*find_partition(sim, connection->listener) || *find_partition(sim, connection->dialed));
}

static bool connect_hangs(const struct sim_connect *own)
{
    const struct sim_listener *to = find_listener(own->sim, own->address);

    return *find_partition(own->sim, own->address) || (to && *find_partition(own->sim, to->listener->address));
}

static void arm_connect(struct sim_connect *own)
{
    proa_ignore(proa_timer_start(&own->timer, own->sim->now + sim_delay(own->sim)));
}

static void touch_all(struct proa_sim *sim)
{
    for (struct proa_list *node = sim->connections.next; node != &sim->connections; node = node->next)
        sim_connection_touch(PROA_CONTAINER(node, struct sim_connection, node));
    for (struct proa_list *node = sim->connects.next; node != &sim->connects; node = node->next) {
        struct sim_connect *own = PROA_CONTAINER(node, struct sim_connect, node);

        if (!proa_timer_armed(&own->timer))
            arm_connect(own);
    }
}

void proa_sim_partition(struct proa_sim *sim, const char *address, bool partitioned)
{
    char own[PROA_ADDRESS_MAX];
    struct sim_partition **at, *gone;
    int rc = normalise(address, own, NULL);

    assert(rc == 0 && "not an address");
    at = rc == 0 ? find_partition(sim, own) : NULL;
    if (!at || partitioned == (*at != NULL))
        return;
    sim_trace(sim, SIM_PARTITION, sim->now, partitioned);
    if (partitioned) {
        *at = calloc(1, sizeof **at);
        if (!*at)
            abort(); /* a test without its fault would prove nothing */
        memcpy((*at)->address, own, sizeof own);
    } else {
        gone = *at;
        *at = gone->next;
        free(gone);
    }
    touch_all(sim);
}

static uint32_t for_each_connection(struct proa_sim *sim, const char *address,
                                    void (*what)(struct sim_connection *connection))
{
    char own[PROA_ADDRESS_MAX];
    uint32_t count = 0;
    int rc = normalise(address, own, NULL);

    assert(rc == 0 && "not an address");
    if (rc < 0)
        return 0;
    for (struct proa_list *node = sim->connections.next; node != &sim->connections; node = node->next) {
        struct sim_connection *connection = PROA_CONTAINER(node, struct sim_connection, node);

        if (strcmp(connection->listener, own) != 0 && strcmp(connection->dialed, own) != 0)
            continue;
        what(connection);
        count++;
    }
    return count;
}

uint32_t proa_sim_cut(struct proa_sim *sim, const char *address)
{
    return for_each_connection(sim, address, sim_connection_cut);
}

uint32_t proa_sim_lose(struct proa_sim *sim, const char *address)
{
    sim_trace(sim, SIM_PARTITION, sim->now, 2);
    return for_each_connection(sim, address, sim_connection_lose);
}

void proa_sim_set_network(struct proa_sim *sim, const struct proa_sim_network *network)
{
    sim->network = *network;
    touch_all(sim);
}

/* Connecting. */

/* The server's side has it; the client learns of it one delay later. */
static void accept_connect(struct sim_connect *own, struct sim_listener *to)
{
    struct proa_sim *sim = own->sim;
    struct sim_connection *connection = sim_connection_new(sim);

    if (!connection) {
        own->code = PROA_ENOMEM;
        return;
    }
    memcpy(connection->listener, to->listener->address, PROA_ADDRESS_MAX);
    memcpy(connection->dialed, own->address, PROA_ADDRESS_MAX);
    if (port_of(own->address))
        snprintf(connection->from, PROA_ADDRESS_MAX, "127.0.0.1:%u",
                 (unsigned)(FIRST_CLIENT_PORT + connection->number % CLIENT_PORTS));
    else
        snprintf(connection->from, PROA_ADDRESS_MAX, "unix:");
    own->connection = connection;
    sim_trace(sim, SIM_ACCEPT, sim->now, connection->number);
    listener_hand_out(to->listener, &connection->server.base);
}

static void connect_moves(struct proa_timer *timer)
{
    struct sim_connect *own = PROA_CONTAINER(timer, struct sim_connect, timer);
    struct sim_listener *to;

    if (connect_hangs(own))
        return; /* touch_all goes on */
    if (own->has_arrived) {
        proa_unpark(&own->waiter, own->code);
        return;
    }
    own->has_arrived = true;
    to = find_listener(own->sim, own->address);
    if (!to || sim_chance(own->sim, own->sim->network.refuse_probability))
        own->code = PROA_EUNAVAILABLE;
    else
        accept_connect(own, to);
    arm_connect(own);
}

static int sim_connect(struct proa_loop *loop, const char *address, struct proa_stream **ret_stream,
                       struct proa_error *err)
{
    struct sim_connect own = {.sim = sim_of(loop)};
    int rc;

    PROA_TRY(normalise(address, own.address, err));
    sim_trace(own.sim, SIM_CONNECT, own.sim->now, 0);
    proa_waiter_init(&own.waiter, loop);
    proa_timer_init(&own.timer, loop, connect_moves);
    proa_list_push_back(&own.sim->connects, &own.node);
    arm_connect(&own);
    rc = proa_park(&own.waiter);
    proa_list_remove(&own.node);
    proa_timer_stop(&own.timer);
    if (rc == 0) {
        *ret_stream = &own.connection->client.base;
        return 0;
    }
    if (own.connection)
        proa_stream_close(&own.connection->client.base);
    if (rc == PROA_EUNAVAILABLE)
        return proa_fail(err, rc, "connecting to %s: connection refused", address);
    return proa_fail(err, rc, "connecting to %s: %s", address, rc == PROA_ETIMEDOUT ? "timed out" : "given up");
}

const struct net_ops sim_net_ops = {
    .connect = sim_connect,
    .listen = sim_listen,
    .listener_close = sim_listener_close,
};
