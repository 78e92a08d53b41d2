/* Requests and leases that go again: after what, when, how often, and how they end. */
#include "support/stage.h"

#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLY_503 "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
#define REPLY_404 "HTTP/1.1 404 None\r\nContent-Length: 4\r\n\r\nnone"
#define HEAD_503 "HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nbusy"

/* ---- a table ---- */

/* What becomes of the first attempt; those that follow are served, if `lasts` is not set. */
typedef enum {
    DIAL_REFUSED,
    DIAL_HANGS,
    NO_ANSWER,  /* a reset before any byte of it */
    HALF_HEAD,  /* ... in the middle of its head */
    HALF_BODY,  /* ... of its body */
    SILENCE,    /* read time-out */
    NONSENSE,   /* no HTTP */
    STATUS_503, /* whole */
    STATUS_404
} fate_t;

typedef enum { GET, POST, POST_WITH_KEY, POST_SAID_SAFE, PUT } method_t;

typedef struct {
    const char *name;
    fate_t fate;
    method_t method;
    bool lasts;        /* every attempt fares like that */
    bool is_off;       /* retry = false */
    const char *on;    /* instead of the defaults; "": nothing */
    uint32_t attempts; /* 0: 3 */
    /* What is to come of it. */
    int code;
    uint16_t status;
    uint32_t made;     /* attempts */
    uint32_t requests; /* that the servers saw whole */
    bool sent;
    bool retryable;
    hws_retry_reason_t verdict; /* of the last attempt that has one */
} row_t;

static const row_t rows[] = {
    {"a refused dial", DIAL_REFUSED, GET, .status = 200, .made = 2, .requests = 1},
    {"a refused dial of a post", DIAL_REFUSED, POST, .status = 200, .made = 2, .requests = 1},
    {"a refused dial, no retries", DIAL_REFUSED, GET, .is_off = true, .code = HWS_ERR_REFUSED,
     .made = 1, .retryable = true, .verdict = HWS_RETRY_OFF},
    {"a refused dial, not on", DIAL_REFUSED, GET, .on = "reset", .code = HWS_ERR_REFUSED, .made = 1,
     .retryable = true, .verdict = HWS_RETRY_NOT_ON},
    {"refused dials", DIAL_REFUSED, GET, .lasts = true, .code = HWS_ERR_REFUSED, .made = 3,
     .retryable = true, .verdict = HWS_RETRY_ATTEMPTS},
    {"refused dials, once", DIAL_REFUSED, GET, .lasts = true, .attempts = 1,
     .code = HWS_ERR_REFUSED, .made = 1, .retryable = true, .verdict = HWS_RETRY_ATTEMPTS},
    {"refused dials, ten times", DIAL_REFUSED, GET, .lasts = true, .attempts = 10,
     .code = HWS_ERR_REFUSED, .made = 10, .retryable = true, .verdict = HWS_RETRY_ATTEMPTS},
    {"a dial that hangs", DIAL_HANGS, POST, .status = 200, .made = 2, .requests = 1},
    {"a reset", NO_ANSWER, GET, .status = 200, .made = 2, .requests = 2},
    {"a reset of a put", NO_ANSWER, PUT, .status = 200, .made = 2, .requests = 2},
    {"a reset of a post", NO_ANSWER, POST, .code = HWS_ERR_RESET, .made = 1, .requests = 1,
     .sent = true, .verdict = HWS_RETRY_UNSAFE},
    {"a reset of a post with a key", NO_ANSWER, POST_WITH_KEY, .status = 200, .made = 2,
     .requests = 2},
    {"a reset of a post said to be safe", NO_ANSWER, POST_SAID_SAFE, .status = 200, .made = 2,
     .requests = 2},
    {"resets", NO_ANSWER, GET, .lasts = true, .code = HWS_ERR_RESET, .made = 3, .requests = 3,
     .sent = true, .retryable = true, .verdict = HWS_RETRY_ATTEMPTS},
    {"half a head", HALF_HEAD, GET, .status = 200, .made = 2, .requests = 2},
    {"half a head to a post", HALF_HEAD, POST, .code = HWS_ERR_RESET, .made = 1, .requests = 1,
     .sent = true, .verdict = HWS_RETRY_UNSAFE},
    {"half a body", HALF_BODY, GET, .status = 200, .made = 2, .requests = 2},
    {"half a body to a post", HALF_BODY, POST, .code = HWS_ERR_RESET, .made = 1, .requests = 1,
     .sent = true, .verdict = HWS_RETRY_UNSAFE},
    {"silence", SILENCE, GET, .code = HWS_ERR_TIMEOUT, .made = 1, .requests = 1, .sent = true,
     .retryable = true, .verdict = HWS_RETRY_NOT_ON},
    {"silence, on", SILENCE, GET, .on = "timeout", .status = 200, .made = 2, .requests = 2},
    {"silence to a post, on", SILENCE, POST, .on = "timeout", .code = HWS_ERR_TIMEOUT, .made = 1,
     .requests = 1, .sent = true, .verdict = HWS_RETRY_UNSAFE},
    {"nonsense", NONSENSE, GET, .code = HWS_ERR_STATUS_LINE, .made = 1, .requests = 1, .sent = true,
     .verdict = HWS_RETRY_UNSAFE},
    {"a status", STATUS_503, GET, .status = 200, .made = 2, .requests = 2},
    {"a status to a post", STATUS_503, POST, .status = 503, .made = 1, .requests = 1},
    {"a status to a post with a key", STATUS_503, POST_WITH_KEY, .status = 200, .made = 2,
     .requests = 2},
    {"statuses", STATUS_503, GET, .lasts = true, .status = 503, .made = 3, .requests = 3,
     .verdict = HWS_RETRY_ATTEMPTS},
    {"a status, no retries", STATUS_503, GET, .is_off = true, .status = 503, .made = 1,
     .requests = 1, .verdict = HWS_RETRY_OFF},
    {"a status, not on", STATUS_503, GET, .on = "", .status = 503, .made = 1, .requests = 1,
     .verdict = HWS_RETRY_NOT_ON},
    {"another status", STATUS_404, GET, .status = 404, .made = 1, .requests = 1,
     .verdict = HWS_RETRY_NOT_ON},
};

