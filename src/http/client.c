/* Exchanges: one request and its answer, with repeats, deadlines and content codings. */
#include "client_internal.h"

#include "base/defaults.h"
#include <assert.h>
#include <proa/buf.h>
#include <proa/checked.h>
#include <stdlib.h>
#include <zlib.h>

enum {
    CONNECTIONS_DEFAULT = 64,
    WAITING_DEFAULT = 1000,
    IDLE_DEFAULT_MS = 30000,
    CONNECT_DEFAULT_MS = 5000,
    REQUEST_DEFAULT_MS = 30000,
    HEAD_DEFAULT_BYTES = 64 * 1024,
    BODY_DEFAULT_BYTES = 16 * 1024 * 1024,
    RETRIES_DEFAULT = 2,
    WAIT_FIRST_MS = 50, /* the first wait between tries, at most */
    WAIT_MAX_MS = 2000,
    PIECE_BYTES = 16 * 1024,
    GZIP_FIRST_BYTE = 0x1f,
    DISCARD_BYTES = 64 * 1024, /* of an answer that is not wanted, to keep its connection */
    DISCARD_MS = 100,          /* waited for it */
};
static const double BUDGET_MAX = 10, BUDGET_PER_REQUEST = 0.1;

struct proa_exchange {
    struct proa_client *client;
    struct proa_arena *arena;
    struct client_conn *conn; /* NULL once given back */
    struct response response;
    z_stream *inflater; /* NULL: the body is as it comes */
    char *piece;        /* of PIECE_BYTES, with an inflater */
    uint8_t coded;      /* enum coded, of a compressed body */
    bool was_reused;    /* the connection had served others before */
    bool had_bytes;     /* of an answer */
    bool body_given;    /* response.body was handed out and is to be forgotten */
};

/* Where in a gzip body we are: RFC 1952 section 2.2, members one after the other. */
enum coded { CODED_NOTHING = 0, CODED_MEMBER, CODED_BETWEEN, CODED_OTHER };

/* What a request comes to, before it is tried. */
struct attempt {
    struct proa_client *client;
    struct proa_arena *arena;
    const struct proa_client_request *request;
    struct client_url url;
    struct client_route route;
    struct client_trace *trace;
    proa_str head;
    bool is_head, is_idempotent;
    bool was_sent;  /* bytes of the last try may have been received */
    bool was_stale; /* the last try met a connection that the server had given up */
};

/* -- The client --------------------------------------------------------------------------------------------------- */

int proa_client_new(const struct proa_client_options *options, struct proa_client **ret_client, struct proa_error *err)
{
    struct proa_client *client = calloc(1, sizeof *client);
    uint64_t seed;
    int rc;

    if (!client)
        return proa_fail(err, PROA_ENOMEM, "no memory for a client");
    client->options = *options;
    fill_u32(&client->options.connections_per_origin, CONNECTIONS_DEFAULT);
    fill_u32(&client->options.waiting_max, WAITING_DEFAULT);
    fill_u32(&client->options.idle_ms, IDLE_DEFAULT_MS);
    fill_u32(&client->options.connect_ms, CONNECT_DEFAULT_MS);
    fill_u32(&client->options.request_ms, REQUEST_DEFAULT_MS);
    fill_u32(&client->options.head_bytes, HEAD_DEFAULT_BYTES);
    fill_u32(&client->options.retries, RETRIES_DEFAULT);
    if (client->options.body_bytes == 0)
        client->options.body_bytes = BODY_DEFAULT_BYTES;
    client->budget = BUDGET_MAX;
    if (options->logger)
        client->logger = *options->logger;
    client->logger.target = "http.client";
    proa_timer_init(&client->idle_timer, options->loop, client_idle_fire);
    proa_loop_random(options->loop, &seed, sizeof seed);
    client->origins = proa_map_new(seed);
    rc = client->origins ? client_metrics_init(&client->metrics, options->metrics, seed, err)
                         : proa_fail(err, PROA_ENOMEM, "no memory for a client");
    if (rc == 0)
        rc = client_proxies_init(&client->proxies, options->env, err);
    if (rc < 0) {
        proa_client_free(client);
        return rc;
    }
    *ret_client = client;
    return 0;
}

