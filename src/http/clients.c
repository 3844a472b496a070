/* A client on each loop of a program. They share nothing; only their end is brought together. */
#include <assert.h>
#include <proa/client.h>
#include <proa/fiber.h>
#include <proa/loops.h>
#include <stdlib.h>

enum { CLOSE_WAIT_S = 60 };

struct part {
    struct proa_clients *clients;
    struct proa_loop *loop;
    struct proa_client *client;
    struct proa_task close;  /* runs on its loop */
    struct proa_task closed; /* and then on loop 0 */
};

struct proa_clients {
    uint32_t count, open;
    struct proa_waiter *closer; /* the fiber that waits for `open` to become 0 */
    struct part parts[];        /* by the loops' index */
};

static void part_closed(struct proa_task *task)
{
    struct proa_clients *clients = PROA_CONTAINER(task, struct part, closed)->clients;

    if (--clients->open == 0 && clients->closer)
        proa_unpark(clients->closer, 0);
}

static void part_close(struct proa_task *task)
{
    struct part *part = PROA_CONTAINER(task, struct part, close);

    proa_client_free(part->client);
    part->client = NULL;
    proa_loop_post(part->clients->parts[0].loop, &part->closed);
}

int proa_clients_new(struct proa_loops *loops, const struct proa_client_options *options,
                     struct proa_clients **ret_clients, struct proa_error *err)
{
    uint32_t count = proa_loops_count(loops);
    struct proa_clients *clients = calloc(1, sizeof *clients + count * sizeof clients->parts[0]);
    struct proa_client_options own = *options;
    int rc = 0;

    if (!clients)
        return proa_fail(err, PROA_ENOMEM, "no memory for clients");
    clients->count = count;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        struct part *part = &clients->parts[i];

        *part = (struct part){.clients = clients,
                              .loop = proa_loops_at(loops, i),
                              .close = {.run = part_close},
                              .closed = {.run = part_closed}};
        own.loop = part->loop;
        rc = proa_client_new(&own, &part->client, err);
    }
    if (rc < 0) {
        /* None has been used: nothing of them is on its loop yet. */
        for (uint32_t i = 0; i < count; i++)
            proa_client_free(clients->parts[i].client);
        free(clients);
        return rc;
    }
    *ret_clients = clients;
    return 0;
}

struct proa_client *proa_clients_at(const struct proa_clients *clients, const struct proa_loop *loop)
{
    uint32_t index = proa_loop_index(loop);

    assert(index < clients->count && clients->parts[index].loop == loop);
    return clients->parts[index].client;
}

void proa_clients_free(struct proa_clients *clients)
{
    struct proa_loop *loop;

    if (!clients)
        return;
    loop = clients->parts[0].loop;
    clients->open = clients->count;
    for (uint32_t i = 0; i < clients->count; i++)
        proa_loop_post(clients->parts[i].loop, &clients->parts[i].close);
    while (clients->open > 0) {
        struct proa_shield_scope shield PROA_CLEANUP(proa_shield_leave) =
            proa_shield_enter(loop, PROA_SECONDS(CLOSE_WAIT_S));
        struct proa_waiter waiter;

        proa_waiter_init(&waiter, loop);
        clients->closer = &waiter;
        proa_ignore(proa_park(&waiter)); /* a loop that is held up will come to it */
        clients->closer = NULL;
    }
    free(clients);
}
