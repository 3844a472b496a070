/* The objects that a Database owns, as JSON in the form in which the API server keeps them: defaults are written where a list is
 * replaced as a whole, quantities as it prints them. Then a restarted operator sees that nothing differs, and sends nothing. */
#include "plan.h"

#include <proa/json.h>

typedef struct proa_json_writer writer;

/* -- Writing --------------------------------------------------------------------------------------------------------- */

static void text(writer *w, const char *key, proa_str value)
{
    proa_json_key(w, proa_str_c(key));
    proa_json_text(w, value);
}

static void text_c(writer *w, const char *key, const char *value)
{
    text(w, key, proa_str_c(value));
}

static void number(writer *w, const char *key, int64_t value)
{
    proa_json_key(w, proa_str_c(key));
    proa_json_i64(w, value);
}

static void boolean(writer *w, const char *key, bool value)
{
    proa_json_key(w, proa_str_c(key));
    proa_json_bool(w, value);
}

static void object(writer *w, const char *key)
{
    if (key)
        proa_json_key(w, proa_str_c(key));
    proa_json_object(w);
}

static void array(writer *w, const char *key)
{
    proa_json_key(w, proa_str_c(key));
    proa_json_array(w);
}

static void end(writer *w)
{
    proa_json_object_end(w);
}

static void end_array(writer *w)
{
    proa_json_array_end(w);
}

static void texts(writer *w, const char *key, const char *const *values)
{
    array(w, key);
    for (; *values; values++)
        proa_json_text(w, proa_str_c(*values));
    end_array(w);
}

/* -- What they have in common ---------------------------------------------------------------------------------------- */

static proa_str name_with(const struct plan_input *in, const char *suffix)
{
    return proa_arena_printf(in->arena, PROA_FMT "%s", PROA_ARG(in->database->metadata.name), suffix);
}

static void selector_members(writer *w, const struct plan_input *in)
{
    text(w, LABEL_INSTANCE, in->database->metadata.name);
    text_c(w, LABEL_MANAGED_BY, OPERATOR_NAME);
}

/* @param component NULL: none */
static void labels(writer *w, const struct plan_input *in, const char *component)
{
    object(w, "labels");
    if (component)
        text_c(w, LABEL_COMPONENT, component);
    selector_members(w, in);
    text_c(w, LABEL_NAME, in->engine->name);
    end(w);
}

static void metadata(writer *w, const struct plan_input *in, const char *component)
{
    object(w, "metadata");
    labels(w, in, component);
    end(w);
}

static void match_labels(writer *w, const char *key, const struct plan_input *in)
{
    object(w, key);
    object(w, "matchLabels");
    selector_members(w, in);
    end(w);
    end(w);
}

struct draft {
    struct proa_buf buf;
    writer w;
};

static writer *begin(const struct plan_input *in, struct draft *draft)
{
    proa_buf_init(&draft->buf, in->arena, 0);
    proa_json_writer_init(&draft->w, &draft->buf);
    proa_json_object(&draft->w);
    return &draft->w;
}

static int add(struct plan *plan, struct draft *draft, const struct proa_kube_kind *kind, proa_str name)
{
    proa_json_object_end(&draft->w);
    if (draft->buf.error < 0 || !name.ptr)
        return PROA_ENOMEM;
    plan->objects[plan->objects_count++] =
        (struct plan_object){.kind = kind, .name = name, .body = proa_buf_str(&draft->buf), .is_owned = true};
    return 0;
}

/* -- Identity of the instances --------------------------------------------------------------------------------------- */

static int service_account(const struct plan_input *in, struct plan *plan)
{
    struct draft draft;
    writer *w = begin(in, &draft);

    metadata(w, in, NULL);
    return add(plan, &draft, &proa_kube_service_accounts, name_with(in, "-agent"));
}

/* The agent reads its own Database, and nothing else. */
static int role(const struct plan_input *in, struct plan *plan)
{
    static const char *const groups[] = {"database.example.com", NULL}, *const resources[] = {"databases", NULL},
                             *const verbs[] = {"get", "list", "watch", NULL};
    struct draft draft;
    writer *w = begin(in, &draft);

    metadata(w, in, NULL);
    array(w, "rules");
    object(w, NULL);
    texts(w, "apiGroups", groups);
    array(w, "resourceNames");
    proa_json_text(w, in->database->metadata.name);
    end_array(w);
    texts(w, "resources", resources);
    texts(w, "verbs", verbs);
    end(w);
    end_array(w);
    return add(plan, &draft, &proa_kube_roles, name_with(in, "-agent"));
}

