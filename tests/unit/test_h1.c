/* The HTTP/1.1 codec: the vectors, each cut in every way that matters, and what vectors cannot
 * say: limits to the byte, requests, credit, endings, memory. */
#include "support/cmocka.h"
#include "support/h1_run.h"
#include "support/h1_vectors.h"

#define HEADER ((size_t)65536)
#define BUFFER ((size_t)262144)

/* ---- vectors ---- */

static void start(h1_run_t *run, const char *method)
{
    assert_int_equal(h1_run_create(run, HEADER, BUFFER), HWS_OK);
    assert_int_equal(h1_run_open(run, method, HWS_BODY_NONE, 0), HWS_OK);
}

/* Compares the account with the first one of the same bytes. */
static void compare(const h1_vector_t *vector, const h1_run_t *run, const char *details, size_t cut)
{
    if (strcmp(h1_outcome(run), vector->outcome) != 0 ||
        (details != NULL && strcmp(h1_details(run), details) != 0))
        fail_msg("%s, cut at %zu: got \"%s\" (%s), not \"%s\" (%s)", vector->name, cut,
                 h1_outcome(run), h1_details(run), vector->outcome, details);
}

static char *run_whole(const h1_vector_t *vector)
{
    h1_run_t run;
    char *details;

    start(&run, vector->method);
    h1_run_feed(&run, vector->bytes, vector->size);
    h1_run_finish(&run);
    compare(vector, &run, NULL, vector->size);
    details = strdup(h1_details(&run));
    h1_run_dispose(&run);
    return details;
}

static void run_split(const h1_vector_t *vector, const char *details, size_t cut)
{
    h1_run_t run;

    start(&run, vector->method);
    h1_run_feed(&run, vector->bytes, cut);
    h1_run_feed(&run, vector->bytes + cut, vector->size - cut);
    h1_run_finish(&run);
    compare(vector, &run, details, cut);
    h1_run_dispose(&run);
}

static void run_pieces(const h1_vector_t *vector, const char *details, size_t piece)
{
    h1_run_t run;
    size_t at;

    start(&run, vector->method);
    for (at = 0; at < vector->size; at += piece)
        h1_run_feed(&run, vector->bytes + at,
                    vector->size - at < piece ? vector->size - at : piece);
    h1_run_finish(&run);
    compare(vector, &run, details, piece);
    h1_run_dispose(&run);
}

static void every_vector_has_its_outcome_however_it_is_cut(void **state)
{
    size_t i;
    size_t cut;

    (void)state;
    for (i = 0; i < H1_VECTOR_COUNT; i++) {
        const h1_vector_t *vector = &h1_vectors[i];
        char *details = run_whole(vector);

        for (cut = 1; cut < vector->size; cut++)
            run_split(vector, details, cut);
        for (cut = 1; cut < 4; cut++)
            run_pieces(vector, details, cut);
        free(details);
    }
}

/* Whatever has come, the peer's FIN ends an exchange, as an error unless the response is whole or
 * lasts until the close; and a connection whose FIN was seen takes nothing more. */
static void every_prefix_can_be_the_last(void **state)
{
    size_t i;
    size_t size;

    (void)state;
    for (i = 0; i < H1_VECTOR_COUNT; i++) {
        for (size = 0; size <= h1_vectors[i].size; size++) {
            h1_run_t run;

            start(&run, h1_vectors[i].method);
            h1_run_feed(&run, h1_vectors[i].bytes, size);
            if (!run.is_over && !run.has_ended) {
                int rc = run.codec->ops->feed_end(run.codec);

                assert_int_equal(rc, run.has_ended ? HWS_OK : HWS_ERR_EOF);
                assert_true(run.codec->is_last);
            }
            assert_true(run.has_ended || run.is_over || run.codec->is_last);
            h1_run_dispose(&run);
        }
    }
}

static void fin_while_idle_is_no_error(void **state)
{
    h1_run_t run;

    (void)state;
    assert_int_equal(h1_run_create(&run, HEADER, BUFFER), HWS_OK);
    assert_int_equal(run.codec->ops->feed_end(run.codec), HWS_OK);
    assert_true(run.codec->is_last);
    assert_int_equal(run.codec->room, 0);
    h1_run_dispose(&run);
}

/* ---- the head ---- */

static hws_head_t seen; /* the last head, as far as it outlives the call */
static char seen_bytes[512];
static hws_field_t seen_fields[16];

static void keep_head(hws_stream_t *stream, const hws_head_t *head)
{
    (void)stream;
    assert_true(head->size < sizeof(seen_bytes) && head->count <= 16);
    seen = *head;
    memcpy(seen_bytes, head->bytes, head->size);
    memcpy(seen_fields, head->fields, head->count * sizeof(*head->fields));
    seen.bytes = seen_bytes;
    seen.fields = seen_fields;
}

static size_t take_all(hws_stream_t *stream, const char *data, size_t size)
{
    (void)stream;
    (void)data;
    return size;
}

static void ignore_end(hws_stream_t *stream, int status)
{
    (void)stream;
    (void)status;
}

static const hws_stream_events_t keeping = {
    .on_head = keep_head, .on_body = take_all, .on_trailers = keep_head, .on_end = ignore_end};

#define TEXT(slice) (int)(slice).size, (slice).data

static void assert_field(uint32_t index, const char *name, const char *value)
{
    char line[256];
    char wanted[256];

    snprintf(line, sizeof(line), "%.*s|%.*s", TEXT(hws_head_name(&seen, index)),
             TEXT(hws_head_value(&seen, index)));
    snprintf(wanted, sizeof(wanted), "%s|%s", name, value);
    assert_string_equal(line, wanted);
}

static void feed_all(h1_run_t *run, const char *bytes)
{
    h1_run_feed(run, bytes, strlen(bytes));
}

