/* Makes tasks in every way there is; each does a call that nobody else here does. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *true_arguments[] = {"/bin/true", NULL};

/* Not inlined: after vfork the child must not return from the function that called it. */
static __attribute__((noinline)) void with_vfork(void)
{
	pid_t child = vfork();
	if (child == 0) {
		execv("/bin/true", true_arguments);
		_exit(1);
	}
	waitpid(child, NULL, 0);
}

static void *thread(void *unused)
{
	getpriority(PRIO_PROCESS, 0);
	/* Long enough for the joining thread to be waiting: it always makes the same calls so. */
	usleep(50000);
	return unused;
}

static void *executing(void *unused)
{
	usleep(50000);
	execv("/bin/cat", (char *[]){"cat", "/dev/null", NULL});
	return unused;
}

static char stack[65536] __attribute__((aligned(16)));

static int sibling(void *unused)
{
	(void)unused;
	getpgid(0);
	_exit(0);
}

int main(void)
{
	pthread_t id;
	int status;
	pid_t child = fork();
	if (child == 0) {
		getsid(0);
		/* A grandchild of the program, which it never execs itself. */
		if (fork() == 0) {
			getpgrp();
			_exit(0);
		}
		wait(NULL);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	with_vfork();
	posix_spawn(&child, "/bin/echo", NULL, NULL, (char *[]){"echo", NULL}, environ);
	waitpid(child, &status, 0);
	/* A clone with its parent's parent as parent. */
	if (fork() == 0) {
		clone(sibling, stack + sizeof stack, CLONE_PARENT | SIGCHLD, NULL);
		_exit(0);
	}
	wait(NULL);
	wait(NULL);
	pthread_create(&id, NULL, thread, NULL);
	pthread_join(id, NULL);
	pthread_create(&id, NULL, executing, NULL);
	pthread_join(id, NULL);
	return 1;
}
