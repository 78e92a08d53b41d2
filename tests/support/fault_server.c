#include "support/fault_server.h"

#include "support/program.h"

#include <stdio.h>

static program_t faultd;

void fault_server_start(void)
{
    program_start(&faultd, "faultd");
}

void fault_server_stop(void)
{
    program_stop(&faultd);
}

char *fault_server_url(char *url, size_t size, const char *scheme, const char *port,
                       const char *path)
{
    snprintf(url, size, "%s127.0.0.1:%d%s", scheme, program_port(&faultd, port), path);
    return url;
}
