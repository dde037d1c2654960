/* Calls whose arguments a sandbox has a rule for. Prints the name of each fact. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void in_child(void (*act)(void))
{
	pid_t child = fork();
	if (child == 0) {
		act();
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

static void user(void) { unshare(CLONE_NEWUSER); }
static void others(void) { unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID); }
static void net(void) { syscall(SYS_unshare, CLONE_NEWNET | CLONE_NEWCGROUP); }

int main(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	puts("mmap-write-exec");
	mprotect(page, 4096, PROT_READ | PROT_EXEC);
	puts("mprotect-exec");
	shmat(-1, NULL, SHM_EXEC);
	puts("shmat-exec");
	memfd_create("x", 0);
	puts("memfd-create");
	in_child(user);
	puts("namespace-user");
	in_child(others);
	puts("namespace-mount\nnamespace-uts\nnamespace-ipc\nnamespace-pid");
	in_child(net);
	puts("namespace-net\nnamespace-cgroup");
	struct clone_args clone = {.flags = 0x80 /* CLONE_NEWTIME */ | CLONE_THREAD};
	syscall(SYS_clone3, &clone, sizeof clone);
	puts("namespace-time");
	setns(-1, 0);
	puts("namespace-any");
	chmod("/nosuch", 04755);
	puts("mode-setid");
	sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &(struct sched_param){.sched_priority = 0});
	puts("scheduler-realtime");
	personality(ADDR_NO_RANDOMIZE);
	puts("personality-set");
	mknod("/nosuch/device", S_IFCHR | 0600, 0);
	puts("mknod-device");
	mknod("/nosuch/fifo", S_IFIFO | 0600, 0);
	puts("mknod-other");
	syscall(SYS_io_uring_setup, 1, NULL);
	puts("io-uring");
	return 0;
}
