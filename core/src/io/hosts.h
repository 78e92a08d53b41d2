/* hosts.h - names that a file like /etc/hosts gives addresses to. Pure: the text is the caller's. */
#ifndef HWS_IO_HOSTS_H
#define HWS_IO_HOSTS_H

#include "io/address.h"

/* What the text of a hosts file says of `name`, in any case, with or without a dot at the end.
 * Returns how many addresses of `family` it has there, in their order and at most `max`, and
 * writes them into `ips`. `*is_known` is set when it has an address of any family. Lines that
 * cannot be understood are skipped. */
uint32_t hws_hosts_find(hws_slice_t text, const char *name, int family, hws_ip_t *ips, uint32_t max,
                        bool *is_known);

/* Whether `name` is localhost or below it: always this host, whoever says otherwise (RFC 6761, 6.3),
 * and then its address of `family`. */
bool hws_hosts_is_local(const char *name, int family, hws_ip_t *ip);

#endif
