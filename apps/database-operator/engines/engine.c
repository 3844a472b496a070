/* What the engines have in common. */
#include "engine.h"

const struct engine *engine_of(enum database_engine id)
{
    static const struct engine *const engines[ENGINES] = {&engine_postgres, &engine_mysql, &engine_mongodb};

    return (unsigned)id < ENGINES ? engines[id] : engines[0];
}

bool engine_owns(const struct engine *engine, proa_str parameter)
{
    for (const char *const *name = engine->owned_parameters; *name; name++)
        if (proa_str_eq_c(parameter, *name))
            return true;
    return false;
}

void parameters_sorted(const struct database_spec *spec, uint8_t order[DATABASE_PARAMETERS_MAX])
{
    for (size_t i = 0; i < spec->parameters.len && i < DATABASE_PARAMETERS_MAX; i++) {
        size_t at = i;

        for (; at > 0 && proa_str_cmp(spec->parameters.ptr[order[at - 1]].key, spec->parameters.ptr[i].key) > 0; at--)
            order[at] = order[at - 1];
        order[at] = (uint8_t)i;
    }
}

int engine_write_config(struct proa_buf *out, const struct engine *engine, proa_str name,
                        const struct database_spec *spec)
{
    uint8_t order[DATABASE_PARAMETERS_MAX];

    proa_buf_add_c(out, "# Written by database-operator; spec.parameters of the Database comes last.\n");
    engine->write_settings(out, name, spec);
    parameters_sorted(spec, order);
    for (size_t i = 0; i < spec->parameters.len && i < DATABASE_PARAMETERS_MAX; i++)
        engine->write_parameter(out, spec->parameters.ptr[order[i]].key, spec->parameters.ptr[order[i]].value);
    return out->error;
}
