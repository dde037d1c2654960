/* A program whose filter answers one call in a given way, and which makes that call.
 *
 * refused ACTION CONVENTION TIMES [stay]: ACTION is the filter's, in hexadecimal, or `none`: no filter of its own.
 * CONVENTION is `native`, `32` or `x32`; the call is mkdir of no path. With `stay` it waits for its end. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define X32 0x40000000
#define MKDIR_32 39

static int install(unsigned arch, unsigned number, unsigned action)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, &program);
}

static void call(const char *convention)
{
	if (!strcmp(convention, "32")) {
		long result = MKDIR_32;
		__asm__ volatile("int $0x80" : "+a"(result) : "b"(0L), "c"(0L) : "memory");
	} else if (!strcmp(convention, "x32")) {
		syscall(X32 | SYS_mkdir, NULL, 0);
	} else {
		syscall(SYS_mkdir, NULL, 0);
	}
}

int main(int count, char **arguments)
{
	if (count < 4)
		return 2;
	const char *convention = arguments[2];
	unsigned arch = !strcmp(convention, "32") ? AUDIT_ARCH_I386 : AUDIT_ARCH_X86_64;
	unsigned number = !strcmp(convention, "32") ? MKDIR_32 : SYS_mkdir;
	if (!strcmp(convention, "x32"))
		number |= X32;
	/* The journal learns the process by it. */
	puts("begun");
	fflush(stdout);
	if (strcmp(arguments[1], "none") && install(arch, number, strtoul(arguments[1], NULL, 16))) {
		perror("seccomp");
		return 3;
	}
	for (long left = atol(arguments[3]); left > 0; left--)
		call(convention);
	if (count > 4)
		pause();
	return 0;
}
