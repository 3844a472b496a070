/* Names to addresses by c-ares, driven by the loop.
 *
 *   resolve_name: looks into the file of hosts, asks servers for both families at once, then waits
 *        c-ares wants a socket watched --> on_state: a watch --> on_ready: c-ares reads
 *        c-ares wants to be woken      --> `retry`: c-ares asks again, or gives up
 *        a family's answer             --> on_answer: the last one, or the first with addresses and 50 ms
 *                                          later (RFC 8305 section 3), wakes the fiber
 *
 * Each call has a channel of its own: names are resolved once for a new connection, and so a changed
 * /etc/resolv.conf or /etc/hosts holds at once and there is no state to keep between calls.
 */
#include "resolve.h"
#include "stream_internal.h"

#include <ares.h>
#include <string.h>
#include <sys/time.h>

enum {
    OTHER_FAMILY_MS = 50,
    /* A lost datagram costs a second, then two and four; c-ares' own five to twenty are longer than any request. */
    FIRST_TIMEOUT_MS = 1000,
    TRIES = 3,
};

struct resolution;

/* One family's question. */
struct question {
    struct resolution *of;
    bool is_done;
    int status;
    uint32_t count;
    union net_address found[RESOLVE_FAMILY_MAX];
};

struct socket_watch {
    struct resolution *of;
    struct proa_fd_watch *watch; /* NULL: free */
    ares_socket_t fd;
};

/* On the stack of the fiber that waits. */
struct resolution {
    struct proa_loop *loop;
    ares_channel channel;
    struct proa_waiter waiter;
    struct proa_timer retry;
    struct proa_timer other_family;
    struct socket_watch watches[ARES_GETSOCK_MAXNUM];
    struct question v6, v4;
    uint16_t port;
    bool is_asking; /* servers, and waits for them */
};

/* After c-ares has done something: when does it want to be woken? */
static void arm_retry(struct resolution *own)
{
    struct timeval wait, *left = ares_timeout(own->channel, NULL, &wait);
    proa_mono_ns at = PROA_NEVER;

    if (left)
        at = proa_loop_now_exact(own->loop) + PROA_SECONDS(left->tv_sec) + (uint64_t)left->tv_usec * 1000;
    proa_ignore(proa_timer_start(&own->retry, at));
}

static void on_retry(struct proa_timer *timer)
{
    struct resolution *own = PROA_CONTAINER(timer, struct resolution, retry);

    ares_process_fd(own->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_retry(own);
}

static void on_ready(void *arg, int events)
{
    struct socket_watch *socket = arg;
    struct resolution *own = socket->of;
    ares_socket_t fd = socket->fd;

    ares_process_fd(own->channel, events & PROA_READABLE ? fd : ARES_SOCKET_BAD,
                    events & PROA_WRITABLE ? fd : ARES_SOCKET_BAD);
    arm_retry(own);
}

static struct socket_watch *find_watch(struct resolution *own, ares_socket_t fd)
{
    struct socket_watch *unused = NULL;

    for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
        if (own->watches[i].watch && own->watches[i].fd == fd)
            return &own->watches[i];
        if (!own->watches[i].watch)
            unused = &own->watches[i];
    }
    return unused;
}

/* c-ares says what it wants of a socket. One that cannot be watched is found out by its timeout. */
static void on_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct resolution *own = arg;
    struct socket_watch *socket = find_watch(own, fd);

    if (!socket)
        return;
    if (!readable && !writable) {
        proa_fd_watch_free(socket->watch);
        socket->watch = NULL;
        return;
    }
    if (!socket->watch) {
        socket->of = own;
        socket->fd = fd;
        if (proa_fd_watch_new(own->loop, fd, on_ready, socket, &socket->watch) < 0)
            return;
    }
    proa_ignore(proa_fd_watch_set(socket->watch, (readable ? PROA_READABLE : 0) | (writable ? PROA_WRITABLE : 0)));
}

static void on_other_family(struct proa_timer *timer)
{
    proa_unpark(&PROA_CONTAINER(timer, struct resolution, other_family)->waiter, 0);
}

static void keep(struct resolution *own, const struct ares_addrinfo_node *node)
{
    struct question *question = node->ai_family == AF_INET6 ? &own->v6 : &own->v4;
    union net_address *to = &question->found[question->count];

    if (node->ai_addrlen > sizeof *to || question->count == RESOLVE_FAMILY_MAX)
        return;
    memset(to, 0, sizeof *to);
    memcpy(to, node->ai_addr, node->ai_addrlen);
    if (node->ai_family == AF_INET6)
        to->v6.sin6_port = htons(own->port);
    else
        to->v4.sin_port = htons(own->port);
    question->count++;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *answer)
{
    struct question *question = arg;
    struct resolution *own = question->of;

    (void)timeouts;
    question->is_done = true;
    question->status = status;
    if (answer) {
        for (struct ares_addrinfo_node *node = answer->nodes; node; node = node->ai_next)
            keep(own, node);
        ares_freeaddrinfo(answer);
    }
    if (!own->is_asking)
        return;
    if (own->v4.is_done && own->v6.is_done)
        proa_unpark(&own->waiter, 0);
    else if (question->count > 0)
        proa_ignore(proa_timer_start(&own->other_family, proa_loop_now_exact(own->loop) + PROA_MS(OTHER_FAMILY_MS)));
}

