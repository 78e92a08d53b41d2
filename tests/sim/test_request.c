/* One request through its attempts: responses, replays, streaming, uploads. */
#include "pool/connection.h"
#include "request.h"
#include "support/stage.h"

#include <hawser/message.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static hws_upstream_t *default_upstream(void)
{
    return world_http(&stage.world, "a", NULL, 1);
}

/* ---- responses ---- */

static void a_request_gets_its_response(void **state)
{
    ask_t *ask = &stage.asks[0];

    (void)state;
    ask_get(ask, default_upstream());
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(ask));
    assert_int_equal(ask->status, 200);
    assert_int_equal(ask->body_size, 5);
    assert_memory_equal(ask->body, "hello", 5);
    assert_int_equal(ask->attempts, 1);
    assert_string_equal(ask->peer, "10.0.0.1:1");
    assert_string_equal(stage.servers[0].last, "GET / HTTP/1.1\r\nHost: 10.0.0.1:1\r\n\r\n");
}

static void a_response_outlives_the_loops_next_turns(void **state)
{
    ask_t *ask = &stage.asks[0];
    hws_upstream_t *upstream = default_upstream();
    const hws_response_t *response;

    (void)state;
    ask_init(ask);
    ask->is_kept = true;
    stage.servers[0].reply.bytes = "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n"
                                   "5\r\nhello\r\n0\r\nSum: 7\r\n\r\n";
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    stage_get(upstream, 1, 5);
    world_run(&stage.world, HWS_S(1));
    response = hws_request_response(ask->request);
    assert_non_null(response);
    assert_int_equal(response->body.size, 5);
    assert_memory_equal(response->body.data, "hello", 5);
    assert_int_equal(response->head->count, 2);
    assert_int_equal(response->head->version, 11);
    assert_int_equal(hws_head_find(response->head, HWS_SLICE("a"), 0), 1);
    assert_memory_equal(hws_head_value(response->head, 1).data, "b", 1);
    assert_memory_equal(response->head->bytes + response->head->reason, "Fine", 4);
    assert_non_null(response->trailers);
    assert_int_equal(hws_head_find(response->trailers, HWS_SLICE("sum"), 0), 0);
    assert_null(hws_request_error(ask->request));
}

static void a_response_may_come_byte_by_byte(void **state)
{
    static const char *const replies[] = {
        REPLY_OK,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" REPLY_OK,
        "HTTP/1.0 200 OK\r\n\r\nhello",
    };
    hws_upstream_t *upstream = default_upstream();
    unsigned i;

    (void)state;
    stage.servers[0].listener->options.chunking = HWS_SIM_BYTES;
    stage.servers[0].listener->options.gap = HWS_MS(1);
    for (i = 0; i < 4; i++) {
        stage.servers[0].reply = (reply_t){.bytes = replies[i], .then = i == 3 ? CLOSES : STAYS};
        stage_get(upstream, i, 1);
        world_run(&stage.world, HWS_S(1));
        assert_int_equal(stage_ok(i, 1), 1);
        assert_int_equal(stage.asks[i].body_size, 5);
        assert_memory_equal(stage.asks[i].body, "hello", 5);
    }
    assert_int_equal(stage.servers[0].visited, 1);
}

