/** What unit tests include: cmocka with the headers it wants before it. */
#ifndef PROA_TESTS_UNIT_H
#define PROA_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
