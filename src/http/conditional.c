/* Entity tags and the conditions on them, RFC 9110 sections 8.8.3 and 13. */
#include <proa/conditional.h>

static bool is_etag_char(unsigned char c)
{
    return c == 0x21 || (c >= 0x23 && c != 0x7f);
}

/* Cuts one entity tag off the front of *rest. */
static int take_etag(proa_str *rest, proa_str *ret_tag, bool *ret_weak)
{
    proa_str s = *rest;
    bool weak = false;
    size_t end = 1;

    if (proa_str_starts_with(s, PROA_STR("W/"))) {
        weak = true;
        s = proa_str_slice(s, 2, s.len);
    }
    if (s.len < 2 || s.ptr[0] != '"')
        return PROA_EINVAL;
    while (end < s.len && is_etag_char((unsigned char)s.ptr[end]))
        end++;
    if (end == s.len || s.ptr[end] != '"')
        return PROA_EINVAL;
    *ret_tag = proa_str_slice(s, 0, end + 1);
    *ret_weak = weak;
    *rest = proa_str_slice(s, end + 1, s.len);
    return 0;
}

int proa_etag_matches(proa_str list, proa_str etag, bool strong)
{
    proa_str rest = proa_str_trim(list);
    bool own_weak = proa_str_starts_with(etag, PROA_STR("W/"));
    proa_str own = own_weak ? proa_str_slice(etag, 2, etag.len) : etag;
    bool found = false;

    if (proa_str_eq_c(rest, "*"))
        return etag.ptr != NULL;
    if (rest.len == 0)
        return PROA_EINVAL;
    while (rest.len > 0) {
        proa_str tag;
        bool weak;

        PROA_TRY(take_etag(&rest, &tag, &weak));
        if (etag.ptr && proa_str_eq(tag, own) && !(strong && (weak || own_weak)))
            found = true;
        rest = proa_str_trim(rest);
        if (rest.len == 0)
            break;
        if (rest.ptr[0] != ',')
            return PROA_EINVAL;
        rest = proa_str_trim(proa_str_slice(rest, 1, rest.len));
    }
    return found;
}

int proa_req_precondition(struct proa_req *req, proa_str etag)
{
    struct proa_error *err = proa_req_error(req);
    enum proa_method method = proa_req_method(req);
    proa_str if_match = proa_req_header(req, "If-Match");
    proa_str if_none_match = proa_req_header(req, "If-None-Match");
    int matches;

    if (if_match.ptr) {
        matches = proa_etag_matches(if_match, etag, true);
        if (matches < 0)
            return proa_error_add_field(err, PROA_EINVAL, PROA_STR("#/header/if-match"), "syntax",
                                        "If-Match is not a list of entity tags");
        if (!matches)
            return proa_fail(err, PROA_EPRECONDITION, "If-Match does not name the present version");
    }
    if (if_none_match.ptr) {
        matches = proa_etag_matches(if_none_match, etag, false);
        if (matches < 0)
            return proa_error_add_field(err, PROA_EINVAL, PROA_STR("#/header/if-none-match"), "syntax",
                                        "If-None-Match is not a list of entity tags");
        if (matches && (method == PROA_GET || method == PROA_HEAD))
            return PROA_NOT_MODIFIED;
        if (matches)
            return proa_fail(err, PROA_EPRECONDITION, "If-None-Match names the present version");
    }
    return 0;
}
