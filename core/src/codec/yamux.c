#include "codec/yamux.h"

#include "base/hash.h"
#include "base/memory.h"
#include "codec/schedule.h"
#include "codec/window.h"
#include "codec/yamux_frame.h"

#include <assert.h>
#include <string.h>

#define FIRST_WINDOW 262144U
#define MOST_WAITING 256         /* for acceptance, on either side */
#define MOST_THEIRS 8192         /* streams that the peer has opened, accepted or not */
#define MOST_ANSWERS 1024        /* frames that the peer caused and that have not left */
#define LAST_ID (UINT32_MAX - 2) /* or the one behind it: as the Go implementation */

#define TURN ((size_t)16 * 1024) /* bytes of a DATA frame, at most */
/* What one stream may have unsent: while all of them have little of that, and when they have much. */
#define MOST_UNSENT ((size_t)64 * 1024)
#define LEAST_UNSENT TURN

/* In ticks: 75 s, 5 min. */
#define PATIENCE_TO_OPEN 5
#define PATIENCE_TO_CLOSE 20

#define MOST_SPARE 64             /* parts kept for the next streams */
#define SPARE_BLOCK ((size_t)512) /* of unsent bytes, that is kept with an idle stream */

enum { NORMAL, PROTOCOL_ERROR, INTERNAL_ERROR, UNSAID }; /* reasons of a GOAWAY */

/* A stream, for as long as there is something to say or to hear about it: it may outlive its
 * hws_stream_t, whose last bytes have not left yet, and comes before it when the peer opens it. */
typedef struct {
    hws_hash_link_t by_id;
    hws_list_t all;       /* in yamux->parts, or in yamux->spares */
    hws_list_t arrival;   /* in yamux->arrived or yamux->accepted */
    hws_list_t notice;    /* in yamux->notices */
    hws_turn_t turn;      /* waits while there is something to send and a window for it */
    hws_stream_t *stream; /* NULL: not accepted, or done with */
    uint32_t id;
    uint16_t hello; /* SYN or ACK while that is to be said */
    uint8_t urgency;
    uint8_t ticks; /* since it waits for the peer */
    bool is_ours;
    bool is_arrived; /* opened by the peer, accepted by nobody */
    bool is_acknowledged;
    bool is_reset;  /* by us: it is gone but for its RST */
    bool is_due;    /* the peer's window is to be opened */
    bool is_short;  /* on_writable is owed */
    bool is_orphan; /* its owner has left: what still comes is thrown away */
    bool wants_fin; /* no more is to be sent than what is in `unsent` */
    bool has_sent_fin;
    bool has_fin;      /* the peer's */
    bool has_told_end; /* that */
    uint64_t may_send; /* the peer's window */
    uint32_t may_come; /* ours: what the peer may still send */
    uint32_t unread;
    hws_window_t window;
    hws_buffer_t unsent;
    hws_buffer_t early; /* came before the stream was accepted */
} part_t;

typedef struct {
    hws_codec_t base;
    hws_window_budget_t *budget;
    size_t buffer;
    uint32_t streams;
    uint32_t stream_max;
    bool accepts;

    hws_hash_t by_id; /* all parts but those that are reset */
    hws_list_t parts;
    hws_list_t spares;
    uint32_t spare_count;
    hws_list_t arrived;  /* opened by the peer, accepted by nobody */
    hws_list_t accepted; /* that have been told nothing yet */
    uint32_t next_id;
    uint32_t ours;           /* open ones that we opened */
    uint32_t unacknowledged; /* of these */
    uint32_t orphans;        /* open ones of either side whose owner has left */

    /* What comes: a header, whole or not, then the rest of its frame's data. */
    unsigned char header[HWS_YAMUX_HEADER];
    uint8_t header_size;
    bool is_fin_behind; /* the data */
    uint32_t left;      /* of the data */
    part_t *current;    /* whose data it is; NULL: nobody's, who is still there */

    /* What goes, in this order. */
    hws_buffer_t answers; /* whole frames: to PINGs, to streams that are refused */
    hws_list_t notices;   /* parts with something to say but data */
    hws_schedule_t schedule;
    size_t unsent; /* of all parts */

    hws_trip_t trip;
    uint32_t ping; /* opaque value of the last one */
    bool is_ping_due;
    bool is_pinging; /* it was sent or is due, and not answered */
    bool is_asked;   /* by `ping`, so that its answer counts */
    bool is_leaving; /* our GOAWAY was asked for: the peer may open no more */
    bool is_left;    /* the peer's GOAWAY came: it takes no more */
    bool is_go_away_due;
    uint8_t reason; /* the GOAWAY's, or UNSAID */
    int failure;
} yamux_t;

static yamux_t *yamux_of(hws_codec_t *codec)
{
    return (yamux_t *)(void *)codec;
}

