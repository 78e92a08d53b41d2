/* io.h - the seam: all that the core asks of the world.
 *
 * Two worlds implement it: io/uv.c (libuv) and io/sim.c (virtual time, simulated peers). The rules
 * that everything above relies on:
 *
 *  - A call into the seam never calls back before it returns.
 *  - Each input (one of the on_ functions) carries `now`. The inputs of a turn had all come when it
 *    began, so one reading of the clock serves for them, as long as `recent` would give no other.
 *    After each input the world calls on_rest once, with nothing of the core on the stack.
 *  - A socket's events stop with its `close`: no input for it comes after that call. The world
 *    frees the socket when it can; the core forgets it at once.
 *
 * Codes are HWS_ERR_*: a world translates what its system says. */
#ifndef HWS_IO_IO_H
#define HWS_IO_IO_H

#include "base/buffer.h"
#include "io/address.h"

typedef struct hws_io hws_io_t;
typedef struct hws_socket hws_socket_t;
typedef struct hws_names hws_names_t;
typedef struct hws_question hws_question_t;

/* Inputs of one socket, told to the `owner` that hws_io_connect() was given. */
typedef struct {
    /* Once, after hws_io_connect(): HWS_OK, or why not. The owner still closes the socket. */
    void (*on_connect)(void *owner, int status, hws_time_t now);
    /* Bytes, at least one; they last until the on_rest that follows has returned. */
    void (*on_bytes)(void *owner, const char *bytes, size_t size, hws_time_t now);
    /* Once: no more bytes will come. HWS_ERR_EOF for a FIN, else what broke the connection. */
    void (*on_end)(void *owner, int status, hws_time_t now);
    /* What flush took has left (HWS_OK), or it never will. Before that, HWS_AGAIN may come any
     * number of times: the peer takes some. */
    void (*on_flush)(void *owner, int status, hws_time_t now);
} hws_socket_events_t;

/* Whom to ask for the addresses of names. All zeros: as the system is configured. */
typedef struct {
    const hws_address_t *servers; /* in their order, at most 16; of port 0 at 53 */
    uint32_t server_count;        /* 0: those of the system */
    const char *const *search;    /* domains that a short name is tried in, at most 16 */
    uint32_t search_count;
    bool has_search;     /* `search` counts, also when it is empty; else the system's are taken */
    hws_time_t patience; /* all tries together take less, above 0 */
    const char *hosts_path;  /* NULL: /etc/hosts */
    const char *config_path; /* NULL: /etc/resolv.conf */
} hws_names_options_t;

/* More addresses than this of one name and family are left out. */
#define HWS_ANSWER_ADDRESSES 256

/* The addresses of one family that a name has. */
typedef struct {
    int status;          /* HWS_OK: at least one. Else HWS_ERR_NXDOMAIN, HWS_ERR_NODATA... */
    const hws_ip_t *ips; /* in the server's order; they last until on_answer returns */
    uint32_t count;
    uint32_t ttl; /* seconds that they may be kept, the shortest on the way to them; with HWS_OK */
} hws_answer_t;

/* What can be done with a connected socket. The worlds' sockets are not the only ones: a filter that
 * stands on a socket (transport/tunnel.h) is a socket too. */
typedef struct {
    /* Further inputs of a connected socket go to another owner. */
    void (*give)(hws_socket_t *socket, const hws_socket_events_t *events, void *owner);
    /* Turns on_bytes and on_end on or off; off in an input of its own, as bytes may have been read
     * for it that are told when others have been. Cheap when nothing changes. */
    void (*read)(hws_socket_t *socket, bool on);
    /* Hands over what the system takes now: HWS_OK and how many bytes (perhaps 0), or a code.
     * Not while a flush is under way. */
    int (*send)(hws_socket_t *socket, const char *data, size_t size, size_t *sent);
    /* Sends the rest: takes the buffer's block over, leaves the buffer empty; on_flush tells.
     * At most one at a time. On HWS_ERR_NOMEM the buffer is untouched. */
    int (*flush)(hws_socket_t *socket, hws_buffer_t *rest);
    /* Half-closes: FIN after what was sent. Not while a flush is under way. */
    int (*finish)(hws_socket_t *socket);
    /* Looks without taking: HWS_OK nothing there, HWS_ERR_UNEXPECTED bytes wait,
     * HWS_ERR_EOF, or what broke the connection. */
    int (*peek)(hws_socket_t *socket);
    /* Closes; with `reset` the peer gets an RST where the transport knows one. */
    void (*close)(hws_socket_t *socket, bool reset);
    /* A round trip as the system measures it, in us; 0: unknown. May be NULL. */
    hws_time_t (*rtt)(hws_socket_t *socket);
} hws_socket_ops_t;

