/* TLS 1.3, which the server of test_tls.c does not have on every system: here it is one on OpenSSL. */
#include "transport/tls.h"

#include "support/cmocka.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_OF(name) TEST_CERTIFICATES "/" name
#define KEYLOG "test_tls_openssl.keylog"
#define MUST(call) assert_int_equal((call), 1)

/* Two ends and what is on its way to the near one; the far one has BIOs of its own. */
typedef struct {
    SSL_CTX *context;
    SSL *far;
    hws_tls_config_t *config;
    hws_tls_t *near;
    hws_buffer_t to_near;
    hws_buffer_t near_got;
    hws_buffer_t out;
    size_t piece; /* what the near end is given at once; 0: all */
    int far_error;
} talk_t;

static hws_slice_t slice_of(const char *text)
{
    return (hws_slice_t){text, strlen(text)};
}

static hws_tls_options_t trusting(void)
{
    return (hws_tls_options_t){.ca = HWS_SLICE(FILE_OF("root.pem")), .verify = true};
}

static int accept_stranger(int ok, X509_STORE_CTX *chain)
{
    (void)chain;
    return ok;
}

static void begin_with(talk_t *talk, const char *cert, const hws_tls_options_t *options)
{
    hws_error_t why = {.code = 0};

    memset(talk, 0, sizeof(*talk));
    talk->context = SSL_CTX_new(TLS_server_method());
    assert_non_null(talk->context);
    MUST(SSL_CTX_use_certificate_chain_file(talk->context, cert));
    MUST(SSL_CTX_use_PrivateKey_file(talk->context, FILE_OF("leaf.key"), SSL_FILETYPE_PEM));
    MUST(SSL_CTX_set_session_id_context(talk->context, (const unsigned char *)"test", 4));
    if (hws_tls_config_create(options, &talk->config, &why) != HWS_OK)
        fail_msg("%s", why.detail);
}

static void begin(talk_t *talk)
{
    hws_tls_options_t options = trusting();

    begin_with(talk, FILE_OF("good.pem"), &options);
}

static void demand_certificate(talk_t *talk)
{
    MUST(SSL_CTX_load_verify_locations(talk->context, FILE_OF("root.pem"), NULL));
    SSL_CTX_set_verify(talk->context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       accept_stranger);
}

static void hang_up(talk_t *talk)
{
    hws_tls_destroy(talk->near);
    talk->near = NULL;
    SSL_free(talk->far);
    talk->far = NULL;
    hws_buffer_clear(&talk->to_near);
    hws_buffer_clear(&talk->near_got);
}

static void end(talk_t *talk)
{
    hang_up(talk);
    hws_tls_config_release(talk->config);
    SSL_CTX_free(talk->context);
    hws_buffer_dispose(&talk->to_near);
    hws_buffer_dispose(&talk->near_got);
    hws_buffer_dispose(&talk->out);
    assert_int_equal(ERR_peek_error(), 0); /* nothing is left behind for a host to find */
}

/* What the near end has said goes to the far one, and what that has to say comes. */
static void far_turn(talk_t *talk)
{
    char bytes[4096];
    size_t size;

    if (!hws_buffer_is_empty(&talk->out)) {
        MUST(BIO_write_ex(SSL_get_rbio(talk->far), hws_buffer_bytes(&talk->out),
                          hws_buffer_size(&talk->out), &size));
        hws_buffer_clear(&talk->out);
    }
    if (!SSL_is_init_finished(talk->far))
        talk->far_error = SSL_get_error(talk->far, SSL_do_handshake(talk->far));
    ERR_clear_error();
    while (BIO_read_ex(SSL_get_wbio(talk->far), bytes, sizeof(bytes), &size) == 1)
        assert_int_equal(hws_buffer_append(&talk->to_near, bytes, size), HWS_OK);
}

