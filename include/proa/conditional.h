/** Conditional requests (RFC 9110 section 13): entity tags, If-Match, If-None-Match. */
#ifndef PROA_CONDITIONAL_H
#define PROA_CONDITIONAL_H

#include <proa/req.h>

PROA_BEGIN_DECLS

enum { PROA_NOT_MODIFIED = 1 };

/** Evaluates If-Match and If-None-Match against the entity tag of the present representation ("\"7\"", with its quotes;
 *  ptr NULL when there is none) in the order of section 13.2.2.
 *  @returns 0: go on; PROA_NOT_MODIFIED: answer a GET or HEAD with 304; PROA_EPRECONDITION: 412, err is filled;
 *           PROA_EINVAL: a field that is not a list of entity tags (400). */
PROA_MUST_USE int proa_req_precondition(struct proa_req *req, proa_str etag);

/** Whether a list of entity tags ("*" or `"a", W/"b"`) holds one that matches. Strong comparison never matches a weak
 *  tag.
 *  @returns 1, 0 or PROA_EINVAL. */
PROA_MUST_USE int proa_etag_matches(proa_str list, proa_str etag, bool strong);

PROA_END_DECLS
#endif
