/* The other instances, asked through their agents. */
#include "agent_internal.h"

#include <stdio.h>

enum { ASK_PEER_MS = 3000, PEER_BODY_MAX = 64 * 1024 };

void instance_host(const struct instance *instance, uint32_t ordinal, char ret_host[HOST_MAX])
{
    const struct agent_config *config = instance->config;
    proa_str rest = config->host;
    struct proa_buf out = {0};
    char number[16], pod[POD_NAME_MAX];

    snprintf(number, sizeof number, "%u", ordinal);
    snprintf(pod, sizeof pod, PROA_FMT "-%u", PROA_ARG(config->database), ordinal);
    while (rest.len > 0) {
        const struct {
            proa_str mark, value;
        } names[] = {{PROA_STR("{pod}"), proa_str_c(pod)},
                     {PROA_STR("{ordinal}"), proa_str_c(number)},
                     {PROA_STR("{headless}"), config->headless},
                     {PROA_STR("{namespace}"), config->namespace_}};
        size_t taken = 0;

        for (size_t i = 0; i < PROA_COUNT(names) && taken == 0; i++)
            if (proa_str_starts_with(rest, names[i].mark)) {
                proa_buf_add(&out, names[i].value);
                taken = names[i].mark.len;
            }
        if (taken == 0) {
            proa_buf_add_char(&out, rest.ptr[0]);
            taken = 1;
        }
        rest = proa_str_slice(rest, taken, rest.len);
    }
    snprintf(ret_host, HOST_MAX, PROA_FMT, PROA_ARG(proa_buf_str(&out)));
    proa_buf_done(&out);
}

int peer_ask(struct agent *agent, struct proa_arena *arena, uint32_t ordinal, struct agent_status *ret_status,
             struct proa_error *err)
{
    char host[HOST_MAX];
    struct proa_client_field authorization = {
        "Authorization", proa_arena_printf(arena, "Bearer " PROA_FMT, PROA_ARG(agent->credentials.agent_token))};
    struct proa_client_request request = {.fields = &authorization,
                                          .fields_count = 1,
                                          .timeout_ms = ASK_PEER_MS,
                                          .body_bytes_max = PEER_BODY_MAX,
                                          .no_retries = true};

    instance_host(&agent->instance, ordinal, host);
    request.url = proa_arena_printf(arena, "http://%s:%u/v1/status", host, agent->config.peer_port);
    if (!request.url.ptr || !authorization.value.ptr)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    return proa_client_json(agent->client, arena, &request, &agent_status_type, ret_status, err);
}

static void copy(char *out, size_t max, proa_str text)
{
    snprintf(out, max, PROA_FMT, PROA_ARG(text));
}

int peer_ask_primary(struct agent *agent, struct primary_status *ret_status, struct proa_error *err)
{
    struct primary_status status = {0};
    struct agent_status answer = {0};
    struct proa_arena arena;
    int rc;

    proa_arena_init(&arena, proa_loop_blocks(agent->loop), 0);
    rc = peer_ask(agent, &arena, agent->instance.primary_ordinal, &answer, err);
    if (rc == 0 && !proa_str_eq(answer.pod, agent->instance.primary))
        rc = proa_fail(err, PROA_EPROTOCOL, PROA_FMT " answers for " PROA_FMT, PROA_ARG(answer.pod),
                       PROA_ARG(agent->instance.primary));
    if (rc == 0) {
        status.is_ready = answer.ready && answer.writable && proa_str_eq_c(answer.role, "primary");
        status.engine.is_writable = answer.writable;
        status.engine.size_bytes = answer.size_bytes;
        copy(status.engine.version, sizeof status.engine.version, answer.version);
        copy(status.engine.identity, sizeof status.engine.identity, answer.identity);
        copy(status.engine.history, sizeof status.engine.history, answer.timeline);
        copy(status.engine.position, sizeof status.engine.position, answer.position);
        copy(status.engine.oldest, sizeof status.engine.oldest, answer.oldest);
        *ret_status = status;
    }
    proa_arena_done(&arena);
    return rc;
}
