/** YAML (the JSON-like core of 1.2) into JSON or described structs, and back, by libyaml. */
#ifndef PROA_YAML_H
#define PROA_YAML_H

#include <proa/json.h>

PROA_BEGIN_DECLS

enum {
    PROA_YAML_EVENTS_MAX = 200000, /**< nodes of one text, aliases expanded: against alias bombs and the like */
    PROA_YAML_BYTES_MAX = 16 * 1024 * 1024, /**< of one document's JSON */
};

/** One document as JSON text in the arena; an empty text is null. Plain scalars by the core schema
 *  (true/false/null/~/numbers; "yes" and "on" stay text). Anchors and aliases are expanded within the limit; duplicate
 *  keys are errors; tags other than the core ones, merge keys (<<), more than one document and depth over 64 are
 *  refused. Text that is a JSON object or list is taken as it is. err names line and column. Not for fibers' hot paths:
 *  libyaml uses the heap.
 *  @returns 0, PROA_ESYNTAX, PROA_ETOOLARGE, PROA_ENOMEM. */
PROA_MUST_USE int proa_yaml_to_json(struct proa_arena *arena, proa_str text, proa_str *ret_json,
                                    struct proa_error *err);
/** Several documents (---), as an array of JSON texts; empty documents are left out. */
PROA_MUST_USE int proa_yaml_documents(struct proa_arena *arena, proa_str text, proa_str **ret_json, size_t *ret_count,
                                      struct proa_error *err);
#define proa_yaml_read(arena, text, flags, typed, ret_value, err)                                                      \
    proa_yaml_read_type(arena, text, flags, PROA_TYPED(typed, ret_value), ret_value, err)
PROA_MUST_USE int proa_yaml_read_type(struct proa_arena *arena, proa_str text, unsigned flags,
                                      const struct proa_type *type, void *ret_value, struct proa_error *err);
/** JSON text as block-style YAML that reads back as the same JSON. */
PROA_MUST_USE int proa_json_to_yaml(proa_str json, struct proa_buf *out, struct proa_error *err);

PROA_END_DECLS
#endif
