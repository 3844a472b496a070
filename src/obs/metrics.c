/* The registry: families, their series, and the memory of their cells. */
#include "metrics_internal.h"

#include <assert.h>
#include <math.h>
#include <proa/loops.h>
#include <proa/random.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum {
    STRIDE_FIRST = 4096, /* bytes of the first slab for each shard: what a page has */
    STRIDE_MAX = 256 * 1024,
    TABLE_FIRST = 16,
    CELL_ALIGN = 8,
    PAGE_BYTES = 4096,
};

static const double default_bounds[] = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10};

static proa_time_ns system_wall(void *arg)
{
    struct timespec now;

    (void)arg;
    clock_gettime(CLOCK_REALTIME, &now);
    return (proa_time_ns)now.tv_sec * 1000000000 + now.tv_nsec;
}

int proa_metrics_new(uint32_t shards, struct proa_metrics **ret_metrics)
{
    struct proa_metrics *metrics;

    if (shards == 0 || shards > PROA_LOOPS_MAX)
        return PROA_EINVAL;
    metrics = calloc(1, sizeof *metrics);
    if (!metrics)
        return PROA_ENOMEM;
    metrics->shards = shards;
    metrics->wall = system_wall;
    proa_random_bytes(&metrics->seed, sizeof metrics->seed);
    pthread_mutex_init(&metrics->mutex, NULL);
    *ret_metrics = metrics;
    return 0;
}

void proa_metrics_set_clock(struct proa_metrics *metrics, proa_time_ns (*wall)(void *arg), void *arg)
{
    metrics->wall = wall ? wall : system_wall;
    metrics->wall_arg = arg;
}

static void free_exemplars(struct metric_series *series)
{
    if (series->family->kind != METRIC_HISTOGRAM)
        return;
    for (uint32_t shard = 0; shard <= series->shards; shard++) {
        struct histogram_cell *cell = metric_cell(series, shard);

        free(atomic_load(&cell->exemplars));
    }
}

void metric_family_free(struct metric_family *family)
{
    struct metric_series *next;

    for (struct metric_series *series = atomic_load(&family->first); series; series = next) {
        next = atomic_load(&series->next);
        free_exemplars(series);
        free(series);
    }
    pthread_mutex_destroy(&family->mutex);
    free(family->table);
    free(family->bounds);
    free(family);
}

void proa_metrics_free(struct proa_metrics *metrics)
{
    if (!metrics)
        return;
    for (struct metric_hook *hook = atomic_load(&metrics->hooks), *next; hook; hook = next) {
        next = atomic_load(&hook->next);
        if (hook->done)
            hook->done(hook->arg);
        free(hook);
    }
    for (struct metric_family *family = atomic_load(&metrics->families), *next; family; family = next) {
        next = atomic_load(&family->next);
        metric_family_free(family);
    }
    for (struct metric_slab *slab = metrics->slabs, *next; slab; slab = next) {
        next = slab->next;
        munmap(slab->memory, slab->stride * (metrics->shards + 1));
        free(slab);
    }
    pthread_mutex_destroy(&metrics->mutex);
    free(metrics);
}

/* Cells. */
static struct metric_slab *slab_new(struct proa_metrics *metrics, size_t at_least)
{
    size_t stride = metrics->slabs ? metrics->slabs->stride * 2 : STRIDE_FIRST;
    struct metric_slab *slab = calloc(1, sizeof *slab);

    if (!slab)
        return NULL;
    if (stride > STRIDE_MAX)
        stride = STRIDE_MAX;
    while (stride < at_least)
        stride += PAGE_BYTES;
    slab->memory = mmap(NULL, stride * (metrics->shards + 1), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slab->memory == MAP_FAILED) {
        free(slab);
        return NULL;
    }
    slab->stride = stride;
    slab->next = metrics->slabs;
    metrics->slabs = slab;
    return slab;
}

