/* Families as text: Prometheus text format 0.0.4 and OpenMetrics 1.0, and the choice between them. */
#include "metrics_internal.h"

#include <math.h>

struct writer {
    struct proa_buf *out;
    bool is_openmetrics;
    const struct metric_family *family; /* whose names are written; the series may be another's */
};

/* Help: backslash and line feed are escaped in both; OpenMetrics and label values escape quotes too. */
static void add_escaped(struct proa_buf *out, proa_str text, bool quotes_too)
{
    size_t begin = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (c != '\\' && c != '\n' && !(c == '"' && quotes_too))
            continue;
        proa_buf_add(out, proa_str_n(text.ptr + begin, i - begin));
        proa_buf_add_char(out, '\\');
        proa_buf_add_char(out, c == '\n' ? 'n' : c);
        begin = i + 1;
    }
    proa_buf_add(out, proa_str_n(text.ptr + begin, text.len - begin));
}

static void add_number(struct proa_buf *out, double value)
{
    if (isnan(value))
        proa_buf_add_c(out, "NaN");
    else if (isinf(value))
        proa_buf_add_c(out, value > 0 ? "+Inf" : "-Inf");
    else
        proa_buf_add_double(out, value);
}

/* A bucket's bound as both formats' clients write it: "0.5", "1.0". */
static void add_bound(struct proa_buf *out, double bound)
{
    char digits[PROA_DOUBLE_TEXT_MAX];
    proa_str text = proa_str_n(digits, proa_double_text(bound, digits));

    proa_buf_add(out, text);
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] == '.' || text.ptr[i] == 'e' || text.ptr[i] == 'E')
            return;
    proa_buf_add_c(out, ".0");
}

static void add_name(const struct writer *w, const char *suffix)
{
    proa_buf_add_c(w->out, w->family->options.name);
    proa_buf_add_c(w->out, suffix);
}

static void add_labels(const struct writer *w, const struct metric_series *series, const double *bound)
{
    const struct metric_family *family = w->family;
    bool any = false;

    if (series->is_overflow) {
        proa_buf_add_c(w->out, "{overflow=\"true\"");
        any = true;
    } else {
        if (family->fixed_labels) {
            proa_buf_add_char(w->out, '{');
            proa_buf_add_c(w->out, family->fixed_labels);
            any = true;
        }
        for (uint32_t i = 0; i < family->labels_count; i++) {
            proa_buf_add_char(w->out, any ? ',' : '{');
            proa_buf_add_c(w->out, family->options.labels[i]);
            proa_buf_add_c(w->out, "=\"");
            add_escaped(w->out, series->values[i], true);
            proa_buf_add_char(w->out, '"');
            any = true;
        }
    }
    if (bound) {
        proa_buf_add_c(w->out, any ? ",le=\"" : "{le=\"");
        if (isinf(*bound))
            proa_buf_add_c(w->out, "+Inf");
        else
            add_bound(w->out, *bound);
        proa_buf_add_char(w->out, '"');
        any = true;
    }
    proa_buf_add_c(w->out, any ? "} " : " ");
}

static void add_exemplar(const struct writer *w, const struct metric_series *series, uint32_t bucket)
{
    struct exemplar_value exemplar;
    char hex[2 * sizeof exemplar.ids.trace_id];

    if (!w->is_openmetrics || !metric_exemplar(series, bucket, &exemplar))
        return;
    proa_hex_encode(hex, proa_str_n((const char *)exemplar.ids.trace_id, sizeof exemplar.ids.trace_id));
    proa_buf_add_c(w->out, " # {trace_id=\"");
    proa_buf_add(w->out, proa_str_n(hex, sizeof hex));
    proa_hex_encode(hex, proa_str_n((const char *)exemplar.ids.span_id, sizeof exemplar.ids.span_id));
    proa_buf_add_c(w->out, "\",span_id=\"");
    proa_buf_add(w->out, proa_str_n(hex, 2 * sizeof exemplar.ids.span_id));
    proa_buf_add_c(w->out, "\"} ");
    add_number(w->out, exemplar.value);
    proa_buf_printf(w->out, " %lld.%03d", (long long)(exemplar.time / 1000000000),
                    (int)(exemplar.time % 1000000000 / 1000000));
}

