#include "transport/srv.h"

#include "support/cmocka.h"
#include "support/srv_vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 4

/* The outcome as the vectors spell it. The bytes lie in a block of exactly their size. */
static const char *parse(const char *bytes, size_t size)
{
    static char outcome[MOST * 320];
    char *block = malloc(size > 0 ? size : 1);
    hws_srv_t records[MOST];
    uint32_t count = 99;
    size_t used = 0;
    int rc;

    assert_non_null(block);
    memcpy(block, bytes, size);
    rc = hws_srv_parse(block, size, records, MOST, &count);
    free(block);
    if (rc != HWS_OK) {
        assert_int_equal(count, 99);
        return hws_error_name(rc);
    }
    assert_in_range(count, 1, MOST);
    for (uint32_t i = 0; i < count; i++)
        used += (size_t)snprintf(outcome + used, sizeof(outcome) - used, "%s%d %d %d %s %u",
                                 i > 0 ? "; " : "", records[i].priority, records[i].weight,
                                 records[i].port, records[i].target, records[i].ttl);
    return outcome;
}

static void every_vector_has_its_outcome(void **state)
{
    bool is_wrong = false;

    (void)state;
    for (size_t i = 0; i < SRV_VECTOR_COUNT; i++) {
        const char *outcome = parse(srv_vectors[i].bytes, srv_vectors[i].size);

        if (strcmp(outcome, srv_vectors[i].outcome) == 0)
            continue;
        print_message("%s: %s\n", srv_vectors[i].name, outcome);
        is_wrong = true;
    }
    assert_false(is_wrong);
}

static void every_prefix_is_malformed(void **state)
{
    static const char bytes[] = HEAD(OK, "\2") QUESTION T T;
    size_t size;

    (void)state;
    for (size = 0; size < sizeof(bytes) - 1; size++)
        assert_string_equal(parse(bytes, size), "DNS_MALFORMED");
    assert_string_equal(parse(bytes, size), T_IS "; " T_IS);
}

/* A name of `labels` labels of 63 bytes, and one of `last` more. */
static size_t put_name(char *out, int labels, int last)
{
    size_t used = 0;

    for (int i = 0; i < labels; i++) {
        out[used++] = 63;
        memset(out + used, 'a', 63);
        used += 63;
    }
    out[used++] = (char)last;
    memset(out + used, 'b', (size_t)last);
    used += (size_t)last;
    out[used++] = 0;
    return used;
}

static void a_name_has_at_most_255_bytes(void **state)
{
    static const char head[] = HEAD(OK, "\1") QUESTION NAME SRV(MINUTE, "\xff");
    char bytes[600];

    (void)state;
    for (int last = 61; last <= 62; last++) {
        size_t size = sizeof(head) - 1;
        size_t name_size;

        memcpy(bytes, head, size);
        name_size = put_name(bytes + size + 6, 3, last);
        memset(bytes + size, 0, 6);
        bytes[size - 2] = 1; /* the length of the data: 6 + 255 */
        bytes[size - 1] = (char)(6 + name_size - 256);
        if (last == 61)
            assert_int_equal(strlen(parse(bytes, size + 6 + name_size)), strlen("0 0 0  60") + 253);
        else
            assert_string_equal(parse(bytes, size + 6 + name_size), "DNS_MALFORMED");
    }
}

/* Order --------------------------------------------------------------------------------------- */

static void a_lower_priority_goes_first(void **state)
{
    hws_srv_t records[50] = {0};
    hws_random_t random;

    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        hws_random_init(&random, seed);
        for (uint16_t i = 0; i < 50; i++)
            records[i] = (hws_srv_t){.priority = (uint16_t)(i * 7 % 5), .weight = i % 3, .port = i};
        hws_srv_order(records, 50, &random);
        for (int i = 1; i < 50; i++)
            assert_true(records[i - 1].priority <= records[i].priority);
        /* None was lost. */
        for (int port = 0; port < 50; port++) {
            int found = 0;

            for (int i = 0; i < 50; i++)
                found += records[i].port == port;
            assert_int_equal(found, 1);
        }
    }
    hws_srv_order(records, 0, &random);
}

static void weights_are_shares(void **state)
{
    static const struct {
        uint16_t weights[3];
        int least[3]; /* of 10000, how often each is first */
        int most[3];
    } steps[] = {
        {{10, 30, 60}, {850, 2750, 5750}, {1250, 3250, 6250}},
        {{1, 1, 1}, {2300, 2300, 2300}, {5100, 3700, 3700}},
        {{65535, 0, 65535}, {4700, 0, 4700}, {5300, 10, 5300}},
        {{0, 0, 0}, {10000, 0, 0}, {10000, 0, 0}},
    };
    size_t step;

    (void)state;
    for (step = 0; step < sizeof(steps) / sizeof(steps[0]); step++) {
        int firsts[3] = {0};
        hws_random_t random;

        hws_random_init(&random, 5);
        for (int i = 0; i < 10000; i++) {
            hws_srv_t records[3] = {0};

            for (uint16_t j = 0; j < 3; j++) {
                records[j].weight = steps[step].weights[j];
                records[j].port = j;
            }
            hws_srv_order(records, 3, &random);
            firsts[records[0].port]++;
        }
        for (int j = 0; j < 3; j++)
            if (firsts[j] < steps[step].least[j] || firsts[j] > steps[step].most[j])
                fail_msg("step %zu: %d times %d", step, firsts[j], j);
    }
}

/* The corpus of the fuzz target --------------------------------------------------------------- */

static void write_corpus(const char *folder)
{
    for (size_t i = 0; i < SRV_VECTOR_COUNT; i++) {
        char path[1024];
        FILE *file;

        snprintf(path, sizeof(path), "%s/%s", folder, srv_vectors[i].name);
        if ((file = fopen(path, "wb")) == NULL) {
            perror(path);
            exit(1);
        }
        fwrite(srv_vectors[i].bytes, 1, srv_vectors[i].size, file);
        fclose(file);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_has_its_outcome),
        cmocka_unit_test(every_prefix_is_malformed),
        cmocka_unit_test(a_name_has_at_most_255_bytes),
        cmocka_unit_test(a_lower_priority_goes_first),
        cmocka_unit_test(weights_are_shares),
    };

    if (argc == 2) {
        write_corpus(argv[1]);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