static void a_large_body_comes_whole(void **state)
{
    size_t size = 3 << 20;
    char *reply = calloc(1, size + 100);
    int head = 0;

    (void)state;
    head = snprintf(reply, 100, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
    stage.servers[0].reply = (reply_t){.bytes = reply, .size = (size_t)head + size};
    stage_get(default_upstream(), 0, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_int_equal(stage.asks[0].body_size, size);
    free(reply);
}

static void a_body_announced_beyond_the_limit_is_refused_at_its_head(void **state)
{
    hws_upstream_t *upstream = default_upstream();
    ask_t *ask;

    (void)state;
    stage.servers[0].reply = (reply_t){.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n"};
    ask = &stage.asks[0];
    ask_init(ask);
    ask->options.max_body = 10;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(ask->code, HWS_ERR_BODY_SIZE);
    assert_int_equal(ask->error.phase, HWS_PHASE_BODY);
    assert_false(ask->error.retryable);
    assert_int_equal(stage.world.open, 0);
    /* One that is streamed has no such bound. */
    ask = &stage.asks[1];
    ask_init(ask);
    ask->options.max_body = 10;
    ask->options.stream = true;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(ask->code, HWS_OK);
    assert_int_equal(ask->status, 200);
}

static void a_length_that_announces_no_body_is_not_held_against_the_limit(void **state)
{
    static const struct {
        const char *method;
        const char *reply;
    } cases[] = {{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n"},
                 {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 11\r\n\r\n"},
                 {"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 11\r\n\r\n"}};
    hws_upstream_t *upstream = default_upstream();
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ask_t *ask = &stage.asks[i];

        stage.servers[0].reply = (reply_t){.bytes = cases[i].reply};
        ask_init(ask);
        ask->options.method = (hws_slice_t){cases[i].method, strlen(cases[i].method)};
        ask->options.max_body = 10;
        assert_int_equal(ask_start(ask, upstream), HWS_OK);
        world_run(&stage.world, HWS_MS(10));
        assert_int_equal(ask->code, HWS_OK);
    }
    assert_int_equal(stage.servers[0].visited, 1);
}

static void a_body_beyond_the_limit_is_refused(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    ask_t *ask = &stage.asks[0];

    (void)state;
    options.limits.body = 5;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 1), 1);
    options.limits.body = 4;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    stage_get(upstream, 1, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.asks[1].code, HWS_ERR_BODY_SIZE);
    assert_int_equal(stage.asks[1].error.phase, HWS_PHASE_BODY);
    assert_false(stage.asks[1].error.retryable);

    ask = &stage.asks[2];
    ask_init(ask);
    ask->options.max_body = 3;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    /* Streaming has no such bound. */
    ask = &stage.asks[3];
    ask_init(ask);
    ask->options.stream = true;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.asks[2].code, HWS_ERR_BODY_SIZE);
    assert_true(ask_is_ok(&stage.asks[3]));
    assert_int_equal(stage.asks[3].body_size, 5);
}

static void a_head_larger_than_its_own_store_is_copied_whole(void **state)
{
    char *reply = calloc(1, 40000);
    char *at = reply;
    ask_t *ask = &stage.asks[0];
    unsigned i;

    (void)state;
    at += sprintf(at, "HTTP/1.1 200 OK\r\n");
    for (i = 0; i < 500; i++)
        at += sprintf(at, "Field-%u: %u-%040u\r\n", i, i, i);
    at += sprintf(at, "Content-Length: 0\r\n\r\n");
    stage.servers[0].reply.bytes = reply;
    ask_init(ask);
    ask->is_kept = true;
    assert_int_equal(ask_start(ask, default_upstream()), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ask->code, HWS_OK);
    assert_int_equal(hws_request_response(ask->request)->head->count, 501);
    assert_int_equal(
        hws_head_find(hws_request_response(ask->request)->head, HWS_SLICE("field-499"), 0), 499);
    free(reply);
}

static void long_targets_and_fields_are_sent_whole(void **state)
{
    ask_t *ask = &stage.asks[0];
    hws_buffer_t fields = {0};
    char target[600];
    unsigned i;

    (void)state;
    memset(target, 'x', sizeof(target));
    target[0] = '/';
    for (i = 0; i < 20; i++)
        assert_int_equal(
            hws_fields_add(&fields, HWS_SLICE("Name"), HWS_SLICE("a value of some length"), NULL),
            HWS_OK);
    ask_init(ask);
    ask->options.target = (hws_slice_t){target, sizeof(target)};
    ask->options.fields = (hws_slice_t){fields.data, fields.tail};
    assert_int_equal(ask_start(ask, default_upstream()), HWS_OK);
    hws_fields_dispose(&fields);
    memset(target, 'y', sizeof(target));
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(ask));
    assert_int_equal(strlen(stage.servers[0].last),
                     4 + 600 + 11 + 18 + 2 + 20 * strlen("Name: a value of some length\r\n"));
}

static void head_has_no_body_whatever_its_length_says(void **state)
{
    hws_upstream_t *upstream = default_upstream();
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].reply.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    ask_init(ask);
    ask->options.method = HWS_SLICE("HEAD");
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(ask));
    assert_int_equal(world_stats(upstream).idle, 1);
}

/* ---- replays ---- */

