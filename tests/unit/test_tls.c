#include "transport/tls.h"

#include "base/memory.h"
#include "support/cmocka.h"
#include "support/tls_far.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_OF(name) TEST_CERTIFICATES "/" name
static char keylog[64]; /* a file; of this process alone */

static const tls_far_options_t good = {.cert = "good"};

/* Two ends and what is on its way between them. */
typedef struct {
    tls_far_t *far;
    hws_tls_config_t *config;
    hws_tls_t *near;
    hws_buffer_t to_far;
    hws_buffer_t to_near;
    hws_buffer_t near_got;
    hws_buffer_t far_got;
    size_t piece; /* what the near end is given at once; 0: all */
} talk_t;

static hws_slice_t slice_of(const char *text)
{
    return (hws_slice_t){text, strlen(text)};
}

static hws_tls_options_t trusting(void)
{
    return (hws_tls_options_t){.ca = HWS_SLICE(FILE_OF("root.pem")), .verify = true};
}

static void begin_with(talk_t *talk, const tls_far_options_t *far, const hws_tls_options_t *options)
{
    hws_error_t why = {.code = 0};

    memset(talk, 0, sizeof(*talk));
    talk->far = tls_far_create(far);
    if (hws_tls_config_create(options, &talk->config, &why) != HWS_OK)
        fail_msg("%s", why.detail);
}

static void begin(talk_t *talk, const tls_far_options_t *far)
{
    hws_tls_options_t options = trusting();

    begin_with(talk, far, &options);
}

static void hang_up(talk_t *talk)
{
    hws_tls_destroy(talk->near);
    talk->near = NULL;
    hws_buffer_clear(&talk->to_far);
    hws_buffer_clear(&talk->to_near);
    hws_buffer_clear(&talk->near_got);
    hws_buffer_clear(&talk->far_got);
}

static void end(talk_t *talk)
{
    hang_up(talk);
    hws_tls_config_release(talk->config);
    tls_far_destroy(talk->far);
    hws_buffer_dispose(&talk->to_far);
    hws_buffer_dispose(&talk->to_near);
    hws_buffer_dispose(&talk->near_got);
    hws_buffer_dispose(&talk->far_got);
}

static void far_turn(talk_t *talk)
{
    tls_far_turn(talk->far, &talk->to_far, &talk->to_near, &talk->far_got);
}

/* Gives the near end the next piece of what came for it; HWS_AGAIN also where it has read. */
static int near_turn(talk_t *talk, bool is_ready)
{
    size_t size = hws_buffer_size(&talk->to_near);
    hws_slice_t in = {NULL, 0};
    size_t had;
    int rc;

    if (size > 0)
        in = (hws_slice_t){hws_buffer_bytes(&talk->to_near), size};
    if (talk->piece > 0 && in.size > talk->piece)
        in.size = talk->piece;
    had = in.size;
    if (is_ready)
        rc = hws_tls_read(talk->near, &in, &talk->near_got, &talk->to_far);
    else
        rc = hws_tls_handshake(talk->near, &in, &talk->to_far);
    assert_true(in.size <= had);
    if (rc == HWS_AGAIN || (rc == HWS_OK && is_ready))
        assert_int_equal(in.size, 0);
    hws_buffer_consume(&talk->to_near, had - in.size);
    return rc;
}

static int shake(talk_t *talk)
{
    int rc = near_turn(talk, false);

    while (rc == HWS_AGAIN) {
        far_turn(talk);
        if (hws_buffer_is_empty(&talk->to_near))
            return HWS_AGAIN;
        while (rc == HWS_AGAIN && !hws_buffer_is_empty(&talk->to_near))
            rc = near_turn(talk, false);
    }
    far_turn(talk);
    return rc;
}

static int connect_as(talk_t *talk, const char *name, const hws_tls_session_t *resume)
{
    tls_far_accept(talk->far);
    assert_int_equal(hws_tls_create(talk->config, name, resume, &talk->near), HWS_OK);
    return shake(talk);
}

static void must_connect(talk_t *talk, const char *name, const hws_tls_session_t *resume)
{
    int rc = connect_as(talk, name, resume);

    if (rc != HWS_OK)
        fail_msg("%s: %s", hws_error_name(rc), hws_tls_detail(talk->near));
    assert_true(tls_far_is_ready(talk->far));
    assert_string_equal(hws_tls_detail(talk->near), "");
}

static int read_all(talk_t *talk)
{
    int rc = HWS_OK;

    while (rc == HWS_OK && !hws_buffer_is_empty(&talk->to_near))
        rc = near_turn(talk, true);
    return rc;
}

#define assert_got(buffer, text)                                                                   \
    do {                                                                                           \
        assert_int_equal(hws_buffer_size(buffer), strlen(text));                                   \
        assert_memory_equal(hws_buffer_bytes(buffer), text, strlen(text));                         \
        hws_buffer_clear(buffer);                                                                  \
    } while (0)

static void exchange(talk_t *talk)
{
    assert_int_equal(hws_tls_write(talk->near, slice_of("ping"), &talk->to_far), HWS_OK);
    far_turn(talk);
    assert_got(&talk->far_got, "ping");
    tls_far_send(talk->far, "pong", 4, &talk->to_near);
    assert_int_equal(read_all(talk), HWS_OK);
    assert_got(&talk->near_got, "pong");
}

/* The whole of it ---------------------------------------------------------------------------- */

