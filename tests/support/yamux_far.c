#include "support/yamux_far.h"

#include "support/cmocka.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM = 1 << 20 };

static void go_on(yamux_visit_t *visit);

static yamux_line_t *line_of(hws_stream_t *stream)
{
    return HWS_CONTAINER(stream, yamux_line_t, stream);
}

static void note_whole(yamux_line_t *line)
{
    if (line->status != HWS_OK || !line->has_ended)
        return;
    line->visit->open--;
    line->visit->far->whole++;
}

/* ---- what a line hears ---- */

static size_t on_body(hws_stream_t *stream, const char *data, size_t size)
{
    yamux_line_t *line = line_of(stream);

    line->visit->far->received += size;
    line->bytes = realloc(line->bytes, line->size + size);
    memcpy(line->bytes + line->size, data, size);
    line->size += size;
    if (!line->visit->far->is_slow && !line->is_echo)
        return size;
    line->owed += size;
    return 0;
}

static void on_end(hws_stream_t *stream, int status)
{
    yamux_line_t *line = line_of(stream);

    line->status = status;
    if (status == HWS_OK) {
        note_whole(line);
        return;
    }
    line->visit->far->failed++;
    line->visit->open--;
}

static void on_writable(hws_stream_t *stream)
{
    (void)stream; /* every turn asks every line anyway */
}

static const hws_stream_events_t events = {
    .on_body = on_body, .on_end = on_end, .on_writable = on_writable};

/* ---- what it says ---- */

static size_t send_some(yamux_line_t *line, const char *data, size_t size, bool ends)
{
    hws_codec_t *codec = line->visit->codec;
    size_t taken = 0;

    if (line->stream.part == NULL || line->has_ended)
        return 0;
    (void)codec->ops->send(codec, &line->stream, data, size, ends, NULL, &taken);
    if (ends && taken == size) {
        line->has_ended = true;
        note_whole(line);
    }
    return taken;
}

/* Opens the window for what was taken, of an echo what was sent back. */
static void pay(yamux_line_t *line)
{
    hws_codec_t *codec = line->visit->codec;
    size_t kept = line->is_echo ? line->size - line->returned : 0;

    if (line->visit->far->is_slow || line->stream.part == NULL || line->owed <= kept)
        return;
    (void)codec->ops->credit(codec, &line->stream, line->owed - kept);
    line->owed = kept;
}

static void echo(yamux_line_t *line)
{
    line->returned += send_some(line, line->bytes + line->returned, line->size - line->returned,
                                line->status == HWS_OK);
}

static yamux_line_t *add_line(yamux_visit_t *visit, bool is_echo)
{
    yamux_line_t *line = calloc(1, sizeof(*line));

    line->visit = visit;
    line->stream.events = &events;
    line->is_echo = is_echo;
    line->status = HWS_AGAIN;
    hws_list_push_back(&visit->lines, &line->link);
    visit->open++;
    if (visit->open > visit->far->peak)
        visit->far->peak = visit->open;
    return line;
}

static void drop(yamux_visit_t *visit, int status)
{
    visit->far->status = status;
    if (visit->is_over)
        return;
    visit->is_over = true;
    hws_sim_close(visit->conn, HWS_SIM_CLOSE);
}

static void flush(yamux_visit_t *visit)
{
    hws_buffer_t out = {0};
    int rc;
    size_t before;

    do {
        before = hws_buffer_size(&out);
        rc = visit->codec->ops->flush(visit->codec, ROOM, &out);
    } while (rc == HWS_OK && hws_buffer_size(&out) > before);
    if (!hws_buffer_is_empty(&out))
        (void)hws_sim_send(visit->conn, hws_buffer_bytes(&out), hws_buffer_size(&out));
    hws_buffer_dispose(&out);
    if (rc != HWS_OK)
        drop(visit, rc);
}

static void go_on(yamux_visit_t *visit)
{
    yamux_far_t *far = visit->far;

    if (visit->is_over)
        return;
    while (!far->is_shy && visit->codec->unaccepted > 0) {
        far->accepted++;
        (void)visit->codec->ops->accept(visit->codec, &add_line(visit, !far->is_mute)->stream);
    }
    flush(visit); /* which tells what had come before */
    HWS_LIST_EACH(link, &visit->lines) {
        yamux_line_t *line = HWS_CONTAINER(link, yamux_line_t, link);

        if (line->is_echo)
            echo(line);
        pay(line);
    }
    flush(visit);
}

/* ---- connections ---- */

