/* The HTTP side of the service: one function a route. */
#include "users.h"
#include <inttypes.h>
#include <proa/buf.h>
#include <proa/conditional.h>
#include <stdio.h>

enum { UPDATE_ATTEMPTS = 8 };

struct proa_sql users_sql(struct proa_req *req)
{
    const struct users_app *app = proa_req_state(req);

    return proa_sql(app->db, proa_req_loop(req), proa_req_arena(req), proa_req_error(req));
}

static proa_str etag_of(const struct stored_user *user, char *out)
{
    size_t len = 1 + proa_u64_text(user->version, out + 1);

    out[0] = out[len] = '"';
    return proa_str_n(out, len + 1);
}

static int reply_user(struct proa_req *req, int status, const struct stored_user *stored)
{
    struct user user = {.id = stored->id, .name = stored->name, .email = stored->email};
    char etag[USERS_ETAG_MAX];

    PROA_TRY(proa_reply_header(req, "ETag", etag_of(stored, etag)));
    return proa_reply_json(req, status, &user_type, &user);
}

static int create_user(struct proa_req *req)
{
    proa_str key = proa_req_header(req, "Idempotency-Key");
    struct users_app *app = proa_req_state(req);
    struct proa_sql sql = users_sql(req);
    struct stored_user stored;
    struct user user;

    PROA_TRY(proa_req_json(req, &user_type, &user));
    if (key.ptr)
        PROA_TRY(idempotent_insert(app, sql, key, &user, &stored));
    else
        PROA_TRY(store_insert(sql, &user, &stored));
    PROA_TRY(proa_reply_header(req, "Location", proa_arena_printf(proa_req_arena(req), "/users/%" PRIu64, stored.id)));
    return reply_user(req, 201, &stored);
}

static int get_user(struct proa_req *req)
{
    struct stored_user stored;
    char etag[USERS_ETAG_MAX];
    uint64_t id;
    int rc;

    PROA_TRY(proa_req_param_u64(req, "id", &id));
    PROA_TRY(store_find(users_sql(req), id, &stored));
    rc = proa_req_precondition(req, etag_of(&stored, etag));
    if (rc == PROA_NOT_MODIFIED) {
        PROA_TRY(proa_reply_header(req, "ETag", etag_of(&stored, etag)));
        return proa_reply_empty(req, 304);
    }
    PROA_TRY(rc);
    return reply_user(req, 200, &stored);
}

/* Makes `next` out of the present row and the request's body. May suspend. */
typedef int change_fn(struct proa_req *req, const struct stored_user *present, struct user *ret_next);

/* Reads, checks the conditions, changes, and writes if the row is still the one that was read; else starts again, so
 * that changes of several clients never mix. */
static int change_user(struct proa_req *req, change_fn *change)
{
    struct proa_sql sql = users_sql(req);
    struct stored_user present, changed;
    char etag[USERS_ETAG_MAX];
    struct user next;
    uint64_t id;

    PROA_TRY(proa_req_param_u64(req, "id", &id));
    for (int attempt = 0; attempt < UPDATE_ATTEMPTS; attempt++) {
        int rc;

        PROA_TRY(store_find(sql, id, &present));
        PROA_TRY(proa_req_precondition(req, etag_of(&present, etag)));
        PROA_TRY(change(req, &present, &next));
        present.name = next.name;
        present.email = next.email;
        rc = store_update(sql, &present, &changed);
        if (rc == 0)
            return reply_user(req, 200, &changed);
        if (rc != PROA_ENOTFOUND)
            return rc;
        proa_error_clear(sql.err);
    }
    return proa_fail(sql.err, PROA_ECONFLICT, "other requests keep changing this user");
}

static int replace(struct proa_req *req, const struct stored_user *present, struct user *ret_next)
{
    (void)present;
    return proa_req_json(req, &user_type, ret_next);
}

static int patch(struct proa_req *req, const struct stored_user *present, struct user *ret_next)
{
    *ret_next = (struct user){.id = present->id, .name = present->name, .email = present->email};
    return proa_req_merge_patch(req, &user_type, ret_next);
}

static int put_user(struct proa_req *req)
{
    return change_user(req, replace);
}

