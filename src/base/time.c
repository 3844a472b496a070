/* Time as text: RFC 3339 and the three forms of HTTP dates. */
#include "digits.h"

#include <proa/text.h>

#include <proa/error.h>
#include <stdint.h>
#include <string.h>

enum { NS = 1000000000, DAY_S = 86400 };

static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct civil {
    int year, month, day, hour, minute, second;
    int64_t ns;
};

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar. Years are counted from March, so that the leap
 * day ends them. */
static int64_t days_from_civil(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t days, struct civil *ret)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;

    ret->day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    ret->month = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    ret->year = (int)(year_of_era + era * 400 + (ret->month <= 2));
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* The usual case in 32 bits: after Neri and Schneider, "Euclidean affine functions and their application to calendar
 * algorithms" (2023). */
static struct civil civil_since_1970(proa_time_ns time)
{
    uint64_t seconds = (uint64_t)time / NS;
    uint32_t days = (uint32_t)(seconds / DAY_S), of_day = (uint32_t)(seconds % DAY_S), minutes = of_day / 60;
    uint32_t n1 = 4 * (days + 719468) + 3, century = n1 / 146097;
    uint32_t n2 = n1 % 146097 / 4 * 4 + 3;
    uint64_t p2 = UINT64_C(2939745) * n2;
    uint32_t day_of_year = (uint32_t)p2 / 2939745 / 4;
    uint32_t n3 = 2141 * day_of_year + 197913, month = n3 >> 16;
    bool is_next_year = day_of_year >= 306;

    return (struct civil){.year = (int)(100 * century + (uint32_t)(p2 >> 32) + is_next_year),
                          .month = (int)(is_next_year ? month - 12 : month),
                          .day = (int)((n3 & 0xffff) / 2141 + 1),
                          .hour = (int)(minutes / 60),
                          .minute = (int)(minutes % 60),
                          .second = (int)(of_day % 60),
                          .ns = (int64_t)((uint64_t)time % NS)};
}

static struct civil civil_before_1970(proa_time_ns time)
{
    int64_t seconds = floor_div(time, NS);
    int64_t days = floor_div(seconds, DAY_S);
    int64_t of_day = seconds - days * DAY_S;
    struct civil c = {.hour = (int)(of_day / 3600),
                      .minute = (int)(of_day / 60 % 60),
                      .second = (int)(of_day % 60),
                      .ns = (time % NS + NS) % NS};

    civil_from_days(days, &c);
    return c;
}

static struct civil civil_from_time(proa_time_ns time)
{
    return time >= 0 ? civil_since_1970(time) : civil_before_1970(time);
}

