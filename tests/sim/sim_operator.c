/* The database operator beside a simulated API server on virtual time. It is killed after every single call, and begins again; with
 * seeds, answers are lost, conflicts and 410s come back, watches are cut. It must end at the same objects as an undisturbed run, with none
 * more. A run that fails is repeated by its seed: PROA_SIM_SEED; PROA_SIM_SEEDS says how many there are at least,
 * PROA_SIM_SECONDS for how long there are more, PROA_SIM_FIRST with which they begin. */
#include "operator_life.h"
#include "unit.h"

#include <proa/fiber.h>
#include <proa/random.h>
#include <proa/sim.h>
#include <proa/sim_kube.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ADDRESS "10.0.0.1:6443"

#define SPEC_HASH_MARK "\"database.example.com/spec-hash\":\""

enum { SEEDS = 12, CALLS_MAX = 400, STEP_MS = 250, STEPS_MAX = 6000, QUIET_S = 40 };

struct world {
    struct proa_sim *sim;
    struct proa_loop *loop;
    struct proa_sim_kube *api;
    struct plan_settings settings;
    uint64_t calls;   /* in this life */
    uint64_t kill_at; /* 0: never */
    uint64_t lives;
    uint64_t restarts;
    int64_t instances; /* that were there at the last look */
    bool random_kills, is_calm, was_killed;
    struct proa_group life;
    bool is_alive;
    struct proa_prng chance;
    struct proa_buf outcome;
    const char *failure;
};

static void on_request(void *arg, uint64_t number, const char *method, proa_str path)
{
    struct world *world = arg;

    (void)number;
    (void)method;
    (void)path;
    if (++world->calls == world->kill_at && world->is_alive && !world->is_calm) {
        world->was_killed = true;
        proa_group_cancel(&world->life, PROA_ECANCELED);
    }
}

/* One life of the operator. */
static int live(void *arg)
{
    struct world *world = arg;

    return operator_live(world->loop, "http://" ADDRESS, &world->settings, 4);
}

/* Lives one after the other, until the world is calm and over. */
static int keep_alive(void *arg)
{
    struct world *world = arg;

    for (;;) {
        world->calls = 0;
        if (world->random_kills)
            world->kill_at = proa_prng_below(&world->chance, 4) == 0 ? 0 : 1 + proa_prng_below(&world->chance, 40);
        world->lives++;
        world->was_killed = false;
        proa_group_init(&world->life, world->loop);
        if (proa_group_start(&world->life, NULL, live, world) < 0)
            world->failure = "no fiber";
        world->is_alive = true;
        (void)proa_group_wait(&world->life);
        world->is_alive = false;
        if (!world->random_kills)
            world->kill_at = 0;
        PROA_TRY(proa_fiber_check(world->loop));
        PROA_TRY(proa_sleep(world->loop, PROA_MS(10)));
    }
}

/* -- The rest of the cluster ------------------------------------------------------------------------------------------ */

static int64_t number_after(proa_str json, const char *mark)
{
    ptrdiff_t at = proa_str_find(json, proa_str_c(mark));

    return at < 0 ? -1 : strtoll(json.ptr + at + strlen(mark), NULL, 10);
}

static proa_str text_after(proa_str json, const char *mark)
{
    ptrdiff_t at = proa_str_find(json, proa_str_c(mark));
    proa_str rest = at < 0 ? PROA_STR("") : proa_str_slice(json, (size_t)at + strlen(mark), json.len);
    ptrdiff_t end = proa_str_find_char(rest, '"');

    return end < 0 ? PROA_STR("") : proa_str_slice(rest, 0, (size_t)end);
}

static proa_str find(struct world *world, const struct proa_kube_kind *kind, const char *name)
{
    return proa_sim_kube_get(world->api, kind, PROA_STR("default"), proa_str_c(name));
}

