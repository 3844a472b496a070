/** The Kubernetes client from the inside. */
#ifndef PROA_KUBE_CLIENT_INTERNAL_H
#define PROA_KUBE_CLIENT_INTERNAL_H

#include "config_internal.h"

#include <proa/client.h>
#include <proa/sync.h>

enum {
    KUBE_TOKEN_CHECK_MS = 30000,  /* how often a token's file is looked at */
    KUBE_PEER_TIMEOUT_MS = 30000, /* an API server whose host says nothing for so long is gone */
};

/** What requests are authenticated with; changes while the program runs. */
struct kube_credentials {
    struct proa_kube *kube;
    struct proa_arena arena;        /* of what is held now */
    const char *authorization;      /* "Bearer …", or NULL */
    const char *cert_pem, *key_pem; /* of an exec plugin */
    proa_mono_ns check_at;          /* when to look again; PROA_NEVER: it cannot change */
    proa_time_ns expires;           /* of an exec plugin's; 0: never */
    uint64_t generation;            /* how often they were loaded */
    bool is_loaded;
    bool is_loading;   /* by one fiber; others wait for `loaded` */
    int load_rc;       /* of the last time */
    bool was_given_up; /* the last time, since its fiber had to stop */
    struct proa_event loaded;
};

/** What an API server says of itself, the worse the higher. */
enum kube_readiness {
    KUBE_SEEN_READY = 0, /* or never asked, since nothing ever failed */
    KUBE_SEEN_CLOSED,    /* it does not say: who asks may not know, or its roles are not read yet */
    KUBE_SEEN_DOWN,
};

/** A watch under way; on its fiber's stack. */
struct kube_open_watch {
    struct proa_list list; /* of the client's */
    struct proa_exchange *exchange;
    proa_mono_ns heard; /* when it last said something */
    bool was_cut;
};

/** What a file was when it was read: another one has another of these. */
struct kube_file_stamp {
    uint64_t device, inode, bytes;
    int64_t changed_ns;
};
enum { KUBE_TLS_FILES = 3 };

struct proa_kube {
    struct proa_kube_options options;
    struct proa_kube_config *config;
    struct proa_sem *places; /* of requests in flight */
    struct kube_credentials credentials;
    struct kube_transport *transport;
    bool is_transport_stale; /* an answer did not come in time: the connections may lead nowhere */
    struct kube_file_stamp
        tls_files[KUBE_TLS_FILES]; /* authority, certificate and key, as the transport has read them */
    proa_mono_ns tls_files_check_at;
    bool is_checking_tls_files; /* one fiber does */
    struct proa_list watches;
    struct proa_counter *requests, *skipped;
    struct proa_histogram *durations;
    /* ready.c */
    struct proa_event probed; /* pulsed after each question to an API server that failed */
    bool is_probing;
    uint8_t seen_as;         /* enum kube_readiness, at the last question */
    proa_mono_ns down_since; /* when it was first found to be down, the last time */
    uint64_t ready_count;    /* how often it came back */
};

/* credentials.c */
void kube_credentials_init(struct kube_credentials *credentials, struct proa_kube *kube);
void kube_credentials_done(struct kube_credentials *credentials);
/** Sees that they are fresh; `rejected` is the generation that a request was sent with that was answered with 401, 0: none. Of several such
 *  requests the first has them loaded again. May suspend. *ret_changed: client certificates are others than before. */
int kube_credentials_get(struct kube_credentials *credentials, uint64_t rejected, bool *ret_changed,
                         struct proa_error *err);
/** Runs an exec plugin in the blocking pool; its output in the arena. */
int kube_exec_run(struct proa_loop *loop, struct proa_arena *arena, const struct proa_kube_config *config,
                  proa_str *ret_output, struct proa_error *err);

/* transport.c: the HTTP client with the cluster's TLS. */
/** May suspend. Makes the client when there is none, or anew when certificates (also files of them) have changed or its connections may lead nowhere. */
int kube_transport_get(struct proa_kube *kube, bool changed, struct proa_client **ret_client, struct proa_error *err);
/** A handshake failed, or we are not known: the files of certificates are looked at before the next request. */
void kube_transport_recheck(struct proa_kube *kube);
void kube_transport_free(struct proa_kube *kube);

/* request.c */
/** Sends with credentials, once more after a 401, and leaves the answer's body to be read. May suspend. Takes no place among the
 *  requests in flight: who asks for less than a watch takes one before. An answer of 300 and above is an error already. */
int kube_open(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_request *request,
              struct proa_exchange **ret_exchange, struct proa_error *err);
/** The same, and comes again when the API server asks to, whatever the method, while the fiber has time. */
int kube_open_when_asked(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_request *request,
                         struct proa_exchange **ret_exchange, struct proa_error *err);
/** "/apis/apps/v1/namespaces/x/statefulsets/y/status?query" */
int kube_path(struct proa_buf *out, const struct proa_kube_request *request);
/** "&name=value", or "name=value" in front, percent-encoded; nothing for an empty value. */
void kube_query_add(struct proa_buf *query, const char *name, proa_str value);

/* objects.c */
/** Adds or removes a finalizer of this very object; one that is gone, or goes with it, is no error and has no version in *ret_object. `meta`
 *  may go while this waits. */
int kube_set_finalizer(struct proa_kube *kube, struct proa_arena *arena, const struct proa_kube_kind *kind,
                       const struct proa_kube_meta *meta, const char *finalizer, bool is_wanted,
                       struct proa_kube_object *ret_object, struct proa_error *err);

/* status.c: metav1.Status. */
/** Fills err from a Status; `http_status` counts where the text is none. @returns the code, never 0. */
int kube_status_error(proa_str body, int http_status, uint32_t retry_after_s, struct proa_error *err);

#endif
