/* roots.h - where this system keeps the certificates that it trusts.
 *
 * SSL_CERT_FILE and SSL_CERT_DIR, which OpenSSL, Go and curl know, go before the places that
 * distributions use; a program that runs with another's privileges ignores them. */
#ifndef HWS_TRANSPORT_ROOTS_H
#define HWS_TRANSPORT_ROOTS_H

#include <stdbool.h>
#include <stddef.h>

/* Either may be "". With both, all of both counts. */
typedef struct {
    char file[1024];    /* many certificates, as PEM */
    char folders[1024]; /* with a certificate in each file, ":" between */
} hws_roots_t;

/* Asks the environment and the file system. False when there is nothing of the kind. */
bool hws_roots_find(hws_roots_t *out);
/* The same over other places: `files` and `folders` end with NULL, the first that is there is taken;
 * the first two stand for the variables and may be NULL or "". */
bool hws_roots_choose(const char *cert_file, const char *cert_dir, const char *const *files,
                      const char *const *folders, hws_roots_t *out);

#endif