/* Leaves one idle connection that has served. */
static hws_upstream_t *warm_upstream(void)
{
    hws_upstream_t *upstream = default_upstream();

    stage_get(upstream, 100, 1);
    world_run(&stage.world, HWS_MS(50));
    assert_int_equal(stage_ok(100, 1), 1);
    return upstream;
}

/* Resets a reused connection, or ends it, instead of answering. */
static reply_t dies_on_reuse(server_t *server, visit_t *visit, hws_slice_t request)
{
    (void)request;
    if (visit->requests > 1)
        return (reply_t){.then = server->user != NULL ? FINISHES : RESETS};
    return server->reply;
}

static void a_get_on_a_connection_that_proves_dead_goes_again_on_a_fresh_one(void **state)
{
    hws_upstream_t *upstream = warm_upstream();
    ask_t *ask = &stage.asks[0];
    unsigned i;

    (void)state;
    stage.servers[0].choose = dies_on_reuse;
    for (i = 0; i < 2; i++) {
        stage.servers[0].user = i == 0 ? NULL : &stage;
        stage_get(upstream, 0, 1);
        world_run(&stage.world, HWS_MS(50));
        assert_true(ask_is_ok(ask));
        assert_false(ask->reused);
        assert_int_equal(ask->attempts, 2);
        assert_int_equal(world_stats(upstream).replayed, i + 1);
        assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_STALE], i + 1);
    }
    assert_true(world_had_event(&stage.world, "stale_reuse:replayed"));
}

static void a_replay_takes_no_other_connection_that_has_served(void **state)
{
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    stage.servers[0].reply.after = HWS_MS(1);
    stage_get(upstream, 100, 5);
    world_run(&stage.world, HWS_S(1));
    stage.servers[0].choose = dies_on_reuse;
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_int_equal(stage.asks[0].attempts, 2);
    assert_int_equal(stage.servers[0].visited, 6);
}

static void a_replay_happens_once(void **state)
{
    hws_upstream_t *upstream = warm_upstream();

    (void)state;
    stage.servers[0].reply = (reply_t){.then = RESETS};
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.asks[0].code, HWS_ERR_RESET);
    assert_int_equal(stage.asks[0].error.phase, HWS_PHASE_HEADERS);
    assert_int_equal(stage.asks[0].error.attempts, 2);
    assert_true(stage.asks[0].error.sent);
    assert_true(stage.asks[0].error.retryable);
    assert_int_equal(stage.servers[0].requests, 3);
}

static void a_fresh_connection_that_dies_is_no_reason_for_a_replay(void **state)
{
    hws_upstream_t *upstream = default_upstream();
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++) {
        stage.servers[0].reply = (reply_t){.then = i == 0 ? RESETS : FINISHES};
        stage_get(upstream, i, 1);
        world_run(&stage.world, HWS_S(1));
        assert_int_equal(stage.asks[i].code, i == 0 ? HWS_ERR_RESET : HWS_ERR_EOF);
        assert_int_equal(hws_error_kind(stage.asks[i].code), HWS_KIND_RESET);
    }
    assert_int_equal(stage.servers[0].requests, 2);
    assert_int_equal(world_stats(upstream).replayed, 0);
}

static void a_post_is_not_sent_twice(void **state)
{
    hws_upstream_t *upstream = warm_upstream();

    (void)state;
    stage.servers[0].choose = dies_on_reuse;
    ask_post(&stage.asks[0], upstream, "x");
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.asks[0].code, HWS_ERR_RESET);
    assert_true(stage.asks[0].error.sent);
    assert_false(stage.asks[0].error.retryable);
    assert_int_equal(stage.servers[0].requests, 2);
    assert_true(world_had_event(&stage.world, "stale_reuse:failed"));
}

static void a_put_goes_again_with_its_body(void **state)
{
    hws_upstream_t *upstream = warm_upstream();
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].choose = dies_on_reuse;
    ask_init(ask);
    ask->options.method = HWS_SLICE("PUT");
    ask->options.has_body = true;
    ask->options.body = HWS_SLICE("the body");
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(ask));
    assert_non_null(strstr(stage.servers[0].last, "Content-Length: 8\r\n\r\nthe body"));
}

