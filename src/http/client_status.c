/* Answers that say no as errors, and answers as described structs. */
#include "client_internal.h"

struct problem_body {
    PROA_OPTIONAL(proa_str) title;
    PROA_OPTIONAL(proa_str) detail;
};
PROA_DESCRIBE_WITH(problem_body, (.unknown = PROA_UNKNOWN_IGNORE), (title, optional(str)), (detail, optional(str)));

static int code_of(int status)
{
    switch (status) {
    case 401: return PROA_EUNAUTHORIZED;
    case 403: return PROA_EFORBIDDEN;
    case 404:
    case 410: return PROA_ENOTFOUND;
    case 408:
    case 504: return PROA_ETIMEDOUT;
    case 409: return PROA_ECONFLICT;
    case 412: return PROA_EPRECONDITION;
    case 413: return PROA_ETOOLARGE;
    case 415: return PROA_EMEDIATYPE;
    case 422: return PROA_EVALIDATION;
    case 429:
    case 503: return PROA_EBUSY;
    case 501: return PROA_EUNSUPPORTED;
    default: return status >= 500 ? PROA_EUNAVAILABLE : PROA_EINVAL;
    }
}

int proa_client_status(const struct proa_client_response *response, struct proa_error *err)
{
    proa_str type = proa_client_field(response, "Content-Type");
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct problem_body problem;
    proa_str text = {NULL, 0};
    int code;

    if (response->status < 400)
        return 0;
    code = code_of(response->status);
    proa_arena_init(&arena, NULL, 0);
    if (type.ptr && proa_str_starts_with(type, PROA_STR("application/problem+json")) &&
        proa_json_read(&arena, response->body, PROA_JSON_LENIENT, &problem_body_type, &problem, NULL) == 0) {
        if (problem.detail.presence == PROA_SET)
            text = problem.detail.value;
        else if (problem.title.presence == PROA_SET)
            text = problem.title.value;
    }
    if (text.ptr)
        proa_fail(err, code, "answered %d: " PROA_FMT, response->status, PROA_ARG(text));
    else
        proa_fail(err, code, "answered %d", response->status);
    if (err)
        err->retry_after_s = response->retry_after_s;
    return code;
}

int proa_client_json_type(struct proa_client *client, struct proa_arena *arena,
                          const struct proa_client_request *request, const struct proa_type *type, void *ret_value,
                          struct proa_error *err)
{
    struct proa_client_response response;
    int rc;

    PROA_TRY(proa_client_fetch(client, arena, request, &response, err));
    PROA_TRY(proa_client_status(&response, err));
    rc = proa_json_read_type(arena, response.body, PROA_JSON_LENIENT, type, ret_value, err);
    if (rc == PROA_ENOMEM || rc == 0)
        return rc;
    if (err)
        err->code = PROA_EPROTOCOL;
    return err ? proa_error_wrap(err, "the answer") : PROA_EPROTOCOL;
}
