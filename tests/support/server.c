#include "support/server.h"

#include "support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Replies that wait for their moment ------------------------------------------------------------ */

typedef struct {
    hws_list_t link; /* in server->pending */
    server_t *server;
    visit_t *visit;
    uint32_t number; /* of the visit: its place may have been taken by another */
    reply_t reply;
} pending_t;

static void do_now(visit_t *visit, const reply_t *reply)
{
    static const hws_sim_close_t ways[] = {
        [FINISHES] = HWS_SIM_FINISH, [CLOSES] = HWS_SIM_CLOSE, [RESETS] = HWS_SIM_RESET};
    size_t size = reply->size;

    if (reply->bytes != NULL && size == 0)
        size = strlen(reply->bytes);
    if (size > 0)
        (void)hws_sim_send(visit->conn, reply->bytes, size);
    if (reply->then != STAYS)
        hws_sim_close(visit->conn, ways[reply->then]);
}

static bool is_here(const server_t *server, const visit_t *visit, uint32_t number)
{
    HWS_LIST_EACH(link, &server->visits) {
        const visit_t *here = HWS_CONTAINER(link, visit_t, link);

        if (here == visit && here->number == number)
            return true;
    }
    return false;
}

static void do_pending(void *user)
{
    pending_t *pending = user;

    hws_list_remove(&pending->link);
    if (is_here(pending->server, pending->visit, pending->number))
        do_now(pending->visit, &pending->reply);
    free(pending);
}

void server_say(visit_t *visit, reply_t reply)
{
    server_t *server = visit->server;
    pending_t *pending;

    if (reply.is_silent)
        return;
    if (reply.after == 0) {
        do_now(visit, &reply);
        return;
    }
    pending = calloc(1, sizeof(*pending));
    pending->server = server;
    pending->visit = visit;
    pending->number = visit->number;
    pending->reply = reply;
    hws_list_push_back(&server->pending, &pending->link);
    if (hws_sim_at(server->world->sim, world_now(server->world) + reply.after, do_pending,
                   pending) == HWS_OK)
        return;
    hws_list_remove(&pending->link);
    free(pending);
    hws_sim_close(visit->conn, HWS_SIM_RESET);
}

/* Reading requests ------------------------------------------------------------------------------ */

/* The size of the first request in `bytes`, or 0 while it is not all there. */
static size_t request_size(const char *bytes, size_t size)
{
    const char *end = size > 0 ? memmem(bytes, size, "\r\n\r\n", 4) : NULL;
    const char *field;
    size_t head;

    if (end == NULL)
        return 0;
    head = (size_t)(end - bytes) + 4;
    if ((field = memmem(bytes, head, "Content-Length: ", 16)) != NULL) {
        size_t body = strtoull(field + 16, NULL, 10);

        return size >= head + body ? head + body : 0;
    }
    if (memmem(bytes, head, "Transfer-Encoding: chunked", 26) != NULL) {
        end = memmem(bytes + head - 2, size - head + 2, "\r\n0\r\n\r\n", 7);
        return end != NULL ? (size_t)(end - bytes) + 7 : 0;
    }
    return head;
}

static void answer(visit_t *visit, hws_slice_t request)
{
    server_t *server = visit->server;
    reply_t reply;

    visit->requests++;
    server->requests++;
    free(server->last);
    server->last = calloc(1, request.size + 1);
    memcpy(server->last, request.data, request.size);
    reply = server->choose != NULL ? server->choose(server, visit, request) : server->reply;
    if (server->closes_after > 0 && visit->requests >= server->closes_after && reply.then == STAYS)
        reply.then = CLOSES;
    server_say(visit, reply);
}

static void keep(visit_t *visit, const char *bytes, size_t size)
{
    visit->bytes = realloc(visit->bytes, visit->size + size + 1);
    memcpy(visit->bytes + visit->size, bytes, size);
    visit->size += size;
    visit->bytes[visit->size] = '\0';
}

static void on_bytes(hws_sim_conn_t *conn, const char *bytes, size_t size)
{
    visit_t *visit = conn->user;
    server_t *server = visit->server;
    size_t whole;

    server->received += size;
    if (server->on_bytes != NULL) {
        server->on_bytes(visit, bytes, size);
        return;
    }
    keep(visit, bytes, size);
    if (server->is_raw) {
        if (!server->is_mute)
            (void)hws_sim_send(conn, bytes, size);
        return;
    }
    while ((whole = request_size(visit->bytes, visit->size)) > 0) {
        answer(visit, (hws_slice_t){visit->bytes, whole});
        memmove(visit->bytes, visit->bytes + whole, visit->size - whole);
        visit->size -= whole;
    }
}

/* The rest of the script ------------------------------------------------------------------------ */

static void on_accept(hws_sim_conn_t *conn)
{
    server_t *server = conn->listener->user;
    visit_t *visit = calloc(1, sizeof(*visit));

    conn->user = visit;
    visit->server = server;
    visit->conn = conn;
    visit->number = ++server->visited;
    hws_list_push_back(&server->visits, &visit->link);
    if (server->is_stuck)
        hws_sim_pause(conn, true);
    if (server->greeting.bytes != NULL || server->greeting.then != STAYS)
        server_say(visit, server->greeting);
}

static void on_end(hws_sim_conn_t *conn, int status)
{
    server_t *server = conn->listener->user;

    if (status == HWS_ERR_EOF)
        server->finished++;
    else
        server->reset++;
    hws_sim_close(conn, HWS_SIM_CLOSE);
}

static void on_gone(hws_sim_conn_t *conn)
{
    visit_t *visit = conn->user;

    hws_list_remove(&visit->link);
    free(visit->bytes);
    free(visit);
}

static const hws_sim_script_t script = {on_accept, on_bytes, on_end, on_gone};

/* Life ---------------------------------------------------------------------------------------- */

void server_init(server_t *server, world_t *world, uint16_t port)
{
    memset(server, 0, sizeof(*server));
    server->world = world;
    server->reply = (reply_t){.bytes = REPLY_OK};
    hws_list_init(&server->visits);
    hws_list_init(&server->pending);
    assert_int_equal(
        hws_sim_listen(world->sim, "10.0.0.1", port, &script, server, &server->listener), HWS_OK);
}

void server_init_raw(server_t *server, world_t *world, uint16_t port)
{
    server_init(server, world, port);
    server->is_raw = true;
}

void server_dispose(server_t *server)
{
    hws_list_t *link;

    while ((link = hws_list_first(&server->pending)) != NULL) {
        hws_list_remove(link);
        free(HWS_CONTAINER(link, pending_t, link));
    }
    assert_true(hws_list_is_empty(&server->visits));
    free(server->last);
}

visit_t *server_latest(server_t *server)
{
    hws_list_t *link = hws_list_last(&server->visits);

    return link != NULL ? HWS_CONTAINER(link, visit_t, link) : NULL;
}

void server_end_all(server_t *server, hws_sim_close_t how)
{
    hws_sim_close_all(server->listener, how);
}
