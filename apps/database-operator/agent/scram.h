/** SCRAM-SHA-256 verifiers as PostgreSQL keeps them (RFC 5803): what the server is given instead of a password. */
#ifndef DATABASE_OPERATOR_SCRAM_H
#define DATABASE_OPERATOR_SCRAM_H

#include <proa/arena.h>

enum { SCRAM_SALT_BYTES = 16, SCRAM_ITERATIONS = 4096 };

/** "SCRAM-SHA-256$4096:salt$StoredKey:ServerKey" in the arena, ptr NULL on failure. The password is ASCII, for which SASLprep changes nothing. */
proa_str scram_verifier(struct proa_arena *arena, proa_str password, const unsigned char salt[SCRAM_SALT_BYTES]);
/** Whether a verifier is of this password; false for what is no verifier. */
bool scram_matches(struct proa_arena *arena, proa_str verifier, proa_str password);

#endif
