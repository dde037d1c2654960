/* Opens files of long and distinct paths in many tasks at once:   preempted TASKS COUNT DIR
 * Each task makes a chain of 20 directories in DIR and then COUNT files at its end. Every other task
 * is a real-time one that sleeps for a moment between its files, and so interrupts the others wherever
 * they are. `tests/suites/preemption.rs` makes the same names.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LEVELS = 20 };

static void check(int good, const char *what) {
    if (!good) { perror(what); _exit(1); }
}

/* A letter that tells the task, a few times. */
static char *fill(char *at, int task, int number) {
    int length = 10 + (task * 7 + number * 3) % 17;
    memset(at, 'a' + task % 26, length);
    at[length] = 0;
    return at + length;
}

static void work(int task, int count, const char *directory) {
    char path[4096];
    char *end = path + sprintf(path, "%s", directory);
    for (int level = 0; level < LEVELS; level++) {
        end += sprintf(end, "/t%03d-l%02d-", task, level);
        end = fill(end, task, level);
        check(mkdir(path, 0755) == 0, path);
    }
    if (task % 2) {
        struct sched_param first = {.sched_priority = 1};
        check(sched_setscheduler(0, SCHED_FIFO, &first) == 0, "sched_setscheduler");
    }
    for (int number = 0; number < count; number++) {
        fill(end + sprintf(end, "/t%03d-f%06d-", task, number), task, number);
        int file = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
        check(file >= 0 && close(file) == 0, path);
        if (task % 2)
            nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
}

int main(int count, char **words) {
    check(count == 4, "usage");
    for (int task = 0; task < atoi(words[1]); task++) {
        if (fork() == 0) {
            work(task, atoi(words[2]), words[3]);
            _exit(0);
        }
    }
    int status, failed = 0;
    while (wait(&status) > 0) failed |= status;
    return failed != 0;
}