static void on_accept(hws_sim_conn_t *conn)
{
    yamux_far_t *far = conn->listener->user;
    yamux_visit_t *visit = calloc(1, sizeof(*visit));
    hws_codec_options_t options = {
        .buffer = 262144, .streams = 1000, .accepts = true, .windows.stream_max = 16777216};

    far->visited++;
    visit->far = far;
    visit->conn = conn;
    visit->budget.limit = 268435456;
    options.budget = &visit->budget;
    conn->user = visit;
    hws_list_init(&visit->lines);
    hws_list_push_back(&far->visits, &visit->link);
    if (hws_yamux_create(&options, far->role, &visit->codec) != HWS_OK)
        drop(visit, HWS_ERR_NOMEM);
}

static void on_bytes(hws_sim_conn_t *conn, const char *bytes, size_t size)
{
    yamux_visit_t *visit = conn->user;
    int rc;

    if (visit->is_over)
        return;
    rc = visit->codec->ops->feed(visit->codec, bytes, size);
    hws_yamux_check(visit->codec);
    go_on(visit);
    if (rc != HWS_OK)
        drop(visit, rc);
}

static void on_client_end(hws_sim_conn_t *conn, int status)
{
    yamux_visit_t *visit = conn->user;

    visit->far->parted += status == HWS_ERR_EOF && visit->codec->is_last && !visit->is_over;
    drop(visit, status);
}

static void on_gone(hws_sim_conn_t *conn)
{
    yamux_visit_t *visit = conn->user;
    hws_list_t *link;

    if (visit->codec != NULL)
        visit->codec->ops->destroy(visit->codec);
    while ((link = hws_list_first(&visit->lines)) != NULL) {
        yamux_line_t *line = HWS_CONTAINER(link, yamux_line_t, link);

        hws_list_remove(link);
        free(line->bytes);
        free(line);
    }
    hws_list_remove(&visit->link);
    free(visit);
}

static const hws_sim_script_t script = {on_accept, on_bytes, on_client_end, on_gone};

void yamux_far_init(yamux_far_t *far, world_t *world, uint16_t port)
{
    *far = (yamux_far_t){.world = world, .role = HWS_YAMUX_SERVER, .status = HWS_AGAIN};
    hws_list_init(&far->visits);
    assert_int_equal(hws_sim_listen(world->sim, "10.0.0.1", port, &script, far, &far->listener),
                     HWS_OK);
}

void yamux_far_dispose(yamux_far_t *far)
{
    assert_true(hws_list_is_empty(&far->visits));
}

/* ---- what tests do ---- */

yamux_visit_t *yamux_far_latest(yamux_far_t *far)
{
    hws_list_t *link = hws_list_last(&far->visits);

    return link != NULL ? HWS_CONTAINER(link, yamux_visit_t, link) : NULL;
}

yamux_line_t *yamux_far_line(yamux_visit_t *visit, unsigned index)
{
    HWS_LIST_EACH(link, &visit->lines) {
        if (index-- == 0)
            return HWS_CONTAINER(link, yamux_line_t, link);
    }
    fail_msg("there are fewer lines than that");
    return NULL;
}

yamux_line_t *yamux_far_open(yamux_visit_t *visit, bool is_echo)
{
    yamux_line_t *line = add_line(visit, is_echo);

    assert_true(visit->codec->room > 0);
    assert_int_equal(visit->codec->ops->open(visit->codec, &line->stream, NULL, NULL), HWS_OK);
    go_on(visit);
    return line;
}

void yamux_far_say(yamux_line_t *line, const char *text)
{
    assert_int_equal(send_some(line, text, strlen(text), false), strlen(text));
    go_on(line->visit);
}

void yamux_far_finish(yamux_line_t *line)
{
    assert_int_equal(send_some(line, "", 0, true), 0);
    go_on(line->visit);
}

void yamux_far_reset(yamux_line_t *line)
{
    hws_codec_t *codec = line->visit->codec;

    codec->ops->reset(codec, &line->stream, HWS_CODEC_CANCEL);
    line->visit->open--;
    go_on(line->visit);
}

void yamux_far_go_away(yamux_visit_t *visit)
{
    visit->codec->ops->go_away(visit->codec);
    go_on(visit);
}

void yamux_far_wake(yamux_far_t *far)
{
    far->is_shy = far->is_slow = false;
    HWS_LIST_EACH(link, &far->visits)
        go_on(HWS_CONTAINER(link, yamux_visit_t, link));
}

bool yamux_far_got(const yamux_line_t *line, const char *text)
{
    return line->size == strlen(text) &&
           (line->size == 0 || memcmp(line->bytes, text, line->size) == 0);
}