static uint32_t least(uint64_t a, uint32_t b)
{
    return a < b ? (uint32_t)a : b;
}

/* The one place that decides how many streams we may open. */
static void update_room(yamux_t *yamux)
{
    uint32_t room = yamux->ours < yamux->streams ? yamux->streams - yamux->ours : 0;

    assert(yamux->unacknowledged <= MOST_WAITING);
    if (yamux->base.is_last)
        room = 0;
    yamux->base.room = least(room, MOST_WAITING - yamux->unacknowledged);
}

/* The connection is beyond use; a GOAWAY will tell the peer `reason`. */
static int fail(yamux_t *yamux, int code, uint8_t reason)
{
    yamux->failure = code;
    yamux->reason = reason;
    yamux->is_go_away_due = reason != UNSAID;
    yamux->base.is_last = true;
    update_room(yamux);
    return code;
}

/* Parts -------------------------------------------------------------------------------------- */

static part_t *take_spare(yamux_t *yamux)
{
    hws_list_t *link = hws_list_first(&yamux->spares);

    if (link == NULL)
        return hws_zalloc(sizeof(part_t));
    hws_list_remove(link);
    yamux->spare_count--;
    return HWS_CONTAINER(link, part_t, all);
}

static void free_part(part_t *part)
{
    hws_buffer_dispose(&part->unsent);
    hws_buffer_dispose(&part->early);
    hws_free(part);
}

static part_t *create_part(yamux_t *yamux, uint32_t id, bool is_ours)
{
    part_t *part = take_spare(yamux);
    uint32_t size;

    if (part == NULL)
        return NULL;
    *part = (part_t){.id = id,
                     .is_ours = is_ours,
                     .is_acknowledged = !is_ours,
                     .may_send = FIRST_WINDOW,
                     .unsent = part->unsent};
    if (hws_hash_add(&yamux->by_id, &part->by_id, (const char *)&part->id, sizeof(part->id)) !=
        HWS_OK) {
        free_part(part);
        return NULL;
    }
    hws_list_push_back(&yamux->parts, &part->all);
    hws_list_init(&part->arrival);
    hws_list_init(&part->notice);
    hws_turn_init(&part->turn);
    /* The protocol gives the first window, whatever the budget says. */
    size = hws_window_budget_take(yamux->budget, FIRST_WINDOW, FIRST_WINDOW);
    hws_window_init(&part->window, size, yamux->stream_max);
    part->may_come = size;
    if (is_ours) {
        yamux->ours++;
        yamux->unacknowledged++;
        yamux->base.awaited++;
    }
    update_room(yamux);
    return part;
}

static part_t *find_part(const yamux_t *yamux, uint32_t id)
{
    hws_hash_link_t *link = hws_hash_find(&yamux->by_id, (const char *)&id, sizeof(id));

    return link != NULL ? HWS_CONTAINER(link, part_t, by_id) : NULL;
}

static void acknowledge(yamux_t *yamux, part_t *part)
{
    if (part->is_acknowledged)
        return;
    part->is_acknowledged = true;
    yamux->unacknowledged--;
    yamux->base.awaited--;
    update_room(yamux);
}

/* Ends the part's bond with its stream, which hears nothing any more. */
static hws_stream_t *detach(part_t *part)
{
    hws_stream_t *stream = part->stream;

    if (stream != NULL)
        stream->part = NULL;
    part->stream = NULL;
    return stream;
}

/* Nothing of the peer's reaches it from here on, and it counts no more. */
static void close_part(yamux_t *yamux, part_t *part)
{
    detach(part);
    hws_hash_remove(&yamux->by_id, &part->by_id);
    if (yamux->current == part)
        yamux->current = NULL;
    hws_list_remove(&part->arrival);
    if (part->is_arrived)
        yamux->base.unaccepted--;
    part->is_arrived = false;
    hws_schedule_remove(&yamux->schedule, &part->turn);
    yamux->unsent -= hws_buffer_size(&part->unsent);
    hws_buffer_clear(&part->unsent);
    hws_buffer_dispose(&part->early);
    hws_window_budget_give(yamux->budget, part->window.size);
    acknowledge(yamux, part);
    if (part->is_orphan) {
        yamux->orphans--;
        yamux->base.awaited--;
    }
    if (part->is_ours)
        yamux->ours--;
    update_room(yamux);
}

/* There is nothing left to say about it. */
static void retire(yamux_t *yamux, part_t *part)
{
    hws_list_remove(&part->notice);
    hws_list_remove(&part->all);
    if (yamux->spare_count == MOST_SPARE || part->unsent.capacity > SPARE_BLOCK) {
        free_part(part);
        return;
    }
    hws_list_push_front(&yamux->spares, &part->all);
    yamux->spare_count++;
}

static void end_part(yamux_t *yamux, part_t *part)
{
    close_part(yamux, part);
    retire(yamux, part);
}

