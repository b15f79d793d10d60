/* Another wall clock for one process: preloaded, it adds to the time the seconds that stand in the file $CLOCK_OFFSET_FILE,
 * which is read again once a second. Monotonic clocks are left alone, and so are waits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef int (*clock_function)(clockid_t, struct timespec *);

static clock_function real_clock(void) {
    static clock_function found;
    if (!found) found = (clock_function)dlsym(RTLD_NEXT, "clock_gettime");
    return found;
}

static long offset(void) {
    static volatile long known, read_at = -1;
    struct timespec now;
    real_clock()(CLOCK_MONOTONIC, &now);
    if (now.tv_sec != read_at) {
        char text[32] = {0};
        const char *name = getenv("CLOCK_OFFSET_FILE");
        int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
        read_at = now.tv_sec;
        if (file >= 0) {
            if (read(file, text, sizeof text - 1) > 0) known = atol(text);
            close(file);
        }
    }
    return known;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = real_clock()(clock, time);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += offset();
    return failed;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
