/* ares_cancel() ends all look-ups of a channel: so a question that is given up is only forgotten,
 * and they are cancelled when all are. */
#include "io/uv_dns.h"

#include "base/memory.h"
#include "io/hosts.h"
#include "io/uv_dns_channel.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define OUT_AT_ONCE 256U
#define SEARCH_MAX 16U
#define HOSTS_SIZE_MAX ((size_t)1 << 20)
/* Between two looks at the files of the system. */
#define LOOK_EVERY HWS_S(1)

typedef enum { WAITING, OUT, ANSWERED } state_t;

struct hws_question {
    hws_list_t link; /* waiting, or answered */
    hws_names_t *names;
    state_t state;
    bool is_forgotten;
    int family;
    hws_lookup_t lookup; /* while it is out */
    hws_answer_t answer; /* with addresses of its own */
    void (*on_answer)(void *owner, const hws_answer_t *answer, hws_time_t now);
    void *owner;
    char name[];
};

/* By what one sees that a file changed. All zeros: there is none. */
typedef struct {
    uv_timespec_t changed;
    uint64_t size;
    uint64_t number;
} stamp_t;

struct hws_names {
    hws_dns_t *dns;
    hws_names_options_t options; /* with these copies */
    hws_address_t servers[HWS_CHANNEL_SERVERS];
    char *search[SEARCH_MAX];
    char *hosts_path;
    char *config_path;
    hws_list_t waiting;
    hws_list_t channels; /* the one in use first */
    uint32_t out;        /* questions in all channels */
    hws_buffer_t hosts;
    stamp_t hosts_stamp;
    stamp_t config_stamp;
    hws_time_t looked_at;
};

/* Questions --------------------------------------------------------------------------------- */

static void free_question(hws_question_t *question)
{
    hws_free((void *)question->answer.ips);
    hws_free(question);
}

static void be_answered(hws_question_t *question)
{
    hws_dns_t *dns = question->names->dns;

    question->state = ANSWERED;
    hws_list_push_back(&dns->answered, &question->link);
    dns->answered_count++;
}

static void keep_answer(hws_question_t *question, const hws_answer_t *answer)
{
    size_t size = answer->count * sizeof(*answer->ips);
    hws_ip_t *ips;

    question->answer = (hws_answer_t){.status = answer->status};
    if (answer->status != HWS_OK)
        return;
    if ((ips = hws_alloc(size)) == NULL) {
        question->answer.status = HWS_ERR_NOMEM;
        return;
    }
    memcpy(ips, answer->ips, size);
    question->answer = *answer;
    question->answer.ips = ips;
}

/* Channels ---------------------------------------------------------------------------------- */

static hws_channel_t *channel_in_use(hws_names_t *names)
{
    return HWS_CONTAINER(names->channels.next, hws_channel_t, link);
}

static void on_found(hws_lookup_t *lookup, const hws_answer_t *answer)
{
    hws_question_t *question = HWS_CONTAINER(lookup, hws_question_t, lookup);

    question->names->out--;
    if (question->is_forgotten) {
        free_question(question);
        return;
    }
    lookup->channel->wanted--;
    keep_answer(question, answer);
    be_answered(question);
}

static void send_waiting(hws_names_t *names)
{
    hws_channel_t *channel = channel_in_use(names);

    while (names->out < OUT_AT_ONCE && !hws_list_is_empty(&names->waiting)) {
        hws_question_t *question = HWS_CONTAINER(names->waiting.next, hws_question_t, link);

        hws_list_remove(&question->link);
        question->state = OUT;
        names->out++;
        channel->wanted++;
        hws_channel_ask(channel, &question->lookup, question->name, question->family, on_found);
    }
    hws_channel_set_timer(channel);
}

/* The channel may be gone after it. */
static void settle(hws_channel_t *channel)
{
    hws_names_t *names = channel->owner;

    if (channel->wanted == 0 && channel->out > 0)
        hws_channel_cancel(channel);
    hws_channel_set_timer(channel);
    if (channel->out == 0 && channel != channel_in_use(names))
        hws_channel_destroy(channel);
    send_waiting(names);
}

