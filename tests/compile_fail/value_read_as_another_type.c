// error: incompatible
#include <proa/req.h>
struct user {
    uint32_t id;
};
struct order {
    uint32_t id;
};
static PROA_REQ_KEY(user_key, struct user);

void call(struct proa_req *req);
void call(struct proa_req *req)
{
#ifdef OK
    struct user *user = proa_req_value(req, &user_key);
#else
    struct order *user = proa_req_value(req, &user_key);
#endif
    (void)user;
}
