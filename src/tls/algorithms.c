/* OpenSSL's default provider for static programs: of its algorithms those by which a client of TLS 1.2 and 1.3 speaks
 * with the servers of today, and no others.
 *
 * libcrypto.a asks for its default provider by one function, which names every algorithm that there is, and by two more
 * registers ciphers and digests. Who links this file before the archive answers in their place, and the linker leaves
 * out what nobody names: a megabyte. The implementations are OpenSSL's own. Their names are no public interface,
 * although they have stood since 3.0: src/meson.build takes this file only where it links and passes its own check (the
 * main below), else all of OpenSSL.
 *
 * Key exchange: X25519, P-256, P-384, P-521. Certificates and clients' keys: RSA, RSA-PSS, ECDSA, Ed25519; keys as
 * PKCS#8, PKCS#1, SEC1. Ciphers: AES-GCM, ChaCha20-Poly1305. docs/decisions/static-programs.md says why. */
#include <openssl/bio.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

/* -- What libcrypto.a has for its providers, and what it asks of them ---------------------------------------------- */

struct prov_ctx_st *ossl_prov_ctx_new(void);
void ossl_prov_ctx_free(struct prov_ctx_st *context);
void ossl_prov_ctx_set0_libctx(struct prov_ctx_st *context, OSSL_LIB_CTX *library);
void ossl_prov_ctx_set0_handle(struct prov_ctx_st *context, const OSSL_CORE_HANDLE *handle);
void ossl_prov_ctx_set0_core_bio_method(struct prov_ctx_st *context, BIO_METHOD *method);
BIO_METHOD *ossl_prov_ctx_get0_core_bio_method(struct prov_ctx_st *context);
BIO_METHOD *ossl_bio_prov_init_bio_method(void);
int ossl_prov_bio_from_dispatch(const OSSL_DISPATCH *functions);
int ossl_prov_seeding_from_dispatch(const OSSL_DISPATCH *functions);
OSSL_FUNC_provider_get_capabilities_fn ossl_prov_get_capabilities;

OSSL_provider_init_fn ossl_default_provider_init, ossl_base_provider_init;
void openssl_add_all_ciphers_int(void);
void openssl_add_all_digests_int(void);

extern const OSSL_DISPATCH ossl_sha1_functions[], ossl_sha224_functions[], ossl_sha256_functions[],
    ossl_sha384_functions[], ossl_sha512_functions[], ossl_aes128gcm_functions[], ossl_aes256gcm_functions[],
    ossl_aes256ctr_functions[], ossl_aes256ecb_functions[], ossl_chacha20_ossl_poly1305_functions[],
    ossl_hmac_functions[], ossl_kdf_hkdf_functions[], ossl_kdf_tls1_3_kdf_functions[], ossl_kdf_tls1_prf_functions[],
    ossl_kdf_pbkdf2_functions[], ossl_drbg_ctr_functions[], ossl_seed_src_functions[], ossl_ecdh_keyexch_functions[],
    ossl_x25519_keyexch_functions[], ossl_rsa_signature_functions[], ossl_ecdsa_signature_functions[],
    ossl_ed25519_signature_functions[], ossl_rsa_keymgmt_functions[], ossl_rsapss_keymgmt_functions[],
    ossl_ec_keymgmt_functions[], ossl_x25519_keymgmt_functions[], ossl_ed25519_keymgmt_functions[];
extern const OSSL_DISPATCH ossl_PrivateKeyInfo_der_to_rsa_decoder_functions[],
    ossl_PrivateKeyInfo_der_to_rsapss_decoder_functions[], ossl_PrivateKeyInfo_der_to_ec_decoder_functions[],
    ossl_PrivateKeyInfo_der_to_ed25519_decoder_functions[], ossl_SubjectPublicKeyInfo_der_to_rsa_decoder_functions[],
    ossl_SubjectPublicKeyInfo_der_to_rsapss_decoder_functions[],
    ossl_SubjectPublicKeyInfo_der_to_ec_decoder_functions[],
    ossl_SubjectPublicKeyInfo_der_to_ed25519_decoder_functions[],
    ossl_type_specific_keypair_der_to_rsa_decoder_functions[], ossl_type_specific_no_pub_der_to_ec_decoder_functions[],
    ossl_SubjectPublicKeyInfo_der_to_der_decoder_functions[], ossl_pem_to_der_decoder_functions[];

/* -- The tables: names and object identifiers as OpenSSL has them -------------------------------------------------- */

#define RSA_NAMES "RSA:rsaEncryption:1.2.840.113549.1.1.1"
#define RSA_PSS_NAMES "RSA-PSS:RSASSA-PSS:1.2.840.113549.1.1.10"
#define EC_NAMES "EC:id-ecPublicKey:1.2.840.10045.2.1"
#define X25519_NAMES "X25519:1.3.101.110"
#define ED25519_NAMES "ED25519:1.3.101.112"
#define DEFAULT "provider=default"
#define DECODES(input) DEFAULT ",fips=yes,input=" input
#define KEY_INFO DECODES("der,structure=PrivateKeyInfo")
#define PUBLIC_INFO DECODES("der,structure=SubjectPublicKeyInfo")
#define TYPE_SPECIFIC DECODES("der,structure=type-specific")

