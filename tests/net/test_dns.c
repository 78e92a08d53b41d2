/* Look-ups over real sockets: against a name server of our own that misbehaves, and dnsmasq. */
#include "io/loop.h"
#include "support/cmocka.h"
#include "support/name_server.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE HWS_S(2)
#define DIFFERENT_NAMES 1000

typedef struct {
    name_server_t *server;
    hws_loop_t *loop;
    hws_names_t *names;
    char hosts[64];
    char config[64];
} fixture_t;

static fixture_t fixture;

typedef struct {
    int calls;
    int status;
    uint32_t count;
    uint32_t ttl;
    hws_ip_t ips[HWS_ANSWER_ADDRESSES];
    hws_question_t *question;
    bool is_asking;
} told_t;

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static hws_names_options_t make_options(const hws_address_t *servers, uint32_t count,
                                        hws_time_t patience)
{
    return (hws_names_options_t){.servers = servers,
                                 .server_count = count,
                                 .has_search = true,
                                 .patience = patience,
                                 .hosts_path = fixture.hosts,
                                 .config_path = fixture.config};
}

static hws_names_t *make_names_of(const hws_names_options_t *options)
{
    hws_names_t *names;

    assert_int_equal(fixture.loop->io->ops->names_create(fixture.loop->io, options, &names),
                     HWS_OK);
    return names;
}

static hws_names_t *make_names(const hws_address_t *servers, uint32_t count, hws_time_t patience)
{
    const hws_names_options_t options = make_options(servers, count, patience);

    return make_names_of(&options);
}

static int begin(void **state)
{
    hws_address_t address;

    (void)state;
    fixture = (fixture_t){0};
    snprintf(fixture.hosts, sizeof(fixture.hosts), "/tmp/hawser-hosts-%d", (int)getpid());
    snprintf(fixture.config, sizeof(fixture.config), "/tmp/hawser-config-%d", (int)getpid());
    write_file(fixture.hosts, "10.9.9.9 inhosts.test\n10.9.9.8 inhosts.test\n");
    write_file(fixture.config, "nameserver 127.0.0.1\n");
    fixture.server = name_server_start();
    address = name_server_address(fixture.server);
    assert_int_equal(hws_loop_create(&fixture.loop), HWS_OK);
    fixture.names = make_names(&address, 1, PATIENCE);
    return 0;
}

static int end(void **state)
{
    (void)state;
    /* Nothing is left that could bring an input. */
    assert_int_equal(hws_loop_run(fixture.loop, true), HWS_END);
    assert_true(hws_loop_timeout(fixture.loop) == HWS_NEVER);
    if (fixture.names != NULL)
        fixture.loop->io->ops->names_destroy(fixture.names);
    hws_loop_destroy(fixture.loop);
    name_server_stop(fixture.server);
    (void)unlink(fixture.hosts);
    (void)unlink(fixture.config);
    return 0;
}

static void on_answer(void *owner, const hws_answer_t *answer, hws_time_t now)
{
    told_t *told = owner;

    assert_true(now > 0);
    assert_false(told->is_asking);
    hws_loop_enter(fixture.loop);
    told->calls++;
    told->status = answer->status;
    told->count = answer->count;
    told->ttl = answer->ttl;
    if (answer->count > 0)
        memcpy(told->ips, answer->ips, answer->count * sizeof(answer->ips[0]));
}

static void ask_of(hws_names_t *names, told_t *told, const char *name, int family)
{
    memset(told, 0, sizeof(*told));
    told->is_asking = true;
    assert_int_equal(
        fixture.loop->io->ops->ask(names, name, family, on_answer, told, &told->question), HWS_OK);
    told->is_asking = false;
}

static void wait_for(const told_t *told)
{
    while (told->calls == 0)
        assert_int_equal(hws_loop_run(fixture.loop, true), HWS_OK);
}

static told_t *look_up(const char *name, int family)
{
    static told_t told;

    ask_of(fixture.names, &told, name, family);
    wait_for(&told);
    return &told;
}

static void unask(told_t *told)
{
    fixture.loop->io->ops->unask(told->question);
}

/* What a name server says --------------------------------------------------------------------- */

