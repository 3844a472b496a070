/* Fuzzes the splitter: however the input is cut, the same parts come out, and every part of valid JSON is valid JSON. The first byte
 * chooses the mode, the second the length of the pieces. */
#include "fuzz.h"

#include "kube/splitter.h"

#include <proa/json.h>

struct parts {
    struct proa_buf text;
    bool is_json; /* the whole input is */
};

static int found(void *arg, enum splitter_part part, proa_str text)
{
    struct parts *parts = arg;

    proa_buf_printf(&parts->text, "%d:", (int)part);
    if (part == SPLIT_TOO_LARGE) { /* what of it is given is as the pieces fall */
        must(text.len > 0 && text.ptr[0] == '{');
        return parts->text.error;
    }
    must(text.len >= 2 && text.ptr[0] == '{' && (text.ptr[text.len - 1] == '}' || !parts->is_json));
    must(!parts->is_json || proa_json_check(text, NULL) == 0);
    return proa_buf_add(&parts->text, text);
}

static int split(enum splitter_mode mode, proa_str text, size_t piece, struct parts *parts, bool *ret_whole)
{
    struct splitter splitter;
    int rc = 0;

    splitter_init(&splitter, mode, 4096, found, parts);
    for (size_t at = 0; at < text.len && rc == 0; at += piece) {
        size_t len = text.len - at < piece ? text.len - at : piece;

        rc = splitter_feed(&splitter, proa_str_n(text.ptr + at, len), NULL);
    }
    *ret_whole = splitter_is_whole(&splitter);
    splitter_done(&splitter);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct parts whole = {{0}, false}, cut = {{0}, false};
    enum splitter_mode mode;
    bool is_whole, is_cut_whole;
    proa_str text;
    int rc, cut_rc;

    if (size < 3)
        return 0;
    mode = data[0] & 1 ? SPLIT_STREAM : SPLIT_LIST;
    text = proa_str_n((const char *)data + 2, size - 2);
    whole.is_json = cut.is_json = proa_json_check(text, NULL) == 0;
    rc = split(mode, text, text.len, &whole, &is_whole);
    cut_rc = split(mode, text, data[1] ? data[1] : 1, &cut, &is_cut_whole);
    must(rc == cut_rc);
    must(rc < 0 || is_whole == is_cut_whole);
    /* An item that turns out to be broken may have been too large before. */
    must(rc < 0 || proa_str_eq(proa_buf_str(&whole.text), proa_buf_str(&cut.text)));
    proa_buf_done(&whole.text);
    proa_buf_done(&cut.text);
    return 0;
}
