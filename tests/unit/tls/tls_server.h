/** A TLS server of OpenSSL in a thread, with certificates made on the spot. */
#ifndef PROA_TESTS_TLS_SERVER_H
#define PROA_TESTS_TLS_SERVER_H

#include "unit.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct identity {
    X509 *certificate;
    EVP_PKEY *key;
    char pem[4096], key_pem[1024];
};

static inline void to_text(BIO *bio, char *out, size_t most)
{
    int got = BIO_read(bio, out, (int)most - 1);

    assert_true(got > 0);
    out[got] = '\0';
    BIO_free(bio);
}

static inline void add_extension(X509 *to, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, to, to, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    X509_add_ext(to, extension, -1);
    X509_EXTENSION_free(extension);
}

/** @param issuer NULL: signed by itself. @param names "DNS:localhost,IP:127.0.0.1"; NULL: an authority. */
static inline void identity_make(struct identity *own, const char *subject, const struct identity *issuer,
                                 const char *names, long valid_until_s)
{
    static long serial = 1;
    X509_NAME *name;
    BIO *bio;

    own->key = EVP_EC_gen("P-256");
    own->certificate = X509_new();
    X509_set_version(own->certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(own->certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(own->certificate), -86400);
    X509_gmtime_adj(X509_getm_notAfter(own->certificate), valid_until_s);
    name = X509_get_subject_name(own->certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)subject, -1, -1, 0);
    X509_set_issuer_name(own->certificate, issuer ? X509_get_subject_name(issuer->certificate) : name);
    X509_set_pubkey(own->certificate, own->key);
    add_extension(own->certificate, NID_basic_constraints, names ? "CA:FALSE" : "critical,CA:TRUE");
    if (names)
        add_extension(own->certificate, NID_subject_alt_name, names);
    assert_true(X509_sign(own->certificate, issuer ? issuer->key : own->key, EVP_sha256()) > 0);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, own->certificate);
    to_text(bio, own->pem, sizeof own->pem);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, own->key, NULL, NULL, 0, NULL, NULL);
    to_text(bio, own->key_pem, sizeof own->key_pem);
}

static inline void identity_done(struct identity *own)
{
    X509_free(own->certificate);
    EVP_PKEY_free(own->key);
}

enum manner { ECHO, HANG_UP, SILENT, GARBAGE };

struct tls_server {
    const struct identity *identity;
    const struct identity *client_ca; /* NULL: no certificate is asked for */
    enum manner manner;
    int max_version;
    const char *alpn; /* one name */
    int fd;
    char address[32];
    pthread_t thread;
    char client[64]; /* subject of the last client */
};

static inline int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                              unsigned in_len, void *arg)
{
    const struct tls_server *server = arg;

    for (unsigned i = 0; i < in_len; i += 1 + in[i]) {
        if (in[i] == strlen(server->alpn) && memcmp(in + i + 1, server->alpn, in[i]) == 0) {
            *out = in + i + 1;
            *out_len = in[i];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static inline void tls_serve_one(struct tls_server *server, SSL *ssl)
{
    static char bytes[20000];
    X509 *client;
    int got;

    if (SSL_accept(ssl) != 1)
        return;
    client = SSL_get1_peer_certificate(ssl);
    if (client)
        X509_NAME_get_text_by_NID(X509_get_subject_name(client), NID_commonName, server->client, sizeof server->client);
    X509_free(client);
    while ((got = SSL_read(ssl, bytes, sizeof bytes)) > 0)
        if (server->manner == HANG_UP || SSL_write(ssl, bytes, got) != got)
            break;
    if (server->manner != HANG_UP)
        SSL_shutdown(ssl);
}

static inline SSL_CTX *tls_server_context(struct tls_server *server)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    SSL_CTX_use_certificate(context, server->identity->certificate);
    SSL_CTX_use_PrivateKey(context, server->identity->key);
    SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY);
    if (server->max_version)
        SSL_CTX_set_max_proto_version(context, server->max_version);
    if (server->alpn)
        SSL_CTX_set_alpn_select_cb(context, choose_alpn, server);
    if (server->client_ca) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(context), server->client_ca->certificate);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return context;
}

/* One connection after the other, until the listener is shut. */
static inline void *tls_serve(void *arg)
{
    struct tls_server *server = arg;
    SSL_CTX *context = tls_server_context(server);
    int fd;

    while ((fd = accept(server->fd, NULL, NULL)) >= 0) {
        SSL *ssl = SSL_new(context);
        char rest[64];

        SSL_set_fd(ssl, fd);
        if (server->manner == GARBAGE)
            send(fd, "220 smtp.example.test ESMTP\r\n", 29, MSG_NOSIGNAL);
        if (server->manner == ECHO || server->manner == HANG_UP)
            tls_serve_one(server, ssl);
        SSL_free(ssl);
        ERR_clear_error();
        shutdown(fd, SHUT_WR);
        while (server->manner != HANG_UP && recv(fd, rest, sizeof rest, 0) > 0)
            ;
        close(fd);
    }
    SSL_CTX_free(context);
    return NULL;
}

static inline void tls_server_start(struct tls_server *server)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(server->fd, 16), 0);
    getsockname(server->fd, (struct sockaddr *)&at, &len);
    snprintf(server->address, sizeof server->address, "127.0.0.1:%u", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&server->thread, NULL, tls_serve, server), 0);
}

static inline void tls_server_stop(struct tls_server *server)
{
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->fd);
}

#endif