static int near_turn(talk_t *talk, bool is_ready)
{
    hws_slice_t in = {NULL, hws_buffer_size(&talk->to_near)};
    size_t had;
    int rc;

    if (in.size > 0)
        in.data = hws_buffer_bytes(&talk->to_near);
    if (talk->piece > 0 && in.size > talk->piece)
        in.size = talk->piece;
    had = in.size;
    if (is_ready)
        rc = hws_tls_read(talk->near, &in, &talk->near_got, &talk->out);
    else
        rc = hws_tls_handshake(talk->near, &in, &talk->out);
    hws_buffer_consume(&talk->to_near, had - in.size);
    return rc;
}

static void far_accept(talk_t *talk)
{
    talk->far = SSL_new(talk->context);
    assert_non_null(talk->far);
    SSL_set_bio(talk->far, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(talk->far);
}

static int connect_as(talk_t *talk, const char *name, const hws_tls_session_t *resume)
{
    int rc;

    far_accept(talk);
    assert_int_equal(hws_tls_create(talk->config, name, resume, &talk->near), HWS_OK);
    while ((rc = near_turn(talk, false)) == HWS_AGAIN) {
        if (hws_buffer_is_empty(&talk->to_near))
            far_turn(talk);
        if (hws_buffer_is_empty(&talk->to_near))
            break;
    }
    far_turn(talk);
    return rc;
}

static void must_connect(talk_t *talk, const char *name, const hws_tls_session_t *resume)
{
    int rc = connect_as(talk, name, resume);

    if (rc != HWS_OK)
        fail_msg("%s: %s", hws_error_name(rc), hws_tls_detail(talk->near));
    assert_true(SSL_is_init_finished(talk->far));
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

static void far_send(talk_t *talk, const char *text)
{
    size_t size;

    MUST(SSL_write_ex(talk->far, text, strlen(text), &size));
    far_turn(talk);
}

static void exchange(talk_t *talk)
{
    char bytes[8];
    size_t size;

    assert_int_equal(hws_tls_write(talk->near, slice_of("ping"), &talk->out), HWS_OK);
    far_turn(talk);
    MUST(SSL_read_ex(talk->far, bytes, sizeof(bytes), &size));
    assert_int_equal(size, 4);
    assert_memory_equal(bytes, "ping", 4);
    far_send(talk, "pong");
    assert_int_equal(read_all(talk), HWS_OK);
    assert_got(&talk->near_got, "pong");
}

/* The whole of it ---------------------------------------------------------------------------- */

static void tls_1_3_is_spoken_where_the_peer_can(void **state)
{
    size_t piece;

    (void)state;
    for (piece = 0; piece < 4; piece++) {
        talk_t talk;

        begin(&talk);
        talk.piece = piece;
        must_connect(&talk, "localhost", NULL);
        assert_string_equal(hws_tls_version(talk.near), "1.3");
        assert_string_equal(hws_tls_cipher(talk.near), "TLS_AES_128_GCM_SHA256");
        assert_string_equal(hws_tls_detail(talk.near), "");
        exchange(&talk);
        end(&talk);
    }
}

static void either_end_closes_once_and_the_other_may_go_on(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk);
    must_connect(&talk, "localhost", NULL);
    hws_tls_close(talk.near, &talk.out);
    assert_false(hws_buffer_is_empty(&talk.out));
    far_turn(&talk);
    hws_tls_close(talk.near, &talk.out);
    assert_true(hws_buffer_is_empty(&talk.out));
    far_send(&talk, "last");
    SSL_shutdown(talk.far);
    far_turn(&talk);
    assert_int_equal(read_all(&talk), HWS_END);
    assert_got(&talk.near_got, "last");
    hang_up(&talk);

    must_connect(&talk, "localhost", NULL);
    SSL_shutdown(talk.far);
    far_turn(&talk);
    assert_int_equal(read_all(&talk), HWS_END);
    assert_int_equal(hws_tls_write(talk.near, slice_of("more"), &talk.out), HWS_OK);
    assert_false(hws_buffer_is_empty(&talk.out));
    hws_tls_close(talk.near, &talk.out);
    end(&talk);
}

static void a_server_may_ask_for_another_group(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk);
    MUST(SSL_CTX_set1_groups_list(talk.context, "P-384"));
    must_connect(&talk, "localhost", NULL);
    exchange(&talk);
    end(&talk);
}