static void each_answer_has_its_code(void **state)
{
    static const struct {
        const char *name;
        int v4;
        int v6;
    } steps[] = {
        {"plain.test", HWS_OK, HWS_OK},
        {"plain.test.", HWS_OK, HWS_OK},
        {"PLAIN.test", HWS_OK, HWS_OK},
        {"onlyfour.test", HWS_OK, HWS_ERR_NODATA},
        {"nx.test", HWS_ERR_NXDOMAIN, HWS_ERR_NXDOMAIN},
        {"servfail.test", HWS_ERR_SERVFAIL, HWS_ERR_SERVFAIL},
        {"notimp.test", HWS_ERR_SERVFAIL, HWS_ERR_SERVFAIL},
        {"refused.test", HWS_ERR_DNS_REFUSED, HWS_ERR_DNS_REFUSED},
        {"formerr.test", HWS_ERR_DNS, HWS_ERR_DNS},
        {"empty.test", HWS_ERR_NODATA, HWS_ERR_NODATA},
        {"foreign.test", HWS_ERR_NODATA, HWS_ERR_NODATA},
        {"loop.test", HWS_ERR_NODATA, HWS_ERR_NODATA},
        {"cut.test", HWS_ERR_DNS_MALFORMED, HWS_ERR_DNS_MALFORMED},
        {"pointer.test", HWS_ERR_DNS_MALFORMED, HWS_ERR_DNS_MALFORMED},
        {"space.test", HWS_ERR_DNS_MALFORMED, HWS_ERR_DNS_MALFORMED},
        {"tc.test", HWS_OK, HWS_OK},
        {"tcservfail.test", HWS_ERR_SERVFAIL, HWS_ERR_SERVFAIL},
        {"late.test", HWS_OK, HWS_OK},
        {"a..test", HWS_ERR_NXDOMAIN, HWS_ERR_NXDOMAIN},
        {"0123456789012345678901234567890123456789012345678901234567890123.test", HWS_ERR_NXDOMAIN,
         HWS_ERR_NXDOMAIN},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        int v4 = look_up(steps[i].name, AF_INET)->status;
        int v6 = look_up(steps[i].name, AF_INET6)->status;

        if (v4 != steps[i].v4 || v6 != steps[i].v6)
            fail_msg("%s: %s and %s", steps[i].name, hws_error_name(v4), hws_error_name(v6));
    }
}

static void addresses_keep_their_order_and_the_shortest_ttl(void **state)
{
    const told_t *told = look_up("two.test", AF_INET);

    (void)state;
    assert_int_equal(told->count, 2);
    assert_int_equal(told->ips[0].bytes[3], 2);
    assert_int_equal(told->ips[1].bytes[3], 1);
    assert_int_equal(told->ttl, 30);
    assert_int_equal(look_up("plain.test", AF_INET6)->ips[0].family, AF_INET6);
    assert_int_equal(look_up("ttl0.test", AF_INET)->ttl, 0);
    assert_int_equal(look_up("ttlhuge.test", AF_INET)->ttl, 0); /* RFC 2181, 8 */
    told = look_up("chain.test", AF_INET);
    assert_int_equal(told->status, HWS_OK);
    assert_int_equal(told->ips[0].bytes[3], 1);
    assert_int_equal(told->ttl, 7);
}

static void what_is_too_long_for_udp_comes_over_tcp(void **state)
{
    const told_t *told = look_up("big.test", AF_INET6);

    (void)state;
    assert_int_equal(told->count, 100);
    assert_int_equal(told->ips[99].bytes[15], 99);
    assert_int_equal(name_server_tcp(fixture.server), 1);
}

static void a_silent_server_ends_in_a_timeout_within_patience(void **state)
{
    static const char *const names[] = {"silent.test", "short.test", "tcsilent.test"};
    hws_address_t address = name_server_address(fixture.server);
    hws_names_t *names_of_short_patience = make_names(&address, 1, HWS_MS(400));
    told_t told[3];
    hws_time_t start = hws_loop_now(fixture.loop);

    (void)state;
    for (int i = 0; i < 3; i++)
        ask_of(names_of_short_patience, &told[i], names[i], AF_INET);
    for (int i = 0; i < 3; i++) {
        wait_for(&told[i]);
        assert_int_equal(told[i].status, HWS_ERR_DNS_TIMEOUT);
    }
    assert_true(hws_loop_now(fixture.loop) - start >= HWS_MS(200));
    fixture.loop->io->ops->names_destroy(names_of_short_patience);
}