static void write_histogram(const struct writer *w, const struct metric_series *series)
{
    const struct metric_family *family = series->family;
    uint64_t counts[PROA_METRIC_BUCKETS_MAX + 1], total = 0;
    double sum;

    metric_histogram_read(series, counts, &sum);
    for (uint32_t i = 0; i <= family->bounds_count; i++) {
        double bound = i < family->bounds_count ? family->bounds[i] : INFINITY;

        total += counts[i];
        add_name(w, "_bucket");
        add_labels(w, series, &bound);
        proa_buf_add_u64(w->out, total);
        add_exemplar(w, series, i);
        proa_buf_add_char(w->out, '\n');
    }
    /* OpenMetrics forbids a sum when negative values may have been observed: it could fall. */
    if (!w->is_openmetrics || family->bounds_count == 0 || family->bounds[0] >= 0) {
        add_name(w, "_sum");
        add_labels(w, series, NULL);
        add_number(w->out, sum);
        proa_buf_add_char(w->out, '\n');
    }
    add_name(w, "_count");
    add_labels(w, series, NULL);
    proa_buf_add_u64(w->out, total);
    proa_buf_add_char(w->out, '\n');
}

static void write_series(const struct writer *w, const struct metric_series *series)
{
    switch (series->family->kind) {
    case METRIC_COUNTER:
        add_name(w, "_total");
        add_labels(w, series, NULL);
        if (atomic_load_explicit(&series->set, memory_order_relaxed) != 0)
            add_number(w->out, metric_gauge_value(series)); /* proa_counter_set */
        else
            proa_buf_add_u64(w->out, metric_sum_u64(series));
        proa_buf_add_char(w->out, '\n');
        break;
    case METRIC_GAUGE:
        add_name(w, "");
        add_labels(w, series, NULL);
        add_number(w->out, metric_gauge_value(series));
        proa_buf_add_char(w->out, '\n');
        break;
    case METRIC_HISTOGRAM: write_histogram(w, series); break;
    }
}

static void write_head(const struct writer *w)
{
    const struct metric_family *family = w->family;
    static const char *const types[] = {"counter", "gauge", "histogram"};
    /* In the older format a counter's family bears the name of its sample. */
    const char *suffix = family->kind == METRIC_COUNTER && !w->is_openmetrics ? "_total" : "";

    if (family->options.help[0]) {
        proa_buf_add_c(w->out, "# HELP ");
        add_name(w, suffix);
        proa_buf_add_char(w->out, ' ');
        add_escaped(w->out, proa_str_c(family->options.help), w->is_openmetrics);
        proa_buf_add_char(w->out, '\n');
    }
    proa_buf_add_c(w->out, "# TYPE ");
    add_name(w, suffix);
    proa_buf_printf(w->out, " %s\n", types[family->kind]);
    if (w->is_openmetrics && family->options.unit) {
        proa_buf_add_c(w->out, "# UNIT ");
        add_name(w, "");
        proa_buf_printf(w->out, " %s\n", family->options.unit);
    }
}

static void write_family(const struct writer *w)
{
    const struct metric_family *source = w->family->source ? w->family->source : w->family;
    const struct metric_series *series = atomic_load_explicit(&source->first, memory_order_acquire);
    bool has_head = false;

    if (w->family->options.is_hidden)
        return;
    for (; series; series = atomic_load_explicit(&series->next, memory_order_acquire)) {
        if (!atomic_load_explicit(&series->shown, memory_order_relaxed))
            continue;
        if (!has_head)
            write_head(w);
        has_head = true;
        write_series(w, series);
    }
}

/* -- What collectors give ------------------------------------------------------------------------------------------ */

struct proa_collection {
    struct proa_buf *out;
    bool is_openmetrics;
    const char *family; /* name of the last one, whose head is written; NULL: none yet */
};

