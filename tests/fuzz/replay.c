/* Runs a fuzzer's function over every file of the folders given: its corpus as a test, without libFuzzer. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

static int replay_file(const char *path)
{
    struct stat info;
    FILE *file = fopen(path, "rb");
    uint8_t *data;
    size_t size;

    if (!file || fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode)) {
        fprintf(stderr, "cannot read %s\n", path);
        if (file)
            fclose(file);
        return -1;
    }
    /* Exactly as large as the input, so that the address sanitizer sees a read past its end. */
    data = malloc((size_t)info.st_size + (info.st_size == 0));
    size = data ? fread(data, 1, (size_t)info.st_size, file) : 0;
    fclose(file);
    if (!data)
        return -1;
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

static int replay_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int number = 0;

    if (!dir) {
        perror(folder);
        return -1;
    }
    while ((entry = readdir(dir))) {
        char path[4096];

        if (entry->d_name[0] == '.')
            continue;
        if (snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) >= (int)sizeof(path) ||
            replay_file(path) != 0) {
            number = -1;
            break;
        }
        printf("ok %d - %s\n", ++number, entry->d_name);
        fflush(stdout);
    }
    closedir(dir);
    return number;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (replay_folder(argv[i]) <= 0)
            return 1; /* an empty corpus tests nothing */
    }
    return argc > 1 ? 0 : 1;
}
