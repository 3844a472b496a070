/* Problem documents, RFC 9457. */
#include "problem.h"

#include <proa/json.h>
#include <string.h>

int problem_status(int code)
{
    switch (code) {
    case PROA_EINVAL:
    case PROA_ESYNTAX:
    case PROA_ERANGE: return 400;
    case PROA_EUNAUTHORIZED: return 401;
    case PROA_EFORBIDDEN: return 403;
    case PROA_ENOTFOUND: return 404;
    case PROA_EEXISTS:
    case PROA_ECONFLICT: return 409;
    case PROA_EPRECONDITION: return 412;
    case PROA_ETOOLARGE: return 413;
    case PROA_EMEDIATYPE: return 415;
    case PROA_EVALIDATION: return 422;
    case PROA_EUNSUPPORTED: return 501;
    case PROA_EPROTOCOL: return 502;
    case PROA_ENOMEM:
    case PROA_ECANCELED:
    case PROA_EBUSY:
    case PROA_EUNAVAILABLE:
    case PROA_EUNKNOWN: return 503;
    case PROA_ETIMEDOUT: return 504;
    default: return 500;
    }
}

bool problem_is_retryable(int code)
{
    return code == PROA_EBUSY || code == PROA_EUNAVAILABLE || code == PROA_ENOMEM;
}

static const struct {
    int status;
    const char *title;
} titles[] = {
    {100, "Continue"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *problem_title(int status)
{
    for (size_t i = 0; i < PROA_COUNT(titles); i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Unknown";
}

/* What an internal error or a lost dependency says is for the log: it may name files, statements or hosts. */
static bool is_for_clients(int code, int status)
{
    return status < 500 || code == PROA_EBUSY || code == PROA_EUNSUPPORTED || code == PROA_EUNKNOWN;
}

/* The pointer as a URI fragment (RFC 6901 section 6), as RFC 9457's examples have it: "#/name". */
static void write_pointer(struct proa_json_writer *w, proa_str pointer)
{
    static const char allowed[] = "-._~!$&'()*+,;=:@/?";
    struct proa_buf text PROA_CLEANUP(proa_buf_done);

    if (pointer.len > 0 && pointer.ptr[0] == '#') {
        proa_json_text(w, pointer);
        return;
    }
    proa_buf_init(&text, NULL, 0);
    proa_buf_add_char(&text, '#');
    for (size_t i = 0; i < pointer.len; i++) {
        char c = pointer.ptr[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr(allowed, c)))
            proa_buf_add_char(&text, c);
        else
            proa_buf_printf(&text, "%%%02X", (unsigned)(unsigned char)c);
    }
    if (text.error < 0)
        w->out->error = text.error;
    proa_json_text(w, proa_buf_str(&text));
}

static void write_fields(struct proa_json_writer *w, const struct proa_error *err)
{
    proa_json_key(w, PROA_STR("errors"));
    proa_json_array(w);
    for (const struct proa_error_field *field = err->fields; field; field = field->next) {
        proa_json_object(w);
        proa_json_key(w, PROA_STR("pointer"));
        write_pointer(w, field->pointer);
        proa_json_key(w, PROA_STR("code"));
        proa_json_text(w, field->code);
        proa_json_key(w, PROA_STR("detail"));
        proa_json_text(w, field->detail);
        proa_json_object_end(w);
    }
    proa_json_array_end(w);
}

void problem_write(struct proa_buf *out, int status, const struct proa_error *err, proa_str instance)
{
    struct proa_json_writer w;

    if (status == 0)
        status = problem_status(err->code);
    proa_json_writer_init(&w, out);
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("type"));
    proa_json_text(&w, proa_str_c(err->type ? err->type : "about:blank"));
    proa_json_key(&w, PROA_STR("title"));
    proa_json_text(&w, proa_str_c(problem_title(status)));
    proa_json_key(&w, PROA_STR("status"));
    proa_json_u64(&w, (uint64_t)status);
    if (err->message[0] && is_for_clients(err->code, status)) {
        proa_json_key(&w, PROA_STR("detail"));
        proa_json_text(&w, proa_str_c(err->message));
    }
    if (instance.len > 0) {
        proa_json_key(&w, PROA_STR("instance"));
        proa_json_text(&w, instance);
    }
    if (err->fields)
        write_fields(&w, err);
    proa_json_object_end(&w);
}
