/* Prints the configuration that the operator writes for an engine: engine_conf ENGINE NAME [storageSize=SIZE] [KEY=VALUE]... */
#include "engines/engine.h"

#include <proa/type.h>
#include <stdio.h>
#include <stdlib.h>

enum { PARAMETERS_MAX = 32 };

static int print(const struct engine *engine, const char *name, const struct database_spec *spec)
{
    struct proa_buf out = {0};
    int rc = engine_write_config(&out, engine, proa_str_c(name), spec);

    if (rc == 0 && fwrite(out.ptr, 1, out.len, stdout) != out.len)
        rc = -1;
    proa_buf_done(&out);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    __typeof__(*((struct database_spec *)0)->parameters.ptr) parameters[PARAMETERS_MAX];
    struct database_spec spec = {.parameters = {.ptr = parameters}};

    if (argc < 3 || argc - 3 > PARAMETERS_MAX)
        return EXIT_FAILURE;
    for (int i = 3; i < argc; i++) {
        proa_str rest = proa_str_c(argv[i]);

        parameters[spec.parameters.len].value = (proa_str){0};
        if (proa_str_split(&rest, '=', &parameters[spec.parameters.len].key) && rest.ptr)
            parameters[spec.parameters.len].value = rest;
        if (proa_str_eq_c(spec.parameters.ptr[spec.parameters.len].key, "storageSize"))
            spec.storage_size = rest;
        else
            spec.parameters.len++;
    }
    for (int id = 0; id < ENGINES; id++)
        if (strcmp(engine_of((enum database_engine)id)->name, argv[1]) == 0)
            return print(engine_of((enum database_engine)id), argv[2], &spec);
    return EXIT_FAILURE;
}
