#include "transport/tls_keylog.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RANDOM_SIZE 32
#define SECRET_MAX 64
#define LABEL_MAX 64
#define LINE_MAX_SIZE (LABEL_MAX + 2 * RANDOM_SIZE + 2 * SECRET_MAX + 3)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int descriptor = -1; /* open as long as the process */

static void open_file(void)
{
#if defined(__GLIBC__)
    const char *path = secure_getenv("SSLKEYLOGFILE");
#else
    const char *path =
        getuid() == geteuid() && getgid() == getegid() ? getenv("SSLKEYLOGFILE") : NULL;
#endif

    if (path != NULL && path[0] != '\0')
        descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

bool hws_keylog_is_on(void)
{
    pthread_once(&once, open_file);
    return descriptor >= 0;
}

static char *put_hex(char *to, const unsigned char *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    size_t i;

    for (i = 0; i < size; i++) {
        *to++ = digits[bytes[i] >> 4];
        *to++ = digits[bytes[i] & 15];
    }
    return to;
}

static void write_line(const char *line, size_t size)
{
    /* In one write, so that the lines of several processes do not mix. A full disk loses some. */
    ssize_t written = write(descriptor, line, size);

    (void)written;
}

void hws_keylog_write(const char *label, const unsigned char *random, const unsigned char *secret,
                      size_t size)
{
    char line[LINE_MAX_SIZE];
    char *to = line;
    size_t length = strlen(label);

    if (!hws_keylog_is_on() || size > SECRET_MAX || length > LABEL_MAX)
        return;
    memcpy(to, label, length);
    to += length;
    *to++ = ' ';
    to = put_hex(to, random, RANDOM_SIZE);
    *to++ = ' ';
    to = put_hex(to, secret, size);
    *to++ = '\n';
    write_line(line, (size_t)(to - line));
}

void hws_keylog_write_text(const char *text)
{
    char line[LINE_MAX_SIZE];
    size_t size = strlen(text);

    if (!hws_keylog_is_on() || size >= sizeof(line))
        return;
    memcpy(line, text, size + 1);
    line[size] = '\n';
    write_line(line, size + 1);
}