static void a_connection_is_made_used_and_closed(void **state)
{
    static const char *far_alpn[] = {"http/1.1", NULL};
    static const char *const near_alpn[] = {"h2", "http/1.1", NULL};
    tls_far_options_t far = {.cert = "good", .alpn = far_alpn};
    hws_tls_options_t options = trusting();
    talk_t talk;

    (void)state;
    options.alpn = near_alpn;
    begin_with(&talk, &far, &options);
    must_connect(&talk, "localhost", NULL);
    assert_string_equal(hws_tls_version(talk.near), "1.2");
    assert_non_null(strstr(hws_tls_cipher(talk.near), "TLS_ECDHE_ECDSA_WITH_"));
    assert_string_equal(hws_tls_alpn(talk.near), "http/1.1");
    assert_false(hws_tls_is_resumed(talk.near));
    assert_string_equal(tls_far_sni(talk.far), "localhost");
    exchange(&talk);

    hws_tls_close(talk.near, &talk.to_far);
    far_turn(&talk);
    assert_true(tls_far_is_closed(talk.far));
    hws_tls_close(talk.near, &talk.to_far);
    assert_true(hws_buffer_is_empty(&talk.to_far));
    tls_far_send(talk.far, "last", 4, &talk.to_near);
    tls_far_close(talk.far, &talk.to_near);
    assert_int_equal(read_all(&talk), HWS_END);
    assert_got(&talk.near_got, "last");
    assert_int_equal(near_turn(&talk, true), HWS_END);
    end(&talk);
}

static void no_alpn_in_common_is_none(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk, &good);
    must_connect(&talk, "localhost", NULL);
    assert_null(hws_tls_alpn(talk.near));
    end(&talk);
}

static void every_split_of_what_comes_gives_the_same(void **state)
{
    size_t piece;

    (void)state;
    for (piece = 1; piece < 8; piece++) {
        talk_t talk;

        begin(&talk, &good);
        talk.piece = piece;
        must_connect(&talk, "localhost", NULL);
        exchange(&talk);
        tls_far_send(talk.far, "hello, ", 7, &talk.to_near);
        tls_far_send(talk.far, "world", 5, &talk.to_near);
        tls_far_close(talk.far, &talk.to_near);
        assert_int_equal(read_all(&talk), HWS_END);
        assert_got(&talk.near_got, "hello, world");
        end(&talk);
    }
}

/* Cuts what comes into records of `most` bytes of data, as far as it is in the clear. */
static void cut_records(hws_buffer_t *buffer, size_t most)
{
    hws_buffer_t cut = {NULL, 0, 0, 0};

    while (!hws_buffer_is_empty(buffer)) {
        const unsigned char *bytes = (const unsigned char *)hws_buffer_bytes(buffer);
        size_t size = (size_t)bytes[3] << 8 | bytes[4];
        size_t at;

        for (at = 0; at < size; at += most) {
            size_t n = size - at < most ? size - at : most;
            const char header[] = {22, 3, 3, (char)(n >> 8), (char)(n & 0xff)};

            assert_int_equal(bytes[0], 22);
            assert_int_equal(hws_buffer_append(&cut, header, sizeof(header)), HWS_OK);
            assert_int_equal(hws_buffer_append(&cut, bytes + 5 + at, n), HWS_OK);
        }
        hws_buffer_consume(buffer, 5 + size);
    }
    hws_buffer_dispose(buffer);
    *buffer = cut;
}

static void a_handshake_may_come_in_small_records(void **state)
{
    static const size_t sizes[] = {1, 5, 100, 512};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        talk_t talk;
        int rc;

        begin(&talk, &good);
        tls_far_accept(talk.far);
        assert_int_equal(hws_tls_create(talk.config, "localhost", NULL, &talk.near), HWS_OK);
        assert_int_equal(near_turn(&talk, false), HWS_AGAIN);
        far_turn(&talk);
        cut_records(&talk.to_near, sizes[i]);
        rc = shake(&talk);
        if (rc != HWS_OK)
            fail_msg("%zu: %s %s", sizes[i], hws_error_name(rc), hws_tls_detail(talk.near));
        exchange(&talk);
        end(&talk);
    }
}

static void data_that_comes_with_the_last_of_the_handshake_is_left_for_read(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk, &good);
    tls_far_accept(talk.far);
    assert_int_equal(hws_tls_create(talk.config, "localhost", NULL, &talk.near), HWS_OK);
    assert_int_equal(near_turn(&talk, false), HWS_AGAIN);
    far_turn(&talk);
    assert_int_equal(near_turn(&talk, false), HWS_AGAIN);
    far_turn(&talk);
    tls_far_send(talk.far, "early", 5, &talk.to_near);
    assert_int_equal(near_turn(&talk, false), HWS_OK);
    assert_false(hws_buffer_is_empty(&talk.to_near));
    assert_int_equal(read_all(&talk), HWS_OK);
    assert_got(&talk.near_got, "early");
    end(&talk);
}

static void much_data_goes_in_many_records(void **state)
{
    enum { SIZE = 300000 };
    char *data = malloc(SIZE);
    talk_t talk;
    size_t i;

    (void)state;
    assert_non_null(data);
    for (i = 0; i < SIZE; i++)
        data[i] = (char)(i * 7 + i / 251);
    begin(&talk, &good);
    must_connect(&talk, "localhost", NULL);
    assert_int_equal(hws_tls_write(talk.near, (hws_slice_t){data, SIZE}, &talk.to_far), HWS_OK);
    assert_in_range(hws_buffer_size(&talk.to_far), SIZE, SIZE + SIZE / 16384 * 64 + 64);
    far_turn(&talk);
    assert_int_equal(hws_buffer_size(&talk.far_got), SIZE);
    assert_memory_equal(hws_buffer_bytes(&talk.far_got), data, SIZE);
    tls_far_send(talk.far, data, SIZE, &talk.to_near);
    talk.piece = 9999;
    assert_int_equal(read_all(&talk), HWS_OK);
    assert_int_equal(hws_buffer_size(&talk.near_got), SIZE);
    assert_memory_equal(hws_buffer_bytes(&talk.near_got), data, SIZE);
    assert_int_equal(hws_tls_write(talk.near, (hws_slice_t){"", 0}, &talk.to_far), HWS_OK);
    assert_true(hws_buffer_is_empty(&talk.to_far));
    end(&talk);
    free(data);
}

