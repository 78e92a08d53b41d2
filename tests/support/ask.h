/* ask.h - one request of a test, which notes how it went. */
#ifndef TESTS_SUPPORT_ASK_H
#define TESTS_SUPPORT_ASK_H

#include "support/world.h"

typedef struct ask ask_t;

struct ask {
    hws_request_options_t options; /* may be changed before ask_start() */
    hws_request_t *request;        /* NULL once it was destroyed */
    /* What was told, and how often. */
    unsigned done;
    unsigned readable;
    unsigned writable;
    int code;          /* HWS_OK, or why it failed; HWS_AGAIN before it is known */
    hws_error_t error; /* when it failed */
    hws_time_t at;     /* when on_done came */
    uint16_t status;
    uint32_t attempts;
    bool reused;
    char peer[64];
    char body[512]; /* its beginning */
    size_t body_size;
    int end; /* of a streamed body: HWS_END, or a code; HWS_AGAIN before it is known */
    /* What to do. */
    bool is_kept;    /* not destroyed on its own when it has ended */
    bool is_unread;  /* a streamed body is left alone */
    size_t produces; /* bytes of body, by the producer, in pieces of... */
    size_t piece;
    size_t produced;
    void (*then)(ask_t *ask, void *user); /* first thing in every callback */
    void *user;
};

/* A GET of "/", not started. */
void ask_init(ask_t *ask);
/* Codes as hws_request_start(). */
int ask_start(ask_t *ask, hws_upstream_t *upstream);
/* Both in one. */
void ask_get(ask_t *ask, hws_upstream_t *upstream);
void ask_post(ask_t *ask, hws_upstream_t *upstream, const char *body);
void ask_cancel(ask_t *ask);
/* Destroys the request, if it is still there. */
void ask_dispose(ask_t *ask);
/* Reads what is there of a streamed body. */
void ask_read(ask_t *ask);
/* Has it ended with a whole response of `status`? */
bool ask_is_ok(const ask_t *ask);

#endif
