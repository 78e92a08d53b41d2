#include "transport/tls_greeting.h"

#include <stdio.h>

#define SHOWN_MAX ((size_t)24)

static void show(hws_slice_t in, char *detail, size_t size)
{
    char shown[SHOWN_MAX + 1];
    size_t i;

    for (i = 0; i < in.size && i < SHOWN_MAX; i++)
        shown[i] = (char)(in.data[i] >= ' ' && in.data[i] < 0x7f ? in.data[i] : '.');
    shown[i] = '\0';
    snprintf(detail, size, "it sent \"%s\"", shown);
}

int hws_greeting_check(unsigned *heard, hws_slice_t in, char *detail, size_t size)
{
    size_t i;

    for (i = 0; i < in.size && *heard < HWS_GREETING_SIZE; i++, (*heard)++) {
        unsigned char byte = (unsigned char)in.data[i];

        if (*heard == 0 ? byte == 21 || byte == 22 : byte == 3)
            continue;
        show(in, detail, size);
        return HWS_ERR_TLS_PLAIN;
    }
    return HWS_OK;
}