static void put_as(struct world *world, const struct proa_kube_kind *kind, const struct proa_buf *json)
{
    struct proa_error err = {0};

    if (proa_sim_kube_put(world->api, kind, proa_buf_str(json), "controllers", &err) < 0) {
        fprintf(stderr, "# %s: %s\n", kind->kind, err.message);
        world->failure = "the controllers' object is refused";
    }
}

#define LABELS                                                                                                         \
    "\"namespace\":\"default\",\"labels\":{\"app.kubernetes.io/instance\":\"shop\","                                   \
    "\"app.kubernetes.io/managed-by\":\"database-operator\"}"

/* An instance that is missing is made, ready at once, with its claim. @returns whether it was missing. */
static bool make_instance(struct world *world, int64_t index, proa_str hash, proa_str size)
{
    char pod[32], claim[32];
    struct proa_buf out = {0};
    bool is_missing;

    snprintf(pod, sizeof pod, "shop-%d", (int)index);
    snprintf(claim, sizeof claim, "data-shop-%d", (int)index);
    if (!find(world, &proa_kube_claims, claim).ptr) {
        proa_buf_printf(
            &out,
            "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":\"%s\"," LABELS
            "},\"spec\":{\"resources\":{\"requests\":{\"storage\":\"" PROA_FMT "\"}}}}",
            claim, PROA_ARG(size));
        put_as(world, &proa_kube_claims, &out);
        proa_buf_clear(&out);
    }
    is_missing = !find(world, &proa_kube_pods, pod).ptr;
    if (is_missing) {
        proa_buf_printf(&out,
                        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\"," LABELS
                        ",\"annotations\":{\"database.example.com/spec-hash\":\"" PROA_FMT
                        "\"}},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
                        pod, PROA_ARG(hash));
        put_as(world, &proa_kube_pods, &out);
    }
    proa_buf_done(&out);
    return is_missing;
}

static void remove_instances(struct world *world, int64_t from)
{
    for (int64_t i = from; i < INSTANCES_MAX; i++) {
        char pod[32];

        snprintf(pod, sizeof pod, "shop-%d", (int)i);
        proa_ignore(proa_sim_kube_delete(world->api, &proa_kube_pods, PROA_STR("default"), proa_str_c(pod)));
    }
}

/* The pods of a StatefulSet, of which never two may have been stopped at once. */
static void make_instances(struct world *world, proa_str set, int64_t replicas)
{
    int64_t missing = 0;

    for (int64_t i = 0; i < replicas; i++)
        missing += make_instance(world, i, text_after(set, SPEC_HASH_MARK), text_after(set, "\"storage\":\"")) &&
                   i < world->instances;
    if (missing > 1)
        world->failure = "two instances were stopped at once";
    remove_instances(world, replicas);
    world->restarts += (uint64_t)missing;
    world->instances = replicas;
}

/* The StatefulSet and its controller: what is missing is made, and ready at once. */
static void serve(struct world *world)
{
    static const char mark[] = ",\"status\":{\"observedGeneration\"";
    proa_str json = find(world, &proa_kube_stateful_sets, "shop");
    proa_str owner = find(world, &database_kind, "shop");
    int64_t generation, replicas;
    struct proa_buf out = {0};
    ptrdiff_t at;

    if (!json.ptr || proa_str_find(json, PROA_STR("\"deletionTimestamp\"")) >= 0) {
        if (!json.ptr && (!owner.ptr || proa_str_find(owner, PROA_STR("\"deletionTimestamp\"")) >= 0)) {
            remove_instances(world, 0);
            world->instances = 0;
        }
        return;
    }
    generation = number_after(json, "\"generation\":");
    at = proa_str_find(json, PROA_STR("\"podManagementPolicy\""));
    replicas = at < 0 ? -1 : number_after(proa_str_slice(json, (size_t)at, json.len), "\"replicas\":");
    if (generation < 0 || replicas < 0) {
        world->failure = "a StatefulSet without generation or replicas";
        return;
    }
    make_instances(world, json, replicas);
    at = proa_str_find(json, proa_str_c(mark));
    if (at >= 0 && number_after(proa_str_slice(json, (size_t)at, json.len), "\"observedGeneration\":") == generation)
        return;
    proa_buf_add(&out, proa_str_slice(json, 0, at >= 0 ? (size_t)at : json.len - 1));
    proa_buf_printf(&out, ",\"status\":{\"observedGeneration\":%lld,\"replicas\":%lld,\"readyReplicas\":%lld}}",
                    (long long)generation, (long long)replicas, (long long)replicas);
    put_as(world, &proa_kube_stateful_sets, &out);
    proa_buf_done(&out);
}

