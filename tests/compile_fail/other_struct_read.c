// error: the struct is not the one that this description describes
#include <proa/yaml.h>
struct user {
    uint32_t id;
};
struct order {
    uint32_t id;
};
PROA_DESCRIBE(user, (id, u32));

int call(struct proa_arena *arena, struct proa_buf *out, struct user *user, struct order *order);
int call(struct proa_arena *arena, struct proa_buf *out, struct user *user, struct order *order)
{
    (void)arena;
    (void)out;
    (void)user;
    (void)order;
#ifdef OK
    return proa_json_read(arena, PROA_STR("{}"), 0, &user_type, user, NULL);
#else
    return proa_json_read(arena, PROA_STR("{}"), 0, &user_type, order, NULL);
#endif
}
