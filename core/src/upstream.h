/* upstream.h - the peers behind one name and the one queue before them.
 *
 * Late binding: who must wait waits here, and is matched when room appears anywhere. */
#ifndef HWS_UPSTREAM_H
#define HWS_UPSTREAM_H

#include "base/hash.h"
#include "call.h"
#include "manager.h"
#include "peer_set.h"

struct hws_upstream {
    hws_pool_owner_t owner; /* the pools' view of it, with limits and timeouts */
    hws_manager_t *manager;
    hws_list_t link;         /* in manager->upstreams, or manager->closed */
    hws_list_t starved_link; /* in manager->starved: waits for a slot of the manager */
    hws_hash_link_t by_name;
    char *name;
    hws_peer_set_t peers;
    hws_list_t calls; /* not over */
    hws_list_t queue; /* those that wait, in order of arrival */
    uint32_t queued;  /* of them without a dial of their own */
    uint32_t holds;   /* by handles */
    bool is_implicit;
    bool is_closed;
    bool is_cutting; /* every call is being ended: nothing is begun for those still there */
    void (*setup)(hws_lease_t *lease, void *user);
    void *setup_user;
    hws_time_t granted_at; /* the last grant out of the queue */
    hws_time_t grant_gap;  /* EWMA of the time between two, for retry_in */
    hws_stats_t stats;     /* the counters; gauges are filled in when asked */
    hws_drain_t drain;
    hws_deferred_t tidy;
};

int hws_upstream_make(hws_manager_t *manager, const hws_upstream_options_t *options,
                      bool is_implicit, hws_upstream_t **out, hws_error_t *why);
/* Gives `call` a connection, or begins a dial for it; false when there is room for neither. */
bool hws_upstream_try(hws_upstream_t *upstream, hws_call_t *call, hws_time_t now);
/* Room may have appeared: serves the queue in its order. */
void hws_upstream_serve(hws_upstream_t *upstream, hws_time_t now);
/* One dial out of the queue, for upstreams that take turns at the manager's slots. */
void hws_upstream_serve_one(hws_upstream_t *upstream, hws_time_t now);
/* From now on nothing new begins, idle connections go, and others when they are handed back. */
void hws_upstream_retire(hws_upstream_t *upstream, hws_time_t now);
/* Ends every call with HWS_ERR_CLOSED. */
void hws_upstream_cut(hws_upstream_t *upstream, hws_time_t now);
/* An opening is over; `call` is the one it was for, or NULL. HWS_OK: there is a new connection. */
void hws_upstream_opening_over(hws_upstream_t *upstream, hws_peer_t *peer, hws_call_t *call,
                               int status, const char *detail, hws_time_t now);
/* The call of an opening has left: the opening goes on for who else waits. */
void hws_upstream_adopt(hws_upstream_t *upstream, hws_opening_t *opening, hws_time_t now);
/* A connection or dial is gone: its place under the caps is free. */
void hws_upstream_release_slot(hws_upstream_t *upstream);
/* Something that keeps it busy or alive has gone: looks again at the next rest. */
void hws_upstream_tidy(hws_upstream_t *upstream);
/* Somebody was served out of the queue. */
void hws_upstream_note_pace(hws_upstream_t *upstream, hws_time_t now);
/* How long somebody who joins the queue now would wait, by the pace of late. */
hws_time_t hws_upstream_expected_wait(const hws_upstream_t *upstream);
void hws_upstream_check(const hws_upstream_t *upstream);

#endif
