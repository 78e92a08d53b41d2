/* standalone_main.c - runs a fuzz target without libFuzzer.
 *
 * Every argument is a file, or a folder whose files are taken; each goes through the target once.
 * A finding aborts, so coming to the end is the test. Prints how many inputs were run. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fail(const char *path)
{
    perror(path);
    exit(1);
}

static void run_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "rb");
    /* Exactly as long as the input, so that the sanitizer sees one byte read too many. */
    uint8_t *data = malloc(size > 0 ? size : 1);

    if (file == NULL || data == NULL || fread(data, 1, size, file) != size)
        fail(path);
    fclose(file);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
}

static int run_path(const char *path);

static int run_folder(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    int count = 0;

    if (folder == NULL)
        fail(path);
    while ((entry = readdir(folder)) != NULL) {
        char child[4096];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
        count += run_path(child);
    }
    closedir(folder);
    return count;
}

static int run_path(const char *path)
{
    struct stat info;

    if (stat(path, &info) != 0)
        fail(path);
    if (S_ISDIR(info.st_mode))
        return run_folder(path);
    run_file(path, (size_t)info.st_size);
    return 1;
}

int main(int argc, char **argv)
{
    int count = 0;

    for (int i = 1; i < argc; i++)
        count += run_path(argv[i]);
    printf("%d inputs\n", count);
    return count > 0 ? 0 : 1; /* an empty corpus tests nothing */
}
