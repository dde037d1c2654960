/* Becomes the program given by its descriptor: `descriptor PROGRAM`, or `memory PROGRAM` for a copy
 * that has no file. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

extern char **environ;

int main(int count, char **words)
{
	if (count != 3)
		return 1;
	int program = open(words[2], O_RDONLY | O_CLOEXEC);
	if (strcmp(words[1], "memory") == 0) {
		int copy = memfd_create("copy", MFD_CLOEXEC);
		while (sendfile(copy, program, NULL, 1 << 20) > 0) {
		}
		program = copy;
	}
	fexecve(program, (char *[]){"renamed", NULL}, environ);
	return 1;
}