static void a_head_is_told_field_by_field(void **state)
{
    h1_run_t run;

    (void)state;
    start(&run, "GET");
    run.stream.events = &keeping;
    feed_all(&run, "HTTP/1.0 404 Not Found\r\n"
                   "A:\r\n"
                   "Some-Longer-Name: and a value of more than sixteen bytes\r\n"
                   "b: \t c d\t \r\n"
                   "Content-Length: 0\r\n"
                   "A:second\r\n"
                   "Trailing-Space: a value of more than sixteen bytes \r\n"
                   "Two-Spaces:  a value of more than sixteen bytes\r\n"
                   "Nothing: \r\n"
                   "x^: with enough bytes behind the line before it\r\n\r\n");
    assert_int_equal(seen.status, 404);
    assert_int_equal(seen.version, 10);
    assert_int_equal(seen.reason_size, strlen("Not Found"));
    assert_memory_equal(seen.bytes + seen.reason, "Not Found", seen.reason_size);
    assert_int_equal(seen.count, 9);
    assert_field(0, "A", "");
    assert_field(1, "Some-Longer-Name", "and a value of more than sixteen bytes");
    assert_field(2, "b", "c d");
    assert_field(3, "Content-Length", "0");
    assert_field(4, "A", "second");
    assert_field(5, "Trailing-Space", "a value of more than sixteen bytes");
    assert_field(6, "Two-Spaces", "a value of more than sixteen bytes");
    assert_field(7, "Nothing", "");
    assert_field(8, "x^", "with enough bytes behind the line before it");

    assert_int_equal(hws_head_find(&seen, HWS_SLICE("a"), 0), 0);
    assert_int_equal(hws_head_find(&seen, HWS_SLICE("a"), 1), 4);
    assert_int_equal(hws_head_find(&seen, HWS_SLICE("a"), 5), -1);
    assert_int_equal(hws_head_find(&seen, HWS_SLICE("B"), 0), 2);
    assert_int_equal(hws_head_find(&seen, HWS_SLICE("CONTENT-length"), 0), 3);
    assert_int_equal(hws_head_find(&seen, HWS_SLICE("content-lengtH\0"), 0), -1);
    assert_int_equal(hws_head_find(&seen, HWS_SLICE("content\rlength"), 0), -1);
    assert_int_equal(hws_head_find(&seen, HWS_SLICE(""), 0), -1);
    assert_int_equal(hws_head_find(&seen, HWS_SLICE("X^"), 0), 8);
    assert_int_equal(hws_head_find(&seen, HWS_SLICE("x~"), 0), -1);
    h1_run_dispose(&run);
}

static void a_status_line_may_lack_its_reason_and_even_the_space_before_it(void **state)
{
    h1_run_t run;

    (void)state;
    start(&run, "GET");
    run.stream.events = &keeping;
    feed_all(&run, "HTTP/1.1 204 \r\n\r\n");
    assert_int_equal(seen.reason_size, 0);
    assert_int_equal(seen.size, strlen("HTTP/1.1 204 \r\n\r\n"));
    h1_run_dispose(&run);
    start(&run, "GET");
    run.stream.events = &keeping;
    feed_all(&run, "HTTP/1.1 204\r\n\r\n");
    assert_int_equal(seen.reason_size, 0);
    assert_int_equal(seen.count, 0);
    assert_int_equal(seen.size, strlen("HTTP/1.1 204\r\n\r\n"));
    h1_run_dispose(&run);
}

static void trailers_have_neither_status_nor_reason(void **state)
{
    h1_run_t run;

    (void)state;
    start(&run, "GET");
    run.stream.events = &keeping;
    feed_all(&run, CHUNKED "0\r\nChecksum: 12\r\n\r\n");
    assert_int_equal(seen.status, 0);
    assert_int_equal(seen.version, 11);
    assert_int_equal(seen.reason_size, 0);
    assert_int_equal(seen.count, 1);
    assert_field(0, "Checksum", "12");
    h1_run_dispose(&run);
}

/* Whether a head with this line is taken: in pieces, the line being one, or whole. */
static bool takes_line(const char *line, size_t size, bool is_whole)
{
    static const char before[] = OK11;
    static const char after[] = "\r\n" EMPTY;
    char head[160];
    h1_run_t run;
    bool is_taken;

    memcpy(head, before, sizeof(before) - 1);
    memcpy(head + sizeof(before) - 1, line, size);
    memcpy(head + sizeof(before) - 1 + size, after, sizeof(after) - 1);
    start(&run, "GET");
    if (is_whole) {
        h1_run_feed(&run, head, sizeof(before) - 1 + size + sizeof(after) - 1);
    } else {
        h1_run_feed(&run, before, sizeof(before) - 1);
        h1_run_feed(&run, line, size);
        h1_run_feed(&run, after, sizeof(after) - 1);
    }
    is_taken = run.has_ended;
    h1_run_dispose(&run);
    return is_taken;
}

/* Every byte at every place of a line: the fast path and the careful one know the same grammar. */
static void names_and_values_take_exactly_their_bytes(void **state)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    static const char usual[] = "Abcdefgh-Jklmn: a value of text, thirty bytes";
    size_t size = sizeof(usual) - 1;
    size_t place;
    int byte;

    (void)state;
    for (byte = 0; byte < 256; byte++) {
        bool is_token = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                        (byte >= 'A' && byte <= 'Z') || (byte != 0 && strchr(marks, byte) != NULL);
        bool is_text = byte == '\t' || (byte >= ' ' && byte != 0x7f);

        for (place = 0; place < size; place++) {
            bool is_right = place < 14 ? is_token || (byte == ':' && place > 0) : is_text;
            char line[sizeof(usual)];

            if (place == 14)
                continue; /* the colon */
            memcpy(line, usual, size);
            line[place] = (char)byte;
            assert_int_equal(takes_line(line, size, false), is_right);
            assert_int_equal(takes_line(line, size, true), is_right);
        }
    }
}