/* Certificates ------------------------------------------------------------------------------- */

typedef struct {
    const char *cert;
    const char *key;
    const char *name;
    int code;
    const char *detail; /* a part of it */
} certificate_case_t;

static const certificate_case_t certificate_cases[] = {
    {"good", NULL, "localhost", HWS_OK, ""},
    {"good", NULL, "LOCALHOST.", HWS_OK, ""},
    {"good", NULL, "www.example.test", HWS_OK, ""},
    {"good", NULL, "127.0.0.1", HWS_OK, ""},
    {"good", NULL, "::1", HWS_OK, ""},
    {"rsa", "rsa", "localhost", HWS_OK, ""},
    {"rsa", "rsa", "::1", HWS_OK, ""},
    {"usages", NULL, "localhost", HWS_OK, ""},
    {"many", NULL, "name449.many.example.test", HWS_OK, ""},
    {"many", NULL, "name450.many.example.test", HWS_ERR_CERT_NAME, "it names localhost, name000"},
    {"good", NULL, "example.test", HWS_ERR_CERT_NAME,
     "it names localhost, *.example.test, 127.0.0.1, ::1"},
    {"good", NULL, "a.b.example.test", HWS_ERR_CERT_NAME, ""},
    {"good", NULL, "127.0.0.2", HWS_ERR_CERT_NAME, ""},
    {"good", NULL, "::2", HWS_ERR_CERT_NAME, ""},
    {"good", NULL, "good", HWS_ERR_CERT_NAME, ""}, /* its common name */
    {"good", NULL, "", HWS_ERR_CERT_NAME, ""},
    {"wrong", NULL, "localhost", HWS_ERR_CERT_NAME, "it names other.test, *.other.test, 10.9.8.7"},
    {"wide", NULL, "www.test", HWS_ERR_CERT_NAME, "*.test"},
    {"wide", NULL, "www.a.test", HWS_ERR_CERT_NAME, ""},
    {"wide", NULL, "www.example.test", HWS_ERR_CERT_NAME, ""},
    {"wide", NULL, "localhost", HWS_ERR_CERT_NAME, ""},
    {"cn_only", NULL, "localhost", HWS_ERR_CERT_NAME, "it names nobody"},
    {"dns_only", NULL, "localhost", HWS_OK, ""},
    {"dns_only", NULL, "127.0.0.1", HWS_ERR_CERT_NAME, ""},
    {"expired", NULL, "localhost", HWS_ERR_CERT_EXPIRED, "valid until 2021-01-01"},
    {"future", NULL, "localhost", HWS_ERR_CERT_FUTURE, "valid from 2045-01-01"},
    {"stale", NULL, "localhost", HWS_ERR_CERT_NAME, "; valid until 2021-01-01"},
    {"self", NULL, "localhost", HWS_ERR_CERT_UNTRUSTED, "it is signed by itself"},
    {"untrusted", NULL, "localhost", HWS_ERR_CERT_UNTRUSTED, "CN=another test root is not known"},
    {"missing", NULL, "localhost", HWS_ERR_CERT_UNTRUSTED, "CN=hawser test intermediate"},
    {"sha1", NULL, "localhost", HWS_ERR_CERT_WEAK, "weak hash"},
    {"weak", "weak", "localhost", HWS_ERR_CERT_WEAK, "weak key"},
    {"deep", NULL, "localhost", HWS_ERR_CERT_INVALID, "too long"},
    {"revoked", NULL, "localhost", HWS_OK, ""}, /* who knows no list does not know */
};

static void check_certificate(const certificate_case_t *it, const hws_tls_options_t *options)
{
    tls_far_options_t far = {.cert = it->cert, .key = it->key};
    talk_t talk;
    int rc;

    begin_with(&talk, &far, options);
    rc = connect_as(&talk, it->name, NULL);
    if (rc != it->code || strstr(hws_tls_detail(talk.near), it->detail) == NULL)
        fail_msg("%s as %s: %s (%s)", it->cert, it->name, hws_error_name(rc),
                 hws_tls_detail(talk.near));
    if (rc != HWS_OK) {
        /* The alert has gone out, and nothing follows. */
        assert_int_not_equal(tls_far_failure(talk.far), 0);
        assert_false(tls_far_is_ready(talk.far));
        assert_int_equal(near_turn(&talk, false), rc);
        assert_true(hws_buffer_is_empty(&talk.to_far));
        assert_null(hws_tls_take_session(talk.near));
    }
    end(&talk);
}

static void certificates_are_judged(void **state)
{
    hws_tls_options_t options = trusting();
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(certificate_cases) / sizeof(certificate_cases[0]); i++)
        check_certificate(&certificate_cases[i], &options);
}

static void a_revocation_list_is_heeded(void **state)
{
    static const certificate_case_t cases[] = {
        {"revoked", NULL, "localhost", HWS_ERR_CERT_REVOKED, "its issuer's list (crl) has it"},
        {"revoked", NULL, "other.test", HWS_ERR_CERT_REVOKED, "; it names"},
        {"good", NULL, "localhost", HWS_OK, ""},
    };
    hws_tls_options_t options = trusting();
    size_t i;

    (void)state;
    options.crl = HWS_SLICE(FILE_OF("crl.pem"));
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_certificate(&cases[i], &options);
}

static void a_certificate_that_is_trusted_itself_needs_no_root_but_the_name(void **state)
{
    static const certificate_case_t cases[] = {
        {"self", NULL, "localhost", HWS_OK, ""},
        {"self", NULL, "other.test", HWS_ERR_CERT_NAME, "it names localhost"},
        {"good", NULL, "localhost", HWS_ERR_CERT_UNTRUSTED, ""},
    };
    hws_tls_options_t options = trusting();
    size_t i;

    (void)state;
    options.ca = HWS_SLICE(FILE_OF("self.pem"));
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_certificate(&cases[i], &options);
}

