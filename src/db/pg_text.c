/* What a statement's text is, as far as its words tell. */
#include "pg_internal.h"

#include <ctype.h>
#include <strings.h>

static const char *skip_space(const char *at)
{
    for (;;) {
        while (isspace((unsigned char)*at) || *at == '(' || *at == ';')
            at++;
        if (at[0] == '-' && at[1] == '-') {
            at += strcspn(at, "\n");
        } else if (at[0] == '/' && at[1] == '*') {
            const char *end = strstr(at + 2, "*/");

            if (!end)
                return at + strlen(at);
            at = end + 2;
        } else {
            return at;
        }
    }
}

static bool is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$';
}

static bool is_word(const char *at, const char *word)
{
    size_t len = strlen(word);

    return strncasecmp(at, word, len) == 0 && !is_word_char(at[len]);
}

/* Also when it stands in a string or a name: then a read is taken for a write, which is the safe side. */
static bool has_word(const char *text, const char *const *words, size_t count)
{
    for (const char *at = text; *at; at++) {
        if (at > text && is_word_char(at[-1]))
            continue;
        for (size_t i = 0; i < count; i++) {
            if (is_word(at, words[i]))
                return true;
        }
    }
    return false;
}

bool pg_text_reads(const char *text)
{
    static const char *const reading[] = {"SELECT", "SHOW", "VALUES", "TABLE", "WITH"};
    static const char *const changing[] = {"INSERT", "UPDATE", "DELETE", "MERGE", "INTO"};
    const char *at = skip_space(text);

    for (size_t i = 0; i < PROA_COUNT(reading); i++) {
        if (is_word(at, reading[i]))
            return !has_word(at, changing, PROA_COUNT(changing));
    }
    return false;
}

bool pg_text_controls(const char *text)
{
    static const char *const words[] = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"};
    const char *at = skip_space(text);

    for (size_t i = 0; i < PROA_COUNT(words); i++) {
        if (is_word(at, words[i]))
            return true;
    }
    return false;
}

/* -- Texts that share a sync ------------------------------------------------------------------------------------- */

/* What may stand before a parenthesis: SQL's own words, types with a length, and functions of PostgreSQL that look at nothing but
 * their arguments, the rows and the clock. Sorted. */
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

static const char *const telling[] = {"CALL",   "DELETE", "EXECUTE", "EXPLAIN", "INSERT", "INTO",
                                      "LISTEN", "MERGE",  "NOTIFY",  "SET",     "SHARE",  "UPDATE"};

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

/* Behind a text or name in quotes. @returns NULL when it has no end, or a backslash, which means one thing or another. */
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

/* A word, and whether it may stand where it stands. @returns what follows, NULL: it may not. */
static const char *check_word(const char *at, char before)
{
    const char *end = at;
    proa_str word;

    while (is_word_char(*end) || (unsigned char)*end >= 0x80)
        end++;
    word = proa_str_n(at, (size_t)(end - at));
    if (*end == '\'' || *end == '"' || *end == '&' || memchr(word.ptr, '$', word.len))
        return NULL; /* E'…', U&"…" */
    at = skip_gap(end);
    if (!at || is_one_of(word, telling, PROA_COUNT(telling)))
        return NULL;
    if (*at == '(' && (before == '.' || !is_one_of(word, harmless, PROA_COUNT(harmless))))
        return NULL;
    return at;
}

bool pg_text_shares(const char *text)
{
    static const char *const queries[] = {"SELECT", "TABLE", "VALUES", "WITH"};
    const char *at = skip_space(text);
    char before = ' ';
    bool is_query = false;

    for (size_t i = 0; i < PROA_COUNT(queries); i++)
        is_query = is_query || is_word(at, queries[i]);
    for (at = is_query ? skip_gap(text) : NULL; at && *at; at = at ? skip_gap(at) : NULL) {
        char first = *at;

        if (first == ';')
            return (at = skip_gap(at + 1)) && !*at;
        if (first == '$' && isdigit((unsigned char)at[1])) { /* a parameter */
            at++;
            at += strspn(at, "0123456789");
        } else if (first == '$') {
            return false; /* a text in dollars */
        } else if (first == '\'' || first == '"') {
            at = skip_quoted(at);
            at = at ? skip_gap(at) : NULL;
            if (at && *at == '(' && first == '"')
                return false;
        } else if (isalpha((unsigned char)first) || first == '_' || (unsigned char)first >= 0x80) {
            at = check_word(at, before);
        } else {
            at++;
        }
        before = first;
    }
    return is_query && at;
}