static const row_t *row; /* the one that is tried */

static uint32_t requests(void)
{
    uint32_t sum = 0;
    unsigned i;

    for (i = 0; i < STAGE_SERVERS; i++)
        sum += stage.servers[i].requests;
    return sum;
}

static reply_t fare(server_t *server, visit_t *visit, hws_slice_t request)
{
    static const reply_t replies[] = {
        [NO_ANSWER] = {.then = RESETS},
        [HALF_HEAD] = {.bytes = "HTTP/1.1 200 OK\r\nConte", .then = RESETS},
        [HALF_BODY] = {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", .then = RESETS},
        [SILENCE] = {.is_silent = true},
        [NONSENSE] = {.bytes = "nonsense\r\n\r\n"},
        [STATUS_503] = {.bytes = REPLY_503},
        [STATUS_404] = {.bytes = REPLY_404},
    };

    (void)server;
    (void)visit;
    (void)request;
    if (row->fate <= DIAL_HANGS || (!row->lasts && requests() > 1))
        return (reply_t){.bytes = REPLY_OK};
    return replies[row->fate];
}

static void choose_method(ask_t *ask, method_t method)
{
    if (method == GET)
        return;
    ask->options.method = method == PUT ? HWS_SLICE("PUT") : HWS_SLICE("POST");
    ask->options.has_body = true;
    ask->options.body = HWS_SLICE("body");
    if (method == POST_WITH_KEY)
        ask->options.fields = HWS_SLICE("Idempotency-Key: 7\r\n");
    if (method == POST_SAID_SAFE)
        ask->options.idempotent = HWS_IDEMPOTENT_YES;
}

static void try_row(bool is_streaming)
{
    hws_upstream_options_t options =
        world_retrying(&stage.world, row->attempts ? row->attempts : 3);
    ask_t *ask = &stage.asks[0];
    hws_upstream_t *upstream;
    hws_stats_t stats;
    unsigned i;

    options.retry.is_disabled = row->is_off;
    options.timeouts.read = HWS_MS(100);
    options.timeouts.connect = HWS_MS(100);
    if (row->on != NULL)
        options.retry.on = (hws_retry_on_t){0};
    if (row->on != NULL && row->on[0] != '\0')
        assert_int_equal(
            hws_retry_on_add(&options.retry.on, (hws_slice_t){row->on, strlen(row->on)}, NULL),
            HWS_OK);
    for (i = 0; i < STAGE_SERVERS; i++) {
        stage.servers[i].choose = fare;
        if (i > 0 && !row->lasts)
            continue;
        if (row->fate == DIAL_REFUSED)
            stage.servers[i].listener->options.answer = HWS_ERR_REFUSED;
        if (row->fate == DIAL_HANGS)
            hws_sim_silence(stage.servers[i].listener, true);
    }
    upstream = world_http(&stage.world, "a", &options, 3);
    ask_init(ask);
    choose_method(ask, row->method);
    ask->options.stream = is_streaming;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_S(2));

    assert_int_equal(ask->done, 1);
    if (is_streaming && row->fate == HALF_BODY) {
        /* Its head was handed out before. */
        assert_int_equal(ask->status, 200);
        assert_int_equal(ask->end, HWS_ERR_RESET);
        return;
    }
    assert_int_equal(ask->code, row->code);
    assert_int_equal(ask->status, row->status);
    assert_int_equal(ask->code != HWS_OK ? ask->error.attempts : ask->attempts, row->made);
    assert_int_equal(requests(), row->requests);
    stats = world_stats(upstream);
    assert_int_equal(stats.retried, row->made - 1);
    if (row->verdict != HWS_RETRY_GO)
        assert_int_equal(stats.refused[row->verdict], 1);
    if (row->status == 200)
        assert_int_equal(ask->body_size, 5);
    if (ask->code == HWS_OK)
        return;
    assert_int_equal(ask->error.sent, row->sent);
    assert_int_equal(ask->error.retryable, row->retryable);
    assert_true(ask->error.peer[0] != '\0');
}

