#include "support/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

static void fail(const program_t *program, const char *what)
{
    fprintf(stderr, "%s: cannot %s\n", program->name, what);
    exit(1);
}

/* It lies beside the folder of the test program. */
static void run(const program_t *program, const int in[2], const int out[2])
{
    char path[4096 + 64];
    size_t size = 4096;
    char *slash;

    if (uv_exepath(path, &size) != 0)
        _exit(1);
    for (int i = 0; i < 2; i++)
        if ((slash = strrchr(path, '/')) != NULL)
            *slash = '\0';
    size = strlen(path);
    snprintf(path + size, sizeof(path) - size, "/%s", program->name);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    close(in[1]);
    close(out[0]);
    execl(path, path, (char *)NULL);
    _exit(1);
}

static void read_ports(program_t *program, FILE *lines)
{
    char line[64];

    while (fgets(line, sizeof(line), lines) != NULL) {
        int count = program->port_count;

        if (strcmp(line, "ready\n") == 0)
            return;
        if (count < PROGRAM_PORTS &&
            sscanf(line, "%15s %d", program->ports[count].name, &program->ports[count].number) == 2)
            program->port_count++;
    }
    fail(program, "start");
}

void program_start(program_t *program, const char *name)
{
    int in[2], out[2];
    FILE *lines;

    *program = (program_t){.name = name};
    if (pipe(in) != 0 || pipe(out) != 0 || (program->pid = fork()) < 0)
        fail(program, "fork");
    if (program->pid == 0)
        run(program, in, out);
    close(in[0]);
    close(out[1]);
    program->input = in[1];
    if ((lines = fdopen(out[0], "r")) == NULL)
        fail(program, "read");
    read_ports(program, lines);
    fclose(lines);
}

void program_stop(program_t *program)
{
    close(program->input);
    waitpid(program->pid, NULL, 0);
}

uint16_t program_port(const program_t *program, const char *name)
{
    for (int i = 0; i < program->port_count; i++)
        if (strcmp(program->ports[i].name, name) == 0)
            return (uint16_t)program->ports[i].number;
    fail(program, name);
    return 0;
}
