/* control.c - the control service: HTTP, with the tests' own questions as its paths. */
#include "faultd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void answer(client_t *client, uint64_t value)
{
    char body[32];
    int size = snprintf(body, sizeof(body), "%" PRIu64, value);

    say_line(client, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, body);
}

static void refuse(client_t *client, const char *what)
{
    say_line(client, "HTTP/1.1 400 Bad Request\r\nContent-Length: %zu\r\n\r\nno such %s",
             strlen("no such ") + strlen(what), what);
}

/* The counter that the first two arguments name; refused when there is none. */
static const uint64_t *find_counter(client_t *client, const request_t *request)
{
    const service_t *service = service_find(request->arguments[0]);
    const uint64_t *counter = NULL;

    if (service != NULL)
        counter = service_counter(service, request->arguments[1]);
    if (counter == NULL)
        refuse(client, "counter");
    return counter;
}

static void get(client_t *client, const request_t *request)
{
    const uint64_t *counter = find_counter(client, request);

    if (counter != NULL)
        answer(client, *counter);
}

static void await_counter(client_t *client, const request_t *request)
{
    const uint64_t *counter = find_counter(client, request);
    uint64_t value = strtoull(request->arguments[2], NULL, 10);

    if (counter == NULL)
        return;
    await(client, counter, value);
    answer(client, value);
}

static void seen(client_t *client, const request_t *request)
{
    answer(client, seen_count(request->arguments[0], request->arguments[1]));
}

static void repeated(client_t *client, const request_t *request)
{
    (void)request;
    answer(client, seen_twice());
}

static void down(client_t *client, const request_t *request)
{
    (void)request;
    go_down();
    answer(client, 0);
}

static void up(client_t *client, const request_t *request)
{
    (void)request;
    go_up();
    answer(client, 0);
}

static void held(client_t *client, const request_t *request)
{
    uint64_t count = strtoull(request->arguments[1], NULL, 10);

    await_held(client, request->arguments[0], count);
    answer(client, count);
}

static void release(client_t *client, const request_t *request)
{
    answer(client, held_release(request->arguments[0]));
}

/* True when it was idle and has been poked. */
static bool poke_one(client_t *client, const char *how)
{
    if (client->script != NULL || client->is_closing)
        return false;
    if (strcmp(how, "fin") == 0)
        finish(client);
    else if (strcmp(how, "rst") == 0)
        reset(client);
    else
        say_line(client, "?!");
    client_play(client);
    return true;
}

static void poke(client_t *client, const request_t *request)
{
    service_t *service = service_find(request->arguments[0]);
    client_t *one = service == NULL ? NULL : service->clients;
    uint64_t count = 0;

    while (one != NULL) {
        client_t *next = one->next;

        if (one != client)
            count += poke_one(one, request->arguments[1]);
        one = next;
    }
    answer(client, count);
}

static void tell(client_t *client, const request_t *request)
{
    answer(client, h2_tell(request->arguments[0]));
}

static void greet(client_t *client, const request_t *request)
{
    h2_greet_with(request->arguments[0]);
    answer(client, 0);
}

static void zero(client_t *client, const request_t *request)
{
    (void)request;
    counters_zero();
    answer(client, 0);
}

const behaviour_t controls[] = {
    {"/get", get, AT_END},   {"/await", await_counter, AT_END}, {"/seen", seen, AT_END},
    {"/held", held, AT_END}, {"/seen-twice", repeated, AT_END}, {"/down", down, AT_END},
    {"/up", up, AT_END},     {"/release", release, AT_END},     {"/poke", poke, AT_END},
    {"/h2", tell, AT_END},   {"/h2-greeting", greet, AT_END},   {"/zero", zero, AT_END},
    {NULL, NULL, AT_END},
};

service_t control_service = {
    .name = "control",
    .on_open = http_on_open,
    .on_bytes = http_on_bytes,
    .on_end = http_on_end,
    .on_close = http_on_close,
};
