/* What `make figures` needs beside the operator, on the API server that KUBECONFIG names. Each command prints one JSON object.
 *
 *  kube_load send [--in-flight N]    Sends the requests of stdin, a line each: METHOD PATH CONTENT-TYPE BODY. Any that is refused fails
 *                                    it.
 *  kube_load answer [--pods]         The StatefulSet controller that answers at once: what is not labelled bench=foreign is served as its
 *                                    spec says, with --pods by Pods that are ready. Until stdin ends.
 *  kube_load await COUNT             Until so many Databases are Ready; tells when, by CLOCK_MONOTONIC.
 *  kube_load change COUNT PER_SECOND Changes spec.replicas of COUNT Databases and of as many twins (group raw.example.com) in turns, from
 *                                    stdin's lines NAMESPACE NAME, and tells how long their StatefulSets took to follow.
 */
#include <proa/controller.h>
#include <proa/fiber.h>
#include <proa/kube.h>
#include <proa/map.h>
#include <proa/sync.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    IN_FLIGHT = 32,
    LINE_MAX_BYTES = 64 * 1024,
    ANSWERS_WAITING = 100000,
    ANSWER_WORKERS = 16,
    FOLLOW_S = 60, /* a change that is not followed for so long ends the run */
};

extern char **environ;

struct bench {
    struct proa_loop *loop;
    struct proa_kube_config *config;
    struct proa_kube *kube;
    char **arguments; /* of the command */
    int count;
    uint32_t in_flight;
    int rc;
};

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int complain(const char *what, const struct proa_error *err)
{
    fprintf(stderr, "kube_load: %s: %s\n", what, err->code ? err->message : "failed");
    return -1;
}

/* -- send ------------------------------------------------------------------------------------------------------------ */

struct sending {
    struct bench *bench;
    proa_str rest; /* of stdin */
    uint64_t sent, failed;
};

static proa_str next_word(proa_str *line)
{
    proa_str word = PROA_STR("");

    if (!proa_str_split(line, ' ', &word))
        return PROA_STR("");
    return word;
}

static int send_line(struct bench *bench, proa_str line)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_error err = {0};
    struct proa_kube_request request = {0};
    proa_str answer, method, target, type;
    ptrdiff_t query;

    proa_arena_init(&arena, proa_loop_blocks(bench->loop), 0);
    method = next_word(&line);
    target = next_word(&line);
    type = next_word(&line);
    query = proa_str_find_char(target, '?');
    request.method = proa_arena_str(&arena, method).ptr;
    request.content_type = proa_arena_str(&arena, type).ptr;
    request.path = query < 0 ? target : proa_str_slice(target, 0, (size_t)query);
    request.query = query < 0 ? PROA_STR("") : proa_str_slice(target, (size_t)query + 1, target.len);
    if (line.len > 0)
        request.body = line;
    if (!request.method || !request.content_type)
        return PROA_ENOMEM;
    if (proa_kube_send(bench->kube, &arena, &request, &answer, &err) < 0)
        return complain("send", &err);
    return 0;
}

static int send_lines(void *arg)
{
    struct sending *sending = arg;
    proa_str line;

    while (sending->rest.len > 0 && proa_str_split(&sending->rest, '\n', &line)) {
        if (line.len == 0)
            continue;
        sending->sent++;
        sending->failed += send_line(sending->bench, line) < 0;
    }
    return 0;
}

static int read_stdin(struct proa_buf *out)
{
    char piece[LINE_MAX_BYTES / 8];
    ssize_t got;

    while ((got = read(STDIN_FILENO, piece, sizeof piece)) > 0)
        PROA_TRY(proa_buf_add(out, proa_str_n(piece, (size_t)got)));
    return got < 0 ? PROA_EIO : 0;
}

static int run_send(struct bench *bench)
{
    struct sending sending = {.bench = bench};
    struct proa_buf text PROA_CLEANUP(proa_buf_done) = {0};
    struct proa_group group;
    double began;

    PROA_TRY(read_stdin(&text));
    sending.rest = proa_buf_str(&text);
    began = now_s();
    proa_group_init(&group, bench->loop);
    for (uint32_t i = 0; i < bench->in_flight; i++)
        PROA_TRY(proa_group_start(&group, NULL, send_lines, &sending));
    PROA_TRY(proa_group_wait(&group));
    printf("{\"requests\":%llu,\"failed\":%llu,\"seconds\":%.3f}\n", (unsigned long long)sending.sent,
           (unsigned long long)sending.failed, now_s() - began);
    return sending.failed ? -1 : 0;
}