/* The part that every socket begins with. */
struct hws_socket {
    const hws_socket_ops_t *ops;
};

typedef enum {
    HWS_RUN_ONCE,  /* wait for at least one input, when anything can bring one */
    HWS_RUN_NOWAIT /* take the inputs that are there */
} hws_run_t;

typedef struct {
    /* The monotonic clock. */
    hws_time_t (*now)(hws_io_t *io);
    /* The same, or its last reading while the system's clock has not ticked since, which it does
     * every 1 to 10 ms: cheaper, and good enough for timeouts. */
    hws_time_t (*recent)(hws_io_t *io);
    /* The wall clock, in seconds since 1970: for dates that peers send, never for spans. */
    int64_t (*wall)(hws_io_t *io);
    /* Fills `bytes` from the system's source of entropy. */
    int (*entropy)(hws_io_t *io, void *bytes, size_t size);

    /* Begins to connect: on_connect tells. TCP sockets get TCP_NODELAY and keepalive after
     * 60 s; reading is off. On failure nothing was begun and `*out` is untouched. */
    int (*connect)(hws_io_t *io, const hws_address_t *address, const hws_socket_events_t *events,
                   void *owner, hws_socket_t **out);

    /* The names of one configuration, which is copied. No question may be open when it goes. */
    int (*names_create)(hws_io_t *io, const hws_names_options_t *options, hws_names_t **out);
    void (*names_destroy)(hws_names_t *names);
    /* Asks for the addresses of `name` (not a literal one) of one family, AF_INET or AF_INET6.
     * on_answer tells once; any number may be asked at once. On failure nothing was begun. */
    int (*ask)(hws_names_t *names, const char *name, int family,
               void (*on_answer)(void *owner, const hws_answer_t *answer, hws_time_t now),
               void *owner, hws_question_t **out);
    /* Forgets a question: on_answer is not called. Not after it was. */
    void (*unask)(hws_question_t *question);

    /* Arms the one timer: on_timer at `at` or a little later. Again moves it; HWS_NEVER disarms. */
    void (*arm)(hws_io_t *io, hws_time_t at);
    /* Asks for an on_rest soon although no input came. */
    void (*wake)(hws_io_t *io);

    /* Takes inputs. HWS_END when nothing is left that could bring one (mode ONCE). */
    int (*run)(hws_io_t *io, hws_run_t mode);
    /* For a host loop: a descriptor that is readable when inputs are there (-1: none), and the
     * span until something is due (0 now, HWS_NEVER never). */
    int (*descriptor)(hws_io_t *io);
    hws_time_t (*timeout)(hws_io_t *io);
    /* When inputs were last taken from the system, so that a caller knows what may be pending. */
    hws_time_t (*polled_at)(hws_io_t *io);
    /* Frees the world. Every socket has been closed before. */
    void (*destroy)(hws_io_t *io);
} hws_io_ops_t;

/* The part that both worlds begin with; the loop fills the inputs in. */
struct hws_io {
    const hws_io_ops_t *ops;
    /* What was due at `due`, which is not after `now`: when inputs were last taken. A deadline since
     * then waits until they have been taken once more, as they may have come before it. */
    void (*on_timer)(void *owner, hws_time_t due, hws_time_t now);
    void (*on_rest)(void *owner);
    void *owner;
};

#endif