/* Frames that go ---------------------------------------------------------------------------- */

/* Answers are bounded, because the peer can cause many and read none. */
static int put_answer(yamux_t *yamux, const hws_yamux_frame_t *frame)
{
    if (hws_buffer_size(&yamux->answers) >= (size_t)MOST_ANSWERS * HWS_YAMUX_HEADER)
        return fail(yamux, HWS_ERR_YAMUX_FLOOD, PROTOCOL_ERROR);
    if (hws_yamux_put_frame(&yamux->answers, frame, NULL, 0) != HWS_OK)
        return fail(yamux, HWS_ERR_NOMEM, INTERNAL_ERROR);
    return HWS_OK;
}

static void start_ping(yamux_t *yamux)
{
    if (yamux->is_pinging)
        return;
    yamux->is_pinging = true;
    yamux->is_ping_due = true;
    yamux->ping++;
}

/* What the part has to say but data is said by the next flush. */
static void notify(yamux_t *yamux, part_t *part)
{
    if (!hws_list_is_linked(&part->notice))
        hws_list_push_back(&yamux->notices, &part->notice);
}

static void wait_for_turn(yamux_t *yamux, part_t *part)
{
    if (part->may_send > 0 && !hws_buffer_is_empty(&part->unsent))
        hws_schedule_add(&yamux->schedule, &part->turn, part->urgency);
}

static bool is_fin_due(const part_t *part)
{
    return part->wants_fin && !part->has_sent_fin && hws_buffer_is_empty(&part->unsent);
}

/* Both sides have said their last, and the stream knows. */
static bool is_over(const part_t *part)
{
    return part->has_sent_fin && part->has_told_end;
}

/* By how much the peer's window could be opened. */
static uint32_t consumed(const part_t *part)
{
    assert(part->window.size - part->unread >= part->may_come);
    return part->window.size - part->unread - part->may_come;
}

/* A FIN is never put on data: the Go implementation heeds it before the data, and a reader who comes
 * in between takes the stream for ended. */
static int put_notice(yamux_t *yamux, part_t *part, hws_buffer_t *out)
{
    hws_yamux_frame_t frame = {.type = HWS_YAMUX_WINDOW, .id = part->id};

    if (part->is_reset) {
        frame.flags = HWS_YAMUX_RST | part->hello;
        retire(yamux, part);
        return hws_yamux_put_frame(out, &frame, NULL, 0);
    }
    if (part->is_due && !part->has_fin) {
        frame.length = consumed(part);
        part->may_come += frame.length;
    }
    part->is_due = false;
    if (is_fin_due(part)) {
        frame.flags = HWS_YAMUX_FIN;
        part->has_sent_fin = true;
    }
    /* A greeting alone waits for the data that goes with it. */
    if (frame.length == 0 && frame.flags == 0 &&
        (part->hello == 0 || hws_turn_is_waiting(&part->turn)))
        return HWS_OK;
    frame.flags |= part->hello;
    part->hello = 0;
    if (is_over(part))
        end_part(yamux, part);
    return hws_yamux_put_frame(out, &frame, NULL, 0);
}

static int put_notices(yamux_t *yamux, hws_buffer_t *out)
{
    hws_list_t *link;
    int rc = HWS_OK;

    while (rc == HWS_OK && (link = hws_list_first(&yamux->notices)) != NULL) {
        hws_list_remove(link);
        rc = put_notice(yamux, HWS_CONTAINER(link, part_t, notice), out);
    }
    return rc;
}

/* What a stream may have unsent now. */
static size_t most_unsent(const yamux_t *yamux)
{
    if (yamux->unsent >= yamux->buffer || yamux->buffer < LEAST_UNSENT)
        return LEAST_UNSENT;
    return yamux->buffer < MOST_UNSENT ? yamux->buffer : MOST_UNSENT;
}

static void on_sent(yamux_t *yamux, part_t *part, size_t size)
{
    hws_buffer_consume(&part->unsent, size);
    yamux->unsent -= size;
    part->may_send -= size;
    if (part->may_send == 0 || hws_buffer_is_empty(&part->unsent))
        hws_schedule_remove(&yamux->schedule, &part->turn);
    if (hws_buffer_is_empty(&part->unsent) && part->unsent.capacity > SPARE_BLOCK)
        hws_buffer_dispose(&part->unsent);
    if (is_fin_due(part))
        notify(yamux, part);
    if (part->is_short && hws_buffer_size(&part->unsent) <= LEAST_UNSENT / 2) {
        part->is_short = false;
        part->stream->events->on_writable(part->stream);
    }
}

