/* CustomResourceDefinitions. */
#include "client_internal.h"

#include <proa/crd.h>
#include <proa/schema.h>
#include <proa/yaml.h>
#include <stdio.h>

enum { POLL_MS = 100, INSTALL_MS = 30000, NAME_MAX_BYTES = 254 };

static void member(struct proa_json_writer *w, const char *key, const char *text)
{
    proa_json_key(w, proa_str_c(key));
    proa_json_text(w, proa_str_c(text));
}

static void texts(struct proa_json_writer *w, const char *key, const char *const *items)
{
    if (!items || !items[0])
        return;
    proa_json_key(w, proa_str_c(key));
    proa_json_array(w);
    for (; *items; items++)
        proa_json_text(w, proa_str_c(*items));
    proa_json_array_end(w);
}

static void write_names(struct proa_json_writer *w, const struct proa_crd_options *options)
{
    char list_kind[128];

    snprintf(list_kind, sizeof list_kind, "%sList", options->kind->kind);
    proa_json_key(w, PROA_STR("names"));
    proa_json_object(w);
    member(w, "kind", options->kind->kind);
    member(w, "listKind", list_kind);
    member(w, "plural", options->kind->plural);
    if (options->singular)
        member(w, "singular", options->singular);
    texts(w, "shortNames", options->short_names);
    texts(w, "categories", options->categories);
    proa_json_object_end(w);
}

static void write_rules(struct proa_json_writer *w, const struct proa_cel_rule *rules)
{
    if (!rules || !rules->rule)
        return;
    proa_json_key(w, PROA_STR("x-kubernetes-validations"));
    proa_json_array(w);
    for (; rules->rule; rules++) {
        proa_json_object(w);
        member(w, "rule", rules->rule);
        if (rules->message)
            member(w, "message", rules->message);
        proa_json_object_end(w);
    }
    proa_json_array_end(w);
}

static int write_schema(struct proa_json_writer *w, const struct proa_crd_options *options)
{
    static const char *const required[] = {"spec", NULL};

    proa_json_key(w, PROA_STR("schema"));
    proa_json_object(w);
    proa_json_key(w, PROA_STR("openAPIV3Schema"));
    proa_json_object(w);
    if (options->doc)
        member(w, "description", options->doc);
    member(w, "type", "object");
    if (options->spec)
        texts(w, "required", required);
    proa_json_key(w, PROA_STR("properties"));
    proa_json_object(w);
    proa_json_key(w, PROA_STR("apiVersion"));
    proa_json_object(w);
    member(w, "type", "string");
    proa_json_object_end(w);
    proa_json_key(w, PROA_STR("kind"));
    proa_json_object(w);
    member(w, "type", "string");
    proa_json_object_end(w);
    proa_json_key(w, PROA_STR("metadata"));
    proa_json_object(w);
    member(w, "type", "object");
    proa_json_object_end(w);
    if (options->spec) {
        proa_json_key(w, PROA_STR("spec"));
        PROA_TRY(proa_schema_write(w, options->spec, PROA_SCHEMA_KUBERNETES));
    }
    if (options->status) {
        proa_json_key(w, PROA_STR("status"));
        PROA_TRY(proa_schema_write(w, options->status, PROA_SCHEMA_KUBERNETES));
    }
    proa_json_object_end(w);
    write_rules(w, options->rules);
    proa_json_object_end(w);
    proa_json_object_end(w);
    return 0;
}

static void write_subresources(struct proa_json_writer *w, const struct proa_crd_options *options)
{
    if (!options->status && !options->scale_spec_path)
        return;
    proa_json_key(w, PROA_STR("subresources"));
    proa_json_object(w);
    if (options->status) {
        proa_json_key(w, PROA_STR("status"));
        proa_json_object(w);
        proa_json_object_end(w);
    }
    if (options->scale_spec_path) {
        proa_json_key(w, PROA_STR("scale"));
        proa_json_object(w);
        member(w, "specReplicasPath", options->scale_spec_path);
        member(w, "statusReplicasPath", options->scale_status_path);
        if (options->scale_selector_path)
            member(w, "labelSelectorPath", options->scale_selector_path);
        proa_json_object_end(w);
    }
    proa_json_object_end(w);
}

