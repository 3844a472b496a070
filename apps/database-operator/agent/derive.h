/** Secrets of the engines made from those of the Database: the same in every instance, of a form that the engine takes. */
#ifndef DATABASE_OPERATOR_DERIVE_H
#define DATABASE_OPERATOR_DERIVE_H

#include <proa/str.h>

enum { DERIVED_BYTES = 32 };

/** HMAC-SHA-256 of `text` under `key`. @returns 0, or PROA_EINTERNAL. */
int derive_code(proa_str key, proa_str text, unsigned char ret_bytes[DERIVED_BYTES]);
/** The secret for one purpose. @returns 0, or PROA_EINTERNAL. */
int derive_secret(proa_str secret, const char *purpose, unsigned char ret_bytes[DERIVED_BYTES]);

#endif
