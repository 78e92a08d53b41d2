#include "transport/roots.h"

#include "base/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const usual_files[] = {
    "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Arch, Gentoo, Alpine */
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* Fedora, RHEL */
    "/etc/pki/tls/certs/ca-bundle.crt",                  /* Fedora, RHEL before */
    "/etc/ssl/ca-bundle.pem",                            /* openSUSE */
    "/etc/ssl/cert.pem",                                 /* macOS, OpenBSD, FreeBSD, Alpine */
    "/usr/local/etc/ssl/cert.pem",                       /* FreeBSD */
    "/usr/local/share/certs/ca-root-nss.crt",            /* FreeBSD before 14, DragonFly */
    "/etc/openssl/certs/ca-certificates.crt",            /* NetBSD */
    "/opt/homebrew/etc/ca-certificates/cert.pem",        /* Homebrew */
    "/usr/local/etc/ca-certificates/cert.pem",           /* Homebrew, Intel */
    NULL,
};

static const char *const usual_folders[] = {
    "/etc/ssl/certs",               /* Debian, openSUSE */
    "/etc/pki/tls/certs",           /* Fedora, RHEL */
    "/etc/openssl/certs",           /* NetBSD */
    "/system/etc/security/cacerts", /* Android */
    NULL,
};

static bool copy(char *to, size_t size, const char *from)
{
    size_t length = strlen(from);

    if (length >= size)
        return false;
    memcpy(to, from, length + 1);
    return true;
}

static bool copy_first(char *to, size_t size, const char *const *paths)
{
    for (; *paths != NULL; paths++)
        if (access(*paths, R_OK) == 0)
            return copy(to, size, *paths);
    return false;
}

bool hws_roots_choose(const char *cert_file, const char *cert_dir, const char *const *files,
                      const char *const *folders, hws_roots_t *out)
{
    bool has_file = cert_file != NULL && cert_file[0] != '\0';
    bool has_folders = cert_dir != NULL && cert_dir[0] != '\0';

    out->file[0] = out->folders[0] = '\0';
    if (has_file && !copy(out->file, sizeof(out->file), cert_file))
        return false;
    if (has_folders && !copy(out->folders, sizeof(out->folders), cert_dir))
        return false;
    /* Whoever names one place means that one, even if it cannot be read. */
    if (has_file || has_folders)
        return true;
    return copy_first(out->file, sizeof(out->file), files) ||
           copy_first(out->folders, sizeof(out->folders), folders);
}

static const char *variable(const char *name)
{
#if defined(__GLIBC__)
    return secure_getenv(name);
#else
    return getuid() == geteuid() && getgid() == getegid() ? getenv(name) : NULL;
#endif
}

bool hws_roots_find(hws_roots_t *out)
{
    return hws_roots_choose(variable("SSL_CERT_FILE"), variable("SSL_CERT_DIR"), usual_files,
                            usual_folders, out);
}

int hws_roots_each_folder(const hws_roots_t *roots, int (*visit)(const char *folder, void *user),
                          void *user)
{
    char folder[sizeof(roots->folders)];
    const char *at = roots->folders;
    int rc = HWS_OK;

    while (rc == HWS_OK && *at != '\0') {
        size_t size = strcspn(at, ":");

        memcpy(folder, at, size);
        folder[size] = '\0';
        if (size > 0)
            rc = visit(folder, user);
        at += size + (at[size] == ':');
    }
    return rc;
}

/* ---- parsed ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static hws_list_t all = {&all, &all};

static hws_parsed_roots_t *find_parsed(const hws_roots_engine_t *engine, const hws_roots_t *places)
{
    if (!engine->is_shared)
        return NULL;
    HWS_LIST_EACH(link, &all) {
        hws_parsed_roots_t *roots = HWS_CONTAINER(link, hws_parsed_roots_t, link);

        if (roots->engine == engine && strcmp(roots->places.file, places->file) == 0 &&
            strcmp(roots->places.folders, places->folders) == 0)
            return roots;
    }
    return NULL;
}

static int parse(const hws_roots_engine_t *engine, const hws_roots_t *places,
                 hws_parsed_roots_t **out, hws_error_t *why)
{
    hws_parsed_roots_t *roots = hws_zalloc(sizeof(*roots));
    int rc;

    if (roots == NULL)
        return HWS_ERR_NOMEM;
    roots->engine = engine;
    roots->places = *places;
    if ((rc = engine->parse(places, &roots->parsed)) != HWS_OK) {
        hws_free(roots);
        if (rc != HWS_END)
            return rc;
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "ca: no certificates in %.60s",
                           places->file[0] != '\0' ? places->file : places->folders);
    }
    hws_list_push_front(&all, &roots->link);
    *out = roots;
    return HWS_OK;
}

int hws_roots_hold(const hws_roots_engine_t *engine, hws_parsed_roots_t **out, hws_error_t *why)
{
    hws_roots_t places;
    hws_parsed_roots_t *roots;
    int rc = HWS_OK;

    if (!hws_roots_find(&places))
        return hws_explain(why, HWS_ERR_TLS_OPTIONS,
                           "ca: this system has no roots that we know of; give a file");
    pthread_mutex_lock(&lock);
    roots = find_parsed(engine, &places);
    if (roots == NULL)
        rc = parse(engine, &places, &roots, why);
    if (roots != NULL) {
        roots->count++;
        *out = roots;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

void hws_roots_release(hws_parsed_roots_t *roots)
{
    if (roots == NULL)
        return;
    pthread_mutex_lock(&lock);
    if (--roots->count == 0) {
        hws_list_remove(&roots->link);
        roots->engine->free(roots->parsed);
        hws_free(roots);
    }
    pthread_mutex_unlock(&lock);
}