static void nothing_is_looked_at_where_nothing_is_verified(void **state)
{
    static const certificate_case_t cases[] = {
        {"good", NULL, "localhost", HWS_OK, ""},   {"expired", NULL, "", HWS_OK, ""},
        {"self", NULL, "whatever", HWS_OK, ""},    {"wrong", NULL, "localhost", HWS_OK, ""},
        {"weak", "weak", "localhost", HWS_OK, ""}, {"deep", NULL, "localhost", HWS_OK, ""},
    };
    hws_tls_options_t options = {.verify = false};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_certificate(&cases[i], &options);
}

static void an_address_is_not_sent_as_sni(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk, &good);
    must_connect(&talk, "127.0.0.1", NULL);
    assert_string_equal(tls_far_sni(talk.far), "");
    hang_up(&talk);
    must_connect(&talk, "WWW.example.test.", NULL);
    assert_string_equal(tls_far_sni(talk.far), "www.example.test");
    end(&talk);
}

static void the_system_s_roots_are_used_where_no_ca_is_given(void **state)
{
    hws_tls_options_t options = {.verify = true};
    hws_tls_config_t *second;
    talk_t talk;

    (void)state;
    setenv("SSL_CERT_FILE", FILE_OF("root.pem"), 1);
    begin_with(&talk, &good, &options);
    assert_int_equal(hws_tls_config_create(&options, &second, NULL), HWS_OK);
    assert_int_not_equal(hws_tls_config_id(talk.config), hws_tls_config_id(second));
    must_connect(&talk, "localhost", NULL);
    end(&talk);
    hws_tls_config_release(second);

    setenv("SSL_CERT_FILE", FILE_OF("stranger.pem"), 1);
    begin_with(&talk, &good, &options);
    assert_int_equal(connect_as(&talk, "localhost", NULL), HWS_ERR_CERT_UNTRUSTED);
    end(&talk);
    unsetenv("SSL_CERT_FILE");
}

/* The client's certificate ---------------------------------------------------------------------- */

static const tls_far_options_t demanding = {.cert = "good", .client_ca = "root"};

static void a_certificate_of_ours_is_given_when_asked_for(void **state)
{
    hws_tls_options_t options = trusting();
    talk_t talk;

    (void)state;
    options.cert = HWS_SLICE(FILE_OF("client.pem"));
    options.key = HWS_SLICE(FILE_OF("leaf.key"));
    begin_with(&talk, &demanding, &options);
    must_connect(&talk, "localhost", NULL);
    exchange(&talk);
    end(&talk);
    begin_with(&talk, &good, &options); /* not asked for */
    must_connect(&talk, "localhost", NULL);
    end(&talk);
}

static void who_demands_one_and_gets_none_says_so(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk, &demanding);
    assert_int_equal(connect_as(&talk, "localhost", NULL), HWS_ERR_TLS_CLIENT_CERT);
    assert_string_equal(hws_tls_detail(talk.near),
                        "alert handshake_failure (we have no certificate)");
    end(&talk);
}

static void who_likes_another_one_says_so(void **state)
{
    hws_tls_options_t options = trusting();
    talk_t talk;

    (void)state;
    options.cert = HWS_SLICE(FILE_OF("self.pem"));
    options.key = HWS_SLICE(FILE_OF("leaf.key"));
    begin_with(&talk, &demanding, &options);
    assert_int_equal(connect_as(&talk, "localhost", NULL), HWS_ERR_TLS_CLIENT_CERT);
    assert_non_null(strstr(hws_tls_detail(talk.near), "(of our certificate)"));
    end(&talk);
}

/* Options --------------------------------------------------------------------------------------- */

static void assert_refused(const hws_tls_options_t *options, const char *detail)
{
    hws_tls_config_t *config;
    hws_error_t why = {.code = 0};

    assert_int_equal(hws_tls_config_create(options, &config, &why), HWS_ERR_TLS_OPTIONS);
    assert_int_equal(why.code, HWS_ERR_TLS_OPTIONS);
    if (strstr(why.detail, detail) == NULL)
        fail_msg("%s", why.detail);
    assert_int_equal(hws_tls_config_create(options, &config, NULL), HWS_ERR_TLS_OPTIONS);
}

static void options_that_cannot_be_used_are_named(void **state)
{
    static const char *const bad_alpn[] = {"h2", "", NULL};
    hws_tls_options_t options;

    (void)state;
    if (strstr(hws_tls_engine(), "mbedTLS 2.28") != NULL) {
        options = trusting();
        options.min = HWS_TLS_1_3;
        assert_refused(&options, "min: 1.3 is not to be had");
    }
    options = trusting();
    options.ca = HWS_SLICE("/nonexistent/ca.pem");
    assert_refused(&options, "ca: cannot open /nonexistent/ca.pem");
    options.ca = HWS_SLICE("a\0b");
    assert_refused(&options, "ca: a path with a NUL");
    options.ca = HWS_SLICE(FILE_OF("leaf.key"));
    assert_refused(&options, "ca: no certificate in PEM");
    options.ca = HWS_SLICE("-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n");
    assert_refused(&options, "ca: no certificate in PEM");
    options.ca = HWS_SLICE("/");
    assert_refused(&options, "ca: ");
    options = trusting();
    options.cert = HWS_SLICE(FILE_OF("client.pem"));
    assert_refused(&options, "cert: given without key");
    options.key = HWS_SLICE(FILE_OF("rsa.key"));
    assert_refused(&options, "key: not that of cert");
    options.key = HWS_SLICE(FILE_OF("client.pem"));
    assert_refused(&options, "key: no private key in PEM");
    options.cert = HWS_SLICE("");
    assert_refused(&options, "key: given without cert");
    options = trusting();
    options.crl = HWS_SLICE(FILE_OF("client.pem"));
    assert_refused(&options, "crl: no revocation list in PEM");
    options = trusting();
    options.alpn = bad_alpn;
    assert_refused(&options, "alpn: ");
}

