#include "contract.h"
const struct contract_case apply_cases[] = {{NULL, NULL}};