static int role_binding(const struct plan_input *in, struct plan *plan)
{
    struct draft draft;
    writer *w = begin(in, &draft);
    proa_str name = name_with(in, "-agent");

    metadata(w, in, NULL);
    object(w, "roleRef");
    text_c(w, "apiGroup", "rbac.authorization.k8s.io");
    text_c(w, "kind", "Role");
    text(w, "name", name);
    end(w);
    array(w, "subjects");
    object(w, NULL);
    text_c(w, "kind", "ServiceAccount");
    text(w, "name", name);
    text(w, "namespace", in->database->metadata.namespace_);
    end(w);
    end_array(w);
    return add(plan, &draft, &proa_kube_role_bindings, name);
}

/* -- Secret and configuration ---------------------------------------------------------------------------------------- */

static void base64(writer *w, const struct plan_input *in, const char *key, proa_str value)
{
    struct proa_buf out;

    proa_buf_init(&out, in->arena, 0);
    proa_base64_encode(&out, value);
    if (out.error < 0)
        w->out->error = out.error;
    text(w, key, proa_buf_str(&out));
}

/* A value that is there and can be used is kept: a person may have changed a password. */
static void credential(writer *w, const struct plan_input *in, const char *key, proa_str is, proa_str fresh)
{
    base64(w, in, key, in->facts->has_secret && credential_is_good(is) ? is : fresh);
}

static int secret(const struct plan_input *in, struct plan *plan, bool is_owned)
{
    const struct secret_data *is = &in->facts->secret, *fresh = &in->facts->fresh;
    struct draft draft;
    writer *w = begin(in, &draft);

    metadata(w, in, NULL);
    object(w, "data");
    credential(w, in, "agentToken", is->agent_token, fresh->agent_token);
    credential(w, in, "password", is->password, fresh->password);
    credential(w, in, "replicationPassword", is->replication_password, fresh->replication_password);
    base64(w, in, "username", PROA_STR(DATABASE_USER));
    end(w);
    PROA_TRY(add(plan, &draft, &proa_kube_secrets, plan_secret_name(in->arena, in->database->metadata.name)));
    plan->objects[plan->objects_count - 1].is_owned = is_owned;
    plan->objects[plan->objects_count - 1].may_stay = true;
    plan->objects[plan->objects_count - 1].adopt = in->facts->has_secret;
    return 0;
}

static int config_map(const struct plan_input *in, struct plan *plan)
{
    struct draft draft;
    struct proa_buf out;
    writer *w = begin(in, &draft);

    metadata(w, in, NULL);
    proa_buf_init(&out, in->arena, 0);
    PROA_TRY(engine_write_config(&out, in->engine, in->database->metadata.name, &in->database->spec));
    object(w, "data");
    text(w, DATABASE_CONFIG_FILE, proa_buf_str(&out));
    end(w);
    return add(plan, &draft, &proa_kube_config_maps, name_with(in, "-config"));
}

/* -- Services -------------------------------------------------------------------------------------------------------- */

static void service_port(writer *w, const char *name, uint16_t port)
{
    object(w, NULL);
    text_c(w, "name", name);
    number(w, "port", port);
    text_c(w, "protocol", "TCP");
    end(w);
}

static int headless(const struct plan_input *in, struct plan *plan)
{
    struct draft draft;
    writer *w = begin(in, &draft);

    metadata(w, in, "instances");
    object(w, "spec");
    text_c(w, "clusterIP", "None");
    array(w, "ports");
    service_port(w, in->engine->port_name, in->engine->port);
    service_port(w, "agent", AGENT_PORT);
    end_array(w);
    /* A standby finds its primary before that is ready. */
    boolean(w, "publishNotReadyAddresses", true);
    object(w, "selector");
    selector_members(w, in);
    end(w);
    end(w);
    return add(plan, &draft, &proa_kube_services, name_with(in, "-headless"));
}

