/* name_server.h - a name server of our own, on a port of 127.0.0.1, that misbehaves as it is asked to.
 *
 * What it says follows from the first label of the name:
 *
 *     plain       10.0.0.1 and ::1, for 60 s           two, big    10.0.0.2 10.0.0.1; 100 addresses
 *     n<number>   10.0.x.y                             onlyfour    10.0.0.1, and nothing for AAAA
 *     ttl0        plain, for 0 s                       ttlhuge     for 2^32 - 1 s
 *     chain       through two aliases, one for 7 s     loop        aliases of each other
 *     nx servfail refused formerr notimp               codes
 *     empty       no answers                           foreign     an address of another name
 *     silent      nothing                              late        nothing the first time
 *     tc          truncated; all of it over TCP        tcclose     TCP is closed at once
 *     tcsilent    nothing over TCP                     tcservfail  SERVFAIL over TCP
 *     short cut pointer space                          malformed: 5 bytes; a record that is cut
 *                                                      off; a compression loop; a blank in a name
 *     wrongid wrongport wrongquestion                  forged answers of 10.6.6.6 before the true one
 *
 * It runs on a thread of its own. */
#ifndef TESTS_SUPPORT_NAME_SERVER_H
#define TESTS_SUPPORT_NAME_SERVER_H

#include "io/address.h"

typedef struct name_server name_server_t;

name_server_t *name_server_start(void);
hws_address_t name_server_address(const name_server_t *server);
/* Questions so far, over UDP and over TCP. */
unsigned name_server_udp(const name_server_t *server);
unsigned name_server_tcp(const name_server_t *server);
void name_server_stop(name_server_t *server);

#endif
