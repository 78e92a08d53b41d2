/* uv_dns_channel.h - c-ares with one configuration, on a libuv loop: its sockets and its timer.
 *
 * c-ares may end a look-up from inside any call here, the one that asks included, and must not be
 * destroyed or cancelled then. So on_found only notes what was found. When c-ares is off the stack
 * again, on_settled is called, and there anything may be done. */
#ifndef HWS_IO_UV_DNS_CHANNEL_H
#define HWS_IO_UV_DNS_CHANNEL_H

#include "io/uv_dns.h"

#define HWS_CHANNEL_SERVERS 16U

typedef struct hws_channel hws_channel_t;

/* Embedded by who asks. */
typedef struct hws_lookup {
    hws_channel_t *channel;
    int family;
    void (*on_found)(struct hws_lookup *lookup, const hws_answer_t *answer);
} hws_lookup_t;

struct hws_channel {
    hws_list_t link; /* its owner's */
    void *owner;
    void (*on_settled)(hws_channel_t *channel);
    uint32_t wanted; /* the owner's: look-ups that somebody waits for */
    uint32_t out;    /* look-ups that have not ended */

    /* private */
    hws_dns_t *dns;
    struct ares_channeldata *ares;
    uv_timer_t timer; /* c-ares has something to do */
    hws_list_t sockets;
    int cause; /* of what c-ares will call a refused connection, HWS_OK when it is one */
};

/* `options` are read here and not kept. */
int hws_channel_create(hws_dns_t *dns, const hws_names_options_t *options,
                       void (*on_settled)(hws_channel_t *channel), void *owner,
                       hws_channel_t **out);
/* Ends all look-ups, and takes the channel off the list that it is on. */
void hws_channel_destroy(hws_channel_t *channel);

/* on_found is called once, perhaps before this returns. */
void hws_channel_ask(hws_channel_t *channel, hws_lookup_t *lookup, const char *name, int family,
                     void (*on_found)(hws_lookup_t *lookup, const hws_answer_t *answer));
/* Ends all look-ups with a failure: c-ares cannot end one. */
void hws_channel_cancel(hws_channel_t *channel);
/* To be called when something was asked, and in on_settled. */
void hws_channel_set_timer(hws_channel_t *channel);

#endif
