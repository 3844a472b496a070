// error: the value is not of the type that this key is for
#include <proa/req.h>
struct user {
    uint32_t id;
};
struct order {
    uint32_t id;
};
static PROA_REQ_KEY(user_key, struct user);
PROA_REQ_KEY_DECLARE(reader_key, const struct user);
PROA_REQ_KEY_DEFINE(reader_key);

int call(struct proa_req *req, struct user *user, struct order *order);
int call(struct proa_req *req, struct user *user, struct order *order)
{
    const struct user *reader = proa_req_value(req, &reader_key);

    (void)user;
    (void)order;
    (void)reader;
    PROA_TRY(proa_req_set_value(req, &reader_key, user));
    PROA_TRY(proa_req_set_value(req, &reader_key, reader));
#ifdef OK
    return proa_req_set_value(req, &user_key, user);
#else
    return proa_req_set_value(req, &user_key, order);
#endif
}
