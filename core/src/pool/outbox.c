#include "pool/outbox.h"

#include <assert.h>

/* Gathering more than this would not save a system call worth the copy. */
#define MOST_GATHERED ((size_t)65536)

static void on_turned(hws_deferred_t *deferred);
static void on_resumed(hws_deferred_t *deferred);

void hws_gather_init(hws_gather_t *gather, hws_loop_t *loop, const hws_outbox_events_t *events)
{
    *gather = (hws_gather_t){.loop = loop, .events = events};
    hws_list_init(&gather->outboxes);
    hws_list_init(&gather->pulled);
    hws_list_init(&gather->later);
    hws_deferred_init(&gather->turned, on_turned);
    hws_deferred_init(&gather->resumed, on_resumed);
}

void hws_gather_dispose(hws_gather_t *gather)
{
    assert(hws_list_is_empty(&gather->outboxes) && hws_list_is_empty(&gather->pulled) &&
           hws_list_is_empty(&gather->later));
    hws_list_remove(&gather->turned.link);
    hws_list_remove(&gather->resumed.link);
    hws_buffer_dispose(&gather->bytes);
}

void hws_outbox_init(hws_outbox_t *outbox, hws_gather_t *gather, hws_socket_t *socket)
{
    *outbox = (hws_outbox_t){.gather = gather, .socket = socket};
    hws_list_init(&outbox->link);
    hws_list_init(&outbox->pull_link);
}

static void fail(hws_outbox_t *outbox, int code)
{
    outbox->error = code;
    hws_buffer_dispose(&outbox->rest);
    outbox->gather->events->on_failed(outbox, code);
}

static void start_flush(hws_outbox_t *outbox)
{
    size_t size = hws_buffer_size(&outbox->rest);
    int rc = outbox->socket->ops->flush(outbox->socket, &outbox->rest);

    if (rc != HWS_OK) {
        fail(outbox, rc);
        return;
    }
    outbox->is_flushing = true;
    outbox->flushing = size;
}

/* As far as the system takes it; the rest is kept. */
static void hand_over(hws_outbox_t *outbox, const char *bytes, size_t size)
{
    size_t sent = 0;
    int rc = HWS_OK;

    if (!outbox->is_flushing)
        rc = outbox->socket->ops->send(outbox->socket, bytes, size, &sent);
    if (rc == HWS_OK && sent < size)
        rc = hws_buffer_append(&outbox->rest, bytes + sent, size - sent);
    if (rc != HWS_OK)
        fail(outbox, rc);
    else if (!outbox->is_flushing && !hws_buffer_is_empty(&outbox->rest))
        start_flush(outbox);
}

static void send_all(hws_gather_t *gather)
{
    const char *bytes = hws_buffer_bytes(&gather->bytes);
    hws_time_t now = hws_loop_turned_at(gather->loop);
    hws_list_t *link;

    while ((link = hws_list_first(&gather->outboxes)) != NULL) {
        hws_outbox_t *outbox = HWS_CONTAINER(link, hws_outbox_t, link);
        size_t size = outbox->gathered;

        hws_list_remove(link);
        outbox->gathered = 0;
        gather->events->on_leaving(outbox, size, now);
        hand_over(outbox, bytes, size);
        bytes += size;
    }
    hws_buffer_clear(&gather->bytes);
}

static void pull_all(hws_gather_t *gather)
{
    hws_list_t *link;

    while ((link = hws_list_first(&gather->pulled)) != NULL) {
        hws_list_remove(link);
        gather->events->on_pull(HWS_CONTAINER(link, hws_outbox_t, pull_link));
    }
}

static void on_turned(hws_deferred_t *deferred)
{
    hws_gather_t *gather = HWS_CONTAINER(deferred, hws_gather_t, turned);

    pull_all(gather);
    send_all(gather);
}

static void on_resumed(hws_deferred_t *deferred)
{
    hws_gather_t *gather = HWS_CONTAINER(deferred, hws_gather_t, resumed);

    hws_list_splice(&gather->pulled, &gather->later);
    hws_loop_defer_to_turn(gather->loop, &gather->turned);
}

void hws_outbox_pull_again(hws_outbox_t *outbox)
{
    hws_gather_t *gather = outbox->gather;

    if (!hws_list_is_linked(&outbox->pull_link))
        hws_list_push_back(&gather->later, &outbox->pull_link);
    hws_loop_defer(gather->loop, &gather->resumed);
}

void hws_outbox_pull(hws_outbox_t *outbox)
{
    hws_gather_t *gather = outbox->gather;

    if (!hws_list_is_linked(&outbox->pull_link))
        hws_list_push_back(&gather->pulled, &outbox->pull_link);
    hws_loop_defer_to_turn(gather->loop, &gather->turned);
}

void hws_outbox_send(hws_outbox_t *outbox)
{
    if (outbox->gathered > 0)
        send_all(outbox->gather);
}

void hws_outbox_dispose(hws_outbox_t *outbox)
{
    hws_list_remove(&outbox->pull_link);
    hws_outbox_send(outbox);
    hws_buffer_dispose(&outbox->rest);
}

hws_buffer_t *hws_outbox_begin(hws_outbox_t *outbox)
{
    hws_gather_t *gather = outbox->gather;

    /* Each outbox has one stretch of the gathered bytes; only the last one can grow. */
    if (outbox->gathered > 0 && hws_list_last(&gather->outboxes) != &outbox->link)
        send_all(gather);
    gather->mark = hws_buffer_size(&gather->bytes);
    return &gather->bytes;
}

void hws_outbox_drop(hws_outbox_t *outbox)
{
    hws_gather_t *gather = outbox->gather;

    hws_buffer_truncate(&gather->bytes, gather->mark);
}

int hws_outbox_commit(hws_outbox_t *outbox)
{
    hws_gather_t *gather = outbox->gather;
    size_t size = hws_buffer_size(&gather->bytes) - gather->mark;

    if (outbox->error != HWS_OK || size == 0) {
        hws_outbox_drop(outbox);
        return outbox->error;
    }
    if (outbox->gathered == 0)
        hws_list_push_back(&gather->outboxes, &outbox->link);
    outbox->gathered += size;
    outbox->accepted += size;
    if (hws_buffer_size(&gather->bytes) >= MOST_GATHERED)
        send_all(gather);
    else
        hws_loop_defer_to_turn(gather->loop, &gather->turned);
    return outbox->error;
}

size_t hws_outbox_size(const hws_outbox_t *outbox)
{
    return outbox->gathered + outbox->flushing + hws_buffer_size(&outbox->rest);
}

static void finish_now(hws_outbox_t *outbox)
{
    int rc;

    if (outbox->is_flushing || !outbox->is_finishing || outbox->error != HWS_OK)
        return;
    rc = outbox->socket->ops->finish(outbox->socket);
    outbox->error = rc != HWS_OK ? rc : HWS_ERR_PIPE;
}

void hws_outbox_finish(hws_outbox_t *outbox)
{
    hws_outbox_send(outbox);
    outbox->is_finishing = true;
    finish_now(outbox);
}

void hws_outbox_flushed(hws_outbox_t *outbox, int status)
{
    outbox->is_flushing = false;
    outbox->flushing = 0;
    if (status != HWS_OK) {
        fail(outbox, status);
    } else if (!hws_buffer_is_empty(&outbox->rest)) {
        start_flush(outbox);
    } else {
        hws_buffer_dispose(&outbox->rest);
        finish_now(outbox);
    }
}
