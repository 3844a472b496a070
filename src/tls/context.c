/* What the connections of a program have in common: roots, certificate, versions. */
#include "tls_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int tls_fail(struct proa_error *err, int code, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return proa_fail(err, code, "%s: %s", what, reason ? reason : "unknown error");
}

static BIO *open_pem(const char *file, proa_str pem)
{
    return file ? BIO_new_file(file, "r") : BIO_new_mem_buf(pem.ptr, (int)pem.len);
}

/* @returns how many certificates were added, or an error. */
static int add_roots(SSL_CTX *context, const char *file, proa_str pem, struct proa_error *err)
{
    const char *name = file ? file : "ca_pem";
    BIO *bio = open_pem(file, pem);
    X509 *root;
    int count = 0;

    if (!bio)
        return file && errno == ENOENT ? proa_fail_errno(err, ENOENT, "%s", file) : tls_fail(err, PROA_EINVAL, name);
    while ((root = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL))) {
        count += X509_STORE_add_cert(SSL_CTX_get_cert_store(context), root);
        X509_free(root);
    }
    BIO_free(bio);
    ERR_clear_error(); /* the end of the file is an error to it */
    return count ? count : proa_fail(err, PROA_EINVAL, "%s: there is no certificate in it", name);
}

/* The system's roots are looked up in a folder by their names' hashes as needed; images without that folder
 * have one file with all, in one of these places. */
static int add_system_roots(SSL_CTX *context, struct proa_error *err)
{
    static const char *const bundles[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                                          "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem"};
    const char *folder = getenv(X509_get_default_cert_dir_env()), *file = getenv(X509_get_default_cert_file_env());

    if (SSL_CTX_set_default_verify_paths(context) != 1)
        return tls_fail(err, PROA_ENOMEM, "the system's certificates");
    if (folder || file || access(X509_get_default_cert_dir(), R_OK) == 0)
        return 0;
    for (size_t i = 0; i < sizeof bundles / sizeof bundles[0]; i++)
        if (access(bundles[i], R_OK) == 0)
            return add_roots(context, bundles[i], PROA_STR(""), err) < 0 ? PROA_EINVAL : 0;
    return 0; /* every peer will be refused, and the error says why */
}

static int set_roots(SSL_CTX *context, const struct proa_tls_options *options, struct proa_error *err)
{
    int rc;

    if (options->insecure_skip_verify) {
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
        return 0;
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (!options->ca_file && options->ca_pem.len == 0)
        return add_system_roots(context, err);
    if (options->ca_file) {
        rc = add_roots(context, options->ca_file, PROA_STR(""), err);
        if (rc < 0)
            return rc;
    }
    rc = options->ca_pem.len ? add_roots(context, NULL, options->ca_pem, err) : 0;
    return rc < 0 ? rc : 0;
}

static int set_certificate(SSL_CTX *context, const struct proa_tls_options *options, struct proa_error *err)
{
    BIO *bio = open_pem(options->cert_file, options->cert_pem);
    X509 *certificate = bio ? PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL) : NULL;
    X509 *more;
    int rc = 0;

    if (!certificate || SSL_CTX_use_certificate(context, certificate) != 1)
        rc = tls_fail(err, PROA_EINVAL, options->cert_file ? options->cert_file : "cert_pem");
    while (rc == 0 && (more = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        if (SSL_CTX_add0_chain_cert(context, more) != 1) {
            X509_free(more);
            rc = tls_fail(err, PROA_EINVAL, "the certificate's chain");
        }
    }
    ERR_clear_error();
    X509_free(certificate);
    BIO_free(bio);
    return rc;
}

static int no_pass_phrase(char *out, int bytes, int writing, void *arg)
{
    (void)out, (void)bytes, (void)writing, (void)arg;
    return -1; /* never asks on the terminal */
}

static int set_key(SSL_CTX *context, const struct proa_tls_options *options, struct proa_error *err)
{
    const char *name = options->key_file ? options->key_file : "key_pem";
    BIO *bio = open_pem(options->key_file, options->key_pem);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL) : NULL;
    int rc = 0;

    if (!key || SSL_CTX_use_PrivateKey(context, key) != 1)
        rc = tls_fail(err, PROA_EINVAL, name);
    else if (SSL_CTX_check_private_key(context) != 1)
        rc = proa_fail(err, PROA_EINVAL, "%s: not the key of the certificate", name);
    ERR_clear_error();
    EVP_PKEY_free(key);
    BIO_free(bio);
    return rc;
}

/* "h2,http/1.1" as each name behind its length. */
static int set_alpn(SSL_CTX *context, const char *names, struct proa_error *err)
{
    unsigned char wire[256];
    size_t at = 0;

    while (*names) {
        size_t len = strcspn(names, ",");

        if (len == 0 || at + 1 + len > sizeof wire)
            return proa_fail(err, PROA_EINVAL, "alpn: names separated by commas are expected");
        wire[at++] = (unsigned char)len;
        memcpy(wire + at, names, len);
        at += len;
        names += len;
        names += *names == ',';
    }
    if (SSL_CTX_set_alpn_protos(context, wire, (unsigned)at) != 0)
        return tls_fail(err, PROA_EINVAL, "alpn");
    return 0;
}

static int set_up(SSL_CTX *context, const struct proa_tls_options *options, struct proa_error *err)
{
    bool has_certificate = options->cert_file || options->cert_pem.len > 0;
    bool has_key = options->key_file || options->key_pem.len > 0;

    SSL_CTX_set_min_proto_version(context, options->only_tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    /* An idle connection gives its buffers back. */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    PROA_TRY(set_roots(context, options, err));
    if (has_certificate != has_key)
        return proa_fail(err, PROA_EINVAL, "a client's certificate and its key come together");
    if (has_certificate) {
        PROA_TRY(set_certificate(context, options, err));
        PROA_TRY(set_key(context, options, err));
    }
    return options->alpn ? set_alpn(context, options->alpn, err) : 0;
}

int proa_tls_client_new(const struct proa_tls_options *options, struct proa_tls **ret_tls, struct proa_error *err)
{
    static const struct proa_tls_options defaults = {0};
    struct proa_tls *tls = calloc(1, sizeof *tls);
    int rc;

    if (!tls)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    tls->layer.wrap = tls_wrap;
    tls->context = SSL_CTX_new(TLS_client_method());
    rc = tls->context ? set_up(tls->context, options ? options : &defaults, err) : tls_fail(err, PROA_ENOMEM, "TLS");
    if (rc < 0) {
        proa_tls_free(tls);
        return rc;
    }
    *ret_tls = tls;
    return 0;
}

void proa_tls_free(struct proa_tls *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->context);
    free(tls);
}

const struct proa_stream_layer *proa_tls_layer(const struct proa_tls *tls)
{
    return &tls->layer;
}

static int provide(const char *ca_file, const char *cert_file, const char *key_file, void **ret_made,
                   struct proa_error *err)
{
    const struct proa_tls_options options = {.ca_file = ca_file, .cert_file = cert_file, .key_file = key_file};
    struct proa_tls *tls = NULL;

    PROA_TRY(proa_tls_client_new(&options, &tls, err));
    *ret_made = tls;
    return 0;
}

static const struct proa_stream_layer *provided_layer(const void *made)
{
    return proa_tls_layer(made);
}

static void provided_free(void *made)
{
    proa_tls_free(made);
}

const struct proa_layer_provider proa_tls_provider = {provide, provided_layer, provided_free};
