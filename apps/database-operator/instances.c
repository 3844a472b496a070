/* Questions to the agents. */
#include "instances.h"

#include "plan.h"

#include <proa/text.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ASK_MS = 3000,
    BODY_MAX = 64 * 1024,
    ASKING_MAX = 16,   /* at once */
    AGAIN_S = 300,     /* a pod that does not change */
    AGAIN_SOON_S = 30, /* while it has something to say: that it is over is to be seen soon */
    SWEEP_S = 900,
    URL_MAX = 128,
    TOKEN_MAX = 160,
    SAYS_MAX = 300,
};

/* Of an answer, what matters here. */
struct said {
    uint64_t kept;
    proa_str reason, warning;
};
PROA_DESCRIBE_WITH(said, (.unknown = PROA_UNKNOWN_IGNORE), (kept, u64, .default_json = "0"),
                   (reason, str, .default_json = "\"\""), (warning, str, .default_json = "\"\""));

struct heard {
    proa_mono_ns due_at, looked_at;
    uint64_t version; /* of the pod when it was last asked, as a hash */
    uint64_t kept;
    char *says; /* NULL: nothing */
    bool is_asked, is_warning;
};

/* Lives as long as its fiber. */
struct question {
    struct instances *instances;
    struct proa_manager *manager;
    struct proa_controller *controller;
    char namespace_[64], database[DATABASE_NAME_MAX + 1], uid[64];
    char url[URL_MAX], authorization[TOKEN_MAX];
};

static bool copy(char *out, size_t room, proa_str text)
{
    if (text.len >= room)
        return false;
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return true;
}

static int ask(const struct question *question, struct proa_arena *arena, struct said *ret_said)
{
    const struct proa_client_field authorization = {"Authorization", proa_str_c(question->authorization)};
    const struct proa_client_request request = {.url = proa_str_c(question->url),
                                                .fields = &authorization,
                                                .fields_count = 1,
                                                .timeout_ms = ASK_MS,
                                                .body_bytes_max = BODY_MAX,
                                                .no_retries = true};
    struct proa_error err = {0};

    return proa_client_json(question->instances->client, arena, &request, &said_type, ret_said, &err);
}

/* One that does not answer has what it had, but why it did not serve may be over. @returns whether that differs from the last answer. */
static bool take(struct heard *heard, int rc, const struct said *said)
{
    uint64_t kept = rc == 0 ? said->kept : heard->kept;
    bool is_warning = said->reason.len == 0 && said->warning.len > 0;
    proa_str says = proa_utf8_cut(is_warning ? said->warning : said->reason, SAYS_MAX);
    bool has_changed = kept != heard->kept || is_warning != heard->is_warning ||
                       !proa_str_eq(says, proa_str_c(heard->says ? heard->says : ""));

    heard->kept = kept;
    heard->is_warning = is_warning;
    if (has_changed) {
        free(heard->says);
        heard->says = says.len > 0 ? strndup(says.ptr, says.len) : NULL;
    }
    return has_changed;
}

static int run_question(void *arg)
{
    struct question *question = arg;
    struct instances *instances = question->instances;
    struct proa_arena arena;
    struct said said = {0};
    struct heard *heard;
    int rc;

    proa_arena_init(&arena, proa_loop_blocks(instances->loop), 0);
    rc = ask(question, &arena, &said);
    heard = proa_map_get(instances->by_uid, proa_str_c(question->uid));
    instances->asking--;
    if (heard) {
        bool has_changed = take(heard, rc, &said);
        bool is_soon = rc == 0 && (heard->kept > 0 || heard->says);

        heard->is_asked = false;
        heard->due_at = proa_loop_now(instances->loop) + PROA_SECONDS((uint64_t)(is_soon ? AGAIN_SOON_S : AGAIN_S));
        if (has_changed && !instances->is_stopping && proa_manager_is_leader(question->manager))
            proa_controller_enqueue(question->controller, proa_str_c(question->namespace_),
                                    proa_str_c(question->database), 0);
    }
    proa_arena_done(&arena);
    free(question);
    return 0;
}

static struct heard *heard_of(struct instances *instances, proa_str uid)
{
    struct heard *heard = proa_map_get(instances->by_uid, uid);

    if (heard)
        return heard;
    heard = calloc(1, sizeof *heard);
    if (heard && proa_map_put(instances->by_uid, uid, heard, NULL) < 0) {
        free(heard);
        return NULL;
    }
    return heard;
}

static void free_heard(struct heard *heard)
{
    free(heard->says);
    free(heard);
}

/* Pods that are no more. */
static void sweep(struct instances *instances, proa_mono_ns now)
{
    proa_str uid;
    void *value;
    size_t it = 0;

    if (now < instances->swept_at + PROA_SECONDS(SWEEP_S))
        return;
    instances->swept_at = now;
    while (proa_map_next(instances->by_uid, &it, &uid, &value)) {
        struct heard *heard = value;

        if (!heard->is_asked && heard->looked_at + PROA_SECONDS(SWEEP_S) < now) {
            proa_map_remove(instances->by_uid, uid);
            free_heard(heard);
        }
    }
}