static void a_server_that_closes_tcp_or_is_not_there_ends_the_question(void **state)
{
    hws_address_t nowhere;
    hws_names_t *names;
    told_t told;

    (void)state;
    assert_int_not_equal(look_up("tcclose.test", AF_INET)->status, HWS_OK);
    assert_int_equal(hws_address_from_ip(HWS_SLICE("127.0.0.1"), 1, &nowhere), HWS_OK);
    names = make_names(&nowhere, 1, PATIENCE);
    ask_of(names, &told, "plain.test", AF_INET);
    wait_for(&told);
    assert_int_equal(told.status, HWS_ERR_DNS_REFUSED);
    fixture.loop->io->ops->names_destroy(names);
}

static void another_server_is_asked_when_one_fails(void **state)
{
    static const char *const names[] = {"127.0.0.1", "127.0.0.2"};
    hws_address_t servers[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        hws_names_t *two;
        told_t told;

        /* One where nobody listens, and ours. */
        assert_int_equal(hws_address_from_ip((hws_slice_t){names[i], 9}, 1, &servers[0]), HWS_OK);
        servers[1] = name_server_address(fixture.server);
        two = make_names(servers, 2, PATIENCE);
        ask_of(two, &told, "plain.test", AF_INET);
        wait_for(&told);
        assert_int_equal(told.status, HWS_OK);
        fixture.loop->io->ops->names_destroy(two);
    }
}

static void forged_answers_are_not_believed(void **state)
{
    static const char *const names[] = {"wrongid.test", "wrongport.test", "wrongquestion.test"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        const told_t *told = look_up(names[i], AF_INET);

        assert_int_equal(told->status, HWS_OK);
        assert_int_equal(told->count, 1);
        assert_int_equal(told->ips[0].bytes[1], 0); /* not 10.6.6.6 */
    }
}

/* Without a server ---------------------------------------------------------------------------- */

static void localhost_and_the_hosts_file_need_no_server(void **state)
{
    const told_t *told = look_up("localhost", AF_INET);

    (void)state;
    assert_int_equal(told->ips[0].bytes[0], 127);
    assert_int_equal(look_up("a.localhost", AF_INET6)->ips[0].bytes[15], 1);
    told = look_up("InHosts.test", AF_INET);
    assert_int_equal(told->count, 2);
    assert_int_equal(told->ips[0].bytes[3], 9);
    assert_int_equal(look_up("inhosts.test", AF_INET6)->status, HWS_ERR_NODATA);
    assert_int_equal(name_server_udp(fixture.server), 0);
}

static void let_a_second_pass(void)
{
    hws_time_t until = hws_loop_now(fixture.loop) + HWS_MS(1100);

    while (hws_loop_now(fixture.loop) < until)
        usleep(10000);
}

static void a_hosts_file_that_changed_is_read_again(void **state)
{
    (void)state;
    assert_int_equal(look_up("inhosts.test", AF_INET)->ips[0].bytes[3], 9);
    write_file(fixture.hosts, "10.9.9.77 inhosts.test other.test\n");
    let_a_second_pass();
    assert_int_equal(look_up("inhosts.test", AF_INET)->ips[0].bytes[3], 77);
    assert_int_equal(unlink(fixture.hosts), 0);
    let_a_second_pass();
    assert_int_equal(look_up("inhosts.test", AF_INET)->status, HWS_ERR_NODATA);
}

/* How many questions it takes to learn that a short name does not exist. */
static unsigned count_tries(hws_names_t *names)
{
    unsigned before = name_server_udp(fixture.server);
    told_t told;

    ask_of(names, &told, "nx", AF_INET);
    wait_for(&told);
    assert_int_equal(told.status, HWS_ERR_NXDOMAIN);
    return name_server_udp(fixture.server) - before;
}

