/* The agent's place. */
#include "agent.h"

#include <stdio.h>

int agent_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    fputs("database-operator: agent: not in this build\n", stderr);
    return 1;
}