static int put_data(yamux_t *yamux, part_t *part, hws_buffer_t *out, size_t *size)
{
    hws_yamux_frame_t frame = {.type = HWS_YAMUX_DATA, .flags = part->hello, .id = part->id};

    *size = hws_buffer_size(&part->unsent);
    if (*size > TURN)
        *size = TURN;
    if (*size > part->may_send)
        *size = (size_t)part->may_send;
    frame.length = (uint32_t)*size;
    if (hws_yamux_put_frame(out, &frame, hws_buffer_bytes(&part->unsent), *size) != HWS_OK)
        return HWS_ERR_NOMEM;
    part->hello = 0;
    on_sent(yamux, part, *size);
    return HWS_OK;
}

static int put_turns(yamux_t *yamux, size_t room, hws_buffer_t *out)
{
    hws_turn_t *turn;
    size_t sent = 0;
    size_t size;
    int rc = HWS_OK;

    while (rc == HWS_OK && sent < room && (turn = hws_schedule_next(&yamux->schedule)) != NULL) {
        rc = put_data(yamux, HWS_CONTAINER(turn, part_t, turn), out, &size);
        sent += size;
    }
    return rc;
}

static int put_go_away(yamux_t *yamux, hws_buffer_t *out)
{
    hws_yamux_frame_t frame = {.type = HWS_YAMUX_GO_AWAY, .length = yamux->reason};

    yamux->is_go_away_due = false;
    return hws_yamux_put_frame(out, &frame, NULL, 0);
}

static int put_answers(yamux_t *yamux, hws_buffer_t *out)
{
    hws_buffer_t *answers = &yamux->answers;
    int rc;

    if (hws_buffer_is_empty(answers))
        return HWS_OK;
    rc = hws_buffer_append(out, hws_buffer_bytes(answers), hws_buffer_size(answers));
    hws_buffer_dispose(answers);
    return rc;
}

static int put_ping(yamux_t *yamux, hws_buffer_t *out)
{
    hws_yamux_frame_t frame = {
        .type = HWS_YAMUX_PING, .flags = HWS_YAMUX_SYN, .length = yamux->ping};

    yamux->is_ping_due = false;
    return hws_yamux_put_frame(out, &frame, NULL, 0);
}

/* What belongs to no stream. */
static int put_own(yamux_t *yamux, hws_buffer_t *out)
{
    int rc = put_answers(yamux, out);

    if (rc == HWS_OK && yamux->is_ping_due)
        rc = put_ping(yamux, out);
    if (rc == HWS_OK && yamux->is_go_away_due)
        rc = put_go_away(yamux, out);
    return rc;
}

static int put_all(yamux_t *yamux, size_t room, hws_buffer_t *out)
{
    int rc;

    if ((rc = put_own(yamux, out)) != HWS_OK || (rc = put_notices(yamux, out)) != HWS_OK ||
        (rc = put_turns(yamux, room, out)) != HWS_OK)
        return rc;
    return put_notices(yamux, out); /* of those whose last data has just left */
}

/* What streams hear --------------------------------------------------------------------------- */

static void consume(yamux_t *yamux, part_t *part, size_t size)
{
    uint32_t grown;

    part->unread -= (uint32_t)size;
    if (part->has_fin || size == 0)
        return;
    if (hws_trip_carry(&yamux->trip, (uint32_t)size))
        start_ping(yamux);
    grown = hws_window_consume(&part->window, (uint32_t)size, &yamux->trip, yamux->budget);
    if (grown == 0 && consumed(part) < part->window.size / 2)
        return;
    part->is_due = true;
    notify(yamux, part);
}

static int keep_early(yamux_t *yamux, part_t *part, const char *data, size_t size)
{
    part->unread += (uint32_t)size;
    if (hws_buffer_append(&part->early, data, size) != HWS_OK)
        return fail(yamux, HWS_ERR_NOMEM, INTERNAL_ERROR);
    return HWS_OK;
}

static void deliver(yamux_t *yamux, part_t *part, const char *data, size_t size)
{
    size_t taken = part->stream->events->on_body(part->stream, data, size);

    assert(taken <= size);
    part->unread += (uint32_t)size;
    consume(yamux, part, taken);
}

static int on_data(yamux_t *yamux, part_t *part, const char *data, size_t size)
{
    if (part->is_orphan) {
        part->unread += (uint32_t)size;
        consume(yamux, part, size);
        return HWS_OK;
    }
    if (part->stream == NULL)
        return keep_early(yamux, part, data, size);
    deliver(yamux, part, data, size);
    return HWS_OK;
}

/* The peer's FIN, to a stream that has heard all before it, or to none that was left. */
static void tell_end(yamux_t *yamux, part_t *part)
{
    hws_stream_t *stream = part->wants_fin ? detach(part) : part->stream;

    part->has_told_end = true;
    if (is_over(part))
        end_part(yamux, part);
    if (stream != NULL)
        stream->events->on_end(stream, HWS_OK);
}