/* @param lookups as c-ares names them: "f" for the file of hosts, "b" for servers. */
static int open_channel(struct resolution *own, const char *lookups, const struct resolve_options *options)
{
    char path[256], which[2] = {lookups[0]};
    struct ares_options ares = {.sock_state_cb = on_state,
                                .sock_state_cb_data = own,
                                .lookups = which,
                                .timeout = FIRST_TIMEOUT_MS,
                                .tries = TRIES};
    int mask = ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES;

    if (options && options->resolv_conf && strlen(options->resolv_conf) < sizeof path) {
        memcpy(path, options->resolv_conf, strlen(options->resolv_conf) + 1);
        ares.resolvconf_path = path;
        mask |= ARES_OPT_RESOLVCONF;
    }
    if (ares_init_options(&own->channel, &ares, mask) != ARES_SUCCESS)
        return PROA_ENOMEM;
    if (options && options->servers && ares_set_servers_ports_csv(own->channel, options->servers) != ARES_SUCCESS) {
        ares_destroy(own->channel);
        return PROA_EINVAL;
    }
    return 0;
}

static void ask(struct resolution *own, struct question *question, int family, const char *host,
                const struct resolve_options *options)
{
    /* The order of the answer is kept: servers spread load by it. */
    struct ares_addrinfo_hints hints = {.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NOSORT};

    if (options && options->hosts_by_env)
        hints.ai_flags |= ARES_AI_ENVHOSTS;
    question->of = own;
    ares_getaddrinfo(own->channel, host, NULL, &hints, on_answer, question);
}

static int explain(const struct resolution *own, const char *host, struct proa_error *err)
{
    int status = own->v4.status != ARES_SUCCESS ? own->v4.status : own->v6.status;
    int code = PROA_EUNAVAILABLE;

    /* "No such name" says more than "no address of this family". */
    if (own->v6.status == ARES_ENOTFOUND)
        status = ARES_ENOTFOUND;
    if (status == ARES_ENOMEM)
        code = PROA_ENOMEM;
    else if (status == ARES_EBADNAME)
        code = PROA_EINVAL;
    return proa_fail(err, code, "resolving %s: %s", host, ares_strerror(status));
}

static void take_turns(const struct resolution *own, struct net_addresses *ret_addresses)
{
    ret_addresses->count = 0;
    for (uint32_t i = 0; i < RESOLVE_FAMILY_MAX; i++) {
        if (i < own->v6.count)
            ret_addresses->at[ret_addresses->count++] = own->v6.found[i];
        if (i < own->v4.count)
            ret_addresses->at[ret_addresses->count++] = own->v4.found[i];
    }
}

/* A name that stands in the file of hosts, with one family or both, is asked of nobody. */
static int look_into_hosts(struct resolution *own, const char *host, const struct resolve_options *options)
{
    PROA_TRY(open_channel(own, "f", options));
    ask(own, &own->v4, AF_UNSPEC, host, options);
    ares_destroy(own->channel);
    own->v4.is_done = false;
    return 0;
}

static int ask_servers(struct resolution *own, const char *host, const struct resolve_options *options)
{
    int rc;

    PROA_TRY(open_channel(own, "b", options));
    proa_timer_init(&own->retry, own->loop, on_retry);
    proa_timer_init(&own->other_family, own->loop, on_other_family);
    proa_waiter_init(&own->waiter, own->loop);
    own->is_asking = true;
    ask(own, &own->v6, AF_INET6, host, options);
    ask(own, &own->v4, AF_INET, host, options);
    arm_retry(own);
    rc = proa_park(&own->waiter);
    own->is_asking = false;
    proa_timer_stop(&own->retry);
    proa_timer_stop(&own->other_family);
    ares_destroy(own->channel);
    return rc;
}

int resolve_name(struct proa_loop *loop, const char *host, uint16_t port, const struct resolve_options *options,
                 struct net_addresses *ret_addresses, struct proa_error *err)
{
    struct resolution own = {.loop = loop, .port = port};
    int rc = look_into_hosts(&own, host, options);

    if (rc == 0 && own.v4.count + own.v6.count == 0)
        rc = ask_servers(&own, host, options);
    if (rc < 0)
        return proa_fail(err, rc, "resolving %s: %s", host,
                         rc == PROA_ETIMEDOUT ? "timed out"
                         : rc == PROA_ENOMEM  ? "memory is out"
                                              : "given up");
    if (own.v4.count + own.v6.count == 0)
        return explain(&own, host, err);
    take_turns(&own, ret_addresses);
    return 0;
}