/* @returns false when memory is out. */
static bool take_cells(struct proa_metrics *metrics, struct metric_series *series, size_t bytes)
{
    struct metric_slab *slab;

    pthread_mutex_lock(&metrics->mutex);
    slab = metrics->slabs;
    if (!slab || slab->stride - slab->used < bytes)
        slab = slab_new(metrics, bytes);
    if (slab) {
        series->cells = slab->memory + slab->used;
        series->stride = slab->stride;
        series->shards = metrics->shards;
        slab->used += (bytes + CELL_ALIGN - 1) / CELL_ALIGN * CELL_ALIGN;
    }
    pthread_mutex_unlock(&metrics->mutex);
    return slab != NULL;
}

/* Series. */

/* A label value as it is kept: valid UTF-8 of bounded length, in memory of the caller's. */
struct clean_value {
    char bytes[PROA_METRIC_VALUE_MAX];
    size_t len;
};

static void clean(proa_str value, struct clean_value *ret_clean)
{
    size_t len = 0;

    while (value.len > 0) {
        uint32_t code;
        size_t taken = proa_utf8_next(value, &code);
        proa_str piece = taken ? proa_str_n(value.ptr, taken) : PROA_STR("\xef\xbf\xbd");

        if (len + piece.len > sizeof ret_clean->bytes)
            break;
        memcpy(ret_clean->bytes + len, piece.ptr, piece.len);
        len += piece.len;
        taken += taken == 0;
        value = proa_str_n(value.ptr + taken, value.len - taken);
    }
    ret_clean->len = len;
}

static bool needs_cleaning(proa_str value)
{
    return value.len > PROA_METRIC_VALUE_MAX || !proa_utf8_valid(value);
}

static uint64_t hash_values(const struct metric_family *family, const proa_str *values)
{
    uint64_t hash = family->metrics->seed;

    for (uint32_t i = 0; i < family->labels_count; i++)
        hash = proa_str_hash(values[i], hash);
    return hash;
}

static struct metric_series *series_alloc(struct metric_family *family, const proa_str *values, uint32_t count)
{
    size_t text_bytes = 0, bytes;
    struct metric_series *series;
    char *text;

    for (uint32_t i = 0; i < count; i++)
        text_bytes += values[i].len;
    bytes = sizeof *series + family->labels_count * sizeof series->values[0] + text_bytes;
    series = calloc(1, bytes);
    if (!series)
        return NULL;
    series->family = family;
    text = (char *)&series->values[family->labels_count];
    for (uint32_t i = 0; i < count; i++) {
        if (values[i].len > 0)
            memcpy(text, values[i].ptr, values[i].len);
        series->values[i] = proa_str_n(text, values[i].len);
        text += values[i].len;
    }
    if (!take_cells(family->metrics, series, family->cell_bytes)) {
        free(series);
        return NULL;
    }
    return series;
}

static void append_series(struct metric_family *family, struct metric_series *series)
{
    if (family->last)
        atomic_store_explicit(&family->last->next, series, memory_order_release);
    else
        atomic_store_explicit(&family->first, series, memory_order_release);
    family->last = series;
}

static void grow_table(struct metric_family *family)
{
    uint32_t size = family->table_size ? family->table_size * 2 : TABLE_FIRST;
    struct metric_series **table = calloc(size, sizeof *table);

    if (!table)
        return; /* longer chains do as well */
    for (uint32_t i = 0; i < family->table_size; i++) {
        for (struct metric_series *series = family->table[i], *next; series; series = next) {
            next = series->hash_next;
            series->hash_next = table[series->hash & (size - 1)];
            table[series->hash & (size - 1)] = series;
        }
    }
    free(family->table);
    family->table = table;
    family->table_size = size;
}

static bool has_values(const struct metric_series *series, const proa_str *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!proa_str_eq(series->values[i], values[i]))
            return false;
    return true;
}

static struct metric_series *find(const struct metric_family *family, uint64_t hash, const proa_str *values)
{
    struct metric_series *series = family->table_size ? family->table[hash & (family->table_size - 1)] : NULL;

    while (series && !(series->hash == hash && has_values(series, values, family->labels_count)))
        series = series->hash_next;
    return series;
}

/* NULL when there may be no more, or memory is out. */
static struct metric_series *add(struct metric_family *family, uint64_t hash, const proa_str *values)
{
    struct metric_series *series;

