/* loop.h - the event loop that managers live on: hawser's own, embeddable in any other. */
#ifndef HAWSER_LOOP_H
#define HAWSER_LOOP_H

#include <hawser/error.h>

typedef struct hws_loop hws_loop_t;

/* A loop of its own on libuv. One thread; nothing in hawser may be called from another one. */
HWS_API int hws_loop_create(hws_loop_t **out);
/* Frees it; its managers have been destroyed before. NULL is harmless. In a forked child only the
 * memory is given up. */
HWS_API void hws_loop_destroy(hws_loop_t *loop);

/* Takes inputs and delivers what they brought. With `wait`, waits for at least one, unless nothing
 * is left that could bring one: then it returns HWS_END. Not from inside a callback. A callback may
 * fork: in the child nothing more is delivered, and this returns HWS_END at once. */
HWS_API int hws_loop_run(hws_loop_t *loop, bool wait);

/* What is written leaves when hws_loop_run() returns, all that is for one connection at once; what is
 * written outside of it leaves when it is called next. This sends it now. */
HWS_API void hws_loop_flush(hws_loop_t *loop);

/* For a host loop: poll this descriptor for reading, at most for the span that
 * hws_loop_timeout() gives (0: at once, HWS_NEVER: no limit), then hws_loop_run(loop, false);
 * after that, and after every call that starts work, ask for the timeout again. */
HWS_API int hws_loop_descriptor(const hws_loop_t *loop);
HWS_API hws_time_t hws_loop_timeout(const hws_loop_t *loop);

/* The monotonic clock of this loop. */
HWS_API hws_time_t hws_loop_now(const hws_loop_t *loop);
/* Whether this process is a fork of the one that created the loop: then it is dead here. */
HWS_API bool hws_loop_is_forked(const hws_loop_t *loop);

#endif