static void every_end_of_an_attempt_has_its_consequence(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        row = &rows[i / 2];
        stage_begin(1, 0, false);
        try_row(i % 2 != 0);
        stage_finish();
    }
}

static int tell_row(void **state)
{
    if (!stage.is_over)
        print_error("the row \"%s\" failed\n", row->name);
    return stage_clear(state);
}

/* ---- when ---- */

static hws_upstream_t *with(hws_upstream_options_t *options, unsigned peers)
{
    return world_http(&stage.world, "a", options, peers);
}

static void the_delay_doubles(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 5);
    hws_time_t began = world_now(&stage.world);

    (void)state;
    options.retry.backoff = (hws_backoff_options_t){
        .base = HWS_MS(100), .max = HWS_MS(300), .jitter = HWS_JITTER_EQUAL};
    stage.servers[0].reply.bytes = REPLY_503;
    stage_get(with(&options, 1), 0, 1);
    world_run(&stage.world, HWS_S(5));
    assert_int_equal(stage.servers[0].requests, 5);
    /* 50..100, 100..200, 150..300 twice */
    assert_in_range(stage.asks[0].at - began, HWS_MS(450), HWS_MS(900));
}

static const char *held; /* what the servers say first */

static reply_t once(server_t *server, visit_t *visit, hws_slice_t request)
{
    (void)server;
    (void)visit;
    (void)request;
    return (reply_t){.bytes = requests() > 1 ? REPLY_OK : held};
}

static void retry_after_is_waited_for_and_a_too_long_one_refused_at_once(void **state)
{
    static const struct {
        const char *reply;
        bool goes;
        hws_time_t least;
        hws_time_t most;
    } cases[] = {
        {"HTTP/1.1 503 x\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n", true, HWS_S(2),
         HWS_MS(3001)},
        {"HTTP/1.1 503 x\r\nRetry-After: 31536000\r\nContent-Length: 0\r\n\r\n", false, 0, 0},
        {"HTTP/1.1 503 x\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n", false, 0, 0},
        {"HTTP/1.1 503 x\r\nRetry-After: -1\r\nContent-Length: 0\r\n\r\n", true, 0, HWS_MS(2)},
        {"HTTP/1.1 503 x\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", true, 0, HWS_MS(2)},
        {"HTTP/1.1 503 x\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n", true, 0, HWS_MS(2)},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_upstream_options_t options;
        hws_time_t began;

        stage_begin(1, 0, false);
        options = world_retrying(&stage.world, 3);
        options.timeouts.request = HWS_S(10);
        stage.servers[0].choose = once;
        held = cases[i].reply;
        began = world_now(&stage.world);
        stage_get(with(&options, 1), 0, 1);
        world_run(&stage.world, HWS_S(20));
        assert_int_equal(stage.asks[0].status, cases[i].goes ? 200 : 503);
        assert_in_range(stage.asks[0].at - began, cases[i].least, cases[i].most);
        stage_finish();
    }
}

static void without_a_deadline_retry_after_is_waited_for(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);

    (void)state;
    options.timeouts.request = HWS_NEVER;
    stage.servers[0].choose = once;
    held = "HTTP/1.1 503 x\r\nRetry-After: 200\r\nContent-Length: 0\r\n\r\n";
    stage_get(with(&options, 1), 0, 1);
    world_run(&stage.world, HWS_S(199));
    assert_int_equal(stage.asks[0].done, 0);
    world_run(&stage.world, HWS_S(102));
    assert_int_equal(stage.asks[0].status, 200);
}

static void a_loop_that_stalls_past_the_deadline_sends_nothing_more(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);

    (void)state;
    options.retry.backoff = (hws_backoff_options_t){.base = HWS_MS(500), .max = HWS_MS(500)};
    options.timeouts.request = HWS_S(1);
    stage.servers[0].reply.bytes = REPLY_503;
    stage_get(with(&options, 1), 0, 1);
    world_run(&stage.world, 1);
    assert_int_equal(stage.servers[0].requests, 1);
    hws_sim_stall(stage.world.sim, HWS_S(2));
    world_run(&stage.world, HWS_S(3));
    assert_int_equal(stage.asks[0].status, 503);
    assert_int_equal(stage.servers[0].requests, 1);
}