static void new_keys_are_taken_at_any_time(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk);
    must_connect(&talk, "localhost", NULL);
    MUST(SSL_key_update(talk.far, SSL_KEY_UPDATE_REQUESTED));
    far_send(&talk, "new keys");
    assert_int_equal(read_all(&talk), HWS_OK);
    assert_got(&talk.near_got, "new keys");
    exchange(&talk);
    end(&talk);
}

/* Versions and certificates ----------------------------------------------------------------------- */

static void a_minimum_of_1_3_is_honoured(void **state)
{
    hws_tls_options_t options = trusting();
    talk_t talk;

    (void)state;
    options.min = HWS_TLS_1_3;
    begin_with(&talk, FILE_OF("good.pem"), &options);
    must_connect(&talk, "localhost", NULL);
    hang_up(&talk);
    MUST(SSL_CTX_set_max_proto_version(talk.context, TLS1_2_VERSION));
    assert_int_equal(connect_as(&talk, "localhost", NULL), HWS_ERR_TLS_VERSION);
    end(&talk);
}

static void tls_1_2_is_spoken_where_the_peer_has_nothing_better(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk);
    MUST(SSL_CTX_set_max_proto_version(talk.context, TLS1_2_VERSION));
    must_connect(&talk, "localhost", NULL);
    assert_string_equal(hws_tls_version(talk.near), "1.2");
    exchange(&talk);
    hang_up(&talk);
    SSL_CTX_set_security_level(talk.context, 0);
    MUST(SSL_CTX_set_min_proto_version(talk.context, TLS1_VERSION));
    MUST(SSL_CTX_set_max_proto_version(talk.context, TLS1_1_VERSION));
    assert_int_equal(connect_as(&talk, "localhost", NULL), HWS_ERR_TLS_VERSION);
    end(&talk);
}

static void certificates_are_judged_as_in_1_2(void **state)
{
    static const struct {
        const char *cert;
        const char *name;
        int code;
        const char *detail;
    } cases[] = {
        {FILE_OF("wrong.pem"), "localhost", HWS_ERR_CERT_NAME, "it names other.test"},
        {FILE_OF("expired.pem"), "localhost", HWS_ERR_CERT_EXPIRED, "valid until 2021-01-01"},
        {FILE_OF("stale.pem"), "localhost", HWS_ERR_CERT_NAME, "; valid until 2021-01-01"},
        {FILE_OF("untrusted.pem"), "localhost", HWS_ERR_CERT_UNTRUSTED,
         "CN=another test root is not known"},
        {FILE_OF("client.pem"), "localhost", HWS_ERR_CERT_USAGE, "key usage"},
        {FILE_OF("good.pem"), "good", HWS_ERR_CERT_NAME, "it names localhost"},
    };
    hws_tls_options_t options = trusting();
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        talk_t talk;
        int rc;

        begin_with(&talk, cases[i].cert, &options);
        rc = connect_as(&talk, cases[i].name, NULL);
        if (rc != cases[i].code || strstr(hws_tls_detail(talk.near), cases[i].detail) == NULL)
            fail_msg("%s: %s (%s)", cases[i].cert, hws_error_name(rc), hws_tls_detail(talk.near));
        assert_int_equal(talk.far_error, SSL_ERROR_SSL); /* it was told */
        end(&talk);
    }
}

static void a_list_counts_for_the_issuers_that_have_one(void **state)
{
    hws_tls_options_t options = trusting();
    talk_t talk;

    (void)state;
    options.crl = HWS_SLICE(FILE_OF("crl.pem"));
    begin_with(&talk, FILE_OF("revoked.pem"), &options);
    assert_int_equal(connect_as(&talk, "localhost", NULL), HWS_ERR_CERT_REVOKED);
    end(&talk);
    begin_with(&talk, FILE_OF("good.pem"), &options);
    must_connect(&talk, "localhost", NULL); /* the root's own has none */
    end(&talk);
}

