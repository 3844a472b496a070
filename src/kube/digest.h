/** What our field manager applied, as one number: no copies are kept of what the API server holds. */
#ifndef PROA_KUBE_DIGEST_H
#define PROA_KUBE_DIGEST_H

#include <proa/str.h>

/** A cursor over valid JSON. */
struct json_cursor {
    const char *at, *end;
};
/** The members of an object or elements of an array, one after the other: `struct json_cursor it = json_open(value);
 *  while (json_next_member(&it, &key, &value))`. Keys as they are written, without their quotes. */
struct json_cursor json_open(proa_str value);
bool json_next_member(struct json_cursor *cursor, proa_str *ret_key, proa_str *ret_value);
bool json_next_element(struct json_cursor *cursor, proa_str *ret_value);
/** The member's value; ptr NULL when there is none. Names are plain text. */
proa_str json_member(proa_str object, proa_str name);
/** The text of a JSON string that needs no unescaping (names, uids, versions); "" for what is none. */
proa_str json_plain_text(proa_str value);

/** The digest of a value. Order of an object's members and spelling of strings and numbers do not count. false, 0, "",
 *  {} and [] are all alike, since they are what a member is that Go has dropped, but a member that is there counts
 *  whatever its value is. Never 0. */
uint64_t digest_value(proa_str json);
/** Of the body of an apply: digest_value without what is no field (apiVersion, kind, the names and versions of
 *  metadata); 0 when there is no field in it. */
uint64_t digest_body(proa_str json);

struct applied_digests {
    uint64_t main, status; /* of the subresource; 0: none */
};
/** Of the fields of `object` (a whole object as JSON) that `manager` has applied: equal to digest_body of the body when
 *  all of it is as it was applied. (Not so where the API server fills in more, or for a null, or a list with keys that
 *  is empty and with that nobody's: what then came of the body is remembered instead, at the cost of an apply after
 *  each start.) */
struct applied_digests digest_applied(proa_str object, proa_str managed_fields, proa_str manager);

#endif