static char *contents(const char *path)
{
    char *text = calloc(1, 100000);
    FILE *file = fopen(path, "r");

    assert_non_null(text);
    assert_non_null(file);
    assert_true(fread(text, 1, 99999, file) > 0);
    fclose(file);
    return text;
}

static void pem_text_does_as_well_as_a_file(void **state)
{
    hws_tls_options_t options = {.verify = true};
    char *root = contents(FILE_OF("root.pem"));
    char *cert = contents(FILE_OF("client.pem"));
    char *key = contents(FILE_OF("leaf.key"));
    talk_t talk;

    (void)state;
    options.ca = slice_of(root);
    options.cert = slice_of(cert);
    options.key = slice_of(key);
    begin_with(&talk, &demanding, &options);
    free(root);
    free(cert);
    free(key);
    must_connect(&talk, "localhost", NULL);
    end(&talk);
}

/* Sessions -------------------------------------------------------------------------------------- */

static const tls_far_options_t with_tickets = {.cert = "good", .tickets = true};
static const tls_far_options_t with_ids = {.cert = "good", .ids = true};

static hws_tls_session_t *first_session(talk_t *talk)
{
    hws_tls_session_t *session;

    must_connect(talk, "localhost", NULL);
    assert_false(hws_tls_is_resumed(talk->near));
    session = hws_tls_take_session(talk->near);
    assert_non_null(session);
    assert_false(hws_tls_session_is_single_use(session));
    hang_up(talk);
    return session;
}

static void a_session_is_resumed(void **state)
{
    const tls_far_options_t *const fars[] = {&with_tickets, &with_ids};
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        hws_tls_session_t *session;
        hws_tls_session_t *next;
        talk_t talk;

        begin(&talk, fars[i]);
        session = first_session(&talk);
        must_connect(&talk, "localhost", session);
        assert_true(hws_tls_is_resumed(talk.near));
        exchange(&talk);
        next = hws_tls_take_session(talk.near);
        if (strncmp(hws_tls_engine(), "mbedTLS", 7) == 0)
            assert_null(next); /* it would be the same */
        hang_up(&talk);
        must_connect(&talk, "localhost", next != NULL ? next : session);
        assert_true(hws_tls_is_resumed(talk.near));
        hang_up(&talk);
        must_connect(&talk, "localhost", session); /* as often as one likes */
        assert_true(hws_tls_is_resumed(talk.near));
        hws_tls_session_free(session);
        hws_tls_session_free(next);
        end(&talk);
    }
}

static void a_session_that_the_server_forgot_costs_a_full_handshake(void **state)
{
    const tls_far_options_t *const fars[] = {&with_tickets, &with_ids};
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        hws_tls_session_t *session;
        talk_t talk;

        begin(&talk, fars[i]);
        session = first_session(&talk);
        tls_far_forget(talk.far);
        must_connect(&talk, "localhost", session);
        assert_false(hws_tls_is_resumed(talk.near));
        exchange(&talk);
        hws_tls_session_free(session);
        end(&talk);
    }
}

static void a_session_goes_only_with_its_name_and_configuration(void **state)
{
    hws_tls_options_t options = trusting();
    hws_tls_session_t *session;
    talk_t talk;

    (void)state;
    begin(&talk, &with_tickets);
    session = first_session(&talk);
    must_connect(&talk, "www.example.test", session);
    assert_false(hws_tls_is_resumed(talk.near));
    hang_up(&talk);
    must_connect(&talk, "Localhost.", session);
    assert_true(hws_tls_is_resumed(talk.near));
    hang_up(&talk);
    hws_tls_config_release(talk.config);
    assert_int_equal(hws_tls_config_create(&options, &talk.config, NULL), HWS_OK);
    must_connect(&talk, "localhost", session);
    assert_false(hws_tls_is_resumed(talk.near));
    hws_tls_session_free(session);
    end(&talk);
}

static void a_server_may_offer_nothing_to_resume(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk, &good);
    assert_int_equal(hws_tls_create(talk.config, "localhost", NULL, &talk.near), HWS_OK);
    assert_null(hws_tls_take_session(talk.near)); /* nor is there one before the handshake */
    hang_up(&talk);
    must_connect(&talk, "localhost", NULL);
    hws_tls_session_free(hws_tls_take_session(talk.near));
    hws_tls_session_free(NULL);
    end(&talk);
}

/* TLS 1.3 sends them when the handshake is over, and one may come alone. */
static void tickets_that_come_late_stand_in_nobody_s_way(void **state)
{
    tls_far_options_t far = {.cert = "good", .tickets = true, .is_new = true};
    talk_t talk;

    (void)state;
    if (!tls_far_may_be_new())
        skip();
    begin(&talk, &far);
    must_connect(&talk, "localhost", NULL);
    assert_string_equal(hws_tls_version(talk.near), "1.3");
    assert_false(hws_buffer_is_empty(&talk.to_near));
    assert_int_equal(read_all(&talk), HWS_OK);
    assert_true(hws_buffer_is_empty(&talk.near_got));
    exchange(&talk);
    end(&talk);
}

/* The suites of the ClientHello in `hello` (RFC 5246, 7.4.1.2), in its order. Returns how many. */
static size_t suites_of(const hws_buffer_t *hello, unsigned *out, size_t most)
{
    const unsigned char *at = (const unsigned char *)hws_buffer_bytes(hello);
    size_t count;
    size_t i;

    at += 5 + 4 + 2 + 32; /* record, message, version, random */
    at += 1 + at[0];      /* session */
    count = (size_t)(at[0] << 8 | at[1]) / 2;
    assert_true(count <= most);
    for (i = 0; i < count; i++)
        out[i] = (unsigned)(at[2 + 2 * i] << 8 | at[3 + 2 * i]);
    return count;
}

