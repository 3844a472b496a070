/** Feeds the HTTP/1.1 codec and writes down what it says, as text that does not show where the input was cut. For the codec's
 *  unit test and its fuzzer. */
#ifndef PROA_TESTS_H1_FEED_H
#define PROA_TESTS_H1_FEED_H

#include "http/h1.h"

#include <proa/buf.h>
#include <stdlib.h>

struct h1_feed {
    struct proa_buf pending; /* bytes not used yet */
    struct proa_buf events;
    bool failed, in_body, in_text;
    struct h1_parser *parser;
};

static inline struct h1_feed *h1_feed_new(const struct h1_limits *limits)
{
    struct h1_feed *feed = calloc(1, sizeof *feed);

    if (!feed)
        abort();
    feed->parser = malloc(h1_parser_bytes(limits));
    if (!feed->parser)
        abort();
    h1_init(feed->parser, limits);
    h1_start(feed->parser, false);
    return feed;
}

static inline proa_str h1_feed_text(const char *base, struct h1_span span)
{
    return proa_str_n(base + span.at, span.len);
}

static inline void h1_feed_fields(struct h1_feed *feed, const char *base)
{
    const struct h1_parser *parser = feed->parser;

    proa_buf_add_char(&feed->events, '{');
    for (uint32_t i = 0; i < parser->fields_count; i++) {
        if (i)
            proa_buf_add_char(&feed->events, '|');
        proa_buf_add(&feed->events, h1_feed_text(base, parser->fields[i].name));
        proa_buf_add_char(&feed->events, '=');
        proa_buf_add(&feed->events, h1_feed_text(base, parser->fields[i].value));
    }
    proa_buf_add_char(&feed->events, '}');
}

static inline void h1_feed_head(struct h1_feed *feed, const char *base)
{
    const struct h1_parser *parser = feed->parser;
    struct proa_buf *out = &feed->events;

    proa_buf_add(out, h1_feed_text(base, parser->method_text));
    proa_buf_add_c(out, parser->is_asterisk ? " *" : "");
    proa_buf_add_c(out, " path=");
    proa_buf_add(out, h1_feed_text(base, parser->path));
    proa_buf_add_c(out, " query=");
    proa_buf_add(out, h1_feed_text(base, parser->query));
    proa_buf_add_c(out, " host=");
    proa_buf_add(out, h1_feed_text(base, parser->host));
    proa_buf_add_c(out, parser->minor ? "" : " 1.0");
    proa_buf_add_c(out, parser->keep_alive ? " keep " : " close ");
    proa_buf_add_c(out, parser->expects_continue ? "expects " : "");
    h1_feed_fields(feed, base);
    proa_buf_add_char(out, ' ');
    if (parser->has_length)
        proa_buf_printf(out, "length=%llu ", (unsigned long long)parser->content_length);
    feed->in_body = true;
}

static inline void h1_feed_error(struct h1_feed *feed)
{
    static const char *const limit_names[] = {"", "head ", "fields ", "target "};
    const struct h1_parser *parser = feed->parser;

    proa_buf_printf(&feed->events, "%u %s", parser->status, limit_names[parser->limit]);
    feed->failed = true;
}

/* One event. @returns whether more may come of what is pending. */
static inline bool h1_feed_step(struct h1_feed *feed)
{
    proa_str input = proa_buf_str(&feed->pending), piece = {0};
    size_t used = 0;
    enum h1_event event;

    if (!input.ptr)
        input.ptr = "";
    event = feed->in_body ? h1_body(feed->parser, input, &used, &piece) : h1_head(feed->parser, input, &used);
    switch (event) {
    case H1_MORE: break;
    case H1_HEAD: h1_feed_head(feed, input.ptr); break;
    case H1_BODY:
        if (!feed->in_text)
            proa_buf_add_char(&feed->events, '\'');
        feed->in_text = true;
        proa_buf_add(&feed->events, piece);
        break;
    case H1_END:
        proa_buf_add_c(&feed->events, feed->in_text ? "' end" : "end");
        if (feed->parser->fields_count)
            h1_feed_fields(feed, input.ptr);
        proa_buf_add_c(&feed->events, ". ");
        feed->in_body = feed->in_text = false;
        h1_start(feed->parser, false);
        break;
    case H1_ERROR: h1_feed_error(feed); return false;
    }
    proa_buf_consume(&feed->pending, used);
    return event != H1_MORE || used > 0;
}

static inline void h1_feed_bytes(struct h1_feed *feed, proa_str bytes)
{
    if (feed->failed)
        return;
    proa_buf_add(&feed->pending, bytes);
    while ((feed->pending.len > 0 || feed->in_body) && h1_feed_step(feed))
        ;
}

/** @returns the events, to be given to proa_buf_done. */
static inline struct proa_buf h1_feed_end(struct h1_feed *feed)
{
    struct proa_buf events = feed->events;

    proa_buf_done(&feed->pending);
    free(feed->parser);
    free(feed);
    return events;
}

/** The events as a C string, to be freed; for inputs without NUL bytes. */
static inline char *h1_feed_free(struct h1_feed *feed)
{
    proa_buf_add_char(&feed->events, '\0');
    return h1_feed_end(feed).ptr;
}

#endif