void proa_client_free(struct proa_client *client)
{
    if (!client)
        return;
    assert(client->exchanges == 0);
    proa_timer_stop(&client->idle_timer);
    client_origins_free(client);
    client_metrics_done(&client->metrics);
    client_proxies_done(&client->proxies);
    free(client);
}

uint32_t proa_client_exchanges(const struct proa_client *client)
{
    return client->exchanges;
}

/* -- The request's head ------------------------------------------------------------------------------------------- */

static bool is_token(proa_str text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c && memchr(others, c, sizeof others - 1))))
            return false;
    }
    return text.len > 0;
}

static bool is_field_value(proa_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (((unsigned char)text.ptr[i] < ' ' && text.ptr[i] != '\t') || text.ptr[i] == 0x7f)
            return false;
    return true;
}

static bool is_given(const struct proa_client_request *request, const char *name)
{
    for (size_t i = 0; i < request->fields_count; i++)
        if (proa_str_eq_nocase(proa_str_c(request->fields[i].name), proa_str_c(name)))
            return true;
    return false;
}

int client_field_check(const struct proa_client_field *field, struct proa_error *err)
{
    static const char *const ours[] = {"Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "TE", "Trailer"};

    for (size_t i = 0; i < PROA_COUNT(ours); i++)
        if (proa_str_eq_nocase(proa_str_c(field->name), proa_str_c(ours[i])))
            return proa_fail(err, PROA_EINVAL, "the field %s is the client's", ours[i]);
    if (!is_token(proa_str_c(field->name)))
        return proa_fail(err, PROA_EINVAL, "a field's name is not a token");
    if (!is_field_value(field->value))
        return proa_fail(err, PROA_EINVAL, "the value of %s holds control characters", field->name);
    return 0;
}

static int add_given(struct proa_buf *head, const struct proa_client_request *request, struct proa_error *err)
{
    for (size_t i = 0; i < request->fields_count; i++) {
        const struct proa_client_field *field = &request->fields[i];

        PROA_TRY(client_field_check(field, err));
        proa_buf_printf(head, "%s: ", field->name);
        proa_buf_add(head, field->value);
        proa_buf_add_c(head, "\r\n");
    }
    return 0;
}

static bool takes_content(proa_str method)
{
    return proa_str_eq_c(method, "POST") || proa_str_eq_c(method, "PUT") || proa_str_eq_c(method, "PATCH");
}

static int write_head(struct attempt *attempt, proa_str method, struct proa_error *err)
{
    const struct proa_client_request *request = attempt->request;
    const struct client_url *url = &attempt->url;
    struct proa_buf head;

    proa_buf_init(&head, attempt->arena, 0);
    proa_buf_add(&head, method);
    proa_buf_add_c(&head, " ");
    if (attempt->route.proxy && !url->is_https) {
        proa_buf_add_c(&head, "http://");
        proa_buf_add(&head, url->host_field);
    }
    proa_buf_add(&head, url->target);
    proa_buf_add_c(&head, " HTTP/1.1\r\n");
    if (!is_given(request, "Host"))
        proa_buf_printf(&head, "Host: " PROA_FMT "\r\n", PROA_ARG(url->host_field));
    if (!is_given(request, "User-Agent"))
        proa_buf_printf(&head, "User-Agent: %s\r\n",
                        attempt->client->options.user_agent ? attempt->client->options.user_agent : "proa");
    if (!is_given(request, "Accept-Encoding"))
        proa_buf_add_c(&head, "Accept-Encoding: gzip\r\n");
    if (attempt->route.proxy && !url->is_https && attempt->route.proxy->authorization)
        proa_buf_printf(&head, "Proxy-Authorization: %s\r\n", attempt->route.proxy->authorization);
    client_trace_fields(attempt->client, attempt->trace, is_given, request, &head);
    if (request->content_type)
        proa_buf_printf(&head, "Content-Type: %s\r\n", request->content_type);
    if (request->body.ptr || takes_content(method))
        proa_buf_printf(&head, "Content-Length: %zu\r\n", request->body.len);
    PROA_TRY(add_given(&head, request, err));
    proa_buf_add_c(&head, "\r\n");
    if (head.error < 0)
        return proa_fail(err, head.error, "no memory for a request");
    attempt->head = proa_buf_str(&head);
    return 0;
}

static int prepare(struct proa_client *client, struct proa_arena *arena, const struct proa_client_request *request,
                   struct client_trace *trace, struct attempt *ret_attempt, struct proa_error *err)
{
    static const char *const idempotent[] = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};
    proa_str method = request->method ? proa_str_c(request->method) : PROA_STR("GET");

    *ret_attempt = (struct attempt){.client = client, .arena = arena, .request = request, .trace = trace};
    if (!is_token(method) || proa_str_eq_c(method, "CONNECT"))
        return proa_fail(err, PROA_EINVAL, "the method is not valid");
    if (request->content_type && !is_field_value(proa_str_c(request->content_type)))
        return proa_fail(err, PROA_EINVAL, "the content type holds control characters");
    PROA_TRY(client_url_parse(arena, request->url, &ret_attempt->url, err));
    if (ret_attempt->url.is_https && !client->options.tls)
        return proa_fail(err, PROA_EUNSUPPORTED, "https needs TLS, which this client was made without");
    ret_attempt->route =
        (struct client_route){&ret_attempt->url, client_proxy_for(&client->proxies, &ret_attempt->url)};
    ret_attempt->is_head = proa_str_eq_c(method, "HEAD");
    ret_attempt->is_idempotent = request->may_repeat;
    for (size_t i = 0; i < PROA_COUNT(idempotent); i++)
        if (proa_str_eq_c(method, idempotent[i]))
            ret_attempt->is_idempotent = true;
    return write_head(ret_attempt, method, err);
}

