/* Thousands of random deeds over random faulty peers, by seed. After every input the ledger is
 * checked (world.c), and in the end everything that was begun has ended exactly once.
 *
 *     test_storm           the seeds from 1 on
 *     test_storm SEED      one of them
 *     test_storm FROM TO   those */
#include "base/random.h"
#include "peer.h"
#include "support/h2_far.h"
#include "support/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEDS 100
#define DEEDS 2000
#define ASKS 60
#define HOLDS 20
#define UPSTREAMS 4
#define FARS 3 /* of HTTP/2, at ports... */
#define FAR_PORT 11
#define NAMES 2
#define ONCE 4096 /* requests that may be sent once only */

static hws_random_t chance;
static h2_far_t fars[FARS];
static hws_upstream_t *upstreams[UPSTREAMS]; /* the one before the last is h2c, the last one raw */
static const char *const names[NAMES] = {"a.test", "b.test"};
static hws_sim_name_t *records[NAMES][HWS_FAMILIES];
static uint8_t seen[ONCE]; /* how often the servers saw each of them */
static char targets[ONCE][8];
static unsigned once_count;
static uint64_t begun;
static uint64_t ended;
static bool is_calm;      /* no deeds in callbacks any more */
static uint32_t mildness; /* the higher, the rarer are faults */

static uint32_t below(uint32_t n)
{
    return hws_random_below(&chance, n);
}

static bool one_in(uint32_t n)
{
    return below(n) == 0;
}

static hws_time_t some_time(void)
{
    static const hws_time_t spans[] = {0, 1, HWS_MS(1), HWS_MS(10), HWS_MS(100), HWS_S(1)};

    return spans[below(6)] * (hws_time_t)(1 + below(3));
}

static void do_something_small(void);

/* ---- requests ---- */

static void ask_again(ask_t *ask, void *user)
{
    (void)user;
    if (ask->done == 1 && ask->readable == 0 && ask->code != HWS_AGAIN)
        ended++;
    if (is_calm || one_in(4))
        return;
    if (one_in(10))
        ask_cancel(ask);
    if (one_in(10))
        do_something_small();
    if (one_in(10))
        ask_dispose(ask);
}

/* Its target tells the servers which one it is. */
static void number(ask_t *ask)
{
    char *target = targets[once_count];

    if (once_count == ONCE)
        return;
    snprintf(target, sizeof(targets[0]), "/%u", once_count++);
    ask->options.target = (hws_slice_t){target, strlen(target)};
}

static void note_path(const char *path)
{
    unsigned long which = strtoul(path + 1, NULL, 10);

    assert_true(which < ONCE);
    assert_int_equal(++seen[which], 1);
}

static void note_seen(hws_slice_t request)
{
    if (memcmp(request.data, "POST /", 6) == 0 && request.data[6] != ' ')
        note_path(request.data + 5);
}

static void start_ask(void)
{
    static char body[30000];
    ask_t *ask = &stage.asks[below(ASKS)];

    if (ask->request != NULL)
        return;
    ask_init(ask);
    ask->then = ask_again;
    ask->options.stream = one_in(3);
    ask->is_unread = one_in(5);
    ask->piece = 1 + below(5000);
    ask->options.timeout = one_in(5) ? some_time() : 0;
    ask->options.max_body = one_in(10) ? 1 + below(10) : 0;
    switch (below(5)) {
    case 0:
        ask->options.method = HWS_SLICE("POST");
        ask->options.has_producer = true;
        ask->produces = below(30000);
        break;
    case 1:
        ask->options.method = one_in(2) ? HWS_SLICE("PUT") : HWS_SLICE("POST");
        ask->options.has_body = true;
        ask->options.body = (hws_slice_t){body, below(sizeof(body))};
        break;
    case 2:
        ask->options.duplex = ask->options.stream = one_in(3);
        ask->produces = below(30000);
        break;
    default:
        break;
    }
    ask->options.priority = (uint8_t)below(8);
    if (ask->options.method.data[1] == 'O')
        number(ask);
    if (one_in(8)) {
        hws_upstream_t *origin;
        hws_slice_t target;

        if (hws_manager_origin(stage.world.manager, HWS_SLICE("http://10.0.0.1:4/"), &origin,
                               &target, NULL) == HWS_OK)
            begun += ask_start(ask, origin) == HWS_OK;
        return;
    }
    begun += ask_start(ask, upstreams[below(UPSTREAMS - 1)]) == HWS_OK;
}