static int patch_user(struct proa_req *req)
{
    return change_user(req, patch);
}

static int delete_user(struct proa_req *req)
{
    struct proa_sql sql = users_sql(req);
    struct stored_user present;
    char etag[USERS_ETAG_MAX];
    uint64_t id;

    PROA_TRY(proa_req_param_u64(req, "id", &id));
    for (int attempt = 0; attempt < UPDATE_ATTEMPTS; attempt++) {
        int rc;

        PROA_TRY(store_find(sql, id, &present));
        PROA_TRY(proa_req_precondition(req, etag_of(&present, etag)));
        rc = store_delete(sql, id, present.version);
        if (rc == 0)
            return proa_reply_empty(req, 204);
        if (rc != PROA_ENOTFOUND)
            return rc;
        proa_error_clear(sql.err);
    }
    return proa_fail(sql.err, PROA_ECONFLICT, "other requests keep changing this user");
}

/* Link: <…>; rel="next" (RFC 8288), with the same limit and filter. */
static int add_next_link(struct proa_req *req, const struct list_query *query, uint64_t last_id)
{
    struct proa_arena *arena = proa_req_arena(req);
    struct proa_buf link;

    proa_buf_init(&link, arena, 0);
    proa_buf_printf(&link, "</users?limit=%" PRIu32 "&cursor=" PROA_FMT, query->limit,
                    PROA_ARG(cursor_write(arena, last_id)));
    if (query->email.presence == PROA_SET) {
        proa_buf_add_c(&link, "&email=");
        proa_percent_encode(&link, query->email.value);
    }
    proa_buf_add_c(&link, ">; rel=\"next\"");
    PROA_TRY(link.error);
    return proa_reply_header(req, "Link", proa_buf_str(&link));
}

static int write_users(struct proa_buf *out, const struct stored_users *users, size_t count)
{
    proa_buf_add_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        const struct stored_user *stored = &users->rows.ptr[i];
        struct user user = {.id = stored->id, .name = stored->name, .email = stored->email};

        if (i > 0)
            proa_buf_add_char(out, ',');
        PROA_TRY(proa_json_write(out, PROA_JSON_OUTPUT, &user_type, &user));
    }
    return proa_buf_add_char(out, ']');
}

static int list_users(struct proa_req *req)
{
    struct list_query query = {0};
    struct stored_users users;
    struct proa_buf *body;
    uint64_t after = 0;
    size_t count;

    PROA_TRY(proa_req_query(req, &list_query_type, &query));
    if (query.cursor.presence == PROA_SET && cursor_read(query.cursor.value, &after) < 0)
        return proa_error_add_field(proa_req_error(req), PROA_EINVAL, PROA_STR("#/query/cursor"), "cursor",
                                    "not a cursor of this service");
    if (after > INT64_MAX)
        after = INT64_MAX;
    /* One more than asked for tells whether there is a next page. */
    PROA_TRY(store_list(users_sql(req), after,
                        query.email.presence == PROA_SET ? query.email.value : (proa_str){NULL, 0}, query.limit + 1,
                        &users));
    count = users.rows.len > query.limit ? query.limit : users.rows.len;
    if (count < users.rows.len)
        PROA_TRY(add_next_link(req, &query, users.rows.ptr[count - 1].id));
    body = proa_reply_body(req);
    if (!body)
        return PROA_ENOMEM;
    PROA_TRY(write_users(body, &users, count));
    return proa_reply_buffer(req, 200, "application/json");
}

/* -- Documentation of the routes ---------------------------------------------------------------------------------- */

#define ETAGS "^(\\*|(W/)?\"[!#-~]*\"( *, *(W/)?\"[!#-~]*\")*)$"

struct if_none_match {
    PROA_OPTIONAL(proa_str) if_none_match;
};
PROA_DESCRIBE(if_none_match, (if_none_match, optional(str), .pattern = ETAGS, .example_json = "\"\\\"1\\\"\"",
                              .doc = "Entity tags that the client has: 304 when one is current"));

struct if_match {
    PROA_OPTIONAL(proa_str) if_match;
};
PROA_DESCRIBE(if_match, (if_match, optional(str), .pattern = ETAGS, .example_json = "\"*\"",
                         .doc = "Only if the user still has one of these entity tags; else 412"));

