/** Plain scalars of YAML by the core schema of 1.2 (section 10.3.2). */
#ifndef PROA_YAML_SCALAR_H
#define PROA_YAML_SCALAR_H

#include <proa/buf.h>
#include <proa/str.h>

enum yaml_scalar {
    YAML_TEXT,
    YAML_NULL,
    YAML_TRUE,
    YAML_FALSE,
    YAML_INTEGER, /**< decimal, 0o octal, 0x hexadecimal */
    YAML_FLOAT,
    YAML_NOT_FINITE, /**< .inf, .nan: JSON has none */
};
enum yaml_scalar yaml_resolve(proa_str text);
/** Appends an integer or float as a JSON number. @returns PROA_ERANGE for octal and hexadecimal above 64 bits. */
PROA_MUST_USE int yaml_add_number(struct proa_buf *out, enum yaml_scalar kind, proa_str text);

#endif