/* mbedTLS is faster at ChaCha20 than at AES; OpenSSL has the processor's help. */
static void the_fastest_suites_are_offered_first_and_no_weak_ones(void **state)
{
    static const unsigned chacha_first[] = {0xcca9, 0xcca8, 0xc02b, 0xc02f, 0xc02c, 0xc030};
    static const unsigned aes_first[] = {0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8};
    const unsigned *expected =
        strncmp(hws_tls_engine(), "mbedTLS", 7) == 0 ? chacha_first : aes_first;
    unsigned offered[32];
    unsigned kept[32] = {0};
    size_t kept_count = 0;
    size_t count;
    size_t i;
    talk_t talk;

    (void)state;
    begin(&talk, &good);
    assert_int_equal(hws_tls_create(talk.config, "localhost", NULL, &talk.near), HWS_OK);
    assert_int_equal(near_turn(&talk, false), HWS_AGAIN);
    count = suites_of(&talk.to_far, offered, 32);
    /* Those of TLS 1.3 (0x13..) are all fit; 0x00ff only says that there is no renegotiation. */
    for (i = 0; i < count; i++)
        if (offered[i] >> 8 != 0x13 && offered[i] != 0x00ff)
            kept[kept_count++] = offered[i];
    assert_int_equal(kept_count, 6);
    for (i = 0; i < 6; i++)
        assert_int_equal(kept[i], expected[i]);
    end(&talk);
}

/* Peers that will not do ------------------------------------------------------------------------- */

/* A server that speaks TLS 1.1 alone has no suite of ours, and most say only that. */
static void old_versions_are_refused(void **state)
{
    tls_far_options_t old = {.cert = "good", .is_old = true};
    talk_t talk;

    (void)state;
    if (!tls_far_may_be_old())
        skip();
    begin(&talk, &old);
    assert_int_equal(connect_as(&talk, "localhost", NULL), HWS_ERR_TLS_CIPHER);
    end(&talk);
}

static void weak_suites_are_refused(void **state)
{
    /* RSA key exchange, and CBC: TLS_RSA_WITH_AES_128_GCM_SHA256,
     * TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_DHE_RSA_WITH_AES_128_GCM_SHA256. */
    static const int weak[] = {0x009c, 0xc009, 0x009e, 0};
    tls_far_options_t far = {.cert = "good", .suites = weak};
    talk_t talk;

    (void)state;
    begin(&talk, &far);
    assert_int_equal(connect_as(&talk, "localhost", NULL), HWS_ERR_TLS_CIPHER);
    assert_string_equal(hws_tls_detail(talk.near), "alert handshake_failure");
    end(&talk);
}

typedef struct {
    const char *bytes;
    size_t size;
    int code;
    const char *detail;
} answer_case_t;

#define ANSWER(bytes, code, detail)                                                                \
    {                                                                                              \
        bytes, sizeof(bytes) - 1, code, detail                                                     \
    }

static const answer_case_t answers[] = {
    ANSWER("HTTP/1.1 400 Bad Request\r\n\r\n", HWS_ERR_TLS_PLAIN,
           "it sent \"HTTP/1.1 400 Bad Request\""),
    ANSWER("\x16HTTP", HWS_ERR_TLS_PLAIN, "it sent"),
    ANSWER("SSH-2.0-OpenSSH_9\r\n", HWS_ERR_TLS_PLAIN, "SSH-2.0"),
    ANSWER("\x80\x2e\x01\x00\x02", HWS_ERR_TLS_PLAIN, ""),
    ANSWER("\x17\x03\x03\x00\x01\x00", HWS_ERR_TLS_PLAIN, ""),
    /* A ServerHello of TLS 1.1 with one of our suites. */
    ANSWER("\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02"
           "01234567890123456789012345678901"
           "\x00\xc0\x2b\x00",
           HWS_ERR_TLS_VERSION, ""),
    ANSWER("\x15\x03\x03\x00\x02\x02\x46", HWS_ERR_TLS_VERSION, "protocol_version"),
    ANSWER("\x15\x03\x01\x00\x02\x02\x28", HWS_ERR_TLS_CIPHER, "handshake_failure"),
    ANSWER("\x15\x03\x03\x00\x02\x02\x70", HWS_ERR_TLS_ALERT, "unrecognized_name"),
    ANSWER("\x15\x03\x03\x00\x02\x02\x78", HWS_ERR_NO_ALPN, "no_application_protocol"),
    ANSWER("\x15\x03\x03\x00\x02\x02\x63", HWS_ERR_TLS_ALERT, "unknown"),
    ANSWER("\x16\x03\x03\xff\xff", HWS_ERR_TLS, ""),
    ANSWER("\x16\x03\x03\x00\x04\x02\x00\x00\x00", HWS_ERR_TLS, ""),
    ANSWER("\x16\x03\x03\x00\x04\x0b\x00\x00\x00", HWS_ERR_TLS, ""),
};

static int answer(talk_t *talk, const char *bytes, size_t size)
{
    int rc;

    assert_int_equal(hws_buffer_append(&talk->to_near, bytes, size), HWS_OK);
    do {
        rc = near_turn(talk, false);
    } while (rc == HWS_AGAIN && !hws_buffer_is_empty(&talk->to_near));
    return rc;
}

static void answers_that_are_none_are_told_apart(void **state)
{
    size_t piece;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        for (piece = 0; piece < 2; piece++) {
            const answer_case_t *it = &answers[i];
            talk_t talk;
            int rc;

            begin(&talk, &good);
            talk.piece = piece;
            assert_int_equal(hws_tls_create(talk.config, "localhost", NULL, &talk.near), HWS_OK);
            rc = answer(&talk, it->bytes, it->size);
            if (rc != it->code ||
                (piece == 0 && strstr(hws_tls_detail(talk.near), it->detail) == NULL))
                fail_msg("answer %zu: %s (%s)", i, hws_error_name(rc), hws_tls_detail(talk.near));
            end(&talk);
        }
}

