/* Runs the contract against the simulated API server, or with --real against the one that KUBECONFIG names. */
#include "contract.h"

#include <proa/sim_kube.h>

void check_at(struct contract *c, bool holds, const char *what, int line)
{
    c->checks++;
    if (holds)
        return;
    c->failed++;
    printf("# %s:%d: not so: %s\n", c->case_name, line, what);
    if (c->err.code)
        printf("#   the last answer: %s %s: %s\n", proa_code_name(c->err.code), c->err.origin, c->err.message);
}

int ask(struct contract *c, const char *method, int type, const char *body, const char *format, ...)
{
    static const char *const types[] = {"application/json", "application/merge-patch+json",
                                        "application/json-patch+json", "application/apply-patch+yaml"};
    struct proa_kube_request request = {.method = method, .content_type = types[type], .body = proa_str_c(body)};
    proa_str target, answer;
    ptrdiff_t query;
    va_list args;

    va_start(args, format);
    target = proa_arena_vprintf(&c->arena, format, args);
    va_end(args);
    query = proa_str_find_char(target, '?');
    request.path = query < 0 ? target : proa_str_slice(target, 0, (size_t)query);
    request.query = query < 0 ? PROA_STR("") : proa_str_slice(target, (size_t)query + 1, target.len);
    yyjson_doc_free(c->doc);
    c->doc = NULL;
    proa_error_clear(&c->err);
    c->rc = proa_kube_send(c->kube, &c->arena, &request, &answer, &c->err);
    if (c->rc == 0)
        c->doc = yyjson_read(answer.ptr, answer.len, 0);
    c->root = yyjson_doc_get_root(c->doc);
    return c->rc;
}

void check_failure(struct contract *c, int code, const char *reason, const char *part, int line)
{
    char what[400];
    bool holds = c->rc == code && strcmp(c->err.origin, reason) == 0 && strstr(c->err.message, part);

    snprintf(what, sizeof what, "fails as %s %s: …%s…", proa_code_name(code), reason, part);
    check_at(c, holds, what, line);
}

const char *text_at(struct contract *c, const char *pointer)
{
    const char *text = yyjson_get_str(yyjson_ptr_get(c->root, pointer));

    return proa_arena_str(&c->arena, proa_str_c(text ? text : "")).ptr;
}

long long number_at(struct contract *c, const char *pointer)
{
    return yyjson_get_sint(yyjson_ptr_get(c->root, pointer));
}

void check_text(struct contract *c, const char *pointer, const char *expected, int line)
{
    char what[400];

    snprintf(what, sizeof what, "%s is \"%s\" and not \"%s\"", pointer, expected, text_at(c, pointer));
    check_at(c, strcmp(text_at(c, pointer), expected) == 0, what, line);
}

static void check_value(struct contract *c, const char *name, yyjson_val *value, const char *expected, int line)
{
    yyjson_doc *doc = *expected ? yyjson_read(expected, strlen(expected), 0) : NULL;
    yyjson_mut_doc *a = yyjson_mut_doc_new(NULL);
    bool holds = *expected ? value && doc &&
                                 yyjson_mut_equals(yyjson_val_mut_copy(a, value),
                                                   yyjson_val_mut_copy(a, yyjson_doc_get_root(doc)))
                           : value == NULL;
    char *text = value ? yyjson_val_write(value, 0, NULL) : NULL;
    proa_str what = proa_arena_printf(&c->arena, "%s is %s and not %s", name, expected, text ? text : "absent");

    check_at(c, holds, what.ptr, line);
    free(text);
    yyjson_doc_free(doc);
    yyjson_mut_doc_free(a);
}

void check_json(struct contract *c, const char *pointer, const char *expected, int line)
{
    check_value(c, pointer, yyjson_ptr_get(c->root, pointer), expected, line);
}

void check_fields(struct contract *c, const char *manager, const char *operation, const char *subresource,
                  const char *expected, int line)
{
    yyjson_val *list = yyjson_ptr_get(c->root, "/metadata/managedFields"), *found = NULL;
    yyjson_arr_iter iter = yyjson_arr_iter_with(list);

    for (yyjson_val *entry = yyjson_arr_iter_next(&iter); entry; entry = yyjson_arr_iter_next(&iter)) {
        yyjson_val *sub = yyjson_obj_get(entry, "subresource");

        if (yyjson_equals_str(yyjson_obj_get(entry, "manager"), manager) &&
            yyjson_equals_str(yyjson_obj_get(entry, "operation"), operation) &&
            (*subresource ? yyjson_equals_str(sub, subresource) : !sub))
            found = yyjson_obj_get(entry, "fieldsV1");
    }
    check_value(c, manager, found, expected, line);
}

