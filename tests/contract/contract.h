/** What holds of an API server, simulated or real: each case asks over HTTP with Proa's client and looks at the answers. */
#ifndef PROA_TESTS_CONTRACT_H
#define PROA_TESTS_CONTRACT_H

#include <proa/fiber.h>
#include <proa/kube.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

struct proa_sim_kube;

struct contract {
    struct proa_loop *loop;
    struct proa_kube_config *config;
    struct proa_kube *kube;
    struct proa_sim_kube *sim; /* NULL: a real API server */
    bool has_collector;        /* owners' dependents are deleted */
    struct proa_arena arena;   /* of the case */
    struct proa_error err;
    char ns[40]; /* of the case alone */
    yyjson_doc *doc;
    yyjson_val *root; /* of the last answer, NULL after a failure */
    int rc;
    uint32_t checks, failed, cases;
    const char *case_name;
};

enum { JSON = 0, MERGE, JSON_PATCH, APPLY };

void check_at(struct contract *c, bool holds, const char *what, int line);
#define CHECK(c, condition) check_at((c), (condition), #condition, __LINE__)
/** Asks; @returns the client's code. `body` NULL: none. The path may have a query. */
int ask(struct contract *c, const char *method, int type, const char *body, const char *format, ...) PROA_PRINTF(5, 6);
/** The last failure's: reason as in Status, and a part of the message. */
void check_failure(struct contract *c, int code, const char *reason, const char *part, int line);
#define FAILS(c, code, reason, part) check_failure((c), (code), (reason), (part), __LINE__)
void check_text(struct contract *c, const char *pointer, const char *expected, int line);
#define TEXT(c, pointer, expected) check_text((c), (pointer), (expected), __LINE__)
void check_json(struct contract *c, const char *pointer, const char *expected, int line);
/** The value at a pointer is this JSON, whatever its members' order; "" for none. */
#define JSON_IS(c, pointer, expected) check_json((c), (pointer), (expected), __LINE__)
/** "" when absent; lives until the case's end. */
const char *text_at(struct contract *c, const char *pointer);
long long number_at(struct contract *c, const char *pointer);
/** fieldsV1 of a manager, by operation and subresource, as JSON; "" when there is none. */
void check_fields(struct contract *c, const char *manager, const char *operation, const char *subresource,
                  const char *expected, int line);
#define FIELDS(c, manager, operation, subresource, expected)                                                           \
    check_fields((c), (manager), (operation), (subresource), (expected), __LINE__)

static inline uint64_t version_of(const char *text)
{
    uint64_t version;

    return proa_str_to_u64(proa_str_c(text), &version) < 0 ? 0 : version;
}

struct contract_case {
    const char *name;
    void (*run)(struct contract *c);
};
extern const struct contract_case object_cases[], apply_cases[], list_cases[], kind_cases[], definition_cases[];

#endif
