/* mbedtls_client.c - what TLS itself costs: the least that a client of mbedTLS over libuv can do.
 *
 *     mbedtls_client MODE CA URL requests connections
 *
 *     full      each GET on a connection of its own, closed after it; no handshake may be resumed
 *     resumed   likewise; each handshake but the first must resume its session
 *     keep      the connections serve GET after GET, bodies of any size among them
 *     memory    one GET on each of `requests` connections, all at once; then prints by how many
 *               bytes each made the process grow
 *
 * The first GET goes alone, so that the others find its session. Suites, curves, hashes and ALPN are
 * those that hawser offers, and chain and name ("localhost") are verified. As uv_http1.c it measures
 * its first answer and then only counts bytes: no parser, no pool, no deadline, no policy. */
#include "resident.h"
#include "target.h"

#include <malloc.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/platform.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

static const char STATUS[] = "HTTP/1.1 200";
static const int suites[] = {
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    0,
};
static const char *alpn[] = {"http/1.1", NULL};

typedef struct {
    uv_tcp_t tcp;
    uv_connect_t connect;
    mbedtls_ssl_context ssl;
    bool is_ready;
    size_t received; /* bytes of the answer so far */
} client_t;

static target_t target;
static enum { FULL, RESUMED, KEEP, MEMORY } mode;
static bool is_used_once;
static char request[1024];
static size_t request_size;
static char shared[65536]; /* what was read from a socket... */
static const char *arrived;
static size_t arrived_size; /* ...and how much of it mbedTLS has not taken yet */
static char leaving[65536]; /* what mbedTLS made, to go in one write */
static size_t leaving_size;
static unsigned char plain[16384];
static size_t answer_size; /* 0 until the first answer was seen */
static long started, finished, verified;
static size_t size_before; /* memory: of the process, with one connection */

static mbedtls_ssl_config config;
static mbedtls_x509_crt roots;
static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context drbg;
static mbedtls_ssl_session session;
static bool has_session;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "mbedtls_client: %s after %ld requests\n", what, finished);
    exit(1);
}

static void must(int ret, const char *what)
{
    char text[128], message[256];

    if (ret >= 0)
        return;
    mbedtls_strerror(ret, text, sizeof(text));
    snprintf(message, sizeof(message), "%s: %s", what, text);
    fail(message);
}

/* ---- TLS on memory ---- */

