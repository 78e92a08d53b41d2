/* dial.h - connects to the first of several addresses that answers, within one span of time.
 *
 * Addresses may come one after the other, as a resolver finds them. Attempts race as race.h says:
 * several are under way at once, the first to connect wins, and the others are closed. Plain
 * state, embedded by whoever dials; it allocates nothing. */
#ifndef HWS_TRANSPORT_DIAL_H
#define HWS_TRANSPORT_DIAL_H

#include "io/loop.h"
#include "transport/race.h"

#define HWS_DIAL_ADDRESSES 16 /* of each family; those beyond are left out */

typedef struct hws_dial hws_dial_t;

typedef struct {
    hws_time_t span;      /* from the first attempt on; may be HWS_NEVER */
    hws_family_t first;   /* tried first when there is no winner */
    hws_winner_t *winner; /* borrowed: of what is dialled, for as long as the dial lasts */
    /* Once, later: with HWS_OK and the connected socket, which it takes over, or with why not. */
    void (*on_done)(hws_dial_t *dial, int status, hws_socket_t *socket, hws_time_t now);
} hws_dial_options_t;

typedef struct {
    hws_dial_t *dial;
    hws_socket_t *socket; /* NULL: none is under way here */
    hws_family_t family;
    uint32_t index; /* of its address */
} hws_dial_attempt_t;

struct hws_dial {
    hws_loop_t *loop;
    hws_dial_options_t options;
    hws_race_t race;
    hws_dial_attempt_t attempts[HWS_RACE_ALIVE];
    bool is_over;            /* told, about to be told, or cancelled */
    int status;              /* the most telling failure so far */
    hws_address_t reached;   /* where the socket leads that on_done got */
    hws_timer_t step;        /* until the next attempt may begin */
    hws_timer_t budget;      /* the span */
    hws_deferred_t deferred; /* a failure, told at rest */
    struct sockaddr_in6 v6[HWS_DIAL_ADDRESSES];
    union {
        struct sockaddr_in v4[HWS_DIAL_ADDRESSES];
        struct sockaddr_un local;
    } others; /* a path stands alone */
};

/* The family that an address races in. A path races as HWS_IPV4 does. */
hws_family_t hws_dial_family(const hws_address_t *address);

/* Begins, without addresses. on_done is not called from within any of these. When all attempts
 * have failed, it gets the code that says most of the peer: that of a host that answered
 * (HWS_ERR_REFUSED, HWS_ERR_RESET) before others, these before HWS_ERR_UNREACHABLE,
 * HWS_ERR_NO_PORTS and HWS_ERR_NET_UNREACHABLE, in this order; of equal ones the first.
 * HWS_ERR_TIMEOUT when the span is over and an attempt is still under way. HWS_ERR_NOMEM and
 * HWS_ERR_TOO_MANY_FILES say nothing of an address, which is tried again then; they end the dial
 * when no attempt is under way. */
void hws_dial_start(hws_dial_t *dial, hws_loop_t *loop, const hws_dial_options_t *options,
                    hws_time_t now);
/* More addresses, which are copied. A path comes alone. Harmless when it is over. */
void hws_dial_offer(hws_dial_t *dial, const hws_address_t *addresses, uint32_t count,
                    hws_time_t now);
/* Those offered are all. `status` is told when there was none: it may be HWS_OK only when there was
 * one. Harmless when it is over. */
void hws_dial_no_more(hws_dial_t *dial, int status, hws_time_t now);
/* Gives up; on_done is not called. Harmless when it is over. */
void hws_dial_cancel(hws_dial_t *dial);

#endif
