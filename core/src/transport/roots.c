#include "transport/roots.h"

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