/* For clients: the database's port of the instances that have the label too, if there is one. */
static int client_service(const struct plan_input *in, struct plan *plan, const char *component, const char *suffix,
                          const char *label, proa_str value)
{
    struct draft draft;
    writer *w = begin(in, &draft);

    metadata(w, in, component);
    object(w, "spec");
    array(w, "ports");
    service_port(w, in->engine->port_name, in->engine->port);
    end_array(w);
    object(w, "selector");
    selector_members(w, in);
    if (label)
        text(w, label, value);
    end(w);
    end(w);
    return add(plan, &draft, &proa_kube_services, name_with(in, suffix));
}

/* The name's label is the StatefulSet controller's, so that a new pod of the primary is found without this operator. */
static int service_rw(const struct plan_input *in, struct plan *plan)
{
    return client_service(in, plan, "read-write", "-rw", "statefulset.kubernetes.io/pod-name", plan->primary);
}

/* Standbys; of a Database of one instance that one, which clients need not know. */
static int service_ro(const struct plan_input *in, struct plan *plan)
{
    return client_service(in, plan, "read-only", "-ro", plan->replicas > 1 ? LABEL_ROLE : NULL, PROA_STR("replica"));
}

/* -- Disruptions and network ----------------------------------------------------------------------------------------- */

static int disruption_budget(const struct plan_input *in, struct plan *plan)
{
    struct draft draft;
    writer *w = begin(in, &draft);

    metadata(w, in, NULL);
    object(w, "spec");
    number(w, "maxUnavailable", 1);
    match_labels(w, "selector", in);
    end(w);
    return add(plan, &draft, &proa_kube_disruption_budgets, in->database->metadata.name);
}

static void policy_port(writer *w, uint16_t port)
{
    array(w, "ports");
    object(w, NULL);
    number(w, "port", port);
    text_c(w, "protocol", "TCP");
    end(w);
    end_array(w);
}

static void from_namespace(writer *w, proa_str namespace_, const char *pod_name)
{
    object(w, NULL);
    object(w, "namespaceSelector");
    object(w, "matchLabels");
    text(w, "kubernetes.io/metadata.name", namespace_);
    end(w);
    end(w);
    if (pod_name) {
        object(w, "podSelector");
        object(w, "matchLabels");
        text_c(w, LABEL_NAME, pod_name);
        end(w);
        end(w);
    }
    end(w);
}

static int network_policy(const struct plan_input *in, struct plan *plan)
{
    static const char *const types[] = {"Ingress", NULL};
    const struct plan_settings *settings = in->settings;
    struct draft draft;
    writer *w = begin(in, &draft);

    metadata(w, in, NULL);
    object(w, "spec");
    array(w, "ingress");
    object(w, NULL);
    policy_port(w, in->engine->port);
    end(w);
    object(w, NULL);
    array(w, "from");
    object(w, NULL);
    match_labels(w, "podSelector", in);
    end(w);
    if (settings->operator_namespace.len > 0)
        from_namespace(w, settings->operator_namespace, OPERATOR_NAME);
    if (settings->monitoring_namespace.len > 0)
        from_namespace(w, settings->monitoring_namespace, NULL);
    end_array(w);
    policy_port(w, AGENT_PORT);
    end(w);
    end_array(w);
    match_labels(w, "podSelector", in);
    texts(w, "policyTypes", types);
    end(w);
    return add(plan, &draft, &proa_kube_network_policies, in->database->metadata.name);
}

static int service_monitor(const struct plan_input *in, struct plan *plan)
{
    struct draft draft;
    writer *w = begin(in, &draft);

    metadata(w, in, NULL);
    object(w, "spec");
    array(w, "endpoints");
    object(w, NULL);
    text_c(w, "path", "/metrics");
    text_c(w, "port", "agent");
    end(w);
    end_array(w);
    object(w, "selector");
    object(w, "matchLabels");
    text_c(w, LABEL_COMPONENT, "instances");
    selector_members(w, in);
    end(w);
    end(w);
    end(w);
    return add(plan, &draft, &service_monitor_kind, in->database->metadata.name);
}

/* -- StatefulSet ----------------------------------------------------------------------------------------------------- */