/* Which mbedTLS 2.28 and OpenSSL refuse at once, and mbedTLS 3.6 when its buffer is full. */
static void a_handshake_message_without_end_is_refused(void **state)
{
    static const char part[] = "\x16\x03\x03\x03\xe8";
    char record[1005] = {0};
    talk_t talk;
    int rc = HWS_AGAIN;
    int i;

    (void)state;
    memcpy(record, part, 5);
    memcpy(record + 5, "\x02\xff\xff\xff", 4);
    begin(&talk, &good);
    assert_int_equal(hws_tls_create(talk.config, "localhost", NULL, &talk.near), HWS_OK);
    for (i = 0; i < 40 && rc == HWS_AGAIN; i++) {
        rc = answer(&talk, record, sizeof(record));
        memset(record + 5, 0, 4);
    }
    assert_int_equal(hws_error_kind(rc), HWS_KIND_TLS);
    end(&talk);
}

static void close_notify_in_the_midst_of_the_handshake_is_a_failure(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk, &good);
    assert_int_equal(hws_tls_create(talk.config, "localhost", NULL, &talk.near), HWS_OK);
    assert_int_equal(answer(&talk, "\x15\x03\x03\x00\x02\x01\x00", 7), HWS_ERR_TLS_EOF);
    end(&talk);
}

/* Bytes that were changed on their way --------------------------------------------------------- */

static void change(hws_buffer_t *buffer, size_t at)
{
    buffer->data[buffer->head + at] = (char)(buffer->data[buffer->head + at] ^ 0x10);
}

static void a_changed_record_is_refused(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk, &good);
    must_connect(&talk, "localhost", NULL);
    tls_far_send(talk.far, "fine", 4, &talk.to_near);
    tls_far_send(talk.far, "changed", 7, &talk.to_near);
    change(&talk.to_near, hws_buffer_size(&talk.to_near) - 1);
    assert_int_equal(read_all(&talk), HWS_ERR_TLS_RECORD);
    assert_got(&talk.near_got, "fine");
    far_turn(&talk); /* which is told */
    assert_int_not_equal(tls_far_failure(talk.far), 0);
    assert_int_equal(hws_tls_write(talk.near, slice_of("x"), &talk.to_far), HWS_ERR_TLS_RECORD);
    hws_tls_close(talk.near, &talk.to_far);
    assert_true(hws_buffer_is_empty(&talk.to_far));
    end(&talk);
}

static void no_changed_byte_of_a_handshake_goes_unnoticed(void **state)
{
    size_t size = 100;
    size_t at;

    (void)state;
    for (at = 0; at < size; at += 23) {
        talk_t talk;

        begin(&talk, &good);
        tls_far_accept(talk.far);
        assert_int_equal(hws_tls_create(talk.config, "localhost", NULL, &talk.near), HWS_OK);
        assert_int_equal(near_turn(&talk, false), HWS_AGAIN);
        far_turn(&talk);
        size = hws_buffer_size(&talk.to_near);
        change(&talk.to_near, at);
        if (shake(&talk) == HWS_OK)
            fail_msg("byte %zu", at);
        end(&talk);
    }
}

/* What comes later ------------------------------------------------------------------------------ */

static void renegotiation_is_refused_and_the_connection_lives_on(void **state)
{
    size_t piece;

    (void)state;
    for (piece = 0; piece < 2; piece++) {
        talk_t talk;

        begin(&talk, &good);
        talk.piece = piece;
        must_connect(&talk, "localhost", NULL);
        tls_far_renegotiate(talk.far, &talk.to_near);
        assert_int_equal(read_all(&talk), HWS_OK);
        assert_false(hws_buffer_is_empty(&talk.to_far)); /* no_renegotiation */
        far_turn(&talk);
        tls_far_send(talk.far, "still here", 10, &talk.to_near);
        assert_int_equal(read_all(&talk), HWS_OK);
        assert_got(&talk.near_got, "still here");
        end(&talk);
    }
}

static void a_fatal_alert_ends_a_connection_in_use(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk, &good);
    must_connect(&talk, "localhost", NULL);
    assert_int_equal(hws_tls_write(talk.near, slice_of("ping"), &talk.to_far), HWS_OK);
    change(&talk.to_far, hws_buffer_size(&talk.to_far) - 1);
    far_turn(&talk);
    assert_int_equal(read_all(&talk), HWS_ERR_TLS_ALERT);
    assert_string_equal(hws_tls_detail(talk.near), "alert bad_record_mac");
    end(&talk);
}

static void garbage_after_the_handshake_is_no_record(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk, &good);
    must_connect(&talk, "localhost", NULL);
    assert_int_equal(hws_buffer_append(&talk.to_near, "HTTP/1.1 200 OK\r\n", 17), HWS_OK);
    assert_int_equal(read_all(&talk), HWS_ERR_TLS_RECORD);
    end(&talk);
}

/* Memory, threads, the key log ------------------------------------------------------------------- */

