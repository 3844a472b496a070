/* What a statement's text is, as far as its words tell. */
#include "pg_internal.h"

#include <ctype.h>

static bool is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$';
}

bool pg_text_commits(const char *text)
{
    const char *at = db_text_begin(text);

    return db_text_is_word(at, "CALL") || db_text_is_word(at, "DO");
}

/* -- Texts that share a sync, and texts that only read ------------------------------------------------------------- */

/* What may stand before a parenthesis: SQL's own words, types with a length, and functions of PostgreSQL that look at
 * nothing but their arguments, the rows and the clock. Sorted. */
static const char *const harmless[] = {
    "ABS",
    "ALL",
    "AND",
    "ANY",
    "ARRAY",
    "ARRAY_AGG",
    "ARRAY_LENGTH",
    "AS",
    "AVG",
    "BETWEEN",
    "BIT",
    "BOOL_AND",
    "BOOL_OR",
    "BTRIM",
    "BY",
    "CARDINALITY",
    "CASE",
    "CAST",
    "CEIL",
    "CEILING",
    "CHAR",
    "CHARACTER",
    "CHAR_LENGTH",
    "COALESCE",
    "CONCAT",
    "CONCAT_WS",
    "COUNT",
    "DATE_PART",
    "DATE_TRUNC",
    "DECIMAL",
    "DENSE_RANK",
    "DISTINCT",
    "ELSE",
    "ENCODE",
    "EVERY",
    "EXCEPT",
    "EXISTS",
    "EXTRACT",
    "FILTER",
    "FIRST_VALUE",
    "FLOAT",
    "FLOOR",
    "FORMAT",
    "FROM",
    "GREATEST",
    "HAVING",
    "IN",
    "INTERSECT",
    "INTERVAL",
    "JOIN",
    "JSONB_AGG",
    "JSONB_ARRAY_ELEMENTS",
    "JSONB_ARRAY_LENGTH",
    "JSONB_BUILD_ARRAY",
    "JSONB_BUILD_OBJECT",
    "JSONB_OBJECT_AGG",
    "JSON_AGG",
    "JSON_ARRAY_ELEMENTS",
    "JSON_BUILD_ARRAY",
    "JSON_BUILD_OBJECT",
    "JSON_OBJECT_AGG",
    "LAG",
    "LAST_VALUE",
    "LATERAL",
    "LEAD",
    "LEAST",
    "LEFT",
    "LENGTH",
    "LIMIT",
    "LOWER",
    "LPAD",
    "LTRIM",
    "MATERIALIZED",
    "MAX",
    "MD5",
    "MIN",
    "MOD",
    "NOT",
    "NOW",
    "NTILE",
    "NULLIF",
    "NUMERIC",
    "OCTET_LENGTH",
    "OFFSET",
    "ON",
    "OR",
    "OVER",
    "OVERLAY",
    "PARTITION",
    "PERCENT_RANK",
    "POSITION",
    "POWER",
    "RANK",
    "REGEXP_REPLACE",
    "REPEAT",
    "REPLACE",
    "REVERSE",
    "RIGHT",
    "ROUND",
    "ROW",
    "ROW_NUMBER",
    "ROW_TO_JSON",
    "RPAD",
    "RTRIM",
    "SELECT",
    "SOME",
    "SPLIT_PART",
    "SQRT",
    "STARTS_WITH",
    "STRING_AGG",
    "STRPOS",
    "SUBSTR",
    "SUBSTRING",
    "SUM",
    "THEN",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "TO_CHAR",
    "TO_DATE",
    "TO_JSON",
    "TO_JSONB",
    "TO_NUMBER",
    "TO_TIMESTAMP",
    "TRANSLATE",
    "TRIM",
    "TRUNC",
    "UNION",
    "UNNEST",
    "UPPER",
    "USING",
    "VALUES",
    "VARBIT",
    "VARCHAR",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITHIN",
};

/* Functions that change nothing, but take their time, tell of the session or are not the same twice. */
static const char *const quiet[] = {
    "CLOCK_TIMESTAMP",     "CURRENT_DATABASE", "CURRENT_SCHEMA", "CURRENT_SETTING",
    "GENERATE_SERIES",     "GEN_RANDOM_UUID",  "PG_BACKEND_PID", "PG_SLEEP",
    "STATEMENT_TIMESTAMP", "TO_REGCLASS",      "VERSION",
};

static const char *const telling[] = {"CALL",   "DELETE", "EXECUTE", "EXPLAIN", "INSERT", "INTO",
                                      "LISTEN", "MERGE",  "NOTIFY",  "SET",     "SHARE",  "UPDATE"};
static const char *const changing[] = {"DELETE", "INSERT", "INTO", "MERGE", "UPDATE"};

