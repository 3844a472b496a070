/* A project elsewhere that links a driver: -DURL, -DDRIVER and -DEXPECTED (what asking the database gives). */
#include <proa/db.h>
#include <proa/fiber.h>
#include <proa/pg.h>
#include <proa/sqlite.h>
#include <stdio.h>

static int ask(void *arg)
{
    static const struct proa_db_driver *const drivers[] = {&DRIVER, NULL};
    struct proa_loop *loop = arg;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) =
        proa_deadline_enter(loop, proa_loop_now(loop) + PROA_SECONDS(3));
    struct proa_error err = {0};
    struct proa_db *db;
    int rc;

    proa_arena_init(&arena, proa_loop_blocks(loop), 0);
    PROA_TRY(proa_db_open(&(struct proa_db_options){.url = URL, .drivers = drivers, .loop = loop}, &db, &err));
    rc = proa_db_ping(proa_sql(db, loop, &arena, &err));
    proa_db_close(db);
    if (rc != EXPECTED)
        printf("expected %s, not %s: %s\n", proa_code_name(EXPECTED), proa_code_name(rc), err.message);
    return rc == EXPECTED ? 0 : PROA_EINTERNAL;
}

static int result;

static int keep_result(void *arg)
{
    return result = ask(arg);
}

int main(void)
{
    struct proa_loop *loop;

    if (proa_loop_new(NULL, &loop) < 0 || proa_loop_start_fiber(loop, NULL, keep_result, loop) < 0 ||
        proa_loop_run(loop) < 0)
        return 1;
    proa_loop_free(loop);
    return result < 0;
}
