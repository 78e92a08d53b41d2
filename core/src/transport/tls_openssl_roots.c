#include "transport/tls_openssl.h"

#include "base/error.h"
#include "base/memory.h"
#include "transport/tls_pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t roots_lock = PTHREAD_MUTEX_INITIALIZER;
static hws_list_t all_roots = {&all_roots, &all_roots};

static hws_openssl_roots_t *find_roots(const hws_roots_t *places)
{
    HWS_LIST_EACH(link, &all_roots) {
        hws_openssl_roots_t *roots = HWS_CONTAINER(link, hws_openssl_roots_t, link);

        if (strcmp(roots->places.file, places->file) == 0 &&
            strcmp(roots->places.folders, places->folders) == 0)
            return roots;
    }
    return NULL;
}

int hws_openssl_add_certificates(X509_STORE *store, const char *text, size_t size, size_t *count)
{
    BIO *bio = BIO_new_mem_buf(text, (int)size);
    int reason = ERR_R_MALLOC_FAILURE;

    if (bio == NULL)
        return HWS_ERR_NOMEM;
    do {
        X509 *certificate;

        ERR_clear_error();
        reason = 0;
        if ((certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) == NULL)
            reason = ERR_GET_REASON(ERR_peek_last_error());
        else if (X509_STORE_add_cert(store, certificate) != 1)
            reason = ERR_R_MALLOC_FAILURE;
        else
            (*count)++;
        X509_free(certificate);
    } while (reason != PEM_R_NO_START_LINE && reason != ERR_R_MALLOC_FAILURE);
    BIO_free(bio);
    ERR_clear_error();
    return reason == ERR_R_MALLOC_FAILURE ? HWS_ERR_NOMEM : HWS_OK;
}

/* A file that cannot be read has none. */
static int add_file(const char *path, X509_STORE *store, size_t *count)
{
    hws_pem_t pem = {NULL, 0};
    int rc = hws_pem_load("ca", (hws_slice_t){path, strlen(path)}, &pem, NULL);

    if (rc == HWS_OK)
        rc = hws_openssl_add_certificates(store, pem.text, pem.size - 1, count);
    hws_pem_forget(&pem);
    return rc == HWS_ERR_NOMEM ? rc : HWS_OK;
}

static int add_folder(const char *folder, X509_STORE *store, size_t *count)
{
    char path[sizeof(((hws_roots_t *)NULL)->folders) + sizeof(((struct dirent *)NULL)->d_name) + 1];
    DIR *entries = opendir(folder);
    struct dirent *entry;
    int rc = HWS_OK;

    if (entries == NULL)
        return HWS_OK;
    while (rc == HWS_OK && (entry = readdir(entries)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        rc = add_file(path, store, count);
    }
    closedir(entries);
    return rc;
}

static int add_folders(const char *folders, X509_STORE *store, size_t *count)
{
    char folder[sizeof(((hws_roots_t *)NULL)->folders)];
    int rc = HWS_OK;

    while (rc == HWS_OK && *folders != '\0') {
        size_t size = strcspn(folders, ":");

        memcpy(folder, folders, size);
        folder[size] = '\0';
        if (size > 0)
            rc = add_folder(folder, store, count);
        folders += size + (folders[size] == ':');
    }
    return rc;
}

static int parse_roots(const hws_roots_t *places, X509_STORE *store, hws_error_t *why)
{
    size_t count = 0;
    int rc = HWS_OK;

    if (places->file[0] != '\0')
        rc = add_file(places->file, store, &count);
    if (rc != HWS_OK || (rc = add_folders(places->folders, store, &count)) != HWS_OK)
        return rc;
    if (count == 0)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "ca: no certificates in %.60s",
                           places->file[0] != '\0' ? places->file : places->folders);
    return HWS_OK;
}

static int make_roots(const hws_roots_t *places, hws_openssl_roots_t **out, hws_error_t *why)
{
    hws_openssl_roots_t *roots = hws_zalloc(sizeof(*roots));
    int rc = HWS_ERR_NOMEM;

    if (roots == NULL)
        return HWS_ERR_NOMEM;
    roots->places = *places;
    if ((roots->store = X509_STORE_new()) == NULL ||
        (rc = parse_roots(places, roots->store, why)) != HWS_OK) {
        X509_STORE_free(roots->store);
        hws_free(roots);
        return rc;
    }
    hws_list_push_front(&all_roots, &roots->link);
    *out = roots;
    return HWS_OK;
}

int hws_openssl_roots_hold(hws_openssl_roots_t **out, hws_error_t *why)
{
    hws_roots_t places;
    hws_openssl_roots_t *roots;
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

void hws_openssl_roots_release(hws_openssl_roots_t *roots)
{
    pthread_mutex_lock(&roots_lock);
    if (--roots->count == 0) {
        hws_list_remove(&roots->link);
        X509_STORE_free(roots->store);
        hws_free(roots);
    }
    pthread_mutex_unlock(&roots_lock);
}
