/* What the users service's struct costs as JSON, in nanoseconds and bytes: reading a request's body (into a pooled arena, as
 * the server has it), validating, writing the answer. Prints one line a figure. */
#include <proa/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TURNS = 1000000, ROUNDS = 5 };

struct user {
    uint64_t id;
    proa_str name;
    proa_str email;
};
PROA_DESCRIBE(user, (id, u64, .read_only = true), (name, str, .min_len = 1, .max_len = 100),
              (email, str, .min_len = 3, .max_len = 254, .format = PROA_FORMAT_EMAIL));

struct coded {
    proa_str name;
};
PROA_DESCRIBE(coded, (name, str, .pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"));

struct query {
    uint32_t limit;
    PROA_OPTIONAL(proa_str) cursor;
};
PROA_DESCRIBE(query, (limit, u32, PROA_RANGE(1, 100), .default_json = "20"), (cursor, optional(str), .max_len = 64));

static const struct user ada = {42, PROA_STR_INIT("Ada Lovelace"), PROA_STR_INIT("ada@example.org")};
static const proa_str body = PROA_STR_INIT("{\"name\":\"Ada Lovelace\",\"email\":\"ada@example.org\"}");

struct work {
    struct proa_arena arena;
    struct proa_buf out;
    size_t bytes;
};

static void read_user(struct work *work)
{
    struct user user;

    if (proa_json_read(&work->arena, body, PROA_JSON_INPUT, &user_type, &user, NULL) < 0)
        abort();
    work->bytes = body.len;
}

static void write_user(struct work *work)
{
    work->out.len = 0;
    if (proa_json_write(&work->out, PROA_JSON_OUTPUT, &user_type, &ada) < 0)
        abort();
    work->bytes = work->out.len;
}

static void validate_user(struct work *work)
{
    if (proa_validate(&user_type, &ada, NULL) < 0)
        abort();
}

static void match_pattern(struct work *work)
{
    static const struct coded coded = {PROA_STR_INIT("database-operator-7f9c-x2x4z")};

    if (proa_validate(&coded_type, &coded, NULL) < 0)
        abort();
    work->bytes = coded.name.len;
}

static void read_query(struct work *work)
{
    struct query query;

    if (proa_type_defaults(&work->arena, &query_type.type, &query, NULL) < 0 ||
        proa_field_from_text(&work->arena, &query_type.type.fields[0], PROA_STR("50"), PROA_STR("/query/limit"), &query,
                             NULL) < 0)
        abort();
}

static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void measure(const char *name, void (*run)(struct work *work))
{
    struct proa_block_pool pool;
    struct work work = {0};
    double best = 1e18;
    size_t used = 0;

    proa_block_pool_init(&pool, 0, 4);
    for (int round = 0; round < ROUNDS; round++) {
        double began = now_ns(), ns;

        for (int i = 0; i < TURNS / ROUNDS; i++) {
            proa_arena_init(&work.arena, &pool, 0);
            run(&work);
            used = work.arena.used_bytes ? work.arena.used_bytes - (size_t)(work.arena.end - work.arena.at) : 0;
            proa_arena_done(&work.arena);
        }
        ns = (now_ns() - began) * ROUNDS / TURNS;
        best = ns < best ? ns : best;
    }
    printf("%-16s %7.1f ns, %zu bytes of JSON, %zu bytes of the arena\n", name, best, work.bytes, used);
    proa_buf_done(&work.out);
    proa_block_pool_done(&pool);
}

int main(void)
{
    measure("read user", read_user);
    measure("write user", write_user);
    measure("validate user", validate_user);
    measure("match pattern", match_pattern);
    measure("read query", read_query);
    return 0;
}
