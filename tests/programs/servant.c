// Does what it is told, one thing for each connection: servant PORT.
//
// A line says what: `read PATH`, `write PATH`, `make PATH`, `mkdir PATH`, `chown PATH`, `run PATH`, `family NUMBER`,
// `call NAME`. The answer is 0, or why not: the number of an error, or 200 and the exit status of what was run.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char buffer[4096];

static const struct {
    const char *name;
    long number, first;
} calls[] = {
    {"sysinfo", SYS_sysinfo, (long)buffer},
    {"times", SYS_times, (long)buffer},
    {"inotify_init1", SYS_inotify_init1, 0},
    {"timerfd_create", SYS_timerfd_create, 1},
    {"memfd_create", SYS_memfd_create, (long)"servant"},
    {"setpriority", SYS_setpriority, 0},
};

static int done(long result)
{
    return result < 0 ? errno : 0;
}

static int opened(const char *path, int flags)
{
    int file = open(path, flags | O_CLOEXEC, 0644);
    int error = done(file);
    if (file >= 0)
        close(file);
    return error;
}

static int run(const char *path)
{
    int says[2];
    if (pipe2(says, O_CLOEXEC))
        return errno;
    pid_t child = fork();
    if (child < 0)
        return errno;
    if (child == 0) {
        execl(path, path, (char *)NULL);
        int error = errno;
        (void)!write(says[1], &error, sizeof error);
        _exit(1);
    }
    close(says[1]);
    int error = 0, status = 0;
    ssize_t said = read(says[0], &error, sizeof error);
    close(says[0]);
    waitpid(child, &status, 0);
    if (said > 0)
        return error;
    return status ? 200 + WEXITSTATUS(status) : 0;
}

static int call(const char *name)
{
    for (size_t at = 0; at < sizeof calls / sizeof *calls; at++) {
        if (!strcmp(calls[at].name, name)) {
            long result = syscall(calls[at].number, calls[at].first, 0, 0);
            return done(result);
        }
    }
    return EINVAL;
}

static int obey(const char *what, const char *argument)
{
    if (!strcmp(what, "read"))
        return opened(argument, O_RDONLY);
    if (!strcmp(what, "write"))
        return opened(argument, O_WRONLY);
    if (!strcmp(what, "make"))
        return opened(argument, O_WRONLY | O_CREAT);
    if (!strcmp(what, "mkdir"))
        return done(mkdir(argument, 0755));
    if (!strcmp(what, "chown"))
        return done(chown(argument, 1, 1));
    if (!strcmp(what, "run"))
        return run(argument);
    if (!strcmp(what, "call"))
        return call(argument);
    if (!strcmp(what, "family")) {
        int made = socket(atoi(argument), SOCK_DGRAM | SOCK_CLOEXEC, 0);
        int error = done(made);
        if (made >= 0)
            close(made);
        return error;
    }
    return EINVAL;
}

int main(int count, char **arguments)
{
    if (count != 2)
        return 2;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (listener < 0 || bind(listener, (void *)&here, sizeof here) || listen(listener, 8)) {
        perror("servant");
        return 1;
    }
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0)
            continue;
        char line[4096], what[32], argument[4000], answer[16];
        ssize_t length = read(client, line, sizeof line - 1);
        line[length < 0 ? 0 : length] = 0;
        int error = EINVAL;
        if (sscanf(line, "%31s %3999s", what, argument) == 2)
            error = obey(what, argument);
        (void)!write(client, answer, snprintf(answer, sizeof answer, "%d\n", error));
        close(client);
    }
}
