/* client.c - one accepted connection and the script it plays. */
#include "faultd.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_SIZE = 65536, FILL_SIZE = 65536, LINE_MAX_SIZE = 1024 };

typedef enum {
    SAY,
    TRICKLE,
    FILL,
    PAUSE,
    HOLD,
    AWAIT,
    AWAIT_HELD,
    STOP_READING,
    START_READING,
    FINISH,
    RESET,
    SILENCE
} action_t;

struct step {
    step_t *next;
    action_t action;
    bytes_t bytes;           /* SAY, TRICKLE; HOLD, AWAIT_HELD: the key */
    uint64_t number;         /* FILL: bytes left; TRICKLE, PAUSE: ms; AWAIT*: the value */
    size_t position;         /* TRICKLE */
    const uint64_t *counter; /* AWAIT */
};

typedef struct {
    uv_write_t request;
    client_t *client;
} send_t;

static char received[READ_SIZE];
static char filling[FILL_SIZE];

/* Life ----------------------------------------------------------------------------------------- */

static void drop_step(client_t *client)
{
    step_t *step = client->script;

    client->script = step->next;
    if (client->script == NULL)
        client->last = NULL;
    client->is_busy = false;
    bytes_dispose(&step->bytes);
    free(step);
}

static void unlink_client(client_t *client)
{
    client_t **at = &client->service->clients;

    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
}

static void on_closed(uv_handle_t *handle)
{
    client_t *client = handle->data;

    if (--client->open_handles > 0)
        return;
    while (client->script != NULL)
        drop_step(client);
    bytes_dispose(&client->in);
    free(client);
}

/* Everything but the socket's own closing, which has two forms. False: it was closed before. */
static bool begin_close(client_t *client)
{
    if (client->is_closing)
        return false;
    client->is_closing = true;
    unlink_client(client);
    client->service->on_close(client);
    client->service->open--;
    uv_close((uv_handle_t *)&client->timer, on_closed);
    return true;
}

void client_close(client_t *client)
{
    if (!begin_close(client))
        return;
    uv_close(&client->socket.handle, on_closed);
    counters_changed();
}

void client_reset(client_t *client)
{
    if (!begin_close(client))
        return;
    if (!client->is_tcp || uv_tcp_close_reset(&client->socket.tcp, on_closed) != 0)
        uv_close(&client->socket.handle, on_closed);
    counters_changed();
}

void client_lose(client_t *client)
{
    client->is_lost = true;
    if (!client->is_closing && client->service->on_lost != NULL)
        client->service->on_lost(client);
    client_close(client);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    (void)handle;
    (void)wanted;
    *buffer = uv_buf_init(received, sizeof(received));
}

static void meet_doom(client_t *client)
{
    if (client->service->on_doom != NULL)
        client->service->on_doom(client);
    if (client->doom == DOOM_RST)
        client_reset(client);
    else
        client_close(client);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    client_t *client = stream->data;

    if (size == UV_EOF) {
        client->is_ended = true;
        if (client->is_finished)
            client_close(client);
        else if (client->is_lost)
            client_lose(client);
        else
            client->service->on_end(client);
        return;
    }
    if (size < 0) {
        client_lose(client);
        return;
    }
    bytes_append(&client->in, buffer->base, (size_t)size);
    client->service->in += (uint64_t)size;
    if (client->script == NULL)
        uv_timer_stop(&client->timer); /* it was idle */
    if (client->doom != DOOM_NONE)
        meet_doom(client);
    else if (client->script == NULL)
        client->service->on_bytes(client);
}

void client_accept(service_t *service, uv_stream_t *listener)
{
    client_t *client = allocate(sizeof(*client));

    client->service = service;
    client->is_tcp = listener->type == UV_TCP;
    if (client->is_tcp)
        uv_tcp_init(listener->loop, &client->socket.tcp);
    else
        uv_pipe_init(listener->loop, &client->socket.pipe, 0);
    uv_timer_init(listener->loop, &client->timer);
    client->socket.handle.data = client->timer.data = client;
    client->open_handles = 2;
    client->next = service->clients;
    service->clients = client;
    client->number = ++service->accepted;
    if (++service->open > service->most)
        service->most = service->open;

    service->on_open(client);
    if (uv_accept(listener, &client->socket.stream) != 0) {
        client_close(client);
        return;
    }
    if (client->is_tcp)
        uv_tcp_nodelay(&client->socket.tcp, 1);
    uv_read_start(&client->socket.stream, on_alloc, on_read);
    counters_changed();
}

