/* Metrics under mongodb_exporter's names, which are made of the paths of what serverStatus and replSetGetStatus answer. */
#include "mongodb_internal.h"

#include <stdio.h>

enum { PATH_MAX_BYTES = 192, DEPTH_MAX = 6 };

/* What is left out is much, and of interest for those who work on the server itself. */
static const char *const sections[] = {
    "serverStatus.asserts.",
    "serverStatus.connections.",
    "serverStatus.extra_info.",
    "serverStatus.flowControl.",
    "serverStatus.globalLock.",
    "serverStatus.locks.Global.acquireCount.",
    "serverStatus.mem.",
    "serverStatus.metrics.cursor.",
    "serverStatus.metrics.document.",
    "serverStatus.metrics.operation.",
    "serverStatus.metrics.queryExecutor.",
    "serverStatus.metrics.record.",
    "serverStatus.metrics.repl.apply.",
    "serverStatus.metrics.repl.buffer.",
    "serverStatus.metrics.repl.network.",
    "serverStatus.metrics.ttl.",
    "serverStatus.network.",
    "serverStatus.opLatencies.",
    "serverStatus.opcounters.",
    "serverStatus.opcountersRepl.",
    "serverStatus.transactions.",
    "serverStatus.uptime",
    "serverStatus.wiredTiger.block-manager.",
    "serverStatus.wiredTiger.cache.",
    "serverStatus.wiredTiger.concurrentTransactions.",
    "serverStatus.wiredTiger.connection.",
    "serverStatus.wiredTiger.transaction.",
    "replSetGetStatus.",
};

/* The last name of these is a label. */
static const struct {
    const char *path, *label;
} labelled[] = {
    {"serverStatus.asserts.", "assert_type"},
    {"serverStatus.connections.", "conn_type"},
    {"serverStatus.globalLock.currentQueue.", "count_type"},
    {"serverStatus.metrics.cursor.open.", "csr_type"},
    {"serverStatus.metrics.document.", "doc_op_type"},
    {"serverStatus.opLatencies.", "op_type"},
    {"serverStatus.opcounters.", "legacy_op_type"},
    {"serverStatus.opcountersRepl.", "legacy_op_type"},
    {"serverStatus.wiredTiger.concurrentTransactions.", "txn_rw_type"},
};

static bool is_wanted(proa_str path)
{
    for (size_t i = 0; i < PROA_COUNT(sections); i++)
        if (proa_str_starts_with(path, proa_str_c(sections[i])))
            return true;
    return false;
}

static const char *label_of(proa_str parent)
{
    for (size_t i = 0; i < PROA_COUNT(labelled); i++)
        if (proa_str_eq_c(parent, labelled[i].path))
            return labelled[i].label;
    return NULL;
}

/* "serverStatus.wiredTiger.cache.bytes read" becomes "mongodb_ss_wt_cache_bytes_read". */
static const char *metric_name(struct proa_arena *arena, proa_str path)
{
    static const struct {
        proa_str prefix;
        const char *name;
    } shorter[] = {
        {PROA_STR_INIT("serverStatus.wiredTiger.transaction."), "mongodb_ss_wt_txn_"},
        {PROA_STR_INIT("serverStatus.wiredTiger."), "mongodb_ss_wt_"},
        {PROA_STR_INIT("serverStatus."), "mongodb_ss_"},
        {PROA_STR_INIT("replSetGetStatus."), "mongodb_rs_"},
    };
    struct proa_buf out;
    size_t i = 0;

    while (i + 1 < PROA_COUNT(shorter) && !proa_str_starts_with(path, shorter[i].prefix))
        i++;
    proa_buf_init(&out, arena, 0);
    proa_buf_add_c(&out, shorter[i].name);
    for (size_t at = shorter[i].prefix.len; at < path.len; at++) {
        char c = path.ptr[at];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (is_plain || (out.len > 0 && out.ptr[out.len - 1] != '_'))
            proa_buf_add_char(&out, is_plain ? c : '_');
    }
    while (out.len > 0 && out.ptr[out.len - 1] == '_')
        out.len--;
    proa_buf_add_char(&out, '\0');
    return out.error < 0 ? NULL : out.ptr;
}

struct walk {
    struct samples *samples;
    proa_str member; /* of a set; "" otherwise */
    unsigned depth;
};

