/* Streams that go both ways: their states, ends, deadlines and names. */
#include "request.h"
#include "support/h2_far.h"
#include "support/stage.h"

#include <stdio.h>
#include <string.h>

#define PORT 11

static h2_far_t far_;
static h2_far_t *const far = &far_;

/* A stream under test, and what was told of it. */
typedef struct {
    hws_request_t *request;
    unsigned done;
    unsigned readable;
    unsigned writable;
    hws_stream_state_t at_first; /* its state when on_writable came first */
    unsigned been;               /* states that were seen, as bits */
    size_t received;
    size_t sent;
    int end; /* what reading ended with, HWS_AGAIN before */
    bool is_read;
} flow_t;

static flow_t flow;

static int begin(void **state)
{
    (void)state;
    stage_begin(1, 0, false);
    h2_far_init(far, &stage.world, PORT);
    far->is_early = true;
    far->reply.is_silent = true;
    flow = (flow_t){.end = HWS_AGAIN};
    return 0;
}

static int end(void **state)
{
    (void)state;
    hws_request_destroy(flow.request);
    flow.request = NULL;
    if (!stage.is_over)
        stage_finish();
    h2_far_dispose(far);
    return 0;
}

static void run(hws_time_t span)
{
    world_run_turns(&stage.world, span);
}

static hws_upstream_t *upstream_with(const hws_upstream_options_t *options)
{
    return world_h2c(&stage.world, "a", options, PORT, 1);
}

static hws_stream_state_t state_of(const flow_t *one)
{
    return hws_request_stream_state(one->request);
}

static void read_on(flow_t *one)
{
    hws_slice_t chunk;
    int rc;

    while ((rc = hws_request_read(one->request, &chunk)) == HWS_OK)
        one->received += chunk.size;
    one->end = rc;
}

static void on_done(hws_request_t *request, void *user)
{
    flow_t *one = user;

    (void)request;
    assert_int_equal(++one->done, 1);
    if (one->is_read)
        read_on(one);
}

static void on_readable(hws_request_t *request, void *user)
{
    flow_t *one = user;

    (void)request;
    one->readable++;
    read_on(one);
}

static void on_writable(hws_request_t *request, void *user)
{
    flow_t *one = user;

    if (one->writable++ == 0)
        one->at_first = hws_request_stream_state(request);
}

static hws_request_options_t options_of(flow_t *one)
{
    hws_request_options_t options;

    hws_request_options_init(&options);
    options.method = HWS_SLICE("POST");
    options.duplex = true;
    options.on_done = on_done;
    options.on_readable = on_readable;
    options.on_writable = on_writable;
    options.user = one;
    return options;
}

static void start(flow_t *one, hws_upstream_t *upstream)
{
    hws_request_options_t options = options_of(one);

    assert_int_equal(hws_request_start(upstream, &options, &one->request, NULL), HWS_OK);
}

/* One more stream, in place of the last one. */
static void start_anew(hws_upstream_t *upstream)
{
    hws_request_destroy(flow.request);
    flow = (flow_t){.end = HWS_AGAIN};
    start(&flow, upstream);
    run(HWS_MS(10));
}

static int send_some(flow_t *one, size_t size)
{
    static const char bytes[100000];
    size_t taken;
    int rc = hws_request_send(one->request, bytes, size, &taken);

    one->sent += taken;
    return rc;
}

static void answer(h2_reply_t reply)
{
    h2_far_answer_all(h2_far_latest(far), reply);
    run(HWS_MS(10));
}

/* ---- states ---- */

static void an_opened_stream_is_active_has_a_name_and_may_be_written(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL);
    flow_t other = {.end = HWS_AGAIN};

    (void)state;
    start(&flow, upstream);
    assert_int_equal(state_of(&flow), HWS_STREAM_OPENING);
    assert_true(hws_request_stream_id(flow.request) == 0);
    run(HWS_MS(10));
    assert_int_equal(flow.writable, 1);
    assert_int_equal(flow.at_first, HWS_STREAM_ACTIVE);
    assert_int_equal(flow.done, 0);
    start(&other, upstream);
    run(HWS_MS(10));
    assert_true(hws_request_stream_id(flow.request) > 0);
    assert_true(hws_request_stream_id(flow.request) != hws_request_stream_id(other.request));
    assert_ptr_equal(
        hws_request_by_stream_id(stage.world.manager, hws_request_stream_id(other.request)),
        other.request);
    assert_null(hws_request_by_stream_id(stage.world.manager, 77));
    hws_request_destroy(other.request);
    assert_null(hws_request_by_stream_id(stage.world.manager, 2));
    assert_ptr_equal(hws_request_by_stream_id(stage.world.manager, 1), flow.request);
}

