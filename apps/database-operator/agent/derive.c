/* Derived secrets. */
#include "derive.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <proa/error.h>

int derive_secret(proa_str secret, const char *purpose, unsigned char ret_bytes[DERIVED_BYTES])
{
    unsigned length = DERIVED_BYTES;

    return HMAC(EVP_sha256(), secret.ptr, (int)secret.len, (const unsigned char *)purpose, strlen(purpose), ret_bytes,
                &length)
               ? 0
               : PROA_EINTERNAL;
}
