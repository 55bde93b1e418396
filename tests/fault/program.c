/* Does to files what its arguments say, for tests of the shim itself:
 *
 *   write PATH TEXT     make or cut the file, and write
 *   append PATH TEXT    to a file that is there
 *   scatter PATH TEXT   the same, each byte from a place of its own
 *   sync PATH           a file or a directory
 *   move PATH PATH, link PATH PATH, remove PATH, mkdir PATH, rmdir PATH
 *   crowd PATH COUNT    that many threads append ten lines each
 *
 * Stops at the first that fails and says why. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CROWD_MAX = 16 };

static int put(const char *path, int flags, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0640);

    if (fd < 0)
        return -1;
    ssize_t length = (ssize_t)strlen(text);
    ssize_t written = write(fd, text, (size_t)length);
    if (written >= 0 && written < length)
        errno = ENODATA;
    return close(fd) || written != length ? -1 : 0;
}

static int scatter(const char *path, const char *text)
{
    struct iovec vector[8];
    int count = 0, fd = open(path, O_WRONLY | O_APPEND);

    if (fd < 0)
        return -1;
    for (; text[count] && count < 8; count++)
        vector[count] = (struct iovec){(char *)text + count, 1};
    ssize_t written = writev(fd, vector, count);
    return close(fd) || written < 0 ? -1 : 0;
}

static int sync_one(const char *path, const char *unused)
{
    (void)unused;
    int fd = open(path, O_RDONLY);

    if (fd < 0)
        return -1;
    int result = fsync(fd);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

static void *append_lines(void *path)
{
    for (int line = 0; line < 10; line++)
        put(path, O_APPEND, "line\n");
    return NULL;
}

static int crowd(const char *path, const char *number)
{
    pthread_t threads[CROWD_MAX];
    int count = atoi(number);

    if (count > CROWD_MAX)
        return -1;
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, append_lines, (void *)path))
            return -1;
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

static int create(const char *path, const char *text)
{
    return put(path, O_CREAT | O_TRUNC, text);
}

static int append(const char *path, const char *text)
{
    return put(path, O_APPEND, text);
}

static int make_directory(const char *path, const char *unused)
{
    (void)unused;
    return mkdir(path, 0755);
}

static int remove_directory(const char *path, const char *unused)
{
    (void)unused;
    return rmdir(path);
}

static int remove_file(const char *path, const char *unused)
{
    (void)unused;
    return unlink(path);
}

static const struct {
    const char *word;
    int arguments;
    int (*function)(const char *, const char *);
} words[] = {
    {"write", 2, create},    {"append", 2, append},          {"scatter", 2, scatter},
    {"sync", 1, sync_one},   {"move", 2, rename},            {"link", 2, link},
    {"remove", 1, remove_file}, {"mkdir", 1, make_directory}, {"rmdir", 1, remove_directory},
    {"crowd", 2, crowd},
};

int main(int count, char **arguments)
{
    for (int at = 1; at < count;) {
        size_t word = 0;

        while (word < sizeof words / sizeof *words && strcmp(words[word].word, arguments[at]))
            word++;
        if (word == sizeof words / sizeof *words || at + words[word].arguments >= count) {
            fprintf(stderr, "%s: not understood\n", arguments[at]);
            return 2;
        }
        const char *second = words[word].arguments == 2 ? arguments[at + 2] : NULL;
        if (words[word].function(arguments[at + 1], second)) {
            fprintf(stderr, "%s: %s\n", words[word].word, strerror(errno));
            return 1;
        }
        at += 1 + words[word].arguments;
    }
    return 0;
}