enum { LOCAL_END, REMOTE_END, LOCAL_RESET, REMOTE_RESET, LOSS, ACTIONS };

/* RST_STREAM past the server's nghttp2, which would not send it behind an end of its own. */
static void say_reset(uint32_t id)
{
    const uint8_t frame[] = {0,
                             0,
                             4,
                             3,
                             0,
                             0,
                             (uint8_t)(id >> 16),
                             (uint8_t)(id >> 8),
                             (uint8_t)id,
                             0,
                             0,
                             0,
                             NGHTTP2_CANCEL};

    if (h2_far_latest(far) != NULL)
        h2_far_say(h2_far_latest(far), frame, sizeof(frame));
}

static void act(unsigned action, uint32_t id)
{
    switch (action) {
    case LOCAL_END:
        (void)hws_request_finish(flow.request);
        break;
    case REMOTE_END:
        if (h2_far_latest(far) != NULL)
            h2_far_answer_all(h2_far_latest(far), (h2_reply_t){.body = 5});
        break;
    case LOCAL_RESET:
        hws_request_reset(flow.request, NGHTTP2_INTERNAL_ERROR);
        break;
    case REMOTE_RESET:
        say_reset(id);
        break;
    case LOSS:
        h2_far_end_all(far, HWS_SIM_RESET);
        break;
    default:
        fail();
    }
}

/* What a state ought to be, said in other words than the core says it. */
static hws_stream_state_t model(const unsigned *actions, unsigned count)
{
    bool local = false;
    bool remote = false;
    unsigned i;

    for (i = 0; i < count; i++) {
        local |= actions[i] == LOCAL_END;
        remote |= actions[i] == REMOTE_END;
        if ((local && remote) || actions[i] == LOCAL_RESET)
            return HWS_STREAM_CLOSED;
        if (actions[i] == REMOTE_RESET || actions[i] == LOSS)
            return HWS_STREAM_ERROR;
    }
    if (local)
        return HWS_STREAM_HALF_CLOSED_LOCAL;
    return remote ? HWS_STREAM_HALF_CLOSED_REMOTE : HWS_STREAM_ACTIVE;
}

/* The `number`-th order of the actions. */
static void put_in_order(unsigned number, unsigned *actions)
{
    unsigned i;

    for (i = 0; i < ACTIONS; i++) {
        unsigned at = number % (i + 1);
        unsigned j;

        number /= i + 1;
        for (j = i; j > at; j--)
            actions[j] = actions[j - 1];
        actions[at] = i;
    }
}

static uint32_t wire_id(void)
{
    return (uint32_t)flow.request->call.stream.id;
}

static void ends_resets_and_losses_in_every_order_lead_where_they_should(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL);
    unsigned number;

    (void)state;
    far->is_tolerated = true;
    for (number = 0; number < 120; number++) {
        unsigned actions[ACTIONS];
        unsigned been = 1U << HWS_STREAM_ACTIVE;
        hws_stream_state_t last = HWS_STREAM_ACTIVE;
        uint32_t id;
        unsigned i;

        put_in_order(number, actions);
        start_anew(upstream);
        assert_int_equal(state_of(&flow), HWS_STREAM_ACTIVE);
        id = wire_id();
        for (i = 0; i < ACTIONS; i++) {
            act(actions[i], id);
            run(HWS_MS(10));
            assert_int_equal(state_of(&flow), model(actions, i + 1));
            if (state_of(&flow) != last)
                assert_false(been & 1U << state_of(&flow));
            last = state_of(&flow);
            been |= 1U << last;
        }
        assert_int_equal(world_stats(upstream).busy, 0);
    }
}

