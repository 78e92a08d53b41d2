/* get.c - fetches a URL with the installed library.
 *
 *     make && ./get http://127.0.0.1:8080/
 *
 * The order of things: a loop, a manager on it, requests; the loop turns until the callback has
 * seen the end of the request. */
#include <hawser/hawser.h>

#include <stdio.h>
#include <string.h>

typedef struct {
    bool is_over;
    int exit_status;
} fetch_t;

static int print_error(const hws_error_t *error)
{
    char line[512];

    fprintf(stderr, "get: %s\n", hws_error_line(error, line, sizeof(line)));
    return 1;
}

static void print_response(const hws_response_t *response)
{
    const hws_head_t *head = response->head;

    printf("%d %.*s\n", head->status, (int)head->reason_size, head->bytes + head->reason);
    for (uint32_t i = 0; i < head->count; i++) {
        hws_slice_t name = hws_head_name(head, i), value = hws_head_value(head, i);

        printf("%.*s: %.*s\n", (int)name.size, name.data, (int)value.size, value.data);
    }
    putchar('\n');
    fwrite(response->body.data, 1, response->body.size, stdout);
}

/* Called once, when there is a response or an error; never from inside hws_request_start(). */
static void on_done(hws_request_t *request, void *user)
{
    fetch_t *fetch = user;
    const hws_response_t *response = hws_request_response(request);

    fetch->is_over = true;
    if (response != NULL)
        print_response(response);
    else
        fetch->exit_status = print_error(hws_request_error(request));
}

/* Begins the request, and lets the loop turn until it is over. */
static int get(hws_loop_t *loop, hws_manager_t *manager, const char *url)
{
    fetch_t fetch = {false, 0};
    hws_request_options_t options;
    hws_upstream_t *upstream;
    hws_request_t *request;
    hws_error_t why;

    hws_request_options_init(&options);
    options.timeout = HWS_S(5);
    options.on_done = on_done;
    options.user = &fetch;

    /* A URL's upstream is made when it is first needed, and collected when it is idle. */
    hws_slice_t whole = {url, strlen(url)};
    if (hws_manager_origin(manager, whole, &upstream, &options.target, &why) != HWS_OK ||
        hws_request_start(upstream, &options, &request, &why) != HWS_OK)
        return print_error(&why);

    while (!fetch.is_over)
        hws_loop_run(loop, true);
    hws_request_destroy(request);
    return fetch.exit_status;
}

int main(int argc, char **argv)
{
    hws_manager_options_t options;
    hws_manager_t *manager = NULL;
    hws_loop_t *loop = NULL;
    int exit_status = 1;

    if (argc != 2) {
        fprintf(stderr, "usage: get URL\n");
        return 2;
    }
    hws_manager_options_init(&options);
    if (hws_loop_create(&loop) == HWS_OK &&
        hws_manager_create(loop, &options, &manager, NULL) == HWS_OK)
        exit_status = get(loop, manager, argv[1]);
    hws_manager_destroy(manager);
    hws_loop_destroy(loop);
    return exit_status;
}
