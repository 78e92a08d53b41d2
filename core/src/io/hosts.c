#include "io/hosts.h"

#include <string.h>
#include <strings.h>

/* Takes the next word off a line, which ends with it or with a comment. Empty when there is none. */
static hws_slice_t take_word(hws_slice_t *line)
{
    hws_slice_t word;
    size_t i = 0;

    while (i < line->size && (line->data[i] == ' ' || line->data[i] == '\t'))
        i++;
    word.data = line->data + i;
    while (i < line->size && strchr(" \t\r#", line->data[i]) == NULL)
        i++;
    word.size = (size_t)(line->data + i - word.data);
    line->data += i;
    line->size -= i;
    return word;
}

/* A NUL, which strchr() finds as well, ends a word, and there nothing more can be taken. */
static bool line_has(hws_slice_t line, const char *name, size_t size)
{
    hws_slice_t word;

    while ((word = take_word(&line)).size > 0)
        if (word.size == size && strncasecmp(word.data, name, size) == 0)
            return true;
    return false;
}

static size_t size_without_dot(const char *name)
{
    size_t size = strlen(name);

    return size > 0 && name[size - 1] == '.' ? size - 1 : size;
}

uint32_t hws_hosts_find(hws_slice_t text, const char *name, int family, hws_ip_t *ips, uint32_t max,
                        bool *is_known)
{
    size_t name_size = size_without_dot(name);
    uint32_t count = 0;

    *is_known = false;
    while (text.size > 0) {
        const char *end = memchr(text.data, '\n', text.size);
        hws_slice_t line = {text.data, end != NULL ? (size_t)(end - text.data) : text.size};
        hws_ip_t ip;

        text.data += line.size + (end != NULL);
        text.size -= line.size + (end != NULL);
        if (hws_ip_from_text(take_word(&line), &ip) != HWS_OK || !line_has(line, name, name_size))
            continue;
        *is_known = true;
        if (ip.family == family && count < max)
            ips[count++] = ip;
    }
    return count;
}

bool hws_hosts_is_local(const char *name, int family, hws_ip_t *ip)
{
    static const char local[] = "localhost";
    size_t local_size = sizeof(local) - 1;
    size_t size = size_without_dot(name);
    struct in_addr v4 = {htonl(INADDR_LOOPBACK)};

    if (size < local_size || strncasecmp(name + size - local_size, local, local_size) != 0 ||
        (size > local_size && name[size - local_size - 1] != '.'))
        return false;
    *ip = family == AF_INET ? hws_ip_make(AF_INET, &v4) : hws_ip_make(AF_INET6, &in6addr_loopback);
    return true;
}
