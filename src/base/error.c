/* The error object: codes, messages that carry their causes, lists of broken rules. */
#include <proa/error.h>

#include <errno.h>
#include <proa/arena.h>
#include <proa/text.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const code_names[] = {
    "PROA_OK",        "PROA_ENOMEM",        "PROA_EINVAL",        "PROA_ENOTFOUND",  "PROA_EEXISTS",
    "PROA_ECONFLICT", "PROA_EPRECONDITION", "PROA_ETOOLARGE",     "PROA_EMEDIATYPE", "PROA_EVALIDATION",
    "PROA_ESYNTAX",   "PROA_ERANGE",        "PROA_EUNAUTHORIZED", "PROA_EFORBIDDEN", "PROA_ETIMEDOUT",
    "PROA_ECANCELED", "PROA_EBUSY",         "PROA_EUNAVAILABLE",  "PROA_EUNKNOWN",   "PROA_ECLOSED",
    "PROA_EIO",       "PROA_EPROTOCOL",     "PROA_EUNSUPPORTED",  "PROA_EINTERNAL",  "PROA_EAGAIN",
};

const char *proa_code_name(int code)
{
    return code <= 0 && code >= PROA_ECODE_MIN ? code_names[-code] : "PROA_E?";
}

int proa_code_from_errno(int negative_errno)
{
    switch (-negative_errno) {
    case 0: return PROA_OK;
    case ENOMEM: return PROA_ENOMEM;
    case EINVAL: return PROA_EINVAL;
    case ENOENT: return PROA_ENOTFOUND;
    case EEXIST:
    case EADDRINUSE: return PROA_EEXISTS;
    case EACCES:
    case EPERM:
    case EROFS: return PROA_EFORBIDDEN;
    case ETIMEDOUT: return PROA_ETIMEDOUT;
    case ECANCELED: return PROA_ECANCELED;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case EBUSY: return PROA_EBUSY;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EADDRNOTAVAIL: return PROA_EUNAVAILABLE;
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN:
    case ECONNABORTED: return PROA_ECLOSED;
    case EFBIG:
    case ENAMETOOLONG: return PROA_ETOOLARGE;
    case ENOSYS:
    case EOPNOTSUPP:
    case EAFNOSUPPORT: return PROA_EUNSUPPORTED;
    case EAGAIN: return PROA_EAGAIN;
    default: return PROA_EIO;
    }
}

/* Cuts an unfinished character off the end of text that did not fit. */
static void end_at_character(char *text)
{
    size_t len = strlen(text);
    size_t start = len;
    uint32_t code_point;

    while (start > 0 && len - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start > 0 && (unsigned char)text[start - 1] >= 0xc0 &&
        proa_utf8_next(proa_str_n(text + start - 1, len - start + 1), &code_point) == 0)
        text[start - 1] = '\0';
}

/* Printed beside the message first: the arguments may point into it ("outer: %s", err->message). */
static PROA_PRINTF(2, 0) void set_message(struct proa_error *err, const char *format, va_list args)
{
    char text[PROA_ERROR_MESSAGE_MAX];

    if (vsnprintf(text, sizeof text, format, args) >= (int)sizeof text)
        end_at_character(text);
    memcpy(err->message, text, strlen(text) + 1);
}

/* Puts ": text" behind the message, as far as it fits. */
static void append_message(struct proa_error *err, const char *text)
{
    size_t len = strlen(err->message);

    if (snprintf(err->message + len, sizeof err->message - len, ": %s", text) >= (int)(sizeof err->message - len))
        end_at_character(err->message);
}

void proa_error_clear(struct proa_error *err)
{
    struct proa_arena *arena;

    if (!err)
        return;
    arena = err->arena;
    err->code = 0;
    err->retry_after_s = 0;
    err->os_errno = 0;
    err->message[0] = '\0';
    err->pointer[0] = '\0';
    err->type = NULL;
    err->fields = err->fields_tail = NULL;
    err->fields_count = 0;
    err->origin[0] = '\0';
    err->arena = arena;
}

/* A fresh error with a message; what was said about retrying stays. */
static PROA_PRINTF(3, 0) void restart(struct proa_error *err, int code, const char *format, va_list args)
{
    uint32_t retry_after_s = err->retry_after_s;
    char text[PROA_ERROR_MESSAGE_MAX];

    set_message(err, format, args);
    memcpy(text, err->message, sizeof text);
    proa_error_clear(err);
    memcpy(err->message, text, sizeof text);
    err->retry_after_s = retry_after_s;
    err->code = code;
}

int proa_fail(struct proa_error *err, int code, const char *format, ...)
{
    va_list args;

    if (!err)
        return code;
    va_start(args, format);
    restart(err, code, format, args);
    va_end(args);
    return code;
}

int proa_fail_errno(struct proa_error *err, int os_errno, const char *format, ...)
{
    int code = proa_code_from_errno(-os_errno);
    char reason[128];
    va_list args;

    if (!err)
        return code;
    va_start(args, format);
    restart(err, code, format, args);
    va_end(args);
    err->os_errno = os_errno;
    append_message(err, strerror_r(os_errno, reason, sizeof reason));
    return code;
}

int proa_error_wrap(struct proa_error *err, const char *format, ...)
{
    char inner[PROA_ERROR_MESSAGE_MAX];
    va_list args;

    if (!err)
        return 0;
    memcpy(inner, err->message, sizeof inner);
    va_start(args, format);
    set_message(err, format, args);
    va_end(args);
    if (inner[0])
        append_message(err, inner);
    return err->code;
}

int proa_error_add_field(struct proa_error *err, int code, proa_str pointer, const char *rule, const char *format, ...)
{
    struct proa_error_field *field;
    va_list args;

    if (!err)
        return code;
    if (err->fields_count++ == 0) {
        proa_str shown = proa_utf8_cut(pointer, sizeof err->pointer - 1);

        err->code = code;
        if (shown.len)
            memcpy(err->pointer, shown.ptr, shown.len);
        err->pointer[shown.len] = '\0';
        va_start(args, format);
        set_message(err, format, args);
        va_end(args);
    }
    if (!err->arena || err->fields_count > PROA_ERROR_FIELDS_MAX)
        return code;
    field = proa_arena_new(err->arena, struct proa_error_field);
    if (!field)
        return code;
    va_start(args, format);
    field->detail = proa_arena_vprintf(err->arena, format, args);
    va_end(args);
    field->pointer = proa_arena_str(err->arena, pointer);
    field->code = proa_arena_str(err->arena, proa_str_c(rule));
    if (err->fields_tail)
        err->fields_tail->next = field;
    else
        err->fields = field;
    err->fields_tail = field;
    return code;
}