static int month_days(int year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

static int time_from_civil(const struct civil *c, int64_t offset_s, proa_time_ns *ret_time)
{
    int64_t ns = c->ns, seconds;
    proa_time_ns time;

    if (c->month < 1 || c->month > 12 || c->day < 1 || c->day > month_days(c->year, c->month) || c->hour > 23 ||
        c->minute > 59 || c->second > 59)
        return PROA_ESYNTAX;
    seconds =
        days_from_civil(c->year, c->month, c->day) * DAY_S + c->hour * 3600 + c->minute * 60 + c->second - offset_s;
    if (seconds < 0 && ns > 0) {
        /* Towards zero, so that the product of the earliest second fits. */
        seconds++;
        ns -= NS;
    }
    if (__builtin_mul_overflow(seconds, (int64_t)NS, &time) || __builtin_add_overflow(time, ns, &time))
        return PROA_ERANGE;
    *ret_time = time;
    return 0;
}

static char *put_digits(char *out, int64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return out + digits;
}

size_t proa_time_text(proa_time_ns time, unsigned fraction_digits, char *out)
{
    struct civil c = civil_from_time(time);
    char *at = out;

    at = put_pair(put_pair(at, (unsigned)c.year / 100), (unsigned)c.year % 100);
    *at++ = '-';
    at = put_pair(at, (unsigned)c.month);
    *at++ = '-';
    at = put_pair(at, (unsigned)c.day);
    *at++ = 'T';
    at = put_pair(at, (unsigned)c.hour);
    *at++ = ':';
    at = put_pair(at, (unsigned)c.minute);
    *at++ = ':';
    at = put_pair(at, (unsigned)c.second);
    if (fraction_digits > 9)
        fraction_digits = 9;
    if (fraction_digits > 0) {
        int64_t fraction = c.ns;

        *at++ = '.';
        if (fraction_digits == 6) { /* as logs have them */
            at = put_six(at, (unsigned)(fraction / 1000));
        } else {
            for (unsigned i = fraction_digits; i < 9; i++)
                fraction /= 10;
            at = put_digits(at, fraction, (int)fraction_digits);
        }
    }
    *at++ = 'Z';
    return (size_t)(at - out);
}

/* A reader over text: every step checks that what it wants is there; the first miss makes all later ones miss. */
struct reader {
    proa_str s;
    bool failed;
};

static int read_digits(struct reader *r, size_t digits)
{
    int value = 0;

    if (r->s.len < digits)
        r->failed = true;
    for (size_t i = 0; i < digits && !r->failed; i++) {
        if (r->s.ptr[i] < '0' || r->s.ptr[i] > '9')
            r->failed = true;
        else
            value = value * 10 + (r->s.ptr[i] - '0');
    }
    if (!r->failed)
        r->s = proa_str_slice(r->s, digits, r->s.len);
    return value;
}

static void read_text(struct reader *r, const char *text)
{
    if (proa_str_starts_with(r->s, proa_str_c(text)))
        r->s = proa_str_slice(r->s, strlen(text), r->s.len);
    else
        r->failed = true;
}

static int read_name(struct reader *r, const char (*names)[4], int count)
{
    for (int i = 0; i < count; i++)
        if (proa_str_starts_with(r->s, proa_str_n(names[i], 3))) {
            r->s = proa_str_slice(r->s, 3, r->s.len);
            return i;
        }
    r->failed = true;
    return 0;
}

static char read_char(struct reader *r)
{
    char c = '\0';

    if (r->s.len == 0) {
        r->failed = true;
    } else {
        c = r->s.ptr[0];
        r->s = proa_str_slice(r->s, 1, r->s.len);
    }
    return c;
}

static void read_clock(struct reader *r, struct civil *c)
{
    c->hour = read_digits(r, 2);
    read_text(r, ":");
    c->minute = read_digits(r, 2);
    read_text(r, ":");
    c->second = read_digits(r, 2);
}

int proa_time_parse(proa_str text, proa_time_ns *ret_time)
{
    struct reader r = {text, false};
    struct civil c = {0};
    int64_t offset_s = 0;
    char sign;

    c.year = read_digits(&r, 4);
    read_text(&r, "-");
    c.month = read_digits(&r, 2);
    read_text(&r, "-");
    c.day = read_digits(&r, 2);
    sign = read_char(&r);
    if (sign != 'T' && sign != 't' && sign != ' ')
        return PROA_ESYNTAX;
    read_clock(&r, &c);
    if (c.second == 60)
        c.second = 59;
    if (!r.failed && r.s.len && r.s.ptr[0] == '.') {
        int64_t unit = NS;
        size_t digits = 0;

        for (read_char(&r); r.s.len && r.s.ptr[0] >= '0' && r.s.ptr[0] <= '9'; digits++) {
            unit /= 10;
            c.ns += (read_char(&r) - '0') * unit;
        }
        r.failed = r.failed || digits == 0;
    }
    sign = read_char(&r);
    if (sign == '+' || sign == '-') {
        int hours = read_digits(&r, 2), minutes;

        read_text(&r, ":");
        minutes = read_digits(&r, 2);
        if (hours > 23 || minutes > 59)
            return PROA_ESYNTAX;
        offset_s = (sign == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
    } else if (sign != 'Z' && sign != 'z') {
        return PROA_ESYNTAX;
    }
    if (r.failed || r.s.len > 0 || c.year == 0)
        return PROA_ESYNTAX;
    return time_from_civil(&c, offset_s, ret_time);
}

size_t proa_time_http(proa_time_ns time, char *out)
{
    struct civil c = civil_from_time(time);
    int64_t days = floor_div(floor_div(time, NS), DAY_S);
    char *at = out;

    memcpy(at, day_names[((days + 4) % 7 + 7) % 7], 3);
    memcpy(at + 3, ", ", 2);
    at = put_digits(at + 5, c.day, 2);
    *at++ = ' ';
    memcpy(at, month_names[c.month - 1], 3);
    at[3] = ' ';
    at = put_digits(at + 4, c.year, 4);
    *at++ = ' ';
    at = put_digits(at, c.hour, 2);
    *at++ = ':';
    at = put_digits(at, c.minute, 2);
    *at++ = ':';
    at = put_digits(at, c.second, 2);
    memcpy(at, " GMT", 4);
    return (size_t)(at + 4 - out);
}

/* "Sun Nov  6 08:49:37 1994" */
static void read_asctime(struct reader *r, struct civil *c)
{
    read_text(r, " ");
    c->month = read_name(r, month_names, 12) + 1;
    read_text(r, " ");
    if (r->s.len && r->s.ptr[0] == ' ') {
        read_char(r);
        c->day = read_digits(r, 1);
    } else {
        c->day = read_digits(r, 2);
    }
    read_text(r, " ");
    read_clock(r, c);
    read_text(r, " ");
    c->year = read_digits(r, 4);
}

int proa_time_http_parse(proa_str text, proa_time_ns *ret_time)
{
    static const char *const rest_of_days[7] = {"day", "day", "sday", "nesday", "rsday", "day", "urday"};
    struct reader r = {text, false};
    struct civil c = {0};
    int day = read_name(&r, day_names, 7);

    if (!r.failed && proa_str_starts_with(r.s, PROA_STR(", "))) {
        read_text(&r, ", ");
        c.day = read_digits(&r, 2);
        read_text(&r, " ");
        c.month = read_name(&r, month_names, 12) + 1;
        read_text(&r, " ");
        c.year = read_digits(&r, 4);
        read_text(&r, " ");
        read_clock(&r, &c);
        read_text(&r, " GMT");
    } else if (!r.failed && proa_str_starts_with(r.s, proa_str_c(rest_of_days[day]))) {
        read_text(&r, rest_of_days[day]);
        read_text(&r, ", ");
        c.day = read_digits(&r, 2);
        read_text(&r, "-");
        c.month = read_name(&r, month_names, 12) + 1;
        read_text(&r, "-");
        /* Two digits: within 50 years of these decades. */
        c.year = read_digits(&r, 2);
        c.year += c.year < 70 ? 2000 : 1900;
        read_text(&r, " ");
        read_clock(&r, &c);
        read_text(&r, " GMT");
    } else {
        read_asctime(&r, &c);
    }
    if (c.second == 60)
        c.second = 59;
    if (r.failed || r.s.len > 0 || c.year == 0)
        return PROA_ESYNTAX;
    return time_from_civil(&c, 0, ret_time);
}
