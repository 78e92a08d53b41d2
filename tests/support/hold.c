#include "support/hold.h"

#include "support/cmocka.h"

#include <string.h>

static void try_read(hold_t *hold)
{
    hws_slice_t got = {NULL, 0};

    hold->read = hws_lease_read(hold->lease, &hold->want, &got);
    if (hold->read == HWS_OK) {
        hold->size = got.size;
        if (got.size > 0)
            memcpy(hold->bytes, got.data,
                   got.size < sizeof(hold->bytes) ? got.size : sizeof(hold->bytes));
    } else if (hold->read < 0) {
        assert_non_null(hws_lease_error(hold->lease));
        hold->error = *hws_lease_error(hold->lease);
    }
}

static void on_done(hws_lease_t *lease, void *user)
{
    hold_t *hold = user;
    const hws_error_t *error = hws_lease_error(lease);

    assert_int_equal(++hold->done, 1);
    hold->at = hws_loop_now(hws_manager_loop(hws_upstream_manager(hws_lease_upstream(lease))));
    hold->code = error != NULL ? error->code : HWS_OK;
    if (error != NULL)
        hold->error = *error;
    hold->reused = hws_lease_is_reused(lease);
    if (hold->then != NULL)
        hold->then(hold, hold->user);
}

static void on_readable(hws_lease_t *lease, void *user)
{
    hold_t *hold = user;

    (void)lease;
    hold->readable++;
    if (hold->then != NULL)
        hold->then(hold, hold->user);
    if (hold->lease != NULL && hold->read == HWS_AGAIN) {
        try_read(hold);
        /* Unless `then` has read already, and now waits for something else. */
        assert_true(hold->read != HWS_AGAIN || hold->then != NULL);
    }
}

static void on_writable(hws_lease_t *lease, void *user)
{
    hold_t *hold = user;

    (void)lease;
    hold->writable++;
    if (hold->then != NULL)
        hold->then(hold, hold->user);
}

void hold_init(hold_t *hold)
{
    memset(hold, 0, sizeof(*hold));
    hold->options.on_done = on_done;
    hold->options.on_readable = on_readable;
    hold->options.on_writable = on_writable;
    hold->options.user = hold;
    hold->code = HWS_AGAIN;
}

int hold_start(hold_t *hold, hws_upstream_t *upstream)
{
    int rc = hws_lease_acquire(upstream, &hold->options, &hold->lease, &hold->error);

    if (rc != HWS_OK)
        hold->code = rc;
    return rc;
}

void hold_acquire(hold_t *hold, hws_upstream_t *upstream)
{
    hold_init(hold);
    assert_int_equal(hold_start(hold, upstream), HWS_OK);
    assert_int_equal(hold->done, 0);
}

void hold_release(hold_t *hold)
{
    hws_lease_release(hold->lease);
    hold->lease = NULL;
}

void hold_close(hold_t *hold)
{
    hws_lease_close(hold->lease);
    hold->lease = NULL;
}

int hold_read(hold_t *hold, hws_read_mode_t mode, size_t size)
{
    hold->want = (hws_read_t){.mode = mode, .size = size};
    try_read(hold);
    return hold->read;
}

int hold_read_until(hold_t *hold, const char *delimiter, size_t size)
{
    hold->want = (hws_read_t){
        .mode = HWS_READ_UNTIL, .size = size, .delimiter = {delimiter, strlen(delimiter)}};
    try_read(hold);
    return hold->read;
}

bool hold_got(const hold_t *hold, const char *text)
{
    return hold->read == HWS_OK && hold->size == strlen(text) &&
           memcmp(hold->bytes, text, hold->size) == 0;
}

void hold_write(hold_t *hold, const char *text)
{
    size_t taken;

    assert_int_equal(hws_lease_write(hold->lease, text, strlen(text), &taken), HWS_OK);
    assert_int_equal(taken, strlen(text));
}
