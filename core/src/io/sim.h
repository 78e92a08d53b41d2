/* sim.h - the seam in virtual time: simulated peers, repeatable by a seed.
 *
 * A run never sleeps: it moves the clock, which starts at 0, to the next thing that happens. Things
 * of the same moment happen in the order in which they were caused, the core's timer last (as with
 * io/uv.c, where a deadline never beats bytes that came before it).
 *
 *     hws_sim_create(seed, &sim);
 *     hws_loop_create_on(hws_sim_io(sim), &loop);        the loop owns the world from here on
 *     hws_sim_listen(sim, "10.0.0.1", 80, &echo, NULL, &listener);
 *     listener->options.latency_max = HWS_MS(20);         may change at any time
 *
 * A peer is a script: callbacks of the listener, which act on their end of the connection (`conn`)
 * through the functions below. None of these calls back before it returns.
 *
 *     hws_sim_name(sim, "db.test", AF_INET, "10.0.0.1 10.0.0.2", &record);
 *     record->ttl = 60;                                   may change at any time as well
 *
 * There is one name server, whoever is asked; what it has no record of does not exist. */
#ifndef HWS_IO_SIM_H
#define HWS_IO_SIM_H

#include "base/list.h"
#include "io/io.h"

typedef struct hws_sim hws_sim_t;
typedef struct hws_sim_conn hws_sim_conn_t;
typedef struct hws_sim_listener hws_sim_listener_t;

/* How the client gets the bytes that one hws_sim_send() gave. */
typedef enum {
    HWS_SIM_WHOLE, /* at once, up to 64 KiB */
    HWS_SIM_BYTES, /* byte by byte */
    HWS_SIM_RANDOM /* in pieces of random size */
} hws_sim_chunking_t;

typedef enum {
    HWS_SIM_FINISH, /* FIN; what the client sends is still taken */
    HWS_SIM_CLOSE,  /* FIN; what the client sends after that is answered by RST */
    HWS_SIM_RESET   /* RST */
} hws_sim_close_t;

/* All zeros: everything is accepted and arrives at once and whole. */
typedef struct {
    hws_time_t connect_min; /* until a connect is answered, an even random choice of min..max */
    hws_time_t connect_max;
    hws_time_t latency_min; /* likewise for what is sent, either way; the order is kept */
    hws_time_t latency_max;
    hws_sim_chunking_t chunking;
    hws_time_t gap;           /* between two pieces */
    int answer;               /* HWS_OK, or what on_connect tells instead */
    uint32_t slots;           /* connections at once, others are refused; 0: no limit */
    size_t window;            /* bytes that wait for the peer to take them; 0: no limit */
    size_t cut_after;         /* after so many bytes sent on a connection, 0: never, ... */
    hws_sim_close_t cut_with; /* ... it ends like this */
} hws_sim_options_t;

/* What a listener does; each may be NULL. */
typedef struct {
    void (*on_accept)(hws_sim_conn_t *conn);
    void (*on_bytes)(hws_sim_conn_t *conn, const char *bytes, size_t size);
    /* Once: the client sends no more. HWS_ERR_EOF after its FIN, HWS_ERR_RESET after its RST. */
    void (*on_end)(hws_sim_conn_t *conn, int status);
    /* Always the last one: `conn` is about to be freed. */
    void (*on_gone)(hws_sim_conn_t *conn);
} hws_sim_script_t;

struct hws_sim_listener {
    hws_sim_options_t options;
    const hws_sim_script_t *script;
    void *user;
    uint64_t accepted; /* connections so far */
    uint32_t open;     /* connections that neither end has closed for good */

    /* private */
    hws_sim_t *sim;
    hws_list_t link;
    hws_address_t address;
    bool is_silent;
};

/* The peer's end of one connection; part of the client's socket. */
struct hws_sim_conn {
    hws_sim_listener_t *listener;
    void *user; /* the script's */

    /* private */
    size_t sent;
    bool is_paused;
    bool is_closed;
    bool has_ended; /* on_end was told */
};

#define HWS_SIM_IPS 16

/* What the name server says of one name and family, at the moment in which it answers. */
typedef struct {
    int status; /* HWS_OK: the addresses; HWS_ERR_NODATA when there are none */
    hws_ip_t ips[HWS_SIM_IPS];
    uint32_t count;
    uint32_t ttl;
    hws_time_t latency_min; /* of the answer, an even random choice of min..max */
    hws_time_t latency_max;
    bool is_silent; /* HWS_ERR_DNS_TIMEOUT when patience is over */
    uint64_t asked; /* questions so far */

    /* private */
    hws_list_t link;
    const char *name;
    int family;
} hws_sim_name_t;

/* A world for hws_loop_create_on(); its `destroy` frees everything that is made here. */
int hws_sim_create(uint64_t seed, hws_sim_t **out);
hws_io_t *hws_sim_io(hws_sim_t *sim);

/* Listens on "10.0.0.1", "::1" or, with a slash in it, the path of a Unix socket (then the port is
 * ignored). Without a listener a connect is refused, and a path does not exist. `script` lives as
 * long as the world; the world owns the listener. */
int hws_sim_listen(hws_sim_t *sim, const char *host, uint16_t port, const hws_sim_script_t *script,
                   void *user, hws_sim_listener_t **out);
/* Nothing passes in either direction, connects included, until that is taken back. */
void hws_sim_silence(hws_sim_listener_t *listener, bool on);
/* Ends all its connections, as the end of a server's process would. */
void hws_sim_close_all(hws_sim_listener_t *listener, hws_sim_close_t how);

/* Sends to the client. HWS_ERR_NOMEM resets the connection; after an end it does nothing. */
int hws_sim_send(hws_sim_conn_t *conn, const char *data, size_t size);
void hws_sim_close(hws_sim_conn_t *conn, hws_sim_close_t how);
/* While paused, the peer takes no bytes: the window fills. */
void hws_sim_pause(hws_sim_conn_t *conn, bool on);

/* A new record, of HWS_OK and TTL 0, or the one that is there with new addresses: literal ones of
 * `family` in one string, separated by blanks. `name` lives as long as the world. */
int hws_sim_name(hws_sim_t *sim, const char *name, int family, const char *ips,
                 hws_sim_name_t **out);
/* Questions asked, and neither answered nor forgotten. */
uint32_t hws_sim_open_questions(const hws_sim_t *sim);

/* The next `count` connects return `code` at once. */
void hws_sim_fail_connects(hws_sim_t *sim, uint32_t count, int code);
/* Connects return HWS_ERR_TOO_MANY_FILES while so many sockets are open; 0: no limit. */
void hws_sim_limit_sockets(hws_sim_t *sim, uint32_t max);
/* Sockets that were connected, or tried to, and not closed. */
uint32_t hws_sim_open_sockets(const hws_sim_t *sim);

hws_time_t hws_sim_now(const hws_sim_t *sim);
/* Calls `run(user)` at `at`, or now if that is past. The run that does so returns after it. */
int hws_sim_at(hws_sim_t *sim, hws_time_t at, void (*run)(void *user), void *user);
/* Lets everything happen up to `at`, and leaves the clock there. */
void hws_sim_run_until(hws_sim_t *sim, hws_time_t at);
/* The program is busy for so long: time passes, and nobody takes inputs. */
void hws_sim_stall(hws_sim_t *sim, hws_time_t span);

#endif
