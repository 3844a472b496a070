/* Reads that share one sync. With each sync the server ends a transaction and makes a system call, and libpq 15 makes
 * one with each sync that is sent: that costs both of them more than a small read itself. So reads that came together,
 * or while the connection had others under way, leave as
 *
 *      Bind Execute  Bind Execute  …  Sync         one write, one transaction, one answer
 *
 * and are answered together. Nobody notices, because
 *
 *      a call ends only when the sync's answer has come: what a read of it did is not lost afterwards;
 *      when one fails, all that ran before it is undone and all behind it does not run: the failing call gets its
 *      error, the others run again, each with a sync of its own, as if they had not run before;
 *      only plain reads share (pg_text_shares), or what the program marks so: they do not see that they are in one
 *      transaction;
 *      a group is as short as its reads are known to be, so that quick ones do not wait for slow ones.
 */
#include "pg_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum {
    LOOKED_MAX = 2 * PG_OUTSTANDING_MAX, /* of those that wait, for one group */
    GROUP_NS = 1000 * PG_GROUP_US,
};

/* -- Sending ----------------------------------------------------------------------------------------------------- */

/* Each way of a group takes a while: to a server that is far away more of them are on their way at once, so that a read
 * never waits long for others to be answered. */
void pg_group_measure(struct pg_conn *conn)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    uint32_t rtt_us = 0;

    if (conn->is_stream && getsockopt(PQsocket(conn->pq), IPPROTO_TCP, TCP_INFO, &info, &size) == 0)
        rtt_us = info.tcpi_rtt;
    conn->rtt_us = rtt_us;
    conn->groups_ahead = 1 + rtt_us / PG_SYNC_US;
    if (conn->groups_ahead > PG_GROUPS_AHEAD_MAX)
        conn->groups_ahead = PG_GROUPS_AHEAD_MAX;
}

bool pg_group_takes(const struct pg_loop *pl, const struct pg_call *call)
{
    const struct pg_known *known = call->known;
    enum proa_share share = call->sql.share;

    if (!known || !known->has_run || !(known->shares || share == PROA_SHARE_ALWAYS) || share == PROA_SHARE_NEVER ||
        call->is_apart || call->stale)
        return false;
    return !known->apart_until || proa_loop_now(pl->loop) >= known->apart_until;
}

/* @returns false when the connection is lost. */
static bool put(struct pg_conn *conn, struct pg_call *call, struct pg_prepared *prepared)
{
    int rc;

    pg_unqueue(call);
    rc = pg_put(conn, call, prepared);
    if (rc == PROA_EUNAVAILABLE) {
        pg_not_sent(conn, call);
        return false;
    }
    if (rc < 0)
        pg_call_finish(call, rc);
    else
        call->sent->is_sharing = true;
    return true;
}

/* Another one has to go for it, by a DEALLOCATE, which must not stand behind what may fail, nor be undone with it. */
static bool displaces(const struct pg_conn *conn, const struct pg_prepared *prepared)
{
    return !prepared && proa_map_count(conn->prepared) >= PG_PREPARED_MAX;
}

void pg_group_send(struct pg_conn *conn)
{
    struct pg_loop *pl = conn->pl;
    struct proa_list *node = pl->waiting.next;
    uint32_t before = conn->sent_count, looked = 0;
    bool is_full = false;
    uint64_t cost_ns = 0;
    size_t bytes = 0;

    while (!is_full && node != &pl->waiting && conn->sent_count < PG_OUTSTANDING_MAX && looked++ < LOOKED_MAX) {
        struct pg_call *call = PROA_CONTAINER(node, struct pg_call, node);
        struct pg_prepared *prepared;

        node = node->next;
        if (!pg_group_takes(pl, call))
            continue;
        prepared = pg_prepared_find(conn, call->statement->text);
        is_full = displaces(conn, prepared);
        if (cost_ns && (is_full || cost_ns + call->known->cost_ns > GROUP_NS))
            break;
        cost_ns += call->known->cost_ns + 1;
        if (!put(conn, call, prepared))
            return;
        bytes += pl->values_bytes;
        is_full = is_full || bytes >= PG_GROUP_BYTES;
    }
    if (conn->sent_count > before)
        pg_sync(conn);
}

