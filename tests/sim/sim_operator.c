/* The database operator beside a simulated API server on virtual time. It is killed after every single call, and begins again; with
 * seeds, answers are lost, conflicts and 410s come back, watches are cut. It must end at the same objects as an undisturbed run, with none
 * more. A run that fails is repeated by its seed: PROA_SIM_SEED; PROA_SIM_SEEDS says how many. */
#include "unit.h"

#include "reconcile.h"

#include <proa/fiber.h>
#include <proa/random.h>
#include <proa/sim.h>
#include <proa/sim_kube.h>
#include <stdio.h>
#include <stdlib.h>

#define ADDRESS "10.0.0.1:6443"

enum { SEEDS = 12, CALLS_MAX = 200, STEP_MS = 250, STEPS_MAX = 6000, QUIET_S = 40 };

struct world {
    struct proa_sim *sim;
    struct proa_loop *loop;
    struct proa_sim_kube *api;
    struct plan_settings settings;
    uint64_t calls;   /* in this life */
    uint64_t kill_at; /* 0: never */
    uint64_t lives;
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
    struct proa_kube_config *config = NULL;
    struct proa_manager *manager = NULL;
    struct proa_kube *kube = NULL;
    struct proa_error err = {0};
    int rc = proa_kube_config_plain("http://" ADDRESS, &config);

    if (rc == 0)
        rc = proa_kube_new(
            &(struct proa_kube_options){.loop = world->loop, .config = config, .field_manager = OPERATOR_NAME}, &kube,
            &err);
    if (rc == 0)
        rc = proa_manager_new(&(struct proa_manager_options){.kube = kube}, &manager, &err);
    if (rc == 0)
        rc = database_controller_add(
            manager, &(struct reconcile_options){.kube = kube, .verify_ns = PROA_SECONDS(30), .concurrency = 4},
            &world->settings, &err);
    if (rc == 0)
        rc = proa_manager_run(manager, &err);
    proa_manager_free(manager);
    proa_kube_free(kube);
    proa_kube_config_free(config);
    return rc;
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

/* What the StatefulSet controller says: all are ready at once. */
static void serve(struct world *world)
{
    static const char mark[] = ",\"status\":{\"observedGeneration\"";
    proa_str json = proa_sim_kube_get(world->api, &proa_kube_stateful_sets, PROA_STR("default"), PROA_STR("shop"));
    int64_t generation, replicas;
    struct proa_buf out = {0};
    ptrdiff_t at;

    if (!json.ptr)
        return;
    generation = number_after(json, "\"generation\":");
    at = proa_str_find(json, PROA_STR("\"podManagementPolicy\""));
    replicas = at < 0 ? -1 : number_after(proa_str_slice(json, (size_t)at, json.len), "\"replicas\":");
    if (generation < 0 || replicas < 0) {
        world->failure = "a StatefulSet without generation or replicas";
        return;
    }
    at = proa_str_find(json, proa_str_c(mark));
    if (at >= 0 && number_after(proa_str_slice(json, (size_t)at, json.len), "\"observedGeneration\":") == generation)
        return;
    proa_buf_add(&out, proa_str_slice(json, 0, at >= 0 ? (size_t)at : json.len - 1));
    proa_buf_printf(&out, ",\"status\":{\"observedGeneration\":%lld,\"replicas\":%lld,\"readyReplicas\":%lld}}",
                    (long long)generation, (long long)replicas, (long long)replicas);
    if (proa_sim_kube_put(world->api, &proa_kube_stateful_sets, proa_buf_str(&out), "controllers", NULL) < 0)
        world->failure = "the status of a StatefulSet is refused";
    proa_buf_done(&out);
}

static bool is_ready(struct world *world)
{
    proa_str json = proa_sim_kube_get(world->api, &database_kind, PROA_STR("default"), PROA_STR("shop"));

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
    PROA_TRY(until(world, is_ready));
    proa_ignore(proa_sim_kube_delete(world->api, &proa_kube_services, PROA_STR("default"),
                                     PROA_STR("shop-rw"))); /* it may be gone */
    proa_ignore(
        proa_sim_kube_delete(world->api, &database_kind, PROA_STR("default"), PROA_STR("shop"))); /* it may be gone */
    PROA_TRY(until(world, is_gone));
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

static void seeds(void **state)
{
    const char *one = getenv("PROA_SIM_SEED"), *many = getenv("PROA_SIM_SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1, count = one ? 1 : many ? strtoull(many, NULL, 10) : SEEDS;
    struct proa_buf expected = run(1, 0, false, NULL);

    (void)state;
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct proa_buf got = run(seed, 0, true, NULL);

        same(&expected, &got, seed, 0);
        proa_buf_done(&got);
    }
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