/* ---- leases ---- */

static void handle_lease(hold_t *hold)
{
    static const char words[6000] = "word\nanother\n";
    size_t taken;

    if (hold->lease == NULL)
        return;
    switch (below(10)) {
    case 0:
        hold_release(hold);
        return;
    case 1:
        hold_close(hold);
        return;
    case 2:
        hws_lease_cancel(hold->lease);
        return;
    case 3:
        (void)hws_lease_finish(hold->lease);
        return;
    case 4:
        hws_lease_set_timeout(hold->lease, HWS_MS(1 + below(100)));
        return;
    case 5:
        hws_lease_set_data(hold->lease, malloc(3));
        return;
    case 6:
    case 7:
        (void)hws_lease_write(hold->lease, words, below(sizeof(words)), &taken);
        return;
    default:
        if (hold->done == 0)
            return;
        if (one_in(3))
            (void)hold_read_until(hold, "er\n", below(100));
        else
            (void)hold_read(hold, (hws_read_mode_t)below(4), below(300));
    }
}

static void hold_again(hold_t *hold, void *user)
{
    (void)user;
    if (is_calm)
        return;
    if (hold->code != HWS_OK && one_in(2))
        hold_close(hold);
    else if (one_in(3))
        handle_lease(hold);
    if (one_in(10))
        do_something_small();
}

static void start_hold(void)
{
    hold_t *hold = &stage.holds[below(HOLDS)];

    if (hold->lease != NULL) {
        handle_lease(hold);
        return;
    }
    hold_init(hold);
    hold->then = hold_again;
    hold->options.timeout = one_in(3) ? 1 + some_time() : 0;
    hold->options.connect_only = one_in(6);
    (void)hold_start(hold,
                     upstreams[hold->options.connect_only ? below(UPSTREAMS) : UPSTREAMS - 1]);
}

/* Answers a setup at once, or after a word and its echo, or never. */
static void go_on_with_setup(hws_lease_t *lease, void *user)
{
    hws_read_t want = {.mode = HWS_READ_EXACT, .size = 3};
    hws_slice_t got;
    int rc = hws_lease_read(lease, &want, &got);

    (void)user;
    if (rc != HWS_AGAIN)
        hws_lease_setup_done(lease, rc == HWS_OK && !one_in(10), "the storm says no");
}

static void prepare_lease(hws_lease_t *lease, void *user)
{
    hws_lease_options_t options = {.on_readable = go_on_with_setup};
    size_t taken;

    (void)user;
    if (one_in(2)) {
        hws_lease_setup_done(lease, !one_in(10), NULL);
        return;
    }
    (void)hws_lease_write(lease, "abc", 3, &taken);
    hws_lease_set_callbacks(lease, &options);
    go_on_with_setup(lease, NULL);
}

/* ---- names ---- */

static void tell_of(unsigned name, hws_family_t family, const char *ips)
{
    hws_sim_name_t **record = &records[name][family];

    assert_int_equal(hws_sim_name(stage.world.sim, names[name],
                                  family == HWS_IPV6 ? AF_INET6 : AF_INET, ips, record),
                     HWS_OK);
    (*record)->status = ips[0] != '\0' ? HWS_OK : HWS_ERR_NODATA;
}

/* Only 10.0.0.1 is anybody. */
static void change_name(void)
{
    static const char *const ips[HWS_FAMILIES][3] = {
        [HWS_IPV6] = {"", "2001:db8::1", "2001:db8::1 2001:db8::2"},
        [HWS_IPV4] = {"", "10.0.0.1", "10.0.0.9 10.0.0.1"}};
    static const int codes[] = {HWS_ERR_NXDOMAIN, HWS_ERR_SERVFAIL, HWS_ERR_DNS_REFUSED,
                                HWS_ERR_DNS_MALFORMED};
    hws_family_t family = one_in(2) ? HWS_IPV6 : HWS_IPV4;
    unsigned name = below(NAMES);
    hws_sim_name_t *record;

    tell_of(name, family, ips[family][below(3)]);
    record = records[name][family];
    record->ttl = below(4);
    record->latency_max = some_time();
    record->is_silent = one_in(5);
    if (one_in(5))
        record->status = codes[below(4)];
}

