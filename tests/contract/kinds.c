#include "contract.h"
const struct contract_case kind_cases[] = {{NULL, NULL}};