static void the_budget_bounds_what_a_failure_costs(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    hws_upstream_t *upstream;
    hws_stats_t stats;
    unsigned i;

    (void)state;
    options.retry.budget = (hws_budget_options_t){.share = 0.2, .floor = 2};
    stage.servers[0].reply.bytes = REPLY_503;
    upstream = with(&options, 1);
    for (i = 0; i < 500; i++) {
        stage_get(upstream, i, 1);
        world_run(&stage.world, HWS_MS(10));
    }
    world_run(&stage.world, HWS_S(1));
    stats = world_stats(upstream);
    assert_int_equal(stage_ok(0, 500), 500);
    assert_int_equal(stage.servers[0].requests, 500 + stats.retried);
    assert_in_range(stats.retried, 90, 100 + 2 * 7);
    assert_int_equal(stats.refused[HWS_RETRY_BUDGET] + stats.refused[HWS_RETRY_ATTEMPTS], 500);
}

/* ---- stale connections ---- */

static void warm(hws_upstream_t *upstream, unsigned count)
{
    unsigned i;

    for (i = 0; i < STAGE_SERVERS; i++)
        stage.servers[i].reply.after = HWS_MS(1);
    stage_get(upstream, 400, count);
    world_run(&stage.world, HWS_MS(100));
    assert_int_equal(stage_ok(400, count), count);
}

/* The servers close it while the request is on its way. */
static void a_stale_connection_is_replayed_uncounted_even_without_retries(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    hws_upstream_t *upstream;

    (void)state;
    options.retry.is_disabled = true;
    upstream = with(&options, 1);
    warm(upstream, 1);
    stage.servers[0].listener->options.latency_min = HWS_MS(5);
    stage.servers[0].listener->options.latency_max = HWS_MS(5);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(1));
    server_end_all(&stage.servers[0], HWS_SIM_RESET);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_int_equal(world_stats(upstream).replayed, 1);
    assert_int_equal(world_stats(upstream).retried, 0);
    assert_int_equal(stage.asks[0].attempts, 2);
}

static unsigned resets_left;

static reply_t reset_some(server_t *server, visit_t *visit, hws_slice_t request)
{
    (void)server;
    (void)visit;
    (void)request;
    if (resets_left == 0)
        return (reply_t){.bytes = REPLY_OK};
    resets_left--;
    return (reply_t){.then = RESETS};
}

/* A reused connection that is reset before a byte of the answer, then fresh or further reused ones
 * that are: one replay that nobody counts, and as many attempts as are allowed. */
static void a_replay_that_fails_is_charged(void **state)
{
    unsigned i;

    (void)state;
    for (i = 0; i < 10; i++) {
        unsigned resets = 1 + i / 2;
        hws_upstream_options_t options;
        hws_upstream_t *upstream;
        hws_stats_t stats;

        stage_begin(1, 0, false);
        options = world_retrying(&stage.world, 3);
        upstream = with(&options, 1);
        warm(upstream, i % 2 == 0 ? 1 : 8);
        stage.servers[0].choose = reset_some;
        resets_left = resets;
        stage_get(upstream, 0, 1);
        world_run(&stage.world, HWS_S(1));
        stats = world_stats(upstream);
        assert_int_equal(stats.replayed, 1);
        assert_int_equal(stats.retried, resets < 4 ? resets - 1 : 2);
        assert_int_equal(stage.asks[0].code, resets < 4 ? HWS_OK : HWS_ERR_RESET);
        stage_finish();
    }
}

static void a_post_on_a_stale_connection_goes_out_once(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    hws_upstream_t *upstream;

    (void)state;
    options.reuse = HWS_REUSE_ALWAYS;
    upstream = with(&options, 1);
    warm(upstream, 1);
    stage.servers[0].choose = reset_some;
    resets_left = 1;
    ask_post(&stage.asks[0], upstream, "x");
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.asks[0].code, HWS_ERR_RESET);
    assert_int_equal(stage.servers[0].requests, 2);
}

/* ---- while it waits for its next attempt ---- */

typedef enum { CANCEL, DESTROY, CLOSE, CLOSE_MANAGER, DRAIN, EMPTY, OTHER_PEERS, FORCE } deed_t;

typedef struct {
    deed_t deed;
    bool has_answer; /* the attempt ended with a status, not a reset */
    int code;
    uint16_t status;
} wait_row_t;

static void note_drained(void *user, int status)
{
    (void)user;
    assert_int_equal(status, HWS_OK);
}

