/* Comes to files in roundabout ways, in the directory given. What it prints is all it does there. */
#define _GNU_SOURCE
#include "acts.h"
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Opens what descriptor `fd` is of once more. */
static int again(const char *facts, int fd, int flags)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return act(facts, open(path, flags));
}

/* A file has the name at which it was opened, whatever becomes of the name. */
static void names_that_change(void)
{
	int fd = act("write:before", open("before", O_WRONLY));
	act("rename-from:before rename-to:after", rename("before", "after"));
	if (write(fd, "x", 1) != 1)
		exit(1);
	close(fd);
	act("read:after", open("after", O_RDONLY));

	act("read:moving/file", open("moving/file", O_RDONLY));
	act("rename-from:moving rename-to:moved", rename("moving", "moved"));
	act("read:moved/file", open("moved/file", O_RDONLY));

	fd = act("write:doomed create:doomed", open("doomed", O_WRONLY | O_CREAT, 0600));
	act("unlink:doomed", unlink("doomed"));
	again("read:doomed", fd, O_RDONLY);

	act("link-from:first link-to:second", link("first", "second"));
	act("read:second", open("second", O_RDONLY));
	fd = act("write:third", open("third", O_WRONLY));
	act("link-from:third link-to:fourth", link("third", "fourth"));
	act("unlink:third", unlink("third"));
	again("read:third", fd, O_RDONLY);
}

static void descriptors(void)
{
	char text[64];
	int fd = act("read:opened", open("opened", O_RDONLY));
	again("write:opened", fd, O_WRONLY);
	fd = act("locate:located", open("located", O_PATH));
	again("read:located", fd, O_RDONLY);
	fd = act("locate:link", open("link", O_PATH | O_NOFOLLOW));
	act("readlink:link", readlinkat(fd, "", text, sizeof text));
	fd = act("locate:dir", open("dir", O_PATH | O_DIRECTORY));
	act("read:dir/inner", openat(fd, "inner", O_RDONLY));
	act("locate:nowhere", open("nowhere", O_PATH));
}

static int open2(const char *facts, int directory, const char *path, unsigned long resolve)
{
	struct open_how how = {.flags = O_RDONLY, .resolve = resolve};
	return act(facts, syscall(SYS_openat2, directory, path, &how, sizeof how));
}

static void resolving(void)
{
	int dir = act("locate:dir", open("dir", O_PATH | O_DIRECTORY));
	open2("read:dir/beneath", dir, "beneath", RESOLVE_BENEATH);
	open2("read:dir/../outside", dir, "../outside", RESOLVE_BENEATH);
	open2("read:dir/rooted", dir, "/rooted", RESOLVE_IN_ROOT);
	open2("read:dir/target", dir, "absolute", RESOLVE_IN_ROOT);
	open2("read:dir/absent", dir, "/absent", RESOLVE_IN_ROOT);
	open2("read:link", AT_FDCWD, "link", RESOLVE_NO_SYMLINKS);
	open2("read:plain", AT_FDCWD, "plain", RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
}

static void handles(void)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} named = {.handle.handle_bytes = MAX_HANDLE_SZ};
	int mount;
	int directory = act("read:.", open(".", O_RDONLY | O_DIRECTORY));
	/* Not every file system has handles. */
	if (act("stat:handled", name_to_handle_at(AT_FDCWD, "handled", &named.handle, &mount, 0)) == 0)
		act("read:handled", open_by_handle_at(directory, &named.handle, O_RDONLY));
}

int main(int count, char **arguments)
{
	begin(count, arguments);
	names_that_change();
	descriptors();
	resolving();
	handles();
	return 0;
}
