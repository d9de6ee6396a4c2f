/* A disk that fails on demand: preloaded into the server under test, it lets calls on some files fail with EIO.

   MTA_FAULTS      a file; while it exists, its words say which calls fail: "sync", "write"
   MTA_FAULTS_ON   only for files whose path contains this */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(const char *word, int fd)
{
    const char *file = getenv("MTA_FAULTS"), *on = getenv("MTA_FAULTS_ON");
    char words[64], link[64], path[4096];
    int was = errno, source = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t got;

    if (source < 0 || on == NULL) {
        errno = was;
        return 0;
    }
    got = read(source, words, sizeof words - 1);
    close(source);
    words[got > 0 ? got : 0] = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    got = readlink(link, path, sizeof path - 1);
    path[got > 0 ? got : 0] = 0;
    errno = was;
    if (strstr(words, word) == NULL || strstr(path, on) == NULL)
        return 0;
    errno = EIO;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return fails("sync", fd) ? -1 : REAL(fsync)(fd); }

int fdatasync(int fd) { return fails("sync", fd) ? -1 : REAL(fdatasync)(fd); }

ssize_t write(int fd, const void *octets, size_t count)
{
    return fails("write", fd) ? -1 : REAL(write)(fd, octets, count);
}

ssize_t pwrite(int fd, const void *octets, size_t count, off_t at)
{
    return fails("write", fd) ? -1 : REAL(pwrite)(fd, octets, count, at);
}

ssize_t pwrite64(int fd, const void *octets, size_t count, off64_t at)
{
    return fails("write", fd) ? -1 : REAL(pwrite64)(fd, octets, count, at);
}
