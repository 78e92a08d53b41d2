/* paths.c - what each path of the http service does; faultd.c lists them. */
#include "faultd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t number(const request_t *request, size_t index)
{
    return strtoull(request->arguments[index], NULL, 10);
}

static bool is_head(const request_t *request)
{
    return strcmp(request->method, "HEAD") == 0;
}

static const char *reason(uint64_t status)
{
    switch (status) {
    case 200:
        return "OK";
    case 204:
        return "No Content";
    case 304:
        return "Not Modified";
    case 404:
        return "Not Found";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    default:
        return "Whatever";
    }
}

/* The parts of responses ----------------------------------------------------------------------- */

static void say_status(client_t *client, const request_t *request, uint64_t status)
{
    say_line(client,
             "HTTP/1.1 %" PRIu64 " %s\r\nX-Connection: %" PRIu64 "\r\nX-Request: %" PRIu64 "\r\n",
             status, reason(status), client->number, request->number);
}

/* `fields` are whole lines, or "". */
static void say_head(client_t *client, const request_t *request, const char *fields)
{
    say_status(client, request, 200);
    say(client, fields, strlen(fields));
    say(client, "\r\n", 2);
}

static void say_sized_head(client_t *client, const request_t *request, const char *fields,
                           uint64_t size)
{
    say_status(client, request, 200);
    say(client, fields, strlen(fields));
    say_line(client, "Content-Length: %" PRIu64 "\r\n\r\n", size);
}

static void say_body(client_t *client, const request_t *request, const void *data, size_t size)
{
    if (!is_head(request))
        say(client, data, size);
}

static void say_ok(client_t *client, const request_t *request, const char *fields)
{
    say_sized_head(client, request, fields, 2);
    say_body(client, request, "ok", 2);
}

static void say_half_head(client_t *client)
{
    say_line(client, "HTTP/1.1 200 OK\r\nContent-Le");
}

static void say_half_body(client_t *client, const request_t *request)
{
    say_sized_head(client, request, "", 10);
    say(client, "12345", 5);
}

static void say_half_chunk(client_t *client, const request_t *request)
{
    say_head(client, request, "Transfer-Encoding: chunked\r\n");
    say_line(client, "A\r\n12345");
}

/* Well-behaved responses ----------------------------------------------------------------------- */

static void ok(client_t *client, const request_t *request)
{
    say_ok(client, request, "");
}

static void status(client_t *client, const request_t *request)
{
    uint64_t status = number(request, 0);

    say_status(client, request, status);
    if (status == 204 || status == 304) {
        say(client, "\r\n", 2);
        return;
    }
    say_line(client, "Content-Length: 10\r\n\r\n");
    say_body(client, request, "status ...", 10);
}

static void bytes(client_t *client, const request_t *request)
{
    say_sized_head(client, request, "", number(request, 0));
    if (!is_head(request))
        fill(client, number(request, 0));
}

static void chunked(client_t *client, const request_t *request)
{
    uint64_t size = number(request, 1);

    say_head(client, request, "Transfer-Encoding: chunked\r\n");
    if (is_head(request))
        return;
    for (uint64_t i = 0; i < number(request, 0); i++) {
        say_line(client, "%" PRIx64 ";part=%" PRIu64 ";quoted=\"a;b\"\r\n", size, i);
        fill(client, size);
        say_line(client, "\r\n");
    }
    say_line(client, "0\r\n\r\n");
}

static void trailers(client_t *client, const request_t *request)
{
    say_head(client, request, "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n");
    if (!is_head(request))
        say_line(client, "2\r\nok\r\n0\r\nX-Sum: 218\r\nX-Second: yes\r\n\r\n");
}

static void until_close(client_t *client, const request_t *request)
{
    say_head(client, request, "");
    if (!is_head(request))
        fill(client, number(request, 0));
    finish(client);
}

static void echo(client_t *client, const request_t *request)
{
    say_sized_head(client, request, "Content-Type: text/plain\r\n",
                   request->head->size + request->body->size);
    say_body(client, request, request->head->data, request->head->size);
    say_body(client, request, request->body->data, request->body->size);
}

static void body(client_t *client, const request_t *request)
{
    say_sized_head(client, request, "", request->body->size);
    say_body(client, request, request->body->data, request->body->size);
}

static void sink(client_t *client, const request_t *request)
{
    char report[128];
    int size = snprintf(report, sizeof(report), "%s %" PRIu64 " %" PRIu64, request->framing,
                        request->body_size, request->body_sum);

    say_sized_head(client, request, "", (uint64_t)size);
    say_body(client, request, report, (size_t)size);
}

