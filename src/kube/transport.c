/* The HTTP client with the cluster's TLS: server name, CA, client certificates, all of which may change. */
#include "client_internal.h"

#include <assert.h>
#include <proa/tls.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { FILES_AGAIN_MS = 1000 };

struct kube_transport {
    struct proa_stream_layer layer; /* checks against tls-server-name where one is set */
    const char *server_name;
    struct proa_tls *tls;
    struct proa_client *client;
    struct kube_transport *next; /* one that was replaced and may still have exchanges under way */
};

static int wrap(const struct proa_stream_layer *layer, struct proa_stream *inner, const char *server_name,
                struct proa_stream **ret_stream, struct proa_error *err)
{
    const struct kube_transport *transport = PROA_CONTAINER(layer, struct kube_transport, layer);
    const struct proa_stream_layer *tls = proa_tls_layer(transport->tls);

    return tls->wrap(tls, inner, transport->server_name ? transport->server_name : server_name, ret_stream, err);
}

static void transport_free(struct kube_transport *transport)
{
    if (!transport)
        return;
    proa_client_free(transport->client);
    proa_tls_free(transport->tls);
    free(transport);
}

static int tls_init(struct proa_kube *kube, struct kube_transport *transport, struct proa_error *err)
{
    const struct proa_kube_config *config = kube->config;
    const struct kube_credentials *credentials = &kube->credentials;
    struct proa_tls_options options = {
        .ca_file = config->ca_file,
        .ca_pem = proa_str_c(config->ca_pem),
        .cert_file = credentials->cert_pem ? NULL : config->cert_file,
        .cert_pem = proa_str_c(credentials->cert_pem ? credentials->cert_pem : config->cert_pem),
        .key_file = credentials->key_pem ? NULL : config->key_file,
        .key_pem = proa_str_c(credentials->key_pem ? credentials->key_pem : config->key_pem),
        .insecure_skip_verify = config->is_insecure};
    int rc = proa_tls_client_new(&options, &transport->tls, err);

    if (rc < 0)
        return err ? proa_error_wrap(err, "%s", config->source) : rc;
    transport->layer.wrap = wrap;
    transport->server_name = config->server_name;
    return 0;
}

static int transport_new(struct proa_kube *kube, struct kube_transport **ret_transport, struct proa_error *err)
{
    struct kube_transport *transport = calloc(1, sizeof *transport);
    bool is_https = strncmp(kube->config->server, "https://", 8) == 0;
    char *proxy = NULL;
    char *env[2] = {NULL, NULL};
    int rc = 0;

    if (!transport)
        return proa_fail(err, PROA_ENOMEM, "no memory for a client");
    if (is_https)
        rc = tls_init(kube, transport, err);
    if (rc == 0 && kube->config->proxy_url) {
        size_t bytes = strlen(kube->config->proxy_url) + sizeof "https_proxy=";

        proxy = malloc(bytes);
        if (proxy)
            snprintf(proxy, bytes, "%s=%s", is_https ? "https_proxy" : "http_proxy", kube->config->proxy_url);
        else
            rc = proa_fail(err, PROA_ENOMEM, "no memory for a client");
        env[0] = proxy;
    }
    if (rc == 0)
        rc = proa_client_new(&(struct proa_client_options){.loop = kube->options.loop,
                                                           .tls = is_https ? &transport->layer : NULL,
                                                           .logger = kube->options.logger,
                                                           .user_agent = kube->options.user_agent,
                                                           .env = proxy                     ? env
                                                                  : kube->config->proxy_url ? NULL
                                                                                            : kube->config->env,
                                                           .peer_timeout_ms = KUBE_PEER_TIMEOUT_MS,
                                                           .request_ms = kube->options.request_ms,
                                                           .body_bytes = kube->options.item_bytes},
                             &transport->client, err);
    free(proxy);
    if (rc < 0) {
        transport_free(transport);
        return rc;
    }
    *ret_transport = transport;
    return 0;
}

static void free_unused(struct kube_transport *current)
{
    struct kube_transport **link = &current->next;

    while (*link) {
        struct kube_transport *old = *link;

        if (proa_client_exchanges(old->client) == 0) {
            *link = old->next;
            transport_free(old);
        } else {
            link = &old->next;
        }
    }
}

/* -- Files of certificates, which others replace ------------------------------------------------------------------- */

struct stamp_job {
    const struct proa_kube_config *config;
    struct kube_file_stamp files[KUBE_TLS_FILES];
};

static void stamp(void *arg)
{
    struct stamp_job *job = arg;
    const char *const paths[KUBE_TLS_FILES] = {job->config->ca_file, job->config->cert_file, job->config->key_file};

    for (size_t i = 0; i < KUBE_TLS_FILES; i++) {
        struct stat file;

        if (paths[i] && stat(paths[i], &file) == 0)
            job->files[i] = (struct kube_file_stamp){.device = (uint64_t)file.st_dev,
                                                     .inode = (uint64_t)file.st_ino,
                                                     .bytes = (uint64_t)file.st_size,
                                                     .changed_ns = (int64_t)file.st_mtim.tv_sec * 1000000000 +
                                                                   file.st_mtim.tv_nsec};
    }
}

static bool has_tls_files(const struct proa_kube_config *config)
{
    return config->ca_file || config->cert_file || config->key_file;
}

/* May suspend. @returns whether they are others than the transport has read, with what they are. */
static bool have_files_changed(struct proa_kube *kube, struct stamp_job *job)
{
    struct proa_loop *loop = kube->options.loop;

    *job = (struct stamp_job){.config = kube->config};
    if (!has_tls_files(kube->config) || kube->is_checking_tls_files ||
        (kube->transport && proa_loop_now(loop) < kube->tls_files_check_at))
        return false;
    kube->is_checking_tls_files = true;
    kube->tls_files_check_at = proa_loop_now(loop) + PROA_MS(KUBE_TOKEN_CHECK_MS);
    if (proa_blocking(loop, stamp, job, NULL, NULL) < 0) {
        kube->tls_files_check_at = 0;
        memcpy(job->files, kube->tls_files, sizeof job->files);
    }
    kube->is_checking_tls_files = false;
    return memcmp(job->files, kube->tls_files, sizeof job->files) != 0;
}

void kube_transport_recheck(struct proa_kube *kube)
{
    kube->tls_files_check_at = 0;
}

int kube_transport_get(struct proa_kube *kube, bool changed, struct proa_client **ret_client, struct proa_error *err)
{
    struct kube_transport *fresh = NULL;
    struct stamp_job files;
    bool has_new_files = have_files_changed(kube, &files);
    int rc = 0;

    if (!kube->transport || changed || kube->is_transport_stale || has_new_files) {
        rc = transport_new(kube, &fresh, err);
        if (rc == 0) {
            assert(fresh);
            fresh->next = kube->transport;
            kube->transport = fresh;
            kube->is_transport_stale = false;
            if (has_new_files)
                memcpy(kube->tls_files, files.files, sizeof kube->tls_files);
        }
    }
    if (rc < 0) {
        if (!kube->transport || changed)
            return rc;
        /* Files that are just being replaced: what is held may still do. */
        kube->tls_files_check_at = proa_loop_now(kube->options.loop) + PROA_MS(FILES_AGAIN_MS);
        if (err)
            proa_error_clear(err);
    }
    assert(kube->transport);
    free_unused(kube->transport);
    *ret_client = kube->transport->client;
    return 0;
}

void kube_transport_free(struct proa_kube *kube)
{
    while (kube->transport) {
        struct kube_transport *next = kube->transport->next;

        transport_free(kube->transport);
        kube->transport = next;
    }
}
