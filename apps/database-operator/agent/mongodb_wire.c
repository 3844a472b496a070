/* MongoDB's wire protocol, as far as one command after the other over the local socket needs it: OP_MSG with one section, and SCRAM.
 * docs/decisions/mongodb-client.md says why not by mongosh. */
#include "mongodb_internal.h"
#include "scram.h"

#include <proa/stream.h>
#include <proa/text.h>
#include <stdio.h>

enum {
    HEADER_BYTES = 16,
    PREFIX_BYTES = HEADER_BYTES + 5, /* flags, kind of section */
    OP_MSG = 2013,
    ANSWER_MAX_BYTES = 4 * 1024 * 1024,
    NONCE_BYTES = 24,
    ITERATIONS_MIN = 4096,
    ITERATIONS_MAX = 1000000,
    SALT_MAX_BYTES = 256,
};

uint16_t mo_port(const struct instance *instance)
{
    return instance->config->engine_port ? instance->config->engine_port : instance->engine->port;
}

/* -- Connection ------------------------------------------------------------------------------------------------------ */

int mo_open(struct mo_session *session, const struct instance *instance, struct proa_arena *arena,
            struct proa_error *err)
{
    proa_str address = proa_arena_printf(arena, "unix:" PROA_FMT "/mongodb-%u.sock",
                                         PROA_ARG(instance->config->run_dir), mo_port(instance));
    int rc;

    *session = (struct mo_session){.instance = instance, .arena = arena};
    if (!address.ptr)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    rc = proa_connect(instance->loop, address.ptr, &session->stream, err);
    return rc == PROA_ENOTFOUND ? PROA_EUNAVAILABLE : rc;
}

void mo_close(struct mo_session *session)
{
    proa_stream_close(session->stream);
    session->stream = NULL;
}

static uint32_t number_at(const char *at)
{
    const unsigned char *bytes = (const unsigned char *)at;

    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void put_number(char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (char)(value >> (8 * i));
}

static int read_all(struct mo_session *session, char *out, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        size_t got;

        PROA_TRY(proa_stream_read(session->stream, out + at, bytes - at, &got));
        if (got == 0)
            return PROA_ECLOSED;
        at += got;
    }
    return 0;
}

static int read_answer(struct mo_session *session, proa_str *ret_document)
{
    char prefix[PREFIX_BYTES], *body;
    uint32_t length;

    PROA_TRY(read_all(session, prefix, sizeof prefix));
    length = number_at(prefix);
    if (length < PREFIX_BYTES || length > ANSWER_MAX_BYTES || number_at(prefix + 8) != (uint32_t)session->request ||
        number_at(prefix + 12) != OP_MSG || number_at(prefix + HEADER_BYTES) != 0 || prefix[PREFIX_BYTES - 1] != 0)
        return PROA_ESYNTAX;
    length -= PREFIX_BYTES;
    body = proa_arena_alloc(session->arena, length);
    if (!body)
        return PROA_ENOMEM;
    PROA_TRY(read_all(session, body, length));
    PROA_TRY(bson_check(proa_str_n(body, length)));
    *ret_document = proa_str_n(body, length);
    return 0;
}

/* -- Commands -------------------------------------------------------------------------------------------------------- */

void mo_begin_empty(struct mo_command *command, struct mo_session *session, const char *name)
{
    static const char room[PREFIX_BYTES];

    proa_buf_init(&command->buf, session->arena, 0);
    proa_buf_add(&command->buf, proa_str_n(room, sizeof room));
    bson_begin(&command->w, &command->buf);
    command->name = name;
}

void mo_begin(struct mo_command *command, struct mo_session *session, const char *name, proa_str value)
{
    mo_begin_empty(command, session, name);
    if (value.ptr)
        bson_text(&command->w, name, value);
    else
        bson_i32(&command->w, name, 1);
}

static int code_of(int64_t code)
{
    switch (code) {
    case 18: /* AuthenticationFailed */ return PROA_EFORBIDDEN;
    case 91:    /* ShutdownInProgress */
    case 189:   /* PrimarySteppedDown */
    case 10107: /* NotWritablePrimary */
    case 11600: /* InterruptedAtShutdown */
    case 11602: /* InterruptedDueToReplStateChange */
    case 13435: /* NotPrimaryNoSecondaryOk */
    case 13436: /* NotPrimaryOrSecondary */ return PROA_EUNAVAILABLE;
    default: return PROA_EIO;
    }
}