static void tell_failure(yamux_t *yamux, part_t *part, int status)
{
    hws_stream_t *stream = detach(part);

    end_part(yamux, part);
    if (stream != NULL)
        stream->events->on_end(stream, status);
}

static void tell_accepted(yamux_t *yamux)
{
    hws_list_t *link;

    while ((link = hws_list_first(&yamux->accepted)) != NULL) {
        part_t *part = HWS_CONTAINER(link, part_t, arrival);
        size_t size = hws_buffer_size(&part->early);

        hws_list_remove(link);
        if (size > 0) {
            part->unread -= (uint32_t)size;
            deliver(yamux, part, hws_buffer_bytes(&part->early), size);
            hws_buffer_dispose(&part->early);
        }
        if (part->has_fin)
            tell_end(yamux, part);
    }
}

/* Streams of which the peer has heard nothing, and will not. */
static void tell_unseen(yamux_t *yamux)
{
    hws_list_t *link = yamux->parts.next;

    while (link != &yamux->parts) {
        part_t *part = HWS_CONTAINER(link, part_t, all);

        link = link->next;
        if ((part->hello & HWS_YAMUX_SYN) != 0 && !part->is_reset)
            tell_failure(yamux, part, HWS_ERR_GOAWAY);
    }
}

/* Frames that come ---------------------------------------------------------------------------- */

static int on_violation(yamux_t *yamux, int code)
{
    return fail(yamux, code, PROTOCOL_ERROR);
}

static int refuse(yamux_t *yamux, uint32_t id)
{
    hws_yamux_frame_t frame = {.type = HWS_YAMUX_WINDOW, .flags = HWS_YAMUX_RST, .id = id};

    return put_answer(yamux, &frame);
}

static int on_syn(yamux_t *yamux, uint32_t id)
{
    part_t *part;

    if (id == 0 || id % 2 == yamux->next_id % 2 || find_part(yamux, id) != NULL)
        return on_violation(yamux, HWS_ERR_YAMUX_FRAME);
    if (!yamux->accepts || yamux->is_leaving || yamux->base.unaccepted == MOST_WAITING ||
        yamux->by_id.size - yamux->ours == MOST_THEIRS)
        return refuse(yamux, id);
    if ((part = create_part(yamux, id, false)) == NULL)
        return refuse(yamux, id);
    part->is_arrived = true;
    hws_list_push_back(&yamux->arrived, &part->arrival);
    yamux->base.unaccepted++;
    return HWS_OK;
}

/* Unseen it was, and may be sent again, when the peer has said nothing about it before. */
static void on_rst(yamux_t *yamux, part_t *part)
{
    tell_failure(yamux, part, part->is_acknowledged ? HWS_ERR_RESET : HWS_ERR_REFUSED_STREAM);
}

static int on_fin(yamux_t *yamux, part_t *part)
{
    if (part->has_fin)
        return on_violation(yamux, HWS_ERR_YAMUX_FRAME);
    part->has_fin = true;
    if (part->stream != NULL || part->is_orphan)
        tell_end(yamux, part);
    return HWS_OK;
}

static int on_data_header(yamux_t *yamux, part_t *part, const hws_yamux_frame_t *frame)
{
    if (part->has_fin)
        return on_violation(yamux, HWS_ERR_YAMUX_FRAME);
    if (frame->length > part->may_come)
        return on_violation(yamux, HWS_ERR_YAMUX_WINDOW);
    yamux->current = part;
    yamux->is_fin_behind = (frame->flags & HWS_YAMUX_FIN) != 0;
    return HWS_OK;
}

static int on_stream_frame(yamux_t *yamux, const hws_yamux_frame_t *frame)
{
    part_t *part;
    int rc;

    if ((frame->flags & HWS_YAMUX_SYN) != 0 && (rc = on_syn(yamux, frame->id)) != HWS_OK)
        return rc;
    if (frame->type == HWS_YAMUX_DATA)
        yamux->left = frame->length;
    /* What a stream that was reset or refused had under way is passed over. */
    if ((part = find_part(yamux, frame->id)) == NULL)
        return HWS_OK;
    /* Whatever the peer says but a reset means that it has accepted the stream: the Go implementation
     * leaves the acknowledgement out when our FIN was there before. */
    if ((frame->flags & (HWS_YAMUX_RST | HWS_YAMUX_ACK)) != HWS_YAMUX_RST)
        acknowledge(yamux, part);
    if ((frame->flags & HWS_YAMUX_RST) != 0) {
        on_rst(yamux, part);
        return HWS_OK;
    }
    if (yamux->left > 0)
        return on_data_header(yamux, part, frame);
    if (frame->type == HWS_YAMUX_WINDOW) {
        part->may_send += frame->length;
        wait_for_turn(yamux, part);
    }
    return (frame->flags & HWS_YAMUX_FIN) != 0 ? on_fin(yamux, part) : HWS_OK;
}

