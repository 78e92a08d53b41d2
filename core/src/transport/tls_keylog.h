/* tls_keylog.h - the secrets of connections, for Wireshark (draft-ietf-tls-keylogfile).
 *
 * Only when the environment variable SSLKEYLOGFILE names a file, and never in a program that runs
 * with another's privileges. The file is opened once, appended to, and made for its owner alone.
 * Whoever can read it can read the traffic. */
#ifndef HWS_TRANSPORT_TLS_KEYLOG_H
#define HWS_TRANSPORT_TLS_KEYLOG_H

#include <stdbool.h>
#include <stddef.h>

bool hws_keylog_is_on(void);
/* Appends "LABEL <client random> <secret>", the random having 32 bytes and the secret at most 64. */
void hws_keylog_write(const char *label, const unsigned char *random, const unsigned char *secret,
                      size_t size);
/* The same where an engine has made the text of the line, without its end. */
void hws_keylog_write_text(const char *text);

#endif
