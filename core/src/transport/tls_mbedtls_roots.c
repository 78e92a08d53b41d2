#include "transport/tls_mbedtls.h"

#include "base/error.h"
#include "base/memory.h"

#include <pthread.h>
#include <string.h>

static pthread_mutex_t roots_lock = PTHREAD_MUTEX_INITIALIZER;
static hws_list_t all_roots = {&all_roots, &all_roots};

static bool are_same_places(const hws_roots_t *a, const hws_roots_t *b)
{
    return strcmp(a->file, b->file) == 0 && strcmp(a->folders, b->folders) == 0;
}

static hws_mbedtls_roots_t *find_roots(const hws_roots_t *places)
{
#if defined(MBEDTLS_THREADING_C)
    HWS_LIST_EACH(link, &all_roots) {
        hws_mbedtls_roots_t *roots = HWS_CONTAINER(link, hws_mbedtls_roots_t, link);

        if (are_same_places(&roots->places, places))
            return roots;
    }
#else
    /* Without its mutexes, mbedTLS cannot use one RSA key in two threads. */
    (void)are_same_places;
    (void)places;
#endif
    return NULL;
}

static void parse_folders(const char *folders, mbedtls_x509_crt *chain)
{
    char path[sizeof(((hws_roots_t *)NULL)->folders)];

    while (*folders != '\0') {
        size_t size = strcspn(folders, ":");

        memcpy(path, folders, size);
        path[size] = '\0';
        if (size > 0)
            mbedtls_x509_crt_parse_path(chain, path);
        folders += size + (folders[size] == ':');
    }
}

/* Certificates that mbedTLS cannot read are passed over: every distribution has some. */
static int parse_roots(const hws_roots_t *places, mbedtls_x509_crt *chain, hws_error_t *why)
{
    int ret = 0;

    if (places->file[0] != '\0')
        ret = mbedtls_x509_crt_parse_file(chain, places->file);
    if (hws_mbedtls_is_out_of_memory(ret))
        return HWS_ERR_NOMEM;
    parse_folders(places->folders, chain);
    if (chain->version == 0)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "ca: no certificates in %.60s",
                           places->file[0] != '\0' ? places->file : places->folders);
    return HWS_OK;
}

static int make_roots(const hws_roots_t *places, hws_mbedtls_roots_t **out, hws_error_t *why)
{
    hws_mbedtls_roots_t *roots = hws_zalloc(sizeof(*roots));
    int rc;

    if (roots == NULL)
        return HWS_ERR_NOMEM;
    roots->places = *places;
    mbedtls_x509_crt_init(&roots->chain);
    if ((rc = parse_roots(places, &roots->chain, why)) != HWS_OK) {
        mbedtls_x509_crt_free(&roots->chain);
        hws_free(roots);
        return rc;
    }
    hws_list_push_front(&all_roots, &roots->link);
    *out = roots;
    return HWS_OK;
}

int hws_mbedtls_roots_hold(hws_mbedtls_roots_t **out, hws_error_t *why)
{
    hws_roots_t places;
    hws_mbedtls_roots_t *roots;
    int rc = HWS_OK;

    if (!hws_roots_find(&places))
        return hws_explain(why, HWS_ERR_TLS_OPTIONS,
                           "ca: this system has no roots that we know of; give a file");
    pthread_mutex_lock(&roots_lock);
    if ((roots = find_roots(&places)) != NULL ||
        (rc = make_roots(&places, &roots, why)) == HWS_OK) {
        roots->count++;
        *out = roots;
    }
    pthread_mutex_unlock(&roots_lock);
    return rc;
}

void hws_mbedtls_roots_release(hws_mbedtls_roots_t *roots)
{
    pthread_mutex_lock(&roots_lock);
    if (--roots->count == 0) {
        hws_list_remove(&roots->link);
        mbedtls_x509_crt_free(&roots->chain);
        hws_free(roots);
    }
    pthread_mutex_unlock(&roots_lock);
}
