/* Makes the file system fail where a test wants it to.
 *
 * Preloaded into a program (LD_PRELOAD), it stands between the program and the
 * C library, counts every operation that changes something under a path, over
 * all threads, and makes one of them the last, or fail, or fall short. It also
 * keeps, on request, what of all this would survive a power cut: a process
 * that is killed cannot show a missing fsync, because the kernel still has
 * everything that was written.
 *
 *   FF_MATCH=text     the paths that count are those that contain this
 *   FF_MODE=count     print "FF_OPS=n" on descriptor 2 at exit (the default)
 *   FF_MODE=kill      die of SIGKILL at operation FF_N ...
 *     FF_WHEN=after   ... when it is done, not before it begins
 *   FF_MODE=err       operation FF_N fails with the number FF_ERRNO (5, EIO) ...
 *     FF_STICKY=1     ... and so do all after it
 *     FF_UNTIL=path   ... but none while there is something at this path
 *   FF_MODE=short     operation FF_N, if it writes, writes at most FF_BYTES ...
 *     FF_KILL=1       ... and is then the last
 *   FF_MODE=read      reading, which is not counted, fails with FF_ERRNO ...
 *     FF_UNTIL=path   ... but not while there is something at this path
 *   FF_SHADOW=dir     keep what is durable in this directory: see shadow.h
 *   FF_CALL=text      only calls with this in their name count: sync, rename
 *   FF_TRACE=1        name each operation on descriptor 2, and which one FAILS
 *
 * What it does not see: writing through a memory map, io_uring, system calls
 * that bypass the C library, sync(2) and syncfs(2), and O_SYNC. Programs must
 * be linked dynamically with the GNU C library.
 */
#define _GNU_SOURCE
#include "shadow.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { IOV_SIZE = 64 };

enum mode { COUNT, KILL, ERR, SHORT, READ };

static struct {
    enum mode mode;
    long at;
    long bytes;
    int error;
    int after, sticky, then_kill, trace;
    const char *match, *call, *until;
    pid_t process;
} plan;

static atomic_long operations;

