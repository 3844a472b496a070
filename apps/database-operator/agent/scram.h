/** SCRAM-SHA-256 (RFC 5802, RFC 7677): the keys that are derived from a password, by which a client proves that it knows it, and verifiers
 *  as PostgreSQL keeps them (RFC 5803), which the server is given instead. */
#ifndef DATABASE_OPERATOR_SCRAM_H
#define DATABASE_OPERATOR_SCRAM_H

#include <proa/arena.h>

enum { SCRAM_SALT_BYTES = 16, SCRAM_ITERATIONS = 4096, SCRAM_KEY_BYTES = 32 };

/** RFC 5802 section 3. */
struct scram_keys {
    unsigned char client[SCRAM_KEY_BYTES], stored[SCRAM_KEY_BYTES], server[SCRAM_KEY_BYTES];
};
/** @returns false on failure. The password is ASCII, for which SASLprep changes nothing. */
bool scram_derive(proa_str password, proa_str salt, int iterations, struct scram_keys *ret_keys);
bool scram_hmac(const unsigned char key[SCRAM_KEY_BYTES], proa_str text, unsigned char ret_bytes[SCRAM_KEY_BYTES]);

/** "SCRAM-SHA-256$4096:salt$StoredKey:ServerKey" in the arena, ptr NULL on failure. */
proa_str scram_verifier(struct proa_arena *arena, proa_str password, const unsigned char salt[SCRAM_SALT_BYTES]);
/** Whether a verifier is of this password; false for what is no verifier. */
bool scram_matches(struct proa_arena *arena, proa_str verifier, proa_str password);

#endif