static void a_configuration_that_changed_holds_for_what_is_asked_then(void **state)
{
    hws_address_t address = name_server_address(fixture.server);
    hws_names_options_t options = make_options(&address, 1, PATIENCE);
    hws_names_t *names;
    told_t told;

    (void)state;
    options.has_search = false;
    write_file(fixture.config, "search a.test b.test c.test\n");
    names = make_names_of(&options);
    assert_int_equal(count_tries(names), 4);
    write_file(fixture.config, "search a.test\n");
    assert_int_equal(count_tries(names), 4);
    ask_of(names, &told, "silent.test", AF_INET);
    let_a_second_pass();
    assert_in_range(count_tries(names), 2, 3); /* perhaps with another try for the silent one */
    assert_int_equal(told.calls, 0);           /* still out, as it was asked */
    wait_for(&told);
    assert_int_equal(told.status, HWS_ERR_DNS_TIMEOUT);
    assert_int_equal(unlink(fixture.config), 0);
    let_a_second_pass();
    assert_int_equal(look_up("plain.test", AF_INET)->status, HWS_OK);
    fixture.loop->io->ops->names_destroy(names);
}

static void the_configuration_of_the_system_can_be_used(void **state)
{
    const hws_names_options_t options = {.patience = PATIENCE};
    hws_names_t *names = make_names_of(&options);
    told_t told;

    (void)state;
    ask_of(names, &told, "localhost", AF_INET6);
    wait_for(&told);
    assert_int_equal(told.status, HWS_OK);
    fixture.loop->io->ops->names_destroy(names);
}

static void a_short_name_is_tried_in_the_search_domains(void **state)
{
    static const char *const search[] = {"nx.test", "test"};
    hws_address_t address = name_server_address(fixture.server);
    hws_names_options_t options = make_options(&address, 1, PATIENCE);
    hws_names_t *names;
    told_t told;

    (void)state;
    options.search = search;
    options.search_count = 2;
    names = make_names_of(&options);
    ask_of(names, &told, "plain", AF_INET);
    wait_for(&told);
    assert_int_equal(told.status, HWS_OK);
    ask_of(names, &told, "nx", AF_INET);
    wait_for(&told);
    assert_int_equal(told.status, HWS_ERR_NXDOMAIN);
    fixture.loop->io->ops->names_destroy(names);
}

/* Many, and giving up ------------------------------------------------------------------------- */

static void a_thousand_names_at_once_are_answered(void **state)
{
    static told_t told[DIFFERENT_NAMES];
    char name[32];

    (void)state;
    for (int i = 0; i < DIFFERENT_NAMES; i++) {
        snprintf(name, sizeof(name), "n%d.test", i);
        ask_of(fixture.names, &told[i], name, AF_INET);
    }
    for (int i = 0; i < DIFFERENT_NAMES; i++) {
        wait_for(&told[i]);
        assert_int_equal(told[i].status, HWS_OK);
        assert_int_equal(told[i].ips[0].bytes[2] << 8 | told[i].ips[0].bytes[3], i);
    }
}

static void a_question_that_was_given_up_is_not_answered(void **state)
{
    told_t told[4];

    (void)state;
    ask_of(fixture.names, &told[0], "plain.test", AF_INET); /* out */
    ask_of(fixture.names, &told[1], "plain.test", AF_INET6);
    ask_of(fixture.names, &told[2], "localhost", AF_INET); /* answered */
    unask(&told[0]);
    unask(&told[2]);
    wait_for(&told[1]);
    assert_int_equal(told[1].status, HWS_OK);
    ask_of(fixture.names, &told[3], "silent.test", AF_INET);
    unask(&told[3]); /* with it all are given up */
    assert_int_equal(hws_loop_run(fixture.loop, true), HWS_END);
    assert_int_equal(told[0].calls + told[2].calls + told[3].calls, 0);
    assert_int_equal(look_up("plain.test", AF_INET)->status, HWS_OK);
}