static void write_columns(struct proa_json_writer *w, const struct proa_crd_column *columns)
{
    if (!columns || !columns->name)
        return;
    proa_json_key(w, PROA_STR("additionalPrinterColumns"));
    proa_json_array(w);
    for (; columns->name; columns++) {
        proa_json_object(w);
        member(w, "name", columns->name);
        member(w, "type", columns->type);
        member(w, "jsonPath", columns->json_path);
        if (columns->doc)
            member(w, "description", columns->doc);
        if (columns->priority != 0) {
            proa_json_key(w, PROA_STR("priority"));
            proa_json_i64(w, columns->priority);
        }
        proa_json_object_end(w);
    }
    proa_json_array_end(w);
}

static void write_selectable(struct proa_json_writer *w, const char *const *paths)
{
    if (!paths || !paths[0])
        return;
    proa_json_key(w, PROA_STR("selectableFields"));
    proa_json_array(w);
    for (; *paths; paths++) {
        proa_json_object(w);
        member(w, "jsonPath", *paths);
        proa_json_object_end(w);
    }
    proa_json_array_end(w);
}

static int write_version(struct proa_json_writer *w, const struct proa_crd_options *options)
{
    proa_json_object(w);
    member(w, "name", options->kind->version);
    proa_json_key(w, PROA_STR("served"));
    proa_json_bool(w, true);
    proa_json_key(w, PROA_STR("storage"));
    proa_json_bool(w, true);
    write_columns(w, options->columns);
    write_selectable(w, options->selectable);
    write_subresources(w, options);
    PROA_TRY(write_schema(w, options));
    proa_json_object_end(w);
    return 0;
}

/* "plural.group" */
static proa_str definition_name(const struct proa_kube_kind *kind, char out[NAME_MAX_BYTES])
{
    int len = snprintf(out, NAME_MAX_BYTES, "%s.%s", kind->plural, kind->group);

    return proa_str_n(out, len < NAME_MAX_BYTES ? (size_t)len : NAME_MAX_BYTES - 1);
}

int proa_crd_write(struct proa_buf *out, const struct proa_crd_options *options)
{
    char name[NAME_MAX_BYTES];
    struct proa_json_writer w;

    proa_json_writer_init(&w, out);
    proa_json_object(&w);
    member(&w, "apiVersion", "apiextensions.k8s.io/v1");
    member(&w, "kind", "CustomResourceDefinition");
    proa_json_key(&w, PROA_STR("metadata"));
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("name"));
    proa_json_text(&w, definition_name(options->kind, name));
    proa_json_object_end(&w);
    proa_json_key(&w, PROA_STR("spec"));
    proa_json_object(&w);
    member(&w, "group", options->kind->group);
    member(&w, "scope", options->kind->is_cluster_scoped ? "Cluster" : "Namespaced");
    write_names(&w, options);
    proa_json_key(&w, PROA_STR("versions"));
    proa_json_array(&w);
    PROA_TRY(write_version(&w, options));
    proa_json_array_end(&w);
    proa_json_object_end(&w);
    proa_json_object_end(&w);
    return out->error;
}

int proa_crd_print(const struct proa_crd_options *options)
{
    struct proa_buf json PROA_CLEANUP(proa_buf_done) = {0}, yaml PROA_CLEANUP(proa_buf_done) = {0};
    struct proa_error err = {0};
    int rc = proa_crd_write(&json, options);

    if (rc == 0)
        rc = proa_json_to_yaml(proa_buf_str(&json), &yaml, &err);
    if (rc < 0)
        fprintf(stderr, "the definition of %s cannot be written: %s\n", options->kind->kind,
                err.code ? err.message : proa_code_name(rc));
    return rc == 0 && fwrite(yaml.ptr, 1, yaml.len, stdout) == yaml.len && fflush(stdout) == 0 ? 0 : 1;
}

/* -- Installing ---------------------------------------------------------------------------------------------------- */

struct crd_condition {
    proa_str type, status, message;
};
PROA_DESCRIBE_WITH(crd_condition, (.unknown = PROA_UNKNOWN_IGNORE), (type, str), (status, str),
                   (message, str, .default_json = "\"\""));
struct crd_status {
    PROA_ARRAY_OF(struct crd_condition) conditions;
};
PROA_DESCRIBE_WITH(crd_status, (.unknown = PROA_UNKNOWN_IGNORE),
                   (conditions, array(object(crd_condition)), .default_json = "[]"));
