/* As fast as it goes, by one process on each CPU:
 *   opens COUNT DIR             makes, opens and removes COUNT files in 256 directories of DIR;
 *   cgroups COUNT DIR CGROUP    COUNT cgroups below CGROUP are made, entered, and removed. In each,
 *                               this program opens a file of its own in DIR.
 * Below one of these runs   open FILE.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DIRECTORIES = 256 };

static void check(int good, const char *what) {
    if (!good) { perror(what); _exit(1); }
}

static void make(const char *path) {
    int file = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    check(file >= 0 && close(file) == 0, path);
}

static void open_one(long number, char **words) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%03ld/file-%07ld", words[0], number % DIRECTORIES, number);
    make(path);
    check(unlink(path) == 0, path);
}

static void enter_one(long number, char **words) {
    char cgroup[4096], door[4200], path[4096];
    snprintf(cgroup, sizeof cgroup, "%s/short-%ld", words[1], number);
    snprintf(door, sizeof door, "%s/cgroup.procs", cgroup);
    snprintf(path, sizeof path, "%s/file-%07ld", words[0], number);
    check(mkdir(cgroup, 0755) == 0, cgroup);
    int status;
    pid_t child = fork();
    if (child == 0) {
        int file = open(door, O_WRONLY);
        check(file >= 0 && write(file, "0", 1) == 1, door);
        execl("/proc/self/exe", "pressure", "open", path, (char *)0);
        check(0, "exec");
    }
    check(child > 0 && waitpid(child, &status, 0) == child && status == 0, "child");
    /* The kernel may still be taking the child out. */
    while (rmdir(cgroup) != 0) check(errno == EBUSY && usleep(100) == 0, cgroup);
}

int main(int count, char **words) {
    if (count == 3 && strcmp(words[1], "open") == 0) {
        make(words[2]);
        return unlink(words[2]) != 0;
    }
    check(count >= 4, "usage");
    int opens = strcmp(words[1], "opens") == 0;
    long number = atol(words[2]), workers = sysconf(_SC_NPROCESSORS_ONLN);
    for (int i = 0; opens && i < DIRECTORIES; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%03d", words[3], i);
        check(mkdir(path, 0755) == 0, path);
    }
    for (long worker = 0; worker < workers; worker++) {
        if (fork() == 0) {
            for (long i = worker; i < number; i += workers)
                (opens ? open_one : enter_one)(i, words + 3);
            _exit(0);
        }
    }
    int status, failed = 0;
    while (wait(&status) > 0) failed |= status;
    return failed != 0;
}
