/** Decimal digits by twos: half the divisions. */
#ifndef PROA_BASE_DIGITS_H
#define PROA_BASE_DIGITS_H

#include <string.h>

/** "00", "01" … "99" in a row. */
extern const char digit_pairs[201];

/** Two digits. @param value  0..99 */
static inline char *put_pair(char *at, unsigned value)
{
    memcpy(at, digit_pairs + 2 * (size_t)value, 2);
    return at + 2;
}

/** Six digits. @param value  0..999999 */
static inline char *put_six(char *at, unsigned value)
{
    return put_pair(put_pair(put_pair(at, value / 10000), value / 100 % 100), value % 100);
}

#endif
