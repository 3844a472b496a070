/* Whether a statement's first word begins or ends a transaction, which only proa_db_transaction may: in one of the
 * program's own, what follows on the connection would be part of it, and be lost; without the one that the driver
 * counts on, it would not be undone. */
#include "driver.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* Behind a comment, its end or the text's. In PostgreSQL comments are nested, in SQLite they are not. */
static const char *skip_comment(const char *at, bool nests)
{
    int depth = 1;

    for (at += 2; *at; at++) {
        if (at[0] == '*' && at[1] == '/') {
            at++;
            if (--depth == 0)
                return at + 1;
        } else if (nests && at[0] == '/' && at[1] == '*') {
            at++;
            depth++;
        }
    }
    return at;
}

static const char *skip(const char *at, bool nests)
{
    for (;;) {
        while (isspace((unsigned char)*at) || *at == '(' || *at == ';')
            at++;
        if (at[0] == '-' && at[1] == '-')
            at += strcspn(at, "\n");
        else if (at[0] == '/' && at[1] == '*')
            at = skip_comment(at, nests);
        else
            return at;
    }
}

const char *db_text_begin(const char *text)
{
    return skip(text, true);
}

bool db_text_is_word(const char *at, const char *word)
{
    size_t len = strlen(word);

    return strncasecmp(at, word, len) == 0 && !isalnum((unsigned char)at[len]) && at[len] != '_' && at[len] != '$';
}

static bool is_one_of(const char *at, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (db_text_is_word(at, words[i]))
            return true;
    }
    return false;
}

/* ROLLBACK [WORK | TRANSACTION] TO … */
static bool is_partial(const char *at, bool nests)
{
    at = skip(at + strlen("ROLLBACK"), nests);
    if (db_text_is_word(at, "WORK"))
        at = skip(at + strlen("WORK"), nests);
    else if (db_text_is_word(at, "TRANSACTION"))
        at = skip(at + strlen("TRANSACTION"), nests);
    return db_text_is_word(at, "TO");
}

static bool controls(const char *text, bool in_tx, bool nests)
{
    static const char *const words[] = {"BEGIN", "START", "COMMIT", "END", "ABORT"};
    static const char *const parts[] = {"SAVEPOINT", "RELEASE"};
    const char *at = skip(text, nests);

    /* Of each statement of a transaction: most begin with another letter. */
    if (!*at || !strchr("abceprsABCEPRS", *at))
        return false;
    if (is_one_of(at, words, PROA_COUNT(words)))
        return true;
    if (db_text_is_word(at, "PREPARE"))
        return db_text_is_word(skip(at + strlen("PREPARE"), nests), "TRANSACTION");
    if (db_text_is_word(at, "ROLLBACK"))
        return !in_tx || !is_partial(at, nests);
    return !in_tx && is_one_of(at, parts, PROA_COUNT(parts));
}

bool db_text_controls(const char *text, bool in_tx)
{
    return controls(text, in_tx, true) || controls(text, in_tx, false);
}
