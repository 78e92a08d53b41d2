#include "transport/tls_joiner.h"

#define RECORD_HEADER ((size_t)5) /* type, version, length */
#define RECORD_MAX ((size_t)16384)
#define MESSAGE_HEADER ((size_t)4) /* type, length */

enum { CHANGE_CIPHER_SPEC = 20, ALERT = 21, HANDSHAKE = 22 };

static unsigned char byte_at(const hws_buffer_t *buffer, size_t i)
{
    return (unsigned char)hws_buffer_bytes(buffer)[i];
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int move(hws_buffer_t *from, size_t size, hws_buffer_t *to)
{
    int rc = size > 0 ? hws_buffer_append(to, hws_buffer_bytes(from), size) : HWS_OK;

    if (rc == HWS_OK)
        hws_buffer_consume(from, size);
    return rc;
}

/* The size of the record that is coming in; while its header is incomplete, of that. */
static size_t record_size(const hws_joiner_t *joiner)
{
    const hws_buffer_t *record = &joiner->record;

    if (hws_buffer_size(record) < RECORD_HEADER)
        return RECORD_HEADER;
    return RECORD_HEADER + ((size_t)byte_at(record, 3) << 8 | byte_at(record, 4));
}

static size_t message_size(const hws_buffer_t *messages)
{
    if (hws_buffer_size(messages) < MESSAGE_HEADER)
        return MESSAGE_HEADER;
    return MESSAGE_HEADER + ((size_t)byte_at(messages, 1) << 16 |
                             (size_t)byte_at(messages, 2) << 8 | byte_at(messages, 3));
}

/* Puts `size` bytes of the messages into a record. */
static int frame(hws_joiner_t *joiner, size_t size)
{
    const char header[] = {HANDSHAKE, joiner->version[0], joiner->version[1], (char)(size >> 8),
                           (char)(size & 0xff)};
    int rc = hws_buffer_append(&joiner->ready, header, sizeof(header));

    return rc == HWS_OK ? move(&joiner->messages, size, &joiner->ready) : rc;
}

/* Lets go of all there is, as it came. */
static int pass(hws_joiner_t *joiner)
{
    hws_buffer_t *messages = &joiner->messages;
    int rc = HWS_OK;

    joiner->is_through = true;
    while (rc == HWS_OK && !hws_buffer_is_empty(messages))
        rc = frame(joiner, min(hws_buffer_size(messages), RECORD_MAX));
    return rc == HWS_OK ? move(&joiner->record, hws_buffer_size(&joiner->record), &joiner->ready)
                        : rc;
}

static int on_handshake_record(hws_joiner_t *joiner)
{
    hws_buffer_t *messages = &joiner->messages;
    int rc;

    joiner->version[0] = (char)byte_at(&joiner->record, 1);
    joiner->version[1] = (char)byte_at(&joiner->record, 2);
    hws_buffer_consume(&joiner->record, RECORD_HEADER);
    rc = move(&joiner->record, hws_buffer_size(&joiner->record), messages);
    while (rc == HWS_OK && hws_buffer_size(messages) >= message_size(messages))
        rc = frame(joiner, message_size(messages));
    joiner->has_too_long = message_size(messages) > RECORD_MAX;
    return rc == HWS_OK && joiner->has_too_long ? pass(joiner) : rc;
}

static int on_record(hws_joiner_t *joiner)
{
    unsigned char type = byte_at(&joiner->record, 0);

    if (type == HANDSHAKE)
        return on_handshake_record(joiner);
    if (type == CHANGE_CIPHER_SPEC || (type != ALERT && !hws_buffer_is_empty(&joiner->messages)))
        return pass(joiner);
    return move(&joiner->record, hws_buffer_size(&joiner->record), &joiner->ready);
}

int hws_joiner_pull(hws_joiner_t *joiner, hws_slice_t *in)
{
    int rc = HWS_OK;

    while (rc == HWS_OK && in->size > 0 && !joiner->is_through &&
           hws_buffer_is_empty(&joiner->ready)) {
        size_t size = min(record_size(joiner) - hws_buffer_size(&joiner->record), in->size);

        if ((rc = hws_buffer_append(&joiner->record, in->data, size)) != HWS_OK)
            return rc;
        in->data += size;
        in->size -= size;
        if (record_size(joiner) > RECORD_HEADER + RECORD_MAX)
            rc = pass(joiner);
        else if (hws_buffer_size(&joiner->record) >= RECORD_HEADER &&
                 hws_buffer_size(&joiner->record) == record_size(joiner))
            rc = on_record(joiner);
    }
    return rc;
}

void hws_joiner_dispose(hws_joiner_t *joiner)
{
    hws_buffer_dispose(&joiner->record);
    hws_buffer_dispose(&joiner->messages);
    hws_buffer_dispose(&joiner->ready);
}
