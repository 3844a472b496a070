/** CustomResourceDefinitions (apiextensions.k8s.io/v1) from descriptions. */
#ifndef PROA_CRD_H
#define PROA_CRD_H

#include <proa/kube.h>

PROA_BEGIN_DECLS

struct proa_crd_column {
    const char *name;
    const char *type; /**< "string", "integer", "date", "boolean", "number" */
    const char *json_path;
    const char *doc;
    int priority; /**< 0: always shown; 1: wide */
};
struct proa_crd_options {
    const struct proa_kube_kind *kind;
    const char *singular;
    const char *const *short_names;        /**< ended by NULL */
    const char *const *categories;         /**< ended by NULL */
    const struct proa_type *spec, *status; /**< status NULL: no status subresource */
    const struct proa_crd_column *columns; /**< ended by {NULL} */
    const char *scale_spec_path, *scale_status_path,
        *scale_selector_path;          /**< ".spec.replicas" …; NULL: no scale subresource */
    const char *const *selectable;     /**< JSON paths, ended by NULL */
    const struct proa_cel_rule *rules; /**< of the whole object ("self.metadata.name…"), ended by {NULL} */
    const char *doc;
};
/** The definition as JSON, to be applied, or (proa_json_to_yaml) printed. */
PROA_MUST_USE int proa_crd_write(struct proa_buf *out, const struct proa_crd_options *options);
/** Writes it to standard output as YAML: a program's `crd` command. @returns main's exit code. */
int proa_crd_print(const struct proa_crd_options *options);
/** Applies it and waits until the API server serves the kind. May suspend. */
PROA_MUST_USE int proa_crd_install(struct proa_kube *kube, const struct proa_crd_options *options,
                                   struct proa_error *err);

PROA_END_DECLS
#endif