/* -- StatefulSets ---------------------------------------------------------------------------------------------------- */

struct set_template_meta {
    proa_str labels, annotations; /* as JSON */
};
PROA_DESCRIBE_WITH(set_template_meta, (.unknown = PROA_UNKNOWN_IGNORE), (labels, raw, .default_json = "{}"),
                   (annotations, raw, .default_json = "{}"));
struct set_template {
    struct set_template_meta metadata;
};
PROA_DESCRIBE_WITH(set_template, (.unknown = PROA_UNKNOWN_IGNORE), (metadata, object(set_template_meta)));
struct set_spec {
    int32_t replicas;
    struct set_template template_;
};
PROA_DESCRIBE_WITH(set_spec, (.unknown = PROA_UNKNOWN_IGNORE), (replicas, i32, .default_json = "1"),
                   (template_, object(set_template), .json = "template"));
struct set_status {
    int64_t observed_generation;
    int32_t replicas, ready_replicas;
};
PROA_DESCRIBE_WITH(set_status, (.unknown = PROA_UNKNOWN_IGNORE),
                   (observed_generation, i64, .json = "observedGeneration", .default_json = "0"),
                   (replicas, i32, .default_json = "0"),
                   (ready_replicas, i32, .json = "readyReplicas", .default_json = "0"));
struct set_meta {
    proa_str name, namespace_;
    int64_t generation;
};
PROA_DESCRIBE_WITH(set_meta, (.unknown = PROA_UNKNOWN_IGNORE), (name, str), (namespace_, str, .json = "namespace"),
                   (generation, i64));
struct set {
    struct set_meta metadata;
    struct set_spec spec;
    struct set_status status;
};
PROA_DESCRIBE_WITH(set, (.unknown = PROA_UNKNOWN_IGNORE), (metadata, object(set_meta)), (spec, object(set_spec)),
                   (status, object(set_status), .default_json = "{}"));

static const char not_foreign[] = "bench!=foreign";

/* -- answer ---------------------------------------------------------------------------------------------------------- */

/* One StatefulSet that is to be served. */
struct job {
    struct proa_arena arena;
    struct set set;
};

struct answering {
    struct bench *bench;
    struct proa_queue *jobs;
    bool makes_pods;
    uint64_t answered, failed;
};

static int set_seen(void *arg, const struct proa_kube_event *event)
{
    struct answering *answering = arg;
    struct job *job;

    if (event->kind != PROA_KUBE_ADDED && event->kind != PROA_KUBE_MODIFIED)
        return 0;
    job = calloc(1, sizeof *job);
    if (!job)
        return PROA_ENOMEM;
    proa_arena_init(&job->arena, proa_loop_blocks(answering->bench->loop), 0);
    if (proa_json_read(&job->arena, proa_arena_str(&job->arena, event->json), PROA_JSON_LENIENT, &set_type, &job->set,
                       NULL) == 0 &&
        job->set.status.observed_generation < job->set.metadata.generation &&
        proa_queue_try_put(answering->jobs, job) == 0)
        return 0;
    proa_arena_done(&job->arena);
    free(job);
    return 0;
}

static int patch_status(struct bench *bench, struct proa_arena *arena, const struct proa_kube_kind *kind,
                        proa_str namespace_, proa_str name, proa_str body)
{
    static const struct proa_kube_patch_options status = {.kind = PROA_KUBE_MERGE, .subresource = "status"};
    struct proa_error err = {0};
    int rc = proa_kube_patch(bench->kube, arena, kind, namespace_, name, body, &status, NULL, NULL, &err);

    return rc < 0 && rc != PROA_ENOTFOUND ? complain("status", &err) : 0;
}

