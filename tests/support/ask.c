#include "support/ask.h"

#include "support/cmocka.h"

#include <stdio.h>
#include <string.h>

static void note_body(ask_t *ask, const char *data, size_t size)
{
    size_t room = ask->body_size < sizeof(ask->body) ? sizeof(ask->body) - ask->body_size : 0;

    if (size > 0 && room > 0)
        memcpy(ask->body + ask->body_size, data, size < room ? size : room);
    ask->body_size += size;
}

static bool is_called(ask_t *ask)
{
    if (ask->then != NULL)
        ask->then(ask, ask->user);
    return ask->request != NULL;
}

static void end_if_over(ask_t *ask)
{
    if (!ask->is_kept && (!ask->options.stream || ask->code != HWS_OK || ask->end != HWS_AGAIN))
        ask_dispose(ask);
}

void ask_read(ask_t *ask)
{
    hws_slice_t chunk;
    int rc;

    if (ask->end != HWS_AGAIN)
        return;
    while ((rc = hws_request_read(ask->request, &chunk)) == HWS_OK) {
        assert_true(chunk.size > 0);
        note_body(ask, chunk.data, chunk.size);
    }
    ask->end = rc;
    if (rc < 0)
        ask->error = *hws_request_error(ask->request);
}

static void note_response(ask_t *ask, const hws_response_t *response)
{
    ask->code = HWS_OK;
    ask->status = response->head->status;
    ask->attempts = response->attempts;
    ask->reused = response->reused;
    snprintf(ask->peer, sizeof(ask->peer), "%s", response->peer);
    if (!ask->options.stream)
        note_body(ask, response->body.data, response->body.size);
}

static void on_done(hws_request_t *request, void *user)
{
    ask_t *ask = user;
    const hws_response_t *response = hws_request_response(request);
    const hws_error_t *error = hws_request_error(request);

    assert_int_equal(++ask->done, 1);
    ask->at = hws_loop_now(hws_manager_loop(hws_upstream_manager(hws_request_upstream(request))));
    if (response != NULL) {
        note_response(ask, response);
    } else {
        assert_non_null(error);
        ask->code = error->code;
        ask->error = *error;
    }
    if (!is_called(ask))
        return;
    if (ask->options.stream && ask->code == HWS_OK && !ask->is_unread)
        ask_read(ask);
    end_if_over(ask);
}

static void on_readable(hws_request_t *request, void *user)
{
    ask_t *ask = user;

    (void)request;
    assert_int_equal(ask->done, 1);
    ask->readable++;
    if (!is_called(ask))
        return;
    ask_read(ask);
    end_if_over(ask);
}

static void on_writable(hws_request_t *request, void *user)
{
    static const char bytes[100000];
    ask_t *ask = user;
    size_t piece = ask->piece > 0 && ask->piece < sizeof(bytes) ? ask->piece : 16384;
    int rc = HWS_OK;

    ask->writable++;
    if (!is_called(ask))
        return;
    while (ask->produced < ask->produces && rc == HWS_OK) {
        size_t size = ask->produces - ask->produced;
        size_t taken;

        if (size > piece)
            size = piece;
        rc = hws_request_send(request, bytes, size, &taken);
        assert_true(rc == HWS_OK ? taken == size : taken <= size);
        ask->produced += taken;
    }
    if (rc == HWS_OK)
        (void)hws_request_finish(request);
}

void ask_init(ask_t *ask)
{
    memset(ask, 0, sizeof(*ask));
    hws_request_options_init(&ask->options);
    ask->options.on_done = on_done;
    ask->options.on_readable = on_readable;
    ask->options.on_writable = on_writable;
    ask->options.user = ask;
    ask->code = ask->end = HWS_AGAIN;
}

int ask_start(ask_t *ask, hws_upstream_t *upstream)
{
    int rc = hws_request_start(upstream, &ask->options, &ask->request, &ask->error);

    if (rc != HWS_OK)
        ask->code = rc;
    return rc;
}

void ask_get(ask_t *ask, hws_upstream_t *upstream)
{
    ask_init(ask);
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    assert_int_equal(ask->done, 0);
}

void ask_post(ask_t *ask, hws_upstream_t *upstream, const char *body)
{
    ask_init(ask);
    ask->options.method = HWS_SLICE("POST");
    ask->options.has_body = true;
    ask->options.body = (hws_slice_t){body, strlen(body)};
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
}

void ask_cancel(ask_t *ask)
{
    if (ask->request != NULL)
        hws_request_cancel(ask->request);
}

void ask_dispose(ask_t *ask)
{
    hws_request_destroy(ask->request);
    ask->request = NULL;
}

bool ask_is_ok(const ask_t *ask)
{
    return ask->done == 1 && ask->code == HWS_OK && (!ask->options.stream || ask->end == HWS_END);
}
