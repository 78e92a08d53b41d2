/* race.h - which address of a name is tried next, and when (happy eyeballs, RFC 8305).
 *
 * The families take turns, the first one first. The first attempt waits a little for the first
 * family's addresses when only the other's have come (section 3); each further one begins
 * HWS_RACE_STAGGER after the one before it, or as soon as one has failed, while those before it
 * go on (section 5).
 *
 * Plain state: it knows how many addresses there are, not which, and reads no clock. */
#ifndef HWS_TRANSPORT_RACE_H
#define HWS_TRANSPORT_RACE_H

#include "io/address.h"

#include <stdbool.h>

#define HWS_RACE_ALIVE 6             /* attempts at once */
#define HWS_RACE_STAGGER HWS_MS(250) /* Connection Attempt Delay */
#define HWS_RACE_PATIENCE HWS_MS(50) /* Resolution Delay */

/* For how long a winner is tried first. */
#define HWS_WINNER_LASTS HWS_S(600)

typedef struct {
    uint32_t offered[HWS_FAMILIES]; /* addresses that came */
    uint32_t begun[HWS_FAMILIES]; /* of them, how many were tried: it goes through them in order */
    uint32_t alive;               /* attempts that may still win */
    hws_family_t first;           /* that is tried first, and waited for */
    hws_family_t turn;            /* that comes next, when it has an address */
    hws_time_t next_at;           /* no attempt begins before that */
    bool has_begun;
    bool is_complete; /* no more addresses will come */
} hws_race_t;

typedef enum {
    HWS_RACE_TRY,  /* the address `index` of `family`, now */
    HWS_RACE_WAIT, /* until `at`, or for an attempt or an address when that is HWS_NEVER */
    HWS_RACE_LOST  /* nothing is left that could win */
} hws_race_move_t;

typedef struct {
    hws_race_move_t move;
    hws_family_t family;
    uint32_t index;
    hws_time_t at;
} hws_race_answer_t;

void hws_race_init(hws_race_t *race, hws_family_t first);
/* So many more addresses of a family have come. */
void hws_race_offer(hws_race_t *race, hws_family_t family, uint32_t count, hws_time_t now);
/* Those that came are all. */
void hws_race_no_more(hws_race_t *race);
/* What to do at `now`. An attempt that it says to try is alive from then on. To be asked again
 * after each input, until it does not say HWS_RACE_TRY. */
hws_race_answer_t hws_race_ask(hws_race_t *race, hws_time_t now);
/* An attempt has failed. */
void hws_race_failed(hws_race_t *race, hws_time_t now);
/* The attempt just told could not even begin, for want of something that has nothing to do with
 * its address: it is tried again, after the stagger or the failure of another. */
void hws_race_put_back(hws_race_t *race, hws_family_t family, hws_time_t now);

/* The family that won last, of one name. All zeros: none has. */
typedef struct {
    hws_time_t until; /* it is remembered */
    hws_family_t family;
} hws_winner_t;

/* Which family to try first: the winner, or `otherwise`. */
hws_family_t hws_winner_or(const hws_winner_t *winner, hws_family_t otherwise, hws_time_t now);
/* Remembers who won. Winning again does not prolong that, so that the other family has its chance
 * now and then. */
void hws_winner_note(hws_winner_t *winner, hws_family_t family, hws_time_t now);
/* Forgets the winner if it is of this family, which has failed. */
void hws_winner_forget(hws_winner_t *winner, hws_family_t family);

#endif