static bool is_ready(struct world *world)
{
    proa_str json = find(world, &database_kind, "shop");

    return json.ptr && proa_str_find(json, PROA_STR("\"phase\":\"Ready\"")) >= 0 &&
           number_after(json, "\"observedGeneration\":") == number_after(json, "\"generation\":");
}

static int until(struct world *world, bool (*is_done)(struct world *world))
{
    for (int step = 0; step < STEPS_MAX && !world->failure; step++) {
        serve(world);
        if (is_done(world))
            return 0;
        PROA_TRY(proa_sleep(world->loop, PROA_MS(STEP_MS)));
    }
    if (!world->failure)
        world->failure = "it does not come to an end";
    return 0;
}

static bool is_gone(struct world *world)
{
    return !proa_sim_kube_get(world->api, &database_kind, PROA_STR("default"), PROA_STR("shop")).ptr &&
           proa_sim_kube_count(world->api, &proa_kube_stateful_sets) == 0;
}

#define DATABASE(replicas, more)                                                                                       \
    "{\"apiVersion\":\"database.example.com/v1\",\"kind\":\"Database\",\"metadata\":{\"name\":\"shop\","               \
    "\"namespace\":\"default\"},\"spec\":{\"engine\":\"postgres\",\"version\":\"17\",\"replicas\":" replicas           \
    ",\"storageSize\":\"1Gi\"" more "}}"

static void put(struct world *world, const char *json)
{
    struct proa_error err = {0};

    if (proa_sim_kube_put(world->api, &database_kind, proa_str_c(json), "user", &err) < 0)
        world->failure = "the user's object is refused";
}

/* A change of the spec alone, as a person's patch: text for text. */
static void change(struct world *world, const char *from, const char *to)
{
    proa_str json = proa_sim_kube_get(world->api, &database_kind, PROA_STR("default"), PROA_STR("shop"));
    ptrdiff_t at = proa_str_find(json, proa_str_c(from));
    struct proa_buf out = {0};

    if (at < 0) {
        world->failure = "what is to be changed is not there";
        return;
    }
    proa_buf_add(&out, proa_str_slice(json, 0, (size_t)at));
    proa_buf_add_c(&out, to);
    proa_buf_add(&out, proa_str_slice(json, (size_t)at + strlen(from), json.len));
    if (proa_sim_kube_put(world->api, &database_kind, proa_buf_str(&out), "user", NULL) < 0)
        world->failure = "the user's change is refused";
    proa_buf_done(&out);
}

/* Generated values are of that life's chance. */
static void hide(struct proa_buf *dump, const char *key)
{
    char *at = dump->ptr;

    for (size_t left = dump->len; left > 0;) {
        char *found = memmem(at, left, key, strlen(key));

        if (!found)
            return;
        for (found += strlen(key); *found != '"'; found++)
            *found = 'x';
        left = dump->len - (size_t)(found - dump->ptr);
        at = found;
    }
}

static void expect(struct world *world, bool is_true, const char *what)
{
    if (!is_true && !world->failure)
        world->failure = what;
}

/* Every instance runs what the StatefulSet says now. It may take longer than until Ready, which is told from the StatefulSet's status
 * while a cut watch hides the pods. */
