/* Gives a UTS namespace of its own a name; with an argument, in a user namespace of its own. */
#define _GNU_SOURCE
#include <sched.h>
#include <unistd.h>

int main(int count, char **words)
{
	(void)words;
	if (unshare(CLONE_NEWUTS | (count > 1 ? CLONE_NEWUSER : 0)))
		return 1;
	return sethostname("inside", 6) != 0;
}
