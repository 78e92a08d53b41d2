#include "target.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void usage(const char *program)
{
    fprintf(stderr, "usage: %s scheme://a.b.c.d:port[/path] requests connections\n", program);
    exit(2);
}

void target_read(target_t *target, int argc, char **argv)
{
    char host[32];
    const char *authority;
    unsigned int port;
    size_t size;

    if (argc != 4 || (authority = strstr(argv[1], "://")) == NULL)
        usage(argv[0]);
    authority += 3;
    size = strcspn(authority, "/");
    if (size >= sizeof(target->authority))
        usage(argv[0]);
    memcpy(target->authority, authority, size);
    target->authority[size] = '\0';
    target->path = authority[size] == '/' ? authority + size : "/";

    memset(&target->address, 0, sizeof(target->address));
    target->address.sin_family = AF_INET;
    if (sscanf(target->authority, "%31[0-9.]:%u", host, &port) != 2 || port == 0 || port > 65535 ||
        inet_pton(AF_INET, host, &target->address.sin_addr) != 1)
        usage(argv[0]);
    target->address.sin_port = htons((uint16_t)port);

    target->requests = atol(argv[2]);
    target->connections = atoi(argv[3]);
    if (target->requests < 1 || target->connections < 1 || target->connections > 65536)
        usage(argv[0]);
}