static long number_from(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

__attribute__((constructor)) static void read_plan(void)
{
    const char *mode = getenv("FF_MODE");
    const char *when = getenv("FF_WHEN");

    if (mode && !strcmp(mode, "kill"))
        plan.mode = KILL;
    else if (mode && !strcmp(mode, "err"))
        plan.mode = ERR;
    else if (mode && !strcmp(mode, "short"))
        plan.mode = SHORT;
    else if (mode && !strcmp(mode, "read"))
        plan.mode = READ;
    plan.at = number_from("FF_N", 0);
    plan.bytes = number_from("FF_BYTES", 0);
    plan.error = (int)number_from("FF_ERRNO", EIO);
    plan.after = when && !strcmp(when, "after");
    plan.sticky = getenv("FF_STICKY") != NULL;
    plan.then_kill = getenv("FF_KILL") != NULL;
    plan.trace = getenv("FF_TRACE") != NULL;
    plan.call = getenv("FF_CALL");
    plan.until = getenv("FF_UNTIL");
    shadow_begin(getenv("FF_SHADOW"));
    plan.process = getpid();
    plan.match = getenv("FF_MATCH");
}

__attribute__((destructor)) static void report(void)
{
    char line[64];

    /* A child that was forked and runs no other program reports nothing. */
    if (plan.mode != COUNT || !plan.match || plan.process != getpid())
        return;
    int length = snprintf(line, sizeof line, "FF_OPS=%ld\n", (long)operations);
    syscall(SYS_write, 2, line, length);
}

/* --- Which operation this is, and what becomes of it --------------------- */

enum verdict { RUN, RUN_AND_DIE, SHORTEN, FAIL };

static void die(void)
{
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Whether nothing fails now: the file that says so is there. */
static int is_over(void)
{
    int saved = errno;
    int is_there = plan.until && !syscall(SYS_faccessat, AT_FDCWD, plan.until, F_OK);
    errno = saved;
    return is_there;
}

static void trace(long number, const char *operation, const char *path,
                  enum verdict verdict)
{
    char line[PATH_SIZE + 64];
    const char *fails = verdict == FAIL ? "FAILS " : "";

    if (!plan.trace)
        return;
    int saved = errno;
    int length = snprintf(line, sizeof line, "FF %ld %s%s %s\n", number, fails,
                          operation, path);
    syscall(SYS_write, 2, line, length);
    errno = saved;
}

static enum verdict judge_number(long number)
{
    switch (plan.mode) {
    case COUNT:
    case READ:
        return RUN;
    case KILL:
        /* Other threads must not slip in while the process is dying. */
        if (number > plan.at)
            for (;;)
                pause();
        if (number == plan.at && !plan.after)
            die();
        return number == plan.at ? RUN_AND_DIE : RUN;
    case ERR:
        if ((number == plan.at || (plan.sticky && number > plan.at)) && !is_over()) {
            errno = plan.error;
            return FAIL;
        }
        return RUN;
    case SHORT:
        return number == plan.at ? SHORTEN : RUN;
    }
    return RUN;
}

static enum verdict judge(const char *operation, const char *path)
{
    if (plan.call && !strstr(operation, plan.call)) {
        trace(0, operation, path, RUN);
        return RUN;
    }
    long number = atomic_fetch_add(&operations, 1) + 1;
    enum verdict verdict = judge_number(number);
    trace(number, operation, path, verdict);
    return verdict;
}

/* What comes after an operation that was let through. */
static void conclude(enum verdict verdict)
{
    if (verdict == RUN_AND_DIE || (verdict == SHORTEN && plan.then_kill))
        die();
}

static size_t shortened(enum verdict verdict, size_t bytes)
{
    return verdict == SHORTEN && (size_t)plan.bytes < bytes ? (size_t)plan.bytes : bytes;
}

/* --- Paths ---------------------------------------------------------------- */

/* The path behind a descriptor, if it counts. */
static int fd_matches(int fd, char path[PATH_SIZE])
{
    char link[64];

    if (!plan.match)
        return 0;
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_SIZE - 1);
    errno = saved;
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, plan.match) != NULL;
}

/* Makes a path absolute, without following links in it, and says whether it
 * counts. */