/* -- Answered ---------------------------------------------------------------------------------------------------- */

/* What a read of the group took the server. The least that was seen counts, since whatever else the machines had to do
 * is measured with it; it is forgotten slowly. */
static void note_cost(struct pg_known *known, uint64_t ns)
{
    uint64_t more = known->cost_ns + known->cost_ns / 8 + 1;

    known->cost_ns = !known->has_run || ns < more ? ns : more;
    known->has_run = true;
}

static struct pg_sent *sent_of(struct proa_list *node)
{
    return PROA_CONTAINER(node, struct pg_sent, node);
}

static void note_costs(struct pg_conn *conn, struct pg_sent *last, proa_mono_ns now)
{
    uint64_t ns = now - conn->busy_since, way = 1000 * ((uint64_t)conn->rtt_us + PG_SYNC_US);
    uint32_t count = 1;

    for (struct proa_list *node = conn->sent.next; node != &last->node; node = node->next)
        count++;
    ns = ns > way ? (ns - way) / count : 0;
    for (struct proa_list *node = conn->sent.next;; node = node->next) {
        if (sent_of(node)->known)
            note_cost(sent_of(node)->known, ns);
        if (node == &last->node)
            break;
    }
}

/* Its prepared statement was gone or out of date, and nothing ran: once more, with a new one. */
static bool is_to_be_prepared_anew(struct pg_conn *conn, struct pg_sent *sent)
{
    if (!sent->is_stale)
        return false;
    if (sent->prepared)
        pg_prepared_forget(conn, sent->prepared);
    /* a transaction has failed with it */
    return sent->call && !sent->call->is_in_tx && sent->call->stale < PG_STALE_MAX;
}

/* Whether a statement that was answered runs again: nothing is left of its run. */
static bool runs_again(struct pg_conn *conn, struct pg_sent *sent, bool is_group)
{
    struct pg_call *call = sent->call;

    if (is_to_be_prepared_anew(conn, sent)) {
        call->stale++;
        return true;
    }
    if (!is_group || !conn->is_undone)
        return false;
    if (sent->is_failed && !sent->is_conflict) {
        if (sent->known)
            sent->known->apart_until = proa_loop_now(conn->pl->loop) + PROA_MS(PG_APART_MS);
        return false;
    }
    if (call)
        call->is_apart = true;
    return call;
}

static void finish(struct pg_sent *sent)
{
    struct pg_call *call = sent->call;

    if (!call)
        return;
    if (sent->is_stale && call->is_in_tx) {
        call->may_retry = true;
        call->rc = proa_fail(call->sql.err, PROA_ECONFLICT,
                             "PostgreSQL: the schema was changed; the transaction must be run again");
    }
    pg_call_finish(call, call->rc);
}

void pg_group_answered(struct pg_conn *conn)
{
    struct pg_loop *pl = conn->pl;
    struct pg_sent *first = sent_of(conn->sent.next), *last = first;
    proa_mono_ns now = proa_loop_now_exact(pl->loop);
    bool is_last = false;

    while (!last->is_last)
        last = sent_of(last->node.next);
    if (!conn->is_undone)
        note_costs(conn, last, now);
    conn->busy_since = now;
    conn->progress_at = proa_loop_now(pl->loop);
    /* Backwards, since each goes in front of those that wait: they stay in their order. */
    for (struct proa_list *node = &last->node; node != &conn->sent; node = node->prev) {
        struct pg_sent *sent = sent_of(node);

        if (runs_again(conn, sent, first != last)) {
            struct pg_call *call = sent->call;

            pg_sent_leave(conn, sent);
            pg_call_again(call);
        }
    }
    conn->groups--;
    conn->is_undone = false;
    while (!is_last) {
        struct pg_sent *sent = sent_of(conn->sent.next);

        is_last = sent->is_last;
        finish(sent);
        pg_sent_remove(conn, sent);
    }
    conn->due = proa_list_empty(&conn->sent) ? NULL : sent_of(conn->sent.next);
    if (conn->kind == DB_OWN)
        pg_own_settled(conn);
    if (pl->waiting_count)
        proa_loop_flush_later(pl->loop, &pl->flush);
}