static void a_large_put_that_was_half_sent_goes_again_whole(void **state)
{
    static char body[500000];
    hws_upstream_t *upstream = warm_upstream();
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].listener->options.window = 10000;
    hws_sim_pause(server_latest(&stage.servers[0])->conn, true);
    ask_init(ask);
    ask->options.method = HWS_SLICE("PUT");
    ask->options.has_body = true;
    ask->options.body = (hws_slice_t){body, sizeof(body)};
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    hws_sim_close(server_latest(&stage.servers[0])->conn, HWS_SIM_RESET);
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(ask));
    assert_int_equal(ask->attempts, 2);
    assert_int_equal(stage.servers[0].requests, 2);
}

static void a_user_may_say_what_may_be_sent_twice(void **state)
{
    hws_upstream_t *upstream = warm_upstream();
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].choose = dies_on_reuse;
    ask_init(ask);
    ask->options.method = HWS_SLICE("POST");
    ask->options.idempotent = HWS_IDEMPOTENT_YES;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_MS(50));
    assert_true(ask_is_ok(ask));
    ask_init(ask);
    ask->options.idempotent = HWS_IDEMPOTENT_NO;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_MS(50));
    assert_int_equal(ask->code, HWS_ERR_RESET);
    assert_false(ask->error.retryable);
}

static void what_a_producer_gave_is_not_sent_twice(void **state)
{
    hws_upstream_t *upstream = warm_upstream();
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].choose = dies_on_reuse;
    ask_init(ask);
    ask->options.method = HWS_SLICE("PUT");
    ask->options.has_producer = true;
    ask->produces = 100;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ask->code, HWS_ERR_RESET);
    assert_false(ask->error.retryable);
    assert_int_equal(stage.servers[0].requests, 2);
    assert_int_equal(world_stats(upstream).replayed, 0);
}

static reply_t dies_in_the_midst_on_reuse(server_t *server, visit_t *visit, hws_slice_t request)
{
    (void)request;
    if (visit->requests > 1)
        return (reply_t){.bytes = "H", .then = RESETS};
    return server->reply;
}

static void after_one_byte_of_an_answer_nothing_is_sent_again(void **state)
{
    hws_upstream_t *upstream = warm_upstream();

    (void)state;
    stage.servers[0].choose = dies_in_the_midst_on_reuse;
    stage.servers[0].listener->options.latency_min = HWS_MS(5);
    stage.servers[0].listener->options.latency_max = HWS_MS(5);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.asks[0].code, HWS_ERR_RESET);
    assert_int_equal(world_stats(upstream).replayed, 0);
    assert_int_equal(stage.servers[0].requests, 2);
}

static void a_replay_that_finds_no_place_in_the_queue_keeps_its_error(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.pending = 0;
    options.limits.dials = 1;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(10));
    stage.servers[0].reply = (reply_t){.then = RESETS, .after = HWS_MS(100)};
    stage_get(upstream, 1, 1);
    world_run(&stage.world, HWS_MS(90));
    stage.servers[0].listener->options.connect_min = HWS_S(1);
    stage.servers[0].listener->options.connect_max = HWS_S(1);
    stage_get(upstream, 2, 1); /* its dial is the only one that may run */
    world_run(&stage.world, HWS_MS(100));
    assert_int_equal(stage.asks[1].code, HWS_ERR_RESET);
    assert_int_equal(stage.asks[1].error.phase, HWS_PHASE_HEADERS);
    assert_true(stage.asks[1].error.sent);
}

/* ---- streaming ---- */

static void start_streaming(ask_t *ask, hws_upstream_t *upstream)
{
    ask_init(ask);
    ask->options.stream = true;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
}

static void a_streamed_response_is_told_at_its_head(void **state)
{
    hws_upstream_t *upstream = default_upstream();
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].reply.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe";
    start_streaming(ask, upstream);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ask->done, 1);
    assert_int_equal(ask->body_size, 2);
    assert_int_equal(ask->end, HWS_AGAIN);
    server_say(server_latest(&stage.servers[0]), (reply_t){.bytes = "llo"});
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ask->end, HWS_END);
    assert_memory_equal(ask->body, "hello", 5);
    assert_int_equal(ask->readable, 1);
    assert_int_equal(world_stats(upstream).idle, 1);
    assert_int_equal(world_stats(upstream).ok, 1);
}