/* The server is content only when it has seen our certificate: after we think that we are through. */
static void a_refusal_of_our_certificate_comes_from_read(void **state)
{
    hws_tls_options_t options = trusting();
    talk_t talk;

    (void)state;
    begin(&talk);
    demand_certificate(&talk);
    assert_int_equal(connect_as(&talk, "localhost", NULL), HWS_OK);
    assert_int_equal(read_all(&talk), HWS_ERR_TLS_CLIENT_CERT);
    assert_string_equal(hws_tls_detail(talk.near),
                        "alert certificate_required (we have no certificate)");
    end(&talk);

    options.cert = HWS_SLICE(FILE_OF("self.pem"));
    options.key = HWS_SLICE(FILE_OF("leaf.key"));
    begin_with(&talk, FILE_OF("good.pem"), &options);
    demand_certificate(&talk);
    assert_int_equal(connect_as(&talk, "localhost", NULL), HWS_OK);
    assert_int_equal(read_all(&talk), HWS_ERR_TLS_CLIENT_CERT);
    assert_non_null(strstr(hws_tls_detail(talk.near), "(of our certificate)"));
    end(&talk);

    options.cert = HWS_SLICE(FILE_OF("client.pem"));
    begin_with(&talk, FILE_OF("good.pem"), &options);
    demand_certificate(&talk);
    must_connect(&talk, "localhost", NULL);
    exchange(&talk);
    end(&talk);
}

static int encrypt_key(const char *path)
{
    char command[2048];

    snprintf(command, sizeof(command),
             "openssl pkcs8 -topk8 -in %s -out %s -v2 aes256 -passout pass:x 2>/dev/null",
             FILE_OF("leaf.key"), path);
    return system(command);
}

static void an_encrypted_key_is_refused_without_a_question(void **state)
{
    static const char path[] = "test_tls_openssl.key";
    hws_tls_options_t options = trusting();
    hws_error_t why = {.code = 0};
    hws_tls_config_t *config;

    (void)state;
    assert_int_equal(encrypt_key(path), 0);
    options.cert = HWS_SLICE(FILE_OF("client.pem"));
    options.key = slice_of(path);
    assert_int_equal(hws_tls_config_create(&options, &config, &why), HWS_ERR_TLS_OPTIONS);
    assert_string_equal(why.detail, "key: encrypted keys are not supported");
    unlink(path);
}

/* ALPN -------------------------------------------------------------------------------------------- */

static int choose(SSL *ssl, const unsigned char **chosen, unsigned char *size,
                  const unsigned char *in, unsigned in_size, void *context)
{
    const char *name = context;

    (void)ssl;
    (void)in;
    (void)in_size;
    *chosen = (const unsigned char *)name;
    *size = (unsigned char)strlen(name);
    return SSL_TLSEXT_ERR_OK;
}

static void what_was_not_offered_may_not_be_chosen(void **state)
{
    static const char *const offered[] = {"h2", "http/1.1", NULL};
    static char first[] = "h2";
    static char second[] = "http/1.1";
    static char other[] = "http/1.";
    hws_tls_options_t options = trusting();
    talk_t talk;

    (void)state;
    options.alpn = offered;
    begin_with(&talk, FILE_OF("good.pem"), &options);
    SSL_CTX_set_alpn_select_cb(talk.context, choose, first);
    must_connect(&talk, "localhost", NULL);
    assert_string_equal(hws_tls_alpn(talk.near), "h2");
    hang_up(&talk);
    SSL_CTX_set_alpn_select_cb(talk.context, choose, second);
    must_connect(&talk, "localhost", NULL);
    assert_string_equal(hws_tls_alpn(talk.near), "http/1.1");
    hang_up(&talk);
    SSL_CTX_set_alpn_select_cb(talk.context, choose, other);
    assert_int_equal(connect_as(&talk, "localhost", NULL), HWS_ERR_TLS);
    assert_string_not_equal(hws_tls_detail(talk.near), "");
    end(&talk);
}

/* Sessions ---------------------------------------------------------------------------------------- */

