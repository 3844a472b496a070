/* Derived secrets. */
#include "derive.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <proa/error.h>

int derive_code(proa_str key, proa_str text, unsigned char ret_bytes[DERIVED_BYTES])
{
    unsigned length = DERIVED_BYTES;

    /* Without a pointer the key would be that of the call before. */
    return HMAC(EVP_sha256(), key.ptr ? key.ptr : "", (int)key.len, (const unsigned char *)text.ptr, text.len,
                ret_bytes, &length)
               ? 0
               : PROA_EINTERNAL;
}

int derive_secret(proa_str secret, const char *purpose, unsigned char ret_bytes[DERIVED_BYTES])
{
    return derive_code(secret, proa_str_c(purpose), ret_bytes);
}
