/* error.h - filling an hws_error_t inside the core; the list itself is public: <hawser/error.h>. */
#ifndef HWS_BASE_ERROR_H
#define HWS_BASE_ERROR_H

#include <hawser/error.h>

/* An error of `code` in `phase` and nothing else known. */
hws_error_t hws_error_make(int code, hws_phase_t phase);

/* Writes a detail into `why`, which may be NULL, and returns `code`. */
int hws_explain(hws_error_t *why, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
