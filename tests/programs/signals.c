/* Sends SIGUSR1 to the process whose number is the second argument, in the way that the first one names; or, for
 * `own`, signals of every kind to itself and to its children. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static const union sigval value;

static int with_pidfd(pid_t pid, int signal)
{
	int descriptor = syscall(SYS_pidfd_open, pid, 0);
	if (descriptor < 0)
		return -1;
	return syscall(SYS_pidfd_send_signal, descriptor, signal, NULL, 0);
}

static int in_way(const char *way, pid_t pid, int signal)
{
	if (strcmp(way, "kill") == 0)
		return kill(pid, signal);
	if (strcmp(way, "tkill") == 0)
		return syscall(SYS_tkill, pid, signal);
	if (strcmp(way, "tgkill") == 0)
		return syscall(SYS_tgkill, pid, pid, signal);
	if (strcmp(way, "sigqueue") == 0)
		return sigqueue(pid, signal, value);
	if (strcmp(way, "pidfd") == 0)
		return with_pidfd(pid, signal);
	/* Generates no signal. */
	if (strcmp(way, "zero") == 0)
		return kill(pid, 0);
	return -1;
}

static void *waiting(void *unused)
{
	pause();
	return unused;
}

static int to_its_own(void)
{
	static const char *ways[] = {"kill", "tkill", "tgkill", "sigqueue", "pidfd"};
	struct itimerval soon = {.it_value = {.tv_usec = 1000}};
	pthread_t thread;
	sigset_t alarms;
	int signal;

	for (unsigned way = 0; way < sizeof(ways) / sizeof(*ways); way++) {
		pid_t child = fork();
		if (child == 0)
			for (;;)
				pause();
		if (in_way(ways[way], child, SIGKILL) != 0 || waitpid(child, NULL, 0) != child)
			return 1;
	}
	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	sigaddset(&alarms, SIGUSR1);
	sigprocmask(SIG_BLOCK, &alarms, NULL);
	/* From a timer's interrupt. */
	setitimer(ITIMER_REAL, &soon, NULL);
	sigwait(&alarms, &signal);
	raise(SIGUSR1);
	sigwait(&alarms, &signal);
	pthread_create(&thread, NULL, waiting, NULL);
	return pthread_kill(thread, SIGUSR1) != 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "own") == 0)
		return to_its_own();
	if (argc != 3)
		return 2;
	if (in_way(argv[1], atoi(argv[2]), SIGUSR1) == 0)
		return 0;
	perror(argv[1]);
	return 1;
}