/* ---- limits, to the byte ---- */

/* Feeds all but the last byte, in pieces, looks, and feeds the last one. */
static void expect_pieces(size_t header, const char *bytes, size_t size, size_t piece,
                          const char *before, const char *after)
{
    h1_run_t run;
    size_t at;

    assert_int_equal(h1_run_create(&run, header, BUFFER), HWS_OK);
    assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_OK);
    for (at = 0; at + 1 < size; at += piece)
        h1_run_feed(&run, bytes + at, size - 1 - at < piece ? size - 1 - at : piece);
    assert_string_equal(h1_outcome(&run), before);
    h1_run_feed(&run, bytes + size - 1, 1);
    assert_string_equal(h1_outcome(&run), after);
    h1_run_dispose(&run);
}

static void expect_at_last_byte(size_t header, const char *bytes, size_t size, const char *before,
                                const char *after)
{
    h1_run_t run;

    expect_pieces(header, bytes, size, 1, before, after);
    expect_pieces(header, bytes, size, size, before, after);
    assert_int_equal(h1_run_create(&run, header, BUFFER), HWS_OK);
    assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_OK);
    h1_run_feed(&run, bytes, size);
    assert_string_equal(h1_outcome(&run), after);
    h1_run_dispose(&run);
}

static void a_head_may_be_as_large_as_the_limit(void **state)
{
    static const char head[] = OK11 "Content-Length: 000000000000000\r\n\r\n";

    (void)state;
    expect_at_last_byte(sizeof(head) - 1, head, sizeof(head) - 1, "", "200 end");
}

static void a_larger_head_is_refused_as_soon_as_that_is_known(void **state)
{
    static const char head[] = OK11 "Content-Length: 000000000000000\r\n\r\n";

    (void)state;
    expect_at_last_byte(sizeof(head) - 2, head, sizeof(head) - 2, "", "HEADER_SIZE");
    expect_at_last_byte(40, head, 40, "", "HEADER_SIZE");
    expect_at_last_byte(15, head, 15, "", "HEADER_SIZE");
}

static void every_informational_head_has_the_limit_for_itself(void **state)
{
    static const char bytes[] = CONTINUE CONTINUE OK11 EMPTY;

    (void)state;
    expect_at_last_byte(40, bytes, sizeof(bytes) - 1, "", "200 end");
}

static void trailers_may_be_as_large_as_the_limit(void **state)
{
    static const char head[] = CHUNKED "0\r\n";
    char bytes[256];
    size_t limit = sizeof(CHUNKED) - 1;
    size_t size;

    (void)state;
    size = (size_t)snprintf(bytes, sizeof(bytes), "%sA: %0*d\r\n\r\n", head, (int)limit - 7, 0);
    assert_int_equal(size, sizeof(head) - 1 + limit);
    {
        char end[256];

        snprintf(end, sizeof(end), "200 {A: %0*d} end", (int)limit - 7, 0);
        expect_at_last_byte(limit, bytes, size, "200", end);
    }
    snprintf(bytes, sizeof(bytes), "%sA: %0*d\r\n\r\n", head, (int)limit - 6, 0);
    expect_at_last_byte(limit, bytes, size, "200", "200 HEADER_SIZE");
}

static size_t write_fields(char *bytes, size_t room, const char *before, unsigned count)
{
    size_t size = (size_t)snprintf(bytes, room, "%s", before);

    while (count-- > 0)
        size += (size_t)snprintf(bytes + size, room - size, "A: b\r\n");
    return size;
}

static void there_may_be_a_field_for_every_32_bytes_of_the_limit(void **state)
{
    char bytes[1024];
    size_t size;

    (void)state;
    size = write_fields(bytes, sizeof(bytes), OK11 "Content-Length: 0\r\n", 31);
    size += (size_t)snprintf(bytes + size, sizeof(bytes) - size, "\r\n");
    expect_at_last_byte(1024, bytes, size, "", "200 end");

    size = write_fields(bytes, sizeof(bytes), OK11 "Content-Length: 0\r\n", 32);
    expect_at_last_byte(1024, bytes, size, "", "HEADER_COUNT");
    size = write_fields(bytes, sizeof(bytes), CHUNKED "0\r\n", 33);
    expect_at_last_byte(1024 + 31, bytes, size, "200", "200 HEADER_COUNT");
}

static void many_fields_are_all_told(void **state)
{
    enum { COUNT = 300 };
    char *bytes = malloc(HEADER);
    size_t size = (size_t)snprintf(bytes, HEADER, "%s", OK11 "Content-Length: 0\r\n");
    h1_run_t run;
    int i;

    (void)state;
    for (i = 0; i < COUNT; i++)
        size += (size_t)snprintf(bytes + size, HEADER - size, "Name-%d: value %d\r\n", i, i);
    size += (size_t)snprintf(bytes + size, HEADER - size, "\r\n");
    start(&run, "GET");
    h1_run_feed(&run, bytes, size);
    assert_string_equal(h1_outcome(&run), "200 end");
    assert_non_null(strstr(h1_details(&run), "{Content-Length: 0, Name-0: value 0, Name-1:"));
    assert_non_null(strstr(h1_details(&run), "Name-298: value 298, Name-299: value 299}"));
    h1_run_dispose(&run);
    free(bytes);
}

static void put(char *to, const char *text)
{
    memcpy(to, text, strlen(text));
}

