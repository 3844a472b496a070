/* Metrics under postgres_exporter's names. */
#include "postgres_internal.h"

int pg_collect(const struct instance *instance, const struct engine_status *own, struct samples *samples,
               struct proa_error *err)
{
    (void)instance;
    (void)own;
    (void)samples;
    (void)err;
    return 0;
}