/* Becomes the one in use. */
static int create_channel(hws_names_t *names)
{
    hws_channel_t *channel;
    int rc = hws_channel_create(names->dns, &names->options, settle, names, &channel);

    if (rc == HWS_OK)
        hws_list_push_front(&names->channels, &channel->link);
    return rc;
}

/* Files ------------------------------------------------------------------------------------- */

static stamp_t stamp_of(const char *path)
{
    stamp_t stamp = {0};
    uv_fs_t request;

    if (uv_fs_stat(NULL, &request, path, NULL) == 0)
        stamp = (stamp_t){request.statbuf.st_mtim, request.statbuf.st_size, request.statbuf.st_ino};
    uv_fs_req_cleanup(&request);
    return stamp;
}

static bool is_same(const stamp_t *a, const stamp_t *b)
{
    return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
           a->size == b->size && a->number == b->number;
}

/* A file that cannot be read has no names. Blocks for the time that a local file takes. */
static void read_hosts(hws_names_t *names)
{
    int fd = open(names->options.hosts_path, O_RDONLY | O_CLOEXEC);
    char block[4096];
    ssize_t size = 0;

    hws_buffer_dispose(&names->hosts);
    if (fd < 0)
        return;
    do
        size = read(fd, block, sizeof(block));
    while ((size < 0 && errno == EINTR) ||
           (size > 0 && hws_buffer_size(&names->hosts) < HOSTS_SIZE_MAX &&
            hws_buffer_append(&names->hosts, block, (size_t)size) == HWS_OK));
    close(fd);
}

/* Want of memory leaves the configuration that was, until the next look. */
static void look_at_files(hws_names_t *names)
{
    hws_time_t now = (hws_time_t)(uv_hrtime() / 1000);
    stamp_t hosts;
    stamp_t config;

    if (now < names->looked_at + LOOK_EVERY)
        return;
    names->looked_at = now;
    hosts = stamp_of(names->options.hosts_path);
    if (!is_same(&hosts, &names->hosts_stamp)) {
        names->hosts_stamp = hosts;
        read_hosts(names);
    }
    config = stamp_of(names->options.config_path);
    if (!is_same(&config, &names->config_stamp)) {
        hws_channel_t *old = channel_in_use(names);

        if (create_channel(names) != HWS_OK)
            return;
        names->config_stamp = config;
        if (old->out == 0)
            hws_channel_destroy(old);
    }
}

/* Operations -------------------------------------------------------------------------------- */

/* Of an empty file nothing is known. */
static uint32_t find_in_hosts(const hws_question_t *question, hws_ip_t *ips, bool *is_known)
{
    const hws_buffer_t *hosts = &question->names->hosts;
    hws_slice_t text = {0};

    if (!hws_buffer_is_empty(hosts))
        text = (hws_slice_t){hws_buffer_bytes(hosts), hws_buffer_size(hosts)};
    return hws_hosts_find(text, question->name, question->family, ips, HWS_ANSWER_ADDRESSES,
                          is_known);
}

/* Whether the question is answered without a name server. */
static bool answer_at_once(hws_question_t *question)
{
    hws_ip_t ips[HWS_ANSWER_ADDRESSES];
    hws_answer_t answer = {.status = HWS_OK, .ips = ips, .count = 1};
    bool is_known = true;

    if (!hws_hosts_is_local(question->name, question->family, ips))
        answer.count = find_in_hosts(question, ips, &is_known);
    if (answer.count == 0)
        answer.status = HWS_ERR_NODATA;
    if (is_known)
        keep_answer(question, &answer);
    return is_known;
}

