#include "codec/h2_session.h"

#include "base/memory.h"

const uint8_t hws_h2_liveness_ping[HWS_H2_PING_SIZE] = "hws-live";
const uint8_t hws_h2_trip_ping[HWS_H2_PING_SIZE] = "hws-trip";

void hws_h2_update_settings(hws_h2_t *h2)
{
    uint32_t theirs =
        nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

    h2->base.cap = theirs < h2->streams ? theirs : h2->streams;
    h2->header_most =
        nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE);
    hws_h2_update_room(h2);
}

void hws_h2_update_room(hws_h2_t *h2)
{
    h2->base.room = h2->base.is_last || h2->open >= h2->base.cap ? 0 : h2->base.cap - h2->open;
}

void hws_h2_close_door(hws_h2_t *h2)
{
    h2->base.is_last = true;
    h2->base.room = 0;
}

/* The connection is beyond use; the first reason counts. */
int hws_h2_fail(hws_h2_t *h2, int code)
{
    if (h2->failure == HWS_OK)
        h2->failure = code;
    hws_h2_close_door(h2);
    return h2->failure;
}

/* What nghttp2 says of a submission: it fails for nothing but memory. */
void hws_h2_check(hws_h2_t *h2, int rv)
{
    if (rv != 0 && nghttp2_is_fatal(rv))
        (void)hws_h2_fail(h2, HWS_ERR_NOMEM);
}

static void open_window(hws_h2_t *h2, int32_t id, const hws_window_t *window)
{
    hws_h2_check(h2, nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, id,
                                                           (int32_t)window->size));
}

/* nghttp2 tells the peer of what was consumed when that is half of the connection's window. Where a part
 * of that is held by readers that do not read, so much may never come together: half of the rest has
 * to do, or those that read would wait for those that do not. */
static void announce(hws_h2_t *h2)
{
    uint32_t rest = h2->window.size - (uint32_t)h2->unread;
    int32_t open = nghttp2_session_get_local_window_size(h2->session);

    if (h2->unread > 0 && (uint32_t)open < rest / 2)
        hws_h2_check(h2, nghttp2_submit_window_update(h2->session, NGHTTP2_FLAG_NONE, 0,
                                                      (int32_t)rest - open));
}

void hws_h2_consume(hws_h2_t *h2, hws_h2_part_t *part, size_t size, bool is_last)
{
    uint32_t count = (uint32_t)size; /* less than a window */

    hws_h2_check(h2, is_last ? nghttp2_session_consume_connection(h2->session, size)
                             : nghttp2_session_consume(h2->session, part->id, size));
    if (hws_trip_carry(&h2->trip, count))
        hws_h2_check(h2, nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, hws_h2_trip_ping));
    if (hws_window_consume(&h2->window, count, &h2->trip, h2->budget) > 0)
        open_window(h2, 0, &h2->window);
    if (!is_last && hws_window_consume(&part->window, count, &h2->trip, NULL) > 0)
        open_window(h2, part->id, &part->window);
    announce(h2);
}

/* What nobody will read goes back to the connection's window. */
void hws_h2_discard(hws_h2_t *h2, size_t size)
{
    hws_h2_check(h2, nghttp2_session_consume_connection(h2->session, size));
    announce(h2);
}

void hws_h2_give_back(hws_h2_t *h2, hws_h2_part_t *part)
{
    size_t size = part->unread;

    if (size == 0)
        return;
    part->unread = 0;
    h2->unread -= size;
    hws_h2_discard(h2, size);
}

/* What is told of a stream comes in runs, such as the fields of its head. */
hws_h2_part_t *hws_h2_part_of(hws_h2_t *h2, int32_t id)
{
    if (h2->latest == NULL || h2->latest->id != id)
        h2->latest = nghttp2_session_get_stream_user_data(h2->session, id);
    return h2->latest;
}

static bool has_to_send(const hws_h2_part_t *part)
{
    return !part->is_sent && (part->is_finished || !hws_buffer_is_empty(&part->unsent));
}

hws_h2_part_t *hws_h2_take_part(hws_h2_t *h2)
{
    hws_list_t *link = hws_list_first(&h2->spare);
    hws_h2_part_t *part;

    if (link == NULL) {
        if ((part = hws_alloc(sizeof(*part))) == NULL)
            return NULL;
    } else {
        hws_list_remove(link);
        part = HWS_CONTAINER(link, hws_h2_part_t, link);
    }
    *part = (hws_h2_part_t){0};
    hws_turn_init(&part->turn);
    return part;
}

/* Its stream hears nothing more. */
void hws_h2_detach(hws_h2_t *h2, hws_h2_part_t *part)
{
    if (part->stream == NULL)
        return;
    part->stream->part = NULL;
    part->stream = NULL;
    h2->attached--;
    hws_h2_give_back(h2, part);
}

/* The wire knows it no longer, or will not when what is queued has left. */
void hws_h2_give_part(hws_h2_t *h2, hws_h2_part_t *part)
{
    hws_h2_detach(h2, part);
    (void)nghttp2_session_set_stream_user_data(h2->session, part->id, NULL);
    hws_schedule_remove(&h2->queue, &part->turn);
    if (h2->latest == part)
        h2->latest = NULL;
    h2->unsent -= hws_buffer_size(&part->unsent);
    hws_buffer_dispose(&part->unsent);
    hws_list_remove(&part->link);
    hws_list_push_front(&h2->spare, &part->link);
    h2->open--;
    hws_h2_update_room(h2);
}

/* The part is over, and its stream, if it still listens, is told why. */
void hws_h2_end(hws_h2_t *h2, hws_h2_part_t *part, int code, uint32_t number)
{
    hws_stream_t *stream = part->stream;

    hws_h2_give_part(h2, part);
    if (stream == NULL)
        return;
    stream->reset_code = number;
    stream->events->on_end(stream, code);
}

/* The stream has failed for a reason of ours. */
void hws_h2_refuse(hws_h2_t *h2, hws_h2_part_t *part, int code, uint32_t number)
{
    hws_h2_check(h2, nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, part->id, number));
    hws_h2_end(h2, part, code, number);
}

/* What never left has not been seen by anybody. */
void hws_h2_refuse_fresh(hws_h2_t *h2, int code)
{
    hws_list_t *link;

    while ((link = hws_list_first(&h2->fresh)) != NULL)
        hws_h2_refuse(h2, HWS_CONTAINER(link, hws_h2_part_t, link), code, NGHTTP2_CANCEL);
}

void hws_h2_wake(hws_h2_t *h2, hws_h2_part_t *part)
{
    if (has_to_send(part))
        hws_schedule_add(&h2->queue, &part->turn, part->urgency);
}