static void a_ticket_comes_with_the_first_data_and_is_used_once(void **state)
{
    hws_tls_session_t *session;
    talk_t talk;
    int i;

    (void)state;
    begin(&talk);
    must_connect(&talk, "localhost", NULL);
    assert_null(hws_tls_take_session(talk.near));
    exchange(&talk);
    session = hws_tls_take_session(talk.near);
    assert_non_null(session);
    assert_true(hws_tls_session_is_single_use(session));
    assert_null(hws_tls_take_session(talk.near));
    for (i = 0; i < 3; i++) {
        hang_up(&talk);
        must_connect(&talk, "localhost", session);
        assert_true(hws_tls_is_resumed(talk.near));
        exchange(&talk);
        hws_tls_session_free(session);
        session = hws_tls_take_session(talk.near);
        assert_non_null(session);
    }
    hws_tls_session_free(session);
    end(&talk);
}

static void a_ticket_goes_only_with_its_name_and_configuration(void **state)
{
    hws_tls_options_t options = trusting();
    hws_tls_session_t *session;
    talk_t talk;

    (void)state;
    begin(&talk);
    must_connect(&talk, "localhost", NULL);
    exchange(&talk);
    session = hws_tls_take_session(talk.near);
    hang_up(&talk);
    must_connect(&talk, "www.example.test", session);
    assert_false(hws_tls_is_resumed(talk.near));
    hang_up(&talk);
    hws_tls_config_release(talk.config);
    assert_int_equal(hws_tls_config_create(&options, &talk.config, NULL), HWS_OK);
    must_connect(&talk, "localhost", session);
    assert_false(hws_tls_is_resumed(talk.near));
    hws_tls_session_free(session);
    end(&talk);
}

/* ------------------------------------------------------------------------------------------------- */

static void a_changed_record_is_refused(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk);
    must_connect(&talk, "localhost", NULL);
    assert_int_equal(read_all(&talk), HWS_OK); /* tickets */
    far_send(&talk, "changed");
    talk.to_near.data[talk.to_near.tail - 1] ^= 1;
    assert_int_equal(read_all(&talk), HWS_ERR_TLS_RECORD);
    assert_false(hws_buffer_is_empty(&talk.out)); /* the alert */
    end(&talk);
}

static void secrets_are_logged_with_the_labels_of_1_3(void **state)
{
    static const char *const labels[] = {"CLIENT_HANDSHAKE_TRAFFIC_SECRET ",
                                         "SERVER_HANDSHAKE_TRAFFIC_SECRET ",
                                         "CLIENT_TRAFFIC_SECRET_0 ", "SERVER_TRAFFIC_SECRET_0 "};
    char log[100000] = "";
    FILE *file;
    talk_t talk;
    size_t i;

    (void)state;
    begin(&talk);
    must_connect(&talk, "localhost", NULL);
    end(&talk);
    assert_non_null(file = fopen(KEYLOG, "r"));
    assert_true(fread(log, 1, sizeof(log) - 1, file) > 0);
    fclose(file);
    for (i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
        assert_non_null(strstr(log, labels[i]));
}

/* As luasec or another user of the library in this thread may leave behind. */
static void errors_of_others_are_not_taken_for_ours(void **state)
{
    talk_t talk;

    (void)state;
    begin(&talk);
    must_connect(&talk, "localhost", NULL);
    ERR_raise(ERR_LIB_USER, 100);
    far_send(&talk, "fine");
    ERR_raise(ERR_LIB_USER, 100);
    assert_int_equal(read_all(&talk), HWS_OK);
    assert_got(&talk.near_got, "fine");
    ERR_raise(ERR_LIB_USER, 100);
    assert_int_equal(hws_tls_write(talk.near, slice_of("x"), &talk.out), HWS_OK);
    end(&talk);
}

/* Memory -------------------------------------------------------------------------------------- */

#define STRIDE 37 /* there are 9000, and each takes a handshake */

/* OpenSSL's own allocations. The far end's are not counted: it is off there. */
static struct {
    bool is_on;
    uint64_t fail_at;
    uint64_t count;
} engine;

static void *engine_alloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return engine.is_on && ++engine.count == engine.fail_at ? NULL : malloc(size);
}

static void *engine_realloc(void *block, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return engine.is_on && ++engine.count == engine.fail_at ? NULL : realloc(block, size);
}

static void engine_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    free(block);
}

static int near_turn_counted(talk_t *talk, bool is_ready)
{
    int rc;

    engine.is_on = true;
    rc = near_turn(talk, is_ready);
    engine.is_on = false;
    return rc;
}