static void begin(struct instances *instances, const struct proa_reconcile *ctx, struct heard *heard, proa_str uid,
                  proa_str address, proa_str token)
{
    bool is_v6 = proa_str_find_char(address, ':') >= 0;
    struct question *question = calloc(1, sizeof *question);
    int url, authorization;

    if (!question)
        return;
    question->instances = instances;
    question->manager = ctx->manager;
    question->controller = ctx->controller;
    url = snprintf(question->url, sizeof question->url, "http://%s" PROA_FMT "%s:%d/v1/status", is_v6 ? "[" : "",
                   PROA_ARG(address), is_v6 ? "]" : "", AGENT_PORT);
    authorization =
        snprintf(question->authorization, sizeof question->authorization, "Bearer " PROA_FMT, PROA_ARG(token));
    if (url < 0 || url >= URL_MAX || authorization < 0 || authorization >= TOKEN_MAX ||
        !copy(question->namespace_, sizeof question->namespace_, ctx->namespace_) ||
        !copy(question->database, sizeof question->database, ctx->name) ||
        !copy(question->uid, sizeof question->uid, uid) ||
        proa_group_start(&instances->group, &(struct proa_fiber_options){.name = "question"}, run_question, question) <
            0) {
        free(question);
        return;
    }
    heard->is_asked = true;
    instances->asking++;
}

void instances_look(struct instances *instances, const struct proa_reconcile *ctx)
{
    const struct proa_cache *pods = proa_controller_cache(ctx->controller, &proa_kube_pods);
    const struct proa_cache *secrets = proa_controller_cache(ctx->controller, &proa_kube_secrets);
    proa_mono_ns now = proa_loop_now(instances->loop);
    struct proa_cached secret, cached;
    proa_str token;

    if (!proa_cache_get(secrets, ctx->namespace_, plan_secret_name(ctx->arena, ctx->name), &secret))
        return;
    token = ((const struct owned_secret *)secret.object)->data.agent_token;
    sweep(instances, now);
    for (uint32_t i = 0; i < INSTANCES_MAX && credential_is_good(token); i++) {
        struct heard *heard;
        uint64_t version;
        proa_str address;

        if (!proa_cache_get(pods, ctx->namespace_, plan_pod_name(ctx->arena, ctx->name, i), &cached))
            continue;
        address = ((const struct pod *)cached.object)->status.pod_ip;
        heard = address.len > 0 ? heard_of(instances, cached.uid) : NULL;
        if (!heard)
            continue;
        heard->looked_at = now;
        version = proa_str_hash(cached.resource_version, 1);
        if (heard->is_asked || (version == heard->version && now < heard->due_at) || instances->asking >= ASKING_MAX)
            continue;
        heard->version = version;
        begin(instances, ctx, heard, cached.uid, address, token);
    }
}

struct instance_words instances_heard(const struct instances *instances, proa_str pod_uid)
{
    const struct heard *heard = proa_map_get(instances->by_uid, pod_uid);

    if (!heard)
        return (struct instance_words){0};
    return (struct instance_words){
        .kept = heard->kept, .says = proa_str_c(heard->says ? heard->says : ""), .is_warning = heard->is_warning};
}

uint64_t instances_hash(const struct instances *instances, proa_str pod_uid)
{
    struct instance_words words = instances_heard(instances, pod_uid);

    return proa_str_hash(words.says, words.kept * 2 + words.is_warning);
}

int instances_start(struct instances *instances, struct proa_loop *loop, struct proa_error *err)
{
    *instances = (struct instances){.loop = loop, .swept_at = proa_loop_now(loop), .by_uid = proa_map_new(0)};
    proa_group_init(&instances->group, loop);
    if (!instances->by_uid)
        return proa_fail(err, PROA_ENOMEM, "no memory for what instances say");
    return proa_client_new(&(struct proa_client_options){.loop = loop,
                                                         .user_agent = OPERATOR_NAME,
                                                         .connections_per_origin = 1,
                                                         .idle_ms = 1000,
                                                         .connect_ms = ASK_MS},
                           &instances->client, err);
}

void instances_stop(struct instances *instances)
{
    proa_str uid;
    void *value;
    size_t it = 0;

    if (!instances->loop)
        return;
    instances->is_stopping = true;
    proa_group_cancel(&instances->group, PROA_ECANCELED);
    proa_ignore(proa_group_wait(&instances->group));
    proa_client_free(instances->client);
    while (instances->by_uid && proa_map_next(instances->by_uid, &it, &uid, &value))
        free_heard(value);
    proa_map_free(instances->by_uid);
    *instances = (struct instances){0};
}
