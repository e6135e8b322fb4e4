/* Move the clocks of the programs it is preloaded into, as far as the two numbers in a file say: nanoseconds that are
   added to the wall clock, and to CLOCK_BOOTTIME (a suspend adds to both). The clock of the host is not touched. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t *moved;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("TM_MOVED_CLOCK");
    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *found = mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (found != MAP_FAILED)
        moved = found;
}

int clock_gettime(clockid_t which, struct timespec *at)
{
    int result = real(which, at);
    int wall = which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE;
    if (result != 0 || !moved || !(wall || which == CLOCK_BOOTTIME))
        return result;
    int64_t ns = at->tv_nsec + (int64_t)at->tv_sec * 1000000000 + moved[wall ? 0 : 1];
    at->tv_sec = ns / 1000000000;
    at->tv_nsec = ns % 1000000000;
    return 0;
}

int gettimeofday(struct timeval *at, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
