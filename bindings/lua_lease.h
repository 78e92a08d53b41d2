/* lua_lease.h - a lease as Lua holds it: `conn`. */
#ifndef HWL_LUA_LEASE_H
#define HWL_LUA_LEASE_H

#include "lua_manager.h"
#include "lua_wait.h"

/* Its userdata is but a pointer to it: short-lived as leases are, they are what the collector has to
 * do with. NULL when the lease has ended. */
typedef struct hwl_conn {
    hws_list_t link;          /* in hwl_t.conns while it has a lease */
    struct hwl_conn **handle; /* the userdata */
    hwl_t *lua;
    hwl_manager_t *manager;
    hws_lease_t *lease; /* NULL: given back, but somebody has still to hear of it */
    hwl_wait_t *reader; /* who waits in a read; NULL: nobody */
    hwl_wait_t *writer;
    hws_read_t want;  /* of the reader */
    hws_slice_t rest; /* what the writer has not written yet */
    /* How to end the lease, once the results are made that it is in use for; or NULL. */
    void (*finish)(hws_lease_t *lease);
    bool is_handing; /* what was read is on its way to Lua */
    bool is_reading; /* the core's lease waits, or has yet to say how its wait ended */
    bool is_writing;
    bool is_setup;     /* lent to a setup function */
    int anchor;        /* registry reference while it is */
    hwl_place_t place; /* of the acquisition */
} hwl_conn_t;

/* api:acquire */
int hwl_lease_acquire(lua_State *L);
/* (upstream, seconds) -> true | nil, err: one attempt to have a connection, for api:ready. */
int hwl_lease_connect(lua_State *L);
/* m:connect: a connection to the peer called `name`, which stays pooled. */
int hwl_lease_connect_peer(lua_State *L, hwl_manager_t *manager, hws_slice_t name, bool may_retry,
                           int callback);
/* For hws_upstream_options_t: runs the upstream's setup function as a task; frees conn.data. */
void hwl_lease_setup(hws_lease_t *lease, void *user);
void hwl_lease_free_data(void *data);
/* Closes all: their Lua state is being closed. */
void hwl_leases_close(hwl_t *lua);

/* In lua_transfer.c: the methods that move bytes, and the callbacks they need. */
int hwl_conn_read(lua_State *L);
int hwl_conn_read_until(lua_State *L);
int hwl_conn_write(lua_State *L);
int hwl_conn_finish(lua_State *L);
int hwl_conn_timeout(lua_State *L);
int hwl_conn_starttls(lua_State *L);
void hwl_conn_on_readable(hws_lease_t *lease, void *user);
void hwl_conn_on_writable(hws_lease_t *lease, void *user);

/* For methods: the one at index 1, or NULL when its lease has ended. Raises for anything else. */
hwl_conn_t *hwl_conn_self(lua_State *L);
/* Pushes a userdata, which takes `lease` over; when that raises, it has not. */
hwl_conn_t *hwl_conn_push(lua_State *L, hwl_manager_t *manager, hws_lease_t *lease);
/* Its lease, which nobody waits on, is somebody else's now: it has ended for the userdata at `index`. */
void hwl_conn_lose(lua_State *L, int index, hwl_conn_t *conn);
/* Whether its lease may be used; if not, fills `why`, or pushes nil and why. */
bool hwl_conn_is_usable(const hwl_conn_t *conn, hws_error_t *why);
bool hwl_conn_is_open(lua_State *L, const hwl_conn_t *conn);
/* A reader or writer has left: ends the lease if that was put off, and frees `conn` if its lease has
 * ended and nobody waits on it any more. */
void hwl_conn_leave(hwl_conn_t *conn);

#endif