/* The line's limit counts its CRLF. */
static void expect_chunk_line(size_t header, size_t limit)
{
    size_t size = sizeof(CHUNKED) - 1;
    char *bytes = malloc(size + limit + 8);

    memcpy(bytes, CHUNKED, size);
    memset(bytes + size, '0', limit);
    put(bytes + size + limit - 3, "5\r\n");
    put(bytes + size + limit, "hello");
    expect_at_last_byte(header, bytes, size + limit + 1, "200", "200 'h");

    memset(bytes + size, '0', limit);
    put(bytes + size + limit - 2, "5\r\n");
    expect_at_last_byte(header, bytes, size + limit, "200", "200 CHUNK_LINE");

    put(bytes + size, "5;a=\"");
    memset(bytes + size + 5, 'b', limit);
    expect_at_last_byte(header, bytes, size + limit, "200", "200 CHUNK_LINE");
    free(bytes);
}

static void a_chunk_line_may_be_4096_bytes_long_or_as_long_as_a_head(void **state)
{
    (void)state;
    expect_chunk_line(HEADER, 4096);
    expect_chunk_line(4096, 4096);
    expect_chunk_line(100, 100);
}

/* A long head in small pieces is looked at twice, not once for each piece. */
static void a_dripping_head_costs_no_more_than_its_size(void **state)
{
    static char bytes[HEADER];
    static const char begin[] = OK11 "Content-Length: 0\r\nA: ";
    h1_run_t run;
    size_t i;

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    memcpy(bytes, begin, sizeof(begin) - 1);
    put(bytes + sizeof(bytes) - 4, "\r\n\r\n");
    start(&run, "GET");
    hws_memory_fail_at(UINT64_MAX);
    for (i = 0; i < sizeof(bytes); i++)
        h1_run_feed(&run, bytes + i, 1);
    assert_true(hws_memory_count() < 16);
    hws_memory_fail_at(0);
    assert_string_equal(h1_outcome(&run), "200 end");
    h1_run_dispose(&run);
}

/* ---- requests ---- */

static void expect_request(const hws_message_t *message, const char *wanted)
{
    h1_run_t run;

    assert_int_equal(h1_run_create(&run, HEADER, BUFFER), HWS_OK);
    assert_int_equal(hws_buffer_append(&run.out, ">", 1), HWS_OK);
    assert_int_equal(run.codec->ops->open(run.codec, &run.stream, message, &run.out), HWS_OK);
    assert_int_equal(run.codec->room, 0);
    assert_false(run.codec->is_last);
    assert_int_equal(hws_buffer_append(&run.out, "", 1), HWS_OK);
    assert_string_equal(hws_buffer_bytes(&run.out) + 1, wanted);
    h1_run_dispose(&run);
}

static void requests_are_written_as_they_should_be(void **state)
{
    (void)state;
    expect_request(&(hws_message_t){.method = HWS_SLICE("GET"),
                                    .target = HWS_SLICE("/a?b"),
                                    .authority = HWS_SLICE("host:80"),
                                    .fields = HWS_SLICE("A: b\r\nC: d\r\n")},
                   "GET /a?b HTTP/1.1\r\nHost: host:80\r\nA: b\r\nC: d\r\n\r\n");
    expect_request(&(hws_message_t){.method = HWS_SLICE("OPTIONS"), .target = HWS_SLICE("*")},
                   "OPTIONS * HTTP/1.1\r\n\r\n");
    expect_request(&(hws_message_t){.method = HWS_SLICE("POST"),
                                    .target = HWS_SLICE("/"),
                                    .authority = HWS_SLICE("a")},
                   "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    expect_request(&(hws_message_t){.method = HWS_SLICE("PUT"), .target = HWS_SLICE("/")},
                   "PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    expect_request(&(hws_message_t){.method = HWS_SLICE("PATCH"), .target = HWS_SLICE("/")},
                   "PATCH / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    expect_request(&(hws_message_t){.method = HWS_SLICE("DELETE"), .target = HWS_SLICE("/")},
                   "DELETE / HTTP/1.1\r\n\r\n");
    expect_request(&(hws_message_t){.method = HWS_SLICE("POST"),
                                    .target = HWS_SLICE("/"),
                                    .body = HWS_BODY_SIZED,
                                    .body_size = 1234567890},
                   "POST / HTTP/1.1\r\nContent-Length: 1234567890\r\n\r\n");
    expect_request(&(hws_message_t){.method = HWS_SLICE("GET"),
                                    .target = HWS_SLICE("/"),
                                    .body = HWS_BODY_SIZED,
                                    .body_size = UINT64_MAX},
                   "GET / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n");
    expect_request(&(hws_message_t){.method = HWS_SLICE("POST"),
                                    .target = HWS_SLICE("/"),
                                    .body = HWS_BODY_SIZED,
                                    .body_size = 0},
                   "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    expect_request(&(hws_message_t){.method = HWS_SLICE("POST"),
                                    .target = HWS_SLICE("/"),
                                    .fields = HWS_SLICE("Host: own\r\n"),
                                    .body = HWS_BODY_CHUNKED},
                   "POST / HTTP/1.1\r\nHost: own\r\nTransfer-Encoding: chunked\r\n\r\n");
}

static void a_tunnel_is_refused_and_changes_nothing(void **state)
{
    h1_run_t run;

    (void)state;
    assert_int_equal(h1_run_create(&run, HEADER, BUFFER), HWS_OK);
    assert_int_equal(h1_run_open(&run, "CONNECT", HWS_BODY_NONE, 0), HWS_ERR_UNSUPPORTED);
    assert_int_equal(run.codec->room, 1);
    assert_true(hws_buffer_is_empty(&run.out));
    assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_OK);
    h1_run_dispose(&run);
}

static void send(h1_run_t *run, const char *data, bool end)
{
    size_t taken = 99;

    assert_int_equal(
        run->codec->ops->send(run->codec, &run->stream, data, strlen(data), end, &run->out, &taken),
        HWS_OK);
    assert_int_equal(taken, strlen(data));
}

