/* Manifests as text with a few places to fill in: they are to be read by people. The rights are exactly those that the code uses, each
 * with its reason; a test runs the operator with them. */
#include "manifests.h"

#include "plan.h"

#include <proa/json.h>
#include <proa/yaml.h>

int manifests_write_crd(struct proa_buf *out, struct proa_error *err)
{
    struct proa_buf json PROA_CLEANUP(proa_buf_done) = {0};

    if (proa_crd_write(&json, &database_crd) < 0)
        return proa_fail(err, PROA_EINTERNAL, "the definition cannot be written");
    return proa_json_to_yaml(proa_buf_str(&json), out, err);
}

static const char manifests[] =
    "---\n"
    "apiVersion: v1\n"
    "kind: Namespace\n"
    "metadata:\n"
    "  name: {namespace}\n"
    "  labels:\n"
    "    pod-security.kubernetes.io/enforce: restricted\n"
    "---\n"
    "apiVersion: v1\n"
    "kind: ServiceAccount\n"
    "metadata:\n"
    "  name: database-operator\n"
    "  namespace: {namespace}\n"
    "---\n"
    "apiVersion: rbac.authorization.k8s.io/v1\n"
    "kind: {scope}Role\n"
    "metadata:\n"
    "  name: database-operator\n"
    "{where}"
    "rules:\n"
    "# Databases: read, the finalizer applied, the status applied. The agents' Roles grant get, list and watch of "
    "one.\n"
    "- apiGroups: [database.example.com]\n"
    "  resources: [databases]\n"
    "  verbs: [get, list, watch, patch]\n"
    "- apiGroups: [database.example.com]\n"
    "  resources: [databases/status]\n"
    "  verbs: [patch]\n"
    "# Owner references that block deletion.\n"
    "- apiGroups: [database.example.com]\n"
    "  resources: [databases/finalizers]\n"
    "  verbs: [update]\n"
    "# A Secret that is kept gets another owner, which where owners are checked who may not delete it may not do.\n"
    "- apiGroups: [\"\"]\n"
    "  resources: [secrets]\n"
    "  verbs: [delete]\n"
    "# Owned objects: watched, applied (create and patch), and read when one of that name was there before.\n"
    "- apiGroups: [\"\"]\n"
    "  resources: [secrets, configmaps, services, serviceaccounts]\n"
    "  verbs: [get, list, watch, create, patch]\n"
    "- apiGroups: [policy]\n"
    "  resources: [poddisruptionbudgets]\n"
    "  verbs: [get, list, watch, create, patch]\n"
    "- apiGroups: [networking.k8s.io]\n"
    "  resources: [networkpolicies]\n"
    "  verbs: [get, list, watch, create, patch]\n"
    "- apiGroups: [rbac.authorization.k8s.io]\n"
    "  resources: [roles, rolebindings]\n"
    "  verbs: [get, list, watch, create, patch]\n"
    "- apiGroups: [monitoring.coreos.com]\n"
    "  resources: [servicemonitors]\n"
    "  verbs: [get, list, watch, create, patch]\n"
    "# And deleted: without its pods when storageSize grows, with them when the Database goes.\n"
    "- apiGroups: [apps]\n"
    "  resources: [statefulsets]\n"
    "  verbs: [get, list, watch, create, patch, delete]\n"
    "# The role's label; restarts.\n"
    "- apiGroups: [\"\"]\n"
    "  resources: [pods]\n"
    "  verbs: [get, list, watch, patch, delete]\n"
    "# storageSize; deletionPolicy Delete.\n"
    "- apiGroups: [\"\"]\n"
    "  resources: [persistentvolumeclaims]\n"
    "  verbs: [get, list, watch, patch, delete]\n"
    "- apiGroups: [events.k8s.io]\n"
    "  resources: [events]\n"
    "  verbs: [create, patch]\n"
    "---\n"
    "apiVersion: rbac.authorization.k8s.io/v1\n"
    "kind: {scope}RoleBinding\n"
    "metadata:\n"
    "  name: database-operator\n"
    "{where}"
    "roleRef:\n"
    "  apiGroup: rbac.authorization.k8s.io\n"
    "  kind: {scope}Role\n"
    "  name: database-operator\n"
    "subjects:\n"
    "- kind: ServiceAccount\n"
    "  name: database-operator\n"
    "  namespace: {namespace}\n"
    "---\n"
    "# Leader election.\n"
    "apiVersion: rbac.authorization.k8s.io/v1\n"
    "kind: Role\n"
    "metadata:\n"
    "  name: database-operator-leader\n"
    "  namespace: {namespace}\n"
    "rules:\n"
    "- apiGroups: [coordination.k8s.io]\n"
    "  resources: [leases]\n"
    "  verbs: [create]\n"
    "- apiGroups: [coordination.k8s.io]\n"
    "  resources: [leases]\n"
    "  resourceNames: [{lease}]\n"
    "  verbs: [get, patch]\n"
    "---\n"
    "apiVersion: rbac.authorization.k8s.io/v1\n"
    "kind: RoleBinding\n"
    "metadata:\n"
    "  name: database-operator-leader\n"
    "  namespace: {namespace}\n"
    "roleRef:\n"
    "  apiGroup: rbac.authorization.k8s.io\n"
    "  kind: Role\n"
    "  name: database-operator-leader\n"
    "subjects:\n"
    "- kind: ServiceAccount\n"
    "  name: database-operator\n"
    "  namespace: {namespace}\n"
    "---\n"
    "apiVersion: apps/v1\n"
    "kind: Deployment\n"
    "metadata:\n"
    "  name: database-operator\n"
    "  namespace: {namespace}\n"
    "  labels:\n"
    "    app.kubernetes.io/name: database-operator\n"
    "spec:\n"
    "  replicas: 1\n"
    "  selector:\n"
    "    matchLabels:\n"
    "      app.kubernetes.io/name: database-operator\n"
    "  template:\n"
    "    metadata:\n"
    "      labels:\n"
    "        app.kubernetes.io/name: database-operator\n"
    "    spec:\n"
    "      serviceAccountName: database-operator\n"
    "      securityContext:\n"
    "        runAsNonRoot: true\n"
    "        runAsUser: 65532\n"
    "        runAsGroup: 65532\n"
    "        seccompProfile:\n"
    "          type: RuntimeDefault\n"
    "      containers:\n"
    "      - name: database-operator\n"
    "        image: {image}\n"
    "        command: [/database-operator, run{settings}]\n"
    "        env:\n"
    "        - name: THREADS\n"
    "          value: \"1\"\n"
    "        - name: AGENT_IMAGE\n"
    "          value: {image}\n"
    "        - name: POD_NAMESPACE\n"
    "          valueFrom:\n"
    "            fieldRef:\n"
    "              fieldPath: metadata.namespace\n"
    "        ports:\n"
    "        - name: http\n"
    "          containerPort: 8080\n"
    "        startupProbe:\n"
    "          httpGet: {path: /livez, port: http}\n"
    "          periodSeconds: 1\n"
    "          failureThreshold: 30\n"
    "        livenessProbe:\n"
    "          httpGet: {path: /livez, port: http}\n"
    "        readinessProbe:\n"
    "          httpGet: {path: /readyz, port: http}\n"
    "          periodSeconds: 5\n"
    "        resources:\n"
    "          requests: {cpu: 10m, memory: 16Mi}\n"
    "          limits: {memory: 64Mi}\n"
    "        securityContext:\n"
    "          allowPrivilegeEscalation: false\n"
    "          readOnlyRootFilesystem: true\n"
    "          capabilities:\n"
    "            drop: [ALL]\n";