/* -- Reading ------------------------------------------------------------------------------------------------------ */

/* May suspend until the answer's parser has got something new to show, or the answer has ended. */
static int read_more(struct proa_exchange *exchange, struct proa_error *err)
{
    struct client_conn *conn = exchange->conn;
    size_t used;

    for (;;) {
        proa_str input = client_conn_input(conn);
        int rc;

        if (input.len > 0) {
            exchange->had_bytes = true;
            PROA_TRY(response_feed(&exchange->response, input, &used, err));
            client_conn_take(conn, used);
            return 0;
        }
        if (conn->ended && conn->end_code == PROA_ENOMEM)
            return proa_fail(err, PROA_ENOMEM, "no memory for an answer");
        if (conn->ended && conn->end_code < 0)
            return proa_fail(err, PROA_EUNAVAILABLE,
                             exchange->had_bytes ? "the connection was reset during the answer"
                                                 : "the connection was reset before an answer");
        if (conn->ended)
            return response_finish(&exchange->response, err);
        rc = client_conn_wait(conn);
        if (rc < 0)
            return proa_fail(err, rc, rc == PROA_ETIMEDOUT ? "no answer in time" : "given up");
    }
}

/* RFC 9112 section 6.1: codings of the transfer are only sent to who offered them (TE), which we do not. */
static int check_transfer(const struct proa_exchange *exchange, struct proa_error *err)
{
    proa_str coding = response_field(&exchange->response, exchange->arena, "Transfer-Encoding");

    if (!coding.ptr || proa_str_eq_nocase(coding, PROA_STR("chunked")))
        return 0;
    return proa_fail(err, PROA_EPROTOCOL, "the answer has a transfer coding beside chunked");
}

static int start_inflating(struct proa_exchange *exchange, struct proa_error *err)
{
    proa_str coding = response_field(&exchange->response, exchange->arena, "Content-Encoding");
    bool is_gzip =
        coding.ptr && (proa_str_eq_nocase(coding, PROA_STR("gzip")) || proa_str_eq_nocase(coding, PROA_STR("x-gzip")));

    if (!is_gzip || exchange->response.is_head)
        return 0;
    exchange->inflater = proa_arena_new(exchange->arena, z_stream);
    exchange->piece = proa_arena_alloc(exchange->arena, PIECE_BYTES);
    if (!exchange->inflater || !exchange->piece || inflateInit2(exchange->inflater, 15 + 16) != Z_OK) {
        exchange->inflater = NULL;
        return proa_fail(err, PROA_ENOMEM, "no memory to decompress an answer");
    }
    return 0;
}

static void forget_given(struct proa_exchange *exchange)
{
    if (exchange->body_given)
        proa_buf_clear(&exchange->response.body);
    exchange->body_given = false;
}