static void do_to(hws_upstream_t *upstream, deed_t deed)
{
    hws_peer_options_t other = {.url = HWS_SLICE("http://10.0.0.1:3")};
    hws_upstream_options_t options;

    switch (deed) {
    case CANCEL:
        ask_cancel(&stage.asks[0]);
        break;
    case DESTROY:
        ask_dispose(&stage.asks[0]);
        break;
    case CLOSE:
        hws_upstream_close(upstream);
        break;
    case CLOSE_MANAGER:
        hws_manager_close(stage.world.manager);
        break;
    case DRAIN:
        assert_int_equal(hws_upstream_drain(upstream, HWS_S(10), note_drained, NULL), HWS_OK);
        break;
    case EMPTY:
    case OTHER_PEERS:
        hws_upstream_settings(upstream, &options);
        options.peers = &other;
        options.peer_count = deed == OTHER_PEERS;
        assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
        break;
    case FORCE:
        hws_breaker_force(&HWS_CONTAINER(upstream->peers.list.next, hws_peer_t, link)->breaker,
                          HWS_FORCE_OPEN, world_now(&stage.world));
        break;
    }
}

static void what_happens_while_it_waits_for_its_next_attempt(void **state)
{
    static const wait_row_t cases[] = {
        {CANCEL, false, HWS_ERR_CANCELED, 0},
        {CANCEL, true, HWS_ERR_CANCELED, 0},
        {DESTROY, false, HWS_AGAIN, 0},
        {DESTROY, true, HWS_AGAIN, 0},
        {CLOSE, false, HWS_ERR_CLOSED, 0},
        {CLOSE, true, HWS_ERR_CLOSED, 0},
        {CLOSE_MANAGER, false, HWS_ERR_CLOSED, 0},
        {CLOSE_MANAGER, true, HWS_ERR_CLOSED, 0},
        {DRAIN, false, HWS_OK, 200},
        {DRAIN, true, HWS_OK, 200},
        {EMPTY, false, HWS_ERR_RESET, 0},
        {EMPTY, true, HWS_OK, 503},
        {OTHER_PEERS, false, HWS_OK, 200},
        {OTHER_PEERS, true, HWS_OK, 200},
        {FORCE, false, HWS_ERR_RESET, 0},
        {FORCE, true, HWS_OK, 503},
    };
    size_t i;

    (void)state;
    for (i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        const wait_row_t *it = &cases[i / 2];
        hws_upstream_options_t options;
        hws_upstream_t *upstream;
        ask_t *ask = &stage.asks[0];

        stage_begin(1, 0, false);
        options = world_retrying(&stage.world, 3);
        options.breaker.is_disabled = false;
        options.retry.backoff = (hws_backoff_options_t){
            .base = HWS_MS(100), .max = HWS_MS(100), .jitter = HWS_JITTER_EQUAL};
        held = it->has_answer ? REPLY_503 : NULL;
        stage.servers[0].choose = it->has_answer ? once : reset_some;
        resets_left = 1;
        upstream = with(&options, 1);
        ask_init(ask);
        ask->options.stream = i % 2 != 0;
        assert_int_equal(ask_start(ask, upstream), HWS_OK);
        world_run(&stage.world, HWS_MS(10));
        assert_int_equal(stage.servers[0].requests, 1);
        assert_int_equal(ask->done, 0);
        do_to(upstream, it->deed);
        world_run(&stage.world, HWS_S(1));
        assert_int_equal(ask->done, it->deed != DESTROY);
        assert_int_equal(ask->code, it->code);
        assert_int_equal(ask->status, it->status);
        if (it->status == 503)
            assert_string_equal(ask->body, "busy");
        if (it->status == 503 && ask->options.stream)
            assert_int_equal(ask->end, HWS_END);
        stage_finish();
    }
}

/* ---- no place for the next attempt ---- */

typedef enum { QUEUE_FULL, QUEUE_LATE, DIAL_FAILS, BREAKERS } obstacle_t;

