#include "stream_state.h"

const char *hws_stream_state_name(hws_stream_state_t state)
{
#define NAME(symbol, word) word,
    static const char *const names[] = {HWS_STREAM_STATE_LIST(NAME)};
#undef NAME

    return names[state];
}

hws_stream_state_t hws_stream_state_after(hws_stream_state_t state, hws_stream_event_t event)
{
    if (state == HWS_STREAM_CLOSED || state == HWS_STREAM_ERROR)
        return state;
    switch (event) {
    case HWS_STREAM_OPENED:
        return state == HWS_STREAM_OPENING ? HWS_STREAM_ACTIVE : state;
    case HWS_STREAM_LOCAL_END:
        return state == HWS_STREAM_HALF_CLOSED_REMOTE ? HWS_STREAM_CLOSED
                                                      : HWS_STREAM_HALF_CLOSED_LOCAL;
    case HWS_STREAM_REMOTE_END:
        return state == HWS_STREAM_HALF_CLOSED_LOCAL ? HWS_STREAM_CLOSED
                                                     : HWS_STREAM_HALF_CLOSED_REMOTE;
    case HWS_STREAM_GIVEN_UP:
        return HWS_STREAM_CLOSED;
    case HWS_STREAM_FAILED:
    case HWS_STREAM_EVENTS:
        break;
    }
    return HWS_STREAM_ERROR;
}
