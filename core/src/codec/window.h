/* window.h - how far a receive window is opened: towards what the path carries in a round trip.
 *
 * gRPC's estimator (bdp_estimator.go of gRPC-Go): a PING leaves with data, what is received until
 * its answer is a sample, and one of two thirds of the window says that the window, not the path, is
 * what limits: it doubles. Here
 *
 * - a sample counts what the reader has consumed. That is the same where it keeps up, and the
 *   window of a reader that does not keep up stays small.
 * - half of the window is enough. Windows are announced once half of one was consumed (gRPC: a
 *   quarter), and then one below twice the product b of bandwidth and delay holds the path up: a
 *   window w carries w / (1 + w / 2b) in a trip, which is half of w or more up to there. So it ends
 *   at two to four times the product.
 * - the window doubles once that much was consumed, not at the answer that would only confirm it,
 *   and the sample begins anew.
 * - a trip begins when a quarter of a first window was consumed since the last one ended, so small
 *   exchanges cost no PINGs.
 * - no clock is asked, so the bandwidth need not have risen. Where a path queues what it cannot
 *   carry, the maximum or the budget ends the growth.
 *
 * One trip at a time serves all windows of a connection. Whoever calls announces what is decided:
 *
 *     if (hws_trip_carry(&trip, size))
 *         ...send a PING, and at its answer call hws_trip_end(&trip)
 *     if (hws_window_consume(&window, size, &trip, budget) > 0)
 *         ...open it to window.size
 *
 * Plain state: owns no memory, asks the world for nothing. */
#ifndef HWS_CODEC_WINDOW_H
#define HWS_CODEC_WINDOW_H

#include "codec/codec.h"

/* What every HTTP/2 window begins with (RFC 9113, 6.9.2). */
#define HWS_WINDOW_LEAST 65535
/* No window is larger (RFC 9113, 6.9.1). */
#define HWS_WINDOW_MOST INT32_MAX

/* A connection's round trips. */
typedef struct {
    uint32_t count;    /* trips begun */
    uint32_t pause;    /* bytes from the end of one to the begin of the next */
    uint32_t consumed; /* bytes since the last one ended */
    bool is_under_way;
} hws_trip_t;

/* `window` is the first size of the connection's smallest kind of window. */
void hws_trip_init(hws_trip_t *trip, uint32_t window);
/* `size` bytes were consumed on the connection. True: a trip begins, send a PING. */
bool hws_trip_carry(hws_trip_t *trip, uint32_t size);
/* The PING was answered. */
void hws_trip_end(hws_trip_t *trip);

/* A stream's window, or a connection's. */
typedef struct {
    uint32_t size;   /* what it is opened to: the most that the peer may send unread */
    uint32_t max;    /* how far it may grow; below `size`: not at all */
    uint32_t sample; /* consumed in trip `trip`, since it has grown */
    uint32_t trip;
} hws_window_t;

/* Both at most HWS_WINDOW_MOST. */
void hws_window_init(hws_window_t *window, uint32_t size, uint32_t max);
/* `size` bytes of it were consumed, after hws_trip_carry(). Returns by how much it has grown, mostly
 * 0. That is taken from `budget` as far as it is a quarter of what is left there, else it does not
 * grow. NULL where another window bounds the same bytes already, as a connection's does those of
 * its streams. */
uint32_t hws_window_consume(hws_window_t *window, uint32_t size, const hws_trip_t *trip,
                            hws_window_budget_t *budget);

/* Opens a window of `wanted` bytes, or of a quarter of what is left, but of no fewer than `least`, the
 * protocol's own minimum. So the first get all they want, a late one still gets something, and the
 * limit is exceeded by no more than `least` for each that is open. Returns its size. */
uint32_t hws_window_budget_take(hws_window_budget_t *budget, uint32_t wanted, uint32_t least);
/* A window is closed that was open to `size`, its growth included. */
void hws_window_budget_give(hws_window_budget_t *budget, uint32_t size);

#endif