static const char *collected_type(const struct proa_collection *collection, const struct proa_collected_family *family,
                                  size_t *name_len)
{
    static const char total[] = "_total";
    bool is_total = proa_str_ends_with(proa_str_c(family->name), proa_str_c(total));

    if (!family->is_counter)
        return "gauge";
    if (!collection->is_openmetrics)
        return "counter";
    if (is_total)
        *name_len -= sizeof total - 1;
    return is_total ? "counter" : "unknown";
}

static void collected_head(struct proa_collection *collection, const struct proa_collected_family *family)
{
    struct proa_buf *out = collection->out;
    size_t name_len = strlen(family->name);
    const char *type = collected_type(collection, family, &name_len);
    proa_str name = proa_str_n(family->name, name_len);

    if (family->help) {
        proa_buf_add_c(out, "# HELP ");
        proa_buf_add(out, name);
        proa_buf_add_char(out, ' ');
        add_escaped(out, proa_str_c(family->help), collection->is_openmetrics);
        proa_buf_add_char(out, '\n');
    }
    proa_buf_add_c(out, "# TYPE ");
    proa_buf_add(out, name);
    proa_buf_printf(out, " %s\n", type);
    collection->family = family->name;
}

void proa_collect(struct proa_collection *collection, const struct proa_collected_family *family,
                  const proa_str *labels, double value)
{
    struct proa_buf *out = collection->out;

    if (!collection->family || strcmp(collection->family, family->name) != 0)
        collected_head(collection, family);
    proa_buf_add_c(out, family->name);
    for (uint32_t i = 0; i < PROA_METRIC_LABELS_MAX && family->labels[i]; i++) {
        proa_buf_add_char(out, i > 0 ? ',' : '{');
        proa_buf_add_c(out, family->labels[i]);
        proa_buf_add_c(out, "=\"");
        if (proa_utf8_valid(labels[i]))
            add_escaped(out, labels[i], true);
        proa_buf_add_char(out, '"');
    }
    proa_buf_add_c(out, family->labels[0] ? "} " : " ");
    add_number(out, value);
    proa_buf_add_char(out, '\n');
}

int proa_metrics_write(struct proa_metrics *metrics, enum proa_metrics_format format, struct proa_buf *out)
{
    struct writer w = {out, format == PROA_METRICS_OPENMETRICS, NULL};
    const struct metric_hook *hook = atomic_load_explicit(&metrics->hooks, memory_order_acquire);
    const struct metric_family *family;

    for (; hook; hook = atomic_load_explicit(&hook->next, memory_order_acquire))
        if (hook->fn)
            hook->fn(hook->arg);
    family = atomic_load_explicit(&metrics->families, memory_order_acquire);
    for (; family; family = atomic_load_explicit(&family->next, memory_order_acquire)) {
        w.family = family;
        write_family(&w);
    }
    for (hook = atomic_load_explicit(&metrics->hooks, memory_order_acquire); hook;
         hook = atomic_load_explicit(&hook->next, memory_order_acquire))
        if (hook->collect)
            hook->collect(hook->arg, &(struct proa_collection){.out = out, .is_openmetrics = w.is_openmetrics});
    if (w.is_openmetrics)
        proa_buf_add_c(out, "# EOF\n");
    return out->error;
}

/* Accept: media ranges with parameters, weights in thousandths. */
enum { WEIGHT_ONE = 1000 };

struct media_range {
    proa_str type; /* "text/plain" */
    proa_str version;
    uint32_t weight;
};

static bool is_token_part(proa_str text)
{
    return text.len > 0 && proa_str_find_char(text, ' ') < 0 && proa_str_find_char(text, '"') < 0;
}

/* qvalue of RFC 9110 section 12.4.2: "0.5", "1", "1.000". */
static bool read_weight(proa_str text, uint32_t *ret_weight)
{
    uint32_t weight, scale = 100;

    if (text.len == 0 || text.len > 5 || (text.ptr[0] != '0' && text.ptr[0] != '1') ||
        (text.len > 1 && text.ptr[1] != '.'))
        return false;
    weight = text.ptr[0] == '1' ? WEIGHT_ONE : 0;
    for (size_t i = 2; i < text.len; i++, scale /= 10) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        weight += (uint32_t)(text.ptr[i] - '0') * scale;
    }
    if (weight > WEIGHT_ONE)
        return false;
    *ret_weight = weight;
    return true;
}

