/* list.h - a doubly linked ring through the objects themselves, so that linking cannot fail. */
#ifndef HWS_BASE_LIST_H
#define HWS_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct hws_list {
    struct hws_list *next;
    struct hws_list *prev;
} hws_list_t;

/* The object that has `link` as its member. */
#define HWS_CONTAINER(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* Walks the links of `list`; the body must not unlink `it` (take hws_list_first in a loop then). */
#define HWS_LIST_EACH(it, list) for (hws_list_t *it = (list)->next; it != (list); it = it->next)

/* A head that is empty, or a link that is on no list: both point to themselves. */
static inline void hws_list_init(hws_list_t *list)
{
    list->next = list->prev = list;
}

static inline bool hws_list_is_empty(const hws_list_t *list)
{
    return list->next == list;
}

static inline bool hws_list_is_linked(const hws_list_t *link)
{
    return link->next != link;
}

static inline void hws_list_push_back(hws_list_t *list, hws_list_t *link)
{
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}

static inline void hws_list_push_front(hws_list_t *list, hws_list_t *link)
{
    hws_list_push_back(list->next, link);
}

/* Takes `link` off its list; harmless when it is on none. */
static inline void hws_list_remove(hws_list_t *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    hws_list_init(link);
}

static inline hws_list_t *hws_list_first(hws_list_t *list)
{
    return hws_list_is_empty(list) ? NULL : list->next;
}

static inline hws_list_t *hws_list_last(hws_list_t *list)
{
    return hws_list_is_empty(list) ? NULL : list->prev;
}

/* Moves all of `from` to the end of `to`. */
static inline void hws_list_splice(hws_list_t *to, hws_list_t *from)
{
    if (hws_list_is_empty(from))
        return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    hws_list_init(from);
}

#endif
