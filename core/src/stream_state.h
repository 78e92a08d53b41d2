/* stream_state.h - where a stream stands that goes both ways (RFC 9113, 5.1, seen from its user).
 *
 *                                      .--LOCAL_END---> HALF_CLOSED_LOCAL ---REMOTE_END--.
 *     OPENING ---OPENED---> ACTIVE ----|                                                 |--> CLOSED
 *        |                    |        '--REMOTE_END--> HALF_CLOSED_REMOTE --LOCAL_END---'
 *        |                    |                            |
 *        '--------------------'----------------------------'--GIVEN_UP--> CLOSED, FAILED--> ERROR
 *
 * Plain state; CLOSED and ERROR are left by nothing. */
#ifndef HWS_STREAM_STATE_H
#define HWS_STREAM_STATE_H

#include <hawser/request.h>

typedef enum {
    HWS_STREAM_OPENED,     /* it is on a connection */
    HWS_STREAM_LOCAL_END,  /* its user has sent all; after the peer's end: and it has left */
    HWS_STREAM_REMOTE_END, /* the response is complete */
    HWS_STREAM_GIVEN_UP,   /* closed or reset on this side */
    HWS_STREAM_FAILED,     /* reset by the peer, connection lost, late */
    HWS_STREAM_EVENTS
} hws_stream_event_t;

/* The state that follows, which is `state` itself where `event` is nothing new. */
hws_stream_state_t hws_stream_state_after(hws_stream_state_t state, hws_stream_event_t event);

#endif