static int on_ping(yamux_t *yamux, const hws_yamux_frame_t *frame)
{
    hws_yamux_frame_t answer = {
        .type = HWS_YAMUX_PING, .flags = HWS_YAMUX_ACK, .length = frame->length};

    if ((frame->flags & HWS_YAMUX_SYN) != 0)
        return put_answer(yamux, &answer);
    if (!yamux->is_pinging || yamux->is_ping_due || frame->length != yamux->ping)
        return HWS_OK;
    yamux->is_pinging = false;
    hws_trip_end(&yamux->trip);
    if (yamux->is_asked)
        yamux->base.pongs++;
    yamux->is_asked = false;
    return HWS_OK;
}

static int on_go_away(yamux_t *yamux, const hws_yamux_frame_t *frame)
{
    if (frame->length != NORMAL)
        return fail(yamux, HWS_ERR_YAMUX_GOAWAY, UNSAID);
    if (yamux->is_left)
        return HWS_OK;
    yamux->is_left = true;
    yamux->base.is_last = true;
    update_room(yamux);
    tell_unseen(yamux);
    return HWS_OK;
}

static int on_header(yamux_t *yamux)
{
    hws_yamux_frame_t frame;

    if (!hws_yamux_get_frame(yamux->header, &frame))
        return on_violation(yamux, HWS_ERR_YAMUX_FRAME);
    switch ((hws_yamux_type_t)frame.type) {
    case HWS_YAMUX_DATA:
    case HWS_YAMUX_WINDOW:
        return on_stream_frame(yamux, &frame);
    case HWS_YAMUX_PING:
        return on_ping(yamux, &frame);
    case HWS_YAMUX_GO_AWAY:
        return on_go_away(yamux, &frame);
    }
    return HWS_OK;
}

static int take_header(yamux_t *yamux, const char **at, const char *end)
{
    size_t size = HWS_YAMUX_HEADER - yamux->header_size;
    bool is_whole = (size_t)(end - *at) >= size;

    if (!is_whole)
        size = (size_t)(end - *at);
    memcpy(yamux->header + yamux->header_size, *at, size);
    *at += size;
    yamux->header_size = (uint8_t)(is_whole ? 0 : yamux->header_size + size);
    return is_whole ? on_header(yamux) : HWS_OK;
}

static int take_data(yamux_t *yamux, const char **at, const char *end)
{
    part_t *part = yamux->current;
    uint32_t size = least((uint64_t)(end - *at), yamux->left);
    const char *data = *at;
    int rc;

    *at += size;
    yamux->left -= size;
    if (part == NULL)
        return HWS_OK;
    part->may_come -= size;
    if (yamux->left == 0)
        yamux->current = NULL;
    if ((rc = on_data(yamux, part, data, size)) != HWS_OK)
        return rc;
    return yamux->left == 0 && yamux->is_fin_behind ? on_fin(yamux, part) : HWS_OK;
}

static int yamux_feed(hws_codec_t *codec, const char *bytes, size_t size)
{
    yamux_t *yamux = yamux_of(codec);
    const char *at = bytes;
    const char *end = bytes + size;

    tell_accepted(yamux);
    while (at < end && yamux->failure == HWS_OK)
        (void)(yamux->left > 0 ? take_data(yamux, &at, end) : take_header(yamux, &at, end));
    if (yamux->failure != HWS_OK)
        tell_unseen(yamux);
    return yamux->failure;
}

static int yamux_feed_end(hws_codec_t *codec)
{
    yamux_t *yamux = yamux_of(codec);
    bool is_between = yamux->left == 0 && yamux->header_size == 0;

    tell_accepted(yamux);
    codec->is_last = true;
    update_room(yamux);
    tell_unseen(yamux);
    if (yamux->failure != HWS_OK)
        return yamux->failure;
    return is_between && yamux->by_id.size == yamux->orphans ? HWS_OK : HWS_ERR_EOF;
}

/* What streams want --------------------------------------------------------------------------- */

static void attach(part_t *part, hws_stream_t *stream)
{
    part->stream = stream;
    stream->part = part;
    stream->id = part->id;
    stream->announced = HWS_BODY_UNKNOWN;
}

static int yamux_open(hws_codec_t *codec, hws_stream_t *stream, const hws_message_t *message,
                      hws_buffer_t *out)
{
    yamux_t *yamux = yamux_of(codec);
    part_t *part;

    (void)message; /* a stream begins with nothing */
    (void)out;
    assert(codec->room > 0);
    if ((part = create_part(yamux, yamux->next_id, true)) == NULL)
        return HWS_ERR_NOMEM;
    if (part->id >= LAST_ID)
        codec->is_last = true;
    yamux->next_id += 2;
    update_room(yamux);
    part->hello = HWS_YAMUX_SYN;
    attach(part, stream);
    notify(yamux, part);
    return HWS_OK;
}

