#include "transport/tls_pem.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

#define PEM_MAX ((long)16 << 20)

/* Through a pointer that may change at any time, so that no compiler finds it to be without effect. */
static void *(*const volatile wipe)(void *, int, size_t) = memset;

static bool is_pem(hws_slice_t option)
{
    static const char begin[] = "-----BEGIN";
    size_t i;

    for (i = 0; i + sizeof(begin) - 1 <= option.size; i++)
        if (memcmp(option.data + i, begin, sizeof(begin) - 1) == 0)
            return true;
    return false;
}

void hws_pem_forget(hws_pem_t *pem)
{
    if (pem->text != NULL)
        wipe(pem->text, 0, pem->size);
    hws_free(pem->text);
}

static int copy_text(hws_slice_t from, hws_pem_t *out)
{
    char *text = hws_alloc(from.size + 1);

    if (text == NULL)
        return HWS_ERR_NOMEM;
    memcpy(text, from.data, from.size);
    text[from.size] = '\0';
    *out = (hws_pem_t){text, from.size + 1};
    return HWS_OK;
}

static int read_whole(FILE *file, hws_pem_t *out)
{
    long size;
    char *text;

    if (fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0 || size > PEM_MAX)
        return HWS_ERR_TLS_OPTIONS;
    rewind(file);
    if ((text = hws_alloc((size_t)size + 1)) == NULL)
        return HWS_ERR_NOMEM;
    *out = (hws_pem_t){text, fread(text, 1, (size_t)size, file) + 1};
    text[out->size - 1] = '\0';
    return HWS_OK;
}

static int read_file(const char *name, const char *path, hws_pem_t *out, hws_error_t *why)
{
    FILE *file = fopen(path, "rbe");
    int rc;

    if (file == NULL)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "%s: cannot open %.70s", name, path);
    setvbuf(file, NULL, _IONBF, 0); /* no copy of a key stays behind */
    rc = read_whole(file, out);
    fclose(file);
    if (rc == HWS_ERR_TLS_OPTIONS)
        hws_explain(why, rc, "%s: cannot read %.70s", name, path);
    return rc;
}

int hws_pem_load(const char *name, hws_slice_t option, hws_pem_t *out, hws_error_t *why)
{
    hws_pem_t path;
    int rc;

    if (is_pem(option))
        return copy_text(option, out);
    if (memchr(option.data, '\0', option.size) != NULL)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "%s: a path with a NUL", name);
    if ((rc = copy_text(option, &path)) != HWS_OK)
        return rc;
    rc = read_file(name, path.text, out, why);
    hws_free(path.text);
    return rc;
}
