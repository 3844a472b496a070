/* Which target's lines are wanted: "info,db=debug,http.access=off". */
#include "log_internal.h"

#include <stdlib.h>

enum { RULES_MAX = 64, TARGET_MAX = 64 };

struct rule {
    int level;
    uint32_t target_len;
    char target[TARGET_MAX];
};

struct log_filter {
    int level; /* of targets without a rule */
    int least;
    int most;
    uint32_t count;
    struct rule rules[]; /* the longest target first: the first that matches is the nearest */
};

static bool level_from_text(proa_str text, int *ret_level)
{
    static const struct {
        const char *name;
        int level;
    } names[] = {
        {"trace", PROA_LOG_TRACE},  {"debug", PROA_LOG_DEBUG}, {"info", PROA_LOG_INFO}, {"warn", PROA_LOG_WARN},
        {"warning", PROA_LOG_WARN}, {"error", PROA_LOG_ERROR}, {"off", PROA_LOG_OFF},
    };

    for (size_t i = 0; i < PROA_COUNT(names); i++) {
        if (proa_str_eq_nocase(text, proa_str_c(names[i].name))) {
            *ret_level = names[i].level;
            return true;
        }
    }
    return false;
}

static bool is_target(proa_str text)
{
    if (text.len == 0 || text.len > TARGET_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
              c == '-'))
            return false;
    }
    return true;
}

/* Keeps the order by length; a target named again has the later level. */
static int add_rule(struct log_filter *filter, proa_str target, int level, struct proa_error *err)
{
    uint32_t at = 0;

    while (at < filter->count && filter->rules[at].target_len >= target.len) {
        struct rule *rule = &filter->rules[at];

        if (proa_str_eq(proa_str_n(rule->target, rule->target_len), target)) {
            rule->level = level;
            return 0;
        }
        at++;
    }
    if (filter->count == RULES_MAX)
        return proa_fail(err, PROA_EINVAL, "log filter: more than %d targets", RULES_MAX);
    memmove(filter->rules + at + 1, filter->rules + at, (filter->count - at) * sizeof filter->rules[0]);
    filter->rules[at] = (struct rule){.level = level, .target_len = (uint32_t)target.len};
    memcpy(filter->rules[at].target, target.ptr, target.len);
    filter->count++;
    return 0;
}

static int add_part(struct log_filter *filter, proa_str part, struct proa_error *err)
{
    ptrdiff_t equals = proa_str_find_char(part, '=');
    proa_str name = equals < 0 ? part : proa_str_trim(proa_str_slice(part, (size_t)equals + 1, part.len));
    proa_str target;
    int level;

    if (!level_from_text(name, &level))
        return proa_fail(err, PROA_EINVAL,
                         "log filter: \"" PROA_FMT "\" is not a level (trace, debug, info, warn, error, off)",
                         PROA_ARG(proa_str_slice(name, 0, TARGET_MAX)));
    if (equals < 0) {
        filter->level = level;
        return 0;
    }
    target = proa_str_trim(proa_str_slice(part, 0, (size_t)equals));
    if (!is_target(target))
        return proa_fail(err, PROA_EINVAL, "log filter: \"" PROA_FMT "\" cannot be a target",
                         PROA_ARG(proa_str_slice(target, 0, TARGET_MAX)));
    return add_rule(filter, target, level, err);
}

int log_filter_new(const char *text, struct log_filter **ret_filter, struct proa_error *err)
{
    proa_str rest = proa_str_trim(proa_str_c(text ? text : "")), part;
    struct log_filter *filter = calloc(1, sizeof *filter + (RULES_MAX + 1) * sizeof filter->rules[0]);
    struct log_filter *smaller;
    int rc = 0;

    if (!filter)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    filter->level = PROA_LOG_INFO;
    if (rest.len == 0)
        rest.ptr = NULL; /* no part at all, where otherwise an empty part is wrong */
    while (rc == 0 && proa_str_split(&rest, ',', &part))
        rc = add_part(filter, proa_str_trim(part), err);
    if (rc < 0) {
        free(filter);
        return rc;
    }
    filter->least = filter->most = filter->level;
    for (uint32_t i = 0; i < filter->count; i++) {
        if (filter->rules[i].level < filter->least)
            filter->least = filter->rules[i].level;
        if (filter->rules[i].level > filter->most)
            filter->most = filter->rules[i].level;
    }
    smaller = realloc(filter, sizeof *filter + filter->count * sizeof filter->rules[0]);
    *ret_filter = smaller ? smaller : filter;
    return 0;
}

void log_filter_free(struct log_filter *filter)
{
    free(filter);
}

int proa_log_filter_check(const char *filter, struct proa_error *err)
{
    struct log_filter *made = NULL;

    PROA_TRY(log_filter_new(filter, &made, err));
    log_filter_free(made);
    return 0;
}

int log_filter_least(const struct log_filter *filter)
{
    return filter->least;
}

bool log_filter_equal(const struct log_filter *a, const struct log_filter *b)
{
    return a->level == b->level && a->count == b->count &&
           memcmp(a->rules, b->rules, a->count * sizeof a->rules[0]) == 0;
}

int log_filter_level(const struct log_filter *filter, const char *target)
{
    size_t len;

    if (filter->least == filter->most)
        return filter->least;
    len = target ? strlen(target) : 0;
    for (uint32_t i = 0; i < filter->count; i++) {
        const struct rule *rule = &filter->rules[i];

        if (rule->target_len <= len && memcmp(rule->target, target, rule->target_len) == 0 &&
            (rule->target_len == len || target[rule->target_len] == '.'))
            return rule->level;
    }
    return filter->level;
}