int hws_dns_ask(hws_names_t *names, const char *name, int family,
                void (*on_answer)(void *owner, const hws_answer_t *answer, hws_time_t now),
                void *owner, hws_question_t **out)
{
    hws_question_t *question;
    size_t size = strlen(name) + 1;

    if (hws_dns_is_forked(names->dns))
        return HWS_ERR_FORKED;
    if ((question = hws_zalloc(sizeof(*question) + size)) == NULL)
        return HWS_ERR_NOMEM;
    memcpy(question->name, name, size);
    question->names = names;
    question->family = family;
    question->on_answer = on_answer;
    question->owner = owner;
    names->dns->open++;
    *out = question;
    look_at_files(names);
    if (answer_at_once(question)) {
        be_answered(question);
        return HWS_OK;
    }
    hws_list_push_back(&names->waiting, &question->link);
    send_waiting(names);
    return HWS_OK;
}

void hws_dns_unask(hws_question_t *question)
{
    question->names->dns->open--;
    switch (question->state) {
    case OUT:
        question->is_forgotten = true;
        question->lookup.channel->wanted--;
        if (!hws_dns_is_forked(question->names->dns))
            settle(question->lookup.channel);
        return;
    case ANSWERED:
        question->names->dns->answered_count--;
        break;
    case WAITING:
        break;
    }
    hws_list_remove(&question->link);
    free_question(question);
}

void hws_dns_tell(hws_dns_t *dns, hws_time_t now)
{
    hws_question_t *question = HWS_CONTAINER(dns->answered.next, hws_question_t, link);

    hws_list_remove(&question->link);
    dns->answered_count--;
    dns->open--;
    question->on_answer(question->owner, &question->answer, now);
    free_question(question);
}

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = hws_alloc(size);

    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

static int copy_options(hws_names_t *names, const hws_names_options_t *options)
{
    const char *hosts = options->hosts_path != NULL ? options->hosts_path : "/etc/hosts";
    const char *config = options->config_path != NULL ? options->config_path : "/etc/resolv.conf";
    uint32_t i;

    assert(options->server_count <= HWS_CHANNEL_SERVERS && options->search_count <= SEARCH_MAX);
    assert(options->patience > 0);
    names->options = *options;
    names->options.servers = names->servers;
    names->options.search = (const char *const *)names->search;
    names->options.hosts_path = names->hosts_path = copy_text(hosts);
    names->options.config_path = names->config_path = copy_text(config);
    if (names->hosts_path == NULL || names->config_path == NULL)
        return HWS_ERR_NOMEM;
    for (i = 0; i < options->server_count; i++)
        names->servers[i] = options->servers[i];
    for (i = 0; i < options->search_count; i++)
        if ((names->search[i] = copy_text(options->search[i])) == NULL)
            return HWS_ERR_NOMEM;
    return HWS_OK;
}

int hws_dns_names_create(hws_dns_t *dns, const hws_names_options_t *options, hws_names_t **out)
{
    hws_names_t *names = hws_zalloc(sizeof(*names));
    int rc;

    if (names == NULL)
        return HWS_ERR_NOMEM;
    names->dns = dns;
    hws_list_init(&names->waiting);
    hws_list_init(&names->channels);
    if ((rc = copy_options(names, options)) == HWS_OK) {
        names->config_stamp = stamp_of(names->options.config_path);
        rc = create_channel(names);
    }
    if (rc != HWS_OK) {
        hws_dns_names_destroy(names);
        return rc;
    }
    names->looked_at = -LOOK_EVERY;
    look_at_files(names);
    *out = names;
    return HWS_OK;
}

void hws_dns_names_destroy(hws_names_t *names)
{
    uint32_t i;

    assert(hws_list_is_empty(&names->waiting));
    while (!hws_list_is_empty(&names->channels))
        hws_channel_destroy(channel_in_use(names));
    for (i = 0; i < SEARCH_MAX; i++)
        hws_free(names->search[i]);
    hws_free(names->hosts_path);
    hws_free(names->config_path);
    hws_buffer_dispose(&names->hosts);
    hws_free(names);
}

void hws_dns_init(hws_dns_t *dns, uv_loop_t *loop)
{
    *dns = (hws_dns_t){.loop = loop, .generation = hws_process_generation()};
    hws_list_init(&dns->answered);
}