static int read_plain(struct proa_exchange *exchange, proa_str *ret_piece, struct proa_error *err)
{
    forget_given(exchange);
    while (exchange->response.body.len == 0) {
        if (exchange->response.phase == RESPONSE_END) {
            *ret_piece = (proa_str){NULL, 0};
            return 0;
        }
        if (client_conn_input(exchange->conn).len == 0)
            proa_buf_done(&exchange->response.body);
        PROA_TRY(read_more(exchange, err));
    }
    exchange->body_given = true;
    *ret_piece = proa_buf_str(&exchange->response.body);
    return 0;
}

/* Has the inflater bytes to read. @returns 1, 0 at the end of the body, or an error. */
static int more_coded(struct proa_exchange *exchange, struct proa_error *err)
{
    z_stream *z = exchange->inflater;
    proa_str raw;

    if (z->avail_in > 0)
        return 1;
    PROA_TRY(read_plain(exchange, &raw, err));
    if (!raw.ptr)
        return exchange->coded == CODED_MEMBER ? proa_fail(err, PROA_EPROTOCOL, "the compressed answer lacks its end")
                                               : 0;
    z->next_in = (unsigned char *)(uintptr_t)raw.ptr;
    z->avail_in = (unsigned)raw.len;
    return 1;
}

/* A body of no bytes is empty whatever its coding, as that of 204, of 304 and of "Content-Length: 0". */
static int read_inflated(struct proa_exchange *exchange, proa_str *ret_piece, struct proa_error *err)
{
    z_stream *z = exchange->inflater;

    z->next_out = (unsigned char *)exchange->piece;
    z->avail_out = PIECE_BYTES;
    while (z->avail_out == PIECE_BYTES) {
        int rc = more_coded(exchange, err);

        if (rc < 0)
            return rc;
        if (rc == 0) {
            *ret_piece = (proa_str){NULL, 0};
            return 0;
        }
        /* What follows the last member and begins none is not content. */
        if (exchange->coded == CODED_BETWEEN && z->next_in[0] != GZIP_FIRST_BYTE)
            exchange->coded = CODED_OTHER;
        if (exchange->coded == CODED_OTHER) {
            z->avail_in = 0;
            continue;
        }
        exchange->coded = CODED_MEMBER;
        rc = inflate(z, Z_NO_FLUSH);
        if (rc == Z_STREAM_END && inflateReset(z) == Z_OK)
            exchange->coded = CODED_BETWEEN;
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
            return proa_fail(err, PROA_EPROTOCOL, "the answer's compression is broken");
    }
    *ret_piece = proa_str_n(exchange->piece, PIECE_BYTES - z->avail_out);
    return 0;
}

int proa_exchange_read(struct proa_exchange *exchange, proa_str *ret_piece, struct proa_error *err)
{
    if (!exchange->conn) {
        *ret_piece = (proa_str){NULL, 0};
        return 0;
    }
    return exchange->inflater ? read_inflated(exchange, ret_piece, err) : read_plain(exchange, ret_piece, err);
}

static void release(struct proa_exchange *exchange)
{
    if (exchange->inflater)
        inflateEnd(exchange->inflater);
    exchange->inflater = NULL;
    if (exchange->conn)
        client_conn_put(exchange->conn, exchange->response.phase == RESPONSE_END && exchange->response.keep_alive);
    exchange->conn = NULL;
    response_done(&exchange->response);
}

void proa_exchange_cut(struct proa_exchange *exchange)
{
    if (exchange->conn)
        client_conn_cut(exchange->conn);
}

void proa_exchange_close(struct proa_exchange *exchange)
{
    if (!exchange || !exchange->client)
        return;
    release(exchange);
    exchange->client->exchanges--;
    exchange->client = NULL;
}

static void close_with_arena(void *arg)
{
    proa_exchange_close(arg);
}

/* -- Trying ------------------------------------------------------------------------------------------------------- */

