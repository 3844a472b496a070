/* A second name for a family: an entry of its own among the families, without series. */
#include "metrics_internal.h"

#include <stdlib.h>

static bool is_the_same(const struct metric_family *family, const struct metric_family *fresh)
{
    if (family->source != fresh->source)
        return false;
    for (uint32_t i = 0; i < family->labels_count; i++)
        if (strcmp(family->options.labels[i], fresh->options.labels[i]) != 0)
            return false;
    return strcmp(family->fixed_labels ? family->fixed_labels : "", fresh->fixed_labels ? fresh->fixed_labels : "") ==
           0;
}

static struct metric_family *alias_alloc(const struct metric_family *source, const struct proa_metric_options *options,
                                         const char *fixed_labels)
{
    struct metric_family *alias = calloc(1, sizeof *alias);

    if (!alias)
        return NULL;
    alias->metrics = source->metrics;
    alias->kind = source->kind;
    alias->options = *options;
    alias->source = source;
    alias->fixed_labels = fixed_labels;
    alias->labels_count = source->labels_count;
    pthread_mutex_init(&alias->mutex, NULL);
    return alias;
}

int proa_histogram_show_as(struct proa_histogram *histogram, const struct proa_metric_alias *alias,
                           struct proa_error *err)
{
    const struct metric_family *source = (const struct metric_family *)histogram;
    struct proa_metric_options options;
    struct metric_family *fresh, *present;
    uint32_t labels_count = 0;

    if (!source)
        return 0;
    options = source->options;
    options.name = alias->name;
    options.is_hidden = false;
    memcpy(options.labels, alias->labels, sizeof options.labels);
    PROA_TRY(metric_options_check(&options, source->kind, &labels_count, err));
    if (labels_count != source->labels_count)
        return proa_fail(err, PROA_EINVAL, "metric %s: %u label names for the %u of %s", alias->name, labels_count,
                         source->labels_count, source->options.name);
    fresh = alias_alloc(source, &options, alias->fixed_labels);
    if (!fresh)
        return proa_fail(err, PROA_ENOMEM, "memory is out");
    present = metric_family_append(source->metrics, fresh);
    if (!present)
        return 0;
    labels_count = is_the_same(present, fresh); /* fresh goes now */
    metric_family_free(fresh);
    return labels_count ? 0 : proa_fail(err, PROA_EEXISTS, "metric %s is there already", alias->name);
}