static proa_str image(const struct plan_input *in)
{
    static const char mark[] = "{version}";
    proa_str pattern = in->settings->images[in->engine->id];
    ptrdiff_t at;

    if (in->database->spec.image.len > 0)
        return in->database->spec.image;
    if (pattern.len == 0)
        pattern = proa_str_c(in->engine->image);
    at = proa_str_find(pattern, proa_str_c(mark));
    if (at < 0)
        return pattern;
    return proa_arena_printf(in->arena, PROA_FMT PROA_FMT PROA_FMT, PROA_ARG(proa_str_slice(pattern, 0, (size_t)at)),
                             PROA_ARG(in->database->spec.version),
                             PROA_ARG(proa_str_slice(pattern, (size_t)at + sizeof mark - 1, pattern.len)));
}

/* Pod Security "restricted", and a root file system that nobody writes to. */
static void container_security(writer *w)
{
    static const char *const all[] = {"ALL", NULL};

    object(w, "securityContext");
    boolean(w, "allowPrivilegeEscalation", false);
    object(w, "capabilities");
    texts(w, "drop", all);
    end(w);
    boolean(w, "readOnlyRootFilesystem", true);
    end(w);
}

static void pod_security(writer *w, int64_t uid)
{
    object(w, "securityContext");
    number(w, "fsGroup", uid);
    text_c(w, "fsGroupChangePolicy", "OnRootMismatch");
    number(w, "runAsGroup", uid);
    boolean(w, "runAsNonRoot", true);
    number(w, "runAsUser", uid);
    object(w, "seccompProfile");
    text_c(w, "type", "RuntimeDefault");
    end(w);
    end(w);
}

static void env(writer *w, const char *name, proa_str value)
{
    object(w, NULL);
    text_c(w, "name", name);
    text(w, "value", value);
    end(w);
}

static void env_of_pod(writer *w, const char *name, const char *path)
{
    object(w, NULL);
    text_c(w, "name", name);
    object(w, "valueFrom");
    object(w, "fieldRef");
    text_c(w, "apiVersion", "v1");
    text_c(w, "fieldPath", path);
    end(w);
    end(w);
    end(w);
}

static void mount(writer *w, const char *name, const char *path, bool is_read_only)
{
    object(w, NULL);
    text_c(w, "mountPath", path);
    text_c(w, "name", name);
    if (is_read_only)
        boolean(w, "readOnly", true);
    end(w);
}

static void probe(writer *w, const char *key, const char *path, int64_t period_s, int64_t failures)
{
    object(w, key);
    number(w, "failureThreshold", failures);
    object(w, "httpGet");
    text_c(w, "path", path);
    number(w, "port", AGENT_PORT);
    end(w);
    number(w, "periodSeconds", period_s);
    number(w, "timeoutSeconds", 5);
    end(w);
}

static void resources(writer *w, const struct plan_input *in)
{
    const struct database_resources *r = &in->database->spec.resources;

    if (r->requests.len == 0 && r->limits.len == 0)
        return;
    object(w, "resources");
    if (r->limits.len > 0) {
        object(w, "limits");
        for (size_t i = 0; i < r->limits.len; i++) {
            proa_json_key(w, r->limits.ptr[i].key);
            proa_json_text(w, quantity_canonical(in->arena, r->limits.ptr[i].value));
        }
        end(w);
    }
    if (r->requests.len > 0) {
        object(w, "requests");
        for (size_t i = 0; i < r->requests.len; i++) {
            proa_json_key(w, r->requests.ptr[i].key);
            proa_json_text(w, quantity_canonical(in->arena, r->requests.ptr[i].value));
        }
        end(w);
    }
    end(w);
}