static void a_streamed_body_that_nobody_reads_stops_the_peer(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    ask_t *ask = &stage.asks[0];
    size_t size = 4 << 20;
    char *reply = calloc(1, size + 100);
    size_t head;

    (void)state;
    options.limits.buffer = 100000;
    upstream = world_http(&stage.world, "a", &options, 1);
    head = (size_t)sprintf(reply, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
    stage.servers[0].reply = (reply_t){.bytes = reply, .size = head + size};
    ask_init(ask);
    ask->options.stream = true;
    ask->is_unread = true;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_S(100));
    assert_int_equal(ask->done, 1);
    assert_in_range(hws_inbox_size(&ask->request->inbox), 100000, 100000 + 65536);
    ask->is_unread = false;
    ask_read(ask);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ask->end, HWS_END);
    assert_int_equal(ask->body_size, size);
    assert_int_equal(world_stats(upstream).idle, 1);
    free(reply);
}

static void a_streamed_body_may_be_abandoned(void **state)
{
    hws_upstream_t *upstream = default_upstream();
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].reply.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhe";
    start_streaming(ask, upstream);
    world_run(&stage.world, HWS_S(1));
    ask_dispose(ask);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_ABANDONED], 1);
    assert_int_equal(stage.servers[0].reset, 1);
    assert_int_equal(world_stats(upstream).failed, 1);
}

static void a_streamed_body_that_is_there_whole_may_be_left_unread(void **state)
{
    hws_upstream_t *upstream = default_upstream();
    ask_t *ask = &stage.asks[0];

    (void)state;
    ask_init(ask);
    ask->options.stream = true;
    ask->is_unread = true;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    ask_read(ask);
    assert_int_equal(ask->end, HWS_END);
    assert_memory_equal(ask->body, "hello", 5);
    ask_dispose(ask);
    assert_int_equal(world_stats(upstream).idle, 1);
}

static void a_streamed_body_that_breaks_off_gives_what_came_then_the_error(void **state)
{
    hws_upstream_t *upstream = default_upstream();
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].reply =
        (reply_t){.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhe", .then = FINISHES};
    ask_init(ask);
    ask->options.stream = true;
    ask->is_unread = ask->is_kept = true;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ask->code, HWS_OK);
    ask_read(ask);
    assert_int_equal(ask->body_size, 2);
    assert_int_equal(ask->end, HWS_ERR_EOF);
    assert_int_equal(ask->error.phase, HWS_PHASE_BODY);
    assert_false(ask->error.retryable);
    assert_non_null(hws_request_response(ask->request));
}

static void cancelling_a_streamed_body_ends_it(void **state)
{
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].reply.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhe";
    start_streaming(ask, default_upstream());
    world_run(&stage.world, HWS_S(1));
    ask_cancel(ask);
    assert_int_equal(ask->end, HWS_AGAIN);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ask->end, HWS_ERR_CANCELED);
    assert_int_equal(stage.world.open, 0);
}

static void the_deadline_of_a_streamed_request_ends_at_its_head(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    ask_t *ask = &stage.asks[0];

    (void)state;
    options.timeouts.request = HWS_S(1);
    stage.servers[0].reply.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nh";
    start_streaming(ask, world_http(&stage.world, "a", &options, 1));
    world_run(&stage.world, HWS_S(10));
    server_say(server_latest(&stage.servers[0]), (reply_t){.bytes = "i!"});
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(ask));
}

static void trailers_of_a_streamed_body_are_there_at_its_end(void **state)
{
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].reply.bytes =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    ask_init(ask);
    ask->options.stream = true;
    ask->is_kept = true;
    assert_int_equal(ask_start(ask, default_upstream()), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_null(hws_request_response(ask->request)->trailers);
    server_say(server_latest(&stage.servers[0]), (reply_t){.bytes = "0\r\nSum: 7\r\n\r\n"});
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ask->end, HWS_END);
    assert_non_null(hws_request_response(ask->request)->trailers);
}

/* ---- uploads ---- */

/* Accepts, and then takes nothing while let_it_sleep(). */
static void slow_peer(size_t window)
{
    stage.servers[0].listener->options.window = window;
    stage.servers[0].listener->options.latency_min = HWS_MS(1);
    stage.servers[0].listener->options.latency_max = HWS_MS(1);
}