static void assert_sent(h1_run_t *run, const char *wanted)
{
    assert_int_equal(hws_buffer_append(&run->out, "", 1), HWS_OK);
    assert_string_equal(hws_buffer_bytes(&run->out), wanted);
    hws_buffer_clear(&run->out);
}

static void a_sized_body_is_sent_as_it_is(void **state)
{
    h1_run_t run;

    (void)state;
    assert_int_equal(h1_run_create(&run, HEADER, BUFFER), HWS_OK);
    assert_int_equal(h1_run_open(&run, "POST", HWS_BODY_SIZED, 10), HWS_OK);
    hws_buffer_clear(&run.out);
    send(&run, "hello", false);
    send(&run, "", false);
    send(&run, "world", true);
    assert_sent(&run, "helloworld");
    feed_all(&run, OK11 EMPTY);
    assert_int_equal(run.codec->room, 1);
    h1_run_dispose(&run);
}

static void an_unsized_body_is_sent_in_chunks(void **state)
{
    h1_run_t run;

    (void)state;
    assert_int_equal(h1_run_create(&run, HEADER, BUFFER), HWS_OK);
    assert_int_equal(h1_run_open(&run, "POST", HWS_BODY_CHUNKED, 0), HWS_OK);
    hws_buffer_clear(&run.out);
    send(&run, "hello", false);
    assert_sent(&run, "5\r\nhello\r\n");
    send(&run, "", false);
    assert_sent(&run, "");
    send(&run, "seventeen letters", false);
    assert_sent(&run, "11\r\nseventeen letters\r\n");
    send(&run, "ten bytes.", true);
    assert_sent(&run, "a\r\nten bytes.\r\n0\r\n\r\n");
    feed_all(&run, OK11 EMPTY);
    assert_int_equal(run.codec->room, 1);
    h1_run_dispose(&run);
}

static void a_large_chunk_says_its_size(void **state)
{
    size_t size = 0x12345;
    char *data = malloc(size);
    h1_run_t run;
    size_t taken;

    (void)state;
    memset(data, 'x', size);
    assert_int_equal(h1_run_create(&run, HEADER, BUFFER), HWS_OK);
    assert_int_equal(h1_run_open(&run, "POST", HWS_BODY_CHUNKED, 0), HWS_OK);
    hws_buffer_clear(&run.out);
    assert_int_equal(
        run.codec->ops->send(run.codec, &run.stream, data, size, false, &run.out, &taken), HWS_OK);
    assert_int_equal(hws_buffer_size(&run.out), strlen("12345\r\n") + size + 2);
    assert_memory_equal(hws_buffer_bytes(&run.out), "12345\r\nx", 8);
    h1_run_dispose(&run);
    free(data);
}

static void the_end_of_a_body_may_come_alone(void **state)
{
    h1_run_t run;

    (void)state;
    assert_int_equal(h1_run_create(&run, HEADER, BUFFER), HWS_OK);
    assert_int_equal(h1_run_open(&run, "POST", HWS_BODY_CHUNKED, 0), HWS_OK);
    hws_buffer_clear(&run.out);
    send(&run, "", true);
    assert_sent(&run, "0\r\n\r\n");
    h1_run_dispose(&run);
}

static void early_response(hws_body_kind_t body, uint64_t size, const char *sent)
{
    h1_run_t run;

    assert_int_equal(h1_run_create(&run, HEADER, BUFFER), HWS_OK);
    assert_int_equal(h1_run_open(&run, "POST", body, size), HWS_OK);
    send(&run, sent, false);
    feed_all(&run, OK11 "Content-Length: 2\r\n\r\nn");
    assert_false(run.codec->is_last); /* the rest of the request may still go out in time */
    feed_all(&run, "o");
    assert_string_equal(h1_outcome(&run), "200 'no' end");
    assert_true(run.codec->is_last);
    assert_int_equal(run.codec->room, 0);
    h1_run_dispose(&run);
}

static void a_response_before_the_request_is_out_spends_the_connection(void **state)
{
    (void)state;
    early_response(HWS_BODY_SIZED, 3, "");
    early_response(HWS_BODY_SIZED, 3, "ab");
    early_response(HWS_BODY_CHUNKED, 0, "");
    early_response(HWS_BODY_CHUNKED, 0, "ab");
}

static void a_request_that_is_out_when_the_response_ends_was_in_time(void **state)
{
    h1_run_t run;

    (void)state;
    assert_int_equal(h1_run_create(&run, HEADER, BUFFER), HWS_OK);
    assert_int_equal(h1_run_open(&run, "POST", HWS_BODY_CHUNKED, 0), HWS_OK);
    feed_all(&run, OK11 "Content-Length: 2\r\n\r\nn");
    send(&run, "", true);
    feed_all(&run, "o");
    assert_false(run.codec->is_last);
    assert_int_equal(run.codec->room, 1);
    h1_run_dispose(&run);
}