static void instance_container(writer *w, const struct plan_input *in)
{
    static const char *const command[] = {DATABASE_AGENT_DIR "/" OPERATOR_NAME, "agent", NULL};
    const struct engine *engine = in->engine;

    object(w, NULL);
    texts(w, "command", command);
    array(w, "env");
    env_of_pod(w, "POD_NAME", "metadata.name");
    env_of_pod(w, "POD_NAMESPACE", "metadata.namespace");
    env_of_pod(w, "POD_IP", "status.podIP");
    env(w, "PROA_ENGINE", proa_str_c(engine->name));
    env(w, "PROA_DATABASE", in->database->metadata.name);
    env(w, "PROA_HEADLESS", name_with(in, "-headless"));
    end_array(w);
    text(w, "image", image(in));
    probe(w, "livenessProbe", "/livez", 10, 6);
    text_c(w, "name", "database");
    array(w, "ports");
    object(w, NULL);
    number(w, "containerPort", engine->port);
    text_c(w, "name", engine->port_name);
    text_c(w, "protocol", "TCP");
    end(w);
    object(w, NULL);
    number(w, "containerPort", AGENT_PORT);
    text_c(w, "name", "agent");
    text_c(w, "protocol", "TCP");
    end(w);
    end_array(w);
    probe(w, "readinessProbe", "/readyz", 2, 2);
    resources(w, in);
    container_security(w);
    array(w, "volumeMounts");
    mount(w, "data", DATABASE_VOLUME_DIR, false);
    mount(w, "agent", DATABASE_AGENT_DIR, true);
    mount(w, "run", DATABASE_RUN_DIR, false);
    mount(w, "tmp", "/tmp", false);
    mount(w, "shm", "/dev/shm", false);
    mount(w, "config", DATABASE_CONFIG_DIR, true);
    mount(w, "credentials", DATABASE_CREDENTIALS_DIR, true);
    end_array(w);
    end(w);
}

static void install_container(writer *w, const struct plan_input *in)
{
    static const char *const command[] = {"/" OPERATOR_NAME, "install-agent", DATABASE_AGENT_DIR, NULL};

    object(w, NULL);
    texts(w, "command", command);
    text(w, "image", in->settings->agent_image);
    text_c(w, "name", "install-agent");
    resources(w, in); /* a quota asks for those of every container */
    container_security(w);
    array(w, "volumeMounts");
    mount(w, "agent", DATABASE_AGENT_DIR, false);
    end_array(w);
    end(w);
}

/* @param medium "Memory", or NULL: of the node's disk */
static void empty_volume(writer *w, const char *name, const char *medium)
{
    object(w, NULL);
    object(w, "emptyDir");
    if (medium)
        text_c(w, "medium", medium);
    end(w);
    text_c(w, "name", name);
    end(w);
}

static void secret_source(writer *w, proa_str name, const char *const *keys)
{
    object(w, NULL);
    object(w, "secret");
    array(w, "items");
    for (; *keys; keys++) {
        object(w, NULL);
        text_c(w, "key", *keys);
        text_c(w, "path", *keys);
        end(w);
    }
    end_array(w);
    text(w, "name", name);
    end(w);
    end(w);
}

/* What the operator generates, with the user's own name and password in place of the generated ones if there are some. */
static void credentials_volume(writer *w, const struct plan_input *in)
{
    static const char *const users[] = {"username", "password", NULL}, *const internal[] = {"replicationPassword",
                                                                                            "agentToken", NULL};
    proa_str own = plan_secret_name(in->arena, in->database->metadata.name);
    proa_str users_own = in->database->spec.credentials_secret_name;

    object(w, NULL);
    text_c(w, "name", "credentials");
    object(w, "projected");
    number(w, "defaultMode", 0440);
    array(w, "sources");
    secret_source(w, users_own.len > 0 ? users_own : own, users);
    secret_source(w, own, internal);
    end_array(w);
    end(w);
    end(w);
}

static void volumes(writer *w, const struct plan_input *in)
{
    array(w, "volumes");
    empty_volume(w, "agent", NULL);
    empty_volume(w, "run", NULL);
    empty_volume(w, "tmp", NULL);
    empty_volume(w, "shm",
                 "Memory"); /* what container runtimes give is 64 MiB, too little for a query of several workers */
    object(w, NULL);
    object(w, "configMap");
    text(w, "name", name_with(in, "-config"));
    end(w);
    text_c(w, "name", "config");
    end(w);
    credentials_volume(w, in);
    end_array(w);
}

/* Apart if it can be had: by node, then by zone. */
static void spread(writer *w, const struct plan_input *in)
{
    object(w, "affinity");
    object(w, "podAntiAffinity");
    array(w, "preferredDuringSchedulingIgnoredDuringExecution");
    object(w, NULL);
    object(w, "podAffinityTerm");
    match_labels(w, "labelSelector", in);
    text_c(w, "topologyKey", "kubernetes.io/hostname");
    end(w);
    number(w, "weight", 100);
    end(w);
    end_array(w);
    end(w);
    end(w);
    array(w, "topologySpreadConstraints");
    object(w, NULL);
    match_labels(w, "labelSelector", in);
    number(w, "maxSkew", 1);
    text_c(w, "topologyKey", "topology.kubernetes.io/zone");
    text_c(w, "whenUnsatisfiable", "ScheduleAnyway");
    end(w);
    end_array(w);
}

