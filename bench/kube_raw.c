/* The yardstick of the operator's quickness: watches the Databases of group raw.example.com over one connection and, when one is
 * modified, patches the StatefulSet of its name over another, at once. It knows just the bytes that it needs, keeps nothing, and waits
 * for no answer before the next.
 *
 * Usage: kube_raw PORT CA-FILE TOKEN   the API server is on 127.0.0.1. Prints "watching", then works until it is killed. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE_BYTES = 256 * 1024, PIECE_BYTES = 16 * 1024, NAME_BYTES = 254 };

static const char *token;

static _Noreturn void die(const char *what)
{
    unsigned long error = ERR_peek_last_error();

    fprintf(stderr, "kube_raw: %s: %s\n", what, error ? ERR_reason_error_string(error) : strerror(errno));
    exit(EXIT_FAILURE);
}

static SSL *dial(SSL_CTX *context, const char *port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    SSL *ssl = SSL_new(context);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || !ssl || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        die("connect");
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
        die("TCP_NODELAY");
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), "127.0.0.1") != 1 || SSL_set_fd(ssl, fd) != 1 ||
        SSL_connect(ssl) != 1)
        die("TLS");
    return ssl;
}

static void send_request(SSL *ssl, const char *method, const char *path, const char *type, const char *body)
{
    char text[8192];
    int len = snprintf(text, sizeof text,
                       "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nAccept: application/json\r\n"
                       "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
                       method, path, token, type, strlen(body), body);

    if (len < 0 || (size_t)len >= sizeof text || SSL_write(ssl, text, len) != len)
        die("send");
}

/* The text between `before` and the next quote. */
static bool text_after(const char *line, const char *before, char out[NAME_BYTES])
{
    const char *at = strstr(line, before);
    size_t len;

    if (!at)
        return false;
    at += strlen(before);
    len = strcspn(at, "\"");
    if (len >= NAME_BYTES)
        return false;
    memcpy(out, at, len);
    out[len] = '\0';
    return true;
}

static void on_line(SSL *patches, const char *line)
{
    static const char modified[] = "{\"type\":\"MODIFIED\"", replicas_mark[] = "\"replicas\":";
    char namespace_[NAME_BYTES], name[NAME_BYTES], path[2 * NAME_BYTES + 64], body[64];
    const char *spec, *replicas;

    if (strncmp(line, modified, sizeof modified - 1) != 0)
        return;
    spec = strstr(line, "\"spec\":{");
    replicas = spec ? strstr(spec, replicas_mark) : NULL;
    if (!replicas || !text_after(line, "\"namespace\":\"", namespace_) || !text_after(line, "\"name\":\"raw-", name))
        return;
    snprintf(path, sizeof path, "/apis/apps/v1/namespaces/%s/statefulsets/raw-%s", namespace_, name);
    snprintf(body, sizeof body, "{\"spec\":{\"replicas\":%ld}}", strtol(replicas + sizeof replicas_mark - 1, NULL, 10));
    send_request(patches, "PATCH", path, "application/merge-patch+json", body);
}

/* The watch's answer: a head, then chunks, in them lines. */
struct answer {
    enum { HEAD, SIZE, DATA, DATA_END } state;
    size_t left;  /* of the chunk */
    char head[4]; /* its last bytes */
    size_t len;
    char line[LINE_BYTES];
};

static void on_data(struct answer *answer, SSL *patches, char byte)
{
    if (byte != '\n') {
        if (answer->len == LINE_BYTES - 1)
            die("a line too long");
        answer->line[answer->len++] = byte;
        return;
    }
    answer->line[answer->len] = '\0';
    on_line(patches, answer->line);
    answer->len = 0;
}

static void on_head(struct answer *answer, char byte)
{
    memmove(answer->head, answer->head + 1, 3);
    answer->head[3] = byte;
    if (memcmp(answer->head, "\r\n\r\n", 4) != 0)
        return;
    answer->state = SIZE;
    puts("watching");
    fflush(stdout);
}

static void on_size(struct answer *answer, char byte)
{
    if (byte == '\n')
        answer->state = DATA;
    else if (byte != '\r')
        answer->left = answer->left * 16 + (size_t)(byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10);
}

static void on_byte(struct answer *answer, SSL *patches, char byte)
{
    switch (answer->state) {
    case HEAD: on_head(answer, byte); break;
    case SIZE: on_size(answer, byte); break;
    case DATA:
        on_data(answer, patches, byte);
        if (--answer->left == 0)
            answer->state = DATA_END;
        break;
    case DATA_END:
        if (byte == '\n')
            answer->state = SIZE;
        break;
    }
}

static int read_some(SSL *ssl, char *piece)
{
    int got = SSL_read(ssl, piece, PIECE_BYTES);

    if (got <= 0 && SSL_get_error(ssl, got) == SSL_ERROR_WANT_READ)
        return 0; /* a session ticket */
    if (got <= 0)
        die("the API server closed the connection");
    return got;
}

int main(int argc, char **argv)
{
    static struct answer answer;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    struct pollfd polled[2];
    SSL *watch, *patches;
    char piece[PIECE_BYTES];

    if (argc != 4) {
        fputs("Usage: kube_raw PORT CA-FILE TOKEN\n", stderr);
        return 2;
    }
    token = argv[3];
    if (!context || SSL_CTX_load_verify_locations(context, argv[2], NULL) != 1)
        die(argv[2]);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY); /* a read returns when it was given no data */
    watch = dial(context, argv[1]);
    patches = dial(context, argv[1]);
    send_request(watch, "GET", "/apis/raw.example.com/v1/databases?watch=true&timeoutSeconds=3600", "application/json",
                 "");
    polled[0] = (struct pollfd){.fd = SSL_get_fd(watch), .events = POLLIN};
    polled[1] = (struct pollfd){.fd = SSL_get_fd(patches), .events = POLLIN};
    for (;;) {
        if (poll(polled, 2, -1) < 0)
            die("poll");
        if (polled[0].revents)
            do {
                int got = read_some(watch, piece);

                for (int i = 0; i < got; i++)
                    on_byte(&answer, patches, piece[i]);
            } while (SSL_pending(watch) > 0);
        if (polled[1].revents)
            do
                (void)read_some(patches, piece); /* what it says is seen by who watches */
            while (SSL_pending(patches) > 0);
    }
}
