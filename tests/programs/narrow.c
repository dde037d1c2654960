/* A 64-bit program that makes a directory and opens it by calls of the 32-bit ABI, whose numbers
 * mean other calls in its own. */
#define _GNU_SOURCE
#include "acts.h"
#include <sys/mman.h>

/* `path` has to lie in the lower 4 GiB. */
static long call(long number, const char *path, long argument)
{
	long result = number;
	__asm__ volatile("int $0x80" : "+a"(result) : "b"(path), "c"(argument) : "memory");
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

int main(int count, char **arguments)
{
	begin(count, arguments);
	char *path = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	strcpy(path, "made");
	act("mkdir:made", call(39, path, 0700)); /* natively getpid */
	act("mkdir:made", call(39, path, 0700));
	strcpy(path, "file");
	act("read:file", call(5, path, 0)); /* natively fstat */
	act("access:file", call(33, path, 0)); /* natively dup2 */
	return 0;
}