static void checked_fields_are_added_as_lines(void **state)
{
    hws_buffer_t lines = {0};
    int byte;

    (void)state;
    assert_int_equal(hws_h1_add_field(&lines, HWS_SLICE("A"), HWS_SLICE("b")), HWS_OK);
    assert_int_equal(hws_h1_add_field(&lines, HWS_SLICE("C"), (hws_slice_t){0}), HWS_OK);
    assert_int_equal(hws_h1_add_field(&lines, HWS_SLICE("D"), HWS_SLICE("\tcaf\xc3\xa9 ")), HWS_OK);
    for (byte = 0; byte < 256; byte++) {
        char value[20] = "twenty bytes of text";
        bool is_text = byte == '\t' || (byte >= ' ' && byte != 0x7f);
        hws_buffer_t line = {0};

        value[byte % 20] = (char)byte;
        assert_int_equal(hws_h1_add_field(&line, HWS_SLICE("N"), (hws_slice_t){value, 20}),
                         is_text ? HWS_OK : HWS_ERR_INVALID);
        hws_buffer_dispose(&line);
    }
    assert_int_equal(hws_h1_add_field(&lines, HWS_SLICE(""), HWS_SLICE("b")), HWS_ERR_INVALID);
    assert_int_equal(hws_h1_add_field(&lines, HWS_SLICE("A b"), HWS_SLICE("b")), HWS_ERR_INVALID);
    assert_int_equal(hws_h1_add_field(&lines, HWS_SLICE("A:"), HWS_SLICE("b")), HWS_ERR_INVALID);
    assert_int_equal(hws_h1_add_field(&lines, HWS_SLICE("A\r\nB"), HWS_SLICE("b")),
                     HWS_ERR_INVALID);
    assert_int_equal(hws_h1_add_field(&lines, HWS_SLICE("A"), HWS_SLICE("b\r\nC: d")),
                     HWS_ERR_INVALID);
    assert_int_equal(hws_buffer_append(&lines, "", 1), HWS_OK);
    assert_string_equal(hws_buffer_bytes(&lines), "A: b\r\nC: \r\nD: \tcaf\xc3\xa9 \r\n");
    hws_buffer_dispose(&lines);
}

static void tokens_and_targets_are_told_from_other_text(void **state)
{
    (void)state;
    assert_true(hws_h1_is_token(HWS_SLICE("GET")));
    assert_true(hws_h1_is_token(HWS_SLICE("x!#$%&'*+-.^_`|~9")));
    assert_false(hws_h1_is_token(HWS_SLICE("")));
    assert_false(hws_h1_is_token((hws_slice_t){0}));
    assert_false(hws_h1_is_token(HWS_SLICE("GET ")));
    assert_false(hws_h1_is_token(HWS_SLICE("G\0")));
    assert_false(hws_h1_is_token(HWS_SLICE("\xc3\xa9")));
    assert_true(hws_h1_is_target(HWS_SLICE("/")));
    assert_true(hws_h1_is_target(HWS_SLICE("*")));
    assert_true(hws_h1_is_target(HWS_SLICE("/a/path/of/more/than/16/bytes?b=%20#c\xc3\xa9")));
    assert_false(hws_h1_is_target(HWS_SLICE("")));
    assert_false(hws_h1_is_target((hws_slice_t){0}));
    assert_false(hws_h1_is_target(HWS_SLICE("/a b")));
    assert_false(hws_h1_is_target(HWS_SLICE("/a/path/of/more/than/sixteen bytes")));
    assert_false(hws_h1_is_target(HWS_SLICE("/a\tb")));
    assert_false(hws_h1_is_target(HWS_SLICE("/a\r\nb")));
    assert_false(hws_h1_is_target(HWS_SLICE("/a\0b")));
    assert_false(hws_h1_is_target(HWS_SLICE("/a\x7f")));
}

/* ---- the life of a connection ---- */

static void exchanges_follow_one_another(void **state)
{
    h1_run_t run;
    int i;

    (void)state;
    assert_int_equal(h1_run_create(&run, HEADER, BUFFER), HWS_OK);
    for (i = 0; i < 3; i++) {
        run.has_head = run.has_ended = run.has_trailers = false;
        assert_int_equal(run.codec->room, 1);
        assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_OK);
        feed_all(&run, CONTINUE CONTINUE CONTINUE); /* counted anew for each */
        feed_all(&run, "HTTP/1.1 2");
        feed_all(&run, "00 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r");
        feed_all(&run, "\nhi\r\n0\r\nA: b\r");
        feed_all(&run, "\n\r\n");
    }
    assert_string_equal(h1_outcome(&run),
                        "200 'hi' {A: b} end 200 'hi' {A: b} end 200 'hi' {A: b} end");
    h1_run_dispose(&run);
}

/* Bytes that nobody asked for may be the answer to somebody else's request: they are not parsed. */
static void bytes_on_an_idle_connection_spend_it(void **state)
{
    h1_run_t run;

    (void)state;
    assert_int_equal(h1_run_create(&run, HEADER, BUFFER), HWS_OK);
    assert_int_equal(run.codec->ops->feed(run.codec, "", 0), HWS_OK);
    assert_int_equal(run.codec->room, 1);
    assert_int_equal(run.codec->ops->feed(run.codec, "H", 1), HWS_ERR_UNEXPECTED);
    assert_int_equal(run.codec->room, 0);
    assert_true(run.codec->is_last);
    assert_int_equal(run.codec->ops->feed(run.codec, "T", 1), HWS_ERR_UNEXPECTED);
    h1_run_dispose(&run);
}

static void a_connection_that_will_close_says_so_with_the_head(void **state)
{
    h1_run_t run;

    (void)state;
    start(&run, "GET");
    feed_all(&run, OK11 "Connection: close\r\nContent-Length: 3\r\n\r\n");
    assert_true(run.codec->is_last);
    h1_run_dispose(&run);
    start(&run, "GET");
    feed_all(&run, OK11 "\r\n");
    assert_true(run.codec->is_last);
    assert_false(run.has_ended);
    h1_run_dispose(&run);
}

static void the_last_hint_counts(void **state)
{
    h1_run_t run;

    (void)state;
    start(&run, "GET");
    assert_int_equal(run.codec->idle_hint, HWS_NEVER);
    feed_all(&run, OK11 "Keep-Alive: timeout=5\r\n" EMPTY);
    assert_int_equal(run.codec->idle_hint, HWS_S(5));
    run.has_head = run.has_ended = false;
    assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_OK);
    feed_all(&run, OK11 EMPTY);
    assert_int_equal(run.codec->idle_hint, HWS_S(5));
    run.has_head = run.has_ended = false;
    assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_OK);
    feed_all(&run, OK11 "Keep-Alive: timeout=7\r\n" EMPTY);
    assert_int_equal(run.codec->idle_hint, HWS_S(7));
    run.has_head = run.has_ended = false;
    assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_OK);
    feed_all(&run, OK11 "Keep-Alive: max=3, timeout=\"9\"\r\nKeep-Alive: timeout=\"10\r\n" EMPTY);
    assert_int_equal(run.codec->idle_hint, HWS_S(9));
    h1_run_dispose(&run);
}