static const OSSL_ALGORITHM digests[] = {
    {"SHA1:SHA-1:SSL3-SHA1:1.3.14.3.2.26", DEFAULT, ossl_sha1_functions, NULL},
    {"SHA2-224:SHA-224:SHA224:2.16.840.1.101.3.4.2.4", DEFAULT, ossl_sha224_functions, NULL},
    {"SHA2-256:SHA-256:SHA256:2.16.840.1.101.3.4.2.1", DEFAULT, ossl_sha256_functions, NULL},
    {"SHA2-384:SHA-384:SHA384:2.16.840.1.101.3.4.2.2", DEFAULT, ossl_sha384_functions, NULL},
    {"SHA2-512:SHA-512:SHA512:2.16.840.1.101.3.4.2.3", DEFAULT, ossl_sha512_functions, NULL},
    {NULL, NULL, NULL, NULL},
};
/* CTR and ECB are of the random generator. */
static const OSSL_ALGORITHM ciphers[] = {
    {"AES-128-GCM:id-aes128-GCM:2.16.840.1.101.3.4.1.6", DEFAULT, ossl_aes128gcm_functions, NULL},
    {"AES-256-GCM:id-aes256-GCM:2.16.840.1.101.3.4.1.46", DEFAULT, ossl_aes256gcm_functions, NULL},
    {"AES-256-CTR", DEFAULT, ossl_aes256ctr_functions, NULL},
    {"AES-256-ECB:2.16.840.1.101.3.4.1.41", DEFAULT, ossl_aes256ecb_functions, NULL},
    {"ChaCha20-Poly1305", DEFAULT, ossl_chacha20_ossl_poly1305_functions, NULL},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM macs[] = {
    {"HMAC", DEFAULT, ossl_hmac_functions, NULL},
    {NULL, NULL, NULL, NULL},
};
/* PBKDF2 is of SCRAM, by which databases know their users. */
static const OSSL_ALGORITHM derivations[] = {
    {"HKDF", DEFAULT, ossl_kdf_hkdf_functions, NULL},
    {"TLS13-KDF", DEFAULT, ossl_kdf_tls1_3_kdf_functions, NULL},
    {"TLS1-PRF", DEFAULT, ossl_kdf_tls1_prf_functions, NULL},
    {"PBKDF2:1.2.840.113549.1.5.12", DEFAULT, ossl_kdf_pbkdf2_functions, NULL},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM generators[] = {
    {"CTR-DRBG", DEFAULT, ossl_drbg_ctr_functions, NULL},
    {"SEED-SRC", DEFAULT, ossl_seed_src_functions, NULL},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM exchanges[] = {
    {"ECDH", DEFAULT, ossl_ecdh_keyexch_functions, NULL},
    {X25519_NAMES, DEFAULT, ossl_x25519_keyexch_functions, NULL},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM signatures[] = {
    {RSA_NAMES, DEFAULT, ossl_rsa_signature_functions, NULL},
    {"ECDSA", DEFAULT, ossl_ecdsa_signature_functions, NULL},
    {ED25519_NAMES, DEFAULT, ossl_ed25519_signature_functions, NULL},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM keys[] = {
    {RSA_NAMES, DEFAULT, ossl_rsa_keymgmt_functions, NULL},
    {RSA_PSS_NAMES, DEFAULT, ossl_rsapss_keymgmt_functions, NULL},
    {EC_NAMES, DEFAULT, ossl_ec_keymgmt_functions, NULL},
    {X25519_NAMES, DEFAULT, ossl_x25519_keymgmt_functions, NULL},
    {ED25519_NAMES, DEFAULT, ossl_ed25519_keymgmt_functions, NULL},
    {NULL, NULL, NULL, NULL},
};
static const OSSL_ALGORITHM decoders[] = {
    {RSA_NAMES, KEY_INFO, ossl_PrivateKeyInfo_der_to_rsa_decoder_functions, NULL},
    {RSA_NAMES, PUBLIC_INFO, ossl_SubjectPublicKeyInfo_der_to_rsa_decoder_functions, NULL},
    {RSA_NAMES, TYPE_SPECIFIC, ossl_type_specific_keypair_der_to_rsa_decoder_functions, NULL},
    {RSA_PSS_NAMES, KEY_INFO, ossl_PrivateKeyInfo_der_to_rsapss_decoder_functions, NULL},
    {RSA_PSS_NAMES, PUBLIC_INFO, ossl_SubjectPublicKeyInfo_der_to_rsapss_decoder_functions, NULL},
    {EC_NAMES, KEY_INFO, ossl_PrivateKeyInfo_der_to_ec_decoder_functions, NULL},
    {EC_NAMES, PUBLIC_INFO, ossl_SubjectPublicKeyInfo_der_to_ec_decoder_functions, NULL},
    {EC_NAMES, TYPE_SPECIFIC, ossl_type_specific_no_pub_der_to_ec_decoder_functions, NULL},
    {ED25519_NAMES, KEY_INFO, ossl_PrivateKeyInfo_der_to_ed25519_decoder_functions, NULL},
    {ED25519_NAMES, PUBLIC_INFO, ossl_SubjectPublicKeyInfo_der_to_ed25519_decoder_functions, NULL},
    {"DER", PUBLIC_INFO, ossl_SubjectPublicKeyInfo_der_to_der_decoder_functions, NULL},
    {"DER", DECODES("pem"), ossl_pem_to_der_decoder_functions, NULL},
    {NULL, NULL, NULL, NULL},
};

/* -- The provider -------------------------------------------------------------------------------------------------- */

static const OSSL_ALGORITHM *query(void *context, int operation, int *no_cache)
{
    static const OSSL_ALGORITHM *const tables[OSSL_OP__HIGHEST + 1] = {
        [OSSL_OP_DIGEST] = digests,       [OSSL_OP_CIPHER] = ciphers,  [OSSL_OP_MAC] = macs,
        [OSSL_OP_KDF] = derivations,      [OSSL_OP_RAND] = generators, [OSSL_OP_KEYEXCH] = exchanges,
        [OSSL_OP_SIGNATURE] = signatures, [OSSL_OP_KEYMGMT] = keys,    [OSSL_OP_DECODER] = decoders,
    };

    (void)context;
    *no_cache = 0;
    return operation > 0 && operation <= OSSL_OP__HIGHEST ? tables[operation] : NULL;
}

static void teardown(void *context)
{
    BIO_meth_free(ossl_prov_ctx_get0_core_bio_method(context));
    ossl_prov_ctx_free(context);
}

static const OSSL_DISPATCH provider[] = {
    {OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))teardown},
    {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
    {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))ossl_prov_get_capabilities},
    {0, NULL},
};

int ossl_default_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *core,
                               const OSSL_DISPATCH **ret_provider, void **ret_context)
{
    OSSL_FUNC_core_get_libctx_fn *get_library = NULL;
    struct prov_ctx_st *context;
    BIO_METHOD *method;

    for (const OSSL_DISPATCH *at = core; at->function_id != 0; at++)
        if (at->function_id == OSSL_FUNC_CORE_GET_LIBCTX)
            get_library = OSSL_FUNC_core_get_libctx(at);
    if (!get_library || !ossl_prov_bio_from_dispatch(core) || !ossl_prov_seeding_from_dispatch(core))
        return 0;
    context = ossl_prov_ctx_new();
    method = ossl_bio_prov_init_bio_method();
    if (!context || !method) {
        BIO_meth_free(method);
        ossl_prov_ctx_free(context);
        return 0;
    }
    /* Of a provider that is built in, the core's handle of the library is the library. */
    ossl_prov_ctx_set0_libctx(context, (OSSL_LIB_CTX *)get_library(handle));
    ossl_prov_ctx_set0_handle(context, handle);
    ossl_prov_ctx_set0_core_bio_method(context, method);
    *ret_context = context;
    *ret_provider = provider;
    return 1;
}

/* Encoders, and decoders once more, for those who load no default provider: nobody. */
int ossl_base_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *core,
                            const OSSL_DISPATCH **ret_provider, void **ret_context)
{
    (void)handle, (void)core, (void)ret_provider, (void)ret_context;
    return 0;
}

