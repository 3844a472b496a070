/** JSON Schema (2020-12, as in OpenAPI 3.1) and Kubernetes structural schemas from descriptions. */
#ifndef PROA_SCHEMA_H
#define PROA_SCHEMA_H

#include <proa/json.h>
#include <proa/type.h>

PROA_BEGIN_DECLS

enum proa_schema_dialect {
    PROA_SCHEMA_OPENAPI = 0, /**< OpenAPI 3.1: 2020-12; nested types by $ref to #/components/schemas/NAME */
    PROA_SCHEMA_INLINE,      /**< 2020-12 with everything inline */
    PROA_SCHEMA_MERGE_PATCH, /**< OpenAPI 3.1: a merge patch on the type (RFC 7396): nothing required, null removes */
    PROA_SCHEMA_KUBERNETES,  /**< structural schema of a CRD v1: inline, nullable, defaults, x-kubernetes-* */
};

/** Writes the schema of a type. For OPENAPI nested types are references only: write each by its own call
 *  (proa_schema_types lists them). */
PROA_MUST_USE int proa_schema_write(struct proa_json_writer *w, const struct proa_type *type,
                                    enum proa_schema_dialect dialect);
/** The schema of one member's value (for parameters). */
PROA_MUST_USE int proa_schema_write_field(struct proa_json_writer *w, const struct proa_field *field,
                                          enum proa_schema_dialect dialect);
/** All types reachable from `type`, itself first, each once, into an arena array. */
PROA_MUST_USE int proa_schema_types(struct proa_arena *arena, const struct proa_type *type,
                                    const struct proa_type ***ret_types, size_t *ret_count);

PROA_END_DECLS
#endif
