#include "codec/h2_request.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#define FIRST_ITEMS 32U
#define FIELD_EXTRA 32U /* what a field counts for beside its bytes (RFC 9113, 6.5.2) */

#define IS_WORD(text, word) is_word(text, word, sizeof(word) - 1)

/* Whether `text` is `word` in any case. */
static inline bool is_word(hws_slice_t text, const char *word, size_t size)
{
    return text.size == size && strncasecmp(text.data, word, size) == 0;
}

#define IS_METHOD(message, word) is_method((message)->method, word, sizeof(word) - 1)

static inline bool is_method(hws_slice_t method, const char *word, size_t size)
{
    return method.size == size && memcmp(method.data, word, size) == 0;
}

static int reserve(hws_h2_request_t *request)
{
    size_t capacity = request->capacity > 0 ? request->capacity * 2 : FIRST_ITEMS;
    nghttp2_nv *items;

    if (request->count < request->capacity)
        return HWS_OK;
    if ((items = hws_realloc(request->items, capacity * sizeof(*items))) == NULL)
        return HWS_ERR_NOMEM;
    request->items = items;
    request->capacity = capacity;
    return HWS_OK;
}

static int add(hws_h2_request_t *request, hws_slice_t name, hws_slice_t value, uint8_t flags)
{
    int rc = reserve(request);

    if (rc != HWS_OK)
        return rc;
    request->items[request->count++] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.data,
                                                    .value = (uint8_t *)(uintptr_t)value.data,
                                                    .namelen = name.size,
                                                    .valuelen = value.size,
                                                    .flags = flags};
    return HWS_OK;
}

/* A field whose name is a literal, which need not be copied. */
#define ADD(request, name, value) add(request, HWS_SLICE(name), value, NGHTTP2_NV_FLAG_NO_COPY_NAME)

/* "Name: value\r\n" at `*at`, which is moved behind it. */
static void take_line(const char **at, const char *end, hws_slice_t *name, hws_slice_t *value)
{
    const char *colon = memchr(*at, ':', (size_t)(end - *at));
    const char *stop = memchr(colon, '\r', (size_t)(end - colon));
    const char *from = colon + 1;
    const char *to = stop;

    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    *name = (hws_slice_t){*at, (size_t)(colon - *at)};
    *value = (hws_slice_t){from, (size_t)(to - from)};
    *at = stop + 2;
}

/* What HTTP/2 says with frames, or not at all (RFC 9113, 8.2.2). */
static bool is_of_connection(hws_slice_t name, hws_slice_t value)
{
    switch (name.size) { /* most fields are passed over by this alone */
    case sizeof("te") - 1:
        return IS_WORD(name, "te") && !IS_WORD(value, "trailers");
    case sizeof("upgrade") - 1:
        return IS_WORD(name, "upgrade");
    case sizeof("connection") - 1:
        return IS_WORD(name, "connection") || IS_WORD(name, "keep-alive");
    case sizeof("proxy-connection") - 1:
        return IS_WORD(name, "proxy-connection");
    case sizeof("transfer-encoding") - 1:
        return IS_WORD(name, "transfer-encoding");
    default:
        return false;
    }
}

/* The lines of the caller. `*host` is what they have of that, which becomes :authority. */
static int add_lines(hws_h2_request_t *request, hws_slice_t lines, hws_slice_t *host,
                     bool *has_priority)
{
    const char *at = lines.data;
    const char *end = lines.size > 0 ? at + lines.size : at;
    int rc;

    while (at < end) {
        hws_slice_t name;
        hws_slice_t value;

        take_line(&at, end, &name, &value);
        if (IS_WORD(name, "host")) {
            *host = value;
            continue;
        }
        if (is_of_connection(name, value))
            return HWS_ERR_CONNECTION_FIELD;
        if (IS_WORD(name, "priority"))
            *has_priority = true;
        if ((rc = add(request, name, value, NGHTTP2_NV_FLAG_NONE)) != HWS_OK)
            return rc;
    }
    return HWS_OK;
}

static hws_slice_t write_number(char *store, size_t size, uint64_t number)
{
    char *first = store + size;

    do
        *--first = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return (hws_slice_t){first, (size_t)(store + size - first)};
}

/* A method that gives its body a meaning says so when there is none (RFC 9110, 8.6). */
static bool says_no_body(const hws_message_t *message)
{
    return IS_METHOD(message, "POST") || IS_METHOD(message, "PUT") || IS_METHOD(message, "PATCH");
}

static int add_length(hws_h2_request_t *request, const hws_message_t *message)
{
    if (message->body == HWS_BODY_CHUNKED ||
        (message->body == HWS_BODY_NONE && !says_no_body(message)))
        return HWS_OK;
    return ADD(request, "content-length",
               write_number(request->length, sizeof(request->length),
                            message->body == HWS_BODY_SIZED ? message->body_size : 0));
}

static int add_priority(hws_h2_request_t *request, uint8_t urgency)
{
    assert(urgency <= HWS_URGENCY_LEAST);
    memcpy(request->priority, "u=", 2);
    request->priority[2] = (char)('0' + urgency);
    return ADD(request, "priority", ((hws_slice_t){request->priority, sizeof(request->priority)}));
}

/* In the order that compresses best: what changes from request to request comes behind. */
static int add_pseudo(hws_h2_request_t *request, const hws_message_t *message)
{
    int rc;

    if ((rc = ADD(request, ":method", message->method)) != HWS_OK ||
        (rc = ADD(request, ":scheme", message->scheme)) != HWS_OK ||
        (rc = ADD(request, ":authority", message->authority)) != HWS_OK)
        return rc;
    return ADD(request, ":path", message->target);
}

int hws_h2_request_accept_trailers(hws_h2_request_t *request)
{
    return ADD(request, "te", HWS_SLICE("trailers"));
}

void hws_h2_request_dispose(hws_h2_request_t *request)
{
    hws_free(request->items);
    *request = (hws_h2_request_t){0};
}

int hws_h2_request_fill(hws_h2_request_t *request, const hws_message_t *message, uint8_t urgency)
{
    hws_slice_t host = message->authority;
    bool has_priority = urgency == HWS_URGENCY_USUAL;
    int rc;

    if (IS_METHOD(message, "CONNECT"))
        return HWS_ERR_UNSUPPORTED;
    request->count = 0;
    if ((rc = add_pseudo(request, message)) != HWS_OK ||
        (rc = add_lines(request, message->fields, &host, &has_priority)) != HWS_OK ||
        (rc = add_length(request, message)) != HWS_OK)
        return rc;
    if (message->authority.size == 0) {
        request->items[2].value = (uint8_t *)(uintptr_t)host.data;
        request->items[2].valuelen = host.size;
    }
    return has_priority ? HWS_OK : add_priority(request, urgency);
}

size_t hws_h2_request_size(const hws_h2_request_t *request)
{
    size_t size = 0;
    size_t i;

    for (i = 0; i < request->count; i++)
        size += request->items[i].namelen + request->items[i].valuelen + FIELD_EXTRA;
    return size;
}
