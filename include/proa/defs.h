/** Compiler facts and the few macros that every module uses. */
#ifndef PROA_DEFS_H
#define PROA_DEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define PROA_BEGIN_DECLS extern "C" {
#define PROA_END_DECLS }
#else
#define PROA_BEGIN_DECLS
#define PROA_END_DECLS
#endif

/** The kit's, as of semver.org; the build holds it to the project's. */
#define PROA_VERSION "0.1.0"

#define PROA_MUST_USE __attribute__((warn_unused_result))
#define PROA_PRINTF(fmt_index, args_index) __attribute__((format(printf, fmt_index, args_index)))
#define PROA_COLD __attribute__((cold))
#define PROA_LIKELY(x) __builtin_expect(!!(x), 1)
#define PROA_UNLIKELY(x) __builtin_expect(!!(x), 0)

/** Runs `cleanup_fn(&variable)` when the variable's scope is left; that may be its only use. */
#define PROA_CLEANUP(cleanup_fn) __attribute__((cleanup(cleanup_fn), unused))

/** For a must-use result that truly does not matter here; the reason stands beside the call. */
static inline void proa_ignore(int result)
{
    (void)result;
}

/** Number of elements of an array (not of a pointer). */
#define PROA_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/** The object of type `type` that embeds `*ptr` as its member `member`. */
#define PROA_CONTAINER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/** Leaves the calling function with the code when the call failed (negative).
 *  The one macro of Proa that leaves a function. */
#define PROA_TRY(call)                                                                                                 \
    do {                                                                                                               \
        int proa_try_rc_ = (call);                                                                                     \
        if (PROA_UNLIKELY(proa_try_rc_ < 0))                                                                           \
            return proa_try_rc_;                                                                                       \
    } while (0)

#endif
