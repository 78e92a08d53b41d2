/* service.c - what the services have counted, and who waits for a count. */
#include "faultd.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct seen {
    struct seen *next;
    char *name; /* "METHOD KEY" */
    uint64_t count;
} seen_t;

static service_t *const services[] = {&http_service, &raw_service, &h2_service, &control_service};
enum { SERVICE_COUNT = sizeof(services) / sizeof(services[0]) };

enum { BUCKETS = 4096 };

static seen_t *seen[BUCKETS];
static uint64_t seen_again; /* those with a count above 1 */

/* Bytes ---------------------------------------------------------------------------------------- */

void *allocate(size_t size)
{
    void *memory = calloc(1, size);

    if (memory == NULL)
        abort();
    return memory;
}

void bytes_append(bytes_t *bytes, const void *data, size_t size)
{
    if (bytes->size + size + 1 > bytes->capacity) {
        bytes->capacity = 2 * (bytes->size + size + 1);
        bytes->data = realloc(bytes->data, bytes->capacity);
        if (bytes->data == NULL)
            abort();
    }
    if (size > 0)
        memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
    bytes->data[bytes->size] = '\0';
}

void bytes_drop(bytes_t *bytes, size_t size)
{
    if (size == 0)
        return;
    bytes->size -= size;
    memmove(bytes->data, bytes->data + size, bytes->size + 1);
}

void bytes_dispose(bytes_t *bytes)
{
    free(bytes->data);
    *bytes = (bytes_t){0};
}

bool bytes_append_hex(bytes_t *bytes, const char *hex)
{
    for (; *hex != '\0'; hex += 2) {
        char digits[3] = {hex[0], hex[1], '\0'};
        char byte;

        if (!isxdigit((unsigned char)hex[0]) || !isxdigit((unsigned char)hex[1]))
            return false;
        byte = (char)strtoul(digits, NULL, 16);
        bytes_append(bytes, &byte, 1);
    }
    return true;
}

/* Counters ------------------------------------------------------------------------------------- */

service_t *service_find(const char *name)
{
    for (size_t i = 0; i < SERVICE_COUNT; i++)
        if (strcmp(services[i]->name, name) == 0)
            return services[i];
    return NULL;
}

const uint64_t *service_counter(const service_t *service, const char *name)
{
    if (strcmp(name, "accepted") == 0)
        return &service->accepted;
    if (strcmp(name, "open") == 0)
        return &service->open;
    if (strcmp(name, "most") == 0)
        return &service->most;
    if (strcmp(name, "requests") == 0)
        return &service->requests;
    if (strcmp(name, "in") == 0)
        return &service->in;
    if (strcmp(name, "out") == 0)
        return &service->out;
    return service == &h2_service ? h2_counter(name) : NULL;
}

/* Only clients of the control service wait for counts. Going on may close one, so look anew from
 * the next one, which was linked when this one was. */
void counters_changed(void)
{
    client_t *client = control_service.clients;

    while (client != NULL) {
        client_t *next = client->next;

        client_recheck(client);
        client = next;
    }
}

void counters_zero(void)
{
    for (size_t i = 0; i < BUCKETS; i++)
        while (seen[i] != NULL) {
            seen_t *next = seen[i]->next;

            free(seen[i]->name);
            free(seen[i]);
            seen[i] = next;
        }
    seen_again = 0;
    for (size_t i = 0; i < SERVICE_COUNT; i++)
        services[i]->most = services[i]->open;
    h2_zero();
}

/* FNV-1a */
static seen_t **bucket_of(const char *key)
{
    uint32_t hash = 2166136261U;

    for (; *key != '\0'; key++)
        hash = (hash ^ (unsigned char)*key) * 16777619U;
    return &seen[hash % BUCKETS];
}

static seen_t *seen_find(const char *method, const char *key)
{
    for (seen_t *one = *bucket_of(key); one != NULL; one = one->next) {
        size_t size = strlen(method);

        if (strncmp(one->name, method, size) == 0 && one->name[size] == ' ' &&
            strcmp(one->name + size + 1, key) == 0)
            return one;
    }
    return NULL;
}

void seen_add(const char *method, const char *key)
{
    seen_t *one = seen_find(method, key);

    if (one == NULL) {
        size_t size = strlen(method) + strlen(key) + 2;
        seen_t **bucket = bucket_of(key);

        one = allocate(sizeof(*one));
        one->name = allocate(size);
        snprintf(one->name, size, "%s %s", method, key);
        one->next = *bucket;
        *bucket = one;
    }
    seen_again += ++one->count == 2;
}

uint64_t seen_count(const char *method, const char *key)
{
    const seen_t *one = seen_find(method, key);

    return one == NULL ? 0 : one->count;
}

uint64_t seen_twice(void)
{
    return seen_again;
}

/* Barriers ------------------------------------------------------------------------------------- */

uint64_t held_count(const char *key)
{
    uint64_t count = h2_held(key);

    for (size_t i = 0; i < SERVICE_COUNT; i++)
        for (client_t *client = services[i]->clients; client != NULL; client = client->next)
            count += client_is_held(client, key);
    return count;
}

uint64_t held_release(const char *key)
{
    uint64_t count = h2_release(key);

    for (size_t i = 0; i < SERVICE_COUNT; i++) {
        client_t *client = services[i]->clients;

        while (client != NULL) {
            client_t *next = client->next;

            if (client_is_held(client, key)) {
                count++;
                client_go_on(client);
            }
            client = next;
        }
    }
    counters_changed();
    return count;
}
