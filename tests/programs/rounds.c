/* A program that makes many calls, some of which its filter refuses in different ways, while what happens around them makes
 * it hard to tell which exit belongs to which entry.
 *
 * rounds MODE SEED COUNT: MODE is `plain`, `signals` (a timer interrupts it, and its handler makes calls too), `threads`
 * (threads that come and go), `forks` (children of every kind, with the filter that they inherit), `execs` (it runs itself
 * again and again) or `ptrace` (a tracer stops at each entry and exit). The seed says which calls are refused, too: the rest of
 * them are let through, and fail by themselves. At the end it prints a line for each call that was refused: its name. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Nothing else in this program or in the C library makes these. With no arguments they do no harm. */
static const struct {
	int number;
	const char *name;
} refused[] = {
	{ SYS_mkdir, "mkdir" },   { SYS_rmdir, "rmdir" },	      { SYS_symlink, "symlink" },
	{ SYS_link, "link" },	  { SYS_chmod, "chmod" },	      { SYS_lchown, "lchown" },
	{ SYS_mknod, "mknod" },	  { SYS_getpriority, "getpriority" }, { SYS_acct, "acct" },
	{ SYS_times, "times" },	  { SYS_sysinfo, "sysinfo" },	      { SYS_sched_getparam, "sched_getparam" },
};
/* These are let through. */
static const int allowed[] = { SYS_getppid, SYS_getpgrp, SYS_sched_yield, SYS_getuid, SYS_umask, SYS_capget };

#define COUNT(array) (sizeof array / sizeof *array)

static const unsigned actions[] = {
	SECCOMP_RET_ERRNO | EPERM,
	SECCOMP_RET_ERRNO,
	SECCOMP_RET_TRAP,
	/* Without a tracer that asked for it, the call is not made (ENOSYS). */
	SECCOMP_RET_TRACE,
};

/* How often each was made; and, behind them, which are refused, a bit each. */
static volatile uint32_t *made;
#define MASK made[COUNT(refused)]
static char **self;

static void nothing(int signal)
{
	(void)signal;
}