/* Writing the script --------------------------------------------------------------------------- */

static step_t *append(client_t *client, action_t action)
{
    step_t *step = allocate(sizeof(*step));

    step->action = action;
    if (client->last != NULL)
        client->last->next = step;
    else
        client->script = step;
    client->last = step;
    return step;
}

/* What is said in one go leaves in one write, unless it is being written already. */
void say(client_t *client, const void *data, size_t size)
{
    step_t *step = client->last;

    if (step == NULL || step->action != SAY || (step == client->script && client->is_busy))
        step = append(client, SAY);
    bytes_append(&step->bytes, data, size);
}

void say_line(client_t *client, const char *format, ...)
{
    char line[LINE_MAX_SIZE];
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    say(client, line, (size_t)size < sizeof(line) ? (size_t)size : sizeof(line) - 1);
}

void trickle(client_t *client, uint64_t pause_ms)
{
    step_t *step = client->last;

    if (step == NULL || step->action != SAY)
        return;
    step->action = TRICKLE;
    step->number = pause_ms;
}

void fill(client_t *client, uint64_t size)
{
    append(client, FILL)->number = size;
}

void pause_for(client_t *client, uint64_t ms)
{
    append(client, PAUSE)->number = ms;
}

void hold(client_t *client, const char *key)
{
    bytes_append(&append(client, HOLD)->bytes, key, strlen(key));
}

void await(client_t *client, const uint64_t *counter, uint64_t value)
{
    step_t *step = append(client, AWAIT);

    step->counter = counter;
    step->number = value;
}

void await_held(client_t *client, const char *key, uint64_t count)
{
    step_t *step = append(client, AWAIT_HELD);

    bytes_append(&step->bytes, key, strlen(key));
    step->number = count;
}

void stop_reading(client_t *client)
{
    append(client, STOP_READING);
}

void start_reading(client_t *client)
{
    append(client, START_READING);
}

void finish(client_t *client)
{
    append(client, FINISH);
}

void reset(client_t *client)
{
    append(client, RESET);
}

void keep_silent(client_t *client)
{
    append(client, SILENCE);
}

/* Playing it ----------------------------------------------------------------------------------- */

/* The client has reset the connection. What it said before is still there to be read. */
static void stop_speaking(client_t *client)
{
    if (client->service->on_lost == NULL || client->is_ended) {
        client_lose(client);
        return;
    }
    client->is_lost = true;
    (void)uv_read_start(&client->socket.stream, on_alloc, on_read);
}

static void on_sent(uv_write_t *request, int status)
{
    send_t *sending = (send_t *)request;
    client_t *client = sending->client;

    free(sending);
    if (client->is_closing)
        return;
    if (status != 0) {
        stop_speaking(client);
        return;
    }
    client->is_busy = false;
    client_play(client);
}

static void write_bytes(client_t *client, const char *data, size_t size)
{
    send_t *sending = allocate(sizeof(*sending));
    uv_buf_t buffer = uv_buf_init((char *)data, (unsigned int)size);

    sending->client = client;
    client->is_busy = true;
    if (uv_write(&sending->request, &client->socket.stream, &buffer, 1, on_sent) != 0) {
        free(sending);
        client_close(client);
        return;
    }
    client->service->out += buffer.len;
}

static void on_pause_over(uv_timer_t *timer)
{
    client_t *client = timer->data;

    client->is_busy = false;
    client_play(client);
}

/* No sooner than was asked for: libuv counts from its last turn, and whole milliseconds. */
static void start_timer(client_t *client, uv_timer_cb on_over, uint64_t ms)
{
    uv_update_time(client->timer.loop);
    uv_timer_start(&client->timer, on_over, ms + 1, 0);
}

static void on_idle_over(uv_timer_t *timer)
{
    client_t *client = timer->data;

    client->idle_ms = 0;
    finish(client);
    client_play(client);
}