static int take_bytes(void *context, unsigned char *to, size_t size)
{
    (void)context;
    if (arrived_size == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    if (size > arrived_size)
        size = arrived_size;
    memcpy(to, arrived, size);
    arrived += size;
    arrived_size -= size;
    return (int)size;
}

static int put_bytes(void *context, const unsigned char *from, size_t size)
{
    (void)context;
    if (size > sizeof(leaving) - leaving_size)
        fail("a flight that is too long");
    memcpy(leaving + leaving_size, from, size);
    leaving_size += size;
    return (int)size;
}

static void flush(client_t *client)
{
    uv_buf_t buffer = uv_buf_init(leaving, (unsigned int)leaving_size);

    if (leaving_size > 0 &&
        uv_try_write((uv_stream_t *)&client->tcp, &buffer, 1) != (int)leaving_size)
        fail("short write");
    leaving_size = 0;
}

/* Called for each certificate of a chain, so not at all where a session is resumed. */
static int count_chains(void *context, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
    (void)context;
    (void)certificate;
    (void)flags;
    verified += depth == 0;
    return 0;
}

/* The certificate has been verified; with it the session would be copied anew for each connection. */
static void keep_session(client_t *client)
{
    if (has_session || mode == FULL)
        return;
    must(mbedtls_ssl_get_session(&client->ssl, &session), "session");
#if MBEDTLS_VERSION_NUMBER < 0x03000000 && defined(MBEDTLS_SSL_KEEP_PEER_CERTIFICATE)
    mbedtls_x509_crt_free(session.peer_cert);
    mbedtls_free(session.peer_cert);
    session.peer_cert = NULL;
#endif
    has_session = true;
}

static void configure(const char *ca)
{
    mbedtls_ssl_config_init(&config);
    mbedtls_x509_crt_init(&roots);
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&drbg);
    mbedtls_ssl_session_init(&session);
    must(mbedtls_ctr_drbg_seed(&drbg, mbedtls_entropy_func, &entropy, NULL, 0), "entropy");
    must(mbedtls_x509_crt_parse_file(&roots, ca), ca);
    must(mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                     MBEDTLS_SSL_PRESET_DEFAULT),
         "configuration");
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &drbg);
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(&config, &roots, NULL);
    mbedtls_ssl_conf_verify(&config, count_chains, NULL);
    mbedtls_ssl_conf_ciphersuites(&config, suites);
    must(mbedtls_ssl_conf_alpn_protocols(&config, alpn), "ALPN");
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    static const mbedtls_ecp_group_id curves[] = {MBEDTLS_ECP_DP_CURVE25519,
                                                  MBEDTLS_ECP_DP_SECP256R1,
                                                  MBEDTLS_ECP_DP_SECP384R1, MBEDTLS_ECP_DP_NONE};
    static const int hashes[] = {MBEDTLS_MD_SHA256, MBEDTLS_MD_SHA384, MBEDTLS_MD_SHA512,
                                 MBEDTLS_MD_NONE};

    mbedtls_ssl_conf_curves(&config, curves);
    mbedtls_ssl_conf_sig_hashes(&config, hashes);
    mbedtls_ssl_conf_min_version(&config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#else
    static const uint16_t groups[] = {0x001d, 0x0017, 0x0018, 0};
    static const uint16_t signatures[] = {0x0403, 0x0503, 0x0603, 0x0804, 0x0805,
                                          0x0806, 0x0401, 0x0501, 0x0601, 0};

    mbedtls_ssl_conf_groups(&config, groups);
    mbedtls_ssl_conf_sig_algs(&config, signatures);
    mbedtls_ssl_conf_min_tls_version(&config, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_max_tls_version(&config, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
}

/* ---- a connection ---- */

static void begin(client_t *client);
static void begin_others(client_t *first);

static void send_request(client_t *client)
{
    client->received = 0;
    must(mbedtls_ssl_write(&client->ssl, (const unsigned char *)request, request_size), "write");
}

static void on_closed(uv_handle_t *handle)
{
    if (is_used_once && started < target.requests)
        begin(handle->data);
}

static void hang_up(client_t *client)
{
    mbedtls_ssl_close_notify(&client->ssl);
    flush(client);
    mbedtls_ssl_free(&client->ssl);
    uv_close((uv_handle_t *)&client->tcp, on_closed);
}

/* Whether the connection is still there. */
static bool on_answer(client_t *client)
{
    client_t *first = finished == 0 ? client : NULL;

    finished++;
    if (is_used_once || (mode == KEEP && started == target.requests)) {
        hang_up(client);
    } else if (mode == KEEP) {
        started++;
        send_request(client);
    }
    if (first != NULL)
        begin_others(first);
    return !uv_is_closing((uv_handle_t *)&client->tcp);
}

/* The server writes the head of an answer into one record. */
static size_t measure_answer(const char *bytes, size_t size)
{
    char head[2048];
    const char *end, *length;

    size = size < sizeof(head) ? size : sizeof(head) - 1;
    memcpy(head, bytes, size);
    head[size] = '\0';
    end = strstr(head, "\r\n\r\n");
    length = strcasestr(head, "\r\nContent-Length:");
    if (end == NULL || length == NULL || length > end)
        fail("first answer without a complete head and Content-Length");
    return (size_t)(end + 4 - head) + strtoul(length + 17, NULL, 10);
}

static bool on_plain(client_t *client, size_t size)
{
    if (client->received == 0 &&
        (size < sizeof(STATUS) - 1 || memcmp(plain, STATUS, sizeof(STATUS) - 1) != 0))
        fail("an answer is not 200");
    if (answer_size == 0)
        answer_size = measure_answer((const char *)plain, size);
    client->received += size;
    if (client->received > answer_size)
        fail("an answer is too long");
    return client->received < answer_size || on_answer(client);
}

/* Makes of what has arrived whatever can be made of it. */
static void advance(client_t *client)
{
    int ret = 1;

    if (!client->is_ready) {
        ret = mbedtls_ssl_handshake(&client->ssl);
        if (ret == 0) {
            client->is_ready = true;
            keep_session(client);
            send_request(client);
            ret = 1;
        }
    }
    while (ret > 0) {
        ret = mbedtls_ssl_read(&client->ssl, plain, sizeof(plain));
        if (ret > 0 && !on_plain(client, (size_t)ret))
            return;
    }
    if (ret == 0)
        fail("the server has closed");
    if (ret != MBEDTLS_ERR_SSL_WANT_READ)
        must(ret, "TLS");
    flush(client);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    if (size == 0)
        return;
    if (size < 0)
        fail(uv_strerror((int)size));
    arrived = buffer->base;
    arrived_size = (size_t)size;
    advance(stream->data);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    (void)handle;
    (void)wanted;
    *buffer = uv_buf_init(shared, sizeof(shared));
}

static void on_connected(uv_connect_t *connect, int status)
{
    client_t *client = connect->data;

    if (status != 0)
        fail(uv_strerror(status));
    uv_tcp_nodelay(&client->tcp, 1);
    uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
    arrived_size = 0;
    advance(client);
}

static void begin(client_t *client)
{
    started++;
    client->is_ready = false;
    mbedtls_ssl_init(&client->ssl);
    must(mbedtls_ssl_setup(&client->ssl, &config), "setup");
    must(mbedtls_ssl_set_hostname(&client->ssl, "localhost"), "name");
    mbedtls_ssl_set_bio(&client->ssl, client, put_bytes, take_bytes, NULL);
    if (has_session)
        must(mbedtls_ssl_set_session(&client->ssl, &session), "session");
    uv_tcp_init(uv_default_loop(), &client->tcp);
    client->tcp.data = client->connect.data = client;
    if (uv_tcp_connect(&client->connect, &client->tcp, (const struct sockaddr *)&target.address,
                       on_connected) != 0)
        fail("cannot connect");
}

static void begin_others(client_t *first)
{
    if (mode == MEMORY) {
        malloc_trim(0);
        size_before = resident_bytes();
    }
    for (int i = 1; i < target.connections && started < target.requests; i++)
        begin(first + i);
}

/* ---- the whole ---- */

static void read_mode(const char *name)
{
    static const char *const names[] = {"full", "resumed", "keep", "memory"};
    int i = 0;

    while (i < 4 && strcmp(name, names[i]) != 0)
        i++;
    if (i == 4)
        fail("the mode is full, resumed, keep or memory");
    mode = i;
    is_used_once = mode == FULL || mode == RESUMED;
}

static void check_handshakes(void)
{
    if (mode == FULL && verified != target.requests)
        fail("a handshake was resumed");
    if (mode != FULL && verified != 1)
        fail("a handshake was not resumed");
}

static void print_growth(void)
{
    malloc_trim(0);
    printf("value\t%.0f\tbytes per connection\n",
           (double)(resident_bytes() - size_before) / (double)(target.requests - 1));
}

int main(int argc, char **argv)
{
    client_t *clients;

    if (argc != 6) {
        fprintf(stderr, "usage: mbedtls_client MODE CA URL requests connections\n");
        return 2;
    }
    read_mode(argv[1]);
    target_read(&target, argc - 2, argv + 2);
    configure(argv[2]);
    request_size = (size_t)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n",
                                    target.path, target.authority);
    clients = calloc((size_t)target.connections, sizeof(*clients));
    if (clients == NULL || request_size >= sizeof(request))
        fail("out of room");

    begin(clients);
    while (finished < target.requests)
        uv_run(uv_default_loop(), UV_RUN_ONCE);
    check_handshakes();
    if (mode == MEMORY)
        print_growth();
    else
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return 0;
}
