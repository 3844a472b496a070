/* Paging cursors: the last id seen, opaque to clients, so that rows added or removed meanwhile move nothing. */
#include "users.h"
#include <proa/buf.h>

proa_str cursor_write(struct proa_arena *arena, uint64_t last_id)
{
    struct proa_buf out;
    char text[2 + PROA_U64_TEXT_MAX] = "v1";
    size_t len = proa_u64_text(last_id, text + 2);

    proa_buf_init(&out, arena, 0);
    if (proa_base64url_encode(&out, proa_str_n(text, 2 + len)) < 0)
        return (proa_str){NULL, 0};
    return proa_buf_str(&out);
}

int cursor_read(proa_str cursor, uint64_t *ret_last_id)
{
    struct proa_buf text PROA_CLEANUP(proa_buf_done);
    proa_str s;

    proa_buf_init(&text, NULL, 64);
    PROA_TRY(proa_base64url_decode(&text, cursor));
    s = proa_buf_str(&text);
    if (!proa_str_starts_with(s, PROA_STR("v1")))
        return PROA_ESYNTAX;
    return proa_str_to_u64(proa_str_slice(s, 2, s.len), ret_last_id);
}
