/* Lists, the scale subresource, and discovery. */
#include "sim_kube_internal.h"

#include <proa/text.h>

/* -- Lists --------------------------------------------------------------------------------------------------------- */

struct page {
    uint64_t version; /* the list is as of it */
    proa_str after;   /* key; "" for the beginning */
    uint64_t limit;   /* 0: none */
};

static int read_page_query(struct call *call, struct page *ret_page)
{
    proa_str limit = call_query(call, "limit"), token = call_query(call, "continue");
    proa_str version = call_query(call, "resourceVersion"), first;
    struct proa_buf text;
    uint64_t number;

    *ret_page = (struct page){.version = call->kube->version};
    if (limit.len && proa_str_to_u64(limit, &ret_page->limit) < 0)
        return fail_call(call, 400, "BadRequest", "limit: Invalid value");
    if (version.len && proa_str_to_u64(version, &number) < 0)
        return fail_call(call, 400, "BadRequest", "resourceVersion: Invalid value: \"" PROA_FMT "\"",
                         PROA_ARG(version));
    if (version.len && number > call->kube->version) {
        call->failure.retry_after_s = 1;
        add_cause(call, "ResourceVersionTooLarge", "", "Too large resource version");
        return fail_call(call, 504, "Timeout", "Too large resource version: %llu, current: %llu",
                         (unsigned long long)number, (unsigned long long)call->kube->version);
    }
    if (!token.len)
        return 0;
    proa_buf_init(&text, call->arena, 0);
    if (proa_base64url_decode(&text, token) < 0)
        return fail_call(call, 400, "BadRequest", "continue key is not valid");
    ret_page->after = proa_buf_str(&text);
    if (!proa_str_split(&ret_page->after, ':', &first) || proa_str_to_u64(first, &ret_page->version) < 0)
        return fail_call(call, 400, "BadRequest", "continue key is not valid");
    return 0;
}

static void write_token(struct call *call, const struct page *page, proa_str key, struct proa_buf *out)
{
    proa_str text = proa_arena_printf(call->arena, "%llu:" PROA_FMT, (unsigned long long)page->version, PROA_ARG(key));

    proa_base64url_encode(out, text);
}

static bool is_in(const struct call *call, proa_str key)
{
    return !call->namespace_.len || proa_str_eq(key_namespace(key), call->namespace_);
}

static void write_items(struct call *call, const struct page *page, const struct selectors *selectors,
                        const struct proa_vec *entries, struct proa_buf *out)
{
    struct proa_buf items;
    uint64_t count = 0, left = 0;
    proa_str last = {NULL, 0};

    proa_buf_init(&items, NULL, 0);
    for (size_t i = 0; i < entries->len; i++) {
        const struct store_entry *entry = proa_vec_at(entries, i);

        if (!is_in(call, entry->key) || (page->after.len && proa_str_cmp(entry->key, page->after) <= 0) ||
            !selectors_match(selectors, entry->snapshot))
            continue;
        if (page->limit && count == page->limit) {
            left++;
            continue;
        }
        count++;
        last = entry->key;
        proa_buf_add_c(&items, items.len ? "," : "");
        proa_buf_add(&items, proa_str_n(entry->snapshot->text, entry->snapshot->len));
    }
    proa_buf_printf(
        out, "{\"kind\":\"%sList\",\"apiVersion\":\"" PROA_FMT "\",\"metadata\":{\"resourceVersion\":\"%llu\"",
        call->kind->names.kind, PROA_ARG(kind_api_version(call->arena, call->kind)), (unsigned long long)page->version);
    if (left > 0) {
        proa_buf_add_c(out, ",\"continue\":\"");
        write_token(call, page, last, out);
        proa_buf_add_char(out, '"');
        if (!selectors->labels.len && !selectors->fields.len)
            proa_buf_printf(out, ",\"remainingItemCount\":%llu", (unsigned long long)left);
    }
    proa_buf_add_c(out, "},\"items\":[");
    proa_buf_add(out, proa_buf_str(&items));
    proa_buf_add_c(out, "]}\n");
    proa_buf_done(&items);
}

