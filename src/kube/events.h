/** Events (events.k8s.io/v1, KEP-383): written in the background, repeated ones as a series. */
#ifndef PROA_KUBE_EVENTS_H
#define PROA_KUBE_EVENTS_H

#include "client_internal.h"
#include "table.h"

#include <proa/controller.h>
#include <proa/list.h>

enum {
    EVENTS_KEPT = 512,      /* that a repetition is known of */
    EVENTS_PENDING = 2048,  /* waiting to be sent; further ones are dropped */
    EVENTS_PER_SECOND = 50, /* after a burst of: */
    EVENTS_BURST = 100,
    EVENT_NOTE_MAX = 1024,
    EVENT_SERIES_S = 60, /* a series is written at most this often */
    EVENT_FORGET_S = 360,
};

struct events_options {
    struct proa_kube *kube;
    const struct proa_logger *logger;
    const char *controller; /* reportingController */
    const char *instance;   /* reportingInstance */
};

struct events {
    struct events_options options;
    struct table known;       /* of struct event_record */
    struct proa_list recent;  /* the same, oldest first */
    struct proa_list pending; /* of struct event_record, to be sent */
    uint32_t pending_count;
    struct proa_event wake;
    double tokens;
    proa_mono_ns tokens_at;
    uint64_t dropped;
};

void events_init(struct events *events, const struct events_options *options);
void events_done(struct events *events);
/** The fiber that sends, until it is cancelled; then what is left, for at most a second. */
int events_run(struct events *events);
void events_add(struct events *events, const struct proa_kube_kind *kind, const struct proa_kube_meta *regarding,
                enum proa_event_type type, const char *reason, const char *action, proa_str note);

#endif
