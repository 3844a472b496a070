/* Lists in pages of which one item is in memory at a time. */
#include "list.h"

#include "splitter.h"

enum { PAGE_DEFAULT = 500, RESTARTS_MAX = 3 };

struct list_metadata {
    proa_str resource_version, continue_;
};
PROA_DESCRIBE_WITH(list_metadata, (.unknown = PROA_UNKNOWN_IGNORE),
                   (resource_version, str, .json = "resourceVersion", .default_json = "\"\""),
                   (continue_, str, .json = "continue", .default_json = "\"\""));

struct page {
    struct proa_arena arena; /* of its request, not of its items */
    struct list_metadata metadata;
    bool has_metadata;
    bool was_stopped; /* by whom the items are for */
    const struct kube_list *list;
    size_t item_bytes;
    struct proa_error *err;
};

static int found_item(struct page *page, enum splitter_part part, proa_str text)
{
    int rc;

    if (part == SPLIT_ITEM)
        rc = page->list->each(page->list->arg, text);
    else if (page->list->too_large)
        rc = page->list->too_large(page->list->arg, text);
    else
        rc = proa_fail(page->err, PROA_ETOOLARGE, "an object is larger than %zu bytes", page->item_bytes);
    page->was_stopped = rc < 0;
    return rc;
}

static int found(void *arg, enum splitter_part part, proa_str text)
{
    struct page *page = arg;
    proa_str copy;

    if (part != SPLIT_METADATA)
        return found_item(page, part, text);
    copy = proa_arena_str(&page->arena, text);
    if (!copy.ptr)
        return proa_fail(page->err, PROA_ENOMEM, "no memory for a list");
    page->has_metadata = true;
    return proa_json_read(&page->arena, copy, PROA_JSON_LENIENT, &list_metadata_type, &page->metadata, page->err);
}

static int read_page(struct proa_kube *kube, struct page *page, struct proa_exchange *exchange)
{
    struct splitter splitter PROA_CLEANUP(splitter_done);
    proa_str piece;

    splitter_init(&splitter, SPLIT_LIST, kube->options.item_bytes, found, page);
    for (;;) {
        PROA_TRY(proa_exchange_read(exchange, &piece, page->err));
        if (!piece.ptr)
            break;
        PROA_TRY(splitter_feed(&splitter, piece, page->err));
    }
    if (!splitter_is_whole(&splitter) || !page->has_metadata)
        return proa_fail(page->err, PROA_EPROTOCOL, "the API server's answer is no list");
    return 0;
}

static int get_page(struct proa_kube *kube, struct page *page, const struct kube_list *list, proa_str next)
{
    struct proa_kube_request request = {.kind = list->kind, .namespace_ = list->namespace_};
    char limit[PROA_U64_TEXT_MAX];
    struct proa_exchange *exchange;
    struct proa_buf query;
    int rc;

    proa_buf_init(&query, &page->arena, 0);
    kube_query_add(&query, "limit", proa_str_n(limit, proa_u64_text(list->page ? list->page : PAGE_DEFAULT, limit)));
    kube_query_add(&query, "labelSelector", list->label_selector);
    kube_query_add(&query, "fieldSelector", list->field_selector);
    kube_query_add(&query, "continue", next);
    if (query.error < 0)
        return proa_fail(page->err, PROA_ENOMEM, "no memory for a request");
    request.query = proa_buf_str(&query);
    rc = proa_sem_acquire(kube->places);
    if (rc < 0)
        return proa_fail(page->err, rc, "no place among the requests in flight");
    rc = list->is_patient ? kube_open_when_asked(kube, &page->arena, &request, &exchange, page->err)
                          : kube_open(kube, &page->arena, &request, &exchange, page->err);
    if (rc == 0) {
        rc = read_page(kube, page, exchange);
        proa_exchange_close(exchange);
    }
    proa_sem_release(kube->places);
    return rc;
}

/* One pass over all pages. */
static int list_once(struct proa_kube *kube, struct proa_arena *arena, const struct kube_list *list,
                     proa_str *ret_version, bool *ret_expired, struct proa_error *err)
{
    proa_str next = {NULL, 0};

    do {
        struct page page = {.list = list, .item_bytes = kube->options.item_bytes, .err = err};
        struct proa_deadline_scope scope PROA_CLEANUP(proa_deadline_leave) = proa_deadline_enter(
            kube->options.loop, proa_loop_now_exact(kube->options.loop) + PROA_MS(kube->options.request_ms));
        int rc;

        proa_arena_init(&page.arena, proa_loop_blocks(kube->options.loop), 0);
        rc = get_page(kube, &page, list, next);
        *ret_expired = rc == PROA_EPRECONDITION && next.len > 0 && !page.was_stopped;
        if (rc == 0) {
            next = proa_arena_str(arena, page.metadata.continue_);
            *ret_version = proa_arena_str(arena, page.metadata.resource_version);
            if (!next.ptr || !ret_version->ptr)
                rc = proa_fail(err, PROA_ENOMEM, "no memory for a list");
        }
        proa_arena_done(&page.arena);
        PROA_TRY(rc);
    } while (next.len > 0);
    return 0;
}

int kube_list_pages(struct proa_kube *kube, struct proa_arena *arena, const struct kube_list *list,
                    proa_str *ret_version, struct proa_error *err)
{
    for (int i = 0;; i++) {
        bool expired = false;
        int rc = list_once(kube, arena, list, ret_version, &expired, err);

        if (rc == 0 || !expired || i == RESTARTS_MAX)
            return rc;
        if (err)
            proa_error_clear(err);
        if (list->restart)
            PROA_TRY(list->restart(list->arg));
    }
}

struct typed_list {
    const struct proa_type *type;
    void *object;
    proa_kube_each_fn *each;
    void *arg;
    struct proa_loop *loop;
    struct proa_error *err;
};

static int each_typed(void *arg, proa_str json)
{
    struct typed_list *list = arg;
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);

    proa_arena_init(&arena, proa_loop_blocks(list->loop), 0);
    PROA_TRY(proa_json_read_type(&arena, json, PROA_JSON_LENIENT, list->type, list->object, list->err));
    return list->each(list->arg, list->object);
}

int proa_kube_list(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_kind *kind,
                   proa_str namespace_, const struct proa_kube_list_options *options, const struct proa_type *type,
                   proa_kube_each_fn *each, void *arg, proa_str *ret_version, struct proa_error *err)
{
    struct typed_list typed = {.type = type,
                               .object = proa_arena_alloc(arena, type->size),
                               .each = each,
                               .arg = arg,
                               .loop = kube->options.loop,
                               .err = err};
    struct kube_list list = {
        .kind = kind, .namespace_ = namespace_, .each = each_typed, .arg = &typed, .is_patient = true};
    proa_str version;
    int rc;

    if (!typed.object)
        return proa_fail(err, PROA_ENOMEM, "no memory for a list");
    if (options) {
        list.label_selector = options->label_selector;
        list.field_selector = options->field_selector;
        list.page = options->page;
    }
    rc = kube_list_pages(kube, arena, &list, &version, err);
    if (rc < 0)
        return err && err->code ? proa_error_wrap(err, "list %s", kind->kind) : rc;
    if (ret_version)
        *ret_version = version;
    return 0;
}
