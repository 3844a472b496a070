/* The exporter's sender over an HTTP client. */
#include <proa/otlp.h>

#include "client_internal.h"

enum { HEADERS_MAX = 16, RETRY_AFTER_MAX_S = 3600 };

int proa_otlp_client_send(void *arg, const struct proa_otlp_request *request, struct proa_otlp_answer *answer,
                          struct proa_error *err)
{
    const struct proa_otlp_client *sender = arg;
    struct proa_client_field fields[HEADERS_MAX + 1];
    struct proa_client_request post = {
        .method = "POST",
        .url = sender->url,
        .fields = fields,
        .body = request->body,
        .content_type = request->content_type,
        .no_retries = true, /* the exporter's own are longer */
    };
    struct proa_client_response response;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);

    for (size_t i = 0; i < sender->headers_count && i < HEADERS_MAX; i++)
        fields[post.fields_count++] = sender->headers[i];
    if (request->is_gzip)
        fields[post.fields_count++] = (struct proa_client_field){"Content-Encoding", PROA_STR("gzip")};
    proa_arena_init(&arena, NULL, 0);
    PROA_TRY(proa_client_fetch(sender->client, &arena, &post, &response, err));
    answer->status = response.status;
    answer->retry_after_s = response.retry_after_s < RETRY_AFTER_MAX_S ? response.retry_after_s : RETRY_AFTER_MAX_S;
    proa_buf_add(&answer->body, response.body);
    return 0;
}

int proa_otlp_client_check(proa_str url, proa_str *ret_shown, bool *ret_needs_tls, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct client_url parsed;
    size_t end = 0;

    proa_arena_init(&arena, NULL, 0);
    PROA_TRY(client_url_parse(&arena, url, &parsed, err));
    while (end < url.len && url.ptr[end] != '?' && url.ptr[end] != '#')
        end++;
    *ret_shown = proa_str_slice(url, 0, end);
    *ret_needs_tls = parsed.is_https;
    return 0;
}

int proa_otlp_client_check_header(const struct proa_client_field *header, struct proa_error *err)
{
    return client_field_check(header, err);
}