static int make_pod(struct bench *bench, struct job *job, int32_t index)
{
    static const char ready[] =
        "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"True\"},"
        "{\"type\":\"Ready\",\"status\":\"True\"}]}}";
    const struct set *set = &job->set;
    proa_str name = proa_arena_printf(&job->arena, PROA_FMT "-%d", PROA_ARG(set->metadata.name), (int)index);
    proa_str labels = set->spec.template_.metadata.labels;
    struct proa_error err = {0};
    proa_str body = proa_arena_printf(
        &job->arena,
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"" PROA_FMT "\",\"annotations\":" PROA_FMT
        ",\"labels\":{\"statefulset.kubernetes.io/pod-name\":\"" PROA_FMT "\"%s" PROA_FMT
        "},\"spec\":{\"containers\":[{\"name\":\"database\",\"image\":\"none\"}]}}",
        PROA_ARG(name), PROA_ARG(set->spec.template_.metadata.annotations), PROA_ARG(name), labels.len > 2 ? "," : "",
        PROA_ARG(proa_str_slice(labels, 1, labels.len)));
    int rc =
        proa_kube_create(bench->kube, &job->arena, &proa_kube_pods, set->metadata.namespace_, body, NULL, NULL, &err);

    if (rc < 0 && rc != PROA_EEXISTS)
        return complain("pod", &err);
    return patch_status(bench, &job->arena, &proa_kube_pods, set->metadata.namespace_, name, proa_str_c(ready));
}

static int serve(struct answering *answering, struct job *job)
{
    const struct set *set = &job->set;
    int32_t replicas = set->spec.replicas;

    for (int32_t i = set->status.replicas; answering->makes_pods && i < replicas; i++)
        PROA_TRY(make_pod(answering->bench, job, i));
    return patch_status(
        answering->bench, &job->arena, &proa_kube_stateful_sets, set->metadata.namespace_, set->metadata.name,
        proa_arena_printf(&job->arena,
                          "{\"status\":{\"observedGeneration\":%lld,\"replicas\":%d,\"readyReplicas\":%d,"
                          "\"availableReplicas\":%d}}",
                          (long long)set->metadata.generation, (int)replicas, (int)replicas, (int)replicas));
}

static int serve_sets(void *arg)
{
    struct answering *answering = arg;
    void *item;

    while (proa_queue_take(answering->jobs, &item) == 0) {
        struct job *job = item;

        answering->answered++;
        answering->failed += serve(answering, job) < 0;
        proa_arena_done(&job->arena);
        free(job);
    }
    return 0;
}

static int watch_sets(void *arg)
{
    struct answering *answering = arg;
    struct proa_error err = {0};
    int rc = proa_kube_watch(answering->bench->kube, &proa_kube_stateful_sets,
                             &(struct proa_kube_watch_options){
                                 .label_selector = proa_str_c(not_foreign), .event = set_seen, .arg = answering},
                             &err);

    return rc == PROA_ECANCELED ? 0 : complain("watch", &err);
}

/* Stdin is a pipe of our parent's: it ends when the parent says so, or is gone. */
static int wait_for_end(struct proa_loop *loop)
{
    char byte;
    int events;

    do
        PROA_TRY(proa_wait_fd(loop, STDIN_FILENO, PROA_READABLE, &events));
    while (read(STDIN_FILENO, &byte, 1) > 0);
    return 0;
}

static int run_answer(struct bench *bench)
{
    struct answering answering = {.bench = bench,
                                  .jobs = proa_queue_new(bench->loop, ANSWERS_WAITING),
                                  .makes_pods = bench->count > 0 && strcmp(bench->arguments[0], "--pods") == 0};
    struct proa_group group;

    if (!answering.jobs)
        return PROA_ENOMEM;
    proa_group_init(&group, bench->loop);
    PROA_TRY(proa_group_start(&group, NULL, watch_sets, &answering));
    for (int i = 0; i < ANSWER_WORKERS; i++)
        PROA_TRY(proa_group_start(&group, NULL, serve_sets, &answering));
    PROA_TRY(wait_for_end(bench->loop));
    proa_queue_close(answering.jobs);
    proa_group_cancel(&group, PROA_ECANCELED);
    proa_ignore(proa_group_wait(&group)); /* cancelled */
    proa_queue_free(answering.jobs);
    printf("{\"answered\":%llu,\"failed\":%llu}\n", (unsigned long long)answering.answered,
           (unsigned long long)answering.failed);
    return answering.failed ? -1 : 0;
}

