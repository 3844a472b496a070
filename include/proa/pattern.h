/** Regular expressions in the subset that means the same in ECMA-262 (JSON Schema) and RE2 (Kubernetes),
 *  matched in time linear in the text.
 *
 *  The subset: literals; `.` (any code point but line ends: \n, \r, U+2028, U+2029); classes [a-z], [^…] with \d \w \s
 *  \D \W \S; \d \w \s \D \W \S outside classes; escapes of ^ $ \ . * + ? ( ) [ ] { } | / (and of - in classes), \t \n
 *  \v \f \r; groups (…) and (?:…); alternation |; * + ? {n} {n,} {n,m} with n, m <= 256; ^ and $ (start and end of the
 *  text). No back references, no look-around, no lazy or possessive quantifiers, no \b, no Unicode classes: these are
 *  refused. Over code points. \d \w \s are ASCII's; for \s ECMA-262 adds the spaces beyond ASCII, RE2 leaves out \v, as
 *  for `.` it leaves out all line ends but \n: name the characters in a class where those matter.
 */
#ifndef PROA_PATTERN_H
#define PROA_PATTERN_H

#include <proa/arena.h>
#include <proa/error.h>
#include <proa/str.h>

PROA_BEGIN_DECLS

enum { PROA_PATTERN_STATES_MAX = 4096 };

struct proa_pattern;
/** Compiles into the arena. @returns 0, PROA_ESYNTAX (err says where), PROA_ETOOLARGE or PROA_ENOMEM. */
PROA_MUST_USE int proa_pattern_compile(struct proa_arena *arena, proa_str text, const struct proa_pattern **ret_pattern,
                                       struct proa_error *err);
/** Whether it matches somewhere in valid UTF-8 text. Takes its working memory, if any, from the arena; false when that
 *  is out. A compiled pattern never changes: threads may share it. */
bool proa_pattern_matches(const struct proa_pattern *pattern, struct proa_arena *scratch, proa_str text);

PROA_END_DECLS
#endif