/* Samples of one name share a family: those that have labels come again. */
static const struct sample_family *family_of(struct samples *samples, const char *name, const char *label)
{
    struct sample_family *family;

    for (size_t i = samples->len; label && i-- > 0;)
        if (strcmp(samples->ptr[i].family->name, name) == 0)
            return samples->ptr[i].family;
    family = proa_arena_new(samples->arena, struct sample_family);
    if (family)
        *family = (struct sample_family){.name = name, .labels = {label}};
    return family;
}

static int add_number(struct walk *walk, proa_str parent, proa_str name, double value)
{
    const char *label = walk->member.len > 0 ? "member_idx" : label_of(parent);
    proa_str path = walk->member.len > 0 || !label
                        ? proa_arena_printf(walk->samples->arena, PROA_FMT PROA_FMT, PROA_ARG(parent), PROA_ARG(name))
                        : parent;
    const char *metric = path.ptr ? metric_name(walk->samples->arena, path) : NULL;
    const struct sample_family *family = metric ? family_of(walk->samples, metric, label) : NULL;

    if (!family)
        return PROA_ENOMEM;
    return samples_add(walk->samples, family, value, walk->member.len > 0 ? &walk->member : &name);
}

static int walk_document(struct walk *walk, proa_str parent, proa_str document);

/* Of arrays only the members of a set are of use. */
static int walk_members(struct walk *walk, proa_str parent, proa_str list)
{
    proa_str rest = bson_elements(list);
    struct bson_value member;

    while (bson_next(&rest, &member)) {
        struct walk inner = {.samples = walk->samples, .depth = walk->depth};

        if (member.type != BSON_DOCUMENT)
            continue;
        inner.member = bson_get_text(member.bytes, "name");
        if (inner.member.len > 0)
            PROA_TRY(walk_document(&inner, parent, member.bytes));
    }
    return 0;
}

static int walk_document(struct walk *walk, proa_str parent, proa_str document)
{
    proa_str rest = bson_elements(document);
    struct bson_value value;
    char text[PATH_MAX_BYTES];

    if (walk->depth >= DEPTH_MAX)
        return 0;
    walk->depth++;
    while (bson_next(&rest, &value)) {
        int len = snprintf(text, sizeof text, PROA_FMT PROA_FMT ".", PROA_ARG(parent), PROA_ARG(value.key));
        proa_str path = proa_str_n(text, (size_t)len);
        double number;

        if (len < 0 || len >= (int)sizeof text)
            continue;
        if (value.type == BSON_DOCUMENT)
            PROA_TRY(walk_document(walk, path, value.bytes));
        else if (value.type == BSON_ARRAY)
            PROA_TRY(walk_members(walk, path, value.bytes));
        else if (is_wanted(path) && bson_as_number(&value, &number))
            PROA_TRY(add_number(walk, parent, value.key, number));
    }
    walk->depth--;
    return 0;
}

int mo_read_metrics(const char *prefix, proa_str answer, struct samples *samples)
{
    struct walk walk = {.samples = samples};
    proa_str root = proa_arena_printf(samples->arena, "%s.", prefix);

    return root.ptr ? walk_document(&walk, root, answer) : PROA_ENOMEM;
}

static int collect(struct mo_session *session, struct samples *samples, struct proa_error *err)
{
    static const struct sample_family up = {.name = "mongodb_up", .help = "Whether MongoDB is up."};
    proa_str answer;
    int rc;

    PROA_TRY(samples_add(samples, &up, 1, NULL));
    rc = mo_ask_admin(session, "replSetGetStatus", &answer, err);
    if (rc == 0)
        PROA_TRY(mo_read_metrics("replSetGetStatus", answer, samples));
    else if (session->code == 0)
        return rc;
    PROA_TRY(mo_ask_admin(session, "serverStatus", &answer, err));
    return mo_read_metrics("serverStatus", answer, samples);
}

int mo_collect(const struct instance *instance, const struct engine_status *own, struct samples *samples,
               struct proa_error *err)
{
    struct proa_arena arena PROA_CLEANUP(proa_arena_done);
    struct mo_session session PROA_CLEANUP(mo_close) = {0};

    (void)own;
    proa_arena_init(&arena, NULL, 0);
    PROA_TRY(mo_open_system(&session, instance, &arena, err));
    return collect(&session, samples, err);
}
