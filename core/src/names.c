#include "names.h"

#include "base/memory.h"

#include <string.h>

#define MOST_SERVERS 16
#define MOST_DOMAINS 16
#define LONGEST_NAME 253
#define LONGEST_LABEL 63
#define DNS_PORT 53
#define MOST_PATIENCE HWS_S(60) /* with a name server; whoever asks may wait longer */

/* With name servers, a little more than `span`, that of who asks: so it is this that ends where they are
 * silent, and what came late serves the next one. */
static hws_time_t patience_for(hws_time_t span)
{
    return span < MOST_PATIENCE ? span + span / 4 : MOST_PATIENCE;
}

void hws_dns_options_init(hws_dns_options_t *options)
{
    *options = (hws_dns_options_t){.ttl_min = HWS_S(1), .ttl_max = HWS_S(300)};
}

/* A name whose last label is a number is an address that was mistyped. */
bool hws_names_is_name(hws_slice_t text)
{
    size_t label = 0;
    size_t digits = 0; /* of the label */
    size_t i;

    if (text.size > 0 && text.data[text.size - 1] == '.')
        text.size--;
    for (i = 0; i < text.size; i++) {
        char byte = text.data[i];

        if (byte == '.' && label > 0) {
            label = digits = 0;
            continue;
        }
        digits += byte >= '0' && byte <= '9';
        if (((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
             (byte >= '0' && byte <= '9') || byte == '-' || byte == '_') &&
            label < LONGEST_LABEL)
            label++;
        else
            return false;
    }
    return label > digits && text.size <= LONGEST_NAME;
}

/* "192.0.2.1", "192.0.2.1:53", "2001:db8::1" or "[2001:db8::1]:53". */
static bool read_server(const char *text, hws_address_t *out)
{
    hws_slice_t host = {text, strlen(text)};
    uint16_t port = DNS_PORT;

    return hws_address_from_ip(host, port, out) == HWS_OK ||
           (hws_authority_parse(host, &host, &port) == NULL &&
            hws_address_from_ip(host, port, out) == HWS_OK);
}

static size_t count_of(const char *const *list)
{
    size_t count = 0;

    while (list != NULL && list[count] != NULL)
        count++;
    return count;
}

static int check(const hws_dns_options_t *options, hws_error_t *why)
{
    hws_address_t address;
    size_t i;

    if (count_of(options->servers) > MOST_SERVERS || count_of(options->search) > MOST_DOMAINS)
        return hws_explain(why, HWS_ERR_INVALID, "dns: at most %d servers and %d domains",
                           MOST_SERVERS, MOST_DOMAINS);
    for (i = 0; i < count_of(options->servers); i++)
        if (!read_server(options->servers[i], &address))
            return hws_explain(why, HWS_ERR_INVALID,
                               "dns.servers: %.40s is no address, perhaps with :port",
                               options->servers[i]);
    for (i = 0; i < count_of(options->search); i++)
        if (!hws_names_is_name((hws_slice_t){options->search[i], strlen(options->search[i])}))
            return hws_explain(why, HWS_ERR_INVALID, "dns.search: %.40s is no domain",
                               options->search[i]);
    if (options->ttl_max < options->ttl_min)
        return hws_explain(why, HWS_ERR_INVALID, "dns: ttl_max is less than ttl_min");
    return HWS_OK;
}

static size_t bytes_of(const char *const *list)
{
    size_t size = sizeof(*list);
    size_t i;

    for (i = 0; list != NULL && list[i] != NULL; i++)
        size += sizeof(*list) + strlen(list[i]) + 1;
    return size;
}

static const char *const *copy_list(const char *const *list, char **room)
{
    size_t count = count_of(list);
    const char **copy = (const char **)(void *)*room;
    char *at = (char *)(copy + count + 1);
    size_t i;

    for (i = 0; i < count; i++) {
        copy[i] = strcpy(at, list[i]);
        at += strlen(at) + 1;
    }
    copy[count] = NULL;
    /* What follows holds pointers, too. */
    *room += (bytes_of(list) + sizeof(*list) - 1) / sizeof(*list) * sizeof(*list);
    return copy;
}

int hws_dns_options_copy(const hws_dns_options_t *options, hws_dns_options_t **out,
                         hws_error_t *why)
{
    hws_dns_options_t *copy;
    char *room;
    int rc = check(options, why);

    if (rc != HWS_OK)
        return rc;
    copy = hws_alloc(sizeof(*copy) + bytes_of(options->servers) + bytes_of(options->search) +
                     2 * sizeof(char *));
    if (copy == NULL)
        return HWS_ERR_NOMEM;
    *copy = *options;
    room = (char *)(copy + 1);
    copy->servers = copy_list(options->servers, &room);
    if (options->search != NULL)
        copy->search = copy_list(options->search, &room);
    *out = copy;
    return HWS_OK;
}

int hws_lookup_create(hws_loop_t *loop, const hws_dns_options_t *options, hws_time_t span,
                      hws_lookup_t **out)
{
    hws_resolver_options_t wanted;
    hws_address_t servers[MOST_SERVERS];
    hws_lookup_t *lookup = hws_zalloc(sizeof(*lookup));
    uint32_t i;
    int rc;

    if (lookup == NULL)
        return HWS_ERR_NOMEM;
    hws_resolver_options_init(&wanted);
    wanted.names.patience = patience_for(span);
    if (options != NULL) {
        for (i = 0; i < count_of(options->servers); i++)
            (void)read_server(options->servers[i], &servers[i]);
        wanted.names.servers = servers;
        wanted.names.server_count = i;
        wanted.names.search = options->search;
        wanted.names.search_count = (uint32_t)count_of(options->search);
        wanted.names.has_search = options->search != NULL;
        wanted.ttl_min = options->ttl_min;
        wanted.ttl_max = options->ttl_max;
    }
    if ((rc = hws_resolver_init(&lookup->resolver, loop, &wanted)) != HWS_OK) {
        hws_free(lookup);
        return rc;
    }
    lookup->span = span;
    lookup->holds = 1;
    *out = lookup;
    return HWS_OK;
}

void hws_lookup_hold(hws_lookup_t *lookup)
{
    lookup->holds++;
}

void hws_lookup_release(hws_lookup_t *lookup)
{
    if (lookup == NULL || --lookup->holds > 0)
        return;
    hws_resolver_dispose(&lookup->resolver);
    hws_free(lookup);
}
