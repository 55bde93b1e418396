/* See shadow.h. System calls are made directly: what goes through the C
 * library's functions would come back here. */
#define _GNU_SOURCE
#include "shadow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *shadow;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void adopt_file(const char *path, const struct stat *status);
static void stage_file(const char *path);
static void stage_directory(const char *path);
static int stage(void);
static void install(const char *kind, ino_t inode);
static void mark_touched(ino_t inode);
static int is_there(const char *kind, ino_t inode);
static void take_away(const char *kind, ino_t inode);
static void name_part(char path[PATH_SIZE], const char *kind, ino_t inode);
static void give_up(const char *what);

void shadow_begin(const char *directory)
{
    shadow = directory;
}

void shadow_lock(void)
{
    if (shadow)
        pthread_mutex_lock(&lock);
}

void shadow_unlock(void)
{
    if (shadow)
        pthread_mutex_unlock(&lock);
}

int shadow_touch(const char *path, int flags)
{
    struct stat status;
    int saved = errno;

    if (!shadow)
        return 0;
    int is_something = fstatat(AT_FDCWD, path, &status, flags) == 0;
    if (is_something)
        adopt_file(path, &status);
    errno = saved;
    return is_something;
}

void shadow_touch_directory_of(const char *path)
{
    char directory[PATH_SIZE];
    struct stat status;
    size_t length = strlen(path);
    int saved = errno;

    if (!shadow)
        return;
    while (length > 1 && path[length - 1] == '/')
        length--;
    while (length > 0 && path[length - 1] != '/')
        length--;
    memcpy(directory, path, length);
    strcpy(directory + length, ".");
    if (!stat(directory, &status) && !is_there("ns-", status.st_ino)) {
        stage_directory(directory);
        install("ns-", status.st_ino);
    }
    errno = saved;
}

void shadow_made_file(int fd)
{
    struct stat status;
    int saved = errno;

    if (shadow && !fstat(fd, &status) && S_ISREG(status.st_mode)) {
        /* A part under this number is of a file that somebody else removed. */
        take_away("i", status.st_ino);
        mark_touched(status.st_ino);
    }
    errno = saved;
}

void shadow_made_directory(const char *path)
{
    struct stat status;
    int saved = errno;

    if (shadow && !lstat(path, &status)) {
        close(stage());
        install("ns-", status.st_ino);
        mark_touched(status.st_ino);
    }
    errno = saved;
}

ino_t shadow_hold(const char *path)
{
    char held[PATH_SIZE];
    struct stat status;
    int saved = errno;

    if (!shadow || lstat(path, &status) || !S_ISREG(status.st_mode) || status.st_nlink != 1) {
        errno = saved;
        return 0;
    }
    name_part(held, "keep-", status.st_ino);
    if (syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, held, 0))
        give_up(held);
    errno = saved;
    return status.st_ino;
}

void shadow_let_go(ino_t inode)
{
    int saved = errno;

    if (inode)
        take_away("keep-", inode);
    errno = saved;
}

struct sync shadow_sync_begins(int fd)
{
    char path[64];
    struct stat status;
    struct sync sync = {NULL, 0};
    int saved = errno;

    if (!shadow || fstat(fd, &status))
        return sync;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    sync.inode = status.st_ino;
    if (S_ISDIR(status.st_mode)) {
        sync.kind = "ns-";
        stage_directory(path);
    } else if (S_ISREG(status.st_mode)) {
        sync.kind = "i";
        stage_file(path);
    }
    errno = saved;
    return sync;
}

void shadow_sync_succeeded(struct sync sync)
{
    int saved = errno;

    if (sync.kind)
        install(sync.kind, sync.inode);
    errno = saved;
}

/* The first time a file is touched: its bytes are durable as they are. */
static void adopt_file(const char *path, const struct stat *status)
{
    if (is_there("t", status->st_ino))
        return;
    if (S_ISREG(status->st_mode)) {
        stage_file(path);
        install("i", status->st_ino);
        mark_touched(status->st_ino);
    } else if (S_ISDIR(status->st_mode)) {
        mark_touched(status->st_ino);
    }
}

static void mark_touched(ino_t inode)
{
    close(stage());
    install("t", inode);
}

static void write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = syscall(SYS_write, fd, bytes, length);
        if (written < 0)
            give_up("cannot write the shadow");
        bytes += written;
        length -= (size_t)written;
    }
}

static void stage_file(const char *path)
{
    char block[1 << 16];
    ssize_t length;

    int from = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (from < 0)
        give_up(path);
    int to = stage();
    while ((length = read(from, block, sizeof block)) > 0)
        write_all(to, block, (size_t)length);
    if (length < 0)
        give_up(path);
    close(from);
    close(to);
}

static void stage_directory(const char *path)
{
    char line[PATH_SIZE];
    struct dirent *entry;
    struct stat status;

    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory)
        give_up(path);
    int to = stage();
    while ((entry = readdir(directory))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW))
            continue;
        int length = snprintf(line, sizeof line, "%lu %c %s", (unsigned long)status.st_ino,
                              S_ISDIR(status.st_mode) ? 'd' : 'f', entry->d_name);
        write_all(to, line, (size_t)length + 1);
    }
    closedir(directory);
    close(to);
}

/* Begins a part under another name; `install` makes it count. */
static int stage(void)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof path, "%s/stage", shadow);
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
    if (fd < 0)
        give_up(path);
    return fd;
}

static void install(const char *kind, ino_t inode)
{
    char from[PATH_SIZE], to[PATH_SIZE];

    snprintf(from, sizeof from, "%s/stage", shadow);
    name_part(to, kind, inode);
    if (syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0))
        give_up(to);
}

static int is_there(const char *kind, ino_t inode)
{
    char path[PATH_SIZE];

    name_part(path, kind, inode);
    return syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
}

static void take_away(const char *kind, ino_t inode)
{
    char path[PATH_SIZE];

    name_part(path, kind, inode);
    syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

static void name_part(char path[PATH_SIZE], const char *kind, ino_t inode)
{
    snprintf(path, PATH_SIZE, "%s/%s%lu", shadow, kind, (unsigned long)inode);
}

/* A shadow that is wrong would make tests say what is not so. */
static void give_up(const char *what)
{
    char line[PATH_SIZE + 128];
    int length =
        snprintf(line, sizeof line, "fault shim: %s: %s\n", what, strerror(errno));

    syscall(SYS_write, 2, line, length);
    abort();
}
