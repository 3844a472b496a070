/* Who asks: SelfSubjectReview (KEP-3325), with impersonation. Everybody is the administrator, who may impersonate whom
 * he likes. */
#include "sim_kube_internal.h"

#include <proa/text.h>

static void write_groups(struct proa_json_writer *w, const struct proa_req *req, bool is_impersonated)
{
    proa_str name, value;

    proa_json_key(w, PROA_STR("groups"));
    proa_json_array(w);
    if (!is_impersonated)
        proa_json_text(w, PROA_STR("system:masters"));
    for (size_t i = 0; is_impersonated && proa_req_header_at(req, i, &name, &value); i++)
        if (proa_str_eq_nocase(name, PROA_STR("Impersonate-Group")))
            proa_json_text(w, value);
    proa_json_text(w, PROA_STR("system:authenticated"));
    proa_json_array_end(w);
}

/* Each value has a line of its own; those of one key follow one another. */
static void write_extra(struct proa_json_writer *w, struct proa_arena *arena, const struct proa_req *req)
{
    const proa_str prefix = PROA_STR("Impersonate-Extra-");
    proa_str name, value, key, last = {NULL, 0};

    proa_json_key(w, PROA_STR("extra"));
    proa_json_object(w);
    for (size_t i = 0; proa_req_header_at(req, i, &name, &value); i++) {
        if (!proa_str_eq_nocase(proa_str_slice(name, 0, prefix.len), prefix))
            continue;
        key = proa_str_slice(name, prefix.len, name.len);
        if (!last.ptr || !proa_str_eq_nocase(key, last)) {
            proa_str decoded = key;

            if (last.ptr)
                proa_json_array_end(w);
            proa_ignore(proa_percent_decode(arena, key, false, &decoded)); /* else as it came */
            proa_json_key(w, decoded);
            proa_json_array(w);
        }
        last = key;
        proa_json_text(w, value);
    }
    if (last.ptr)
        proa_json_array_end(w);
    proa_json_object_end(w);
}

int serve_self_review(struct call *call, struct proa_req *req)
{
    proa_str user = proa_req_header(req, "Impersonate-User"), uid = proa_req_header(req, "Impersonate-Uid");
    struct proa_json_writer w;
    struct proa_buf out;

    proa_buf_init(&out, call->arena, 0);
    proa_json_writer_init(&w, &out);
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("kind"));
    proa_json_text(&w, PROA_STR("SelfSubjectReview"));
    proa_json_key(&w, PROA_STR("apiVersion"));
    proa_json_text(&w, PROA_STR("authentication.k8s.io/v1"));
    proa_json_key(&w, PROA_STR("status"));
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("userInfo"));
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("username"));
    proa_json_text(&w, user.len ? user : PROA_STR("admin"));
    if (user.len && uid.len) {
        proa_json_key(&w, PROA_STR("uid"));
        proa_json_text(&w, uid);
    }
    write_groups(&w, req, user.len > 0);
    if (user.len)
        write_extra(&w, call->arena, req);
    proa_json_object_end(&w);
    proa_json_object_end(&w);
    proa_json_object_end(&w);
    if (out.error < 0)
        return PROA_ENOMEM;
    return proa_reply(req, 201, "application/json", proa_buf_str(&out));
}