/* The other peer is full, or cannot be dialled, when the first one has failed. */
static void the_end_is_what_went_before_when_there_is_no_place_for_another(void **state)
{
    unsigned i;

    (void)state;
    for (i = 0; i < 8; i++) {
        obstacle_t obstacle = (obstacle_t)(i / 2);
        bool has_answer = i % 2 != 0;
        hws_upstream_options_t options;
        hws_upstream_t *upstream;
        ask_t *ask = &stage.asks[0];

        stage_begin(1, 0, false);
        options = world_retrying(&stage.world, 2);
        options.retry.backoff = (hws_backoff_options_t){
            .base = HWS_MS(100), .max = HWS_MS(100), .jitter = HWS_JITTER_EQUAL};
        options.breaker.is_disabled = false;
        options.limits.per_peer = 1;
        options.limits.pending = obstacle == QUEUE_FULL ? 0 : 10;
        options.timeouts.queue = HWS_MS(200);
        if (obstacle == BREAKERS)
            options.breaker.consecutive = 1;
        stage.servers[0].reply =
            has_answer ? (reply_t){.bytes = REPLY_503} : (reply_t){.then = RESETS};
        stage.servers[1].reply = (reply_t){.bytes = REPLY_OK, .after = HWS_S(5)};
        if (obstacle == DIAL_FAILS || obstacle == BREAKERS)
            stage.servers[1].listener->options.answer = HWS_ERR_REFUSED;
        upstream = with(&options, 2);
        stage_get(upstream, 0, obstacle == DIAL_FAILS ? 1 : 2);
        world_run(&stage.world, HWS_S(1));
        assert_int_equal(ask->done, 1);
        assert_int_equal(world_stats(upstream).retried, obstacle == DIAL_FAILS);
        if (has_answer) {
            assert_int_equal(ask->code, HWS_OK);
            assert_int_equal(ask->status, 503);
            assert_string_equal(ask->peer, "10.0.0.1:1");
            assert_string_equal(ask->body, "busy");
        } else if (obstacle == DIAL_FAILS) {
            assert_int_equal(ask->code, HWS_ERR_REFUSED);
            assert_string_equal(ask->error.peer, "10.0.0.1:2");
        } else {
            assert_int_equal(ask->code, HWS_ERR_RESET);
            assert_int_equal(ask->error.phase, HWS_PHASE_HEADERS);
            assert_string_equal(ask->error.peer, "10.0.0.1:1");
            assert_true(ask->error.has_retry_in);
            assert_true(ask->error.retryable);
            assert_int_equal(ask->error.attempts, 1);
        }
        stage_finish();
    }
}

/* ---- streams, producers, bounds ---- */

static void a_streamed_status_goes_again_before_its_body_is_there(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    ask_t *ask = &stage.asks[0];

    (void)state;
    held = HEAD_503;
    stage.servers[0].choose = once;
    ask_init(ask);
    ask->options.stream = true;
    assert_int_equal(ask_start(ask, with(&options, 1)), HWS_OK);
    world_run(&stage.world, HWS_MS(10));
    assert_true(ask_is_ok(ask));
    assert_int_equal(ask->status, 200);
    assert_string_equal(ask->body, "hello");
    assert_int_equal(stage.servers[0].visited, 2);
}

static void a_body_of_an_earlier_attempt_never_mixes_with_the_last(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    unsigned i;

    (void)state;
    held =
        "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n4\r\nbusy\r\n4\r\nbusy\r\n"
        "0\r\nA: b\r\n\r\n";
    for (i = 0; i < 2; i++) {
        stage.servers[0].choose = once;
        stage.servers[0].requests = 0;
        stage.servers[0].listener->options.chunking = i ? HWS_SIM_BYTES : HWS_SIM_WHOLE;
        ask_init(&stage.asks[i]);
        assert_int_equal(
            ask_start(&stage.asks[i], world_http(&stage.world, i ? "b" : "a", &options, 1)),
            HWS_OK);
        world_run(&stage.world, HWS_S(1));
        assert_int_equal(stage.asks[i].status, 200);
        assert_int_equal(stage.asks[i].body_size, 5);
        assert_string_equal(stage.asks[i].body, "hello");
    }
}

static void what_a_producer_gave_is_never_sent_again(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].choose = reset_some;
    resets_left = 1;
    ask_init(ask);
    ask->options.method = HWS_SLICE("PUT");
    ask->options.has_producer = true;
    ask->produces = 10;
    assert_int_equal(ask_start(ask, with(&options, 2)), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ask->code, HWS_ERR_RESET);
    assert_false(ask->error.retryable);
    assert_int_equal(requests(), 1);
}

static void a_producer_that_nobody_asked_yet_goes_to_another_peer(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].listener->options.answer = HWS_ERR_REFUSED;
    ask_init(ask);
    ask->options.method = HWS_SLICE("POST");
    ask->options.has_producer = true;
    ask->produces = 10;
    assert_int_equal(ask_start(ask, with(&options, 2)), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(ask));
    assert_int_equal(ask->attempts, 2);
    assert_int_equal(ask->produced, 10);
}