/* At every moment of a response. */
static void a_reset_exchange_spends_the_connection_and_hears_no_more(void **state)
{
    static const char bytes[] =
        CONTINUE CHUNKED "5;a\r\nhello\r\n3\r\nabc\r\n0\r\nA: b\r\nC: d\r\n\r\n";
    size_t size;

    (void)state;
    for (size = 0; size + 1 < sizeof(bytes); size++) {
        h1_run_t run;

        start(&run, "GET");
        h1_run_feed(&run, bytes, size);
        run.codec->ops->reset(run.codec, &run.stream, 0);
        assert_true(run.codec->is_last);
        assert_int_equal(run.codec->room, 0);
        assert_true(run.codec->wants_bytes);
        run.has_ended = true; /* any further event would now abort */
        assert_int_equal(run.codec->ops->feed(run.codec, bytes + size, sizeof(bytes) - 1 - size),
                         HWS_ERR_UNEXPECTED);
        assert_int_equal(run.codec->ops->feed_end(run.codec), HWS_OK);
        h1_run_dispose(&run);
    }
}

static void a_reset_after_the_end_changes_nothing(void **state)
{
    h1_run_t run;

    (void)state;
    start(&run, "GET");
    feed_all(&run, OK11 EMPTY);
    run.codec->ops->reset(run.codec, &run.stream, 0);
    assert_int_equal(run.codec->room, 1);
    h1_run_dispose(&run);
}

/* ---- credit ---- */

static void credit(h1_run_t *run, size_t size)
{
    assert_int_equal(run->codec->ops->credit(run->codec, &run->stream, size), HWS_OK);
}

static void reading_stops_when_a_buffer_is_unread_and_goes_on_at_its_half(void **state)
{
    h1_run_t run;

    (void)state;
    assert_int_equal(h1_run_create(&run, HEADER, 10), HWS_OK);
    run.consumes = 0;
    assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_OK);
    assert_true(run.codec->wants_bytes);
    feed_all(&run, OK11 "Content-Length: 100\r\n\r\n");
    feed_all(&run, "123456789");
    assert_true(run.codec->wants_bytes);
    feed_all(&run, "0");
    assert_false(run.codec->wants_bytes);
    feed_all(&run, "12"); /* was under way */
    assert_false(run.codec->wants_bytes);
    credit(&run, 6);
    assert_false(run.codec->wants_bytes);
    credit(&run, 1);
    assert_true(run.codec->wants_bytes);
    credit(&run, 5);
    assert_true(run.codec->wants_bytes);
    h1_run_dispose(&run);
}

static void what_is_consumed_at_once_needs_no_credit(void **state)
{
    h1_run_t run;
    int i;

    (void)state;
    assert_int_equal(h1_run_create(&run, HEADER, 10), HWS_OK);
    run.consumes = 2; /* half of it */
    assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_OK);
    feed_all(&run, CHUNKED);
    for (i = 0; i < 9; i++)
        feed_all(&run, "2\r\nhi\r\n");
    assert_true(run.codec->wants_bytes);
    feed_all(&run, "2\r\nhi\r\n");
    assert_false(run.codec->wants_bytes);
    h1_run_dispose(&run);
}

static void a_buffer_of_nothing_still_reads(void **state)
{
    h1_run_t run;

    (void)state;
    assert_int_equal(h1_run_create(&run, HEADER, 0), HWS_OK);
    assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_OK);
    feed_all(&run, OK11 "Content-Length: 9\r\n\r\nhello");
    assert_true(run.codec->wants_bytes);
    run.consumes = 0;
    feed_all(&run, "x");
    assert_false(run.codec->wants_bytes);
    h1_run_dispose(&run);
}

static void a_response_that_ended_unread_holds_nobody_up(void **state)
{
    h1_run_t run;

    (void)state;
    assert_int_equal(h1_run_create(&run, HEADER, 4), HWS_OK);
    run.consumes = 0;
    assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_OK);
    feed_all(&run, OK11 "Content-Length: 6\r\n\r\nhello");
    assert_false(run.codec->wants_bytes);
    feed_all(&run, "!");
    assert_true(run.codec->wants_bytes); /* an idle connection is watched */
    assert_int_equal(run.codec->room, 1);
    credit(&run, 6); /* late: it counts for no one */
    run.has_head = run.has_ended = false;
    assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_OK);
    feed_all(&run, OK11 "Content-Length: 6\r\n\r\nhel");
    assert_true(run.codec->wants_bytes);
    h1_run_dispose(&run);
}

/* ---- memory ---- */

static void a_whole_response_allocates_nothing(void **state)
{
    h1_run_t run;

    (void)state;
    start(&run, "GET");
    feed_all(&run, CHUNKED "2\r\nhi\r\n0\r\nA: b\r\n\r\n"); /* grows what is shared */
    hws_buffer_clear(&run.out);
    run.has_head = run.has_ended = run.has_trailers = false;
    hws_memory_fail_at(UINT64_MAX);
    assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_OK);
    feed_all(&run, CHUNKED "2\r\nhi\r\n0\r\nA: b\r\n\r\n");
    assert_int_equal(hws_memory_count(), 0);
    hws_memory_fail_at(0);
    assert_true(run.has_ended);
    h1_run_dispose(&run);
}