/* The same, but the loop does not run in between: which one is first the wire decides. */
static void ends_resets_and_losses_at_once_end_it_once(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL);
    unsigned number;

    (void)state;
    far->is_tolerated = true;
    for (number = 0; number < 120; number++) {
        unsigned actions[ACTIONS];
        uint32_t id;
        unsigned i;

        put_in_order(number, actions);
        start_anew(upstream);
        id = wire_id();
        for (i = 0; i < ACTIONS; i++)
            act(actions[i], id);
        run(HWS_MS(10));
        assert_true(state_of(&flow) == HWS_STREAM_CLOSED || state_of(&flow) == HWS_STREAM_ERROR);
        assert_int_equal(flow.done, 1);
        assert_int_equal(world_stats(upstream).busy, 0);
    }
}

/* ---- both ways ---- */

static void sending_goes_on_after_the_response(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL);

    (void)state;
    start_anew(upstream);
    flow.is_read = true;
    answer((h2_reply_t){.body = 5, .trailer = {"grpc-status", "0"}});
    assert_int_equal(flow.end, HWS_END);
    assert_int_equal(flow.received, 5);
    assert_non_null(hws_request_response(flow.request)->trailers);
    assert_int_equal(state_of(&flow), HWS_STREAM_HALF_CLOSED_REMOTE);
    assert_int_equal(send_some(&flow, 1000), HWS_OK);
    run(HWS_MS(10));
    assert_true(far->received == 1000);
    assert_int_equal(world_stats(upstream).busy, 1);
    assert_int_equal(hws_request_finish(flow.request), HWS_OK);
    assert_int_equal(state_of(&flow), HWS_STREAM_HALF_CLOSED_REMOTE);
    run(HWS_MS(10));
    assert_int_equal(state_of(&flow), HWS_STREAM_CLOSED);
    assert_int_equal(far->resets, 0);
    assert_int_equal(world_stats(upstream).idle, 1);
    assert_int_equal(world_stats(upstream).ok, 1);
}

static flow_t late;

static void read_late(hws_request_t *request, void *user)
{
    on_done(request, user);
    assert_int_equal(late.done, 0);
    read_on(&late);
    assert_int_equal(late.end, HWS_AGAIN);
    assert_int_equal(late.received, 0);
}

/* Also where somebody asks for bytes that have come with it. */
static void the_head_is_told_before_anything_else(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL);
    hws_request_options_t options = options_of(&flow);

    (void)state;
    late = (flow_t){.end = HWS_AGAIN};
    options.on_done = read_late;
    assert_int_equal(hws_request_start(upstream, &options, &flow.request, NULL), HWS_OK);
    start(&late, upstream);
    run(HWS_MS(10));
    answer((h2_reply_t){.body = 5});
    assert_int_equal(flow.done, 1);
    assert_int_equal(late.done, 1);
    read_on(&late);
    assert_int_equal(late.received, 5);
    hws_request_destroy(late.request);
}

typedef struct {
    uint32_t window;    /* of the stream */
    bool goes_away;     /* the peer, which wants no further stream */
    bool is_late;       /* the response, which comes when all has been given */
    uint32_t idle_then; /* connections */
} leftover_t;

/* What was given is sent, to the last byte, though the peer is slow and has ended its side. */
static void play_leftover(const leftover_t *row)
{
    hws_upstream_t *upstream;

    far->window = row->window;
    far->reply.is_silent = true;
    far->listener->options.latency_min = far->listener->options.latency_max = HWS_MS(10);
    far->listener->options.window = 5000;
    upstream = world_h2c(&stage.world, "a", NULL, PORT, 1);
    start(&flow, upstream);
    run(HWS_S(1));
    if (!row->is_late)
        h2_far_answer_all(h2_far_latest(far), (h2_reply_t){.body = 5});
    run(HWS_S(1));
    while (flow.sent < 1000000) {
        if (send_some(&flow, 70000) != HWS_OK)
            run(HWS_MS(20));
    }
    if (row->goes_away)
        h2_far_go_away(h2_far_latest(far), 1, NGHTTP2_NO_ERROR);
    assert_int_equal(hws_request_finish(flow.request), HWS_OK);
    if (row->is_late)
        h2_far_answer_all(h2_far_latest(far), (h2_reply_t){.body = 5});
    run(HWS_MS(25));
    assert_true(far->received < flow.sent);
    assert_int_equal(state_of(&flow),
                     row->is_late ? HWS_STREAM_HALF_CLOSED_LOCAL : HWS_STREAM_HALF_CLOSED_REMOTE);
    run(HWS_S(10));
    assert_int_equal(state_of(&flow), HWS_STREAM_CLOSED);
    assert_true(far->received == flow.sent);
    assert_int_equal(world_stats(upstream).idle, row->idle_then);
    assert_int_equal(far->resets, 0);
}

