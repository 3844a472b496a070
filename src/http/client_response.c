/* Answers, RFC 9112, by llhttp in its strict mode: heads, and bodies freed of their framing. */
#include "client_internal.h"

static struct response *of(llhttp_t *llhttp)
{
    return PROA_CONTAINER(llhttp, struct response, llhttp);
}

static int refuse(struct response *response, int code)
{
    response->error = code;
    return HPE_USER;
}

static int on_message_begin(llhttp_t *llhttp)
{
    struct response *response = of(llhttp);

    response->text.len = 0;
    response->fields_count = 0;
    response->in_value = false;
    return 0;
}

static int add_text(struct response *response, const char *at, size_t length)
{
    return proa_buf_add(&response->text, proa_str_n(at, length)) < 0 ? refuse(response, response->text.error) : 0;
}

static int on_field(llhttp_t *llhttp, const char *at, size_t length)
{
    struct response *response = of(llhttp);
    struct response_field *field;

    if (response->phase != RESPONSE_HEAD)
        return 0; /* trailers are not kept */
    if (response->in_value || response->fields_count == 0) {
        if (response->fields_count == CLIENT_FIELDS_MAX)
            return refuse(response, PROA_ETOOLARGE);
        response->fields[response->fields_count++] = (struct response_field){.name_at = (uint32_t)response->text.len};
        response->in_value = false;
    }
    field = &response->fields[response->fields_count - 1];
    field->name_len += (uint32_t)length;
    return add_text(response, at, length);
}

static int on_value(llhttp_t *llhttp, const char *at, size_t length)
{
    struct response *response = of(llhttp);
    struct response_field *field;

    if (response->phase != RESPONSE_HEAD)
        return 0;
    field = &response->fields[response->fields_count - 1];
    if (!response->in_value)
        field->value_at = (uint32_t)response->text.len;
    response->in_value = true;
    field->value_len += (uint32_t)length;
    return add_text(response, at, length);
}

/* Of what llhttp lets pass; NULL: nothing is wrong. */
static const char *wrong_with_head(const llhttp_t *llhttp)
{
    if (llhttp->http_major != 1)
        return "another version";
    if (llhttp->status_code < 100)
        return "invalid status code";
    return llhttp->status_code == 101 ? "it changes the protocol" : NULL; /* none was offered */
}

/* Returns what llhttp wants to know: 0 a body may follow, 1 none does, 2 none and the connection becomes something else. */
static int on_head(llhttp_t *llhttp)
{
    struct response *response = of(llhttp);

    response->status = llhttp->status_code;
    response->reason = wrong_with_head(llhttp);
    if (response->reason)
        return refuse(response, PROA_EPROTOCOL);
    response->is_interim = response->status < 200;
    if (response->is_interim)
        return 0;
    response->phase = RESPONSE_BODY;
    if (response->is_tunnel && response->status < 300)
        return 2;
    return response->is_head ? 1 : 0;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t length)
{
    struct response *response = of(llhttp);

    if (proa_buf_add(&response->body, proa_str_n(at, length)) < 0)
        return refuse(response, response->body.error);
    return 0;
}

static int on_complete(llhttp_t *llhttp)
{
    struct response *response = of(llhttp);

    if (response->is_interim)
        return 0;
    response->keep_alive = llhttp_should_keep_alive(llhttp);
    response->phase = RESPONSE_END;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_message_begin,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

int response_init(struct response *response, struct proa_arena *arena, uint32_t head_bytes_max)
{
    *response = (struct response){.head_bytes_max = head_bytes_max};
    response->fields = proa_arena_calloc(arena, CLIENT_FIELDS_MAX, sizeof *response->fields);
    if (!response->fields)
        return PROA_ENOMEM;
    proa_buf_init(&response->text, arena, head_bytes_max);
    proa_buf_init(&response->body, NULL, 0);
    response_reset(response);
    return 0;
}

void response_reset(struct response *response)
{
    proa_buf_clear(&response->text);
    proa_buf_clear(&response->body);
    response->fields_count = 0;
    response->head_bytes = 0;
    response->status = 0;
    response->error = 0;
    response->phase = RESPONSE_HEAD;
    response->in_value = response->is_interim = response->keep_alive = false;
    llhttp_init(&response->llhttp, HTTP_RESPONSE, &settings);
}

void response_done(struct response *response)
{
    proa_buf_done(&response->body);
}

static int explain(struct response *response, struct proa_error *err)
{
    if (response->error == PROA_ETOOLARGE)
        return proa_fail(err, PROA_ETOOLARGE, "the answer's head is larger than %u bytes or has more than %d fields",
                         (unsigned)response->head_bytes_max, CLIENT_FIELDS_MAX);
    if (response->error == PROA_ENOMEM)
        return proa_fail(err, PROA_ENOMEM, "no memory for an answer");
    return proa_fail(err, PROA_EPROTOCOL, "the answer is not HTTP/1.1: %s",
                     response->error ? response->reason : llhttp_get_error_reason(&response->llhttp));
}

int response_feed(struct response *response, proa_str bytes, size_t *ret_used, struct proa_error *err)
{
    bool in_head = response->phase == RESPONSE_HEAD;
    enum llhttp_errno code;

    if (bytes.len == 0 || response->phase == RESPONSE_END) {
        *ret_used = 0;
        return 0;
    }
    code = llhttp_execute(&response->llhttp, bytes.ptr, bytes.len);
    if (code == HPE_PAUSED || code == HPE_PAUSED_UPGRADE) {
        *ret_used = (size_t)(llhttp_get_error_pos(&response->llhttp) - bytes.ptr);
        response->phase = RESPONSE_END;
        response->keep_alive = response->keep_alive || code == HPE_PAUSED_UPGRADE;
        return 0;
    }
    if (code != HPE_OK)
        return explain(response, err);
    *ret_used = bytes.len;
    if (in_head && response->phase == RESPONSE_HEAD) {
        /* Interim answers and what llhttp skips count too: a head has an end or is given up. */
        response->head_bytes += (uint32_t)(bytes.len > response->head_bytes_max ? response->head_bytes_max : bytes.len);
        if (response->head_bytes > response->head_bytes_max) {
            response->error = PROA_ETOOLARGE;
            return explain(response, err);
        }
    }
    return 0;
}

int response_finish(struct response *response, struct proa_error *err)
{
    enum llhttp_errno code;

    if (response->phase == RESPONSE_END)
        return 0;
    code = llhttp_finish(&response->llhttp);
    if (response->phase == RESPONSE_END && (code == HPE_OK || code == HPE_PAUSED)) {
        response->keep_alive = false;
        return 0;
    }
    return proa_fail(err, PROA_EUNAVAILABLE,
                     response->phase == RESPONSE_HEAD ? "the connection was closed before an answer"
                                                      : "the answer was cut off");
}

proa_str response_field(const struct response *response, struct proa_arena *arena, const char *name)
{
    proa_str wanted = proa_str_c(name), found = {NULL, 0};

    for (uint32_t i = 0; i < response->fields_count; i++) {
        const struct response_field *field = &response->fields[i];
        proa_str value = proa_str_n(response->text.ptr + field->value_at, field->value_len);

        if (!proa_str_eq_nocase(proa_str_n(response->text.ptr + field->name_at, field->name_len), wanted))
            continue;
        value = field->value_len ? proa_str_trim(value) : PROA_STR("");
        if (found.ptr)
            value = proa_arena_printf(arena, PROA_FMT ", " PROA_FMT, PROA_ARG(found), PROA_ARG(value));
        if (!value.ptr)
            break;
        found = value;
    }
    return found;
}