static void an_attempt_has_its_own_time(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    hws_time_t began = world_now(&stage.world);

    (void)state;
    (void)hws_retry_on_add(&options.retry.on, HWS_SLICE("timeout"), NULL);
    options.timeouts.attempt = HWS_MS(100);
    stage.servers[0].reply.after = HWS_S(1);
    stage.servers[1].reply.after = HWS_MS(90);
    stage_get(with(&options, 2), 0, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_int_equal(stage.asks[0].attempts, 2);
    assert_in_range(stage.asks[0].at - began, HWS_MS(190), HWS_MS(192));
}

static void a_body_that_is_too_large_is_not_asked_for_again(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    ask_t *ask = &stage.asks[0];

    (void)state;
    ask_init(ask);
    ask->options.max_body = 1;
    assert_int_equal(ask_start(ask, with(&options, 2)), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ask->code, HWS_ERR_BODY_SIZE);
    assert_int_equal(requests(), 1);
}

/* ---- leases ---- */

static void a_lease_goes_again_after_a_failed_dial(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++) {
        hold_t *hold = &stage.holds[i];

        stage.servers[0].listener->options.answer = HWS_ERR_REFUSED;
        hold_init(hold);
        hold->options.connect_only = i == 1;
        assert_int_equal(hold_start(hold, world_raw(&stage.world, i ? "b" : "a", &options, 2)),
                         HWS_OK);
        world_run(&stage.world, HWS_S(1));
        assert_int_equal(hold->code, HWS_OK);
        assert_int_equal(stage.servers[1].visited, i + 1);
    }
    for (i = 0; i < 2; i++)
        stage.servers[i].listener->options.answer = HWS_ERR_REFUSED;
    hold_acquire(&stage.holds[2], world_raw(&stage.world, "c", &options, 2));
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.holds[2].code, HWS_ERR_REFUSED);
    assert_int_equal(stage.holds[2].error.attempts, 3);
}

static unsigned setups_to_fail;

static void fail_setup(hws_lease_t *lease, void *user)
{
    (void)user;
    hws_lease_setup_done(lease, setups_to_fail == 0, "no");
    if (setups_to_fail > 0)
        setups_to_fail--;
}

static void a_setup_that_fails_is_a_failed_dial(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);

    (void)state;
    options.setup = fail_setup;
    setups_to_fail = 2;
    hold_acquire(&stage.holds[0], world_raw(&stage.world, "a", &options, 2));
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.holds[0].code, HWS_OK);
    setups_to_fail = 100;
    hold_acquire(&stage.holds[1], world_raw(&stage.world, "b", &options, 2));
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.holds[1].code, HWS_ERR_SETUP);
    assert_int_equal(stage.holds[1].error.attempts, 3);
    assert_int_equal(setups_to_fail, 97);
}

/* ---- in the large ---- */

static void close_all(ask_t *ask, void *user)
{
    (void)user;
    if (ask->done == 1)
        hws_manager_close(stage.world.manager);
}

static void a_manager_closed_in_a_callback_ends_who_waits_for_another_attempt(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    options.retry.backoff = (hws_backoff_options_t){.base = HWS_S(1), .max = HWS_S(1)};
    stage.servers[0].reply.bytes = REPLY_503;
    upstream = with(&options, 1);
    stage_get(upstream, 0, 10);
    world_run(&stage.world, HWS_MS(1));
    ask_init(&stage.asks[20]);
    stage.asks[20].then = close_all;
    assert_int_equal(ask_start(&stage.asks[20], upstream), HWS_OK);
    ask_cancel(&stage.asks[20]);
    world_run(&stage.world, HWS_S(3));
    assert_int_equal(stage_done(0, 10), 10);
    for (i = 0; i < 10; i++)
        assert_true(stage.asks[i].code == HWS_ERR_CLOSED || stage.asks[i].status == 503);
}

/* A place under a cap that a failed attempt had is free at once, and nobody waits for his own. */
static void a_cap_of_one_connection_stops_no_retry(void **state)
{
    hws_upstream_options_t options;
    unsigned i;

    (void)state;
    stage_begin(1, 1, false);
    options = world_retrying(&stage.world, 3);
    options.timeouts.queue = HWS_S(30);
    stage.servers[0].listener->options.answer = HWS_ERR_REFUSED;
    stage.servers[1].reply.after = stage.servers[2].reply.after = HWS_MS(1);
    for (i = 0; i < 2; i++)
        stage_get(world_http(&stage.world, i ? "b" : "a", &options, 3), i * 20, 20);
    world_run(&stage.world, HWS_S(20));
    assert_int_equal(stage_ok(0, 40), 40);
    assert_int_equal(stage.world.peak, 1);
}

static void retries_dial_no_more_at_once_than_is_allowed(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 10);

    (void)state;
    options.limits.dials = 2;
    options.timeouts.connect = HWS_MS(100);
    hws_sim_silence(stage.servers[0].listener, true);
    hws_sim_silence(stage.servers[1].listener, true);
    stage_get(with(&options, 2), 0, 40);
    world_run(&stage.world, HWS_S(20));
    assert_int_equal(stage_done(0, 40), 40);
    assert_int_equal(world_peak_at(&stage.world, 1), 2);
    assert_int_equal(world_peak_at(&stage.world, 2), 2);
}