/* Cuts at a separator that stands outside quotes. */
static bool split_unquoted(proa_str *rest, char separator, proa_str *ret_part)
{
    bool quoted = false;

    if (!rest->ptr)
        return false;
    for (size_t i = 0; i < rest->len; i++) {
        char c = rest->ptr[i];

        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (c == separator && !quoted) {
            *ret_part = proa_str_slice(*rest, 0, i);
            *rest = proa_str_slice(*rest, i + 1, rest->len);
            return true;
        }
    }
    *ret_part = *rest;
    *rest = proa_str_n(NULL, 0);
    return true;
}

static proa_str unquote(proa_str text)
{
    return text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"' ? proa_str_slice(text, 1, text.len - 1)
                                                                                : text;
}

static bool read_range(proa_str text, struct media_range *ret_range)
{
    struct media_range range = {.weight = WEIGHT_ONE};
    proa_str part;

    if (!split_unquoted(&text, ';', &part))
        return false;
    range.type = proa_str_trim(part);
    if (!is_token_part(range.type))
        return false;
    while (split_unquoted(&text, ';', &part)) {
        ptrdiff_t equals;
        proa_str name, value;

        part = proa_str_trim(part);
        equals = proa_str_find_char(part, '=');
        if (equals < 0)
            continue;
        name = proa_str_slice(part, 0, (size_t)equals);
        value = unquote(proa_str_slice(part, (size_t)equals + 1, part.len));
        if (proa_str_eq_nocase(name, PROA_STR("q"))) {
            if (!read_weight(value, &range.weight))
                return false;
        } else if (proa_str_eq_nocase(name, PROA_STR("version"))) {
            range.version = value;
        }
    }
    *ret_range = range;
    return true;
}

/* How specifically a range names a format; 0: not at all. */
static int specificity(const struct media_range *range, proa_str type, proa_str major, proa_str version)
{
    if (proa_str_eq_nocase(range->type, type))
        return range->version.len == 0 ? 3 : proa_str_eq(range->version, version) ? 4 : 0;
    if (range->type.len == major.len + 1 && proa_str_starts_with(range->type, major) &&
        range->type.ptr[major.len] == '*')
        return 2;
    return proa_str_eq_c(range->type, "*/*") ? 1 : 0;
}

struct preference {
    int specificity;
    uint32_t weight;
};

/* The most specific range decides (RFC 9110 section 12.5.1). */
static void consider(struct preference *preference, const struct media_range *range, int specific)
{
    if (specific == 0 || specific < preference->specificity)
        return;
    if (specific > preference->specificity || range->weight > preference->weight)
        preference->weight = range->weight;
    preference->specificity = specific;
}

enum proa_metrics_format proa_metrics_negotiate(proa_str accept, const char **ret_content_type)
{
    struct preference text = {0}, openmetrics = {0};
    proa_str part;
    bool wants_openmetrics;

    while (split_unquoted(&accept, ',', &part)) {
        struct media_range range;

        if (!read_range(part, &range))
            continue;
        consider(&text, &range, specificity(&range, PROA_STR("text/plain"), PROA_STR("text/"), PROA_STR("0.0.4")));
        consider(
            &openmetrics, &range,
            specificity(&range, PROA_STR("application/openmetrics-text"), PROA_STR("application/"), PROA_STR("1.0.0")));
    }
    /* Of equals the one that was named; browsers and curl, which name neither, get text. */
    wants_openmetrics = openmetrics.weight > text.weight ||
                        (openmetrics.weight > 0 && openmetrics.weight == text.weight && openmetrics.specificity >= 3);
    *ret_content_type = wants_openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                          : "text/plain; version=0.0.4; charset=utf-8";
    return wants_openmetrics ? PROA_METRICS_OPENMETRICS : PROA_METRICS_TEXT;
}