struct crd {
    struct proa_kube_meta metadata;
    struct crd_status status;
};
PROA_DESCRIBE_WITH(crd, (.unknown = PROA_UNKNOWN_IGNORE), (metadata, object(proa_kube_meta)),
                   (status, object(crd_status), .default_json = "{}"));

/* @returns 1 when established, 0 when not yet, or an error that no waiting mends. */
static int established(const struct crd *crd, proa_str name, struct proa_error *err)
{
    int result = 0;

    for (size_t i = 0; i < crd->status.conditions.len; i++) {
        const struct crd_condition *condition = &crd->status.conditions.ptr[i];

        if (proa_str_eq_c(condition->type, "NamesAccepted") && proa_str_eq_c(condition->status, "False"))
            return proa_fail(err, PROA_ECONFLICT, "CustomResourceDefinition " PROA_FMT ": " PROA_FMT, PROA_ARG(name),
                             PROA_ARG(condition->message));
        if (proa_str_eq_c(condition->type, "Established") && proa_str_eq_c(condition->status, "True"))
            result = 1;
    }
    return result;
}

/* @returns 1 when it is served, 0 when not yet, PROA_ENOTFOUND when it is gone (it was being deleted), or another
 * error. */
static int is_served(struct proa_kube *kube, const struct proa_kube_kind *kind, proa_str name, bool *ret_is_leaving,
                     struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct crd crd;
    int rc;

    proa_arena_init(&arena, proa_loop_blocks(kube->options.loop), 0);
    PROA_TRY(proa_kube_get(kube, &arena, &proa_kube_crds, PROA_STR(""), name, &crd_type, &crd, err));
    *ret_is_leaving = crd.metadata.deletion_timestamp.presence == PROA_SET;
    if (*ret_is_leaving)
        return 0;
    rc = established(&crd, name, err);
    /* Established comes before all API servers serve it. */
    return rc > 0 ? proa_kube_is_served(kube, kind, err) : rc;
}

static int apply(struct proa_kube *kube, proa_str name, proa_str body, struct proa_error *err)
{
    const struct proa_kube_patch_options options = {.kind = PROA_KUBE_APPLY, .force = true};
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);

    proa_arena_init(&arena, proa_loop_blocks(kube->options.loop), 0);
    return proa_kube_patch(kube, &arena, &proa_kube_crds, PROA_STR(""), name, body, &options, NULL, NULL, err);
}

/* Until it is served; one that was being deleted is applied again when it is gone. */
static int install(struct proa_kube *kube, const struct proa_kube_kind *kind, proa_str name, proa_str body,
                   struct proa_error *err)
{
    bool is_leaving = false;
    int rc;

    PROA_TRY(apply(kube, name, body, err));
    while ((rc = is_served(kube, kind, name, &is_leaving, err)) <= 0) {
        if (rc == PROA_ENOTFOUND && is_leaving) {
            if (err)
                proa_error_clear(err);
            PROA_TRY(apply(kube, name, body, err));
            continue;
        }
        PROA_TRY(rc);
        rc = proa_sleep(kube->options.loop, PROA_MS(POLL_MS));
        if (rc < 0)
            return proa_fail(err, rc, "CustomResourceDefinition " PROA_FMT " %s", PROA_ARG(name),
                             is_leaving ? "is still being deleted: are there objects with finalizers?"
                                        : "is not served yet");
    }
    return 0;
}

int proa_crd_install(struct proa_kube *kube, const struct proa_crd_options *options, struct proa_error *err)
{
    struct proa_loop *loop = kube->options.loop;
    struct proa_deadline_scope scope = proa_deadline_enter(loop, proa_loop_now_exact(loop) + PROA_MS(INSTALL_MS));
    char text[NAME_MAX_BYTES];
    proa_str name = definition_name(options->kind, text);
    struct proa_buf body = {0};
    int rc = proa_crd_write(&body, options);

    if (rc < 0)
        rc = proa_fail(err, rc, "the schema of %s cannot be written", options->kind->kind);
    else
        rc = install(kube, options->kind, name, proa_buf_str(&body), err);
    proa_buf_done(&body);
    proa_deadline_leave(&scope);
    return rc;
}