static void let_it_sleep(bool on)
{
    world_run(&stage.world, 0);
    assert_non_null(server_latest(&stage.servers[0]));
    hws_sim_pause(server_latest(&stage.servers[0])->conn, on);
}

static void start_producing(ask_t *ask, hws_upstream_t *upstream, size_t size)
{
    ask_init(ask);
    ask->options.method = HWS_SLICE("POST");
    ask->options.has_producer = true;
    ask->produces = size;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
}

static void a_produced_body_goes_out_in_chunks(void **state)
{
    ask_t *ask = &stage.asks[0];

    (void)state;
    start_producing(ask, default_upstream(), 3);
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(ask));
    assert_int_equal(ask->writable, 1);
    assert_string_equal(stage.servers[0].last,
                        "POST / HTTP/1.1\r\nHost: 10.0.0.1:1\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "3\r\n");
}

static void a_produced_body_may_be_empty(void **state)
{
    ask_t *ask = &stage.asks[0];

    (void)state;
    start_producing(ask, default_upstream(), 0);
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(ask));
    assert_non_null(strstr(stage.servers[0].last, "\r\n\r\n0\r\n\r\n"));
}

/* All that is on its way to a peer that takes nothing: the world's window and our buffer. */
static void a_producer_is_stopped_by_a_peer_that_takes_nothing(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    ask_t *ask = &stage.asks[0];
    size_t window = 20000;

    (void)state;
    options.limits.buffer = 100000;
    slow_peer(window);
    start_producing(ask, world_http(&stage.world, "a", &options, 1), 1 << 20);
    let_it_sleep(true);
    world_run(&stage.world, HWS_S(20));
    assert_in_range(ask->produced, window, window + options.limits.buffer);
    let_it_sleep(false);
    world_run(&stage.world, HWS_S(5));
    assert_true(ask_is_ok(ask));
    assert_int_equal(ask->produced, 1 << 20);
}

static void a_large_body_in_one_piece_is_bounded_in_the_buffer_too(void **state)
{
    static char body[4 << 20];
    hws_upstream_options_t options = world_options(&stage.world);
    ask_t *ask = &stage.asks[0];
    hws_connection_t *connection;

    (void)state;
    options.limits.buffer = 100000;
    slow_peer(20000);
    ask_init(ask);
    ask->options.method = HWS_SLICE("PUT");
    ask->options.has_body = true;
    ask->options.body = (hws_slice_t){body, sizeof(body)};
    assert_int_equal(ask_start(ask, world_http(&stage.world, "a", &options, 1)), HWS_OK);
    let_it_sleep(true);
    world_run(&stage.world, HWS_S(20));
    connection = ask->request->call.stream.connection;
    assert_non_null(connection);
    assert_true(connection->outbox.rest.capacity <= 2 * (size_t)options.limits.buffer);
    assert_true(ask->request->body_sent - stage.servers[0].received <= 20000 + 100000);
    let_it_sleep(false);
    world_run(&stage.world, HWS_S(5));
    assert_true(ask_is_ok(ask));
    assert_true(stage.servers[0].received > sizeof(body));
}

/* Taken a window at a time, it lasts for longer than timeouts.read. */
static void an_upload_that_gets_on_is_not_silent(void **state)
{
    static char body[100000];
    hws_upstream_options_t options = world_options(&stage.world);
    ask_t *ask = &stage.asks[0];
    unsigned i;

    (void)state;
    options.limits.buffer = 10000;
    options.timeouts.read = HWS_S(1);
    slow_peer(10000);
    ask_init(ask);
    ask->options.method = HWS_SLICE("PUT");
    ask->options.has_body = true;
    ask->options.body = (hws_slice_t){body, sizeof(body)};
    assert_int_equal(ask_start(ask, world_http(&stage.world, "a", &options, 1)), HWS_OK);
    for (i = 0; i < 100 && ask->done == 0; i++) {
        let_it_sleep(true);
        world_run(&stage.world, HWS_MS(700));
        let_it_sleep(false);
        world_turn(&stage.world, false);
    }
    assert_true(i > 3);
    assert_true(ask_is_ok(ask));
}

static void an_answer_before_the_upload_is_over_ends_it(void **state)
{
    hws_upstream_t *upstream = default_upstream();
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].greeting = (reply_t){
        .bytes = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", .after = HWS_MS(5)};
    slow_peer(1000);
    start_producing(ask, upstream, 1 << 20);
    let_it_sleep(true);
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(ask));
    assert_int_equal(ask->status, 413);
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_LAST], 1);
}