static int try_once(struct attempt *attempt, struct proa_exchange *exchange, struct proa_error *err)
{
    proa_str slices[2] = {attempt->head, attempt->request->body};
    bool fresh = attempt->was_stale;
    int rc;

    response_reset(&exchange->response);
    exchange->response.is_head = attempt->is_head;
    exchange->had_bytes = exchange->body_given = false;
    exchange->coded = CODED_NOTHING;
    attempt->was_stale = false;
    PROA_TRY(client_conn_get(attempt->client, &attempt->route, fresh, &exchange->conn, err));
    rc = proa_fiber_check(attempt->client->options.loop);
    if (rc < 0) {
        client_conn_put(exchange->conn, true);
        exchange->conn = NULL;
        return proa_fail(err, rc, rc == PROA_ETIMEDOUT ? "no time was left to send it" : "given up before it was sent");
    }
    exchange->was_reused = exchange->conn->uses > 1;
    attempt->was_sent = true;
    rc = proa_stream_send(exchange->conn->stream, slices, attempt->request->body.len ? 2 : 1);
    if (rc < 0)
        rc = proa_fail(err, PROA_EUNAVAILABLE, "the connection was lost while sending");
    while (rc == 0 && exchange->response.phase == RESPONSE_HEAD)
        rc = read_more(exchange, err);
    if (rc == 0)
        rc = check_transfer(exchange, err);
    if (rc == 0)
        rc = start_inflating(exchange, err);
    if (rc < 0) {
        attempt->was_stale = rc == PROA_EUNAVAILABLE && exchange->was_reused && !exchange->had_bytes;
        release(exchange);
    }
    return rc;
}

static bool asks_to_try_later(int status)
{
    return status == 429 || status == 502 || status == 503 || status == 504;
}

uint32_t proa_exchange_retry_after_s(const struct proa_exchange *exchange)
{
    proa_str text = response_field(&exchange->response, exchange->arena, "Retry-After");
    proa_time_ns at, now = proa_loop_wall(exchange->client->options.loop);
    uint64_t seconds;

    if (!text.ptr)
        return 0;
    if (proa_str_to_u64(text, &seconds) < 0) {
        if (proa_time_http_parse(text, &at) < 0 || at <= now)
            return 0;
        seconds = ((uint64_t)at - (uint64_t)now + PROA_SECONDS(1) - 1) / PROA_SECONDS(1);
    }
    return seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
}

/* @param status  0: there is none, for the reason rc */
static void log_repeat(const struct attempt *attempt, const char *what, uint32_t tries, int rc, int status,
                       uint64_t wait_ns)
{
    struct proa_logger logger = attempt->client->logger;

    if (attempt->trace->is_present && !logger.ids)
        logger.ids = &attempt->trace->span.ids;
    PROA_DEBUG(&logger, what,
               proa_kv_c("http.request.method", attempt->request->method ? attempt->request->method : "GET"),
               proa_kv_str("server.address", attempt->url.host), proa_kv_u64("server.port", attempt->url.port),
               proa_kv_u64("tries", tries), proa_kv_u64("wait_ms", wait_ns / PROA_MS(1)),
               rc < 0 ? proa_kv_c("error.type", proa_code_name(rc))
                      : proa_kv_u64("http.response.status_code", (uint64_t)status));
}

/* Whether to try again after `tries`, by the budget too, and when. */
static bool may_try_again(struct attempt *attempt, uint32_t tries, int rc, const struct proa_exchange *exchange,
                          proa_mono_ns *ret_at)
{
    struct proa_client *client = attempt->client;
    struct proa_loop *loop = client->options.loop;
    uint64_t bound = WAIT_FIRST_MS, wait, after_ns;
    proa_mono_ns at;

    if (attempt->request->no_retries || tries > client->options.retries)
        return false;
    after_ns = rc == 0 ? PROA_SECONDS((uint64_t)proa_exchange_retry_after_s(exchange)) : 0;
    for (uint32_t i = 1; i < tries && bound < WAIT_MAX_MS; i++)
        bound *= 2;
    wait = proa_loop_random_u64(loop) % PROA_MS(bound < WAIT_MAX_MS ? bound : WAIT_MAX_MS);
    if (after_ns > 0)
        wait = proa_add_u64_sat(after_ns, wait / 4);
    at = proa_add_u64_sat(proa_loop_now_exact(loop), wait);
    if (at >= proa_deadline(loop))
        return false;
    if (client->budget < 1) {
        client_metrics_count(client->metrics.resends_refused, loop);
        log_repeat(attempt, "a request is not tried again: the budget is spent", tries, rc, exchange->response.status,
                   wait);
        return false;
    }
    client->budget -= 1;
    client_metrics_count(client->metrics.resends, loop);
    log_repeat(attempt, "a request is tried again", tries, rc, exchange->response.status, wait);
    *ret_at = at;
    return true;
}

