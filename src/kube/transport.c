/* The HTTP client with the cluster's TLS: server name, CA, client certificates that may change. */
#include "client_internal.h"

#include <assert.h>
#include <proa/tls.h>
#include <stdio.h>
#include <stdlib.h>

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

int kube_transport_get(struct proa_kube *kube, bool changed, struct proa_client **ret_client, struct proa_error *err)
{
    struct kube_transport *fresh = NULL;

    if (!kube->transport || changed || kube->is_transport_stale) {
        PROA_TRY(transport_new(kube, &fresh, err));
        assert(fresh);
        fresh->next = kube->transport;
        kube->transport = fresh;
        kube->is_transport_stale = false;
    }
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