static int yamux_accept(hws_codec_t *codec, hws_stream_t *stream)
{
    yamux_t *yamux = yamux_of(codec);
    hws_list_t *link = hws_list_first(&yamux->arrived);
    part_t *part;

    if (link == NULL)
        return HWS_AGAIN;
    part = HWS_CONTAINER(link, part_t, arrival);
    hws_list_remove(link);
    hws_list_push_back(&yamux->accepted, link);
    part->is_arrived = false;
    codec->unaccepted--;
    part->hello = HWS_YAMUX_ACK;
    attach(part, stream);
    notify(yamux, part);
    return HWS_OK;
}

static int yamux_send(hws_codec_t *codec, hws_stream_t *stream, const char *data, size_t size,
                      bool end, hws_buffer_t *out, size_t *taken)
{
    yamux_t *yamux = yamux_of(codec);
    part_t *part = stream->part;
    size_t most = most_unsent(yamux);
    size_t room;

    (void)out;
    assert(part != NULL && !part->wants_fin);
    room = hws_buffer_size(&part->unsent);
    room = room < most ? most - room : 0;
    part->is_short = size > room;
    if (part->is_short)
        size = room;
    if (hws_buffer_append(&part->unsent, data, size) != HWS_OK)
        return HWS_ERR_NOMEM;
    yamux->unsent += size;
    part->urgency = stream->urgency;
    wait_for_turn(yamux, part);
    *taken = size;
    if (!end || part->is_short)
        return HWS_OK;
    part->wants_fin = true;
    if (is_fin_due(part))
        notify(yamux, part);
    if (part->has_told_end)
        detach(part);
    return HWS_OK;
}

static int yamux_credit(hws_codec_t *codec, hws_stream_t *stream, size_t size)
{
    part_t *part = stream->part;

    if (part == NULL)
        return HWS_OK;
    assert(size <= part->unread);
    consume(yamux_of(codec), part, size);
    return HWS_OK;
}

static void reset_part(yamux_t *yamux, part_t *part)
{
    close_part(yamux, part);
    if ((part->hello & HWS_YAMUX_SYN) != 0) { /* the peer will never have heard of it */
        retire(yamux, part);
        return;
    }
    part->is_reset = true;
    notify(yamux, part);
}

static void yamux_reset(hws_codec_t *codec, hws_stream_t *stream, uint32_t code)
{
    (void)code; /* an RST has none */
    if (stream->part != NULL)
        reset_part(yamux_of(codec), stream->part);
}

static void yamux_leave(hws_codec_t *codec, hws_stream_t *stream)
{
    yamux_t *yamux = yamux_of(codec);
    part_t *part = stream->part;

    if (part == NULL)
        return;
    if ((part->hello & HWS_YAMUX_SYN) != 0 && hws_buffer_is_empty(&part->unsent)) {
        reset_part(yamux, part);
        return;
    }
    detach(part);
    part->is_orphan = true;
    part->is_short = false;
    part->ticks = 0;
    yamux->orphans++;
    codec->awaited++;
    hws_list_remove(&part->arrival);
    hws_buffer_dispose(&part->early);
    part->window.max = 0; /* it does not grow any more */
    consume(yamux, part, part->unread);
    part->wants_fin = true;
    part->has_told_end = part->has_fin;
    if (is_over(part))
        end_part(yamux, part);
    else if (is_fin_due(part))
        notify(yamux, part);
}

static int yamux_tick(hws_codec_t *codec)
{
    yamux_t *yamux = yamux_of(codec);
    hws_list_t *link = yamux->parts.next;

    while (link != &yamux->parts) {
        part_t *part = HWS_CONTAINER(link, part_t, all);

        link = link->next;
        if (part->is_reset)
            continue;
        if (part->is_orphan && ++part->ticks > PATIENCE_TO_CLOSE)
            reset_part(yamux, part);
        /* One that says no more need not be accepted. */
        else if (!part->is_acknowledged && !part->wants_fin && ++part->ticks > PATIENCE_TO_OPEN)
            return fail(yamux, HWS_ERR_UNACCEPTED, UNSAID);
    }
    return HWS_OK;
}

static int yamux_flush(hws_codec_t *codec, size_t room, hws_buffer_t *out)
{
    yamux_t *yamux = yamux_of(codec);

    if (yamux->failure == HWS_OK)
        tell_accepted(yamux);
    if (yamux->failure == HWS_OK && room > 0 && put_all(yamux, room, out) != HWS_OK)
        fail(yamux, HWS_ERR_NOMEM, INTERNAL_ERROR);
    if (yamux->failure != HWS_OK && yamux->is_go_away_due)
        (void)put_go_away(yamux, out);
    return yamux->failure;
}

