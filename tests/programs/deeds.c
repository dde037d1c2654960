// Numbered deeds, each done once: deeds DIRECTORY FIRST COUNT PAUSE_MS THEN.
//
// Deed N makes the file DIRECTORY/N, and makes the call and asks for the socket whose turn it is. Then it ends
// (`end`), stays without a call (`stay`), or makes calls as fast as it can until SIGTERM, which makes it print
// how many (`spin`).
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// Harmless with a descriptor that is none and null pointers for arguments.
static const long calls[] = {
    SYS_getppid,     SYS_getuid,       SYS_geteuid,       SYS_getgid,      SYS_getegid,     SYS_getsid,
    SYS_sched_yield, SYS_sysinfo,      SYS_times,         SYS_getcpu,      SYS_uname,       SYS_getrlimit,
    SYS_capget,      SYS_getgroups,    SYS_getresuid,     SYS_getresgid,   SYS_getitimer,   SYS_eventfd2,
    SYS_getrandom,   SYS_dup,          SYS_dup3,          SYS_lseek,       SYS_fsync,       SYS_fdatasync,
    SYS_ftruncate,   SYS_fchmod,       SYS_fchown,        SYS_fchdir,      SYS_flock,       SYS_readv,
    SYS_writev,      SYS_preadv,       SYS_pwritev,       SYS_getsockname, SYS_getpeername, SYS_listen,
    SYS_shutdown,    SYS_setsockopt,   SYS_getsockopt,    SYS_sendto,      SYS_recvfrom,    SYS_sendmsg,
    SYS_recvmsg,     SYS_accept4,      SYS_sched_getparam, SYS_sched_getscheduler, SYS_timer_gettime,
    SYS_timer_delete, SYS_syncfs,      SYS_fallocate,     SYS_getdents64,  SYS_fstatfs,     SYS_timerfd_gettime,
};

static const int sockets[][2] = {
    {AF_UNIX, SOCK_STREAM}, {AF_UNIX, SOCK_DGRAM},     {AF_INET, SOCK_STREAM},
    {AF_INET, SOCK_DGRAM},  {AF_INET6, SOCK_STREAM},   {AF_NETLINK, SOCK_RAW},
};

#define LENGTH(array) (sizeof(array) / sizeof(*(array)))

static volatile sig_atomic_t is_over;

static void end(int signal)
{
    (void)signal;
    is_over = 1;
}

static void deed(const char *directory, long number)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%ld", directory, number);
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    close(file);
    syscall(calls[number % LENGTH(calls)], -1, 0, 0, 0, 0, 0);
    const int *kind = sockets[number % LENGTH(sockets)];
    close(socket(kind[0], kind[1], 0));
}

int main(int count, char **arguments)
{
    if (count != 6) {
        fprintf(stderr, "deeds DIRECTORY FIRST COUNT PAUSE_MS THEN\n");
        return 1;
    }
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    long first = atol(arguments[2]), deeds = atol(arguments[3]), pause_ms = atol(arguments[4]);
    for (long number = first; number < first + deeds; number++) {
        deed(arguments[1], number);
        struct timespec pause = {pause_ms / 1000, pause_ms % 1000 * 1000000};
        if (pause_ms > 0)
            nanosleep(&pause, NULL);
    }
    if (!strcmp(arguments[5], "stay")) {
        while (!is_over)
            pause();
    } else if (!strcmp(arguments[5], "spin")) {
        long made = 0;
        for (; !is_over; made++)
            syscall(SYS_getppid);
        printf("%ld\n", made);
    }
    return 0;
}
