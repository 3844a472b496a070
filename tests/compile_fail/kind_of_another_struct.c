// error: does not have the C type of its kind
#include <proa/json.h>
struct point {
    int32_t x;
};
struct size {
    int32_t x;
};
PROA_DESCRIBE(point, (x, i32));
PROA_DESCRIBE(size, (x, i32));
struct window {
    struct point at;
};
#ifdef OK
PROA_DESCRIBE(window, (at, object(point)));
#else
PROA_DESCRIBE(window, (at, object(size)));
#endif
