/* Problem documents. */
#include "unit.h"

#include "http/problem.h"

#include <proa/arena.h>
#include <string.h>

static const char *write_document(struct proa_buf *out, int status, const struct proa_error *err, const char *instance)
{
    proa_buf_clear(out);
    problem_write(out, status, err, proa_str_c(instance));
    proa_buf_add_char(out, '\0');
    return out->ptr;
}

static void test_documents(void **state)
{
    struct proa_buf out = {0};
    struct proa_arena arena;
    struct proa_error err = {0};

    proa_arena_init(&arena, NULL, 0);
    proa_fail(&err, PROA_ENOTFOUND, "no user \"%d\"", 7);
    assert_string_equal(write_document(&out, 0, &err, "/users/7"),
                        "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
                        "\"detail\":\"no user \\\"7\\\"\",\"instance\":\"/users/7\"}");
    /* What an internal error says is not for clients. */
    proa_fail(&err, PROA_EINTERNAL, "secret");
    assert_string_equal(write_document(&out, 0, &err, ""),
                        "{\"type\":\"about:blank\",\"title\":\"Internal Server Error\",\"status\":500}");
    proa_fail(&err, PROA_EUNAVAILABLE, "host db1 refused");
    assert_null(strstr(write_document(&out, 0, &err, ""), "db1"));
    proa_fail(&err, PROA_EBUSY, "too many requests are in flight");
    assert_non_null(strstr(write_document(&out, 0, &err, ""), "in flight"));
    /* Fields. */
    err = (struct proa_error){.arena = &arena, .type = "/problems/invalid"};
    proa_error_add_field(&err, PROA_EVALIDATION, PROA_STR("/name"), "required", "is missing");
    proa_error_add_field(&err, PROA_EVALIDATION, PROA_STR("/age"), "max", "at most %d", 150);
    assert_string_equal(write_document(&out, 0, &err, ""),
                        "{\"type\":\"/problems/invalid\",\"title\":\"Unprocessable Content\",\"status\":422,"
                        "\"detail\":\"is missing\",\"errors\":["
                        "{\"pointer\":\"#/name\",\"code\":\"required\",\"detail\":\"is missing\"},"
                        "{\"pointer\":\"#/age\",\"code\":\"max\",\"detail\":\"at most 150\"}]}");
    assert_non_null(strstr(write_document(&out, 408, &err, ""), "\"title\":\"Request Timeout\",\"status\":408"));
    proa_buf_done(&out);
    proa_arena_done(&arena);
}

static void test_statuses(void **state)
{
    static const int statuses[][2] = {
        {PROA_ENOMEM, 503},       {PROA_EINVAL, 400},        {PROA_ENOTFOUND, 404}, {PROA_EEXISTS, 409},
        {PROA_ECONFLICT, 409},    {PROA_EPRECONDITION, 412}, {PROA_ETOOLARGE, 413}, {PROA_EMEDIATYPE, 415},
        {PROA_EVALIDATION, 422},  {PROA_ESYNTAX, 400},       {PROA_ERANGE, 400},    {PROA_EUNAUTHORIZED, 401},
        {PROA_EFORBIDDEN, 403},   {PROA_ETIMEDOUT, 504},     {PROA_ECANCELED, 503}, {PROA_EBUSY, 503},
        {PROA_EUNAVAILABLE, 503}, {PROA_EUNKNOWN, 503},      {PROA_ECLOSED, 500},   {PROA_EIO, 500},
        {PROA_EPROTOCOL, 502},    {PROA_EUNSUPPORTED, 501},  {PROA_EINTERNAL, 500}, {PROA_EAGAIN, 500},
    };

    for (size_t i = 0; i < PROA_COUNT(statuses); i++) {
        assert_int_equal(problem_status(statuses[i][0]), statuses[i][1]);
        assert_string_not_equal(problem_title(statuses[i][1]), "Unknown");
    }
    assert_true(problem_is_retryable(PROA_EBUSY));
    assert_true(problem_is_retryable(PROA_EUNAVAILABLE));
    assert_false(problem_is_retryable(PROA_EUNKNOWN));
    assert_false(problem_is_retryable(PROA_EINVAL));
    assert_string_equal(problem_title(299), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_documents), cmocka_unit_test(test_statuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