int read_list(struct call *call, struct proa_buf *out)
{
    struct selectors selectors;
    struct proa_vec entries;
    struct page page;
    int rc;

    if (selectors_read(call, &selectors) < 0 || read_page_query(call, &page) < 0)
        return -1;
    if (page.after.len && sim_kube_chance(call->kube, call->kube->options.faults.expire))
        store_forget(call->kube);
    rc = page.after.len && page.version < call->kube->forgotten
             ? PROA_EPRECONDITION
             : store_list_at(call->kube, call->kind, page.version, &entries);
    if (rc == PROA_EPRECONDITION)
        return fail_call(
            call, 410, "Expired",
            "The provided continue parameter is too old to display a consistent list result. You can start a new "
            "list without the continue parameter.");
    if (rc < 0)
        return fail_memory(call);
    write_items(call, &page, &selectors, &entries, out);
    store_entries_done(&entries);
    return out->error < 0 ? fail_memory(call) : 0;
}

/* -- Scale --------------------------------------------------------------------------------------------------------- */

/* A LabelSelector as text; of a custom kind it is text already. */
static void write_selector(struct proa_buf *out, yyjson_val *selector)
{
    yyjson_obj_iter iter = yyjson_obj_iter_with(yyjson_obj_get(selector, "matchLabels"));
    bool first = true;

    if (yyjson_is_str(selector))
        proa_buf_add(out, value_text(selector));
    for (yyjson_val *key = yyjson_obj_iter_next(&iter); key; key = yyjson_obj_iter_next(&iter)) {
        proa_buf_printf(out, "%s%s=%s", first ? "" : ",", yyjson_get_str(key),
                        yyjson_get_str(yyjson_obj_iter_get_val(key)));
        first = false;
    }
}

int read_scale(struct call *call, const struct sim_snapshot *snapshot, struct proa_buf *out)
{
    yyjson_val *root = snapshot_root(snapshot);
    proa_str path = call->kind->selector.len ? call->kind->selector : PROA_STR("spec.selector");
    struct proa_json_writer w;
    struct proa_buf selector;

    proa_buf_init(&selector, call->arena, 0);
    write_selector(&selector, value_at(root, path));
    proa_json_writer_init(&w, out);
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("kind"));
    proa_json_text(&w, PROA_STR("Scale"));
    proa_json_key(&w, PROA_STR("apiVersion"));
    proa_json_text(&w, PROA_STR("autoscaling/v1"));
    proa_json_key(&w, PROA_STR("metadata"));
    proa_json_object(&w);
    for (size_t i = 0; i < 5; i++) {
        static const char *const names[] = {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"};
        proa_str text = meta_value(root, names[i]);

        if (!text.len)
            continue;
        proa_json_key(&w, proa_str_c(names[i]));
        proa_json_text(&w, text);
    }
    proa_json_object_end(&w);
    proa_json_key(&w, PROA_STR("spec"));
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("replicas"));
    proa_json_i64(&w, yyjson_get_sint(value_at(root, call->kind->replicas)));
    proa_json_object_end(&w);
    proa_json_key(&w, PROA_STR("status"));
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("replicas"));
    proa_json_i64(&w, yyjson_get_sint(value_at(root, call->kind->status_replicas)));
    if (selector.len) {
        proa_json_key(&w, PROA_STR("selector"));
        proa_json_text(&w, proa_buf_str(&selector));
    }
    proa_json_object_end(&w);
    proa_json_object_end(&w);
    return out->error < 0 ? fail_memory(call) : 0;
}

/* -- Discovery ----------------------------------------------------------------------------------------------------- */

static void write_resource(struct proa_json_writer *w, const struct sim_kind *kind, const char *subresource)
{
    static const char *const verbs[] = {"create", "delete", "deletecollection", "get",
                                        "list",   "patch",  "update",           "watch"};
    struct proa_buf name = {0};

    proa_buf_printf(&name, "%s%s%s", kind->names.plural, subresource ? "/" : "", subresource ? subresource : "");
    proa_json_object(w);
    proa_json_key(w, PROA_STR("name"));
    proa_json_text(w, proa_buf_str(&name));
    proa_json_key(w, PROA_STR("singularName"));
    proa_json_text(w, subresource ? PROA_STR("") : kind->singular);
    proa_json_key(w, PROA_STR("namespaced"));
    proa_json_bool(w, !kind->names.is_cluster_scoped);
    proa_json_key(w, PROA_STR("kind"));
    proa_json_text(w,
                   subresource && strcmp(subresource, "scale") == 0 ? PROA_STR("Scale") : proa_str_c(kind->names.kind));
    proa_json_key(w, PROA_STR("verbs"));
    proa_json_array(w);
    for (size_t i = 0; i < PROA_COUNT(verbs); i++)
        if (!subresource || i == 3 || i == 5 || i == 6)
            proa_json_text(w, proa_str_c(verbs[i]));
    proa_json_array_end(w);
    proa_json_object_end(w);
    proa_buf_done(&name);
}