/* It answers, closes, and resets what still comes: the answer must not be lost for that. */
static void an_answer_survives_the_reset_of_the_upload_behind_it(void **state)
{
    static char body[300000];
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].greeting =
        (reply_t){.bytes = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno",
                  .after = HWS_MS(20),
                  .then = CLOSES};
    stage.servers[0].listener->options.window = 1000;
    stage.servers[0].listener->options.latency_min = HWS_MS(5);
    stage.servers[0].listener->options.latency_max = HWS_MS(5);
    ask_init(ask);
    ask->options.method = HWS_SLICE("PUT");
    ask->options.has_body = true;
    ask->options.body = (hws_slice_t){body, sizeof(body)};
    assert_int_equal(ask_start(ask, default_upstream()), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(ask));
    assert_int_equal(ask->status, 413);
    assert_memory_equal(ask->body, "no", 2);
}

static void a_producer_may_give_up(void **state)
{
    hws_upstream_t *upstream = default_upstream();
    ask_t *ask = &stage.asks[0];

    (void)state;
    ask_init(ask);
    ask->options.method = HWS_SLICE("POST");
    ask->options.has_producer = true;
    ask->is_kept = true;
    ask->produces = 10;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    hws_request_abort(ask->request, "the file has gone");
    assert_int_equal(ask->done, 0);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ask->code, HWS_ERR_CANCELED);
    assert_string_equal(ask->error.detail, "the file has gone");
    assert_int_equal(ask->writable, 0);
}

static void sending_to_a_request_that_is_over_is_refused(void **state)
{
    ask_t *ask = &stage.asks[0];
    size_t taken = 1;

    (void)state;
    ask_init(ask);
    ask->is_kept = true;
    ask->options.has_producer = true;
    assert_int_equal(ask_start(ask, default_upstream()), HWS_OK);
    assert_int_equal(hws_request_send(ask->request, "x", 1, &taken), HWS_ERR_CLOSED);
    assert_int_equal(taken, 0);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ask->code, HWS_OK);
    assert_int_equal(hws_request_send(ask->request, "x", 1, &taken), HWS_ERR_CLOSED);
    assert_int_equal(hws_request_finish(ask->request), HWS_ERR_CLOSED);
    hws_request_cancel(ask->request);
    hws_request_abort(ask->request, NULL);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ask->done, 1);
    assert_non_null(hws_request_response(ask->request));
}

/* ---- what is refused at once ---- */

static void malformed_requests_are_refused_at_once(void **state)
{
    static const struct {
        const char *method;
        const char *target;
        int code;
    } cases[] = {
        {"", "/", HWS_ERR_INVALID},
        {"G T", "/", HWS_ERR_INVALID},
        {"GET", "", HWS_ERR_INVALID},
        {"GET", "x", HWS_ERR_INVALID},
        {"GET", "/a b", HWS_ERR_INVALID},
        {"GET", "/a\r\nX: y", HWS_ERR_INVALID},
        {"GET", "http://x/", HWS_ERR_INVALID},
        {"CONNECT", "/", HWS_ERR_UNSUPPORTED},
        {"GET", "**", HWS_ERR_INVALID},
    };
    hws_upstream_t *upstream = default_upstream();
    hws_request_t *request = NULL;
    hws_error_t why;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_request_options_t options;

        hws_request_options_init(&options);
        options.method = (hws_slice_t){cases[i].method, strlen(cases[i].method)};
        options.target = (hws_slice_t){cases[i].target, strlen(cases[i].target)};
        assert_int_equal(hws_request_start(upstream, &options, &request, &why), cases[i].code);
        assert_null(request);
        assert_true(why.detail[0] != '\0');
    }
    assert_int_equal(world_stats(upstream).requests, 0);
}

static void a_query_alone_gets_a_path(void **state)
{
    ask_t *ask = &stage.asks[0];

    (void)state;
    ask_init(ask);
    ask->options.target = HWS_SLICE("?a=b");
    assert_int_equal(ask_start(ask, default_upstream()), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(ask));
    assert_memory_equal(stage.servers[0].last, "GET /?a=b HTTP/1.1\r\n", 20);
}

