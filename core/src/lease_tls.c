#include "lease_tls.h"

#include "base/memory.h"
#include "manager.h"
#include "opening.h"
#include "pool/connection.h"
#include "upstream.h"

void hws_lease_end_tls(hws_lease_t *lease, int status)
{
    if (lease->shaking == NULL)
        return;
    hws_shaking_forget(lease->shaking);
    hws_free(lease->shaking);
    lease->shaking = NULL;
    lease->tls_status = status;
    lease->has_tls_ended = true;
    lease->is_tls_late = false;
    lease->is_read_due = true;
    if (status != HWS_OK)
        lease->call.error.phase = HWS_PHASE_TLS;
    else if (lease->opening != NULL)
        lease->opening->phase = HWS_PHASE_CONNECT;
}

void hws_lease_fail_tls(hws_lease_t *lease, hws_close_reason_t why, int code, const char *detail,
                        hws_time_t now)
{
    hws_connection_t *connection = lease->call.stream.connection;
    hws_pool_owner_t *upstream = connection->pool->owner;
    bool is_ours = hws_error_kind(code) == HWS_KIND_CANCELED;

    lease->call.error.phase = HWS_PHASE_TLS;
    hws_call_fail(&lease->call, code, detail, now);
    hws_lease_end_tls(lease, code);
    hws_lease_wake(lease);
    if (lease->opening == NULL) {
        hws_connection_close(connection, why, code, now);
        upstream->on_room(upstream, NULL, now);
        return;
    }
    /* Whoever waits for the connection gave up nothing: to them it is the setup that failed. */
    lease->opening->phase = is_ours ? HWS_PHASE_CONNECT : HWS_PHASE_TLS;
    hws_opening_setup_done(lease->opening, is_ours ? HWS_ERR_SETUP : code,
                           is_ours ? hws_error_text(code) : detail, now);
}

int hws_lease_refuse_tls(hws_lease_t *lease, int code, const char *detail, hws_time_t now)
{
    hws_lease_fail_tls(lease, HWS_CLOSE_ABANDONED, code, detail, now);
    return code;
}

static void on_shaken(void *owner, int status, hws_time_t now)
{
    hws_lease_t *lease = owner;
    char detail[HWS_ERROR_DETAIL_MAX + 1];

    (void)hws_shaking_end(lease->shaking, status, detail, now);
    if (status != HWS_OK) {
        hws_lease_fail_tls(lease, HWS_CLOSE_FAILED, status, detail, now);
        return;
    }
    hws_lease_end_tls(lease, status);
    hws_lease_wake(lease);
    hws_connection_take_over(lease->call.stream.connection);
}

static const hws_socket_events_t shaking_events = {on_shaken, NULL, NULL, NULL};

int hws_lease_begin_tls(hws_lease_t *lease, const hws_tls_options_t *options, hws_time_t now)
{
    hws_connection_t *connection = lease->call.stream.connection;
    hws_time_t span = lease->call.upstream->owner.rules.timeouts.tls;
    hws_error_t why = {.code = HWS_OK};
    hws_shaking_t *shaking = hws_zalloc(sizeof(*shaking));
    int rc = HWS_ERR_NOMEM;

    if (shaking != NULL)
        rc = hws_shaking_start(shaking, lease->call.peer, options, connection->socket,
                               &shaking_events, lease, now, &why);
    if (rc != HWS_OK) {
        hws_free(shaking);
        return hws_lease_refuse_tls(lease, rc, why.code != HWS_OK ? why.detail : NULL, now);
    }
    lease->shaking = shaking;
    if (lease->opening != NULL)
        lease->opening->phase = HWS_PHASE_TLS;
    lease->shaking_until = span != HWS_NEVER ? now + span : HWS_NEVER;
    hws_connection_set_socket(connection, shaking->tunnel);
    return HWS_AGAIN;
}

const char *hws_lease_tls(const hws_lease_t *lease)
{
    const hws_connection_t *connection = lease->call.stream.connection;
    hws_tls_t *tls = connection != NULL ? hws_tunnel_tls(connection->socket) : NULL;

    return tls != NULL && lease->shaking == NULL ? hws_tls_version(tls) : NULL;
}
