/* The error object: codes, messages that carry their causes, lists of broken rules. */
#include <proa/error.h>

#include <errno.h>
#include <proa/arena.h>
#include <proa/text.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const code_names[] = {
    "PROA_OK",           "PROA_ENOMEM",       "PROA_EINVAL",      "PROA_ENOTFOUND",    "PROA_EEXISTS",
    "PROA_ECONFLICT",    "PROA_EPRECONDITION", "PROA_ETOOLARGE",  "PROA_EMEDIATYPE",   "PROA_EVALIDATION",
    "PROA_ESYNTAX",      "PROA_ERANGE",       "PROA_EUNAUTHORIZED", "PROA_EFORBIDDEN", "PROA_ETIMEDOUT",
    "PROA_ECANCELED",    "PROA_EBUSY",        "PROA_EUNAVAILABLE", "PROA_EUNKNOWN",   "PROA_ECLOSED",
    "PROA_EIO",          "PROA_EPROTOCOL",    "PROA_EUNSUPPORTED", "PROA_EINTERNAL",  "PROA_EAGAIN",
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

/* Cuts what vsnprintf wrote so that it ends at a character. */
static void end_at_character(char *text, size_t cap)
{
    proa_str cut = proa_utf8_cut(proa_str_c(text), cap - 1);

    text[cut.len] = '\0';
}

static void set_message(struct proa_error *err, const char *format, va_list args)
{
    int len = vsnprintf(err->message, sizeof err->message, format, args);

    if (len >= (int)sizeof err->message)
        end_at_character(err->message, sizeof err->message);
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

int proa_fail(struct proa_error *err, int code, const char *format, ...)
{
    uint32_t retry_after_s;
    va_list args;

    if (!err)
        return code;
    retry_after_s = err->retry_after_s;
    proa_error_clear(err);
    err->retry_after_s = retry_after_s;
    err->code = code;
    va_start(args, format);
    set_message(err, format, args);
    va_end(args);
    return code;
}

int proa_fail_errno(struct proa_error *err, int os_errno, const char *format, ...)
{
    int code = proa_code_from_errno(-os_errno);
    char reason[128];
    va_list args;
    size_t len;

    if (!err)
        return code;
    proa_error_clear(err);
    err->code = code;
    err->os_errno = os_errno;
    va_start(args, format);
    set_message(err, format, args);
    va_end(args);
    len = strlen(err->message);
    snprintf(err->message + len, sizeof err->message - len, ": %s",
             strerror_r(os_errno, reason, sizeof reason));
    return code;
}

int proa_error_wrap(struct proa_error *err, const char *format, ...)
{
    char inner[PROA_ERROR_MESSAGE_MAX];
    va_list args;
    size_t len;

    if (!err)
        return 0;
    memcpy(inner, err->message, sizeof inner);
    va_start(args, format);
    set_message(err, format, args);
    va_end(args);
    len = strlen(err->message);
    if (snprintf(err->message + len, sizeof err->message - len, "%s%s", inner[0] ? ": " : "", inner) >=
        (int)(sizeof err->message - len))
        end_at_character(err->message, sizeof err->message);
    return err->code;
}

int proa_error_add_field(struct proa_error *err, int code, proa_str pointer, const char *rule,
                         const char *format, ...)
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
