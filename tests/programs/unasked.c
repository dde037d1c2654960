/* Asks the time of the vDSO, and makes a lock, a buffer and a handler that are not used. The file that it is told of
 * says what happens beside that, if anything: it is another one under the profile than when it was recorded. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t handled;
static void handler(int signal) { handled = signal; }

/* As in a machine whose clock source the vDSO cannot read. */
static int slow_clock(void) {
    struct timespec now;
    struct timeval day;
    unsigned cpu;
    return syscall(SYS_clock_gettime, CLOCK_REALTIME, &now) || syscall(SYS_clock_getres, CLOCK_REALTIME, &now) ||
           syscall(SYS_gettimeofday, &day, NULL) || syscall(SYS_getcpu, &cpu, NULL, NULL)
#ifdef SYS_time
           || syscall(SYS_time, NULL) < 0
#endif
        ;
}

static int compare(const void *one, const void *other) { return memcmp(one, other, 8); }

/* More work of the same kind: malloc maps, moves and gives back, qsort asks for the memory. */
static int large(void) {
    char *block = malloc(1 << 20);
    if (!block || !(block = realloc(block, 1 << 24))) return 1;
    memset(block, 1, 1 << 24);
    qsort(block, 1 << 10, 8, compare);
    free(block);
    return 0;
}

int main(int count, char **words) {
    char what[32] = "";
    int file = open(count > 1 ? words[1] : "", O_RDONLY);
    if (file < 0 || read(file, what, sizeof what - 1) < 0) return 2;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    signal(SIGUSR1, handler);
    if (!strcmp(what, "abort")) abort();
    if (!strcmp(what, "clock") && slow_clock()) return 3;
    if (!strcmp(what, "large") && large()) return 4;
    if (!strcmp(what, "sleep") && usleep(1000)) return 5;
    if (write(1, "done\n", 5) != 5) return 6;
    return 0;
}
