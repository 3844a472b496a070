/* metav1.Status: failures as the API server tells them. */
#include "client_internal.h"

#include <stdio.h>

struct status_cause {
    proa_str reason, message, field;
};
PROA_DESCRIBE_WITH(status_cause, (.unknown = PROA_UNKNOWN_IGNORE), (reason, str, .default_json = "\"\""),
                   (message, str, .default_json = "\"\""), (field, str, .default_json = "\"\""));

struct status_details {
    PROA_OPTIONAL(PROA_ARRAY_OF(struct status_cause)) causes;
    uint32_t retry_after_seconds;
};
PROA_DESCRIBE_WITH(status_details, (.unknown = PROA_UNKNOWN_IGNORE), (causes, optional(array(object(status_cause)))),
                   (retry_after_seconds, u32, .json = "retryAfterSeconds", .default_json = "0"));

struct kube_status {
    proa_str kind, status, reason, message;
    int32_t code;
    PROA_OPTIONAL(struct status_details) details;
};
PROA_DESCRIBE_WITH(kube_status, (.unknown = PROA_UNKNOWN_IGNORE), (kind, str, .default_json = "\"\""),
                   (status, str, .default_json = "\"\""), (reason, str, .default_json = "\"\""),
                   (message, str, .default_json = "\"\""), (code, i32, .default_json = "0"),
                   (details, optional(object(status_details))));

static const struct {
    const char *reason;
    int code;
} reasons[] = {
    {"NotFound", PROA_ENOTFOUND},
    {"AlreadyExists", PROA_EEXISTS},
    {"Conflict", PROA_ECONFLICT},
    {"Invalid", PROA_EVALIDATION},
    {"Forbidden", PROA_EFORBIDDEN},
    {"Unauthorized", PROA_EUNAUTHORIZED},
    {"BadRequest", PROA_EINVAL},
    {"MethodNotAllowed", PROA_EUNSUPPORTED},
    {"NotAcceptable", PROA_EUNSUPPORTED},
    {"UnsupportedMediaType", PROA_EMEDIATYPE},
    {"Gone", PROA_EPRECONDITION},
    {"Expired", PROA_EPRECONDITION},
    {"TooManyRequests", PROA_EBUSY},
    {"RequestEntityTooLarge", PROA_ETOOLARGE},
    {"ServerTimeout", PROA_EBUSY},
    {"Timeout", PROA_ETIMEDOUT},
    {"ServiceUnavailable", PROA_EUNAVAILABLE},
    {"InternalError", PROA_EUNAVAILABLE},
};

static int code_of_http(int status)
{
    switch (status) {
    case 401: return PROA_EUNAUTHORIZED;
    case 403: return PROA_EFORBIDDEN;
    case 404: return PROA_ENOTFOUND;
    case 409: return PROA_ECONFLICT;
    case 410: return PROA_EPRECONDITION;
    case 413: return PROA_ETOOLARGE;
    case 415: return PROA_EMEDIATYPE;
    case 422: return PROA_EVALIDATION;
    case 429: return PROA_EBUSY;
    case 504: return PROA_ETIMEDOUT;
    default: return status >= 500 ? PROA_EUNAVAILABLE : PROA_EINVAL;
    }
}

static int code_of(const struct kube_status *status, int http_status)
{
    for (size_t i = 0; i < PROA_COUNT(reasons); i++)
        if (proa_str_eq_c(status->reason, reasons[i].reason))
            return reasons[i].code;
    return code_of_http(status->code ? status->code : http_status);
}

int kube_status_error(proa_str body, int http_status, uint32_t retry_after_s, struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct kube_status status;
    int code;

    proa_arena_init(&arena, NULL, 0);
    if (proa_json_read(&arena, body, PROA_JSON_LENIENT, &kube_status_type, &status, NULL) < 0 ||
        !proa_str_eq_c(status.kind, "Status")) {
        code = proa_fail(err, code_of_http(http_status), "the API server answered %d", http_status);
        if (err)
            err->retry_after_s = retry_after_s;
        return code;
    }
    code = code_of(&status, http_status);
    proa_fail(err, code, PROA_FMT, PROA_ARG(status.message));
    if (!err)
        return code;
    snprintf(err->origin, sizeof err->origin, PROA_FMT,
             PROA_ARG(proa_str_slice(status.reason, 0, sizeof err->origin - 1)));
    err->retry_after_s = retry_after_s;
    if (status.details.presence != PROA_SET)
        return code;
    if (status.details.value.retry_after_seconds > err->retry_after_s)
        err->retry_after_s = status.details.value.retry_after_seconds;
    for (size_t i = 0; status.details.value.causes.presence == PROA_SET && i < status.details.value.causes.value.len;
         i++) {
        const struct status_cause *cause = &status.details.value.causes.value.ptr[i];

        if (err->arena)
            proa_error_add_field(err, code, cause->field, "invalid", PROA_FMT, PROA_ARG(cause->message));
    }
    return code;
}
