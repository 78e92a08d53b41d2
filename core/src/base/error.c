#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

typedef struct {
    hws_kind_t kind;
    const char *name;
    const char *text;
} entry_t;

#define ENTRY(symbol, kind, code, text) {HWS_KIND_##kind, code, text},
static const entry_t entries[] = {{HWS_KIND_INVALID, "UNKNOWN", "unknown error"},
                                  HWS_ERROR_LIST(ENTRY)};
#undef ENTRY

#define WORD(symbol, word) word,
static const char *const kinds[] = {HWS_KIND_LIST(WORD)};
static const char *const phases[] = {HWS_PHASE_LIST(WORD)};
#undef WORD

static const entry_t *find(int code)
{
    return &entries[code < 0 && code > -HWS_ERRNO_COUNT ? -code : 0];
}

hws_kind_t hws_error_kind(int code)
{
    return find(code)->kind;
}

const char *hws_kind_name(hws_kind_t kind)
{
    return kinds[kind];
}

const char *hws_error_name(int code)
{
    return find(code)->name;
}

const char *hws_error_text(int code)
{
    return find(code)->text;
}

const char *hws_phase_name(hws_phase_t phase)
{
    return phases[phase];
}

const char *hws_error_line(const hws_error_t *error, char *line, size_t size)
{
    const char *detail = error->detail[0] != '\0' ? error->detail : hws_error_text(error->code);

    snprintf(line, size, "%s: %s [%s] (%s%s%s)", hws_kind_name(hws_error_kind(error->code)), detail,
             hws_error_name(error->code), hws_phase_name(error->phase),
             error->peer[0] != '\0' ? ", " : "", error->peer);
    return line;
}

hws_error_t hws_error_make(int code, hws_phase_t phase)
{
    return (hws_error_t){.code = code, .phase = phase};
}

int hws_explain(hws_error_t *why, int code, const char *format, ...)
{
    va_list arguments;

    if (why == NULL)
        return code;
    *why = hws_error_make(code, HWS_PHASE_QUEUE);
    va_start(arguments, format);
    vsnprintf(why->detail, sizeof(why->detail), format, arguments);
    va_end(arguments);
    return code;
}