static void pod_template(writer *w, const struct plan_input *in, const struct plan *plan)
{
    object(w, "template");
    object(w, "metadata");
    object(w, "annotations");
    text_c(w, ANNOTATION_SPEC_HASH, plan->spec_hash);
    end(w);
    labels(w, in, NULL);
    end(w);
    object(w, "spec");
    spread(w, in);
    array(w, "containers");
    instance_container(w, in);
    end_array(w);
    boolean(w, "enableServiceLinks", false);
    array(w, "initContainers");
    install_container(w, in);
    end_array(w);
    pod_security(w, in->engine->uid);
    text(w, "serviceAccountName", name_with(in, "-agent"));
    /* Long enough for a checkpoint of a busy server. */
    number(w, "terminationGracePeriodSeconds", 180);
    volumes(w, in);
    end(w);
    end(w);
}

/* This list is replaced as a whole, so all defaults are written. Its size cannot change while the StatefulSet lives. */
static void claim_templates(writer *w, const struct plan_input *in, proa_str size)
{
    static const char *const modes[] = {"ReadWriteOnce", NULL};

    array(w, "volumeClaimTemplates");
    object(w, NULL);
    text_c(w, "apiVersion", "v1");
    text_c(w, "kind", "PersistentVolumeClaim");
    object(w, "metadata");
    labels(w, in, NULL);
    text_c(w, "name", "data");
    end(w);
    object(w, "spec");
    texts(w, "accessModes", modes);
    object(w, "resources");
    object(w, "requests");
    text(w, "storage", size);
    end(w);
    end(w);
    if (in->database->spec.storage_class_name.len > 0)
        text(w, "storageClassName", in->database->spec.storage_class_name);
    text_c(w, "volumeMode", "Filesystem");
    end(w);
    object(w, "status");
    text_c(w, "phase", "Pending");
    end(w);
    end(w);
    end_array(w);
}

static int stateful_set(const struct plan_input *in, struct plan *plan)
{
    bool has_size = in->facts->has_set && in->facts->set_size.len > 0;
    struct draft draft;
    writer *w = begin(in, &draft);

    metadata(w, in, NULL);
    object(w, "spec");
    text_c(w, "podManagementPolicy", "Parallel");
    number(w, "replicas", plan->replicas);
    match_labels(w, "selector", in);
    text(w, "serviceName", name_with(in, "-headless"));
    pod_template(w, in, plan);
    object(w, "updateStrategy");
    text_c(w, "type", "OnDelete");
    end(w);
    claim_templates(w, in, has_size ? in->facts->set_size : plan->size);
    end(w);
    return add(plan, &draft, &proa_kube_stateful_sets, in->database->metadata.name);
}

int plan_write_objects(const struct plan_input *input, struct plan *plan)
{
    /* A Service of somebody else's is told before anything runs; once it does, a change of replicas comes to the StatefulSet without waiting for
     * what is for clients, and never for the budget. */
    static int (*const making[])(const struct plan_input *, struct plan *) = {
        service_account, role,       role_binding, config_map,   headless,
        network_policy,  service_rw, service_ro,   stateful_set, disruption_budget,
    };
    static int (*const changing[])(const struct plan_input *, struct plan *) = {
        service_account, role,         role_binding, config_map, headless,
        network_policy,  stateful_set, service_rw,   service_ro, disruption_budget,
    };
    int (*const *writers)(const struct plan_input *, struct plan *) = input->facts->has_set ? changing : making;

    PROA_TRY(secret(input, plan, true));
    for (size_t i = 0; i < PROA_COUNT(making); i++)
        if (!plan->problem.reason || (writers[i] != config_map && writers[i] != stateful_set))
            PROA_TRY(writers[i](input, plan));
    return input->settings->has_service_monitors ? service_monitor(input, plan) : 0;
}

int plan_write_kept_secret(const struct plan_input *input, struct plan *plan)
{
    return secret(input, plan, false);
}
