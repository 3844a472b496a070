/* Keys and verifiers. */
#include "scram.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <proa/text.h>

enum { ITERATIONS_MAX = 1000000, SALT_MAX_BYTES = 256 };

#define PREFIX "SCRAM-SHA-256$"

bool scram_hmac(const unsigned char key[SCRAM_KEY_BYTES], proa_str text, unsigned char ret_bytes[SCRAM_KEY_BYTES])
{
    return HMAC(EVP_sha256(), key, SCRAM_KEY_BYTES, (const unsigned char *)text.ptr, text.len, ret_bytes, NULL) != NULL;
}

bool scram_derive(proa_str password, proa_str salt, int iterations, struct scram_keys *ret_keys)
{
    unsigned char salted[SCRAM_KEY_BYTES];

    return PKCS5_PBKDF2_HMAC(password.ptr, (int)password.len, (const unsigned char *)salt.ptr, (int)salt.len,
                             iterations, EVP_sha256(), SCRAM_KEY_BYTES, salted) == 1 &&
           scram_hmac(salted, PROA_STR("Client Key"), ret_keys->client) &&
           scram_hmac(salted, PROA_STR("Server Key"), ret_keys->server) &&
           EVP_Digest(ret_keys->client, SCRAM_KEY_BYTES, ret_keys->stored, NULL, EVP_sha256(), NULL) == 1;
}

static void add_base64(struct proa_buf *out, const void *bytes, size_t len)
{
    proa_base64_encode(out, proa_str_n(bytes, len));
}

static proa_str write_verifier(struct proa_arena *arena, proa_str password, proa_str salt, int iterations)
{
    struct scram_keys keys;
    struct proa_buf out;

    if (!scram_derive(password, salt, iterations, &keys))
        return (proa_str){0};
    proa_buf_init(&out, arena, 0);
    proa_buf_printf(&out, PREFIX "%d:", iterations);
    add_base64(&out, salt.ptr, salt.len);
    proa_buf_add_char(&out, '$');
    add_base64(&out, keys.stored, SCRAM_KEY_BYTES);
    proa_buf_add_char(&out, ':');
    add_base64(&out, keys.server, SCRAM_KEY_BYTES);
    return out.error < 0 ? (proa_str){0} : proa_buf_str(&out);
}

proa_str scram_verifier(struct proa_arena *arena, proa_str password, const unsigned char salt[SCRAM_SALT_BYTES])
{
    return write_verifier(arena, password, proa_str_n((const char *)salt, SCRAM_SALT_BYTES), SCRAM_ITERATIONS);
}

bool scram_matches(struct proa_arena *arena, proa_str verifier, proa_str password)
{
    proa_str rest = verifier, iterations_text, salt_text, again;
    uint64_t iterations;
    struct proa_buf salt;

    if (!proa_str_starts_with(verifier, proa_str_c(PREFIX)))
        return false;
    rest = proa_str_slice(rest, strlen(PREFIX), rest.len);
    if (!proa_str_split(&rest, ':', &iterations_text) || !proa_str_split(&rest, '$', &salt_text) ||
        proa_str_to_u64(iterations_text, &iterations) < 0 || iterations == 0 || iterations > ITERATIONS_MAX)
        return false;
    proa_buf_init(&salt, arena, SALT_MAX_BYTES);
    if (proa_base64_decode(&salt, salt_text) < 0)
        return false;
    again = write_verifier(arena, password, proa_buf_str(&salt), (int)iterations);
    return again.ptr && proa_str_eq_secret(again, verifier);
}