    if (family->series_count >= family->options.series_max)
        return NULL;
    if (family->series_count >= family->table_size)
        grow_table(family);
    if (family->table_size == 0)
        return NULL;
    series = series_alloc(family, values, family->labels_count);
    if (!series)
        return NULL;
    series->hash = hash;
    series->hash_next = family->table[hash & (family->table_size - 1)];
    family->table[hash & (family->table_size - 1)] = series;
    family->series_count++;
    atomic_store_explicit(&series->shown, true, memory_order_relaxed);
    append_series(family, series);
    return series;
}

static struct metric_series *with(struct metric_family *family, const proa_str *values)
{
    uint64_t hash = hash_values(family, values);
    struct metric_series *series;

    pthread_mutex_lock(&family->mutex);
    series = find(family, hash, values);
    if (!series)
        series = add(family, hash, values);
    pthread_mutex_unlock(&family->mutex);
    if (series)
        return series;
    atomic_store_explicit(&family->overflow->shown, true, memory_order_relaxed);
    return family->overflow;
}

/* Rare, and in need of memory: apart. */
static __attribute__((noinline)) struct metric_series *with_cleaned(struct metric_family *family,
                                                                    const proa_str *values)
{
    struct clean_value cleaned[PROA_METRIC_LABELS_MAX] __attribute__((uninitialized));
    proa_str clean_values[PROA_METRIC_LABELS_MAX] = {{0}};

    for (uint32_t i = 0; i < family->labels_count; i++) {
        clean(values[i], &cleaned[i]);
        clean_values[i] = proa_str_n(cleaned[i].bytes, cleaned[i].len);
    }
    return with(family, clean_values);
}

static struct metric_series *series_with(struct metric_family *family, const proa_str *values)
{
    if (family->labels_count == 0)
        return family->overflow;
    for (uint32_t i = 0; i < family->labels_count; i++)
        if (needs_cleaning(values[i]))
            return with_cleaned(family, values);
    return with(family, values);
}

/* Families. */
static bool is_name(const char *name, bool is_label)
{
    if (!name || !*name || (*name >= '0' && *name <= '9'))
        return false;
    if (is_label && name[0] == '_' && name[1] == '_')
        return false; /* reserved for Prometheus itself */
    for (const char *at = name; *at; at++) {
        bool fits = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
                    *at == '_' || (*at == ':' && !is_label);

        if (!fits)
            return false;
    }
    return true;
}

static bool ends_with_unit(const char *name, const char *unit)
{
    size_t name_len = strlen(name), unit_len = strlen(unit);

    return name_len > unit_len + 1 && name[name_len - unit_len - 1] == '_' &&
           memcmp(name + name_len - unit_len, unit, unit_len) == 0;
}

static int check_labels(const struct proa_metric_options *options, enum metric_kind kind, uint32_t *ret_count,
                        struct proa_error *err)
{
    uint32_t count = 0;

    while (count < PROA_METRIC_LABELS_MAX && options->labels[count]) {
        const char *label = options->labels[count];

        if (!is_name(label, true) || strcmp(label, "overflow") == 0 ||
            (kind == METRIC_HISTOGRAM && strcmp(label, "le") == 0))
            return proa_fail(err, PROA_EINVAL, "metric %s: label name \"%s\"", options->name, label);
        for (uint32_t i = 0; i < count; i++)
            if (strcmp(options->labels[i], label) == 0)
                return proa_fail(err, PROA_EINVAL, "metric %s: label \"%s\" twice", options->name, label);
        count++;
    }
    *ret_count = count;
    return 0;
}

static int check_bounds(const struct proa_metric_options *options, struct proa_error *err)
{
    if (options->buckets_count > PROA_METRIC_BUCKETS_MAX || (options->buckets_count > 0) != (options->buckets != NULL))
        return proa_fail(err, PROA_EINVAL, "metric %s: %u buckets", options->name, options->buckets_count);
    for (uint32_t i = 0; i < options->buckets_count; i++)
        if (!isfinite(options->buckets[i]) || (i > 0 && options->buckets[i] <= options->buckets[i - 1]))
            return proa_fail(err, PROA_EINVAL, "metric %s: bucket %u does not rise", options->name, i);
    return 0;
}

