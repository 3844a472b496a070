/* What runs on each loop, so that a database is freed only when nobody is in it any more: a request that was cut off at
 * the end of a drain may sit in a statement that cannot be ended, a write that waits for the disk say. Each loop counts
 * its own calls; closing goes to every loop, refuses what begins there, and waits for the last one to leave.
 *
 *      loop 0:     db_calls_end --post--> each loop
 *      each loop:  is_closing; without calls, or as the last one leaves: --post--> loop 0
 *      loop 0:     one less to wait for
 */
#include "db_internal.h"

#include <stdlib.h>

enum { CACHE_LINE = 64 };

struct db_part {
    _Alignas(CACHE_LINE) struct proa_db *db; /* each loop's on lines of its own */
    struct proa_loop *loop;
    uint32_t calls;
    bool is_closing;
    struct proa_task close; /* to its loop */
    struct proa_task quiet; /* back to loop 0 */
};

static void quiet(struct proa_task *task)
{
    struct proa_db *db = PROA_CONTAINER(task, struct db_part, quiet)->db;

    if (--db->open_parts == 0 && db->closer)
        proa_unpark(db->closer, 0);
}

static void close_part(struct proa_task *task)
{
    struct db_part *part = PROA_CONTAINER(task, struct db_part, close);

    part->is_closing = true;
    if (part->calls == 0)
        proa_loop_post(part->db->loops[0], &part->quiet);
}

int db_parts_new(struct proa_db *db)
{
    struct db_part *parts = aligned_alloc(CACHE_LINE, db->loops_count * sizeof *parts);

    if (!parts)
        return PROA_ENOMEM;
    for (uint32_t i = 0; i < db->loops_count; i++)
        parts[i] =
            (struct db_part){.db = db, .loop = db->loops[i], .close = {.run = close_part}, .quiet = {.run = quiet}};
    db->parts = parts;
    return 0;
}

void db_parts_free(struct proa_db *db)
{
    free(db->parts);
    db->parts = NULL;
}

static struct db_part *part_of(const struct proa_db *db, const struct proa_loop *loop)
{
    uint32_t guess = proa_loop_index(loop);

    if (guess < db->loops_count && db->parts[guess].loop == loop)
        return &db->parts[guess];
    for (uint32_t i = 0; i < db->loops_count; i++) {
        if (db->parts[i].loop == loop)
            return &db->parts[i];
    }
    return NULL;
}

int db_call_enter(struct proa_sql sql, struct db_part **ret_part)
{
    struct db_part *part = part_of(sql.db, sql.loop);

    if (!part)
        return proa_fail(sql.err, PROA_EINVAL, "the database was not opened for this loop");
    if (part->is_closing)
        return proa_fail(sql.err, PROA_EUNAVAILABLE, "the database is closed");
    part->calls++;
    *ret_part = part;
    return 0;
}

void db_call_leave(struct db_part *part)
{
    part->calls--;
    if (part->calls == 0 && part->is_closing)
        proa_loop_post(part->db->loops[0], &part->quiet);
}

void db_calls_end(struct proa_db *db)
{
    struct proa_loop *loop = db->loops[0];
    struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) = proa_shield_enter(loop, PROA_NEVER);

    /* Here at once: a single loop without calls needs no turn for it. */
    db->parts[0].is_closing = true;
    db->open_parts = db->loops_count - (db->parts[0].calls == 0);
    for (uint32_t i = 1; i < db->loops_count; i++)
        proa_loop_post(db->loops[i], &db->parts[i].close);
    while (db->open_parts) {
        struct proa_waiter waiter;

        proa_waiter_init(&waiter, loop);
        db->closer = &waiter;
        proa_ignore(proa_park(&waiter)); /* nothing else strikes in a shield without an end */
        db->closer = NULL;
    }
}
