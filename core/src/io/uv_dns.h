/* uv_dns.h - asks name servers on the loop of io/uv.c, with c-ares.
 *
 *   ask ---> WAITING ---> OUT ---> ANSWERED ---> told, and gone
 *               |  fewer than 256  c-ares   io/uv.c takes it
 *               |  are out         knows    when c-ares is not on the stack
 *               '----------------------^ localhost, the hosts file: known at once
 *
 * One hws_names_t is one configuration, and holds a channel for it (io/uv_dns_channel.h). When the file that
 * configures the system changes, a new channel is made; the old one stays until its last answer.
 * The files are looked at when something is asked, at most once per second.
 *
 * While nothing is out there is no socket, and nothing active on the loop. */
#ifndef HWS_IO_UV_DNS_H
#define HWS_IO_UV_DNS_H

#include "base/list.h"
#include "io/io.h"
#include "io/process.h"

#include <uv.h>

/* Part of a world. */
typedef struct {
    uv_loop_t *loop;
    hws_list_t answered;   /* questions that wait for hws_dns_tell() */
    size_t answered_count; /* their number */
    size_t open;           /* questions that were neither told nor forgotten */
    bool has_news;         /* for the system's poll set, which libuv tells it only in a turn */
    uint32_t generation;   /* of the process that made it */
} hws_dns_t;

/* A forked child shares the poll set of its parent, and must not touch it. */
static inline bool hws_dns_is_forked(const hws_dns_t *dns)
{
    return hws_process_is_forked(dns->generation);
}

void hws_dns_init(hws_dns_t *dns, uv_loop_t *loop);

/* Tells the answer that has waited longest. There is one. */
void hws_dns_tell(hws_dns_t *dns, hws_time_t now);

/* As in io.h. */
int hws_dns_names_create(hws_dns_t *dns, const hws_names_options_t *options, hws_names_t **out);
void hws_dns_names_destroy(hws_names_t *names);
int hws_dns_ask(hws_names_t *names, const char *name, int family,
                void (*on_answer)(void *owner, const hws_answer_t *answer, hws_time_t now),
                void *owner, hws_question_t **out);
void hws_dns_unask(hws_question_t *question);

#endif
