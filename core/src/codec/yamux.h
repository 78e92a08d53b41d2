/* yamux.h - many byte streams over one connection, opened by either side: hashicorp's yamux, version
 * 0, as its specification and its Go implementation have it.
 *
 * A stream has no head: it begins with nothing and is usable at once. `send` with `end` half-closes
 * it; on_end(HWS_OK) is the peer's half-close. Windows are per stream only: nobody's unread bytes hold
 * up another, and nothing is owed for a stream that is over.
 *
 * Peers refuse what they have not accepted when 256 streams wait for that, so `room` counts those that
 * the peer has not acknowledged as well. A reset before the acknowledgement is HWS_ERR_REFUSED_STREAM,
 * a later one HWS_ERR_RESET. The codes of `reset` have no place in the protocol.
 *
 * What the peer opens is refused when 256 of its streams wait for acceptance or 8192 are open. A stream
 * that both sides have ended is open until its last bytes have left, though its hws_stream_t is not
 * needed any more.
 *
 * `flush` with no room writes nothing but the GOAWAY of a connection that has failed, which bounds all
 * that can wait to be written.
 *
 * What waits for the peer it gives up as the Go implementation does, in steps of HWS_CODEC_TICK: a
 * stream that is not acknowledged after 75 s ends the connection with HWS_ERR_UNACCEPTED, and one that
 * was left (codec.h) is reset when the peer has not ended it after 5 min. */
#ifndef HWS_CODEC_YAMUX_H
#define HWS_CODEC_YAMUX_H

#include "codec/codec.h"

typedef enum { HWS_YAMUX_CLIENT, HWS_YAMUX_SERVER } hws_yamux_role_t; /* odd ids, even ids */

/* HWS_ERR_NOMEM. Both roles open streams and accept the peer's. Of `options` it takes `buffer`: the
 * unsent bytes of all streams above which one may have no more than 16 KiB of them; `streams`: of our
 * own; `accepts`, `windows.stream_max` and `budget`. All windows begin with 256 KiB. */
int hws_yamux_create(const hws_codec_options_t *options, hws_yamux_role_t role, hws_codec_t **out);

/* Asserts that what is counted is what is there. For tests. */
void hws_yamux_check(const hws_codec_t *codec);

#endif