/* A small answer that is not wanted is read to its end, so that its connection can be kept: for others too while this request waits
 * for its next try. */
static void discard(struct proa_exchange *exchange)
{
    struct proa_loop *loop = exchange->client->options.loop;
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_MS(DISCARD_MS));
    size_t left = DISCARD_BYTES;

    while (exchange->response.phase != RESPONSE_END && left > 0) {
        proa_str piece;

        if (read_plain(exchange, &piece, NULL) < 0 || !piece.ptr)
            break;
        left -= piece.len < left ? piece.len : left;
    }
    release(exchange);
}

/* May suspend. @returns 0 or the fiber's reason to stop. */
static int sleep_until(struct proa_loop *loop, proa_mono_ns at)
{
    proa_mono_ns now = proa_loop_now_exact(loop);

    return proa_sleep(loop, at > now ? at - now : 0);
}

static int try_until_answered(struct attempt *attempt, struct proa_exchange *exchange, uint32_t *ret_tries,
                              struct proa_error *err)
{
    struct proa_loop *loop = attempt->client->options.loop;

    for (uint32_t tries = 1;; tries++) {
        proa_mono_ns at;
        int rc;

        attempt->was_sent = false;
        rc = try_once(attempt, exchange, err);
        *ret_tries = tries;
        if (rc < 0 && attempt->was_stale && attempt->is_idempotent) {
            /* The server closed an idle connection as we used it: no fault of either, so neither a try nor the budget. */
            proa_error_clear(err);
            rc = try_once(attempt, exchange, err);
        }
        if (rc == 0 && (!asks_to_try_later(exchange->response.status) || !attempt->is_idempotent))
            return 0;
        if (rc == PROA_EUNAVAILABLE && attempt->was_sent && !attempt->is_idempotent)
            return proa_fail(err, PROA_EUNKNOWN,
                             "the connection was lost after sending: whether the request was done is unknown");
        if (rc < 0 && rc != PROA_EUNAVAILABLE)
            return rc;
        if (!may_try_again(attempt, tries, rc, exchange, &at))
            return rc;
        if (rc == 0)
            discard(exchange);
        rc = sleep_until(loop, at);
        if (rc < 0)
            return proa_fail(err, rc, "given up between two tries");
        proa_error_clear(err);
    }
}

static int say_of_what(const struct client_url *url, const struct proa_client_request *request, int rc,
                       struct proa_error *err)
{
    return err && err->code ? proa_error_wrap(err, "%s " PROA_FMT, request->method ? request->method : "GET",
                                              PROA_ARG(url->host_field))
                            : rc;
}

static int open_attempt(struct attempt *attempt, proa_mono_ns start, struct proa_exchange **ret_exchange,
                        uint32_t *ret_tries, struct proa_error *err)
{
    struct proa_client *client = attempt->client;
    struct proa_arena *arena = attempt->arena;
    const struct proa_client_request *request = attempt->request;
    struct proa_exchange *exchange = proa_arena_new(arena, struct proa_exchange);
    int rc;

    if (!exchange || response_init(&exchange->response, arena, client->options.head_bytes) < 0 ||
        proa_arena_defer(arena, close_with_arena, exchange) < 0)
        return proa_fail(err, PROA_ENOMEM, "no memory for a request");
    exchange->client = client;
    exchange->arena = arena;
    client->exchanges++;
    client->budget =
        client->budget + BUDGET_PER_REQUEST > BUDGET_MAX ? BUDGET_MAX : client->budget + BUDGET_PER_REQUEST;
    rc = try_until_answered(attempt, exchange, ret_tries, err);
    client_metrics_observe(
        &client->metrics, proa_loop_index(client->options.loop),
        &(struct client_observation){.method = request->method,
                                     .url = &attempt->url,
                                     .rc = rc,
                                     .status = exchange->response.status,
                                     .duration_ns = proa_loop_now_exact(client->options.loop) - start,
                                     .exemplar = attempt->trace->is_present ? &attempt->trace->span.ids : NULL});
    if (rc < 0) {
        proa_exchange_close(exchange);
        return say_of_what(&attempt->url, request, rc, err);
    }
    *ret_exchange = exchange;
    return 0;
}

