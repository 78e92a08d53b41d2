#include "transport/sessions.h"

#include "base/memory.h"
#include "support/cmocka.h"

#include <stdio.h>
#include <string.h>

#define NOW HWS_S(1000)

/* The cache never looks into a session, so any address will do for one. */
static struct {
    hws_sessions_t sessions;
    char places[1000];
    bool is_freed[1000];
} it;

static hws_tls_session_t *session(size_t i)
{
    return (hws_tls_session_t *)(void *)&it.places[i];
}

static void note_freed(hws_tls_session_t *gone)
{
    size_t i = (size_t)((char *)gone - it.places);

    assert_false(it.is_freed[i]);
    it.is_freed[i] = true;
}

static int begin(void **state)
{
    *state = NULL;
    memset(it.is_freed, 0, sizeof(it.is_freed));
    hws_sessions_init(&it.sessions, 3, 7, note_freed);
    return 0;
}

static int end(void **state)
{
    (void)state;
    hws_memory_fail_at(0);
    hws_sessions_dispose(&it.sessions);
    return 0;
}

static hws_session_key_t key(uint64_t config, const char *name, const char *peer)
{
    return (hws_session_key_t){config, name, peer};
}

static void put(const char *name, size_t i)
{
    hws_session_key_t place = key(1, name, "1.2.3.4:443");

    hws_sessions_put(&it.sessions, &place, session(i), false, NOW);
}

static const hws_tls_session_t *lend(const char *name, hws_time_t now)
{
    hws_session_key_t place = key(1, name, "1.2.3.4:443");

    return hws_sessions_lend(&it.sessions, &place, now);
}

static void a_session_is_lent_as_often_as_asked_for(void **state)
{
    (void)state;
    assert_null(lend("a", NOW));
    put("a", 0);
    assert_ptr_equal(lend("a", NOW), session(0));
    assert_ptr_equal(lend("a", NOW + 1), session(0));
    assert_false(it.is_freed[0]);
}

static void a_single_use_one_is_lent_once(void **state)
{
    hws_session_key_t place = key(1, "a", "p");

    (void)state;
    hws_sessions_put(&it.sessions, &place, session(0), true, NOW);
    assert_ptr_equal(hws_sessions_lend(&it.sessions, &place, NOW), session(0));
    assert_false(it.is_freed[0]); /* borrowed until the next call */
    assert_null(hws_sessions_lend(&it.sessions, &place, NOW));
    assert_true(it.is_freed[0]);
    hws_sessions_put(&it.sessions, &place, session(1), true, NOW);
    assert_ptr_equal(hws_sessions_lend(&it.sessions, &place, NOW), session(1));
}

static void every_part_of_the_key_counts(void **state)
{
    hws_session_key_t ours = key(1, "ab", "c");
    hws_session_key_t others[] = {key(2, "ab", "c"), key(1, "a", "bc"), key(1, "abc", ""),
                                  key(1, "ab", "d"), key(1, "AB", "c"), key(1, "", "abc")};
    size_t i;

    (void)state;
    hws_sessions_put(&it.sessions, &ours, session(0), false, NOW);
    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_null(hws_sessions_lend(&it.sessions, &others[i], NOW));
    assert_ptr_equal(hws_sessions_lend(&it.sessions, &ours, NOW), session(0));
}

static void a_newer_one_takes_the_place(void **state)
{
    (void)state;
    put("a", 0);
    put("a", 1);
    assert_true(it.is_freed[0]);
    assert_ptr_equal(lend("a", NOW), session(1));
}

static void the_one_used_longest_ago_makes_room(void **state)
{
    (void)state;
    put("a", 0);
    put("b", 1);
    put("c", 2);
    assert_non_null(lend("a", NOW));
    put("d", 3);
    assert_true(it.is_freed[1]);
    assert_null(lend("b", NOW));
    assert_non_null(lend("a", NOW));
    assert_non_null(lend("c", NOW));
    assert_non_null(lend("d", NOW));
}

static void none_is_lent_for_longer_than_a_day(void **state)
{
    (void)state;
    put("a", 0);
    assert_non_null(lend("a", NOW + HWS_SESSIONS_LIFETIME - 1));
    assert_null(lend("a", NOW + HWS_SESSIONS_LIFETIME));
    assert_true(it.is_freed[0]);
}

static void a_forgotten_one_is_gone(void **state)
{
    hws_session_key_t place = key(1, "a", "1.2.3.4:443");

    (void)state;
    put("a", 0);
    hws_sessions_forget(&it.sessions, &place);
    assert_true(it.is_freed[0]);
    assert_null(lend("a", NOW));
    hws_sessions_forget(&it.sessions, &place);
}

static void no_session_is_nothing_to_keep(void **state)
{
    hws_session_key_t place = key(1, "a", "1.2.3.4:443");

    (void)state;
    hws_sessions_put(&it.sessions, &place, NULL, false, NOW);
    assert_null(lend("a", NOW));
    put("a", 0);
    hws_sessions_put(&it.sessions, &place, NULL, false, NOW);
    assert_ptr_equal(lend("a", NOW), session(0));
}

static void want_of_memory_and_overlong_keys_cost_the_session_alone(void **state)
{
    char name[2000];
    size_t i;

    (void)state;
    for (i = 1; i <= 2; i++) {
        hws_memory_fail_at(i);
        put("a", i);
        assert_true(it.is_freed[i]);
        assert_null(lend("a", NOW));
    }
    hws_memory_fail_at(0);
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    put(name, 9);
    assert_true(it.is_freed[9]);
    assert_null(lend(name, NOW));
}

static void it_never_grows(void **state)
{
    char name[16];
    size_t i;

    (void)state;
    for (i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "%zu", i);
        put(name, i);
        assert_true(it.sessions.table.size <= 3);
    }
    assert_ptr_equal(lend("999", NOW), session(999));
    assert_null(lend("996", NOW));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)
        TEST(a_session_is_lent_as_often_as_asked_for),
        TEST(a_single_use_one_is_lent_once),
        TEST(every_part_of_the_key_counts),
        TEST(a_newer_one_takes_the_place),
        TEST(the_one_used_longest_ago_makes_room),
        TEST(none_is_lent_for_longer_than_a_day),
        TEST(a_forgotten_one_is_gone),
        TEST(no_session_is_nothing_to_keep),
        TEST(want_of_memory_and_overlong_keys_cost_the_session_alone),
        TEST(it_never_grows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
