/* lua_exchange.h - a request of which a body goes piece by piece, in either direction.
 *
 * One that is given whole and answered whole needs none: its waiter is all that the core must find.
 * Here the waiter changes, and a producer's task takes part. */
#ifndef HWL_LUA_EXCHANGE_H
#define HWL_LUA_EXCHANGE_H

#include "lua_manager.h"
#include "lua_task.h"

typedef struct hwl_exchange hwl_exchange_t;

/* What a streaming response keeps of its body. */
typedef struct {
    hwl_exchange_t *exchange; /* NULL: over */
    hwl_t *lua;
    hws_error_t error; /* how it ended; code HWS_OK: well */
    int trailers;      /* registry reference, or LUA_NOREF */
    bool is_closing;   /* to be closed, once the chunk is made that it was in use for */
} hwl_stream_t;

struct hwl_exchange {
    hws_list_t link; /* in hwl_t.exchanges */
    hwl_t *lua;
    hwl_manager_t *manager;
    hws_request_t *request;
    hwl_wait_t *waiter;    /* for the response, later for a chunk; NULL: nobody */
    hwl_stream_t *stream;  /* the userdata that it belongs to, once there is a response */
    int function;          /* registry reference of the producer, LUA_NOREF without one */
    hwl_task_t *producer;  /* held; NULL before it was asked */
    hwl_exchange_t **sink; /* the userdata that it feeds */
    hwl_wait_t *feeder;    /* the producer's, while a chunk does not fit */
    hws_slice_t rest;      /* of that chunk */
    hwl_place_t place;     /* where the request was made */
    bool is_streaming;     /* the response's body comes piece by piece */
    bool is_answered;      /* the response was given to who waited for it */
};

/* Makes one for `options`, whose callbacks it fills in; `producer` is the index of a function, or 0.
 * NULL: out of memory. */
hwl_exchange_t *hwl_exchange_create(lua_State *L, hwl_manager_t *manager,
                                    hws_request_options_t *options, int producer);
/* Waits for the response to `request`, which it takes over. */
int hwl_exchange_wait(lua_State *L, hwl_wait_t *wait, hwl_exchange_t *exchange,
                      hws_request_t *request);
void hwl_exchange_destroy(lua_State *L, hwl_exchange_t *exchange);
/* Pushes the userdata through which Lua reads the body. The exchange belongs to it then. */
void hwl_stream_push(lua_State *L, hwl_exchange_t *exchange);
/* res:read of the stream at `stream`, with the callback at `callback` or 0. `response` is the index
 * of what is to be kept alive. */
int hwl_stream_read(lua_State *L, hwl_stream_t *stream, int response, int callback);
/* Abandons what is unread. */
void hwl_stream_close(lua_State *L, hwl_stream_t *stream);
/* Destroys all: their Lua state is being closed. */
void hwl_exchanges_destroy(lua_State *L, hwl_t *lua);

#endif