/* One exchange with everything that allocates; HWS_OK, or the code that it ended with. */
static int run_with_failure(uint64_t n, uint64_t *count)
{
    static const char bytes[] = CHUNKED "5\r\nhello\r\n0\r\nSome-Trailer: value\r\n\r\n";
    h1_run_t run;
    size_t taken;
    int rc;
    size_t at;

    hws_memory_fail_at(n);
    rc = h1_run_create(&run, HEADER, BUFFER);
    if (rc == HWS_OK)
        rc = h1_run_open(&run, "POST", HWS_BODY_CHUNKED, 0);
    if (rc == HWS_OK) {
        static char body[2000];

        rc = run.codec->ops->send(run.codec, &run.stream, body, sizeof(body), true, &run.out,
                                  &taken);
    }
    for (at = 0; rc == HWS_OK && at + 1 < sizeof(bytes); at++)
        rc = run.codec->ops->feed(run.codec, bytes + at, 1);
    if (rc == HWS_OK)
        assert_true(run.has_ended);
    *count = hws_memory_count();
    hws_memory_fail_at(0);
    h1_run_dispose(&run);
    return rc;
}

static void every_allocation_may_fail(void **state)
{
    uint64_t count;
    uint64_t n;
    uint64_t ignored;

    (void)state;
    assert_int_equal(run_with_failure(0, &ignored), HWS_OK);
    assert_int_equal(run_with_failure(UINT64_MAX, &count), HWS_OK);
    assert_true(count >= 6);
    for (n = 1; n <= count; n++)
        assert_int_equal(run_with_failure(n, &ignored), HWS_ERR_NOMEM);
}

static void an_open_that_fails_changes_nothing(void **state)
{
    h1_run_t run;

    (void)state;
    assert_int_equal(h1_run_create(&run, HEADER, BUFFER), HWS_OK);
    hws_memory_fail_at(1);
    assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_ERR_NOMEM);
    hws_memory_fail_at(0);
    assert_int_equal(run.codec->room, 1);
    assert_false(run.codec->is_last);
    assert_int_equal(h1_run_open(&run, "GET", HWS_BODY_NONE, 0), HWS_OK);
    feed_all(&run, OK11 EMPTY);
    assert_true(run.has_ended);
    h1_run_dispose(&run);
}

/* ---- the corpus of the fuzz target ---- */

/* Before the bytes come four that say how they are fed: fuzz_h1.c. */
static void write_corpus(const char *folder)
{
    size_t i;

    for (i = 0; i < H1_VECTOR_COUNT; i++) {
        char path[1024];
        char way[4] = {0, (char)h1_vectors[i].size, 0, 4};
        FILE *file;

        way[0] = (char)(strcmp(h1_vectors[i].method, "HEAD") == 0);
        snprintf(path, sizeof(path), "%s/%s", folder, h1_vectors[i].name);
        if ((file = fopen(path, "wb")) == NULL) {
            perror(path);
            exit(1);
        }
        fwrite(way, 1, sizeof(way), file);
        fwrite(h1_vectors[i].bytes, 1, h1_vectors[i].size, file);
        fclose(file);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_has_its_outcome_however_it_is_cut),
        cmocka_unit_test(every_prefix_can_be_the_last),
        cmocka_unit_test(fin_while_idle_is_no_error),
        cmocka_unit_test(a_head_is_told_field_by_field),
        cmocka_unit_test(a_status_line_may_lack_its_reason_and_even_the_space_before_it),
        cmocka_unit_test(trailers_have_neither_status_nor_reason),
        cmocka_unit_test(names_and_values_take_exactly_their_bytes),
        cmocka_unit_test(a_head_may_be_as_large_as_the_limit),
        cmocka_unit_test(a_larger_head_is_refused_as_soon_as_that_is_known),
        cmocka_unit_test(every_informational_head_has_the_limit_for_itself),
        cmocka_unit_test(trailers_may_be_as_large_as_the_limit),
        cmocka_unit_test(there_may_be_a_field_for_every_32_bytes_of_the_limit),
        cmocka_unit_test(many_fields_are_all_told),
        cmocka_unit_test(a_chunk_line_may_be_4096_bytes_long_or_as_long_as_a_head),
        cmocka_unit_test(a_dripping_head_costs_no_more_than_its_size),
        cmocka_unit_test(requests_are_written_as_they_should_be),
        cmocka_unit_test(a_tunnel_is_refused_and_changes_nothing),
        cmocka_unit_test(a_sized_body_is_sent_as_it_is),
        cmocka_unit_test(an_unsized_body_is_sent_in_chunks),
        cmocka_unit_test(a_large_chunk_says_its_size),
        cmocka_unit_test(the_end_of_a_body_may_come_alone),
        cmocka_unit_test(a_response_before_the_request_is_out_spends_the_connection),
        cmocka_unit_test(a_request_that_is_out_when_the_response_ends_was_in_time),
        cmocka_unit_test(checked_fields_are_added_as_lines),
        cmocka_unit_test(tokens_and_targets_are_told_from_other_text),
        cmocka_unit_test(exchanges_follow_one_another),
        cmocka_unit_test(bytes_on_an_idle_connection_spend_it),
        cmocka_unit_test(a_connection_that_will_close_says_so_with_the_head),
        cmocka_unit_test(the_last_hint_counts),
        cmocka_unit_test(a_reset_exchange_spends_the_connection_and_hears_no_more),
        cmocka_unit_test(a_reset_after_the_end_changes_nothing),
        cmocka_unit_test(reading_stops_when_a_buffer_is_unread_and_goes_on_at_its_half),
        cmocka_unit_test(what_is_consumed_at_once_needs_no_credit),
        cmocka_unit_test(a_buffer_of_nothing_still_reads),
        cmocka_unit_test(a_response_that_ended_unread_holds_nobody_up),
        cmocka_unit_test(a_whole_response_allocates_nothing),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(an_open_that_fails_changes_nothing),
    };

    if (argc == 2) {
        write_corpus(argv[1]);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
