/* h2.h - the service that speaks HTTP/2: h2.c reads frames, h2_steps.c answers.
 *
 * Requests name the steps of their answer in the path, so a fault is the list of the frames that
 * make it. Frames are written by hand, and nothing keeps them from being wrong. */
#ifndef FAULTD_H2_H
#define FAULTD_H2_H

#include "faultd.h"

#include <nghttp2/nghttp2.h>

typedef struct h2_stream h2_stream_t;

struct h2_stream {
    h2_stream_t *next; /* of its connection, the oldest first */
    uint32_t id;       /* 0: not a stream, but steps for the connection */
    char *steps;       /* as they came in the path */
    const char *left;  /* those of `steps` that are still to come; NULL before they begin */
    char *held;        /* the key that it is held by, or NULL */
    bool is_sinking;   /* waits for the whole body of its request */
    bool is_unread;    /* its window stays closed */
    bool is_complete;  /* the request has come whole */
    bool is_answered;  /* nothing more will be said */
    uint64_t to_send;  /* bytes 'x' that windows have kept back; the last one ends the stream */
    int64_t window;    /* what the client lets us send */
    uint64_t body_size, body_sum, uncredited;
};

/* What it has come to know of one client. */
typedef struct {
    h2_stream_t *streams;
    nghttp2_hd_inflater *inflater;
    bytes_t block;       /* header block of a stream, before CONTINUATION is over */
    uint32_t block_id;   /* its stream */
    uint8_t block_flags; /* of its HEADERS */
    bool has_preface;
    bool is_deaf;     /* PING gets no answer */
    bool is_annoyed;  /* PING gets GOAWAY with ENHANCE_YOUR_CALM */
    uint32_t newest;  /* id of the last stream that was opened */
    uint32_t last;    /* streams above it are ignored, since GOAWAY said so */
    uint64_t limit;   /* of open streams, once acknowledged */
    uint64_t told;    /* the limit that was announced last */
    uint64_t open;    /* streams */
    uint64_t unacked; /* SETTINGS that the client has not acknowledged */
    int64_t window;   /* of the connection, to send */
    int64_t initial;  /* of a new stream */
} h2_t;

/* What is counted for /get/h2/COUNTER beside what every service counts. */
extern struct h2_counters {
    uint64_t streams;      /* that were opened */
    uint64_t open_streams; /* that are open now, of all connections */
    uint64_t most_streams; /* the most that were open at once on one connection */
    uint64_t over;         /* that were opened beyond a limit that had been acknowledged */
    uint64_t pings, windows, resets, goaways; /* frames that came; no acknowledgements */
    uint64_t code;                            /* of the last GOAWAY */
    uint64_t reset_code;                      /* of the last RST_STREAM */
    uint64_t push;                            /* connections that did not refuse pushes */
} h2_counters;

void h2_frame(client_t *client, uint8_t type, uint8_t flags, uint32_t id, const void *payload,
              size_t size);
void h2_number_frame(client_t *client, uint8_t type, uint32_t id, uint32_t number);
h2_stream_t *h2_find(const h2_t *h2, uint32_t id);
void h2_close_stream(h2_t *h2, h2_stream_t *stream);
/* What it is to say of a body, as far as windows allow. */
void h2_pump(client_t *client);

/* h2_steps.c ----------------------------------------------------------------------------------- */

/* Plays the stream's next steps until one has to wait. May free the stream. */
void h2_go_on(client_t *client, h2_stream_t *stream);
/* Plays steps for the connection as such. */
void h2_play(client_t *client, const char *steps);

#endif