/* Names by which old interfaces find ciphers: of PEM files with a pass phrase, which are not read. */
void openssl_add_all_ciphers_int(void)
{
}

/* And digests: of certificates' signatures. */
void openssl_add_all_digests_int(void)
{
    EVP_add_digest(EVP_sha1());
    EVP_add_digest(EVP_sha224());
    EVP_add_digest(EVP_sha256());
    EVP_add_digest(EVP_sha384());
    EVP_add_digest(EVP_sha512());
}

#ifdef PROA_TLS_ALGORITHMS_CHECK
/* Whether this OpenSSL takes the provider: it makes a client's context, has the random generator and what the tables
 * name, and nothing else. */
int main(void)
{
    unsigned char random[16], derived[32];
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    EVP_KEYEXCH *exchange = EVP_KEYEXCH_fetch(NULL, "X25519", NULL);
    EVP_SIGNATURE *signature = EVP_SIGNATURE_fetch(NULL, "ECDSA", NULL);
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");

    return !context || !cipher || !exchange || !signature || !key || EVP_MD_fetch(NULL, "SHA3-256", NULL) ||
           RAND_bytes(random, sizeof random) != 1 ||
           PKCS5_PBKDF2_HMAC("password", 8, random, sizeof random, 4096, EVP_sha256(), sizeof derived, derived) != 1;
}
#endif
