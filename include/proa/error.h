/** Error codes and the error object.
 *
 *  Functions return 0 (or a count) on success and a negative PROA_E… code otherwise. Where more is
 *  to be said they fill an error object that the caller gives (NULL is allowed everywhere and means
 *  that the caller does not want the text). Nothing in Proa keeps a "last error".
 */
#ifndef PROA_ERROR_H
#define PROA_ERROR_H

#include <proa/defs.h>
#include <proa/str.h>

PROA_BEGIN_DECLS

/** Codes are negative and stable. The comment gives the HTTP status a handler's return becomes. */
enum proa_code {
    PROA_OK = 0,
    PROA_ENOMEM = -1,         /**< memory refused (503) */
    PROA_EINVAL = -2,         /**< the caller broke a contract or gave a malformed value (400) */
    PROA_ENOTFOUND = -3,      /**< what was asked for does not exist (404) */
    PROA_EEXISTS = -4,        /**< it exists already, or a unique rule is broken (409) */
    PROA_ECONFLICT = -5,      /**< it collides with the current state (409) */
    PROA_EPRECONDITION = -6,  /**< a condition of the caller does not hold (412) */
    PROA_ETOOLARGE = -7,      /**< over a limit of size (413) */
    PROA_EMEDIATYPE = -8,     /**< media type not supported (415) */
    PROA_EVALIDATION = -9,    /**< well-formed, but rules are broken (422) */
    PROA_ESYNTAX = -10,       /**< text that cannot be parsed (400) */
    PROA_ERANGE = -11,        /**< a number does not fit (400) */
    PROA_EUNAUTHORIZED = -12, /**< who are you (401) */
    PROA_EFORBIDDEN = -13,    /**< you may not (403) */
    PROA_ETIMEDOUT = -14,     /**< a deadline struck (504) */
    PROA_ECANCELED = -15,     /**< cancelled: client gone, drain, group ended (503) */
    PROA_EBUSY = -16,         /**< a limit is reached, try later (503 with Retry-After) */
    PROA_EUNAVAILABLE = -17,  /**< a dependency cannot be reached (503 with Retry-After) */
    PROA_EUNKNOWN = -18,      /**< a write was sent and its outcome is unknown (503, never retried) */
    PROA_ECLOSED = -19,       /**< the other side or the object is closed (500 when returned) */
    PROA_EIO = -20,           /**< input or output failed (500) */
    PROA_EPROTOCOL = -21,     /**< the peer broke its protocol (502) */
    PROA_EUNSUPPORTED = -22,  /**< not supported here (501) */
    PROA_EINTERNAL = -23,     /**< a bug or an unexpected state (500) */
    PROA_EAGAIN = -24,        /**< nothing now, ask again (never leaves the kit) */
    PROA_ECODE_MIN = -24,
};

/** The name of a code, as in "PROA_ENOMEM"; "PROA_E?" for an unknown one. Static. */
const char *proa_code_name(int code);

/** The Proa code for a negative errno value (-ENOENT -> PROA_ENOTFOUND, …; else PROA_EIO). */
int proa_code_from_errno(int negative_errno);

enum {
    PROA_ERROR_MESSAGE_MAX = 320, /**< bytes with the NUL; longer text is cut at a character */
    PROA_ERROR_POINTER_MAX = 160, /**< bytes with the NUL of the JSON pointer */
    PROA_ERROR_FIELDS_MAX = 64,   /**< broken rules kept of one input */
};

/** One broken rule of an input (RFC 9457 section 3, extension member `errors`). */
struct proa_error_field {
    struct proa_error_field *next;
    proa_str pointer; /**< RFC 6901 JSON pointer, "" for the whole document */
    proa_str code;    /**< short, stable, machine-readable: "required", "min_length", … */
    proa_str detail;  /**< for a person */
};

struct proa_arena;

/** What went wrong. Plain value without owned heap memory: zero-initialise, fill, drop.
 *  The list of fields lives in `arena` when one was set; without an arena only `pointer` is kept. */
struct proa_error {
    int code;                             /**< a PROA_E… code, 0 when nothing is set */
    uint32_t retry_after_s;               /**< 0: say nothing */
    int os_errno;                         /**< 0, or the errno behind it */
    char message[PROA_ERROR_MESSAGE_MAX]; /**< "what: cause: deeper cause" */
    char pointer[PROA_ERROR_POINTER_MAX]; /**< of the first broken field, "" if none */
    char origin[64];                      /**< what the failing party calls it: a constraint's name; "" if unknown */
    const char *type;                     /**< NULL or a static URI reference for problem `type` */
    struct proa_arena *arena;             /**< where fields are kept; not owned */
    struct proa_error_field *fields;      /**< all broken rules, in document order */
    struct proa_error_field *fields_tail;
    uint32_t fields_count; /**< found; at most PROA_ERROR_FIELDS_MAX are listed */
};

/** Sets code and message, replacing what was set; keeps `arena`. @returns code. err may be NULL. */
int proa_fail(struct proa_error *err, int code, const char *format, ...) PROA_PRINTF(3, 4);

/** Like proa_fail with the text of an errno appended and the code derived from it. */
int proa_fail_errno(struct proa_error *err, int os_errno, const char *format, ...) PROA_PRINTF(3, 4);

/** Puts "text: " before the present message, so a reader sees the chain from outside to inside.
 *  @returns the present code. */
int proa_error_wrap(struct proa_error *err, const char *format, ...) PROA_PRINTF(2, 3);

/** Adds a broken rule. The first one also fills code, message and pointer.
 *  Strings are copied into err->arena. @returns code. */
int proa_error_add_field(struct proa_error *err, int code, proa_str pointer, const char *rule, const char *format, ...)
    PROA_PRINTF(5, 6);

/** Forgets everything but the arena. */
void proa_error_clear(struct proa_error *err);

PROA_END_DECLS
#endif
