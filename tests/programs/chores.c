// Work of many kinds, each step of which has to succeed: chores TOP [STEP…].
//
// It is done below TOP, in /tmp, /var/tmp, /run/harden, /var/lib/harden and /root/.harden, which the test has made. The steps
// that are named are left out. The first one that fails is printed, and the status is 1.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *top;

static const char *in(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", top, name);
    return path;
}

static int reads(const char *path)
{
    char bytes[16];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    int is_read = read(file, bytes, sizeof(bytes)) > 0;
    close(file);
    return is_read;
}

static int writes(const char *path)
{
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0)
        return 0;
    int is_written = write(file, "x", 1) == 1 && fsync(file) == 0;
    close(file);
    return is_written;
}

static int passes(const char *path)
{
    return writes(path) && unlink(path) == 0;
}

static int of_etc(void) { return reads("/etc/hosts") && reads("/etc/passwd"); }
static int by_link(void) { return reads(in("link/f")); }
static int data(void)
{
    int is_made = writes(in("data/out")) && mkdir(in("data/d"), 0755) == 0 && symlink("out", in("data/l")) == 0;
    return is_made && rename(in("data/d"), in("data/e")) == 0 && rmdir(in("data/e")) == 0 && unlink(in("data/l")) == 0;
}
static int tmp(void) { return passes("/tmp/harden-chore"); }
static int var_tmp(void) { return passes("/var/tmp/harden-chore"); }
static int state(void) { return writes("/var/lib/harden/state") && reads("/var/lib/harden/state"); }
static int run(void) { return writes("/run/harden/pid"); }
static int home(void) { return reads("/root/.harden/c") && writes("/root/.harden/w"); }
static int of_library(void) { return reads("/usr/share/harden/data"); }

static int owner(void)
{
    const char *path = in("data/theirs");
    int is_given = writes(path) && chmod(path, 0) == 0 && chown(path, 65534, 65534) == 0;
    return is_given && writes(path) && chmod(path, 0600) == 0;
}

static int tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(81), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int on = 1, listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int is_served = setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0
        && bind(listening, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(listening, 1) == 0
        && connect(client, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(listening);
    close(client);
    return is_served;
}

static int local(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/harden/socket"};
    unlink(address.sun_path);
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int is_served = bind(server, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(server, 1) == 0
        && connect(client, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(server);
    close(client);
    return is_served && unlink(address.sun_path) == 0;
}

static int netlink(void)
{
    int socket_ = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
    return socket_ >= 0 && close(socket_) == 0;
}

static int devices(void)
{
    int null = open("/dev/null", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int is_written = null >= 0 && write(null, "x", 1) == 1 && close(null) == 0;
    return is_written && reads("/dev/urandom") && reads("/dev/zero");
}

static int ends_well(pid_t child)
{
    int status;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int runs(const char *program)
{
    pid_t child = fork();
    if (child == 0) {
        execl(program, program, "help", NULL);
        _exit(127);
    }
    return ends_well(child);
}

static int helper(void) { return runs(in("bin/helper")); }
static int by_path(void) { return runs("/usr/bin/true"); }

static int of_kernel(void)
{
    return reads("/proc/self/status") && reads("/proc/sys/kernel/ostype") && reads("/proc/meminfo")
        && reads("/sys/kernel/mm/transparent_hugepage/enabled");
}
static int score(void) { return writes("/proc/self/oom_score_adj") || errno == EINVAL; }
static int asks_personality(void) { return personality(0xffffffff) >= 0; }
static int sets_personality(void) { return personality(ADDR_NO_RANDOMIZE) >= 0 && personality(0) >= 0; }

static int realtime(void)
{
    struct sched_param one = {.sched_priority = 1}, none = {0};
    return sched_setscheduler(0, SCHED_RR, &one) == 0 && sched_setscheduler(0, SCHED_OTHER, &none) == 0;
}

static int executable_memory(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page != MAP_FAILED && munmap(page, 4096) == 0;
}

static int set_id(void)
{
    const char *path = in("data/out");
    return chmod(path, 04755) == 0 && chmod(path, 0644) == 0;
}

static int own_names(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(unshare(CLONE_NEWUTS) != 0 || sethostname("chores", 6) != 0);
    return ends_well(child);
}

static int as_another(void)
{
    pid_t child = fork();
    if (child == 0) {
        int is_another = setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0;
        _exit(!is_another || !passes(in("pub/x")));
    }
    return ends_well(child);
}

static int kernel_log(void) { return klogctl(10, NULL, 0) >= 0; }

static int nodes(void)
{
    return mknod(in("data/fifo"), S_IFIFO | 0600, 0) == 0 && unlink(in("data/fifo")) == 0
        && mknod(in("data/null"), S_IFCHR | 0600, makedev(1, 3)) == 0 && unlink(in("data/null")) == 0;
}

static int abstract(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0chores"};
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + 7;
    int socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return bind(socket_, (struct sockaddr *)&address, length) == 0
        && sendto(socket_, "x", 1, 0, (struct sockaddr *)&address, length) == 1 && close(socket_) == 0;
}

static int shared(void)
{
    int memory = shm_open("/chores", O_RDWR | O_CREAT, 0600);
    int segment = shmget(IPC_PRIVATE, 4096, 0600);
    return memory >= 0 && close(memory) == 0 && shm_unlink("/chores") == 0 && segment >= 0
        && shmctl(segment, IPC_RMID, NULL) == 0;
}

static int clock_(void)
{
    struct timex asked = {0};
    return clock_adjtime(CLOCK_REALTIME, &asked) >= 0;
}

static int lists(void)
{
    char bytes[1024];
    int directory = open(in("data"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return directory >= 0 && getdents64(directory, bytes, sizeof(bytes)) > 0 && close(directory) == 0;
}

static const struct {
    const char *name;
    int (*works)(void);
} steps[] = {
    {"etc", of_etc}, {"link", by_link}, {"data", data}, {"tmp", tmp}, {"var-tmp", var_tmp}, {"state", state}, {"run", run},
    {"home", home}, {"library", of_library}, {"owner", owner}, {"tcp", tcp}, {"local", local}, {"netlink", netlink},
    {"devices", devices}, {"helper", helper}, {"true", by_path}, {"kernel", of_kernel}, {"score", score},
    {"personality", asks_personality}, {"sets-personality", sets_personality}, {"realtime", realtime},
    {"memory", executable_memory}, {"set-id", set_id}, {"names", own_names}, {"another", as_another},
    {"log", kernel_log}, {"nodes", nodes}, {"abstract", abstract}, {"shared", shared}, {"clock", clock_}, {"list", lists},
};

int main(int count, char **arguments)
{
    if (count < 2)
        return 2;
    if (!strcmp(arguments[1], "help"))
        return 0;
    top = arguments[1];
    for (size_t at = 0; at < sizeof(steps) / sizeof(*steps); at++) {
        int is_left_out = 0;
        for (int word = 2; word < count; word++)
            is_left_out |= !strcmp(arguments[word], steps[at].name);
        errno = 0;
        if (!is_left_out && !steps[at].works()) {
            fprintf(stderr, "%s: %s\n", steps[at].name, strerror(errno));
            return 1;
        }
    }
    puts("all of it was done");
    return 0;
}
