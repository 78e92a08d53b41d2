/* yamux_far.h - a peer of yamux for simulated worlds: the core's own codec on the other side.
 *
 * It accepts what is opened and sends back what comes, each stream ending when its opener has; and it
 * opens streams when a test says so. Several connections at once.
 *
 * A line is one stream as this side has it. It stays until its visit is over. But for the codec's, its
 * memory is not the core's; when the codec has none, it closes the connection. */
#ifndef TESTS_SUPPORT_YAMUX_FAR_H
#define TESTS_SUPPORT_YAMUX_FAR_H

#include "codec/yamux.h"
#include "support/world.h"

typedef struct yamux_far yamux_far_t;

/* One connection, as the far end sees it. */
typedef struct {
    hws_list_t link;
    yamux_far_t *far;
    hws_sim_conn_t *conn;
    hws_codec_t *codec;
    hws_window_budget_t budget;
    hws_list_t lines; /* the oldest first */
    uint32_t open;    /* of them, that have not both ends */
    bool is_over;     /* the far end has closed it */
} yamux_visit_t;

typedef struct {
    hws_list_t link;
    yamux_visit_t *visit;
    hws_stream_t stream;
    char *bytes; /* all that came */
    size_t size;
    size_t returned; /* of them, sent back */
    size_t owed;     /* of them, for which the window is still closed */
    bool is_echo;
    bool has_ended; /* this side */
    int status;     /* HWS_AGAIN; how the other side ended */
} yamux_line_t;

struct yamux_far {
    world_t *world;
    hws_sim_listener_t *listener;
    hws_list_t visits;
    /* May change at any time. */
    hws_yamux_role_t role; /* of the next connections; the server's */
    bool is_shy;           /* accepts nothing */
    bool is_mute;          /* says nothing on what it accepts */
    bool is_slow;          /* takes nothing of what comes: windows stay closed */
    /* What happened. */
    uint32_t visited;
    uint32_t accepted; /* streams */
    uint32_t peak;     /* the most at once on a connection */
    uint32_t failed;   /* streams that ended with a code */
    uint32_t parted;   /* connections that ended with a FIN behind a GOAWAY */
    uint32_t whole;    /* that both sides have ended */
    uint64_t received; /* bytes, on all lines */
    int status;        /* how the last connection ended: a FIN, an RST, or a codec's failure */
};

/* Listens at 10.0.0.1:`port`. */
void yamux_far_init(yamux_far_t *far, world_t *world, uint16_t port);
/* After the world is gone. */
void yamux_far_dispose(yamux_far_t *far);

/* The connection that came last and is still there, or NULL. */
yamux_visit_t *yamux_far_latest(yamux_far_t *far);
/* Its line number `index`, from 0 on. */
yamux_line_t *yamux_far_line(yamux_visit_t *visit, unsigned index);
/* Opens one, which keeps what comes; with `is_echo` it sends that back. */
yamux_line_t *yamux_far_open(yamux_visit_t *visit, bool is_echo);
/* Nothing else is to be said there before all of it has left. */
void yamux_far_say(yamux_line_t *line, const char *text);
void yamux_far_finish(yamux_line_t *line);
void yamux_far_reset(yamux_line_t *line);
void yamux_far_go_away(yamux_visit_t *visit);
/* Accepts what waits, and takes what came while it was slow. */
void yamux_far_wake(yamux_far_t *far);
/* Whether exactly that has come. */
bool yamux_far_got(const yamux_line_t *line, const char *text);

#endif