static int create_counted(talk_t *talk)
{
    hws_tls_options_t options = trusting();
    hws_error_t why;
    int rc;

    options.cert = HWS_SLICE(FILE_OF("client.pem"));
    options.key = HWS_SLICE(FILE_OF("leaf.key"));
    engine.is_on = true;
    rc = hws_tls_config_create(&options, &talk->config, &why);
    if (rc == HWS_OK)
        rc = hws_tls_create(talk->config, "localhost", NULL, &talk->near);
    engine.is_on = false;
    return rc;
}

/* A handshake and some data. */
static int converse_counted(talk_t *talk)
{
    int rc = create_counted(talk);

    if (rc != HWS_OK)
        return rc;
    far_accept(talk);
    while ((rc = near_turn_counted(talk, false)) == HWS_AGAIN)
        far_turn(talk);
    if (rc != HWS_OK)
        return rc;
    far_turn(talk);
    far_send(talk, "hello");
    if ((rc = near_turn_counted(talk, true)) != HWS_OK)
        return rc;
    engine.is_on = true;
    rc = hws_tls_write(talk->near, slice_of("hello"), &talk->out);
    engine.is_on = false;
    return rc;
}

/* Some allocations OpenSSL can do without, and of the failure of some others it tells as of any
 * failure. But a stranger is never let in for want of memory. */
static void allocations_of_the_engine_may_fail(void **state)
{
    static const char *const certificates[] = {FILE_OF("good.pem"), FILE_OF("untrusted.pem")};
    hws_tls_options_t options = trusting();
    bool is_through = false;

    (void)state;
    for (engine.fail_at = 1; !is_through; engine.fail_at += STRIDE) {
        int i;

        for (i = 0; i < 2; i++) {
            talk_t talk;
            int rc;

            begin_with(&talk, certificates[i], &options);
            hws_tls_config_release(talk.config);
            talk.config = NULL;
            engine.count = 0;
            rc = converse_counted(&talk);
            is_through = engine.count < engine.fail_at;
            assert_true(i == 0 || rc != HWS_OK);
            assert_int_not_equal(rc, HWS_AGAIN);
            if (is_through)
                assert_int_equal(rc, i == 0 ? HWS_OK : HWS_ERR_CERT_UNTRUSTED);
            end(&talk);
        }
    }
    assert_true(engine.fail_at > 1000);
}

static int clean_up(void **state)
{
    (void)state;
    unlink(KEYLOG);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_1_3_is_spoken_where_the_peer_can),
        cmocka_unit_test(either_end_closes_once_and_the_other_may_go_on),
        cmocka_unit_test(a_server_may_ask_for_another_group),
        cmocka_unit_test(new_keys_are_taken_at_any_time),
        cmocka_unit_test(a_minimum_of_1_3_is_honoured),
        cmocka_unit_test(tls_1_2_is_spoken_where_the_peer_has_nothing_better),
        cmocka_unit_test(certificates_are_judged_as_in_1_2),
        cmocka_unit_test(a_list_counts_for_the_issuers_that_have_one),
        cmocka_unit_test(a_refusal_of_our_certificate_comes_from_read),
        cmocka_unit_test(an_encrypted_key_is_refused_without_a_question),
        cmocka_unit_test(what_was_not_offered_may_not_be_chosen),
        cmocka_unit_test(a_ticket_comes_with_the_first_data_and_is_used_once),
        cmocka_unit_test(a_ticket_goes_only_with_its_name_and_configuration),
        cmocka_unit_test(a_changed_record_is_refused),
        cmocka_unit_test(secrets_are_logged_with_the_labels_of_1_3),
        cmocka_unit_test(errors_of_others_are_not_taken_for_ours),
        cmocka_unit_test(allocations_of_the_engine_may_fail),
    };

    if (CRYPTO_set_mem_functions(engine_alloc, engine_realloc, engine_free) != 1)
        return 1;
    unlink(KEYLOG);
    setenv("SSLKEYLOGFILE", KEYLOG, 1);
    return cmocka_run_group_tests(tests, NULL, clean_up);
}
