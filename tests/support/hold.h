/* hold.h - one lease of a test, which notes how it went. */
#ifndef TESTS_SUPPORT_HOLD_H
#define TESTS_SUPPORT_HOLD_H

#include "support/world.h"

typedef struct hold hold_t;

struct hold {
    hws_lease_options_t options;
    hws_lease_t *lease; /* NULL once it was ended */
    unsigned done;
    unsigned readable;
    unsigned writable;
    int code; /* of the acquisition; HWS_AGAIN before it is known */
    hws_error_t error;
    hws_time_t at;
    bool reused;
    void (*then)(hold_t *hold, void *user); /* first thing in every callback */
    void *user;
    /* What hold_read() is after, and what came of it. */
    hws_read_t want;
    int read; /* HWS_AGAIN while it waits */
    char bytes[512];
    size_t size; /* of what was read last */
};

void hold_init(hold_t *hold);
int hold_start(hold_t *hold, hws_upstream_t *upstream);
/* Both in one. */
void hold_acquire(hold_t *hold, hws_upstream_t *upstream);
void hold_release(hold_t *hold);
void hold_close(hold_t *hold);

/* Reads; goes on by itself when it has to wait. */
int hold_read(hold_t *hold, hws_read_mode_t mode, size_t size);
int hold_read_until(hold_t *hold, const char *delimiter, size_t size);
/* Whether the last read gave exactly that. */
bool hold_got(const hold_t *hold, const char *text);
/* Writes all of it; that it fits is asserted. */
void hold_write(hold_t *hold, const char *text);

#endif