static void a_host_of_the_users_own_stands_alone(void **state)
{
    ask_t *ask = &stage.asks[0];

    (void)state;
    ask_init(ask);
    ask->options.fields = HWS_SLICE("host: example.org\r\n");
    assert_int_equal(ask_start(ask, default_upstream()), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(ask));
    assert_string_equal(stage.servers[0].last, "GET / HTTP/1.1\r\nhost: example.org\r\n\r\n");
}

static void a_raw_upstream_takes_no_requests(void **state)
{
    hws_upstream_t *upstream = world_raw(&stage.world, "a", NULL, 1);

    (void)state;
    ask_init(&stage.asks[0]);
    assert_int_equal(ask_start(&stage.asks[0], upstream), HWS_ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(a_request_gets_its_response, http),
        STAGE_TEST(a_response_outlives_the_loops_next_turns, http),
        STAGE_TEST(a_response_may_come_byte_by_byte, http),
        STAGE_TEST(a_large_body_comes_whole, http),
        STAGE_TEST(a_body_announced_beyond_the_limit_is_refused_at_its_head, http),
        STAGE_TEST(a_length_that_announces_no_body_is_not_held_against_the_limit, http),
        STAGE_TEST(a_body_beyond_the_limit_is_refused, http),
        STAGE_TEST(a_head_larger_than_its_own_store_is_copied_whole, http),
        STAGE_TEST(long_targets_and_fields_are_sent_whole, http),
        STAGE_TEST(head_has_no_body_whatever_its_length_says, http),
        STAGE_TEST(a_get_on_a_connection_that_proves_dead_goes_again_on_a_fresh_one, http),
        STAGE_TEST(a_replay_takes_no_other_connection_that_has_served, http),
        STAGE_TEST(a_replay_happens_once, http),
        STAGE_TEST(a_fresh_connection_that_dies_is_no_reason_for_a_replay, http),
        STAGE_TEST(a_post_is_not_sent_twice, http),
        STAGE_TEST(a_put_goes_again_with_its_body, http),
        STAGE_TEST(a_large_put_that_was_half_sent_goes_again_whole, http),
        STAGE_TEST(a_user_may_say_what_may_be_sent_twice, http),
        STAGE_TEST(what_a_producer_gave_is_not_sent_twice, http),
        STAGE_TEST(after_one_byte_of_an_answer_nothing_is_sent_again, http),
        STAGE_TEST(a_replay_that_finds_no_place_in_the_queue_keeps_its_error, http),
        STAGE_TEST(a_streamed_response_is_told_at_its_head, http),
        STAGE_TEST(a_streamed_body_that_nobody_reads_stops_the_peer, http),
        STAGE_TEST(a_streamed_body_may_be_abandoned, http),
        STAGE_TEST(a_streamed_body_that_is_there_whole_may_be_left_unread, http),
        STAGE_TEST(a_streamed_body_that_breaks_off_gives_what_came_then_the_error, http),
        STAGE_TEST(cancelling_a_streamed_body_ends_it, http),
        STAGE_TEST(the_deadline_of_a_streamed_request_ends_at_its_head, http),
        STAGE_TEST(trailers_of_a_streamed_body_are_there_at_its_end, http),
        STAGE_TEST(a_produced_body_goes_out_in_chunks, http),
        STAGE_TEST(a_produced_body_may_be_empty, http),
        STAGE_TEST(a_producer_is_stopped_by_a_peer_that_takes_nothing, http),
        STAGE_TEST(a_large_body_in_one_piece_is_bounded_in_the_buffer_too, http),
        STAGE_TEST(an_upload_that_gets_on_is_not_silent, http),
        STAGE_TEST(an_answer_before_the_upload_is_over_ends_it, http),
        STAGE_TEST(an_answer_survives_the_reset_of_the_upload_behind_it, http),
        STAGE_TEST(a_producer_may_give_up, http),
        STAGE_TEST(sending_to_a_request_that_is_over_is_refused, http),
        STAGE_TEST(malformed_requests_are_refused_at_once, http),
        STAGE_TEST(a_query_alone_gets_a_path, http),
        STAGE_TEST(a_host_of_the_users_own_stands_alone, http),
        STAGE_TEST(a_raw_upstream_takes_no_requests, http),
    };

    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