static void on_finished(uv_shutdown_t *request, int status)
{
    client_t *client = request->data;

    free(request);
    client->is_finished = true;
    if (!client->is_closing && (status != 0 || client->is_ended))
        client_close(client);
}

/* The connection stays until the client closes it too, so that it cannot lose bytes to an RST. */
static void send_fin(client_t *client)
{
    uv_shutdown_t *request = allocate(sizeof(*request));

    request->data = client;
    client->is_busy = true;
    if (uv_shutdown(request, &client->socket.stream, on_finished) != 0) {
        free(request);
        client_close(client);
    }
}

static bool is_awaited_there(const step_t *step)
{
    if (step->action == AWAIT)
        return *step->counter == step->number;
    return held_count(step->bytes.data) == step->number;
}

static void play_fill(client_t *client, step_t *step)
{
    size_t size = step->number < FILL_SIZE ? (size_t)step->number : FILL_SIZE;

    if (filling[0] == '\0')
        memset(filling, 'x', sizeof(filling));
    step->number -= size;
    write_bytes(client, filling, size);
}

/* A byte and its pause take turns: the pause is over when `is_busy` is false at an odd turn. */
static void play_trickle(client_t *client, step_t *step)
{
    if (step->position % 2 == 0) {
        write_bytes(client, step->bytes.data + step->position / 2, 1);
    } else {
        client->is_busy = true;
        start_timer(client, on_pause_over, step->number);
    }
    step->position++;
}

/* Whether the first step has nothing left to do. */
static bool is_over(const step_t *step)
{
    switch (step->action) {
    case SAY:
        return step->position > 0 || step->bytes.size == 0;
    case TRICKLE:
        return step->position >= 2 * step->bytes.size;
    case FILL:
        return step->number == 0;
    case PAUSE:
    case STOP_READING:
    case START_READING:
        return step->position > 0;
    case AWAIT:
    case AWAIT_HELD:
        return is_awaited_there(step);
    case HOLD:
    case FINISH:
    case RESET:
    case SILENCE:
        break;
    }
    return false;
}

static void play_step(client_t *client, step_t *step)
{
    switch (step->action) {
    case SAY:
        step->position = 1;
        write_bytes(client, step->bytes.data, step->bytes.size);
        break;
    case TRICKLE:
        play_trickle(client, step);
        break;
    case FILL:
        play_fill(client, step);
        break;
    case PAUSE:
        step->position = 1;
        client->is_busy = true;
        start_timer(client, on_pause_over, step->number);
        break;
    case STOP_READING:
        step->position = 1;
        uv_read_stop(&client->socket.stream);
        break;
    case START_READING:
        step->position = 1;
        uv_read_start(&client->socket.stream, on_alloc, on_read);
        break;
    case FINISH:
        send_fin(client);
        break;
    case RESET:
        client_reset(client);
        break;
    case HOLD:
    case AWAIT:
    case AWAIT_HELD:
    case SILENCE:
        client->is_busy = true;
        counters_changed();
        break;
    }
}

void client_play(client_t *client)
{
    if (client->is_playing || client->is_lost)
        return;
    client->is_playing = true;
    while (!client->is_closing && !client->is_busy && client->script != NULL) {
        if (is_over(client->script))
            drop_step(client);
        else
            play_step(client, client->script);
    }
    client->is_playing = false;
    if (client->is_closing || client->script != NULL)
        return;
    if (client->idle_ms > 0)
        start_timer(client, on_idle_over, client->idle_ms);
    if (client->in.size > 0 || client->is_ended)
        client->service->on_bytes(client);
}

/* Barriers ------------------------------------------------------------------------------------- */

bool client_is_held(const client_t *client, const char *key)
{
    const step_t *step = client->script;

    return !client->is_closing && step != NULL && step->action == HOLD && client->is_busy &&
           strcmp(step->bytes.data, key) == 0;
}

void client_go_on(client_t *client)
{
    drop_step(client);
    client_play(client);
}

void client_recheck(client_t *client)
{
    step_t *step = client->script;

    if (!client->is_closing && step != NULL && client->is_busy &&
        (step->action == AWAIT || step->action == AWAIT_HELD) && is_awaited_there(step))
        client_go_on(client);
}