static void an_origin_stays_while_somebody_waits_for_another_attempt(void **state)
{
    hws_upstream_options_t options;
    hws_upstream_t *origin;
    hws_slice_t target;

    (void)state;
    assert_int_equal(hws_manager_origin(stage.world.manager, HWS_SLICE("http://10.0.0.1:1/"),
                                        &origin, &target, NULL),
                     HWS_OK);
    hws_upstream_settings(origin, &options);
    options.retry = world_retrying(&stage.world, 3).retry;
    options.retry.backoff =
        (hws_backoff_options_t){.base = HWS_S(10), .max = HWS_S(10), .jitter = HWS_JITTER_EQUAL};
    assert_int_equal(hws_upstream_update(origin, &options, NULL), HWS_OK);
    stage.servers[0].choose = reset_some;
    resets_left = 1;
    stage_get(origin, 0, 1);
    world_run(&stage.world, HWS_S(20));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_false(hws_list_is_empty(&stage.world.manager->upstreams));
    world_run(&stage.world, HWS_S(400));
    assert_true(hws_list_is_empty(&stage.world.manager->upstreams));
}

static unsigned posts_seen[STAGE_ASKS];

static reply_t reset_anywhere(server_t *server, visit_t *visit, hws_slice_t request)
{
    static const reply_t replies[] = {{.bytes = REPLY_OK},
                                      {.then = RESETS},
                                      {.bytes = HEAD_503, .then = RESETS},
                                      {.bytes = "HTTP/1.1 2", .then = CLOSES},
                                      {.bytes = REPLY_503},
                                      {.bytes = REPLY_OK, .then = CLOSES},
                                      {.bytes = REPLY_503, .after = HWS_MS(1)}};
    static unsigned turn;

    (void)server;
    (void)visit;
    posts_seen[strtoul(request.data + strlen("POST /"), NULL, 10)]++;
    return replies[turn++ % 7];
}

static void no_post_is_sent_twice(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 5);
    char targets[400][8];
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    memset(posts_seen, 0, sizeof(posts_seen));
    options.reuse = HWS_REUSE_ALWAYS;
    for (i = 0; i < 3; i++) {
        stage.servers[i].choose = reset_anywhere;
        stage.servers[i].listener->options.cut_after = 0;
    }
    upstream = with(&options, 3);
    for (i = 0; i < 400; i++) {
        ask_t *ask = &stage.asks[i];

        stage.servers[i % 3].listener->options.answer = i % 5 == 0 ? HWS_ERR_REFUSED : HWS_OK;
        snprintf(targets[i], sizeof(targets[i]), "/%u", i);
        ask_init(ask);
        choose_method(ask, POST);
        ask->options.target = (hws_slice_t){targets[i], strlen(targets[i])};
        assert_int_equal(ask_start(ask, upstream), HWS_OK);
        if (i % 3 == 0)
            world_run(&stage.world, HWS_MS(1));
    }
    world_run(&stage.world, HWS_S(5));
    assert_int_equal(stage_done(0, 400), 400);
    for (i = 0; i < 400; i++)
        assert_true(posts_seen[i] <= 1);
    assert_true(world_stats(upstream).retried > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_end_of_an_attempt_has_its_consequence, stage_none,
                                        tell_row),
        STAGE_TEST(the_delay_doubles, http),
        STAGE_TEST(retry_after_is_waited_for_and_a_too_long_one_refused_at_once, none),
        STAGE_TEST(without_a_deadline_retry_after_is_waited_for, http),
        STAGE_TEST(a_loop_that_stalls_past_the_deadline_sends_nothing_more, http),
        STAGE_TEST(the_budget_bounds_what_a_failure_costs, http),
        STAGE_TEST(a_stale_connection_is_replayed_uncounted_even_without_retries, http),
        STAGE_TEST(a_replay_that_fails_is_charged, none),
        STAGE_TEST(a_post_on_a_stale_connection_goes_out_once, http),
        STAGE_TEST(what_happens_while_it_waits_for_its_next_attempt, none),
        STAGE_TEST(the_end_is_what_went_before_when_there_is_no_place_for_another, none),
        STAGE_TEST(a_streamed_status_goes_again_before_its_body_is_there, http),
        STAGE_TEST(a_body_of_an_earlier_attempt_never_mixes_with_the_last, http),
        STAGE_TEST(what_a_producer_gave_is_never_sent_again, http),
        STAGE_TEST(a_producer_that_nobody_asked_yet_goes_to_another_peer, http),
        STAGE_TEST(an_attempt_has_its_own_time, http),
        STAGE_TEST(a_body_that_is_too_large_is_not_asked_for_again, http),
        STAGE_TEST(a_lease_goes_again_after_a_failed_dial, raw),
        STAGE_TEST(a_setup_that_fails_is_a_failed_dial, raw),
        STAGE_TEST(a_manager_closed_in_a_callback_ends_who_waits_for_another_attempt, http),
        STAGE_TEST(a_cap_of_one_connection_stops_no_retry, none),
        STAGE_TEST(retries_dial_no_more_at_once_than_is_allowed, http),
        STAGE_TEST(an_origin_stays_while_somebody_waits_for_another_attempt, http),
        STAGE_TEST(no_post_is_sent_twice, http),
    };

    return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