static int path_matches(int directory, const char *name, char path[PATH_SIZE])
{
    char link[64] = "/proc/self/cwd";
    ssize_t length = 0;

    if (!plan.match || !name || strlen(name) >= PATH_MAX)
        return 0;
    if (name[0] != '/') {
        int saved = errno;
        if (directory != AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        length = readlink(link, path, PATH_MAX);
        errno = saved;
        if (length < 0)
            return 0;
        path[length++] = '/';
    }
    strcpy(path + length, name);
    return strstr(path, plan.match) != NULL;
}

/* --- What is put in the place of the C library's functions ---------------- */

#define REAL(name)                                                             \
    static __typeof__(name) *real;                                             \
    if (!real)                                                                 \
    real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* An operation on one descriptor, `fd`. */
#define ON_DESCRIPTOR(type, name, parameters, arguments)                       \
    type name parameters                                                       \
    {                                                                          \
        char path[PATH_SIZE];                                                  \
        REAL(name);                                                            \
        if (!fd_matches(fd, path))                                             \
            return real arguments;                                             \
        enum verdict verdict = judge(#name, path);                             \
        if (verdict == FAIL)                                                   \
            return -1;                                                         \
        type result = real arguments;                                          \
        conclude(verdict);                                                     \
        return result;                                                         \
    }

/* The same, writing `count` bytes, which may be cut. */
#define WRITING(name, parameters, arguments)                                   \
    ssize_t name parameters                                                    \
    {                                                                          \
        char path[PATH_SIZE];                                                  \
        REAL(name);                                                            \
        if (!fd_matches(fd, path))                                             \
            return real arguments;                                             \
        enum verdict verdict = judge(#name, path);                             \
        if (verdict == FAIL)                                                   \
            return -1;                                                         \
        count = shortened(verdict, count);                                     \
        ssize_t result = real arguments;                                       \
        conclude(verdict);                                                     \
        return result;                                                         \
    }

WRITING(write, (int fd, const void *bytes, size_t count), (fd, bytes, count))
WRITING(pwrite, (int fd, const void *bytes, size_t count, off_t at), (fd, bytes, count, at))
WRITING(pwrite64, (int fd, const void *bytes, size_t count, off64_t at), (fd, bytes, count, at))
WRITING(sendfile, (int fd, int from, off_t *at, size_t count), (fd, from, at, count))
WRITING(sendfile64, (int fd, int from, off64_t *at, size_t count), (fd, from, at, count))
WRITING(copy_file_range,
        (int from, off64_t *from_at, int fd, off64_t *at, size_t count, unsigned flags),
        (from, from_at, fd, at, count, flags))
WRITING(splice,
        (int from, off64_t *from_at, int fd, off64_t *at, size_t count, unsigned flags),
        (from, from_at, fd, at, count, flags))

/* The same, with the bytes in several places. */
static int shorten_vector(enum verdict verdict, const struct iovec *from, int count,
                          struct iovec to[IOV_SIZE])
{
    size_t left = (size_t)plan.bytes;
    int used = 0;

    if (verdict != SHORTEN)
        return -1;
    for (; used < count && used < IOV_SIZE && (left > 0 || used == 0); used++) {
        to[used] = from[used];
        if (to[used].iov_len > left)
            to[used].iov_len = left;
        left -= to[used].iov_len;
    }
    return used;
}

#define WRITING_VECTOR(name, parameters, arguments)                            \
    ssize_t name parameters                                                    \
    {                                                                          \
        char path[PATH_SIZE];                                                  \
        struct iovec cut[IOV_SIZE];                                            \
        REAL(name);                                                            \
        if (!fd_matches(fd, path))                                             \
            return real arguments;                                             \
        enum verdict verdict = judge(#name, path);                             \
        if (verdict == FAIL)                                                   \
            return -1;                                                         \
        int used = shorten_vector(verdict, vector, count, cut);                \
        if (used >= 0) {                                                       \
            vector = cut;                                                      \
            count = used;                                                      \
        }                                                                      \
        ssize_t result = real arguments;                                       \
        conclude(verdict);                                                     \
        return result;                                                         \
    }

WRITING_VECTOR(writev, (int fd, const struct iovec *vector, int count), (fd, vector, count))
WRITING_VECTOR(pwritev, (int fd, const struct iovec *vector, int count, off_t at),
               (fd, vector, count, at))
WRITING_VECTOR(pwritev64, (int fd, const struct iovec *vector, int count, off64_t at),
               (fd, vector, count, at))

/* Reading changes nothing, so it is no operation that counts. */
static int reading_fails(int fd)
{
    char path[PATH_SIZE];

    if (plan.mode != READ || !fd_matches(fd, path) || is_over())
        return 0;
    errno = plan.error;
    return 1;
}

#define READING(name, parameters, arguments)                                   \
    ssize_t name parameters                                                    \
    {                                                                          \
        REAL(name);                                                            \
        return reading_fails(fd) ? -1 : real arguments;                        \
    }

READING(read, (int fd, void *bytes, size_t count), (fd, bytes, count))
READING(pread, (int fd, void *bytes, size_t count, off_t at), (fd, bytes, count, at))
READING(pread64, (int fd, void *bytes, size_t count, off64_t at), (fd, bytes, count, at))
READING(readv, (int fd, const struct iovec *vector, int count), (fd, vector, count))

ON_DESCRIPTOR(int, ftruncate, (int fd, off_t length), (fd, length))
ON_DESCRIPTOR(int, ftruncate64, (int fd, off64_t length), (fd, length))
ON_DESCRIPTOR(int, fallocate, (int fd, int mode, off_t at, off_t length), (fd, mode, at, length))
ON_DESCRIPTOR(int, fallocate64, (int fd, int mode, off64_t at, off64_t length),
              (fd, mode, at, length))
ON_DESCRIPTOR(int, sync_file_range, (int fd, off64_t at, off64_t length, unsigned flags),
              (fd, at, length, flags))

/* What was there when the call began is durable when it has succeeded. The
 * lock is held meanwhile, so that an older copy never replaces a newer one. */
static int synced(const char *name, int (*real)(int), int fd)
{
    char path[PATH_SIZE];

    if (!fd_matches(fd, path))
        return real(fd);
    enum verdict verdict = judge(name, path);
    if (verdict == FAIL)
        return -1;
    shadow_lock();
    struct sync sync = shadow_sync_begins(fd);
    int result = real(fd);
    if (!result)
        shadow_sync_succeeded(sync);
    shadow_unlock();
    conclude(verdict);
    return result;
}

int fsync(int fd)
{
    REAL(fsync);
    return synced("fsync", real, fd);
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    return synced("fdatasync", real, fd);
}

/* Opening counts when it may make or cut a file; opening for writing is
 * noticed in any case. */
static int opened(const char *name, int (*real)(int, const char *, int, ...), int directory,
                  const char *file, int flags, mode_t mode)
{
    char path[PATH_SIZE];
    int changes = flags & (O_CREAT | O_TRUNC);
    int writes = changes || (flags & O_ACCMODE) != O_RDONLY;

    if (!writes || (flags & O_TMPFILE) == O_TMPFILE || !path_matches(directory, file, path))
        return real(directory, file, flags, mode);
    enum verdict verdict = changes ? judge(name, path) : RUN;
    if (verdict == FAIL)
        return -1;
    shadow_lock();
    int is_new = !shadow_touch(path, 0);
    if (is_new)
        shadow_touch_directory_of(path);
    int fd = real(directory, file, flags, mode);
    if (fd >= 0 && is_new)
        shadow_made_file(fd);
    shadow_unlock();
    conclude(verdict);
    return fd;
}

static mode_t mode_of(int flags, va_list rest)
{
    /* Without O_CREAT the caller passed no mode. */
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, mode_t) : 0;
}

#define OPENING(name, real_name, parameters, directory)                        \
    int name parameters                                                        \
    {                                                                          \
        va_list rest;                                                          \
        REAL(real_name);                                                       \
        va_start(rest, flags);                                                 \
        mode_t mode = mode_of(flags, rest);                                    \
        va_end(rest);                                                          \
        return opened(#name, real, directory, file, flags, mode);              \
    }

OPENING(open, openat, (const char *file, int flags, ...), AT_FDCWD)
OPENING(open64, openat64, (const char *file, int flags, ...), AT_FDCWD)
OPENING(openat, openat, (int directory, const char *file, int flags, ...), directory)
OPENING(openat64, openat64, (int directory, const char *file, int flags, ...), directory)

int creat(const char *file, mode_t mode)
{
    REAL(openat);
    return opened("creat", real, AT_FDCWD, file, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int creat64(const char *file, mode_t mode)
{
    REAL(openat64);
    return opened("creat64", real, AT_FDCWD, file, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

static int renamed(const char *name, int (*real)(int, const char *, int, const char *, unsigned),
                   int from_directory, const char *from, int to_directory, const char *to,
                   unsigned flags)
{
    char source[PATH_SIZE] = "", target[PATH_SIZE] = "";

    int matches = path_matches(from_directory, from, source);
    matches |= path_matches(to_directory, to, target);
    if (!matches)
        return real(from_directory, from, to_directory, to, flags);
    enum verdict verdict = judge(name, source);
    if (verdict == FAIL)
        return -1;
    shadow_lock();
    shadow_touch_directory_of(source);
    shadow_touch_directory_of(target);
    shadow_touch(source, AT_SYMLINK_NOFOLLOW);
    shadow_touch(target, AT_SYMLINK_NOFOLLOW);
    ino_t held = strcmp(source, target) ? shadow_hold(target) : 0;
    int result = real(from_directory, from, to_directory, to, flags);
    if (result || flags & RENAME_EXCHANGE)
        shadow_let_go(held);
    shadow_unlock();
    conclude(verdict);
    return result;
}

int renameat2(int from_directory, const char *from, int to_directory, const char *to,
              unsigned flags)
{
    REAL(renameat2);
    return renamed("renameat2", real, from_directory, from, to_directory, to, flags);
}

int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    REAL(renameat2);
    return renamed("renameat", real, from_directory, from, to_directory, to, 0);
}

int rename(const char *from, const char *to)
{
    REAL(renameat2);
    return renamed("rename", real, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static int cut(const char *name, int (*real)(const char *, off64_t), const char *file,
               off64_t length)
{
    char path[PATH_SIZE];

    if (!path_matches(AT_FDCWD, file, path))
        return real(file, length);
    enum verdict verdict = judge(name, path);
    if (verdict == FAIL)
        return -1;
    shadow_lock();
    shadow_touch(path, 0);
    int result = real(file, length);
    shadow_unlock();
    conclude(verdict);
    return result;
}

int truncate64(const char *file, off64_t length)
{
    REAL(truncate64);
    return cut("truncate64", real, file, length);
}

int truncate(const char *file, off_t length)
{
    REAL(truncate64);
    return cut("truncate", real, file, length);
}

static int unlinked(const char *name, int (*real)(int, const char *, int), int directory,
                    const char *file, int flags)
{
    char path[PATH_SIZE];

    if (!path_matches(directory, file, path))
        return real(directory, file, flags);
    enum verdict verdict = judge(name, path);
    if (verdict == FAIL)
        return -1;
    shadow_lock();
    shadow_touch_directory_of(path);
    shadow_touch(path, AT_SYMLINK_NOFOLLOW);
    ino_t held = shadow_hold(path);
    int result = real(directory, file, flags);
    if (result)
        shadow_let_go(held);
    shadow_unlock();
    conclude(verdict);
    return result;
}

int unlinkat(int directory, const char *file, int flags)
{
    REAL(unlinkat);
    return unlinked("unlinkat", real, directory, file, flags);
}

int unlink(const char *file)
{
    REAL(unlinkat);
    return unlinked("unlink", real, AT_FDCWD, file, 0);
}

int rmdir(const char *file)
{
    REAL(unlinkat);
    return unlinked("rmdir", real, AT_FDCWD, file, AT_REMOVEDIR);
}

int mkdirat(int directory, const char *file, mode_t mode)
{
    char path[PATH_SIZE];

    REAL(mkdirat);
    if (!path_matches(directory, file, path))
        return real(directory, file, mode);
    enum verdict verdict = judge("mkdir", path);
    if (verdict == FAIL)
        return -1;
    shadow_lock();
    shadow_touch_directory_of(path);
    int result = real(directory, file, mode);
    if (!result)
        shadow_made_directory(path);
    shadow_unlock();
    conclude(verdict);
    return result;
}

int mkdir(const char *file, mode_t mode)
{
    return mkdirat(AT_FDCWD, file, mode);
}

int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags)
{
    char source[PATH_SIZE] = "", target[PATH_SIZE];

    REAL(linkat);
    if (!path_matches(to_directory, to, target))
        return real(from_directory, from, to_directory, to, flags);
    enum verdict verdict = judge("link", target);
    if (verdict == FAIL)
        return -1;
    path_matches(from_directory, from, source);
    shadow_lock();
    shadow_touch_directory_of(target);
    shadow_touch(source, AT_SYMLINK_NOFOLLOW);
    int result = real(from_directory, from, to_directory, to, flags);
    shadow_unlock();
    conclude(verdict);
    return result;
}

int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}