int metric_options_check(const struct proa_metric_options *options, enum metric_kind kind, uint32_t *ret_labels,
                         struct proa_error *err)
{
    if (!is_name(options->name, false))
        return proa_fail(err, PROA_EINVAL, "metric name \"%s\"", options->name ? options->name : "");
    if (kind == METRIC_COUNTER && proa_str_ends_with(proa_str_c(options->name), PROA_STR("_total")))
        return proa_fail(err, PROA_EINVAL, "metric %s: \"_total\" is added by the writer", options->name);
    if (options->unit && (!is_name(options->unit, true) || !ends_with_unit(options->name, options->unit)))
        return proa_fail(err, PROA_EINVAL, "metric %s: the name does not end in its unit \"%s\"", options->name,
                         options->unit);
    PROA_TRY(check_labels(options, kind, ret_labels, err));
    return kind == METRIC_HISTOGRAM ? check_bounds(options, err) : 0;
}

static const double *bounds_of(const struct proa_metric_options *options, uint32_t *ret_count)
{
    *ret_count = options->buckets ? options->buckets_count : PROA_COUNT(default_bounds);
    return options->buckets ? options->buckets : default_bounds;
}

/* Whether a family asked for is the one that is there. */
static bool is_same(const struct metric_family *family, const struct proa_metric_options *options,
                    enum metric_kind kind, uint32_t labels_count)
{
    uint32_t bounds_count;
    const double *bounds = bounds_of(options, &bounds_count);

    if (family->kind != kind || family->labels_count != labels_count || family->source)
        return false;
    for (uint32_t i = 0; i < labels_count; i++)
        if (strcmp(family->options.labels[i], options->labels[i]) != 0)
            return false;
    return kind != METRIC_HISTOGRAM ||
           (family->bounds_count == bounds_count && memcmp(family->bounds, bounds, bounds_count * sizeof *bounds) == 0);
}

static struct metric_family *family_alloc(struct proa_metrics *metrics, const struct proa_metric_options *options,
                                          enum metric_kind kind, uint32_t labels_count)
{
    static const proa_str none = {0};
    struct metric_family *family = calloc(1, sizeof *family);
    const double *bounds;

    if (!family)
        return NULL;
    family->metrics = metrics;
    family->kind = kind;
    family->options = *options;
    family->options.help = options->help ? options->help : "";
    family->options.series_max = options->series_max ? options->series_max : PROA_METRIC_SERIES_DEFAULT;
    family->labels_count = labels_count;
    family->cell_bytes = sizeof(uint64_t);
    pthread_mutex_init(&family->mutex, NULL);
    if (kind == METRIC_HISTOGRAM) {
        bounds = bounds_of(options, &family->bounds_count);
        family->bounds = malloc(family->bounds_count * sizeof *bounds);
        if (!family->bounds) {
            metric_family_free(family);
            return NULL;
        }
        memcpy(family->bounds, bounds, family->bounds_count * sizeof *bounds);
        metric_find_first_buckets(family);
        family->cell_bytes = sizeof(struct histogram_cell) + (family->bounds_count + 1) * sizeof(uint64_t);
    }
    family->overflow = series_alloc(family, &none, 0);
    if (!family->overflow) {
        metric_family_free(family);
        return NULL;
    }
    family->overflow->is_overflow = labels_count > 0;
    atomic_store(&family->overflow->shown, labels_count == 0);
    append_series(family, family->overflow);
    return family;
}

static struct metric_family *find_family(struct proa_metrics *metrics, const char *name)
{
    struct metric_family *family = atomic_load_explicit(&metrics->families, memory_order_acquire);

    while (family && (*family->options.name != *name || strcmp(family->options.name, name) != 0))
        family = atomic_load_explicit(&family->next, memory_order_acquire);
    return family;
}

static void append_family(struct proa_metrics *metrics, struct metric_family *family)
{
    if (metrics->last_family)
        atomic_store_explicit(&metrics->last_family->next, family, memory_order_release);
    else
        atomic_store_explicit(&metrics->families, family, memory_order_release);
    metrics->last_family = family;
}

struct metric_family *metric_family_append(struct proa_metrics *metrics, struct metric_family *fresh)
{
    struct metric_family *family;

    pthread_mutex_lock(&metrics->mutex);
    family = find_family(metrics, fresh->options.name);
    if (!family)
        append_family(metrics, fresh);
    pthread_mutex_unlock(&metrics->mutex);
    return family;
}