static void all_is_sent_behind_the_response(void **state)
{
    static const leftover_t rows[] = {
        {30000, false, false, 1},  {30000, true, false, 0},    {30000, false, true, 1},
        {30000, true, true, 0},    {1000000, false, false, 1}, {1000000, true, false, 0},
        {1000000, false, true, 1}, {1000000, true, true, 0},
    };
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (i > 0)
            (void)begin(state);
        play_leftover(&rows[i]);
        if (i + 1 < sizeof(rows) / sizeof(rows[0]))
            (void)end(state);
    }
}

static void a_peer_that_wants_no_more_ends_it_well(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL);

    (void)state;
    start_anew(upstream);
    answer((h2_reply_t){.body = 5, .has_reset = true, .reset = NGHTTP2_NO_ERROR});
    read_on(&flow);
    assert_int_equal(flow.received, 5);
    assert_int_equal(flow.end, HWS_END);
    assert_int_equal(state_of(&flow), HWS_STREAM_CLOSED);
    assert_int_equal(send_some(&flow, 10), HWS_ERR_PIPE);
    assert_int_equal(hws_request_finish(flow.request), HWS_OK);
    assert_null(hws_request_error(flow.request));
}

/* ---- resets ---- */

static void the_peer_is_told_why_it_is_reset(void **state)
{
    static const uint32_t codes[] = {NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, 4711};
    hws_upstream_t *upstream = upstream_with(NULL);
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++) {
        start_anew(upstream);
        hws_request_reset(flow.request, codes[i]);
        run(HWS_MS(10));
        assert_int_equal(far->resets, i + 1);
        assert_int_equal(far->last_reset, codes[i]);
        assert_int_equal(state_of(&flow), HWS_STREAM_CLOSED);
        assert_int_equal(hws_request_error(flow.request)->code, HWS_ERR_CANCELED);
    }
    assert_int_equal(far->visited, 1);
}

static void a_reset_of_the_peers_is_told_with_its_code(void **state)
{
    (void)state;
    start_anew(upstream_with(NULL));
    answer((h2_reply_t){.is_silent = true, .has_reset = true, .reset = NGHTTP2_ENHANCE_YOUR_CALM});
    assert_int_equal(state_of(&flow), HWS_STREAM_ERROR);
    assert_int_equal(hws_request_error(flow.request)->code, HWS_ERR_RST_CALM);
    assert_false(hws_request_error(flow.request)->retryable);
    assert_int_equal(send_some(&flow, 10), HWS_ERR_RST_CALM);
}

static void what_is_open_never_goes_twice(void **state)
{
    (void)state;
    start_anew(upstream_with(NULL));
    answer((h2_reply_t){.is_silent = true, .has_reset = true, .reset = NGHTTP2_REFUSED_STREAM});
    run(HWS_S(1));
    assert_int_equal(far->heads, 1);
    assert_int_equal(state_of(&flow), HWS_STREAM_ERROR);
    assert_int_equal(hws_request_error(flow.request)->code, HWS_ERR_REFUSED_STREAM);
    assert_true(hws_request_error(flow.request)->retryable); /* by its user */
}

/* ---- time ---- */

static hws_upstream_options_t impatient(void)
{
    hws_upstream_options_t options = world_options(&stage.world);

    options.timeouts.request = HWS_S(2);
    options.timeouts.attempt = HWS_S(3);
    options.timeouts.read = HWS_S(5);
    return options;
}

