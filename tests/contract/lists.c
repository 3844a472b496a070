#include "contract.h"
const struct contract_case list_cases[] = {{NULL, NULL}};