/* -- await ----------------------------------------------------------------------------------------------------------- */

static const struct proa_kube_kind databases = {"database.example.com", "v1", "Database", "databases", false};

struct waited_status {
    proa_str phase;
    int64_t observed_generation;
};
PROA_DESCRIBE_WITH(waited_status, (.unknown = PROA_UNKNOWN_IGNORE), (phase, str, .default_json = "\"\""),
                   (observed_generation, i64, .json = "observedGeneration", .default_json = "0"));
struct waited {
    struct set_meta metadata;
    struct waited_status status;
};
PROA_DESCRIBE_WITH(waited, (.unknown = PROA_UNKNOWN_IGNORE), (metadata, object(set_meta)),
                   (status, object(waited_status), .default_json = "{}"));

struct awaiting {
    struct bench *bench;
    uint64_t wanted;
    struct proa_map *ready; /* by namespace/name */
    double last;
};

static int database_seen(void *arg, const struct proa_kube_event *event)
{
    struct awaiting *awaiting = arg;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct waited database;
    proa_str key;

    proa_arena_init(&arena, proa_loop_blocks(awaiting->bench->loop), 0);
    if (event->kind == PROA_KUBE_ADDED || event->kind == PROA_KUBE_MODIFIED) {
        PROA_TRY(proa_json_read(&arena, event->json, PROA_JSON_LENIENT, &waited_type, &database, NULL));
        key = proa_arena_printf(&arena, PROA_FMT "/" PROA_FMT, PROA_ARG(database.metadata.namespace_),
                                PROA_ARG(database.metadata.name));
        if (proa_str_eq_c(database.status.phase, "Ready") &&
            database.status.observed_generation == database.metadata.generation)
            PROA_TRY(proa_map_put(awaiting->ready, key, awaiting, NULL));
        else
            proa_map_remove(awaiting->ready, key);
        awaiting->last = now_s();
    }
    return proa_map_count(awaiting->ready) >= awaiting->wanted ? PROA_ECANCELED : 0;
}

static int run_await(struct bench *bench)
{
    struct awaiting awaiting = {.bench = bench, .ready = proa_map_new(0)};
    struct proa_error err = {0};
    int rc;

    if (!awaiting.ready || bench->count < 1 || proa_str_to_u64(proa_str_c(bench->arguments[0]), &awaiting.wanted) < 0)
        return PROA_EINVAL;
    rc = proa_kube_watch(bench->kube, &databases,
                         &(struct proa_kube_watch_options){.event = database_seen, .arg = &awaiting}, &err);
    proa_map_free(awaiting.ready);
    if (rc != PROA_ECANCELED)
        return complain("watch", &err);
    printf("{\"ready\":%llu,\"at\":%.6f}\n", (unsigned long long)awaiting.wanted, awaiting.last);
    return 0;
}

/* -- change ---------------------------------------------------------------------------------------------------------- */

static const struct proa_kube_kind twins = {"raw.example.com", "v1", "Database", "databases", false};

/* One change: of a Database, or of a twin, whose names begin with "raw-". */
struct change {
    struct changing *changing;
    proa_str namespace_, name;
    bool is_twin, is_followed;
    int32_t replicas; /* wanted */
    double sent, took;
};

struct changing {
    struct bench *bench;
    struct proa_arena arena;
    struct change *changes; /* a Database's, a twin's, and so on */
    size_t count, followed;
    struct proa_map *by_name;
    struct proa_event synced, all_followed;
};

static int follow(void *arg, const struct proa_kube_event *event)
{
    struct changing *changing = arg;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct change *change;
    struct set set;
    double now = now_s();

    if (event->kind == PROA_KUBE_SYNCED)
        proa_event_set(&changing->synced);
    if (event->kind != PROA_KUBE_MODIFIED)
        return 0;
    proa_arena_init(&arena, proa_loop_blocks(changing->bench->loop), 0);
    PROA_TRY(proa_json_read(&arena, event->json, PROA_JSON_LENIENT, &set_type, &set, NULL));
    change = proa_map_get(changing->by_name,
                          proa_arena_printf(&arena, PROA_FMT "/" PROA_FMT, PROA_ARG(set.metadata.namespace_),
                                            PROA_ARG(set.metadata.name)));
    if (!change || change->is_followed || change->sent == 0 || set.spec.replicas != change->replicas)
        return 0;
    change->is_followed = true;
    change->took = now - change->sent;
    if (++changing->followed == changing->count)
        proa_event_set(&changing->all_followed);
    return 0;
}

