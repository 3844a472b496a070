/* Bodies: by length, or in chunks with their trailers. */
#include "h1.h"

#include <assert.h>

/* Fields that say how to read or route a message, or who sends it, come in its head or not at all (RFC 9110 section
 * 6.5.1). */
static const proa_str forbidden_trailers[] = {
    PROA_STR_INIT("transfer-encoding"),
    PROA_STR_INIT("content-length"),
    PROA_STR_INIT("host"),
    PROA_STR_INIT("trailer"),
    PROA_STR_INIT("connection"),
    PROA_STR_INIT("keep-alive"),
    PROA_STR_INIT("upgrade"),
    PROA_STR_INIT("te"),
    PROA_STR_INIT("expect"),
    PROA_STR_INIT("max-forwards"),
    PROA_STR_INIT("range"),
    PROA_STR_INIT("cache-control"),
    PROA_STR_INIT("pragma"),
    PROA_STR_INIT("authorization"),
    PROA_STR_INIT("proxy-authorization"),
    PROA_STR_INIT("cookie"),
    PROA_STR_INIT("content-encoding"),
    PROA_STR_INIT("content-type"),
    PROA_STR_INIT("content-range"),
    PROA_STR_INIT("if-match"),
    PROA_STR_INIT("if-none-match"),
    PROA_STR_INIT("if-modified-since"),
    PROA_STR_INIT("if-range"),
    PROA_STR_INIT("if-unmodified-since"),
};

static enum h1_event trailers_end(struct h1_parser *parser)
{
    for (uint32_t i = 0; i < parser->fields_count; i++) {
        struct h1_field *field = &parser->fields[i];
        proa_str name = proa_str_n(parser->base + field->name.at, field->name.len);

        for (size_t k = 0; k < PROA_COUNT(forbidden_trailers); k++)
            if (proa_str_eq_nocase(name, forbidden_trailers[k]))
                return h1_fail(parser, 400, "this field may not be a trailer");
        while (field->value.len > 0 && (parser->base[field->value.at + field->value.len - 1] == ' ' ||
                                        parser->base[field->value.at + field->value.len - 1] == '\t'))
            field->value.len--;
    }
    parser->phase = H1_AT_END;
    return H1_END;
}

static enum h1_event failed(struct h1_parser *parser)
{
    if (parser->limit == H1_LIMIT_FIELDS)
        return h1_fail(parser, 431, "there are too many trailer fields");
    return h1_fail(parser, 400, llhttp_get_error_reason(&parser->llhttp));
}

/* The trailer section is used as a whole, so that its fields' spans hold. */
static enum h1_event trailers(struct h1_parser *parser, proa_str input, size_t *ret_used)
{
    uint32_t max = parser->limits->head_bytes;
    uint32_t end = input.len < max ? (uint32_t)input.len : max;
    llhttp_errno_t code = HPE_OK;
    enum h1_event event;

    parser->base = input.ptr;
    if (parser->parsed < end)
        code = llhttp_execute(&parser->llhttp, input.ptr + parser->parsed, end - parser->parsed);
    if (code == HPE_PAUSED) {
        assert(parser->ended);
        event = trailers_end(parser);
        *ret_used = (size_t)(llhttp_get_error_pos(&parser->llhttp) - input.ptr);
        return event;
    }
    if (code != HPE_OK)
        return failed(parser);
    parser->parsed = end;
    if (end == max) {
        parser->limit = H1_LIMIT_HEAD;
        return h1_fail(parser, 431, "the trailers are too large");
    }
    return H1_MORE;
}

/* A chunk's line has ended: size and extensions are known. */
static enum h1_event chunk_begin(struct h1_parser *parser)
{
    parser->chunk_begun = false;
    if (parser->line_bytes > H1_CHUNK_LINE_MAX || parser->extension_bytes > H1_EXTENSION_SPARE + parser->body_bytes)
        return h1_fail(parser, 400, "a chunk's extensions are too long");
    parser->line_bytes = 0;
    if (parser->llhttp.content_length == 0) {
        parser->phase = H1_AT_TRAILERS;
        parser->parsed = 0;
        parser->fields_count = 0;
        parser->in_name = false;
        llhttp_resume(&parser->llhttp);
    }
    return H1_MORE;
}

static enum h1_event chunks(struct h1_parser *parser, proa_str input, size_t *ret_used, proa_str *ret_piece)
{
    size_t used = 0;

    while (used < input.len && parser->phase == H1_AT_CHUNKS) {
        llhttp_errno_t code;
        size_t at = used;

        if (llhttp_get_errno(&parser->llhttp) == HPE_PAUSED)
            llhttp_resume(&parser->llhttp);
        parser->piece = proa_str_n(NULL, 0);
        code = llhttp_execute(&parser->llhttp, input.ptr + used, input.len - used);
        if (code != HPE_OK && code != HPE_PAUSED)
            return failed(parser);
        used = code == HPE_OK ? input.len : (size_t)(llhttp_get_error_pos(&parser->llhttp) - input.ptr);
        *ret_used = used;
        if (parser->piece.len > 0) {
            parser->body_bytes += parser->piece.len;
            *ret_piece = parser->piece;
            return H1_BODY;
        }
        parser->line_bytes += (uint32_t)(used - at);
        if (parser->chunk_begun) {
            if (chunk_begin(parser) == H1_ERROR)
                return H1_ERROR;
        } else if (parser->line_bytes > H1_CHUNK_LINE_MAX) {
            return h1_fail(parser, 400, "a chunk's extensions are too long");
        }
    }
    return H1_MORE;
}

enum h1_event h1_body(struct h1_parser *parser, proa_str input, size_t *ret_used, proa_str *ret_piece)
{
    size_t more;

    *ret_used = 0;
    switch (parser->phase) {
    case H1_AT_LENGTH_BODY:
        if (input.len == 0)
            return H1_MORE;
        more = input.len < parser->left ? input.len : (size_t)parser->left;
        parser->left -= more;
        parser->body_bytes += more;
        if (parser->left == 0)
            parser->phase = H1_AT_END;
        *ret_used = more;
        *ret_piece = proa_str_n(input.ptr, more);
        return H1_BODY;
    case H1_AT_CHUNKS:
        /* When trailers begin, the next call reads them: their spans count from their first byte. */
        return chunks(parser, input, ret_used, ret_piece);
    case H1_AT_TRAILERS: return trailers(parser, input, ret_used);
    case H1_AT_END: parser->fields_count = 0; return H1_END;
    default: return H1_ERROR;
    }
}
