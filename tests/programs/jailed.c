/* Goes on in `jail` as its root directory. */
#define _GNU_SOURCE
#include "acts.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(int count, char **arguments)
{
	begin(count, arguments);
	act("chroot:jail", chroot("jail"));
	act("read:jail/inside", open("/inside", O_RDONLY));
	act("read:jail/missing", open("/missing", O_RDONLY));
	act("mkdir:jail/made", mkdir("/made", 0700));
	act("stat:jail/inside", stat("/inside", &(struct stat){0}));
	/* The current directory is outside still. */
	act("read:outside", open("outside", O_RDONLY));
	act("chdir:jail", chdir("/"));
	act("read:jail/beside", open("beside", O_RDONLY));
	return 0;
}