/* What its caller may want to know of an exchange beside itself; lives as long as the request. */
struct opened {
    struct client_url url;
    uint32_t tries;
    bool is_idempotent;
};

static int open_exchange(struct proa_client *client, struct proa_arena *arena,
                         const struct proa_client_request *request, struct proa_exchange **ret_exchange,
                         struct opened *ret_opened, struct proa_error *err)
{
    struct proa_loop *loop = client->options.loop;
    proa_mono_ns start = proa_loop_now_exact(loop);
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = proa_deadline_enter(
        loop, start + PROA_MS(request->timeout_ms ? request->timeout_ms : client->options.request_ms));
    struct proa_exchange *exchange = NULL;
    struct client_trace trace;
    struct attempt attempt;
    uint32_t tries = 0;
    int rc;

    client_trace_begin(client, request, &trace);
    rc = prepare(client, arena, request, &trace, &attempt, err);
    if (rc == 0)
        rc = open_attempt(&attempt, start, &exchange, &tries, err);
    client_trace_end(&trace, request, &attempt.url, rc, exchange ? exchange->response.status : 0, tries, err);
    if (!exchange)
        return rc;
    *ret_opened = (struct opened){attempt.url, tries, attempt.is_idempotent};
    *ret_exchange = exchange;
    return 0;
}

int proa_client_open(struct proa_client *client, struct proa_arena *arena, const struct proa_client_request *request,
                     struct proa_exchange **ret_exchange, struct proa_error *err)
{
    struct opened opened;

    return open_exchange(client, arena, request, ret_exchange, &opened, err);
}

int proa_exchange_status(const struct proa_exchange *exchange)
{
    return exchange->response.status;
}

proa_str proa_exchange_field(const struct proa_exchange *exchange, const char *name)
{
    return response_field(&exchange->response, exchange->arena, name);
}

/* -- Whole answers ------------------------------------------------------------------------------------------------ */

static int read_whole(struct proa_exchange *exchange, struct proa_arena *arena, uint64_t bytes_max, proa_str *ret_body,
                      struct proa_error *err)
{
    struct proa_buf body;
    proa_str piece = {NULL, 0};

    proa_buf_init(&body, arena, 0);
    for (;;) {
        PROA_TRY(proa_exchange_read(exchange, &piece, err));
        if (!piece.ptr)
            break;
        if (piece.len > bytes_max - body.len)
            return proa_fail(err, PROA_ETOOLARGE, "the answer is larger than %llu bytes",
                             (unsigned long long)bytes_max);
        if (proa_buf_add(&body, piece) < 0)
            return proa_fail(err, body.error, "no memory for an answer");
    }
    *ret_body = body.ptr ? proa_buf_str(&body) : PROA_STR("");
    return 0;
}

int proa_client_fetch(struct proa_client *client, struct proa_arena *arena, const struct proa_client_request *request,
                      struct proa_client_response *ret_response, struct proa_error *err)
{
    struct proa_loop *loop = client->options.loop;
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(loop, proa_loop_now_exact(loop) +
                                      PROA_MS(request->timeout_ms ? request->timeout_ms : client->options.request_ms));
    struct proa_exchange *exchange = NULL;
    struct opened opened;
    proa_str body;
    uint32_t retry_after_s;
    int rc;

    PROA_TRY(open_exchange(client, arena, request, &exchange, &opened, err));
    assert(exchange);
    rc = read_whole(exchange, arena, request->body_bytes_max ? request->body_bytes_max : client->options.body_bytes,
                    &body, err);
    retry_after_s = proa_exchange_retry_after_s(exchange);
    proa_exchange_close(exchange);
    if (rc == PROA_EUNAVAILABLE && !opened.is_idempotent)
        rc = proa_fail(err, PROA_EUNKNOWN, "the answer was cut off: what came of the request is unknown");
    if (rc < 0)
        return say_of_what(&opened.url, request, rc, err);
    *ret_response = (struct proa_client_response){.status = exchange->response.status,
                                                  .body = body,
                                                  .tries = opened.tries,
                                                  .retry_after_s = retry_after_s,
                                                  .exchange = exchange};
    return 0;
}

proa_str proa_client_field(const struct proa_client_response *response, const char *name)
{
    return response_field(&response->exchange->response, response->exchange->arena, name);
}