static int yamux_ping(hws_codec_t *codec)
{
    yamux_t *yamux = yamux_of(codec);

    if (yamux->is_asked)
        return HWS_AGAIN;
    yamux->is_asked = true;
    start_ping(yamux);
    return HWS_OK;
}

static void yamux_set_streams(hws_codec_t *codec, uint32_t streams)
{
    yamux_t *yamux = yamux_of(codec);

    yamux->streams = codec->cap = streams;
    update_room(yamux);
}

static void yamux_go_away(hws_codec_t *codec)
{
    yamux_t *yamux = yamux_of(codec);

    if (!yamux->is_leaving && yamux->failure == HWS_OK)
        yamux->is_go_away_due = true;
    yamux->is_leaving = true;
    codec->is_last = true;
    update_room(yamux);
}

/* The hws_stream_t of parts that are still here may be gone: it is not touched. */
static void yamux_destroy(hws_codec_t *codec)
{
    yamux_t *yamux = yamux_of(codec);
    hws_list_t *link;

    while ((link = hws_list_first(&yamux->parts)) != NULL) {
        part_t *part = HWS_CONTAINER(link, part_t, all);

        part->stream = NULL;
        if (!part->is_reset)
            close_part(yamux, part);
        retire(yamux, part);
    }
    while ((link = hws_list_first(&yamux->spares)) != NULL) {
        hws_list_remove(link);
        free_part(HWS_CONTAINER(link, part_t, all));
    }
    hws_hash_dispose(&yamux->by_id);
    hws_buffer_dispose(&yamux->answers);
    hws_free(yamux);
}

static const hws_codec_ops_t ops = {
    .feed = yamux_feed,
    .feed_end = yamux_feed_end,
    .open = yamux_open,
    .send = yamux_send,
    .credit = yamux_credit,
    .reset = yamux_reset,
    .destroy = yamux_destroy,
    .flush = yamux_flush,
    .ping = yamux_ping,
    .set_streams = yamux_set_streams,
    .go_away = yamux_go_away,
    .accept = yamux_accept,
    .leave = yamux_leave,
    .tick = yamux_tick,
};

int hws_yamux_create(const hws_codec_options_t *options, hws_yamux_role_t role, hws_codec_t **out)
{
    yamux_t *yamux = hws_zalloc(sizeof(*yamux));

    if (yamux == NULL)
        return HWS_ERR_NOMEM;
    yamux->base = (hws_codec_t){
        .ops = &ops, .wants_bytes = true, .cap = options->streams, .idle_hint = HWS_NEVER};
    yamux->budget = options->budget;
    yamux->buffer = options->buffer;
    yamux->streams = options->streams;
    yamux->stream_max = options->windows.stream_max;
    yamux->accepts = options->accepts;
    /* An address is as good as chance here: the peer, who chooses ids, does not know it. */
    hws_hash_init(&yamux->by_id, (uint64_t)(uintptr_t)yamux);
    hws_list_init(&yamux->parts);
    hws_list_init(&yamux->spares);
    hws_list_init(&yamux->arrived);
    hws_list_init(&yamux->accepted);
    hws_list_init(&yamux->notices);
    hws_schedule_init(&yamux->schedule);
    hws_trip_init(&yamux->trip, FIRST_WINDOW);
    yamux->next_id = role == HWS_YAMUX_CLIENT ? 1 : 2;
    update_room(yamux);
    *out = &yamux->base;
    return HWS_OK;
}

void hws_yamux_check(const hws_codec_t *codec)
{
    const yamux_t *yamux = (const yamux_t *)(const void *)codec;
    uint32_t ours = 0, unacknowledged = 0, unaccepted = 0, orphans = 0;
    size_t open = 0, unsent = 0;

    HWS_LIST_EACH(link, &yamux->parts) {
        const part_t *part = HWS_CONTAINER(link, part_t, all);

        if (part->is_reset)
            continue;
        open++;
        ours += part->is_ours;
        unacknowledged += !part->is_acknowledged;
        unaccepted += part->is_arrived;
        orphans += part->is_orphan;
        unsent += hws_buffer_size(&part->unsent);
        assert(!is_over(part) && part->unread + part->may_come <= part->window.size);
        assert(hws_turn_is_waiting(&part->turn) ==
               (part->may_send > 0 && !hws_buffer_is_empty(&part->unsent)));
        assert(part->stream == NULL || part->stream->part == part);
    }
    assert(open == yamux->by_id.size && ours == yamux->ours && unsent == yamux->unsent);
    assert(unacknowledged == yamux->unacknowledged && unaccepted == codec->unaccepted);
    assert(yamux->failure == HWS_OK || codec->is_last);
    assert(codec->room == 0 || !codec->is_last);
    assert(orphans == yamux->orphans && codec->awaited == unacknowledged + orphans);
    (void)ours, (void)unacknowledged, (void)unaccepted, (void)orphans, (void)open, (void)unsent;
}