static void questions_that_wait_for_their_turn_can_be_given_up(void **state)
{
    static told_t told[600];

    (void)state;
    for (int i = 0; i < 600; i++)
        ask_of(fixture.names, &told[i], "silent.test", AF_INET);
    for (int i = 599; i >= 0; i--)
        unask(&told[i]);
    assert_int_equal(look_up("plain.test", AF_INET)->status, HWS_OK);
}

static told_t other;

static void destroy_in_answer(void *owner, const hws_answer_t *answer, hws_time_t now)
{
    on_answer(owner, answer, now);
    unask(&other);
    fixture.loop->io->ops->names_destroy(fixture.names);
    fixture.names = NULL;
}

static void names_may_go_while_an_answer_is_told(void **state)
{
    told_t told = {0};

    (void)state;
    ask_of(fixture.names, &other, "silent.test", AF_INET);
    assert_int_equal(fixture.loop->io->ops->ask(fixture.names, "plain.test", AF_INET,
                                                destroy_in_answer, &told, &told.question),
                     HWS_OK);
    wait_for(&told);
    assert_int_equal(told.status, HWS_OK);
    assert_int_equal(other.calls, 0);
}

/* Time ---------------------------------------------------------------------------------------- */

typedef struct {
    hws_timer_t timer;
    unsigned ticks;
} ticker_t;

static void tick(hws_timer_t *timer, hws_time_t now)
{
    ticker_t *ticker = HWS_CONTAINER(timer, ticker_t, timer);

    ticker->ticks++;
    hws_loop_set_timer(fixture.loop, timer, now + HWS_MS(1));
}

static void a_timer_keeps_its_pace_while_nobody_answers(void **state)
{
    hws_address_t address = name_server_address(fixture.server);
    hws_names_t *names = make_names(&address, 1, HWS_MS(600));
    ticker_t ticker = {.ticks = 0};
    told_t told[300];

    (void)state;
    hws_timer_init(&ticker.timer, tick);
    hws_loop_set_timer(fixture.loop, &ticker.timer, hws_loop_now(fixture.loop) + HWS_MS(1));
    for (int i = 0; i < 200; i++)
        ask_of(names, &told[i], "silent.test", AF_INET);
    for (int i = 0; i < 200; i++)
        wait_for(&told[i]);
    /* About 500 where nothing else runs; a look-up that blocks would leave one or two. */
    assert_true(ticker.ticks >= 20);
    hws_loop_cancel_timer(fixture.loop, &ticker.timer);
    assert_int_equal(hws_loop_run(fixture.loop, false), HWS_OK);
    while (hws_loop_run(fixture.loop, true) != HWS_END)
        ;
    fixture.loop->io->ops->names_destroy(names);
}

static void a_host_loop_is_told_when_to_come(void **state)
{
    told_t told;

    (void)state;
    assert_true(hws_loop_timeout(fixture.loop) == HWS_NEVER);
    ask_of(fixture.names, &told, "localhost", AF_INET);
    assert_true(hws_loop_timeout(fixture.loop) == 0);
    assert_int_equal(hws_loop_run(fixture.loop, false), HWS_OK);
    assert_int_equal(told.calls, 1);
    ask_of(fixture.names, &told, "silent.test", AF_INET);
    assert_true(hws_loop_timeout(fixture.loop) == 0); /* the poll set is behind */
    assert_int_equal(hws_loop_run(fixture.loop, false), HWS_OK);
    assert_in_range(hws_loop_timeout(fixture.loop), HWS_MS(100), PATIENCE);
    unask(&told);
    while (hws_loop_run(fixture.loop, true) != HWS_END)
        ;
}

/* Processes and memory ------------------------------------------------------------------------ */

