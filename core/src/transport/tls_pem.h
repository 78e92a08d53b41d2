/* tls_pem.h - what an option of TLS holds: PEM itself, or the path of a file with it. */
#ifndef HWS_TRANSPORT_TLS_PEM_H
#define HWS_TRANSPORT_TLS_PEM_H

#include <hawser/error.h>

/* Zeroed it is empty. */
typedef struct {
    char *text;
    size_t size; /* with the NUL behind */
} hws_pem_t;

/* Fills `out` from the option that errors call `name`. HWS_ERR_NOMEM, or HWS_ERR_TLS_OPTIONS with
 * `why->detail`. */
int hws_pem_load(const char *name, hws_slice_t option, hws_pem_t *out, hws_error_t *why);
/* Wipes and frees: it may have been a key. */
void hws_pem_forget(hws_pem_t *pem);

#endif