/* -- Running ------------------------------------------------------------------------------------------------------- */

static void run_case(struct contract *c, const struct contract_case *one)
{
    uint32_t failed = c->failed, checks = c->checks;
    unsigned salt = (unsigned)(proa_loop_random_u64(c->loop) & 0xffffff);
    char body[100];

    proa_arena_init(&c->arena, NULL, 0);
    c->case_name = one->name;
    snprintf(c->ns, sizeof c->ns, "contract-%u-%06x", ++c->cases, salt);
    snprintf(body, sizeof body, "{\"metadata\":{\"name\":\"%s\"}}", c->ns);
    CHECK(c, ask(c, "POST", JSON, body, "/api/v1/namespaces") == 0);
    one->run(c);
    proa_ignore(ask(c, "DELETE", JSON, NULL, "/api/v1/namespaces/%s", c->ns));
    printf("%s %u - %s (%u checks)\n", c->failed == failed ? "ok" : "not ok", c->cases, one->name, c->checks - checks);
    yyjson_doc_free(c->doc);
    c->doc = NULL;
    c->root = NULL;
    proa_arena_done(&c->arena);
}

static void run_all(struct contract *c)
{
    static const struct contract_case *const all[] = {object_cases, apply_cases, list_cases, kind_cases,
                                                      definition_cases};
    const char *only = getenv("CONTRACT_ONLY");

    for (size_t i = 0; i < PROA_COUNT(all); i++)
        for (const struct contract_case *one = all[i]; one->name; one++)
            if (!only || strstr(one->name, only))
                run_case(c, one);
}

static int start_simulated(struct contract *c)
{
    PROA_TRY(proa_sim_kube_start(&(struct proa_sim_kube_options){.loop = c->loop, .address = "10.0.0.1:6443"}, &c->sim,
                                 &c->err));
    c->has_collector = true;
    return proa_kube_config_plain("http://10.0.0.1:6443", &c->config);
}

static int body(void *arg)
{
    struct contract *c = arg;
    const char *path = getenv("KUBECONFIG");
    int rc = c->has_collector ? start_simulated(c)
                              : proa_kube_config_load(c->loop, &(struct proa_kube_config_options){.kubeconfig = path},
                                                      &c->config, &c->err);

    if (rc == 0)
        rc =
            proa_kube_new(&(struct proa_kube_options){.loop = c->loop, .config = c->config, .user_agent = "contract/1"},
                          &c->kube, &c->err);
    if (rc < 0) {
        printf("Bail out! %s\n", c->err.message);
        c->failed++;
        return rc;
    }
    if (!c->sim)
        c->has_collector = getenv("CONTRACT_COLLECTOR") != NULL;
    run_all(c);
    proa_kube_free(c->kube);
    proa_kube_config_free(c->config);
    proa_sim_kube_stop(c->sim);
    return 0;
}

int main(int argc, char **argv)
{
    bool is_real = argc > 1 && strcmp(argv[1], "--real") == 0;
    struct contract c = {.has_collector = !is_real};
    struct proa_sim *sim = NULL;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (is_real && !getenv("KUBECONFIG")) {
        puts("1..0 # SKIP no API server: KUBECONFIG is not set");
        return 0;
    }
    if (is_real ? proa_loop_new(NULL, &c.loop) < 0 : proa_sim_new(&(struct proa_sim_options){.seed = 1}, &sim) < 0)
        return 1;
    if (sim)
        c.loop = proa_sim_loop(sim);
    if (proa_loop_start_fiber(c.loop, NULL, body, &c) < 0 || proa_loop_run(c.loop) < 0)
        return 1;
    if (sim)
        proa_sim_free(sim);
    else
        proa_loop_free(c.loop);
    printf("1..%u\n# %u checks, %u failed\n", c.cases, c.checks, c.failed);
    return c.failed > 0;
}