static bool is_current(struct world *world)
{
    proa_str hash = text_after(find(world, &proa_kube_stateful_sets, "shop"), SPEC_HASH_MARK);

    for (int64_t i = 0; i < world->instances; i++) {
        char pod[32];

        snprintf(pod, sizeof pod, "shop-%d", (int)i);
        if (!proa_str_eq(text_after(find(world, &proa_kube_pods, pod), SPEC_HASH_MARK), hash))
            return false;
    }
    return is_ready(world);
}

static bool has_grown(struct world *world)
{
    proa_str set = find(world, &proa_kube_stateful_sets, "shop");

    return is_ready(world) && proa_str_eq_c(text_after(set, "\"storage\":\""), "2Gi") &&
           proa_str_eq_c(text_after(find(world, &proa_kube_claims, "data-shop-2"), "\"storage\":\""), "2Gi");
}

static bool is_swept(struct world *world)
{
    return proa_sim_kube_count(world->api, &proa_kube_claims) == 0 &&
           !find(world, &proa_kube_secrets, "shop-credentials").ptr;
}

static int delete_database(struct world *world)
{
    proa_ignore(proa_sim_kube_delete(world->api, &database_kind, PROA_STR("default"), PROA_STR("shop")));
    return until(world, is_gone);
}

static int story(void *arg)
{
    struct world *world = arg;
    const struct proa_sim_kube_faults none = {0};
    struct proa_group operator_group;

    proa_group_init(&operator_group, world->loop);
    PROA_TRY(proa_group_start(&operator_group, NULL, keep_alive, world));
    put(world, DATABASE("2", ""));
    PROA_TRY(until(world, is_ready));
    change(world, "\"replicas\":2", "\"replicas\":3,\"parameters\":{\"work_mem\":\"8MB\"}");
    PROA_TRY(until(world, is_current));
    expect(world, world->restarts == 2, "the two instances that were there are restarted once each");
    change(world, "\"storageSize\":\"1Gi\"", "\"storageSize\":\"2Gi\"");
    PROA_TRY(until(world, has_grown));
    expect(world, world->restarts == 2, "growing restarts nothing");
    proa_ignore(proa_sim_kube_delete(world->api, &proa_kube_services, PROA_STR("default"), PROA_STR("shop-rw")));
    PROA_TRY(delete_database(world));
    expect(world, proa_sim_kube_count(world->api, &proa_kube_claims) == 3, "claims are kept");
    expect(world, find(world, &proa_kube_secrets, "shop-credentials").ptr, "the Secret is kept");
    put(world, DATABASE("3", ",\"deletionPolicy\":\"Delete\""));
    PROA_TRY(until(world, is_ready));
    PROA_TRY(delete_database(world));
    PROA_TRY(until(world, is_swept));
    put(world, DATABASE("1", ",\"parameters\":{\"work_mem\":\"8MB\"}"));
    PROA_TRY(until(world, is_ready));
    world->is_calm = true;
    proa_sim_kube_set_faults(world->api, &none);
    PROA_TRY(proa_sleep(world->loop, PROA_SECONDS(QUIET_S)));
    PROA_TRY(until(world, is_ready));
    if (proa_sim_kube_dump(world->api, &world->outcome) < 0)
        world->failure = "no dump";
    hide(&world->outcome, "\"password\":\"");
    hide(&world->outcome, "\"replicationPassword\":\"");
    hide(&world->outcome, "\"agentToken\":\"");
    hide(&world->outcome, "\"" ANNOTATION_CREDENTIALS "\":\"");
    proa_group_cancel(&operator_group, PROA_ECANCELED);
    (void)proa_group_wait(&operator_group);
    proa_sim_kube_stop(world->api);
    return 0;
}

/* @returns the objects at the end, on the heap. */
static struct proa_buf run(uint64_t seed, uint64_t kill_at, bool is_faulty, uint64_t *ret_calls)
{
    struct world world = {.kill_at = kill_at, .random_kills = is_faulty};
    struct proa_sim_kube_options options = {.address = ADDRESS, .on_request = on_request, .arg = &world};
    struct proa_error err = {0};
    int rc;

