/* breaker.h - stops sending to a peer that keeps failing.
 *
 *            a rule of the options, or hws_breaker_trip()       `open_for` is over
 *   CLOSED --------------------------------------------> OPEN ---------------------> HALF_OPEN
 *     ^                                                   ^                             |
 *     |                                                   '---- any trial fails --------|
 *     '------------------------ `probes` trials succeed --------------------------------'
 *
 * The states are those of Nygard (Release It!, 2007), the sliding window and the permits those of
 * resilience4j. Plain state: it owns no memory, reads no clock and needs no timer, because an open
 * breaker becomes half open when it is asked. Options come with each call, so they change live.
 *
 * Whoever is admitted holds a permit, and reports on it exactly once: a success, a failure, or
 * HWS_OUTCOME_NEUTRAL when the attempt was cancelled or abandoned, or never came to anything. The
 * breaker does not look for permits that got lost: one would keep its place among the trials for
 * ever. What was admitted before the last change of state is ignored.
 *
 * A clock that goes back harms nothing: no state lasts longer than twice its time for it. */
#ifndef HWS_POLICY_BREAKER_H
#define HWS_POLICY_BREAKER_H

#include "base/random.h"

#include <hawser/policy.h>

#define HWS_BREAKER_SLOTS 10

typedef struct {
    uint32_t calls;
    uint32_t failures;
    uint32_t slow;
} hws_breaker_counts_t;

typedef struct {
    hws_breaker_state_t state; /* as it was entered last: hws_breaker_state() knows it as of now */
    hws_breaker_force_t force;
    uint32_t generation;  /* of the permits that count: changes with the state */
    uint32_t consecutive; /* failures since the last success */
    uint32_t probes_out;  /* half open: trials under way */
    uint32_t successes;   /* half open: trials that ended well */
    uint32_t reopened;    /* how often since it was closed: as often its time has doubled */
    uint32_t slot;        /* the one of `slots` that counts now */
    hws_time_t since;     /* when it entered its state, or was forced */
    hws_time_t open_for;  /* open: how long this time */
    hws_time_t slot_until;
    hws_breaker_counts_t slots[HWS_BREAKER_SLOTS];
} hws_breaker_t;

/* Leave to make one attempt. Zeroed is none. */
typedef struct {
    uint32_t generation; /* 0: it counts nowhere */
    bool is_given;
    bool is_probe;
} hws_permit_t;

/* How an attempt ended. */
typedef struct {
    hws_time_t latency; /* of the answer; 0 where there was none */
    hws_outcome_class_t outcome;
    /* A script says when a closed breaker opens, by hws_breaker_trip(): the rules of the options do
     * not. Trials are judged here nevertheless. */
    bool is_judged;
    /* A success that shows only that the peer works, as a status of 4xx does, which is the caller's own
     * doing: a trial went well, a closed breaker takes no notice. */
    bool is_declined;
} hws_result_t;

/* HWS_ERR_INVALID when an option is out of its range; `why`, when not NULL, then says which. */
int hws_breaker_options_check(const hws_breaker_options_t *options, hws_error_t *why);

/* Closed, with nothing counted, since `now`. */
void hws_breaker_init(hws_breaker_t *breaker, hws_time_t now);

/* Whether hws_breaker_admit() would give a permit now; changes nothing. */
bool hws_breaker_would_admit(const hws_breaker_t *breaker, const hws_breaker_options_t *options,
                             hws_time_t now);
/* Asks leave to make one attempt. The permit is given or none; one that is given must be reported
 * on. An open breaker whose time is over becomes half open here. At most `probes` trials are under
 * way at once, and no more than are still needed to close it; one is always allowed. That the state
 * changed shows in `breaker->state` before and after. */
hws_permit_t hws_breaker_admit(hws_breaker_t *breaker, const hws_breaker_options_t *options,
                               hws_time_t now);
/* Takes the permit back and counts its result. Returns whether the state changed. `*permit` is none
 * afterwards; reporting on none does nothing. Only a failure or a slow call opens a closed breaker,
 * never a success that makes `min_calls` full. A trial that is slow has failed. */
bool hws_breaker_report(hws_breaker_t *breaker, const hws_breaker_options_t *options,
                        hws_permit_t *permit, hws_result_t result, hws_time_t now,
                        hws_random_t *random);
/* Opens a closed breaker for `open_for`, which is taken as it is, or for the options' time when it
 * is 0. Returns whether it did: not one that is forced, disabled or not closed, for a script does
 * not decide what comes after an opening. */
bool hws_breaker_trip(hws_breaker_t *breaker, const hws_breaker_options_t *options,
                      hws_time_t open_for, hws_time_t now, hws_random_t *random);
/* Closes one that is not closed, because its peer was found well by other means. Returns whether it
 * did: not one that is forced. */
bool hws_breaker_close(hws_breaker_t *breaker, hws_time_t now);

/* Orders what it is to be, until that is changed again. Each change begins closed, with nothing
 * counted, and permits that are out count no more; only the end of HWS_FORCE_CLOSED, by
 * HWS_FORCE_NONE, keeps what was counted meanwhile. */
void hws_breaker_force(hws_breaker_t *breaker, hws_breaker_force_t force, hws_time_t now);

/* The state as of `now`: as ordered; closed while disabled; half open once an open one's time is
 * over. */
hws_breaker_state_t hws_breaker_state(const hws_breaker_t *breaker,
                                      const hws_breaker_options_t *options, hws_time_t now);
/* When it came into that state. */
hws_time_t hws_breaker_since(const hws_breaker_t *breaker, const hws_breaker_options_t *options,
                             hws_time_t now);
/* How long until it may admit somebody: 0 when it does so now, HWS_NEVER while it is forced open or
 * open for ever. With all trials under way nobody knows: the options' `open_for` is said, by when
 * they have most likely ended. */
hws_time_t hws_breaker_retry_in(const hws_breaker_t *breaker, const hws_breaker_options_t *options,
                                hws_time_t now);

#endif
