/* roots.h - where this system keeps the certificates that it trusts, parsed once for the process.
 *
 * SSL_CERT_FILE and SSL_CERT_DIR, which OpenSSL, Go and curl know, go before the places that
 * distributions use; a program that runs with another's privileges ignores them. */
#ifndef HWS_TRANSPORT_ROOTS_H
#define HWS_TRANSPORT_ROOTS_H

#include "base/error.h"
#include "base/list.h"

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
/* Calls `visit` with each of the folders, until it returns another code than HWS_OK; returns that. */
int hws_roots_each_folder(const hws_roots_t *roots, int (*visit)(const char *folder, void *user),
                          void *user);

/* What an engine makes of them. */
typedef struct {
    bool is_shared; /* whether configurations in several threads may use them at once */
    /* HWS_END when there are no certificates, HWS_ERR_NOMEM. Those that it cannot read are passed
     * over: every distribution has some. */
    int (*parse)(const hws_roots_t *places, void **out);
    void (*free)(void *parsed);
} hws_roots_engine_t;

/* Parsed roots, as long as some configuration of the process uses them. */
typedef struct {
    hws_list_t link;
    size_t count; /* configurations that use them */
    const hws_roots_engine_t *engine;
    hws_roots_t places;
    void *parsed; /* the engine's */
} hws_parsed_roots_t;

/* Those of the system, parsed now or before; from any thread. HWS_ERR_TLS_OPTIONS when there are
 * none, HWS_ERR_NOMEM. */
int hws_roots_hold(const hws_roots_engine_t *engine, hws_parsed_roots_t **out, hws_error_t *why);
/* NULL is harmless. */
void hws_roots_release(hws_parsed_roots_t *roots);

#endif
