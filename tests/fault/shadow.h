/* What would survive a power cut, kept in a directory of its own.
 *
 * The shadow directory holds, for each file and directory by inode number:
 *
 *   i<ino>     the bytes of a file that would survive
 *   t<ino>     (empty) the program opened this file for writing, or made, moved
 *              or removed this file or directory: a power cut can harm it. No
 *              other is harmed
 *   ns-<ino>   the entries of a directory that would survive, each as
 *              "<ino> <d|f> <name>" with a NUL behind it
 *   keep-<ino> a further link to a file whose last name went away. Without it
 *              the file system would give its number to the next new file
 *
 * What was there before the program touched it counts as durable: the first
 * touch of a file copies its bytes, and the first change in a directory its
 * entries. A directory that the program makes has no durable entries until it
 * is synced. What counts as durable after an fsync is what was there when it
 * began. All of it stays valid over several runs with one shadow directory,
 * which must be on the same file system as what is watched. *
 * The functions below do nothing when there is no shadow. Those that look at
 * files are called with the lock held. None of them changes errno, and none is
 * counted as an operation of the program.
 */
#ifndef SHADOW_H
#define SHADOW_H

#include <sys/stat.h>

enum { PATH_SIZE = 8192 };

/* Keeps a shadow in `directory`; NULL for none. */
void shadow_begin(const char *directory);

/* Taken around an operation and what is noted of it, so that both happen in
 * the same order. */
void shadow_lock(void);
void shadow_unlock(void);

/* Before the program touches what is at a path, if there is something: what a
 * file holds is durable. The flags are those of fstatat. Returns whether there
 * is something. */
int shadow_touch(const char *path, int flags);

/* Before the program changes the directory in which `path` is an entry: its
 * entries are durable. */
void shadow_touch_directory_of(const char *path);

/* After the program made a file, which it has open, or a directory. */
void shadow_made_file(int fd);
void shadow_made_directory(const char *path);

/* Before a name goes away: if it is the last one of a file, holds on to the
 * file's number. Returns the number, or 0; `shadow_let_go` takes it back. */
ino_t shadow_hold(const char *path);
void shadow_let_go(ino_t inode);

/* Around an fsync. */
struct sync {
    const char *kind;
    ino_t inode;
};
struct sync shadow_sync_begins(int fd);
void shadow_sync_succeeded(struct sync sync);

#endif
