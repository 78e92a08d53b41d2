/* measure.c - what a command costs: measure [-c CPU] command [argument...]
 *
 * Runs the command, on one CPU if told so, and prints one line after all that the command printed:
 *
 *     measure <user µs> <system µs> <largest resident set, KiB> <wall µs>      (separated by tabs)
 *
 * The times are those of the command and of the children it waited for. Exits as the command did;
 * 128 + n if signal n ended it, 127 if it could not be started. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long micros(struct timeval t)
{
    return (long long)t.tv_sec * 1000000 + t.tv_usec;
}

static long long wall_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void pin(int cpu)
{
#ifdef __linux__
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        fprintf(stderr, "measure: cannot pin to CPU %d: %s\n", cpu, strerror(errno));
#else
    (void)cpu;
#endif
}

int main(int argc, char **argv)
{
    struct rusage usage;
    long long start;
    int cpu = -1, status, option;
    pid_t child;

    while ((option = getopt(argc, argv, "+c:")) != -1) {
        if (option != 'c')
            return 2;
        cpu = atoi(optarg);
    }
    if (optind == argc) {
        fprintf(stderr, "usage: measure [-c CPU] command [argument...]\n");
        return 2;
    }

    start = wall_clock();
    child = fork();
    if (child < 0) {
        perror("measure: fork");
        return 127;
    }
    if (child == 0) {
        if (cpu >= 0)
            pin(cpu);
        execvp(argv[optind], argv + optind);
        fprintf(stderr, "measure: %s: %s\n", argv[optind], strerror(errno));
        _exit(127);
    }
    while (wait4(child, &status, 0, &usage) < 0) {
        if (errno != EINTR) {
            perror("measure: wait4");
            return 127;
        }
    }
    printf("measure\t%lld\t%lld\t%ld\t%lld\n", micros(usage.ru_utime), micros(usage.ru_stime),
           usage.ru_maxrss, wall_clock() - start);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
