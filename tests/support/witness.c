#include "support/witness.h"

#include "base/memory.h"
#include "support/cmocka.h"

#include <stdio.h>
#include <string.h>

static void note(witness_t *witness, const char *word, int status)
{
    size_t used = strlen(witness->log);

    snprintf(witness->log + used, sizeof(witness->log) - used, "%s%s%s%s", used > 0 ? " " : "",
             word, status == HWS_AGAIN ? "" : ":",
             status == HWS_AGAIN ? "" : (status == HWS_OK ? "OK" : hws_error_name(status)));
}

static void begin_input(witness_t *witness, witness_input_t input, hws_time_t now)
{
    assert_false(witness->is_in_call);
    assert_false(witness->owes_rest);
    assert_true(input == ON_TIMER || witness->socket != NULL);
    assert_true(now >= witness->now);
    witness->now = now;
    witness->owes_rest = true;
}

static void end_input(witness_t *witness, witness_input_t input)
{
    if (witness->acts_on != input)
        return;
    witness->acts_on = ON_NOTHING;
    witness->act(witness->user);
}

static void on_connect(void *owner, int status, hws_time_t now)
{
    begin_input(owner, ON_CONNECT, now);
    note(owner, "connect", status);
    end_input(owner, ON_CONNECT);
}

/* What the witness itself needs is never the allocation that a test makes fail. */
static void keep(witness_t *witness, const char *bytes, size_t size)
{
    if (hws_buffer_append(&witness->bytes, bytes, size) != HWS_OK)
        assert_int_equal(hws_buffer_append(&witness->bytes, bytes, size), HWS_OK);
}

static void on_bytes(void *owner, const char *bytes, size_t size, hws_time_t now)
{
    witness_t *witness = owner;
    size_t used = strlen(witness->log);

    begin_input(witness, ON_BYTES, now);
    assert_true(size > 0);
    keep(witness, bytes, size);
    if (used < 5 || strcmp(witness->log + used - 5, "bytes") != 0)
        note(witness, "bytes", HWS_AGAIN);
    end_input(witness, ON_BYTES);
}

static void on_end(void *owner, int status, hws_time_t now)
{
    begin_input(owner, ON_END, now);
    note(owner, "end", status);
    end_input(owner, ON_END);
}

static void on_flush(void *owner, int status, hws_time_t now)
{
    witness_t *witness = owner;

    begin_input(owner, ON_FLUSH, now);
    if (status == HWS_AGAIN) {
        witness->takes++; /* how often that comes is the system's to say */
        return;
    }
    note(owner, "flush", status);
    end_input(owner, ON_FLUSH);
}

static void on_timer(void *owner, hws_time_t due, hws_time_t now)
{
    assert_true(due <= now);
    begin_input(owner, ON_TIMER, now);
    note(owner, "timer", HWS_AGAIN);
    end_input(owner, ON_TIMER);
}

static void on_rest(void *owner)
{
    witness_t *witness = owner;

    assert_false(witness->is_in_call);
    witness->owes_rest = false;
    witness->rests++;
}

static const hws_socket_events_t events = {
    .on_connect = on_connect,
    .on_bytes = on_bytes,
    .on_end = on_end,
    .on_flush = on_flush,
};

void witness_init(witness_t *witness, hws_io_t *io)
{
    memset(witness, 0, sizeof(*witness));
    witness->io = io;
    io->owner = witness;
    io->on_timer = on_timer;
    io->on_rest = on_rest;
}

void witness_dispose(witness_t *witness)
{
    if (witness->socket != NULL)
        witness_close(witness, false);
    witness->io->ops->destroy(witness->io);
    hws_buffer_dispose(&witness->bytes);
}

int witness_connect(witness_t *witness, const hws_address_t *address)
{
    int rc;

    assert_null(witness->socket);
    witness->is_in_call = true;
    rc = witness->io->ops->connect(witness->io, address, &events, witness, &witness->socket);
    witness->is_in_call = false;
    assert_true((rc == HWS_OK) == (witness->socket != NULL));
    return rc;
}

void witness_read(witness_t *witness, bool on)
{
    witness->is_in_call = true;
    witness->socket->ops->read(witness->socket, on);
    witness->is_in_call = false;
}

int witness_send(witness_t *witness, const char *data, size_t size, size_t *sent)
{
    int rc;

    witness->is_in_call = true;
    rc = witness->socket->ops->send(witness->socket, data, size, sent);
    witness->is_in_call = false;
    return rc;
}

void witness_flush_buffer(witness_t *witness, hws_buffer_t *buffer)
{
    witness->is_in_call = true;
    assert_int_equal(witness->socket->ops->flush(witness->socket, buffer), HWS_OK);
    witness->is_in_call = false;
    assert_true(hws_buffer_is_empty(buffer));
    assert_null(buffer->data);
}

void witness_flush(witness_t *witness, const char *data, size_t size)
{
    hws_buffer_t buffer = {0};

    assert_int_equal(hws_buffer_append(&buffer, data, size), HWS_OK);
    witness_flush_buffer(witness, &buffer);
}

int witness_finish(witness_t *witness)
{
    int rc;

    witness->is_in_call = true;
    rc = witness->socket->ops->finish(witness->socket);
    witness->is_in_call = false;
    return rc;
}

int witness_peek(witness_t *witness)
{
    int rc;

    witness->is_in_call = true;
    rc = witness->socket->ops->peek(witness->socket);
    witness->is_in_call = false;
    return rc;
}

/* From here on an input of the socket fails the test: see begin_input(). */
void witness_close(witness_t *witness, bool reset)
{
    hws_socket_t *socket = witness->socket;

    witness->socket = NULL;
    witness->is_in_call = true;
    socket->ops->close(socket, reset);
    witness->is_in_call = false;
}

void witness_arm(witness_t *witness, hws_time_t at)
{
    witness->is_in_call = true;
    witness->io->ops->arm(witness->io, at);
    witness->is_in_call = false;
}

void witness_wake(witness_t *witness)
{
    witness->is_in_call = true;
    witness->io->ops->wake(witness->io);
    witness->is_in_call = false;
}

int witness_run(witness_t *witness, hws_run_t mode)
{
    int rc = witness->io->ops->run(witness->io, mode);

    assert_false(witness->owes_rest);
    return rc;
}