static void a_forked_child_leaves_the_questions_of_its_parent_alone(void **state)
{
    told_t told;
    int status = -1;
    pid_t child;

    (void)state;
    ask_of(fixture.names, &told, "late.test", AF_INET);
    child = fork();
    if (child == 0) {
        told_t own = {0};
        int rc = fixture.loop->io->ops->ask(fixture.names, "plain.test", AF_INET, on_answer, &own,
                                            &own.question);

        unask(&told);
        fixture.loop->io->ops->names_destroy(fixture.names);
        hws_loop_destroy(fixture.loop);
        _exit(rc == HWS_ERR_FORKED ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    wait_for(&told);
    assert_int_equal(told.status, HWS_OK);
}

static void each_allocation_may_fail(void **state)
{
    hws_address_t address = name_server_address(fixture.server);
    const hws_names_options_t options = make_options(&address, 1, PATIENCE);
    const hws_io_ops_t *ops = fixture.loop->io->ops;
    bool failed = true;

    (void)state;
    for (uint64_t n = 1; failed; n++) {
        told_t told = {0};
        hws_names_t *names;
        int rc;

        hws_memory_fail_at(n);
        rc = ops->names_create(fixture.loop->io, &options, &names);
        if (rc == HWS_OK) {
            rc = ops->ask(names, "plain.test", AF_INET, on_answer, &told, &told.question);
            if (rc == HWS_OK) {
                wait_for(&told);
                rc = told.status;
            }
            ops->names_destroy(names);
        }
        failed = hws_memory_count() >= n;
        hws_memory_fail_at(0);
        /* Of a hosts file that does not fit nothing is known, and a socket may be had later. */
        assert_true(rc == HWS_ERR_NOMEM || rc == HWS_OK);
    }
}

static void without_a_descriptor_left_a_look_up_says_so_and_works_later(void **state)
{
    struct rlimit before;
    struct rlimit none;
    int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    told_t *told;

    (void)state;
    close(fd);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)fd;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    told = look_up("plain.test", AF_INET);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(told->status, HWS_ERR_TOO_MANY_FILES);
    assert_int_equal(look_up("plain.test", AF_INET)->status, HWS_OK);
}

typedef struct {
    hws_address_t server;
    unsigned answered;
} look_ups_t;

static void count_answer(void *owner, const hws_answer_t *answer, hws_time_t now)
{
    look_ups_t *look_ups = owner;

    (void)now;
    look_ups->answered += answer->status == HWS_OK;
}

static void *look_up_on_a_thread(void *user)
{
    look_ups_t *look_ups = user;
    const hws_names_options_t options = make_options(&look_ups->server, 1, PATIENCE);
    hws_loop_t *loop;
    hws_names_t *names;
    hws_question_t *question;

    if (hws_loop_create(&loop) != HWS_OK)
        return NULL;
    if (loop->io->ops->names_create(loop->io, &options, &names) == HWS_OK) {
        for (int i = 0; i < 100; i++)
            (void)loop->io->ops->ask(names, "plain.test", i % 2 == 0 ? AF_INET : AF_INET6,
                                     count_answer, look_ups, &question);
        while (hws_loop_run(loop, true) != HWS_END)
            ;
        loop->io->ops->names_destroy(names);
    }
    hws_loop_destroy(loop);
    return NULL;
}

static void each_thread_may_have_a_loop_of_its_own(void **state)
{
    look_ups_t look_ups[4];
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++) {
        look_ups[i] = (look_ups_t){.server = name_server_address(fixture.server)};
        assert_int_equal(pthread_create(&threads[i], NULL, look_up_on_a_thread, &look_ups[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(look_ups[i].answered, 100);
    }
}

/* dnsmasq ------------------------------------------------------------------------------------- */

/* One that is free over UDP and over TCP, as a name server takes both; and none of those that the
 * system gives to whoever asks for any before that one listens. */
static uint16_t free_port(void)
{
    enum { FIRST = 10000, COUNT = 20000, STRIDE = 101 };

    for (long i = 0; i < COUNT; i++) {
        uint16_t port = (uint16_t)(FIRST + (getpid() + i * STRIDE) % COUNT);
        hws_address_t address;
        int udp = socket(AF_INET, SOCK_DGRAM, 0);
        int tcp = socket(AF_INET, SOCK_STREAM, 0);
        bool is_free;

        assert_int_equal(hws_address_from_ip(HWS_SLICE("127.0.0.1"), port, &address), HWS_OK);
        is_free = bind(udp, &address.as.any, address.size) == 0 &&
                  bind(tcp, &address.as.any, address.size) == 0;
        close(udp);
        close(tcp);
        if (is_free)
            return port;
    }
    fail_msg("no port is free");
    return 0;
}

/* Does not return. 127: it is not installed. */
static void run_dnsmasq(uint16_t port)
{
    char port_option[32];
    int null = open("/dev/null", O_WRONLY);

    snprintf(port_option, sizeof(port_option), "--port=%d", port);
    dup2(null, STDERR_FILENO);
    execlp("dnsmasq", "dnsmasq", "--no-daemon", "--conf-file=/dev/null", port_option,
           "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts",
           "--local=/test/", "--host-record=both.test,10.1.2.3,fd00::3,77",
           "--host-record=four.test,10.1.2.4,88", "--cname=alias.test,both.test,5", (char *)NULL);
    _exit(errno == ENOENT ? 127 : 1);
}

static int look_up_in(hws_names_t *names, const char *name, int family, told_t *told)
{
    ask_of(names, told, name, family);
    wait_for(told);
    return told->status;
}

static void dnsmasq_is_understood(void **state)
{
    uint16_t port = free_port();
    pid_t child;
    hws_address_t address;
    hws_names_t *names;
    told_t told;
    int status;
    int tries = 0;

    (void)state;
    if ((child = fork()) == 0)
        run_dnsmasq(port);
    assert_int_equal(hws_address_from_ip(HWS_SLICE("127.0.0.1"), port, &address), HWS_OK);
    names = make_names(&address, 1, PATIENCE);
    while (look_up_in(names, "both.test", AF_INET, &told) == HWS_ERR_DNS_REFUSED && tries++ < 200) {
        if (waitpid(child, &status, WNOHANG) == child) {
            fixture.loop->io->ops->names_destroy(names);
            fail_msg("dnsmasq ended; is it installed? (scripts/setup)");
        }
        usleep(20000);
    }
    assert_int_equal(told.status, HWS_OK);
    assert_int_equal(told.ips[0].bytes[3], 3);
    assert_int_equal(told.ttl, 77);
    assert_int_equal(look_up_in(names, "both.test", AF_INET6, &told), HWS_OK);
    assert_int_equal(told.ips[0].bytes[0], 0xfd);
    assert_int_equal(look_up_in(names, "four.test", AF_INET6, &told), HWS_ERR_NODATA);
    assert_int_equal(look_up_in(names, "none.test", AF_INET, &told), HWS_ERR_NXDOMAIN);
    assert_int_equal(look_up_in(names, "alias.test", AF_INET, &told), HWS_OK);
    assert_int_equal(told.ttl, 5);
    assert_int_equal(look_up_in(names, "elsewhere.example", AF_INET, &told), HWS_ERR_DNS_REFUSED);
    fixture.loop->io->ops->names_destroy(names);
    kill(child, SIGTERM);
    assert_int_equal(waitpid(child, &status, 0), child);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(each_answer_has_its_code),
        TEST(addresses_keep_their_order_and_the_shortest_ttl),
        TEST(what_is_too_long_for_udp_comes_over_tcp),
        TEST(a_silent_server_ends_in_a_timeout_within_patience),
        TEST(a_server_that_closes_tcp_or_is_not_there_ends_the_question),
        TEST(another_server_is_asked_when_one_fails),
        TEST(forged_answers_are_not_believed),
        TEST(localhost_and_the_hosts_file_need_no_server),
        TEST(a_hosts_file_that_changed_is_read_again),
        TEST(a_configuration_that_changed_holds_for_what_is_asked_then),
        TEST(the_configuration_of_the_system_can_be_used),
        TEST(a_short_name_is_tried_in_the_search_domains),
        TEST(a_thousand_names_at_once_are_answered),
        TEST(a_question_that_was_given_up_is_not_answered),
        TEST(questions_that_wait_for_their_turn_can_be_given_up),
        TEST(names_may_go_while_an_answer_is_told),
        TEST(a_timer_keeps_its_pace_while_nobody_answers),
        TEST(a_host_loop_is_told_when_to_come),
        TEST(a_forked_child_leaves_the_questions_of_its_parent_alone),
        TEST(each_allocation_may_fail),
        TEST(without_a_descriptor_left_a_look_up_says_so_and_works_later),
        TEST(each_thread_may_have_a_loop_of_its_own),
        TEST(dnsmasq_is_understood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
