#include "support/fault_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

enum { PORT_COUNT = 8, NAME_SIZE = 16 };

static struct {
    char name[NAME_SIZE];
    int number;
} ports[PORT_COUNT];
static int port_count;
static pid_t pid;
static int input; /* faultd lives as long as this is open */

static void fail(const char *what)
{
    fprintf(stderr, "faultd: cannot %s\n", what);
    exit(1);
}

/* It lies beside the folder of the test program. */
static void run_faultd(const int in[2], const int out[2])
{
    char path[4096 + sizeof("/faultd")];
    size_t size = 4096;
    char *slash;

    if (uv_exepath(path, &size) != 0)
        _exit(1);
    for (int i = 0; i < 2; i++)
        if ((slash = strrchr(path, '/')) != NULL)
            *slash = '\0';
    strcat(path, "/faultd");
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    close(in[1]);
    close(out[0]);
    execl(path, path, (char *)NULL);
    _exit(1);
}

static void read_ports(FILE *lines)
{
    char line[64];

    while (fgets(line, sizeof(line), lines) != NULL) {
        if (strcmp(line, "ready\n") == 0)
            return;
        if (port_count < PORT_COUNT &&
            sscanf(line, "%15s %d", ports[port_count].name, &ports[port_count].number) == 2)
            port_count++;
    }
    fail("start");
}

void fault_server_start(void)
{
    int in[2], out[2];
    FILE *lines;

    if (pipe(in) != 0 || pipe(out) != 0 || (pid = fork()) < 0)
        fail("fork");
    if (pid == 0)
        run_faultd(in, out);
    close(in[0]);
    close(out[1]);
    input = in[1];
    port_count = 0;
    if ((lines = fdopen(out[0], "r")) == NULL)
        fail("read");
    read_ports(lines);
    fclose(lines);
}

void fault_server_stop(void)
{
    close(input);
    waitpid(pid, NULL, 0);
}

char *fault_server_url(char *url, size_t size, const char *scheme, const char *port,
                       const char *path)
{
    for (int i = 0; i < port_count; i++) {
        if (strcmp(ports[i].name, port) == 0) {
            snprintf(url, size, "%s127.0.0.1:%d%s", scheme, ports[i].number, path);
            return url;
        }
    }
    fail(port);
    return NULL;
}