enum { PLACES = 6 };

struct place {
    proa_str mark, value;
};

/* The value of a setting of `run` as it was given, "--key=value" or "--key value", the last one. */
static const char *setting(const struct manifest_options *options, const char *flag)
{
    size_t len = strlen(flag);
    const char *value = NULL;

    for (int i = 0; i < options->settings_count; i++) {
        if (strncmp(options->settings[i], flag, len) != 0)
            continue;
        if (options->settings[i][len] == '=')
            value = options->settings[i] + len + 1;
        else if (options->settings[i][len] == '\0' && i + 1 < options->settings_count)
            value = options->settings[i + 1];
    }
    return value && *value ? value : NULL;
}

static void fill(struct proa_buf *out, proa_str text, const struct place places[PLACES])
{
    while (text.len > 0) {
        ptrdiff_t first = -1;
        size_t which = 0;

        for (size_t i = 0; i < PLACES; i++) {
            ptrdiff_t at = proa_str_find(text, places[i].mark);

            if (at >= 0 && (first < 0 || at < first)) {
                first = at;
                which = i;
            }
        }
        if (first < 0) {
            proa_buf_add(out, text);
            return;
        }
        proa_buf_add(out, proa_str_slice(text, 0, (size_t)first));
        proa_buf_add(out, places[which].value);
        text = proa_str_slice(text, (size_t)first + places[which].mark.len, text.len);
    }
}

int manifests_write(struct proa_buf *out, const struct manifest_options *options, struct proa_error *err)
{
    const char *watched = setting(options, "--watch-namespace"), *lease = setting(options, "--leader.lease");
    struct proa_buf settings PROA_CLEANUP(proa_buf_done) = {0}, where PROA_CLEANUP(proa_buf_done) = {0};
    struct proa_json_writer w;

    PROA_TRY(manifests_write_crd(out, err));
    if (watched)
        proa_buf_printf(&where, "  namespace: %s\n", watched);
    for (int i = 0; i < options->settings_count; i++) {
        proa_buf_add_c(&settings, ", ");
        proa_json_writer_init(&w, &settings);
        proa_json_text(&w, proa_str_c(options->settings[i]));
    }
    if (settings.error < 0 || where.error < 0)
        return PROA_ENOMEM;
    fill(out, proa_str_c(manifests),
         (const struct place[PLACES]){{PROA_STR("{namespace}"), proa_str_c(options->namespace_)},
                                      {PROA_STR("{image}"), proa_str_c(options->image)},
                                      {PROA_STR("{settings}"), proa_buf_str(&settings)},
                                      {PROA_STR("{scope}"), proa_str_c(watched ? "" : "Cluster")},
                                      {PROA_STR("{where}"), proa_buf_str(&where)},
                                      {PROA_STR("{lease}"), proa_str_c(lease ? lease : "database-operator")}});
    return out->error;
}
