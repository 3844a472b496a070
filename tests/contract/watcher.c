/* Watches ConfigMaps of a namespace and prints a line an event, for tests/contract/outage. Usage: watcher NAMESPACE [--pages] */
#include <proa/fiber.h>
#include <proa/kube.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct watcher {
    struct proa_loop *loop;
    const char *namespace_;
    bool by_pages;
    int rc;
};

static int event(void *arg, const struct proa_kube_event *event)
{
    static const char *const names[] = {"", "ADDED", "MODIFIED", "DELETED", "BOOKMARK", "SYNCED", "RESTART"};
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct proa_kube_object object = {0};

    (void)arg;
    proa_arena_init(&arena, NULL, 0);
    if (event->json.len)
        PROA_TRY(proa_json_read(&arena, event->json, PROA_JSON_LENIENT, &proa_kube_object_type, &object, NULL));
    printf("%s %.*s\n", names[event->kind], PROA_ARG(object.metadata.name));
    return 0;
}

static int body(void *arg)
{
    struct watcher *watcher = arg;
    struct proa_kube_config *config = NULL;
    struct proa_kube *kube = NULL;
    struct proa_error err = {0};
    int rc = proa_kube_config_load(
        watcher->loop, &(struct proa_kube_config_options){.kubeconfig = getenv("KUBECONFIG")}, &config, &err);

    if (rc == 0)
        rc = proa_kube_new(&(struct proa_kube_options){.loop = watcher->loop, .config = config}, &kube, &err);
    if (rc == 0)
        rc = proa_kube_watch(kube, &proa_kube_config_maps,
                             &(struct proa_kube_watch_options){.namespace_ = proa_str_c(watcher->namespace_),
                                                               .no_streaming_list = watcher->by_pages,
                                                               .page = 2,
                                                               .event = event},
                             &err);
    printf("FAILED %s %s\n", proa_code_name(rc), err.message);
    proa_kube_free(kube);
    proa_kube_config_free(config);
    watcher->rc = rc;
    return 0;
}

int main(int argc, char **argv)
{
    struct watcher watcher = {.namespace_ = argc > 1 ? argv[1] : "default",
                              .by_pages = argc > 2 && strcmp(argv[2], "--pages") == 0};

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (proa_loop_new(NULL, &watcher.loop) < 0 || proa_loop_start_fiber(watcher.loop, NULL, body, &watcher) < 0 ||
        proa_loop_run(watcher.loop) < 0)
        return 1;
    proa_loop_free(watcher.loop);
    return watcher.rc < 0;
}
