/* For programs that print what has to be in the observation of what they do: a line for each,
 * OPERATION OUTCOME PATH, the path relative to the directory that they work in. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* `facts`: OPERATION:PATH, separated by spaces. */
static long act(const char *facts, long result)
{
	const char *outcome = result >= 0 ? "ok" : strerrorname_np(errno);
	char copy[4096];
	snprintf(copy, sizeof copy, "%s", facts);
	for (char *fact = strtok(copy, " "); fact; fact = strtok(NULL, " ")) {
		char *path = strchr(fact, ':');
		*path++ = 0;
		printf("%s %s %s\n", fact, outcome, path);
	}
	return result;
}

static char base[2048];

/* Goes into the directory given, and says so. */
static void begin(int count, char **arguments)
{
	if (count < 2 || chdir(arguments[1]) || !getcwd(base, sizeof base))
		exit(1);
	printf("chdir ok .\n");
}