static int watch_changed(void *arg)
{
    struct changing *changing = arg;
    struct proa_error err = {0};
    int rc = proa_kube_watch(
        changing->bench->kube, &proa_kube_stateful_sets,
        &(struct proa_kube_watch_options){.label_selector = proa_str_c(not_foreign), .event = follow, .arg = changing},
        &err);

    return rc == PROA_ECANCELED ? 0 : complain("watch", &err);
}

static int send_change(void *arg)
{
    static const struct proa_kube_patch_options merge = {.kind = PROA_KUBE_MERGE};
    struct change *change = arg;
    struct bench *bench = change->changing->bench;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_error err = {0};
    proa_str body;

    proa_arena_init(&arena, proa_loop_blocks(bench->loop), 0);
    body = proa_arena_printf(&arena, "{\"spec\":{\"replicas\":%d}}", (int)change->replicas);
    change->sent = now_s();
    return proa_kube_patch(bench->kube, &arena, change->is_twin ? &twins : &databases, change->namespace_, change->name,
                           body, &merge, NULL, NULL, &err) < 0
               ? complain("change", &err)
               : 0;
}

static int add_change(struct changing *changing, proa_str namespace_, proa_str name, bool is_twin)
{
    struct change *change = &changing->changes[changing->count];
    proa_str key;

    *change =
        (struct change){.changing = changing,
                        .namespace_ = namespace_,
                        .name = is_twin ? proa_arena_printf(&changing->arena, "raw-" PROA_FMT, PROA_ARG(name)) : name,
                        .is_twin = is_twin,
                        .replicas = 2 + (int32_t)(changing->count / 2 % 6)};
    key = proa_arena_printf(&changing->arena, PROA_FMT "/" PROA_FMT, PROA_ARG(namespace_), PROA_ARG(change->name));
    if (!change->name.ptr || !key.ptr)
        return PROA_ENOMEM;
    changing->count++;
    return proa_map_put(changing->by_name, key, change, NULL);
}

static int read_changes(struct changing *changing, uint64_t count)
{
    struct proa_buf text;
    proa_str rest, line;

    proa_buf_init(&text, &changing->arena, 0);
    PROA_TRY(read_stdin(&text));
    rest = proa_buf_str(&text);
    changing->changes = calloc(2 * count, sizeof *changing->changes);
    changing->by_name = proa_map_new(0);
    if (!changing->changes || !changing->by_name)
        return PROA_ENOMEM;
    while (changing->count < 2 * count && proa_str_split(&rest, '\n', &line)) {
        proa_str namespace_ = next_word(&line);

        PROA_TRY(add_change(changing, namespace_, line, false));
        PROA_TRY(add_change(changing, namespace_, line, true));
    }
    return changing->count == 2 * count ? 0 : PROA_EINVAL;
}

static int compare(const void *a, const void *b)
{
    double one = *(const double *)a, other = *(const double *)b;

    return (one > other) - (one < other);
}

static void print_times(const struct changing *changing, const char *name, bool of_twins, char after)
{
    double *took = calloc(changing->count, sizeof *took);
    size_t count = 0;

    for (size_t i = 0; took && i < changing->count; i++)
        if (changing->changes[i].is_twin == of_twins)
            took[count++] = changing->changes[i].took * 1000;
    if (took && count > 0) {
        qsort(took, count, sizeof *took, compare);
        printf("\"%s\":{\"count\":%zu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}%c", name, count, took[count / 2],
               took[count * 99 / 100], took[count - 1], after);
    }
    free(took);
}

/* Each change at its time, whether the one before was followed or not. */
static int send_changes(struct changing *changing, struct proa_group *group, double per_second)
{
    struct proa_loop *loop = changing->bench->loop;
    proa_mono_ns first = proa_loop_now_exact(loop);

    for (size_t i = 0; i < changing->count; i++) {
        proa_mono_ns due = first + (proa_mono_ns)((double)i / per_second * 1e9), now = proa_loop_now_exact(loop);

        if (due > now)
            PROA_TRY(proa_sleep(loop, due - now));
        PROA_TRY(proa_group_start(group, NULL, send_change, &changing->changes[i]));
    }
    return 0;
}