static void the_request_timeout_bounds_opening(void **state)
{
    hws_upstream_options_t options = impatient();
    hws_upstream_t *upstream;
    flow_t second = {.end = HWS_AGAIN};

    (void)state;
    options.limits.streams = options.limits.per_peer = 1;
    upstream = upstream_with(&options);
    start(&flow, upstream);
    start(&second, upstream);
    run(HWS_MS(2100));
    assert_int_equal(state_of(&flow), HWS_STREAM_ACTIVE);
    assert_int_equal(state_of(&second), HWS_STREAM_ERROR);
    assert_int_equal(hws_request_error(second.request)->code, HWS_ERR_TIMEOUT);
    assert_int_equal(hws_request_error(second.request)->phase, HWS_PHASE_QUEUE);
    hws_request_destroy(second.request);
    run(HWS_S(100)); /* nobody reads: nobody waits */
    assert_int_equal(state_of(&flow), HWS_STREAM_ACTIVE);
}

static void a_raised_limit_opens_those_who_wait(void **state)
{
    hws_upstream_options_t options = impatient();
    hws_limits_t limits;
    hws_upstream_t *upstream;
    flow_t second = {.end = HWS_AGAIN};
    flow_t third = {.end = HWS_AGAIN};

    (void)state;
    options.limits.streams = options.limits.per_peer = 1;
    upstream = upstream_with(&options);
    start(&flow, upstream);
    start(&second, upstream);
    start(&third, upstream);
    run(HWS_MS(10));
    assert_int_equal(state_of(&second), HWS_STREAM_OPENING);
    limits = options.limits;
    limits.streams = 2;
    hws_upstream_set_limits(upstream, &limits, world_now(&stage.world));
    run(HWS_MS(10));
    assert_int_equal(state_of(&second), HWS_STREAM_ACTIVE);
    assert_int_equal(state_of(&third), HWS_STREAM_OPENING);
    hws_request_destroy(second.request);
    hws_request_destroy(third.request);
    assert_int_equal(far->visited, 1);
}

static void a_given_timeout_bounds_all_of_it(void **state)
{
    hws_upstream_options_t options = impatient();
    hws_request_options_t asked = options_of(&flow);

    (void)state;
    asked.timeout = HWS_S(7);
    assert_int_equal(hws_request_start(upstream_with(&options), &asked, &flow.request, NULL),
                     HWS_OK);
    run(HWS_S(1));
    answer((h2_reply_t){.body = 5, .is_endless = true});
    assert_int_equal(flow.done, 1);
    run(HWS_MS(5900));
    assert_int_equal(state_of(&flow), HWS_STREAM_ACTIVE);
    run(HWS_MS(200));
    assert_int_equal(state_of(&flow), HWS_STREAM_ERROR);
    assert_int_equal(hws_request_error(flow.request)->code, HWS_ERR_TIMEOUT);
    run(HWS_MS(10));
    assert_int_equal(far->last_reset, NGHTTP2_CANCEL);
}

static void a_reader_waits_for_the_read_timeout_and_nobody_else(void **state)
{
    hws_upstream_options_t options = impatient();

    (void)state;
    start_anew(upstream_with(&options));
    run(HWS_S(20));
    read_on(&flow); /* waits for the head */
    assert_int_equal(flow.end, HWS_AGAIN);
    run(HWS_S(4));
    answer((h2_reply_t){.body = 5, .is_endless = true});
    assert_int_equal(flow.done, 1);
    run(HWS_S(20));
    assert_int_equal(state_of(&flow), HWS_STREAM_ACTIVE);
    read_on(&flow);
    assert_int_equal(flow.received, 5);
    run(HWS_MS(4900));
    assert_int_equal(state_of(&flow), HWS_STREAM_ACTIVE);
    run(HWS_MS(200));
    assert_int_equal(state_of(&flow), HWS_STREAM_ERROR);
    assert_int_equal(flow.end, HWS_ERR_TIMEOUT);
}

static void a_sender_waits_for_the_read_timeout_and_nobody_else(void **state)
{
    hws_upstream_options_t options = impatient();

    (void)state;
    start_anew(upstream_with(&options));
    hws_sim_pause(h2_far_latest(far)->conn, true);
    while (send_some(&flow, 70000) == HWS_OK)
        run(HWS_MS(10));
    hws_request_cancel_send(flow.request);
    run(HWS_S(23)); /* nobody waits */
    assert_int_equal(state_of(&flow), HWS_STREAM_ACTIVE);
    assert_int_equal(send_some(&flow, 70000), HWS_AGAIN);
    run(HWS_MS(4900));
    assert_int_equal(state_of(&flow), HWS_STREAM_ACTIVE);
    run(HWS_MS(200));
    assert_int_equal(state_of(&flow), HWS_STREAM_ERROR);
    assert_int_equal(send_some(&flow, 10), HWS_ERR_TIMEOUT);
}