static void tell_the_truth(void)
{
    unsigned name;

    for (name = 0; name < NAMES; name++) {
        tell_of(name, HWS_IPV6, "");
        tell_of(name, HWS_IPV4, "10.0.0.1");
        records[name][HWS_IPV6]->is_silent = records[name][HWS_IPV4]->is_silent = false;
        records[name][HWS_IPV6]->latency_max = records[name][HWS_IPV4]->latency_max = 0;
    }
}

/* ---- servers ---- */

static reply_t some_reply(server_t *server, visit_t *visit, hws_slice_t request)
{
    static const char *const replies[] = {
        REPLY_OK,
        REPLY_OK,
        REPLY_OK,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot all of it",
        "HTTP/1.1 204 None\r\n\r\nsurplus",
        "nonsense\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n\r\n",
        "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy",
        "HTTP/1.1 502 Bad\r\nContent-Length: 100\r\n\r\nnot all of it",
        "HTTP/1.1 504 Late\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    };

    (void)server;
    (void)visit;
    note_seen(request);
    return (reply_t){.bytes = replies[below(one_in(4 * mildness) ? 14 : 4)],
                     .after = some_time(),
                     .then = one_in(10 * mildness) ? (ending_t)below(4) : STAYS,
                     .is_silent = one_in(30 * mildness)};
}

static void change_server(void)
{
    server_t *server = &stage.servers[below(STAGE_SERVERS)];
    hws_sim_options_t *options = &server->listener->options;

    switch (below(14)) {
    case 0:
        hws_sim_silence(server->listener, one_in(3));
        break;
    case 1:
        options->answer = one_in(3) ? HWS_ERR_REFUSED : HWS_OK;
        break;
    case 2:
        server_end_all(server, (hws_sim_close_t)below(3));
        break;
    case 3:
        options->chunking = (hws_sim_chunking_t)below(3);
        options->gap = one_in(2) ? below(100) : 0;
        break;
    case 4:
        options->latency_max = some_time() / 10;
        options->connect_max = some_time() / 10;
        break;
    case 5:
        options->slots = below(4);
        break;
    case 6:
        options->window = one_in(2) ? 1 + below(5000) : 0;
        break;
    case 7:
        options->cut_after = one_in(2) ? below(2000) : 0;
        options->cut_with = (hws_sim_close_t)below(3);
        break;
    case 8:
        hws_sim_limit_sockets(stage.world.sim, one_in(3) ? 1 + below(6) : 0);
        break;
    case 9:
        hws_sim_fail_connects(stage.world.sim, below(3), HWS_ERR_NO_PORTS);
        break;
    case 10:
        if (server_latest(server) != NULL)
            hws_sim_pause(server_latest(server)->conn, one_in(2));
        break;
    case 11:
    case 12:
        change_name();
        break;
    default:
        if (server_latest(server) != NULL)
            server_say(server_latest(server), (reply_t){.bytes = "stray bytes\n"});
    }
}

/* ---- servers of HTTP/2 ---- */

static h2_reply_t some_h2_reply(h2_far_t *far, h2_far_stream_t *stream)
{
    static const uint32_t codes[] = {NGHTTP2_NO_ERROR, NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR,
                                     NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_REFUSED_STREAM};
    static const uint16_t statuses[] = {200, 200, 200, 404, 503};
    h2_reply_t reply = {.status = statuses[below(5)],
                        .body = below(one_in(10) ? 200000 : 2000),
                        .after = some_time(),
                        .is_silent = one_in(30 * mildness),
                        .is_endless = one_in(30 * mildness),
                        .has_reset = one_in(10 * mildness),
                        .reset = codes[below(5)]};

    (void)far;
    if (one_in(5))
        reply.trailer[0] = reply.trailer[1] = "sum";
    if (reply.reset == NGHTTP2_REFUSED_STREAM)
        reply.is_silent |= reply.has_reset;
    else
        reply.has_reset &= reply.is_silent || one_in(2);
    if (strcmp(stream->method, "POST") == 0 && stream->path[1] != '\0' &&
        !(reply.has_reset && reply.reset == NGHTTP2_REFUSED_STREAM))
        note_path(stream->path);
    return reply;
}

/* On the connection that came last. */
static void change_visit(h2_visit_t *visit)
{
    switch (below(6)) {
    case 0:
        h2_far_go_away(visit, visit->looked,
                       one_in(4) ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_NO_ERROR);
        break;
    case 1:
        h2_far_go_away(visit, INT32_MAX, NGHTTP2_NO_ERROR);
        break;
    case 2:
        h2_far_set(visit, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, below(6));
        break;
    case 3:
        h2_far_set(visit, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, below(100000));
        break;
    case 4:
        hws_sim_pause(visit->conn, one_in(2));
        break;
    default:
        h2_far_say(visit, "stray bytes\n", 12);
    }
}

static void change_far(void)
{
    h2_far_t *far = &fars[below(FARS)];
    hws_sim_options_t *options = &far->listener->options;

    switch (below(12)) {
    case 0:
        hws_sim_silence(far->listener, one_in(3));
        break;
    case 1:
        options->answer = one_in(3) ? HWS_ERR_REFUSED : HWS_OK;
        break;
    case 2:
        h2_far_end_all(far, (hws_sim_close_t)below(3));
        break;
    case 3:
        options->chunking = (hws_sim_chunking_t)(below(2) * HWS_SIM_RANDOM);
        options->gap = one_in(2) ? below(100) : 0;
        break;
    case 4:
        options->latency_max = some_time() / 10;
        options->connect_max = some_time() / 10;
        break;
    case 5:
        options->window = one_in(2) ? 100 + below(5000) : 0;
        break;
    case 6:
        options->cut_after = one_in(2) ? below(5000) : 0;
        options->cut_with = (hws_sim_close_t)below(3);
        break;
    case 7:
        far->is_deaf = one_in(3);
        far->is_early = one_in(3);
        far->streams = one_in(2) ? below(6) : 100;
        far->window = one_in(2) ? below(1000) : 65535;
        break;
    default:
        if (h2_far_latest(far) != NULL)
            change_visit(h2_far_latest(far));
    }
}

static void pacify_far(h2_far_t *far)
{
    hws_sim_silence(far->listener, false);
    far->listener->options = (hws_sim_options_t){.slots = 0};
    far->choose = NULL;
    far->is_deaf = far->is_early = false;
    far->streams = 100;
    far->window = 65535;
    h2_far_end_all(far, HWS_SIM_RESET);
}

/* ---- upstreams ---- */

#define PEERS 3

/* Up to that many, by address or by name. */
typedef struct {
    hws_peer_options_t peers[PEERS];
    char urls[PEERS][32];
} peers_t;

static void choose_peers(peers_t *chosen, unsigned index)
{
    static const char *const schemes[UPSTREAMS] = {"http", "http", "h2c", "tcp"};
    bool is_h2 = index == UPSTREAMS - 2;
    unsigned shift = below(2);
    unsigned i;

    memset(chosen, 0, sizeof(*chosen));
    for (i = 0; i < PEERS; i++) {
        const char *host = one_in(2) ? "10.0.0.1" : names[below(NAMES)];

        snprintf(chosen->urls[i], sizeof(chosen->urls[i]), "%s://%s:%u", schemes[index], host,
                 is_h2 ? FAR_PORT + (i + shift) % FARS : 1 + (i + shift) % 4);
        chosen->peers[i].url = (hws_slice_t){chosen->urls[i], strlen(chosen->urls[i])};
    }
}

/* Now and then with a cache of its own. */
static const hws_dns_options_t *some_dns(void)
{
    static hws_dns_options_t dns;

    hws_dns_options_init(&dns);
    dns.ttl_min = HWS_MS(below(2000));
    dns.ttl_max = HWS_S(2 + below(10));
    return one_in(3) ? &dns : NULL;
}

/* How it balances, tries again, and gives its peers a rest. */
static void choose_policies(hws_upstream_options_t *options)
{
    hws_retry_options_init(&options->retry);
    hws_breaker_options_init(&options->breaker);
    options->balancer = (hws_balancer_t)below(HWS_BALANCER_COUNT);
    options->retry.is_disabled = one_in(4);
    options->retry.attempts = 1 + below(4);
    options->retry.backoff.base = HWS_MS(below(50));
    options->retry.backoff.jitter = (hws_jitter_t)below(HWS_JITTER_COUNT);
    options->retry.budget.is_disabled = one_in(2);
    if (one_in(4))
        (void)hws_retry_on_add(&options->retry.on, HWS_SLICE("timeout"), NULL);
    if (one_in(4))
        (void)hws_retry_on_add(&options->retry.on, HWS_SLICE("overload"), NULL);
    options->breaker.is_disabled = one_in(4);
    options->breaker.consecutive = below(4);
    options->breaker.min_calls = 1 + below(20);
    options->breaker.slow_after = one_in(4) ? HWS_MS(below(200)) : HWS_NEVER;
    options->breaker.open_for = HWS_MS(10 + below(2000));
    options->breaker.open_max = options->breaker.open_for * 4;
    options->breaker.probes = 1 + below(3);
    options->timeouts.attempt = one_in(3) ? HWS_MS(50 + below(500)) : HWS_NEVER;
}

static void force_breaker(hws_upstream_t *upstream)
{
    hws_list_t *peers = &upstream->peers.list;

    if (hws_list_is_empty(peers))
        return;
    hws_breaker_force(
        &HWS_CONTAINER(one_in(2) ? peers->next : peers->prev, hws_peer_t, link)->breaker,
        one_in(2) ? HWS_FORCE_NONE : (hws_breaker_force_t)below(HWS_FORCE_COUNT),
        world_now(&stage.world));
    hws_upstream_tidy(upstream);
}

static void make_upstream(unsigned index)
{
    static const char *const titles[UPSTREAMS] = {"a", "b", "many", "raw"};
    hws_upstream_options_t options = world_options(&stage.world);
    peers_t chosen;

    options.limits.connections = 1 + below(6);
    options.limits.per_peer = 1 + below(4);
    options.limits.dials = 1 + below(4);
    options.limits.pending = below(30);
    options.limits.streams = 1 + below(10);
    options.h2.ping_idle = 1 + some_time();
    options.h2.ping_timeout = 1 + some_time();
    options.limits.buffer = 4096 + below(5000);
    options.timeouts.resolve = HWS_MS(50 + below(3000));
    options.timeouts.connect = HWS_MS(50 + below(3000));
    options.timeouts.queue = HWS_MS(50 + below(3000));
    options.timeouts.read = HWS_MS(50 + below(3000));
    options.timeouts.idle = HWS_MS(50 + below(20000));
    options.timeouts.lifetime = HWS_MS(500 + below(20000));
    options.reuse = (hws_reuse_t)below(3);
    options.free_data = free;
    if (one_in(2) && index == UPSTREAMS - 1)
        options.setup = prepare_lease;
    options.dns = some_dns();
    choose_policies(&options);
    choose_peers(&chosen, index);
    options.peers = chosen.peers;
    options.peer_count = 1 + below(PEERS);
    if (index < UPSTREAMS - 1)
        upstreams[index] = world_http(&stage.world, titles[index], &options, 0);
    else
        upstreams[index] = world_raw(&stage.world, titles[index], &options, 0);
}

static void update_upstream(unsigned index)
{
    hws_upstream_options_t options;
    peers_t chosen;
    unsigned i;

    hws_upstream_settings(upstreams[index], &options);
    options.limits.per_peer = 1 + below(4);
    options.limits.connections = 1 + below(6);
    options.limits.streams = 1 + below(10);
    options.timeouts.idle = HWS_MS(below(20000));
    if (one_in(2))
        choose_policies(&options);
    if (one_in(4))
        options.dns = some_dns();
    if (one_in(2)) {
        choose_peers(&chosen, index);
        for (i = 0; i < PEERS; i++) {
            chosen.peers[i].weight = below(3);
            chosen.peers[i].priority = below(2);
        }
        options.peers = chosen.peers;
        options.peer_count = below(PEERS + 1);
    }
    (void)hws_upstream_update(upstreams[index], &options, NULL);
}

static void note_drained(void *user, int status)
{
    (void)user;
    (void)status;
    ended++;
}

static void replace_upstream(unsigned index)
{
    if (one_in(2))
        begun +=
            hws_upstream_drain(upstreams[index], 1 + some_time(), note_drained, NULL) == HWS_OK;
    if (one_in(2))
        world_run(&stage.world, some_time());
    hws_upstream_close(upstreams[index]);
    make_upstream(index);
}

/* ---- the storm ---- */

/* What may be done inside a callback as well. */
static void do_something_small(void)
{
    switch (below(9)) {
    case 0:
    case 1:
    case 2:
        start_ask();
        break;
    case 8:
        if (one_in(4 * mildness))
            force_breaker(upstreams[below(UPSTREAMS)]);
        break;
    case 3:
        start_hold();
        break;
    case 4:
        ask_cancel(&stage.asks[below(ASKS)]);
        break;
    case 5:
        ask_dispose(&stage.asks[below(ASKS)]);
        break;
    case 6:
        if (one_in(mildness))
            change_server();
        if (one_in(mildness))
            change_far();
        break;
    default:
        if (one_in(mildness))
            update_upstream(below(UPSTREAMS));
    }
}

static void calm_down(void)
{
    unsigned i;

    is_calm = true;
    hws_sim_limit_sockets(stage.world.sim, 0);
    hws_sim_fail_connects(stage.world.sim, 0, 0);
    tell_the_truth();
    for (i = 0; i < STAGE_SERVERS; i++) {
        server_t *server = &stage.servers[i];

        hws_sim_silence(server->listener, false);
        server->listener->options = (hws_sim_options_t){.slots = 0};
        server->choose = NULL;
        server_end_all(server, HWS_SIM_RESET);
    }
    for (i = 0; i < FARS; i++)
        pacify_far(&fars[i]);
    world_run(&stage.world, HWS_S(60));
    assert_int_equal(hws_sim_open_questions(stage.world.sim), 0);
}

/* No disaster lasts: a request that starts now is served as if nothing had been. */
static void serve_afterwards(void)
{
    unsigned i;

    for (i = 0; i < UPSTREAMS; i++) {
        hws_upstream_close(upstreams[i]);
        make_upstream(i);
    }
    for (i = 0; i < UPSTREAMS - 1; i++) {
        ask_get(&stage.asks[100 + i], upstreams[i]);
        world_run(&stage.world, HWS_S(10));
    }
    assert_int_equal(stage_ok(100, UPSTREAMS - 1), UPSTREAMS - 1);
}

static void rage(uint64_t seed)
{
    unsigned i;

    stage_begin(seed, 1 + (uint32_t)(seed % 9), false);
    hws_random_init(&chance, seed);
    is_calm = false;
    mildness = 1U << seed % 5;
    begun = ended = 0;
    once_count = 0;
    memset(seen, 0, sizeof(seen));
    for (i = 0; i < STAGE_SERVERS; i++)
        stage.servers[i].choose = some_reply;
    for (i = 0; i < FARS; i++) {
        h2_far_init(&fars[i], &stage.world, (uint16_t)(FAR_PORT + i));
        fars[i].choose = some_h2_reply;
    }
    tell_the_truth();
    for (i = 0; i < UPSTREAMS; i++)
        make_upstream(i);
    for (i = 0; i < DEEDS; i++) {
        switch (below(12)) {
        case 0:
        case 1:
            world_run(&stage.world, some_time());
            break;
        case 2:
            world_run_turns(&stage.world, some_time());
            break;
        case 3:
            (void)world_turn(&stage.world, true);
            break;
        case 4:
            hws_sim_stall(stage.world.sim, some_time());
            break;
        case 5:
            if (one_in(10))
                replace_upstream(below(UPSTREAMS));
            break;
        default:
            do_something_small();
        }
        world_check(&stage.world);
    }
    calm_down();
    for (i = 0; i < ASKS; i++) {
        const ask_t *ask = &stage.asks[i];

        assert_true(ask->done == 1 || ask->request == NULL);
    }
    for (i = 0; i < HOLDS; i++)
        assert_true(stage.holds[i].done == 1 || stage.holds[i].lease == NULL);
    serve_afterwards();
    stage_finish();
    for (i = 0; i < FARS; i++)
        h2_far_dispose(&fars[i]);
}

static uint64_t first_seed = 1;
static uint64_t last_seed = SEEDS;

static void nothing_is_lost_in_a_storm(void **state)
{
    uint64_t seed;

    (void)state;
    for (seed = first_seed; seed <= last_seed; seed++) {
        first_seed = seed; /* told when it fails */
        rage(seed);
    }
}

static int tell_seed(void **state)
{
    if (!stage.is_over)
        fprintf(stderr, "the storm of seed %llu failed\n", (unsigned long long)first_seed);
    return stage_clear(state);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_lost_in_a_storm, stage_none, tell_seed),
    };

    if (argc > 1)
        first_seed = last_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        last_seed = strtoull(argv[2], NULL, 10);
    return cmocka_run_group_tests_name("storm", tests, NULL, NULL);
}
