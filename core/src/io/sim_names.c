/* The simulated name server, and those who ask it. */
#include "io/sim_world.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>

struct hws_names {
    hws_sim_t *sim;
    hws_time_t patience;
};

struct hws_question {
    hws_timer_t timer; /* of the answer */
    hws_names_t *names;
    hws_sim_name_t *record; /* NULL: nobody has heard of the name */
    bool is_lost;           /* nobody will answer */
    void (*on_answer)(void *owner, const hws_answer_t *answer, hws_time_t now);
    void *owner;
};

static hws_sim_name_t *find_name(const hws_sim_t *sim, const char *name, int family)
{
    HWS_LIST_EACH(link, &sim->names) {
        hws_sim_name_t *record = HWS_CONTAINER(link, hws_sim_name_t, link);

        if (record->family == family && strcmp(record->name, name) == 0)
            return record;
    }
    return NULL;
}

static void set_ips(hws_sim_name_t *record, const char *text)
{
    record->count = 0;
    while (*(text += strspn(text, " ")) != '\0') {
        hws_slice_t word = {text, strcspn(text, " ")};
        int rc;

        assert(record->count < HWS_SIM_IPS);
        rc = hws_ip_from_text(word, &record->ips[record->count]);
        assert(rc == HWS_OK && record->ips[record->count].family == record->family);
        (void)rc;
        record->count++;
        text += word.size;
    }
}

int hws_sim_name(hws_sim_t *sim, const char *name, int family, const char *ips,
                 hws_sim_name_t **out)
{
    hws_sim_name_t *record = find_name(sim, name, family);

    if (record == NULL) {
        if ((record = hws_zalloc(sizeof(*record))) == NULL)
            return HWS_ERR_NOMEM;
        record->name = name;
        record->family = family;
        hws_list_push_back(&sim->names, &record->link);
    }
    set_ips(record, ips);
    *out = record;
    return HWS_OK;
}

uint32_t hws_sim_open_questions(const hws_sim_t *sim)
{
    return sim->open_questions;
}

static hws_answer_t answer_of(const hws_question_t *question)
{
    const hws_sim_name_t *record = question->record;

    if (question->is_lost)
        return (hws_answer_t){.status = HWS_ERR_DNS_TIMEOUT};
    if (record == NULL)
        return (hws_answer_t){.status = HWS_ERR_NXDOMAIN};
    if (record->status != HWS_OK)
        return (hws_answer_t){.status = record->status};
    if (record->count == 0)
        return (hws_answer_t){.status = HWS_ERR_NODATA};
    return (hws_answer_t){HWS_OK, record->ips, record->count, record->ttl};
}

static void free_question(hws_question_t *question)
{
    question->names->sim->open_questions--;
    hws_free(question);
}

static void fire_answer(hws_timer_t *timer, hws_time_t now)
{
    hws_question_t *asked = HWS_CONTAINER(timer, hws_question_t, timer);
    hws_question_t question = *asked;
    hws_sim_t *sim = question.names->sim;
    hws_answer_t told = answer_of(asked);

    free_question(asked);
    question.on_answer(question.owner, &told, now);
    hws_sim_rest(sim);
}

int hws_sim_names_create(hws_io_t *io, const hws_names_options_t *options, hws_names_t **out)
{
    hws_names_t *names = hws_zalloc(sizeof(*names));

    assert(options->patience > 0);
    if (names == NULL)
        return HWS_ERR_NOMEM;
    names->sim = hws_sim_of(io);
    names->patience = options->patience;
    names->sim->open_names++;
    *out = names;
    return HWS_OK;
}

void hws_sim_names_destroy(hws_names_t *names)
{
    names->sim->open_names--;
    hws_free(names);
}

int hws_sim_names_ask(hws_names_t *names, const char *name, int family,
                      void (*on_answer)(void *owner, const hws_answer_t *answer, hws_time_t now),
                      void *owner, hws_question_t **out)
{
    hws_sim_t *sim = names->sim;
    hws_question_t *question = hws_zalloc(sizeof(*question));
    hws_sim_name_t *record = find_name(sim, name, family);
    hws_time_t latency = 0;

    if (question == NULL)
        return HWS_ERR_NOMEM;
    *question =
        (hws_question_t){.names = names, .record = record, .on_answer = on_answer, .owner = owner};
    if (record != NULL) {
        record->asked++;
        question->is_lost = record->is_silent;
        latency = hws_sim_choose(sim, record->latency_min, record->latency_max);
    }
    hws_timer_init(&question->timer, fire_answer);
    hws_sim_set_timer(sim, &question->timer,
                      sim->now + (question->is_lost ? names->patience : latency));
    sim->open_questions++;
    *out = question;
    return HWS_OK;
}

void hws_sim_names_unask(hws_question_t *question)
{
    hws_timers_cancel(&question->names->sim->events, &question->timer);
    free_question(question);
}

void hws_sim_dispose_names(hws_sim_t *sim)
{
    hws_list_t *link;

    assert(sim->open_names == 0 && sim->open_questions == 0);
    while ((link = hws_list_first(&sim->names)) != NULL) {
        hws_list_remove(link);
        hws_free(HWS_CONTAINER(link, hws_sim_name_t, link));
    }
}