static int change_all(struct changing *changing, double per_second)
{
    struct proa_loop *loop = changing->bench->loop;
    struct proa_deadline_scope scope;
    struct proa_group group;
    int rc;

    proa_event_init(&changing->synced, loop);
    proa_event_init(&changing->all_followed, loop);
    proa_group_init(&group, loop);
    PROA_TRY(proa_group_start(&group, NULL, watch_changed, changing));
    PROA_TRY(proa_event_wait(&changing->synced));
    rc = send_changes(changing, &group, per_second);
    scope = proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_SECONDS(FOLLOW_S));
    if (rc == 0)
        rc = proa_event_wait(&changing->all_followed);
    proa_deadline_leave(&scope);
    proa_group_cancel(&group, PROA_ECANCELED);
    proa_ignore(proa_group_wait(&group)); /* cancelled */
    if (rc == 0)
        return 0;
    fprintf(stderr, "kube_load: %zu of %zu changes were followed\n", changing->followed, changing->count);
    return rc;
}

static int run_change(struct bench *bench)
{
    struct changing changing = {.bench = bench};
    uint64_t count, per_second;
    int rc;

    if (bench->count < 2 || proa_str_to_u64(proa_str_c(bench->arguments[0]), &count) < 0 || count == 0 ||
        proa_str_to_u64(proa_str_c(bench->arguments[1]), &per_second) < 0 || per_second == 0)
        return PROA_EINVAL;
    proa_arena_init(&changing.arena, NULL, 0);
    rc = read_changes(&changing, count);
    if (rc == 0)
        rc = change_all(&changing, (double)per_second);
    if (rc == 0) {
        putchar('{');
        print_times(&changing, "databases", false, ',');
        print_times(&changing, "twins", true, '}');
        putchar('\n');
    }
    proa_map_free(changing.by_name);
    free(changing.changes);
    proa_arena_done(&changing.arena);
    return rc;
}

/* -- main ------------------------------------------------------------------------------------------------------------ */

static int (*command_of(const char *name))(struct bench *bench)
{
    static const struct {
        const char *name;
        int (*run)(struct bench *bench);
    } commands[] = {{"send", run_send}, {"answer", run_answer}, {"await", run_await}, {"change", run_change}};

    for (size_t i = 0; i < PROA_COUNT(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run;
    return NULL;
}

static int body(void *arg)
{
    struct bench *bench = arg;
    int (*run)(struct bench * bench) = command_of(bench->arguments[0]);
    struct proa_error err = {0};
    int rc;

    bench->arguments++;
    bench->count--;
    if (bench->count > 1 && strcmp(bench->arguments[0], "--in-flight") == 0) {
        bench->in_flight = (uint32_t)strtoul(bench->arguments[1], NULL, 10);
        bench->arguments += 2;
        bench->count -= 2;
    }
    rc = proa_kube_config_load(bench->loop, &(struct proa_kube_config_options){.env = environ}, &bench->config, &err);
    if (rc == 0)
        rc = proa_kube_new(&(struct proa_kube_options){.loop = bench->loop,
                                                       .config = bench->config,
                                                       .user_agent = "kube_load",
                                                       .requests_in_flight = bench->in_flight},
                           &bench->kube, &err);
    bench->rc = rc < 0 ? complain("configuration", &err) : run(bench);
    proa_kube_free(bench->kube);
    proa_kube_config_free(bench->config);
    return 0;
}

int main(int argc, char **argv)
{
    struct bench bench = {.arguments = argv + 1, .count = argc - 1, .in_flight = IN_FLIGHT};

    if (argc < 2 || !command_of(argv[1])) {
        fputs("Usage: kube_load send | answer | await | change; the head of its source says what they do\n", stderr);
        return 2;
    }
    if (proa_loop_new(NULL, &bench.loop) < 0 || proa_loop_start_fiber(bench.loop, NULL, body, &bench) < 0 ||
        proa_loop_run(bench.loop) < 0)
        return 1;
    proa_loop_free(bench.loop);
    return bench.rc < 0;
}
