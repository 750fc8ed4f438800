/*
 * A disk that fails, and a clock and locks that are not to be trusted, for the program that this is preloaded into.
 *
 * It stands between the program and the C library's calls that change files, and counts those below one folder. From the
 * environment:
 *
 *   FAULT_UNDER    the folder, absolute
 *   FAULT_AT       the call that fails, counted from 1; none without
 *   FAULT_ON       set: every call from that one on fails, as on a disk that stays full
 *   FAULT_CODE     errno of a failed call
 *   FAULT_REPORT   a file that gets a line `NUMBER CALL PATH` for each failed call, and in the end `total NUMBER`
 *   FAULT_LOCKS    what flock does: `fails` with FAULT_LOCK_CODE; `gives` every lock to everybody; `apart` keeps the locks of
 *                  one process from every other, as a file system does whose locks stay on one machine
 *   FAULT_CLOCK    seconds by which the clock is wrong
 *
 * A full disk (ENOSPC) stays full for what needs space: writing, making files and folders. Its first failing write is a
 * short one, as on a real disk. What does not exist yet on a read-only file system (EROFS) cannot be made, and what exists
 * can be asked for again.
 *
 * Not seen: renames that a library makes by a system call of its own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const char *under, *report, *locks;
static long at, shift;
static int on, code, lock_code;
static atomic_long count;

#define REAL(name) \
    static __typeof__(&name) real_##name; \
    if (!real_##name) real_##name = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void begin(void) {
    report = getenv("FAULT_REPORT");
    locks = getenv("FAULT_LOCKS");
    at = number("FAULT_AT");
    on = getenv("FAULT_ON") != NULL;
    code = (int)number("FAULT_CODE");
    lock_code = (int)number("FAULT_LOCK_CODE");
    shift = number("FAULT_CLOCK");
    under = getenv("FAULT_UNDER");
}

/* By system calls, so that it is not counted itself. */
static void tell(const char *line) {
    if (!report) return;
    int before = errno;
    long file = syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (file >= 0) {
        syscall(SYS_write, file, line, strlen(line));
        syscall(SYS_close, file);
    }
    errno = before;
}

__attribute__((destructor)) static void end(void) {
    char line[64];
    snprintf(line, sizeof line, "total %ld\n", atomic_load(&count));
    tell(line);
}

static void path_of(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
}

static void path_at(int folder, const char *name, char *path) {
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return;
    }
    char base[PATH_MAX];
    if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) base[0] = 0;
    } else {
        path_of(folder, base);
    }
    if ((size_t)snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) path[0] = 0;
}

/* Whether this call is to fail. `grows` says that it needs space. */
static int fails(const char *call, const char *path, int grows) {
    if (!under || strncmp(path, under, strlen(under)) != 0) return 0;
    long n = atomic_fetch_add(&count, 1) + 1;
    if (!at || n < at || (n > at && (!on || (code == ENOSPC && !grows)))) return 0;
    char line[PATH_MAX + 64];
    snprintf(line, sizeof line, "%ld %s %s\n", n, call, path);
    tell(line);
    errno = code;
    return 1;
}

static int fails_file(const char *call, int file, int grows) {
    if (!under) return 0;
    char path[PATH_MAX];
    path_of(file, path);
    return fails(call, path, grows);
}

static int is_there(const char *path) {
    struct stat found;
    return syscall(SYS_newfstatat, AT_FDCWD, path, &found, AT_SYMLINK_NOFOLLOW) == 0;
}