static int install(void)
{
	struct sock_filter filter[2 * COUNT(refused) + 2];
	size_t length = 0;
	filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < COUNT(refused); i++) {
		if (!(MASK >> i & 1))
			continue;
		filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused[i].number, 0, 1);
		filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, actions[i % COUNT(actions)]);
	}
	filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { length, filter };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static uint32_t next(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

static void call(uint32_t *state)
{
	uint32_t which = next(state);
	if (which % 3) {
		syscall(allowed[which / 3 % COUNT(allowed)], 0, 0);
		return;
	}
	size_t i = which / 3 % COUNT(refused);
	__atomic_fetch_add(&made[i], 1, __ATOMIC_RELAXED);
	syscall(refused[i].number, NULL, NULL, NULL);
}

static void calls(uint32_t *state, long count)
{
	while (count-- > 0)
		call(state);
}

static uint32_t in_handler;

static void interrupts(int signal)
{
	(void)signal;
	int error = errno;
	call(&in_handler);
	errno = error;
}

static void with_signals(uint32_t *state, long count)
{
	in_handler = *state + 1;
	/* Interrupted sleeps go on by restart_syscall, other calls by themselves. */
	struct sigaction action = { .sa_handler = interrupts, .sa_flags = SA_RESTART };
	sigaction(SIGALRM, &action, NULL);
	struct itimerval often = { { 0, 300 }, { 0, 300 } };
	setitimer(ITIMER_REAL, &often, NULL);
	struct timespec nap = { 0, 400000 };
	while (count-- > 0) {
		call(state);
		if (count % 8 == 0)
			nanosleep(&nap, NULL);
	}
	struct itimerval never = { { 0, 0 }, { 0, 0 } };
	setitimer(ITIMER_REAL, &never, NULL);
}

static void *thread(void *seed)
{
	uint32_t state = (uint32_t)(uintptr_t)seed;
	calls(&state, 50);
	return NULL;
}

static void with_threads(uint32_t *state, long count)
{
	for (; count > 0; count -= 200) {
		pthread_t threads[4];
		for (int i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, thread, (void *)(uintptr_t)next(state));
		calls(state, 20);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
	}
}

/* The first return of a child is from a call that it has not entered. */
static void with_forks(uint32_t *state, long count)
{
	/* In memory, which a child of vfork shares. */
	for (volatile long left = count; left > 0; left -= 20) {
		uint32_t kind = next(state) % 3;
		pid_t child = kind == 0 ? fork() : kind == 1 ? vfork() : (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (child == 0) {
			/* A child of vfork shares memory: only calls, and no state. */
			uint32_t own = left;
			calls(&own, 10);
			_exit(0);
		}
		calls(state, 10);
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	}
}

static void run_again(const char *mode, uint32_t seed, long count, int fd)
{
	char words[3][24];
	snprintf(words[0], sizeof *words, "%u", seed);
	snprintf(words[1], sizeof *words, "%ld", count);
	snprintf(words[2], sizeof *words, "%d", fd);
	char *again[] = { self[0], (char *)mode, words[0], words[1], words[2], NULL };
	execv("/proc/self/exe", again);
	perror("execv");
	_exit(3);
}

static void *executes(void *count)
{
	run_again("execs", (uint32_t)(uintptr_t)count, (long)(uintptr_t)count, 100);
	return NULL;
}

static void with_execs(uint32_t *state, long count)
{
	calls(state, 20);
	if (count <= 0)
		return;
	if (count % 3) {
		run_again("execs", *state, count - 20, 100);
	} else {
		/* A thread that is not the first: the others end, and it takes the first one's number. */
		pthread_t other;
		pthread_create(&other, NULL, executes, (void *)(uintptr_t)(count - 20));
		for (;;)
			call(state);
	}
}

/* The child is stopped at each entry and exit. */
static void with_ptrace(uint32_t *state, long count)
{
	pid_t child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		calls(state, count / 4);
		_exit(0);
	}
	int status;
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
		int signal = WSTOPSIG(status);
		if (signal == SIGSTOP || signal == SIGTRAP)
			signal = 0;
		ptrace(PTRACE_SYSCALL, child, 0, (void *)(intptr_t)signal);
	}
}

int main(int count, char **arguments)
{
	if (count < 4)
		return 2;
	self = arguments;
	const char *mode = arguments[1];
	uint32_t state = strtoul(arguments[2], NULL, 10);
	long times = atol(arguments[3]);
	int fd = 100;
	int is_first = count < 5;
	if (is_first) {
		int made_fd = memfd_create("made", 0);
		if (made_fd < 0 || ftruncate(made_fd, 4096) || dup2(made_fd, fd) < 0)
			return 3;
	}
	made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (made == MAP_FAILED)
		return 3;
	/* A SIGSYS of a filter that comes while SIGSYS is blocked, as in its handler, kills (`force_sig_info_to_task`,
	 * kernel/signal.c): no other handler may make a call then. */
	struct sigaction action = { .sa_handler = nothing };
	sigaddset(&action.sa_mask, SIGALRM);
	sigaction(SIGSYS, &action, NULL);
	uint32_t bits = state;
	if (is_first)
		MASK = next(&bits) % ((1u << COUNT(refused)) - 1) + 1;
	if (is_first && install()) {
		perror("seccomp");
		return 3;
	}
	if (!strcmp(mode, "signals"))
		with_signals(&state, times);
	else if (!strcmp(mode, "threads"))
		with_threads(&state, times);
	else if (!strcmp(mode, "forks"))
		with_forks(&state, times);
	else if (!strcmp(mode, "execs"))
		with_execs(&state, times);
	else if (!strcmp(mode, "ptrace"))
		with_ptrace(&state, times);
	else
		calls(&state, times);
	for (size_t i = 0; i < COUNT(refused); i++)
		if (made[i] && MASK >> i & 1)
			printf("refused %s\n", refused[i].name);
	return 0;
}