/* ---- where there are none ---- */

static void http1_is_told_to_have_no_streams(void **state)
{
    hws_request_options_t options = options_of(&flow);
    hws_error_t why;

    (void)state;
    assert_int_equal(
        hws_request_start(world_http(&stage.world, "b", NULL, 1), &options, &flow.request, &why),
        HWS_ERR_UNSUPPORTED);
    assert_string_equal(why.detail, "upstream b speaks HTTP/1, which has no streams");
}

static void where_alpn_agrees_on_http1_it_fails(void **state)
{
    static const tls_far_options_t tls = {.cert = "good"};
    hws_tls_options_t trust = {
        .ca = HWS_SLICE(TEST_CERTIFICATES "/root.pem"), .server_name = "localhost", .verify = true};
    hws_peer_options_t peer = {.url = HWS_SLICE("https://10.0.0.1:11")};
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    far->tls = &tls;
    options.peers = &peer;
    options.peer_count = 1;
    options.tls = &trust;
    upstream = upstream_with(&options);
    start_anew(upstream);
    assert_int_equal(state_of(&flow), HWS_STREAM_ERROR);
    assert_int_equal(hws_request_error(flow.request)->code, HWS_ERR_UNSUPPORTED);
    assert_false(hws_request_error(flow.request)->sent);
    assert_int_equal(flow.done, 1);
    assert_int_equal(world_stats(upstream).idle, 1);
    assert_int_equal(far->visited, 1);
}

static void a_priority_beyond_the_range_is_refused(void **state)
{
    hws_request_options_t options = options_of(&flow);
    hws_error_t why;

    (void)state;
    options.priority = 8;
    assert_int_equal(hws_request_start(upstream_with(NULL), &options, &flow.request, &why),
                     HWS_ERR_INVALID);
    assert_string_equal(why.detail, "priority: from 0 to 7, not 8");
}

static void the_peer_is_told_the_priority(void **state)
{
    hws_request_options_t options = options_of(&flow);

    (void)state;
    options.priority = 6;
    assert_int_equal(hws_request_start(upstream_with(NULL), &options, &flow.request, NULL), HWS_OK);
    run(HWS_MS(10));
    assert_string_equal(far->priority, "u=6");
    assert_string_equal(far->te, "trailers"); /* without which gRPC answers nothing */
}

static void an_upstream_that_closes_closes_its_streams(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL);

    (void)state;
    start_anew(upstream);
    hws_upstream_close(upstream);
    run(HWS_MS(10));
    assert_int_equal(state_of(&flow), HWS_STREAM_CLOSED);
    assert_int_equal(hws_request_error(flow.request)->code, HWS_ERR_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        TEST(an_opened_stream_is_active_has_a_name_and_may_be_written),
        TEST(ends_resets_and_losses_in_every_order_lead_where_they_should),
        TEST(ends_resets_and_losses_at_once_end_it_once),
        TEST(sending_goes_on_after_the_response),
        TEST(the_head_is_told_before_anything_else),
        TEST(all_is_sent_behind_the_response),
        TEST(a_peer_that_wants_no_more_ends_it_well),
        TEST(the_peer_is_told_why_it_is_reset),
        TEST(a_reset_of_the_peers_is_told_with_its_code),
        TEST(what_is_open_never_goes_twice),
        TEST(the_request_timeout_bounds_opening),
        TEST(a_raised_limit_opens_those_who_wait),
        TEST(a_given_timeout_bounds_all_of_it),
        TEST(a_reader_waits_for_the_read_timeout_and_nobody_else),
        TEST(a_sender_waits_for_the_read_timeout_and_nobody_else),
        TEST(http1_is_told_to_have_no_streams),
        TEST(where_alpn_agrees_on_http1_it_fails),
        TEST(a_priority_beyond_the_range_is_refused),
        TEST(the_peer_is_told_the_priority),
        TEST(an_upstream_that_closes_closes_its_streams),
    };

    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
