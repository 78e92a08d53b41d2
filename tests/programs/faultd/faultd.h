/* faultd.h - what the parts of faultd share.
 *
 *     faultd.c    listens                     http.c     parses requests
 *     client.c    one connection's script     paths.c    what each path does
 *     service.c   counters and barriers       raw.c, control.c  two more services
 *     h2.c        HTTP/2's frames             h2_steps.c        what each of its steps does
 *
 * A service answers by writing a script of steps (say this, wait, reset), which the client then
 * plays. Nothing else sends, so every behaviour is the list of its steps. */
#ifndef FAULTD_H
#define FAULTD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

typedef struct client client_t;
typedef struct step step_t;

/* Growing bytes, always terminated. */
typedef struct {
    char *data;
    size_t size, capacity;
} bytes_t;

void *allocate(size_t size); /* zeroed; ends the program when there is no memory */
void bytes_append(bytes_t *bytes, const void *data, size_t size);
void bytes_drop(bytes_t *bytes, size_t size); /* from the front */
void bytes_dispose(bytes_t *bytes);
bool bytes_append_hex(bytes_t *bytes, const char *hex); /* false: not hex */

typedef struct {
    const char *name;
    void (*on_open)(client_t *client);
    void (*on_bytes)(client_t *client); /* no script runs, and client->in has bytes or is_ended */
    void (*on_end)(client_t *client);   /* the client's FIN */
    void (*on_lost)(client_t *client);  /* looks at client->in before it closes; may be NULL */
    void (*on_close)(client_t *client); /* frees client->exchange */
    void (*on_doom)(client_t *client);  /* bytes came on a doomed connection; may be NULL */
    uint64_t accepted, open, most, requests, in, out;
    client_t *clients;
} service_t;

extern service_t http_service, raw_service, h2_service, control_service;

/* service.c ------------------------------------------------------------------------------------ */

service_t *service_find(const char *name);
/* The counter of that name, or NULL. */
const uint64_t *service_counter(const service_t *service, const char *name);
/* To be called after every change of a counter: lets those go on who wait for it. */
void counters_changed(void);
/* Forgets what was seen; the high-water marks fall to the present. */
void counters_zero(void);

void seen_add(const char *method, const char *key);
uint64_t seen_count(const char *method, const char *key);
uint64_t seen_twice(void); /* how many pairs came more than once */

uint64_t held_count(const char *key);
uint64_t held_release(const char *key); /* how many it released */

/* faultd.c ------------------------------------------------------------------------------------- */

void go_down(void); /* nobody listens for http on 127.0.0.1 any more; its connections are reset */
void go_up(void);   /* somebody does again */

/* client.c ------------------------------------------------------------------------------------- */

struct client {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } socket;
    uv_timer_t timer;
    service_t *service;
    client_t *next;   /* of its service */
    void *exchange;   /* the service's own state */
    uint64_t number;  /* of its service, from 1 */
    bytes_t in;       /* received and not used yet */
    step_t *script;   /* what is being played, first step first */
    step_t *last;     /* of the script */
    bool is_playing;  /* inside play(), which is not entered twice */
    bool is_busy;     /* a write or a wait of the first step is under way */
    bool is_ended;    /* the client has sent its FIN */
    bool is_finished; /* this side has sent its own */
    bool is_lost;     /* nothing that is said reaches the client any more */
    bool is_closing;
    bool is_tcp;
    int open_handles; /* handles that libuv still has: the client is freed after the last */
    uint64_t idle_ms; /* when not 0: FIN after that long without a request */
    enum { DOOM_NONE, DOOM_FIN, DOOM_RST } doom; /* what the next bytes that come will bring */
};

void client_accept(service_t *service, uv_stream_t *listener);
void client_close(client_t *client);
void client_reset(client_t *client);
/* Closes it when nobody listens any more, but looks at what came, even if a script was under way. */
void client_lose(client_t *client);

/* Steps, appended to the script. client_play() then starts it; once it is at its end, on_bytes is
 * called for what has come meanwhile. */
void say(client_t *client, const void *data, size_t size);
void say_line(client_t *client, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fill(client_t *client, uint64_t size);        /* 'x', as fast as they are taken */
void trickle(client_t *client, uint64_t pause_ms); /* makes the last say() one byte each */
void pause_for(client_t *client, uint64_t ms);
void hold(client_t *client, const char *key); /* until held_release() */
void await(client_t *client, const uint64_t *counter, uint64_t value);
void await_held(client_t *client, const char *key, uint64_t count);
void stop_reading(client_t *client);
void start_reading(client_t *client);
void finish(client_t *client);      /* FIN; stays open until the client closes */
void reset(client_t *client);       /* RST */
void keep_silent(client_t *client); /* for ever */
void client_play(client_t *client);

/* For service.c. */
bool client_is_held(const client_t *client, const char *key);
void client_go_on(client_t *client);
void client_recheck(client_t *client); /* goes on if what it awaits is there */

/* h2.c ----------------------------------------------------------------------------------------- */

/* The counter of HTTP/2 alone that has that name, or NULL. */
const uint64_t *h2_counter(const char *name);
void h2_zero(void);
uint64_t h2_held(const char *key);
uint64_t h2_release(const char *key);
/* Steps for the connections that come from now on in place of SETTINGS; "": SETTINGS again. */
void h2_greet_with(const char *steps);
/* Plays steps on every open connection; how many those are. */
uint64_t h2_tell(const char *steps);

/* http.c --------------------------------------------------------------------------------------- */

typedef struct {
    const char *method, *path; /* the path without its query */
    const char *arguments[4];  /* the path's segments after the name of its behaviour, or "" */
    const bytes_t *head;       /* as it came */
    const bytes_t *body;       /* decoded; empty unless the behaviour keeps it */
    const char *framing;       /* none, sized or chunked */
    uint64_t body_size, body_sum;
    uint64_t number;  /* on its connection */
    bool is_complete; /* false: a behaviour that acts AT_HEAD may act before the body */
} request_t;

typedef struct {
    const char *path;
    void (*act)(client_t *client, const request_t *request);
    enum {
        AT_END,    /* acts once, when the request is complete */
        KEEP_BODY, /* the same, and sees the body */
        AT_HEAD    /* acts twice: when the head is there, and when the request is complete */
    } when;
} behaviour_t;

extern const behaviour_t paths[], controls[]; /* the last one's path is NULL */

void http_on_open(client_t *client);
void http_on_bytes(client_t *client);
void http_on_end(client_t *client);
void http_on_close(client_t *client);
void http_on_doom(client_t *client);

#endif
