/* drain() of managers and upstreams. */
#include "lua_error.h"
#include "lua_manager.h"
#include "lua_wait.h"

/* The core tells the end of a drain even when nobody waits for it any more. */
typedef struct {
    hws_list_t link; /* in hwl_t.drains */
    hwl_wait_t *wait;
    int status;
} hwl_drain_t;

static void on_done(void *user, int status)
{
    hwl_drain_t *drain = user;
    hwl_wait_t *wait = drain->wait;

    hws_list_remove(&drain->link);
    if (wait == NULL) {
        hws_free(drain);
        return;
    }
    drain->status = status;
    hwl_wait_end(wait);
}

static int push(lua_State *L, hwl_wait_t *wait)
{
    hwl_drain_t *drain = wait->subject;

    if (drain->status != HWS_OK)
        return hwl_error_fail_code(L, wait->lua, drain->status, NULL);
    lua_pushboolean(L, 1);
    return 1;
}

static void cancel(hwl_wait_t *wait)
{
    hwl_wait_settle(wait, HWS_ERR_CANCELED, HWL_NO_PHASE, NULL);
}

static void leave(hwl_wait_t *wait)
{
    hwl_drain_t *drain = wait->subject;

    drain->wait = NULL;
    if (!hws_list_is_linked(&drain->link))
        hws_free(drain);
}

int hwl_drain(lua_State *L, hwl_t *lua, hws_manager_t *manager, hws_upstream_t *upstream)
{
    static const hwl_operation_t operation = {
        .push = push,
        .cancel = cancel,
        .leave = leave,
        .phase = HWL_NO_PHASE,
    };
    bool has_span = !lua_isnoneornil(L, 2) && !lua_isfunction(L, 2);
    hws_time_t span = has_span ? hwl_check_span(L, "the time to drain", 2, 0, false) : 0;
    int callback = hwl_check_callback_after(L, 2);
    hwl_drain_t *drain;
    hws_error_t why = hwl_error_make(HWS_ERR_FORKED, HWL_NO_PHASE, NULL);
    hwl_wait_t local;
    hwl_wait_t *wait = hwl_wait_begin(L, lua, callback, &local);

    if (wait == NULL)
        return hwl_wait_refused(L, lua);
    if (hws_loop_is_forked(hws_manager_loop(manager)))
        return hwl_wait_fail(L, wait, &why);
    hwl_wait_anchor(L, wait, 1);
    why.code = HWS_ERR_NOMEM;
    if ((drain = hws_zalloc(sizeof(*drain))) == NULL)
        return hwl_wait_fail(L, wait, &why);
    if (has_span && span == 0)
        span = 1; /* to the core, 0 is its default */
    why.code = upstream != NULL ? hws_upstream_drain(upstream, span, on_done, drain)
                                : hws_manager_drain(manager, span, on_done, drain);
    if (why.code != HWS_OK) {
        hws_free(drain);
        return hwl_wait_fail(L, wait, &why);
    }
    drain->wait = wait;
    hws_list_push_back(&lua->drains, &drain->link);
    return hwl_wait_for(L, wait, &operation, drain);
}

void hwl_drains_abandon(hwl_t *lua)
{
    HWS_LIST_EACH(link, &lua->drains) {
        hwl_drain_t *drain = HWS_CONTAINER(link, hwl_drain_t, link);

        if (drain->wait != NULL)
            hwl_wait_abandon(drain->wait);
    }
}
