/** Cuts a list's answer, or a watch's stream, into its objects while it arrives: memory is one item, however long the
 *  list.
 *
 *  It finds where objects begin and end and checks no more of their syntax; whoever reads them does.
 */
#ifndef PROA_KUBE_SPLITTER_H
#define PROA_KUBE_SPLITTER_H

#include <proa/buf.h>
#include <proa/error.h>

enum splitter_mode {
    SPLIT_LIST = 0, /* {"metadata":{…},"items":[…]} */
    SPLIT_STREAM,   /* objects one after the other */
};
enum splitter_part {
    SPLIT_ITEM = 1,
    SPLIT_METADATA,
    SPLIT_TOO_LARGE, /* an item that is larger than allowed: no more than its beginning is given, the rest is left out */
};

enum { SPLITTER_KEY_MAX = 16, SPLITTER_DEPTH_MAX = 256, SPLITTER_BEGINNING_MAX = 2048 };

struct splitter {
    uint8_t mode;
    uint8_t capturing; /* enum splitter_part, 0: none */
    bool is_skipping;  /* what is captured was too large, and is not kept */
    bool in_string, is_escaped;
    bool is_key; /* the string being read at depth 1 may be a member's name */
    bool after_colon;
    bool ended; /* the list's last brace has come */
    uint32_t depth;
    uint32_t base; /* depth at which what is captured ends */
    bool in_items;
    char key[SPLITTER_KEY_MAX]; /* the present member of the list, cut off */
    uint8_t key_len;
    struct proa_buf part; /* what was captured of earlier pieces */
    /** The text is valid during the call. A negative result stops the feeding with it. May suspend. */
    int (*found)(void *arg, enum splitter_part part, proa_str text);
    void *arg;
};

void splitter_init(struct splitter *splitter, enum splitter_mode mode, uint32_t item_bytes_max,
                   int (*found)(void *arg, enum splitter_part part, proa_str text), void *arg);
void splitter_done(struct splitter *splitter);
/** @returns 0, PROA_ETOOLARGE (a list's metadata), PROA_EPROTOCOL, PROA_ENOMEM, or what `found` returned. */
int splitter_feed(struct splitter *splitter, proa_str piece, struct proa_error *err);
/** Whether the text may end here. */
bool splitter_is_whole(const struct splitter *splitter);

#endif