    if (is_faulty)
        options.faults = (struct proa_sim_kube_faults){.lose_request = 0.02,
                                                       .lose_answer = 0.03,
                                                       .unavailable = 0.02,
                                                       .conflict = 0.02,
                                                       .cut_watch = 0.02,
                                                       .expire = 0.1,
                                                       .delay_max_ns = PROA_MS(20)};
    proa_prng_seed(&world.chance, seed);
    world.settings = (struct plan_settings){.agent_image = PROA_STR("agent:1")};
    assert_int_equal(proa_sim_new(&(struct proa_sim_options){.seed = seed}, &world.sim), 0);
    world.loop = options.loop = proa_sim_loop(world.sim);
    assert_int_equal(proa_sim_kube_start(&options, &world.api, &err), 0);
    assert_int_equal(proa_sim_kube_serve(world.api, &database_kind, true, true), 0);
    assert_int_equal(proa_loop_start_fiber(world.loop, NULL, story, &world), 0);
    rc = proa_loop_run(world.loop);
    if (world.failure || rc < 0)
        fail_msg("seed %llu, killed after call %llu, life %llu: %s", (unsigned long long)seed,
                 (unsigned long long)kill_at, (unsigned long long)world.lives,
                 world.failure ? world.failure : proa_code_name(rc));
    if (ret_calls)
        *ret_calls = world.lives > 1 ? UINT64_MAX : world.calls;
    proa_sim_free(world.sim);
    return world.outcome;
}

static void same(const struct proa_buf *expected, const struct proa_buf *got, uint64_t seed, uint64_t kill_at)
{
    size_t at = 0;

    if (proa_str_eq(proa_buf_str(expected), proa_buf_str(got)))
        return;
    while (at < expected->len && at < got->len && expected->ptr[at] == got->ptr[at])
        at++;
    at = at > 100 ? at - 100 : 0;
    fail_msg("seed %llu, killed after call %llu: another end.\nexpected: …%.300s\ngot:      …%.300s",
             (unsigned long long)seed, (unsigned long long)kill_at, at < expected->len ? expected->ptr + at : "(end)",
             at < got->len ? got->ptr + at : "(end)");
}

static void killed_after_every_call(void **state)
{
    struct proa_buf expected = run(1, 0, false, NULL);
    uint64_t calls = 0;

    (void)state;
    for (uint64_t kill_at = 1; kill_at <= CALLS_MAX; kill_at++) {
        struct proa_buf got = run(1, kill_at, false, &calls);

        same(&expected, &got, 1, kill_at);
        proa_buf_done(&got);
        if (calls != UINT64_MAX)
            break; /* nobody was killed: it makes fewer calls than that */
    }
    assert_int_not_equal(calls, UINT64_MAX);
    printf("# the undisturbed story takes %llu calls\n", (unsigned long long)calls);
    proa_buf_done(&expected);
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void seeds(void **state)
{
    uint64_t one = setting("PROA_SIM_SEED", 0), first = one ? one : setting("PROA_SIM_FIRST", 1);
    uint64_t count = one ? 1 : setting("PROA_SIM_SEEDS", SEEDS), seconds = one ? 0 : setting("PROA_SIM_SECONDS", 0);
    struct proa_buf expected = run(1, 0, false, NULL);
    time_t until = time(NULL) + (time_t)seconds;
    uint64_t seed = first;

    (void)state;
    for (; seed - first < count || time(NULL) < until; seed++) {
        struct proa_buf got = run(seed, 0, true, NULL);

        same(&expected, &got, seed, 0);
        proa_buf_done(&got);
    }
    printf("# %llu seeds\n", (unsigned long long)(seed - first));
    proa_buf_done(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_after_every_call),
        cmocka_unit_test(seeds),
    };

    return cmocka_run_group_tests_name("sim/operator", tests, NULL, NULL);
}
