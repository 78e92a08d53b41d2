/* retry_after.h - the field Retry-After: seconds, or a date (RFC 9110, 10.2.3 and 5.6.7).
 *
 * Pure: what the time is comes in as an argument. Strict: what the grammar does not have is no
 * value, but for white space around it. */
#ifndef HWS_POLICY_RETRY_AFTER_H
#define HWS_POLICY_RETRY_AFTER_H

#include <hawser/base.h>

#define HWS_RETRY_AFTER_NONE ((hws_time_t)-1)
#define HWS_RETRY_AFTER_MAX HWS_S(300)

/* The span that `value` asks for: 0 .. HWS_RETRY_AFTER_MAX, longer ones cut to that and moments
 * that have passed as 0; HWS_RETRY_AFTER_NONE when it is malformed. A date is held against `date`,
 * the same response's field Date (it is the peer's clock that both come from), or against `wall`,
 * our own time in seconds since 1970, when that is empty or malformed. */
hws_time_t hws_retry_after(hws_slice_t value, hws_slice_t date, int64_t wall);

/* Reads an HTTP-date in any of its three formats into seconds since 1970:
 *     Sun, 06 Nov 1994 08:49:37 GMT    IMF-fixdate
 *     Sunday, 06-Nov-94 08:49:37 GMT   RFC 850
 *     Sun Nov  6 08:49:37 1994         asctime
 * A year of two digits is the one at most 50 years after `wall` (RFC 9110, 5.6.7). The name of the
 * day must be one, but is not held against the date; a leap second is the next minute's first.
 * Years 1 to 9999. False, with `*seconds` left alone, for everything else. */
bool hws_http_date(hws_slice_t text, int64_t wall, int64_t *seconds);

#endif
