/* liveness.h - whether a multiplexed connection is still alive: when to ask, when to give it up.
 *
 *            silence of `ping_idle` with streams open,
 *            or a request timed out
 *   SURE ---------------------------------------------> ASKED or SUSPECT -----> dead
 *     ^                                                        |     its time is over
 *     '--------------------------------------------------------'
 *                             any bytes
 *
 * gRPC's keepalive (A8, "Client-side Keepalive"): silence is measured from the last bytes received,
 * not from when streams were opened, so the first stream after a long idle time goes out together
 * with a PING; without streams nothing is asked. Any bytes are an answer. Where a request timed out
 * a PING goes out at once, with an earlier verdict; and unless bytes have come just before, which
 * says that it was the request that was slow, the connection is SUSPECT and gets no new streams.
 *
 * Whoever holds it asks `due` at the time that `next` gives, and when the first stream begins. A
 * verdict that is looked at late, because the loop was held up, is put off once: the answer may lie
 * unread in the socket.
 *
 * Plain state. */
#ifndef HWS_POOL_LIVENESS_H
#define HWS_POOL_LIVENESS_H

#include <hawser/base.h>

#include <stdbool.h>

/* How long a suspect has at most, `ping_timeout` being longer: its request has waited already. */
#define HWS_LIVENESS_SUSPECT_SPAN HWS_S(5)
/* Bytes that came this lately tell that a connection was alive when its request timed out. */
#define HWS_LIVENESS_FRESH HWS_S(1)
/* How often a peer is asked that has called for calm. A8 knows no keepalive time below ten seconds, and
 * no server so strict that it forbids one PING in two hours. */
#define HWS_LIVENESS_CALM_LEAST HWS_S(10)
#define HWS_LIVENESS_CALM_MOST HWS_S(7200)
/* A verdict that is looked at this much too late is put off, by as much. */
#define HWS_LIVENESS_LATE HWS_MS(100)

typedef enum {
    HWS_LIVENESS_SURE,
    HWS_LIVENESS_ASKED,  /* a PING is out */
    HWS_LIVENESS_SUSPECT /* a PING is out, and a request timed out after a silence */
} hws_liveness_state_t;

typedef enum {
    HWS_LIVENESS_NOTHING,
    HWS_LIVENESS_PING, /* send one */
    HWS_LIVENESS_DEAD  /* close the connection */
} hws_liveness_verdict_t;

typedef struct {
    hws_time_t heard_at;     /* the last bytes */
    hws_time_t verdict_at;   /* not SURE: dead from then on, if nothing is heard */
    hws_time_t ping_idle;    /* silence before it is asked, or HWS_NEVER */
    hws_time_t ping_timeout; /* for its answer; HWS_NEVER: it is never asked, nor given up */
    uint8_t state;           /* hws_liveness_state_t */
    bool was_late;           /* the verdict was put off */
} hws_liveness_t;

/* Established at `now`, which counts as heard. */
void hws_liveness_init(hws_liveness_t *liveness, hws_time_t ping_idle, hws_time_t ping_timeout,
                       hws_time_t now);

/* Bytes came. */
static inline void hws_liveness_heard(hws_liveness_t *liveness, hws_time_t now)
{
    liveness->heard_at = now;
    liveness->state = HWS_LIVENESS_SURE;
}

/* Should get no new streams. */
static inline bool hws_liveness_is_suspect(const hws_liveness_t *liveness)
{
    return liveness->state == HWS_LIVENESS_SUSPECT;
}

/* What has to be done at `now`. PING is answered once, and counts as sent. */
hws_liveness_verdict_t hws_liveness_due(hws_liveness_t *liveness, bool has_streams, hws_time_t now);
/* When to ask again: HWS_NEVER when there is nothing to wait for. Bytes put it off, so a timer need not
 * be moved for them. (Save where they answer a PING and `ping_idle` is the shorter of the two: then
 * the next PING is late by less than `ping_timeout`.) */
hws_time_t hws_liveness_next(const hws_liveness_t *liveness, bool has_streams);

/* A request on it timed out. True: send a PING now; false: one is out already, or it is switched off.
 * `next` may have moved to an earlier time. */
bool hws_liveness_suspect(hws_liveness_t *liveness, hws_time_t now);
/* The peer says that it is asked too often (ENHANCE_YOUR_CALM): half as often from now on, within the
 * bounds above. A8 has that hold for the connections that follow; `ping_idle` is what to begin them
 * with. */
void hws_liveness_calm(hws_liveness_t *liveness);

#endif
