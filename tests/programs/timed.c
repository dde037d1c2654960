// How long a command takes, without the start of what it runs under: timed RESULT NAME OPERATIONS ROUNDS COMMAND...
//
// For each round, RESULT has a line: NAME and the nanoseconds of the command, divided by OPERATIONS.
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

// Nanoseconds.
static double run(char **command)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    pid_t child;
    int status;
    double begun = now();
    errno = posix_spawnp(&child, command[0], &actions, NULL, command, environ);
    if (errno || waitpid(child, &status, 0) != child || status) {
        fprintf(stderr, "%s failed\n", command[0]);
        exit(1);
    }
    posix_spawn_file_actions_destroy(&actions);
    return now() - begun;
}

int main(int count, char **arguments)
{
    if (count < 6) {
        fprintf(stderr, "timed RESULT NAME OPERATIONS ROUNDS COMMAND...\n");
        return 1;
    }
    double operations = atof(arguments[3]);
    FILE *result = fopen(arguments[1], "w");
    if (!result) {
        perror(arguments[1]);
        return 1;
    }
    for (int round = 0; round < atoi(arguments[4]); round++)
        fprintf(result, "%s %f\n", arguments[2], run(arguments + 5) / operations);
    return fclose(result) != 0;
}