static int family_new(struct proa_metrics *metrics, const struct proa_metric_options *options, enum metric_kind kind,
                      struct metric_family **ret_family, struct proa_error *err)
{
    struct metric_family *fresh, *family;
    uint32_t labels_count = 0;

    *ret_family = NULL;
    PROA_TRY(metric_options_check(options, kind, &labels_count, err));
    if (!metrics) /* nobody counts */
        return 0;
    fresh = family_alloc(metrics, options, kind, labels_count);
    if (!fresh)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    family = metric_family_append(metrics, fresh);
    if (family)
        metric_family_free(fresh); /* its cells are a few bytes of a slab */
    else
        family = fresh;
    if (!is_same(family, options, kind, labels_count))
        return proa_fail(err, PROA_EEXISTS, "metric %s is there already with another kind, labels or buckets",
                         options->name);
    *ret_family = family;
    return 0;
}

int proa_counter_new(struct proa_metrics *metrics, const struct proa_metric_options *options,
                     struct proa_counter **ret_counter, struct proa_error *err)
{
    struct metric_family *family = NULL;

    PROA_TRY(family_new(metrics, options, METRIC_COUNTER, &family, err));
    *ret_counter = (struct proa_counter *)family;
    return 0;
}

int proa_gauge_new(struct proa_metrics *metrics, const struct proa_metric_options *options,
                   struct proa_gauge **ret_gauge, struct proa_error *err)
{
    struct metric_family *family = NULL;

    PROA_TRY(family_new(metrics, options, METRIC_GAUGE, &family, err));
    *ret_gauge = (struct proa_gauge *)family;
    return 0;
}

int proa_histogram_new(struct proa_metrics *metrics, const struct proa_metric_options *options,
                       struct proa_histogram **ret_histogram, struct proa_error *err)
{
    struct metric_family *family = NULL;

    PROA_TRY(family_new(metrics, options, METRIC_HISTOGRAM, &family, err));
    *ret_histogram = (struct proa_histogram *)family;
    return 0;
}

struct proa_counter_series *proa_counter_with(struct proa_counter *counter, const proa_str *values)
{
    return counter ? (struct proa_counter_series *)series_with((struct metric_family *)counter, values) : NULL;
}

struct proa_gauge_series *proa_gauge_with(struct proa_gauge *gauge, const proa_str *values)
{
    return gauge ? (struct proa_gauge_series *)series_with((struct metric_family *)gauge, values) : NULL;
}

struct proa_histogram_series *proa_histogram_with(struct proa_histogram *histogram, const proa_str *values)
{
    return histogram ? (struct proa_histogram_series *)series_with((struct metric_family *)histogram, values) : NULL;
}

/* Hooks. */
int metric_hook_append(struct proa_metrics *metrics, const struct metric_hook *like)
{
    struct metric_hook *hook = calloc(1, sizeof *hook);

    if (!hook)
        return PROA_ENOMEM;
    hook->fn = like->fn;
    hook->collect = like->collect;
    hook->arg = like->arg;
    hook->done = like->done;
    pthread_mutex_lock(&metrics->mutex);
    if (metrics->last_hook)
        atomic_store_explicit(&metrics->last_hook->next, hook, memory_order_release);
    else
        atomic_store_explicit(&metrics->hooks, hook, memory_order_release);
    metrics->last_hook = hook;
    pthread_mutex_unlock(&metrics->mutex);
    return 0;
}

int metric_hook_add(struct proa_metrics *metrics, void (*fn)(void *arg), void *arg, void (*done)(void *arg))
{
    return metric_hook_append(metrics, &(struct metric_hook){.fn = fn, .arg = arg, .done = done});
}

int proa_metrics_add_collector(struct proa_metrics *metrics, void (*collect)(void *arg, struct proa_collection *out),
                               void *arg)
{
    return metrics ? metric_hook_append(metrics, &(struct metric_hook){.collect = collect, .arg = arg}) : 0;
}

int proa_metrics_on_scrape(struct proa_metrics *metrics, void (*fn)(void *arg), void *arg)
{
    return metrics ? metric_hook_add(metrics, fn, arg, NULL) : 0;
}
