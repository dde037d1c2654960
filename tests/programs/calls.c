// What one call costs: calls RESULT MILLISECONDS ROUNDS FILES CGROUP WHAT...
//
// Each WHAT is measured in turn, for so many milliseconds, in so many rounds. For each round, RESULT has a line: WHAT and
// the nanoseconds of one operation. FILES has a directory for each round, 0, 1, ..., with the files that are opened.
// Cgroups are made below CGROUP.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Between two looks at the clock, and as many descriptors at once.
enum { BATCH = 100 };
enum { FILES_MAX = 100000 };

extern char **environ;

static const char *files, *cgroup;
static int zero, null, queue, is_futex;
static int opened[BATCH];
static char same[4096];

static void check(int is_good, const char *what)
{
    if (!is_good) {
        perror(what);
        exit(1);
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static void call_getppid(void)
{
    syscall(SYS_getppid);
}

static void call_read(void)
{
    char byte;
    check(read(zero, &byte, 1) == 1, "read");
}

static void call_write(void)
{
    check(write(null, "x", 1) == 1, "write");
}

static void call_futex(void)
{
    check(syscall(SYS_futex, &is_futex, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 0, "futex");
}

static void call_epoll_wait(void)
{
    struct epoll_event event;
    check(epoll_wait(queue, &event, 1, 0) == 0, "epoll_wait");
}

static void call_spawn(void)
{
    char *words[] = {"true", NULL};
    pid_t child;
    int status;
    errno = posix_spawn(&child, "/bin/true", NULL, NULL, words, environ);
    check(errno == 0, "/bin/true");
    check(waitpid(child, &status, 0) == child && status == 0, "/bin/true");
}

static void call_cgroup(void)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/bench-made.service", cgroup);
    check(mkdir(path, 0755) == 0 && rmdir(path) == 0, path);
}

// Nanoseconds for one of them.
static double repeat(void (*call)(void), int batch, double milliseconds)
{
    double begun = now(), passed;
    long made = 0;
    do {
        for (int i = 0; i < batch; i++)
            call();
        made += batch;
        passed = now() - begun;
    } while (passed < milliseconds * 1e6);
    return passed / made;
}

// Nanoseconds for one open, or for one close: many of the one, then many of the other, and a clock for each.
static double open_or_close(int is_open, double milliseconds)
{
    double opens = 0, closes = 0;
    long made = 0;
    do {
        double begun = now();
        for (int i = 0; i < BATCH; i++)
            opened[i] = open(same, O_RDONLY);
        double middle = now();
        for (int i = 0; i < BATCH; i++)
            check(close(opened[i]) == 0, same);
        opens += middle - begun;
        closes += now() - middle;
        made += BATCH;
    } while (opens + closes < milliseconds * 1e6);
    return (is_open ? opens : closes) / made;
}

// Nanoseconds for opening and closing one of the files of a round: each once, or one of them as often.
static double open_all(int round, int is_same)
{
    static char *names[FILES_MAX];
    char directory[4096];
    int count = 0;
    snprintf(directory, sizeof(directory), "%s/%d", files, round);
    DIR *listed = opendir(directory);
    check(listed != NULL, directory);
    for (struct dirent *entry; count < FILES_MAX && (entry = readdir(listed));)
        if (entry->d_name[0] != '.')
            check(asprintf(&names[count++], "%s/%s", directory, entry->d_name) > 0, "memory");
    closedir(listed);
    check(count > 0, directory);
    double begun = now();
    for (int i = 0; i < count; i++)
        check(close(open(names[is_same ? 0 : i], O_RDONLY)) == 0, directory);
    double passed = now() - begun;
    for (int i = 0; i < count; i++)
        free(names[i]);
    return passed / count;
}

struct thread {
    pthread_t thread;
    int processor;
    double milliseconds, cost;
};

static void *run_thread(void *argument)
{
    struct thread *thread = argument;
    cpu_set_t processors;
    CPU_ZERO(&processors);
    CPU_SET(thread->processor, &processors);
    errno = pthread_setaffinity_np(pthread_self(), sizeof(processors), &processors);
    check(errno == 0, "two processors");
    thread->cost = repeat(call_getppid, BATCH, thread->milliseconds);
    return NULL;
}

// Nanoseconds for one call, while another thread makes as many on another processor.
static double two_threads(double milliseconds)
{
    struct thread threads[2];
    for (int i = 0; i < 2; i++) {
        threads[i] = (struct thread){.processor = i, .milliseconds = milliseconds};
        errno = pthread_create(&threads[i].thread, NULL, run_thread, &threads[i]);
        check(errno == 0, "a thread");
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i].thread, NULL);
    return (threads[0].cost + threads[1].cost) / 2;
}

static double measure(const char *what, double milliseconds, int round)
{
    static const struct {
        const char *name;
        void (*call)(void);
        int batch;
    } calls[] = {
        {"getppid", call_getppid, BATCH}, {"read", call_read, BATCH},
        {"write", call_write, BATCH},     {"futex", call_futex, BATCH},
        {"epoll_wait", call_epoll_wait, BATCH}, {"spawn", call_spawn, 1},
        {"cgroup", call_cgroup, 1},
    };
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
        if (!strcmp(what, calls[i].name))
            return repeat(calls[i].call, calls[i].batch, milliseconds);
    if (!strcmp(what, "open") || !strcmp(what, "close"))
        return open_or_close(*what == 'o', milliseconds);
    if (!strcmp(what, "same") || !strcmp(what, "distinct"))
        return open_all(round, *what == 's');
    if (!strcmp(what, "threads"))
        return two_threads(milliseconds);
    fprintf(stderr, "there is no %s to measure\n", what);
    exit(1);
}

int main(int count, char **arguments)
{
    if (count < 7) {
        fprintf(stderr, "calls RESULT MILLISECONDS ROUNDS FILES CGROUP WHAT...\n");
        return 1;
    }
    double milliseconds = atof(arguments[2]);
    int rounds = atoi(arguments[3]);
    files = arguments[4];
    cgroup = arguments[5];
    zero = open("/dev/zero", O_RDONLY);
    null = open("/dev/null", O_WRONLY);
    queue = epoll_create1(0);
    snprintf(same, sizeof(same), "%s/same", files);
    check(zero >= 0 && null >= 0 && queue >= 0, "descriptors");
    FILE *result = fopen(arguments[1], "w");
    check(result != NULL, arguments[1]);
    for (int round = 0; round < rounds; round++)
        for (int i = 6; i < count; i++)
            fprintf(result, "%s %f\n", arguments[i], measure(arguments[i], milliseconds, round));
    check(fclose(result) == 0, arguments[1]);
    return 0;
}
