#include "transport/tls_openssl.h"

#include "transport/tls_pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* What certificates are added to, and how many they are. */
typedef struct {
    X509_STORE *store;
    size_t count;
} collection_t;

int hws_openssl_add_certificates(X509_STORE *store, const char *text, size_t size, size_t *count)
{
    BIO *bio = BIO_new_mem_buf(text, (int)size);
    int reason = ERR_R_MALLOC_FAILURE;

    if (bio == NULL) {
        ERR_clear_error();
        return HWS_ERR_NOMEM;
    }
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
static int add_file(const char *path, collection_t *to)
{
    hws_pem_t pem = {NULL, 0};
    int rc = hws_pem_load("ca", (hws_slice_t){path, strlen(path)}, &pem, NULL);

    if (rc == HWS_OK)
        rc = hws_openssl_add_certificates(to->store, pem.text, pem.size - 1, &to->count);
    hws_pem_forget(&pem);
    return rc == HWS_ERR_NOMEM ? rc : HWS_OK;
}

static int add_folder(const char *folder, void *user)
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
        rc = add_file(path, user);
    }
    closedir(entries);
    return rc;
}

static void free_store(void *parsed)
{
    X509_STORE_free(parsed);
}

static int parse(const hws_roots_t *places, void **out)
{
    collection_t all = {X509_STORE_new(), 0};
    int rc = all.store != NULL ? HWS_OK : HWS_ERR_NOMEM;

    if (rc == HWS_OK && places->file[0] != '\0')
        rc = add_file(places->file, &all);
    if (rc == HWS_OK)
        rc = hws_roots_each_folder(places, add_folder, &all);
    if (rc == HWS_OK && all.count == 0)
        rc = HWS_END;
    if (rc == HWS_OK)
        *out = all.store;
    else
        free_store(all.store);
    return rc;
}

const hws_roots_engine_t hws_openssl_roots = {
    .is_shared = true, .parse = parse, .free = free_store};