int mo_run(struct mo_session *session, struct mo_command *command, const char *database, proa_str *ret_answer,
           struct proa_error *err)
{
    struct proa_buf *buf = &command->buf;
    proa_str answer = {0};
    int rc;

    bson_text(&command->w, "$db", proa_str_c(database));
    bson_end(&command->w);
    if (buf->error < 0)
        return proa_fail(err, buf->error, "%s: memory is out", command->name);
    session->request++;
    session->code = 0;
    put_number(buf->ptr, (uint32_t)buf->len);
    put_number(buf->ptr + 4, (uint32_t)session->request);
    put_number(buf->ptr + 12, OP_MSG);
    rc = proa_stream_write(session->stream, proa_buf_str(buf));
    if (rc == 0)
        rc = read_answer(session, &answer);
    if (rc < 0)
        return proa_fail(err, rc == PROA_ECLOSED ? PROA_EUNAVAILABLE : rc, "%s: %s", command->name, proa_code_name(rc));
    if (bson_get_i64(answer, "ok") != 1) {
        session->code = (int32_t)bson_get_i64(answer, "code");
        return proa_fail(err, code_of(session->code), "%s: " PROA_FMT " (" PROA_FMT ")", command->name,
                         PROA_ARG(bson_get_text(answer, "errmsg")), PROA_ARG(bson_get_text(answer, "codeName")));
    }
    if (ret_answer)
        *ret_answer = answer;
    return 0;
}

int mo_ask_admin(struct mo_session *session, const char *name, proa_str *ret_answer, struct proa_error *err)
{
    struct mo_command command;

    mo_begin(&command, session, name, (proa_str){0});
    return mo_run(session, &command, "admin", ret_answer, err);
}

/* -- SCRAM-SHA-256 --------------------------------------------------------------------------------------------------- */

struct scram {
    struct mo_session *session;
    const char *database;
    proa_str password;
    proa_str first; /* the client's first message, without its header */
    char nonce[2 * NONCE_BYTES + 1];
    unsigned char server_signature[SCRAM_KEY_BYTES];
};

static bool prove(struct scram *scram, proa_str salt, int iterations, proa_str auth_message,
                  unsigned char ret_proof[SCRAM_KEY_BYTES])
{
    struct scram_keys keys;

    if (!scram_derive(scram->password, salt, iterations, &keys) || !scram_hmac(keys.stored, auth_message, ret_proof) ||
        !scram_hmac(keys.server, auth_message, scram->server_signature))
        return false;
    for (size_t i = 0; i < SCRAM_KEY_BYTES; i++)
        ret_proof[i] ^= keys.client[i];
    return true;
}

/* The value of "r=…" and its like; {NULL,0} when it is not there. */
static proa_str attribute(proa_str message, char name)
{
    proa_str rest = message, part;

    while (proa_str_split(&rest, ',', &part))
        if (part.len >= 2 && part.ptr[0] == name && part.ptr[1] == '=')
            return proa_str_slice(part, 2, part.len);
    return (proa_str){0};
}

static proa_str payload_of(proa_str answer)
{
    struct bson_value value = {0};

    if (!bson_find(answer, "payload", &value) || value.type != BSON_BINARY)
        return (proa_str){0};
    return proa_str_slice(value.bytes, 5, value.bytes.len);
}

/* "," and "=" have a meaning in the message. */
static void add_name(struct proa_buf *out, proa_str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] == ',')
            proa_buf_add_c(out, "=2C");
        else if (name.ptr[i] == '=')
            proa_buf_add_c(out, "=3D");
        else
            proa_buf_add_char(out, name.ptr[i]);
}

static int start_scram(struct scram *scram, proa_str user, proa_str *ret_answer, struct proa_error *err)
{
    struct mo_session *session = scram->session;
    unsigned char chance[NONCE_BYTES];
    struct mo_command command;
    struct proa_buf message;

    proa_loop_random(session->instance->loop, chance, sizeof chance);
    proa_hex_encode(scram->nonce, proa_str_n((const char *)chance, sizeof chance));
    proa_buf_init(&message, session->arena, 0);
    proa_buf_add_c(&message, "n,,n=");
    add_name(&message, user);
    proa_buf_printf(&message, ",r=%s", scram->nonce);
    if (message.error < 0)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    scram->first = proa_str_slice(proa_buf_str(&message), 3, message.len);
    mo_begin(&command, session, "saslStart", (proa_str){0});
    bson_text(&command.w, "mechanism", PROA_STR("SCRAM-SHA-256"));
    bson_binary(&command.w, "payload", proa_buf_str(&message));
    bson_document(&command.w, "options");
    bson_bool(&command.w, "skipEmptyExchange", true);
    bson_end(&command.w);
    return mo_run(session, &command, scram->database, ret_answer, err);
}