struct create_headers {
    PROA_OPTIONAL(proa_str) idempotency_key;
};
PROA_DESCRIBE(create_headers,
              (idempotency_key, optional(str), .min_len = 1, .max_len = USERS_KEY_MAX, .pattern = "^[!-~]+$",
               .doc = "Chosen by the client: repeated within 24 hours, the request is done once and answered again"));

struct user_headers {
    proa_str etag;
};
PROA_DESCRIBE(user_headers, (etag, str, .json = "ETag", .doc = "The user's version, for If-Match and If-None-Match"));

struct created_headers {
    proa_str location;
    proa_str etag;
};
PROA_DESCRIBE(created_headers, (location, str, .doc = "Path of the new user"),
              (etag, str, .json = "ETag", .doc = "The user's version"));

struct list_headers {
    PROA_OPTIONAL(proa_str) link;
};
PROA_DESCRIBE(list_headers,
              (link, optional(str), .doc = "The next page, if there is one: <...>; rel=\"next\" (RFC 8288)"));

struct retry_headers {
    PROA_OPTIONAL(uint32_t) retry_after;
};
PROA_DESCRIBE(retry_headers, (retry_after, optional(u32), .doc = "Seconds after which to try again"));

#define NO_SUCH_USER                                                                                                   \
    {                                                                                                                  \
        .status = 404, .doc = "There is no such user"                                                                  \
    }
#define CHANGED                                                                                                        \
    {                                                                                                                  \
        .status = 412, .doc = "The user has another version than If-Match names"                                       \
    }
#define EMAIL_IN_USE                                                                                                   \
    {                                                                                                                  \
        .status = 409, .doc = "Another user has this email, or other requests keep changing this one"                  \
    }
#define THE_USER(doc_)                                                                                                 \
    {                                                                                                                  \
        .status = 200, .type = &user_type.type, .doc = doc_, .headers = &user_headers_type.type                        \
    }

const struct proa_route users_routes[] = {
    {PROA_POST, "/users", create_user, .summary = "Creates a user", .tag = "users", .body = &user_type.type,
     .headers = &create_headers_type.type,
     .replies = {{.status = 201, .type = &user_type.type, .doc = "The new user", .headers = &created_headers_type.type},
                 {.status = 409,
                  .doc = "Another user has this email, or the first request with this Idempotency-Key still runs",
                  .headers = &retry_headers_type.type},
                 {.status = 422,
                  .doc = "Rules of the body are broken, or this Idempotency-Key was used with another body"}}},
    {PROA_GET, "/users", list_users, .summary = "Lists users by id", .tag = "users", .query = &list_query_type.type,
     .replies = {{.status = 200,
                  .type = &user_type.type,
                  .is_list = true,
                  .doc = "A page of users",
                  .headers = &list_headers_type.type}}},
    {PROA_GET, "/users/{id:u64}", get_user, .summary = "Reads a user", .tag = "users",
     .headers = &if_none_match_type.type,
     .replies = {THE_USER("The user"),
                 {.status = 304, .doc = "If-None-Match names the present version", .headers = &user_headers_type.type},
                 NO_SUCH_USER}},
    {PROA_PUT, "/users/{id:u64}", put_user, .summary = "Replaces a user", .tag = "users", .body = &user_type.type,
     .headers = &if_match_type.type, .replies = {THE_USER("The changed user"), NO_SUCH_USER, EMAIL_IN_USE, CHANGED}},
    {PROA_PATCH, "/users/{id:u64}", patch_user, .summary = "Changes members of a user", .tag = "users",
     .body = &user_type.type, .headers = &if_match_type.type,
     .replies = {THE_USER("The changed user"), NO_SUCH_USER, EMAIL_IN_USE, CHANGED}},
    {PROA_DELETE, "/users/{id:u64}", delete_user, .summary = "Deletes a user", .tag = "users",
     .headers = &if_match_type.type,
     .replies = {{.status = 204, .doc = "The user is gone"},
                 NO_SUCH_USER,
                 CHANGED,
                 {.status = 409, .doc = "Other requests keep changing this user"}}},
};
const size_t users_routes_count = PROA_COUNT(users_routes);