static size_t write_resources(const struct proa_sim_kube *kube, proa_str group, proa_str version, struct proa_buf *out)
{
    struct proa_json_writer w;
    size_t count = 0;

    proa_json_writer_init(&w, out);
    proa_json_object(&w);
    proa_json_key(&w, PROA_STR("kind"));
    proa_json_text(&w, PROA_STR("APIResourceList"));
    proa_json_key(&w, PROA_STR("apiVersion"));
    proa_json_text(&w, PROA_STR("v1"));
    proa_json_key(&w, PROA_STR("groupVersion"));
    {
        struct proa_buf text = {0};

        proa_buf_printf(&text, PROA_FMT "%s" PROA_FMT, PROA_ARG(group), group.len ? "/" : "", PROA_ARG(version));
        proa_json_text(&w, proa_buf_str(&text));
        proa_buf_done(&text);
    }
    proa_json_key(&w, PROA_STR("resources"));
    proa_json_array(&w);
    for (size_t i = 0; i < kube->kinds.len; i++) {
        const struct sim_kind *kind = *(struct sim_kind **)proa_vec_at(&kube->kinds, i);

        if (!kind->is_served || !proa_str_eq_c(group, kind->names.group) ||
            !proa_str_eq_c(version, kind->names.version))
            continue;
        count++;
        write_resource(&w, kind, NULL);
        if (kind->has_status)
            write_resource(&w, kind, "status");
        if (kind->has_scale)
            write_resource(&w, kind, "scale");
    }
    proa_json_array_end(&w);
    proa_json_object_end(&w);
    return count;
}

static void write_groups(const struct proa_sim_kube *kube, struct proa_buf *out)
{
    bool first = true;

    proa_buf_add_c(out, "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[");
    for (size_t i = 0; i < kube->kinds.len; i++) {
        const struct sim_kind *kind = *(struct sim_kind **)proa_vec_at(&kube->kinds, i);
        bool seen = !kind->names.group[0] || !kind->is_served;

        for (size_t j = 0; j < i && !seen; j++) {
            const struct sim_kind *other = *(struct sim_kind **)proa_vec_at(&kube->kinds, j);

            seen = other->is_served && proa_str_eq_c(proa_str_c(kind->names.group), other->names.group);
        }
        if (seen)
            continue;
        proa_buf_printf(out,
                        "%s{\"name\":\"%s\",\"versions\":[{\"groupVersion\":\"%s/%s\",\"version\":\"%s\"}],"
                        "\"preferredVersion\":{\"groupVersion\":\"%s/%s\",\"version\":\"%s\"}}",
                        first ? "" : ",", kind->names.group, kind->names.group, kind->names.version,
                        kind->names.version, kind->names.group, kind->names.version, kind->names.version);
        first = false;
    }
    proa_buf_add_c(out, "]}");
}

bool read_discovery(struct proa_sim_kube *kube, struct proa_arena *arena, proa_str path, struct proa_buf *out,
                    int *ret_status)
{
    proa_str group = PROA_STR(""), version;

    (void)arena;
    *ret_status = 200;
    if (proa_str_eq_c(path, "/version")) {
        proa_buf_add_c(out, "{\"major\":\"1\",\"minor\":\"35\",\"gitVersion\":\"v1.35.4\"}");
        return true;
    }
    if (proa_str_eq_c(path, "/api")) {
        proa_buf_add_c(out, "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"]}");
        return true;
    }
    if (proa_str_eq_c(path, "/apis")) {
        write_groups(kube, out);
        return true;
    }
    if (proa_str_eq_c(path, "/api/v1")) {
        version = PROA_STR("v1");
    } else if (proa_str_starts_with(path, PROA_STR("/apis/"))) {
        version = proa_str_slice(path, 6, path.len);
        if (!proa_str_split(&version, '/', &group) || !version.len || proa_str_find_char(version, '/') >= 0)
            return false;
    } else {
        return false;
    }
    if (write_resources(kube, group, version, out) == 0)
        *ret_status = 404;
    return true;
}