/* The client's last message, from the server's first. */
static int answer_challenge(struct scram *scram, proa_str challenge, struct proa_buf *out, struct proa_error *err)
{
    proa_str nonce = attribute(challenge, 'r'), auth_message;
    unsigned char proof[SCRAM_KEY_BYTES];
    struct proa_buf salt;
    uint64_t iterations;

    proa_buf_init(&salt, scram->session->arena, SALT_MAX_BYTES);
    if (!proa_str_starts_with(nonce, proa_str_c(scram->nonce)) ||
        proa_base64_decode(&salt, attribute(challenge, 's')) < 0 ||
        proa_str_to_u64(attribute(challenge, 'i'), &iterations) < 0 || iterations < ITERATIONS_MIN ||
        iterations > ITERATIONS_MAX)
        return proa_fail(err, PROA_ESYNTAX, "the server's challenge is none of SCRAM");
    auth_message = proa_arena_printf(scram->session->arena, PROA_FMT "," PROA_FMT ",c=biws,r=" PROA_FMT,
                                     PROA_ARG(scram->first), PROA_ARG(challenge), PROA_ARG(nonce));
    if (!auth_message.ptr || !prove(scram, proa_buf_str(&salt), (int)iterations, auth_message, proof))
        return proa_fail(err, PROA_EINTERNAL, "proving a password");
    proa_buf_printf(out, "c=biws,r=" PROA_FMT ",p=", PROA_ARG(nonce));
    proa_base64_encode(out, proa_str_n((const char *)proof, sizeof proof));
    return out->error < 0 ? proa_fail(err, PROA_ENOMEM, "memory is out") : 0;
}

static int continue_scram(struct scram *scram, proa_str started, proa_str *ret_answer, struct proa_error *err)
{
    struct mo_command command;
    struct proa_buf message;

    proa_buf_init(&message, scram->session->arena, 0);
    PROA_TRY(answer_challenge(scram, payload_of(started), &message, err));
    mo_begin(&command, scram->session, "saslContinue", (proa_str){0});
    bson_i32(&command.w, "conversationId", (int32_t)bson_get_i64(started, "conversationId"));
    bson_binary(&command.w, "payload", proa_buf_str(&message));
    return mo_run(scram->session, &command, scram->database, ret_answer, err);
}

/* Who does not know the password cannot sign. */
static int check_server(const struct scram *scram, proa_str answer, struct proa_error *err)
{
    struct proa_buf signature;
    bool is_good;

    proa_buf_init(&signature, scram->session->arena, SALT_MAX_BYTES);
    is_good = proa_base64_decode(&signature, attribute(payload_of(answer), 'v')) == 0 &&
              proa_str_eq_secret(proa_buf_str(&signature),
                                 proa_str_n((const char *)scram->server_signature, SCRAM_KEY_BYTES));
    return is_good ? 0 : proa_fail(err, PROA_EFORBIDDEN, "the server does not know the password");
}

int mo_login(struct mo_session *session, const char *database, proa_str user, proa_str password, struct proa_error *err)
{
    struct scram scram = {.session = session, .database = database, .password = password};
    proa_str answer = {0};

    PROA_TRY(start_scram(&scram, user, &answer, err));
    PROA_TRY(continue_scram(&scram, answer, &answer, err));
    PROA_TRY(check_server(&scram, answer, err));
    if (bson_get_i64(answer, "done") != 1) {
        struct mo_command command;

        /* A server that does not skip it wants one more message, an empty one. */
        mo_begin(&command, session, "saslContinue", (proa_str){0});
        bson_i32(&command.w, "conversationId", (int32_t)bson_get_i64(answer, "conversationId"));
        bson_binary(&command.w, "payload", (proa_str){0});
        PROA_TRY(mo_run(session, &command, database, &answer, err));
    }
    return bson_get_i64(answer, "done") == 1 ? 0 : proa_fail(err, PROA_ESYNTAX, "the login has no end");
}

int mo_open_system(struct mo_session *session, const struct instance *instance, struct proa_arena *arena,
                   struct proa_error *err)
{
    proa_str key;
    int rc;

    PROA_TRY(mo_read_key(instance, arena, &key, err));
    PROA_TRY(mo_open(session, instance, arena, err));
    rc = mo_login(session, "local", PROA_STR("__system"), key, err);
    if (rc < 0)
        mo_close(session);
    return rc;
}
