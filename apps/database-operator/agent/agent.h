/** What runs inside the instances' pods. */
#ifndef DATABASE_OPERATOR_AGENT_H
#define DATABASE_OPERATOR_AGENT_H

/** Process 1 of an instance's container. `argv[0]` is the program, what follows are settings. @returns the exit code. */
int agent_main(int argc, char **argv);

/** Copies this program into a folder, as `database-operator`, executable: what the pods' init container does. Of two runs, also
 *  one that was cut short, the file is whole or absent. @returns the exit code. */
int install_agent(const char *folder);

#endif