/* One conversation with the n-th allocation of ours failing: HWS_OK once there was none. */
static int converse_with_failure(uint64_t n, talk_t *talk)
{
    hws_tls_options_t options = trusting();
    hws_error_t why = {.code = 0};
    hws_slice_t in;
    int rc;

    options.cert = HWS_SLICE(FILE_OF("client.pem"));
    options.key = HWS_SLICE(FILE_OF("leaf.key"));
    hws_memory_fail_at(n);
    rc = hws_tls_config_create(&options, &talk->config, &why);
    if (rc != HWS_OK) {
        assert_int_equal(why.code, HWS_ERR_NOMEM);
        return rc;
    }
    if ((rc = hws_tls_create(talk->config, "localhost", NULL, &talk->near)) != HWS_OK)
        return rc;
    if ((rc = near_turn(talk, false)) != HWS_AGAIN)
        return rc;
    hws_memory_fail_at(0); /* the far end has its own */
    far_turn(talk);
    hws_memory_fail_at(n > 5 ? n - 5 : n);
    rc = near_turn(talk, false);
    hws_memory_fail_at(0);
    if (rc != HWS_AGAIN)
        return rc;
    far_turn(talk);
    if ((rc = near_turn(talk, false)) != HWS_OK)
        return rc;
    tls_far_send(talk->far, "hello", 5, &talk->to_near);
    in = (hws_slice_t){hws_buffer_bytes(&talk->to_near), hws_buffer_size(&talk->to_near)};
    hws_memory_fail_at(n);
    if ((rc = hws_tls_read(talk->near, &in, &talk->near_got, &talk->to_far)) == HWS_OK)
        rc = hws_tls_write(talk->near, slice_of("hello"), &talk->to_far);
    hws_memory_fail_at(0);
    return rc;
}

static void want_of_memory_is_a_code(void **state)
{
    bool is_through = false;
    uint64_t n;

    (void)state;
    for (n = 1; !is_through; n++) {
        talk_t talk;
        int rc;

        assert_true(n < 100);
        begin(&talk, &good);
        hws_tls_config_release(talk.config);
        talk.config = NULL;
        tls_far_accept(talk.far);
        rc = converse_with_failure(n, &talk);
        hws_memory_fail_at(0);
        is_through = rc == HWS_OK;
        if (!is_through)
            assert_int_equal(rc, HWS_ERR_NOMEM);
        end(&talk);
    }
    assert_true(n > 5);
}

static void *converse_often(void *argument)
{
    hws_tls_options_t options = {.verify = true};
    tls_far_options_t far = {.cert = "rsa", .key = "rsa"};
    int i;

    (void)argument;
    for (i = 0; i < 5; i++) {
        talk_t talk;

        begin_with(&talk, &far, &options);
        must_connect(&talk, "localhost", NULL);
        exchange(&talk);
        end(&talk);
    }
    return NULL;
}

static void threads_share_the_system_s_roots(void **state)
{
    pthread_t threads[3];
    size_t i;

    (void)state;
    setenv("SSL_CERT_FILE", FILE_OF("root.pem"), 1);
    for (i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, converse_often, NULL), 0);
    for (i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    unsetenv("SSL_CERT_FILE");
}

static void secrets_are_logged_where_the_environment_asks_for_it(void **state)
{
    struct stat info;
    talk_t talk;
    char *log;

    (void)state;
    begin(&talk, &good);
    must_connect(&talk, "localhost", NULL);
    assert_int_equal(stat(keylog, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    log = contents(keylog);
    assert_memory_equal(log, "CLIENT_RANDOM ", 14);
    assert_int_equal(strcspn(log, "\n"), 14 + 64 + 1 + 96);
    free(log);
    end(&talk);
}

static int clean_up(void **state)
{
    (void)state;
    unlink(keylog);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_made_used_and_closed),
        cmocka_unit_test(no_alpn_in_common_is_none),
        cmocka_unit_test(every_split_of_what_comes_gives_the_same),
        cmocka_unit_test(a_handshake_may_come_in_small_records),
        cmocka_unit_test(data_that_comes_with_the_last_of_the_handshake_is_left_for_read),
        cmocka_unit_test(much_data_goes_in_many_records),
        cmocka_unit_test(certificates_are_judged),
        cmocka_unit_test(a_revocation_list_is_heeded),
        cmocka_unit_test(a_certificate_that_is_trusted_itself_needs_no_root_but_the_name),
        cmocka_unit_test(nothing_is_looked_at_where_nothing_is_verified),
        cmocka_unit_test(an_address_is_not_sent_as_sni),
        cmocka_unit_test(the_system_s_roots_are_used_where_no_ca_is_given),
        cmocka_unit_test(a_certificate_of_ours_is_given_when_asked_for),
        cmocka_unit_test(who_demands_one_and_gets_none_says_so),
        cmocka_unit_test(who_likes_another_one_says_so),
        cmocka_unit_test(options_that_cannot_be_used_are_named),
        cmocka_unit_test(pem_text_does_as_well_as_a_file),
        cmocka_unit_test(a_session_is_resumed),
        cmocka_unit_test(a_session_that_the_server_forgot_costs_a_full_handshake),
        cmocka_unit_test(a_session_goes_only_with_its_name_and_configuration),
        cmocka_unit_test(a_server_may_offer_nothing_to_resume),
        cmocka_unit_test(tickets_that_come_late_stand_in_nobody_s_way),
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(the_fastest_suites_are_offered_first_and_no_weak_ones),
        cmocka_unit_test(weak_suites_are_refused),
        cmocka_unit_test(answers_that_are_none_are_told_apart),
        cmocka_unit_test(a_handshake_message_without_end_is_refused),
        cmocka_unit_test(close_notify_in_the_midst_of_the_handshake_is_a_failure),
        cmocka_unit_test(a_changed_record_is_refused),
        cmocka_unit_test(no_changed_byte_of_a_handshake_goes_unnoticed),
        cmocka_unit_test(renegotiation_is_refused_and_the_connection_lives_on),
        cmocka_unit_test(a_fatal_alert_ends_a_connection_in_use),
        cmocka_unit_test(garbage_after_the_handshake_is_no_record),
        cmocka_unit_test(want_of_memory_is_a_code),
        cmocka_unit_test(threads_share_the_system_s_roots),
        cmocka_unit_test(secrets_are_logged_where_the_environment_asks_for_it),
    };

    snprintf(keylog, sizeof(keylog), "test_tls.%ld.keylog", (long)getpid());
    setenv("SSLKEYLOGFILE", keylog, 1);
    return cmocka_run_group_tests(tests, NULL, clean_up);
}