static void early(client_t *client, const request_t *request)
{
    if (!request->is_complete)
        status(client, request);
}

static void unread(client_t *client, const request_t *request)
{
    if (request->is_complete) {
        sink(client, request);
        return;
    }
    stop_reading(client);
    hold(client, request->arguments[0]);
    start_reading(client);
}

static void close_after(client_t *client, const request_t *request)
{
    say_ok(client, request, "Connection: close\r\n");
    finish(client);
}

static void old(client_t *client, const request_t *request)
{
    (void)request;
    say_line(client, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nok");
    finish(client);
}

static void keepalive(client_t *client, const request_t *request)
{
    char field[64];

    snprintf(field, sizeof(field), "Keep-Alive: timeout=%" PRIu64 "\r\n", number(request, 0));
    say_ok(client, request, field);
}

static void continued(client_t *client, const request_t *request)
{
    say_line(client, "HTTP/1.1 100 Continue\r\n\r\n");
    say_ok(client, request, "");
}

static void informational(client_t *client, const request_t *request)
{
    for (uint64_t i = 0; i < number(request, 0); i++)
        say_line(client, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
    say_ok(client, request, "");
}

static void upgrade(client_t *client, const request_t *request)
{
    (void)request;
    say_line(client,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
}

/* Time ----------------------------------------------------------------------------------------- */

static void slow(client_t *client, const request_t *request)
{
    pause_for(client, number(request, 0));
    say_ok(client, request, "");
}

static void held(client_t *client, const request_t *request)
{
    hold(client, request->arguments[0]);
    say_ok(client, request, "");
}

static void drip(client_t *client, const request_t *request)
{
    say_sized_head(client, request, "", number(request, 0));
    pause_for(client, number(request, 1));
    for (uint64_t i = 0; i < number(request, 0); i++)
        say(client, "x", 1);
    trickle(client, number(request, 1));
}

static void drip_head(client_t *client, const request_t *request)
{
    say_ok(client, request, "");
    trickle(client, number(request, 0));
}

static void never(client_t *client, const request_t *request)
{
    (void)request;
    keep_silent(client);
}

static void stall_head(client_t *client, const request_t *request)
{
    (void)request;
    say_half_head(client);
    keep_silent(client);
}

static void stall_body(client_t *client, const request_t *request)
{
    say_half_body(client, request);
    keep_silent(client);
}

static void stall_chunk(client_t *client, const request_t *request)
{
    say_half_chunk(client, request);
    keep_silent(client);
}

/* Endings -------------------------------------------------------------------------------------- */

static void rst_now(client_t *client, const request_t *request)
{
    (void)request;
    reset(client);
}

static void fin_now(client_t *client, const request_t *request)
{
    (void)request;
    finish(client);
}

static void rst_head(client_t *client, const request_t *request)
{
    (void)request;
    say_half_head(client);
    reset(client);
}

static void fin_head(client_t *client, const request_t *request)
{
    (void)request;
    say_half_head(client);
    finish(client);
}

static void rst_body(client_t *client, const request_t *request)
{
    say_half_body(client, request);
    reset(client);
}

static void fin_body(client_t *client, const request_t *request)
{
    say_half_body(client, request);
    finish(client);
}

static void fin_chunk(client_t *client, const request_t *request)
{
    say_half_chunk(client, request);
    finish(client);
}

static void rst_after(client_t *client, const request_t *request)
{
    say_ok(client, request, "");
    reset(client);
}

static void fin_after(client_t *client, const request_t *request)
{
    say_ok(client, request, "");
    finish(client);
}

static void rst_early(client_t *client, const request_t *request)
{
    if (!request->is_complete)
        reset(client);
}

static void stale_rst(client_t *client, const request_t *request)
{
    say_ok(client, request, "");
    client->doom = DOOM_RST;
}

static void stale_fin(client_t *client, const request_t *request)
{
    say_ok(client, request, "");
    client->doom = DOOM_FIN;
}

static void idle(client_t *client, const request_t *request)
{
    say_ok(client, request, "");
    client->idle_ms = number(request, 0);
}

/* Against the limits, or against the rules ----------------------------------------------------- */

static void extra(client_t *client, const request_t *request)
{
    say_ok(client, request, "");
    say_line(client, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
}

static void head_size(client_t *client, const request_t *request)
{
    static const char field[] = "X-Filler: ............................................\r\n";
    uint64_t size = number(request, 0);

    say_status(client, request, 200);
    for (uint64_t said = 0; said + sizeof(field) < size; said += sizeof(field) - 1)
        say(client, field, sizeof(field) - 1);
    say_line(client, "Content-Length: 2\r\n\r\nok");
}

static void line_size(client_t *client, const request_t *request)
{
    say_status(client, request, 200);
    say_line(client, "X-Long: ");
    fill(client, number(request, 0));
    say_line(client, "\r\nContent-Length: 2\r\n\r\nok");
}

static void fields(client_t *client, const request_t *request)
{
    say_status(client, request, 200);
    for (uint64_t i = 0; i < number(request, 0); i++)
        say_line(client, "A:\r\n");
    say_line(client, "Content-Length: 2\r\n\r\nok");
}

static void chunk_line(client_t *client, const request_t *request)
{
    say_head(client, request, "Transfer-Encoding: chunked\r\n");
    say_line(client, "2;");
    fill(client, number(request, 0));
    say_line(client, "\r\nok\r\n0\r\n\r\n");
}

static void endless_head(client_t *client, const request_t *request)
{
    say_status(client, request, 200);
    say_line(client, "X-Long: ");
    fill(client, UINT64_MAX);
}

static void after_raw(client_t *client, const char *word)
{
    if (strcmp(word, "fin") == 0)
        finish(client);
    else if (strcmp(word, "rst") == 0)
        reset(client);
}

static void say_hex(client_t *client, const request_t *request)
{
    bytes_t said = {0};

    if (bytes_append_hex(&said, request->arguments[0]))
        say(client, said.data, said.size);
    bytes_dispose(&said);
}

static void raw(client_t *client, const request_t *request)
{
    say_hex(client, request);
    after_raw(client, request->arguments[1]);
}

static void split(client_t *client, const request_t *request)
{
    say_hex(client, request);
    trickle(client, 0);
    after_raw(client, request->arguments[1]);
}

static void first(client_t *client, const request_t *request)
{
    const char *how = request->arguments[1];
    const char *key = request->arguments[2];

    seen_add("FIRST", key);
    if (seen_count("FIRST", key) > number(request, 0)) {
        ok(client, request);
    } else if (strcmp(how, "rst") == 0) {
        rst_now(client, request);
    } else if (strcmp(how, "fin") == 0) {
        fin_now(client, request);
    } else if (strcmp(how, "never") == 0) {
        never(client, request);
    } else {
        say_status(client, request, number(request, 1));
        if (request->arguments[3][0] != '\0')
            say_line(client, "Retry-After: %s\r\n", request->arguments[3]);
        say_line(client, "Content-Length: 5\r\n\r\n");
        say_body(client, request, "first", 5);
    }
}

const behaviour_t paths[] = {
    {"/ok", ok, AT_END},
    {"/status", status, AT_END},
    {"/first", first, AT_END},
    {"/bytes", bytes, AT_END},
    {"/chunked", chunked, AT_END},
    {"/trailers", trailers, AT_END},
    {"/until-close", until_close, AT_END},
    {"/echo", echo, KEEP_BODY},
    {"/body", body, KEEP_BODY},
    {"/sink", sink, AT_END},
    {"/early", early, AT_HEAD},
    {"/unread", unread, AT_HEAD},
    {"/slow", slow, AT_END},
    {"/hold", held, AT_END},
    {"/drip", drip, AT_END},
    {"/drip-head", drip_head, AT_END},
    {"/never", never, AT_END},
    {"/stall/head", stall_head, AT_END},
    {"/stall/body", stall_body, AT_END},
    {"/stall/chunk", stall_chunk, AT_END},
    {"/rst/now", rst_now, AT_END},
    {"/rst/head", rst_head, AT_END},
    {"/rst/body", rst_body, AT_END},
    {"/rst/after", rst_after, AT_END},
    {"/rst/early", rst_early, AT_HEAD},
    {"/fin/now", fin_now, AT_END},
    {"/fin/head", fin_head, AT_END},
    {"/fin/body", fin_body, AT_END},
    {"/fin/chunk", fin_chunk, AT_END},
    {"/fin/after", fin_after, AT_END},
    {"/stale/rst", stale_rst, AT_END},
    {"/stale/fin", stale_fin, AT_END},
    {"/idle", idle, AT_END},
    {"/extra", extra, AT_END},
    {"/close", close_after, AT_END},
    {"/old", old, AT_END},
    {"/keepalive", keepalive, AT_END},
    {"/continue", continued, AT_END},
    {"/informational", informational, AT_END},
    {"/upgrade", upgrade, AT_END},
    {"/head-size", head_size, AT_END},
    {"/line-size", line_size, AT_END},
    {"/fields", fields, AT_END},
    {"/chunk-line", chunk_line, AT_END},
    {"/endless/head", endless_head, AT_END},
    {"/raw", raw, AT_END},
    {"/split", split, AT_END},
    {NULL, NULL, AT_END},
};
