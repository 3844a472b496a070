/* Certificates in files that are replaced while the program runs, as cert-manager and the kubelet do. */
#include "../tls/tls_server.h"

#include "kube/client_internal.h"

#include <proa/fiber.h>
#include <proa/file.h>
#include <proa/sim.h>
#include <stdlib.h>

struct rig {
    struct proa_sim *sim;
    struct proa_loop *loop;
    struct proa_error err;
    char folder[64];
    struct proa_kube_config config;
    struct proa_kube *kube;
};

static void put(struct rig *rig, const char *name, const char *text)
{
    char path[100];

    snprintf(path, sizeof path, "%s/%s", rig->folder, name);
    assert_int_equal(proa_file_write(rig->loop, path, proa_str_c(text), 0600, &rig->err), 0);
}

static struct proa_client *client_of(struct rig *rig)
{
    struct proa_client *client = NULL;

    proa_error_clear(&rig->err);
    if (kube_transport_get(rig->kube, false, &client, &rig->err) < 0)
        fail_msg("%s", rig->err.message);
    return client;
}

static void pass(struct rig *rig, uint32_t seconds)
{
    assert_int_equal(proa_sleep(rig->loop, PROA_SECONDS(seconds)), 0);
}

static void replacing(struct rig *rig)
{
    const struct proa_client *first = client_of(rig), *second, *third;
    struct identity authority, own;

    /* Nothing has changed. */
    pass(rig, 31);
    assert_ptr_equal(client_of(rig), first);
    /* Half of a pair that belongs together: what is held may still do. */
    identity_make(&own, "robot", NULL, "DNS:robot", 86400);
    put(rig, "tls.crt", own.pem);
    assert_ptr_equal(client_of(rig), first);
    pass(rig, 31);
    assert_ptr_equal(client_of(rig), first);
    put(rig, "tls.key", own.key_pem);
    pass(rig, 2);
    second = client_of(rig);
    assert_ptr_not_equal(second, first);
    assert_ptr_equal(client_of(rig), second);
    /* An authority, asked for at once after a handshake that failed. */
    identity_make(&authority, "authority", NULL, NULL, 86400);
    put(rig, "ca.crt", authority.pem);
    assert_ptr_equal(client_of(rig), second);
    kube_transport_recheck(rig->kube);
    third = client_of(rig);
    assert_ptr_not_equal(third, second);
    pass(rig, 31);
    assert_ptr_equal(client_of(rig), third);
    identity_done(&authority);
    identity_done(&own);
}

static int body(void *arg)
{
    struct rig *rig = arg;
    struct identity authority, own;
    char paths[3][100];

    identity_make(&authority, "authority", NULL, NULL, 86400);
    identity_make(&own, "robot", &authority, "DNS:robot", 86400);
    put(rig, "ca.crt", authority.pem);
    put(rig, "tls.crt", own.pem);
    put(rig, "tls.key", own.key_pem);
    identity_done(&authority);
    identity_done(&own);
    snprintf(paths[0], sizeof paths[0], "%s/ca.crt", rig->folder);
    snprintf(paths[1], sizeof paths[1], "%s/tls.crt", rig->folder);
    snprintf(paths[2], sizeof paths[2], "%s/tls.key", rig->folder);
    rig->config = (struct proa_kube_config){.source = "test",
                                            .server = "https://10.0.0.1:6443",
                                            .ca_file = paths[0],
                                            .cert_file = paths[1],
                                            .key_file = paths[2]};
    assert_int_equal(
        proa_kube_new(&(struct proa_kube_options){.loop = rig->loop, .config = &rig->config}, &rig->kube, NULL), 0);
    replacing(rig);
    proa_kube_free(rig->kube);
    return 0;
}

static void certificates_are_read_again_when_they_change(void **state)
{
    struct rig rig = {.folder = "/tmp/proa-transport-XXXXXX"};
    char command[100];

    (void)state;
    assert_non_null(mkdtemp(rig.folder));
    assert_int_equal(proa_sim_new(&(struct proa_sim_options){.seed = 1}, &rig.sim), 0);
    rig.loop = proa_sim_loop(rig.sim);
    assert_int_equal(proa_loop_start_fiber(rig.loop, NULL, body, &rig), 0);
    assert_int_equal(proa_loop_run(rig.loop), 0);
    proa_sim_free(rig.sim);
    snprintf(command, sizeof command, "rm -r %s", rig.folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_are_read_again_when_they_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