static int fails_open(int folder, const char *name, int flags) {
    if (!under || !((flags & (O_CREAT | O_TRUNC)) || (flags & O_ACCMODE) != O_RDONLY)) return 0;
    if ((flags & O_TMPFILE) == O_TMPFILE) return 0;
    char path[PATH_MAX];
    path_at(folder, name, path);
    return fails("open", path, (flags & O_CREAT) && !is_there(path));
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    REAL(open);
    return fails_open(AT_FDCWD, path, flags) ? -1 : real_open(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    REAL(open64);
    return fails_open(AT_FDCWD, path, flags) ? -1 : real_open64(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    MODE(flags)
    REAL(openat);
    return fails_open(folder, path, flags) ? -1 : real_openat(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags)
    REAL(openat64);
    return fails_open(folder, path, flags) ? -1 : real_openat64(folder, path, flags, mode);
}

ssize_t write(int file, const void *bytes, size_t length) {
    REAL(write);
    if (!fails_file("write", file, 1)) return real_write(file, bytes, length);
    return on && code == ENOSPC && length > 1 && atomic_load(&count) == at ? real_write(file, bytes, length / 2) : -1;
}

ssize_t writev(int file, const struct iovec *parts, int many) {
    REAL(writev);
    return fails_file("writev", file, 1) ? -1 : real_writev(file, parts, many);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t place) {
    REAL(pwrite);
    return fails_file("pwrite", file, 1) ? -1 : real_pwrite(file, bytes, length, place);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t place) {
    REAL(pwrite64);
    return fails_file("pwrite", file, 1) ? -1 : real_pwrite64(file, bytes, length, place);
}

ssize_t copy_file_range(int from, off64_t *start, int to, off64_t *place, size_t length, unsigned flags) {
    REAL(copy_file_range);
    return fails_file("copy", to, 1) ? -1 : real_copy_file_range(from, start, to, place, length, flags);
}

ssize_t sendfile64(int to, int from, off64_t *start, size_t length) {
    REAL(sendfile64);
    return fails_file("copy", to, 1) ? -1 : real_sendfile64(to, from, start, length);
}

int ftruncate(int file, off_t length) {
    REAL(ftruncate);
    return fails_file("truncate", file, length > 0) ? -1 : real_ftruncate(file, length);
}

int ftruncate64(int file, off64_t length) {
    REAL(ftruncate64);
    return fails_file("truncate", file, length > 0) ? -1 : real_ftruncate64(file, length);
}

int fsync(int file) {
    REAL(fsync);
    return fails_file("fsync", file, 0) ? -1 : real_fsync(file);
}

int fdatasync(int file) {
    REAL(fdatasync);
    return fails_file("fsync", file, 0) ? -1 : real_fdatasync(file);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    char path[PATH_MAX];
    path_at(AT_FDCWD, to, path);
    return fails("rename", path, 0) ? -1 : real_rename(from, to);
}

int mkdir(const char *name, mode_t mode) {
    REAL(mkdir);
    char path[PATH_MAX];
    path_at(AT_FDCWD, name, path);
    return !is_there(path) && fails("mkdir", path, 1) ? -1 : real_mkdir(name, mode);
}

int unlink(const char *name) {
    REAL(unlink);
    char path[PATH_MAX];
    path_at(AT_FDCWD, name, path);
    return is_there(path) && fails("unlink", path, 0) ? -1 : real_unlink(name);
}

int unlinkat(int folder, const char *name, int flags) {
    REAL(unlinkat);
    char path[PATH_MAX];
    path_at(folder, name, path);
    return is_there(path) && fails("unlink", path, 0) ? -1 : real_unlinkat(folder, name, flags);
}

int rmdir(const char *name) {
    REAL(rmdir);
    char path[PATH_MAX];
    path_at(AT_FDCWD, name, path);
    return is_there(path) && fails("rmdir", path, 0) ? -1 : real_rmdir(name);
}

int flock(int file, int wanted) {
    REAL(flock);
    if (!locks || !under) return real_flock(file, wanted);
    char path[PATH_MAX];
    path_of(file, path);
    if (strncmp(path, under, strlen(under)) != 0) return real_flock(file, wanted);
    if (strcmp(locks, "fails") == 0) {
        errno = lock_code;
        return -1;
    }
    /* Each process shares the store's lock with itself, and with nobody else. */
    const char *name = strrchr(path, '/');
    if (strcmp(locks, "apart") == 0 && (wanted & LOCK_EX) && name && strcmp(name, "/lock") == 0) {
        errno = EWOULDBLOCK;
        return -1;
    }
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    int result = real_clock_gettime(clock, time);
    if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += shift;
    return result;
}