/* What is asked of a text. */
struct demands {
    const char *const *forbidden; /* words */
    size_t forbidden_count;
    bool quiet_calls; /* may be in it */
};

static bool is_one_of(proa_str word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (proa_str_eq_nocase(word, proa_str_c(words[i])))
            return true;
    }
    return false;
}

/* Behind white space and comments. @returns NULL for a comment that has no end, or another in it. */
static const char *skip_gap(const char *at)
{
    for (;;) {
        while (isspace((unsigned char)*at))
            at++;
        if (at[0] == '-' && at[1] == '-') {
            at += strcspn(at, "\n");
        } else if (at[0] == '/' && at[1] == '*') {
            const char *end = strstr(at + 2, "*/"), *inner = strstr(at + 2, "/*");

            if (!end || (inner && inner < end))
                return NULL;
            at = end + 2;
        } else {
            return at;
        }
    }
}

/* Behind a text or name in quotes. @returns NULL when it has no end, or a backslash, which means one thing or
 * another. */
static const char *skip_quoted(const char *at)
{
    char quote = *at++;

    for (; *at && *at != '\\'; at++) {
        if (*at != quote)
            continue;
        if (at[1] != quote)
            return at + 1;
        at++;
    }
    return NULL;
}

/* How far a text was looked at. */
struct place {
    const char *at; /* NULL: it does not do */
    char before;    /* what stands there, other than gaps; a: a word */
    proa_str word;  /* the last one */
};

static bool is_word_of_names(proa_str word)
{
    return proa_str_eq_nocase(word, PROA_STR("AS")) || proa_str_eq_nocase(word, PROA_STR("RECURSIVE"));
}

/* Whether the word may stand before a parenthesis. Behind AS it is another name, with its columns. */
static bool may_open(const struct demands *demands, const struct place *place, proa_str word)
{
    if (place->before == '.')
        return false;
    return is_one_of(word, harmless, PROA_COUNT(harmless)) ||
           (demands->quiet_calls && is_one_of(word, quiet, PROA_COUNT(quiet))) ||
           (place->before == 'a' && is_word_of_names(place->word));
}

static void check_word(const struct demands *demands, struct place *place)
{
    const char *end = place->at;
    proa_str word;

    while (is_word_char(*end) || (unsigned char)*end >= 0x80)
        end++;
    word = proa_str_n(place->at, (size_t)(end - place->at));
    place->at = NULL;
    if (*end == '\'' || *end == '"' || *end == '&' || memchr(word.ptr, '$', word.len))
        return; /* E'…', U&"…" */
    end = skip_gap(end);
    if (!end || is_one_of(word, demands->forbidden, demands->forbidden_count))
        return;
    if (*end == '(' && !may_open(demands, place, word))
        return;
    place->at = end;
    place->word = word;
}

static void check_quoted(struct place *place)
{
    bool is_name = *place->at == '"';
    const char *end = skip_quoted(place->at);

    end = end ? skip_gap(end) : NULL;
    place->at = end && *end == '(' && is_name ? NULL : end;
}

/* The next thing of the text. */
static void check_next(const struct demands *demands, struct place *place)
{
    char first = *place->at;

    if (first == ';') {
        place->at = skip_gap(place->at + 1);
        if (place->at && *place->at)
            place->at = NULL;                                          /* another statement */
    } else if (first == '$' && isdigit((unsigned char)place->at[1])) { /* a parameter */
        place->at++;
        place->at += strspn(place->at, "0123456789");
    } else if (first == '$') {
        place->at = NULL; /* a text in dollars */
    } else if (first == '\'' || first == '"') {
        check_quoted(place);
    } else if (isalpha((unsigned char)first) || first == '_' || (unsigned char)first >= 0x80) {
        check_word(demands, place);
        first = 'a';
    } else {
        place->at++;
    }
    place->before = first;
    place->at = place->at ? skip_gap(place->at) : NULL;
}

static bool is_query(const char *text, const char *const *queries, size_t count, const struct demands *demands)
{
    const char *at = db_text_begin(text);
    struct place place = {.at = skip_gap(text)};

    for (size_t i = 0; i < count; i++) {
        if (!db_text_is_word(at, queries[i]))
            continue;
        while (place.at && *place.at)
            check_next(demands, &place);
        return place.at;
    }
    return false;
}

static const char *const queries[] = {"SELECT", "TABLE", "VALUES", "WITH", "SHOW"};
enum { QUERIES_THAT_SHARE = PROA_COUNT(queries) - 1 };

bool pg_text_shares(const char *text)
{
    static const struct demands demands = {telling, PROA_COUNT(telling), false};

    return is_query(text, queries, QUERIES_THAT_SHARE, &demands);
}

bool pg_text_reads(const char *text)
{
    static const struct demands demands = {changing, PROA_COUNT(changing), true};

    return is_query(text, queries, PROA_COUNT(queries), &demands);
}
