/* What streams have to say, on its way to the outbox: pieces that a codec with one stream appends at
 * once, and what one with many has when it is asked. */
#include "pool/connection.h"

/* Body bytes given to the codec at once. */
#define PIECE ((size_t)65536)
/* Body bytes that a multiplexing codec may send in a turn. It has to be less than the usual window of 65,535
 * bytes: who fills that at once sleeps until the peer has read it all, and the peer sleeps meanwhile. */
#define PULLED ((size_t)32768)

/* After an error nothing more is written, but reading goes on: a response that explains it may be
 * waiting, and if none is, the read's own error ends the stream. */
static void on_failed(hws_outbox_t *outbox, int code)
{
    hws_connection_t *connection = HWS_CONTAINER(outbox, hws_connection_t, outbox);

    /* What was lost here no peer will ever explain. */
    if (code == HWS_ERR_NOMEM)
        hws_connection_doom(connection, code);
    if (!connection->is_reading && !connection->has_finished) {
        connection->is_reading = true;
        connection->socket->ops->read(connection->socket, true);
    }
}

size_t hws_connection_write_room(const hws_connection_t *connection)
{
    size_t limit = connection->pool->owner->rules.limits.buffer;
    size_t waiting = hws_outbox_size(&connection->outbox);

    return waiting < limit ? limit - waiting : 0;
}

static void on_leaving(hws_outbox_t *outbox, size_t size, hws_time_t now)
{
    hws_connection_t *connection = HWS_CONTAINER(outbox, hws_connection_t, outbox);

    hws_metrics_sent(connection->pool->metrics, 0, size, now);
}

void hws_connection_pull(hws_outbox_t *outbox)
{
    hws_connection_t *connection = HWS_CONTAINER(outbox, hws_connection_t, outbox);
    hws_codec_t *codec = connection->codec;
    uint64_t accepted = outbox->accepted;
    size_t room = hws_connection_write_room(connection);
    int rc;

    if (room > PULLED)
        room = PULLED;
    rc = codec->ops->flush(codec, room, hws_outbox_begin(outbox));
    if (hws_outbox_commit(outbox) == HWS_OK && rc == HWS_OK && room > 0 &&
        outbox->accepted - accepted >= room)
        hws_outbox_pull_again(outbox); /* there may be more */
    if (rc != HWS_OK)
        hws_connection_doom(connection, rc);
    hws_connection_watch_codec(connection);
}

const hws_outbox_events_t hws_connection_outbox_events = {hws_connection_pull, on_leaving,
                                                          on_failed};

/* A piece of body for a multiplexing codec, which bounds what it takes itself. */
static int hand_over(hws_stream_t *stream, hws_slice_t data, bool end, size_t *taken)
{
    hws_connection_t *connection = stream->connection;
    int rc;

    if (stream->part == NULL)
        return HWS_ERR_PIPE;
    rc = connection->codec->ops->send(connection->codec, stream, data.data, data.size, end, NULL,
                                      taken);
    if (rc != HWS_OK)
        return rc;
    stream->wants_write = *taken < data.size;
    hws_outbox_pull(&connection->outbox);
    return stream->wants_write ? HWS_AGAIN : HWS_OK;
}

int hws_connection_append(hws_stream_t *stream, hws_slice_t data, bool end, hws_buffer_t *out,
                          size_t *taken)
{
    hws_connection_t *connection = stream->connection;
    size_t piece = hws_connection_write_room(connection);

    if (piece > PIECE)
        piece = PIECE;
    if (piece > data.size)
        piece = data.size;
    if (piece == 0 && data.size > 0) {
        *taken = 0;
        return HWS_OK;
    }
    return connection->codec->ops->send(connection->codec, stream, data.data, piece,
                                        end && piece == data.size, out, taken);
}

int hws_connection_send(hws_stream_t *stream, hws_slice_t data, bool end, size_t *taken)
{
    hws_connection_t *connection = stream->connection;
    hws_outbox_t *outbox = &connection->outbox;
    size_t total = 0;
    size_t piece;
    int rc;

    *taken = 0;
    if (outbox->error != HWS_OK)
        return outbox->error;
    if (hws_connection_is_multiplexing(connection))
        return hand_over(stream, data, end, taken);
    do {
        hws_slice_t left = {data.data + total, data.size - total};

        piece = 0;
        /* Only what the system does not take is worth waiting for. */
        if (hws_connection_write_room(connection) < left.size)
            hws_outbox_send(outbox);
        rc = hws_connection_append(stream, left, end, hws_outbox_begin(outbox), &piece);
        if (rc != HWS_OK)
            hws_outbox_drop(outbox);
        else
            rc = hws_outbox_commit(outbox);
        if (rc != HWS_OK)
            return rc;
        total += piece;
        *taken = total;
    } while (piece > 0 && total < data.size);
    stream->wants_write = total < data.size;
    return stream->wants_write ? HWS_AGAIN : HWS_OK;
}

void hws_connection_finish(hws_stream_t *stream)
{
    size_t none;

    if (hws_connection_is_multiplexing(stream->connection))
        (void)hand_over(stream, (hws_slice_t){NULL, 0}, true, &none);
    else
        hws_outbox_finish(&stream->connection->outbox);
}

bool hws_connection_is_clean(hws_connection_t *connection)
{
    hws_outbox_t *outbox = &connection->outbox;

    hws_outbox_send(outbox);
    return outbox->error == HWS_OK && !outbox->is_flushing && !outbox->is_finishing &&
           !connection->has_finished;
}
