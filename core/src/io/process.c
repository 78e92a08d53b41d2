#include "io/process.h"

#include <pthread.h>
#include <sys/resource.h>

uint32_t hws_process_forks;

static void in_child(void)
{
    hws_process_forks++;
}

static void watch_forks(void)
{
    /* It fails only for want of memory; a child then is not told apart, as with other libraries. */
    (void)pthread_atfork(NULL, NULL, in_child);
}

uint32_t hws_process_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT32_MAX;
    return limit.rlim_cur < UINT32_MAX ? (uint32_t)limit.rlim_cur : UINT32_MAX;
}

uint32_t hws_process_generation(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static uint32_t watching;

    if (watching == 0) {
        pthread_once(&once, watch_forks);
        watching = 1;
    }
    return hws_process_forks;
}
