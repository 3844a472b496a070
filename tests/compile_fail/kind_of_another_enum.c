// error: does not have the C type of its kind
#include <proa/json.h>
enum color { RED };
enum shape { ROUND = -1 };
PROA_ENUM(color, (RED, "red"));
PROA_ENUM(shape, (ROUND, "round"));
struct thing {
    enum color color;
};
#ifdef OK
PROA_DESCRIBE(thing, (color, enumeration(color)));
#else
PROA_DESCRIBE(thing, (color, enumeration(shape)));
#endif
