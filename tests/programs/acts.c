/* Does one thing after another with paths, in the directory given. What it prints is all it does
 * there: facts beyond it are as wrong as facts that lack. */
#define _GNU_SOURCE
#include "acts.h"
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <utime.h>

static const char *absolute(const char *name)
{
	static char path[2][4096];
	static int turn;
	turn = !turn;
	snprintf(path[turn], sizeof path[turn], "%s/%s", base, name);
	return path[turn];
}

static void opens(void)
{
	char buffer[64];
	int fd = act("write:data create:data", open("data", O_WRONLY | O_CREAT, 0640));
	act("read:data", open(absolute("data"), O_RDONLY));
	act("read:data write:data truncate:data", open("data", O_RDWR | O_TRUNC));
	act("locate:located", open("located", O_PATH));
	act("read:missing", open("missing", O_RDONLY));
	act("read:data/below", open("data/below", O_RDONLY));
	act("write:new create:new", openat(AT_FDCWD, "new", O_WRONLY | O_CREAT | O_EXCL, 0600));
	act("write:new create:new", open("new", O_WRONLY | O_CREAT | O_EXCL, 0600));
	act("write:creat create:creat truncate:creat", syscall(SYS_creat, "creat", 0600));
	struct open_how how = {.flags = O_RDONLY};
	act("read:how", syscall(SYS_openat2, AT_FDCWD, "how", &how, sizeof how));

	int directory = act("read:dir", open("dir", O_RDONLY | O_DIRECTORY));
	act("read:dir/inner", openat(directory, "inner", O_RDONLY));
	act("read:dir/absent", openat(directory, "absent", O_RDONLY));
	act("read:sibling", openat(directory, "../sibling", O_RDONLY));
	act("write:dir create:dir", open("dir", O_WRONLY | O_TMPFILE, 0600));

	act("read:dir/linked", open("link", O_RDONLY));
	act("read:dir/chained", open("chain", O_RDONLY));
	act("read:dir/through", open("dirlink/through", O_RDONLY));
	act("read:loop", open("loop", O_RDONLY));
	act("read:dangling", open("dangling", O_RDONLY));
	act("read:link", open("link", O_RDONLY | O_NOFOLLOW));

	act("stat:stat", syscall(SYS_stat, "stat", &(struct stat){0}));
	act("stat:lstat", syscall(SYS_lstat, "lstat", &(struct stat){0}));
	act("stat:data", fstat(fd, &(struct stat){0}));
	act("stat:statx", statx(AT_FDCWD, "statx", 0, STATX_ALL, &(struct statx){0}));
	act("stat:dir/fstatat", fstatat(directory, "fstatat", &(struct stat){0}, 0));
	act("access:data", access("data", R_OK));
	/* Not resolved: only a lookup could say where `..` leads, if `dir` were a link. */
	act("access:dir/../no", faccessat(directory, "../no", R_OK, AT_EACCESS));
	act("readlink:link", readlink("link", buffer, sizeof buffer));
	act("readlink:data", readlink("data", buffer, sizeof buffer));
	act("statfs:.", statfs(base, &(struct statfs){0}));
	act("statfs:data", fstatfs(fd, &(struct statfs){0}));
}

static void changes(void)
{
	act("mkdir:made", mkdir("made", 0700));
	act("mkdir:made", mkdir("made", 0700));
	act("rmdir:made", rmdir("made"));
	act("rename-from:a rename-to:b", rename("a", "b"));
	act("rename-from:gone rename-to:c", rename("gone", "c"));
	act("link-from:b link-to:hard", link("b", "hard"));
	act("symlink:soft", symlink("wherever", "soft"));
	act("unlink:hard", unlink("hard"));
	act("unlink:never", unlink("never"));
	act("mknod:fifo", mkfifo("fifo", 0600));
	act("mknod:device", mknod("device", S_IFCHR | 0600, makedev(1, 3)));
	act("chmod:b", chmod("b", 0751));
	act("chown:b", chown("b", 12, 34));
	act("chown:soft", lchown("soft", 12, 34));
	act("truncate:b", truncate("b", 10));
	act("utime:b", syscall(SYS_utime, "b", NULL));
	act("utime:hour", utimensat(AT_FDCWD, "hour", NULL, 0));
	act("xattr-write:b", setxattr("b", "user.harden", "x", 1, 0));
	act("xattr-read:b", getxattr("b", "user.harden", NULL, 0));
	act("xattr-read:listed", listxattr("listed", NULL, 0));
	act("xattr-write:removed", removexattr("removed", "user.harden"));
	int fd = act("write:b", open("b", O_WRONLY));
	act("chmod:b", fchmod(fd, 0640));
	act("chown:b", fchown(fd, 56, 78));
	act("truncate:b", ftruncate(fd, 5));
	act("utime:b", futimens(fd, NULL));
	act("xattr-write:b", fremovexattr(fd, "user.harden"));
	act("watch:dir", inotify_add_watch(inotify_init(), "dir", IN_CREATE));
	act("chdir:dir", chdir("dir"));
	act("read:dir/relative", open("relative", O_RDONLY));
	act("chdir:.", chdir(base));

	/* A file that is gone has still the path at which it was opened. */
	fd = act("read:doomed write:doomed create:doomed", open("doomed", O_RDWR | O_CREAT, 0600));
	act("unlink:doomed", unlink("doomed"));
	act("stat:doomed", fstat(fd, &(struct stat){0}));

	char longest[256] = {0}, fact[600];
	memset(longest, 'n', 255);
	snprintf(fact, sizeof fact, "write:%s create:%s", longest, longest);
	act(fact, open(longest, O_WRONLY | O_CREAT, 0600));
	snprintf(fact, sizeof fact, "unlink:%s", longest);
	act(fact, unlink(longest));
	char longer[257] = {0};
	memset(longer, 'l', 256);
	snprintf(fact, sizeof fact, "read:%s", longer);
	act(fact, open(longer, O_RDONLY));
}

static void sockets(void)
{
	int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
	act("bind:socket", bind(server, (void *)&address, sizeof address));
	listen(server, 1);
	act("connect:socket", connect(client, (void *)&address, sizeof address));
	strcpy(address.sun_path, "nosocket");
	act("connect:nosocket", connect(client = socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address, sizeof address));
	strcpy(address.sun_path, "nodgram");
	int datagram = socket(AF_UNIX, SOCK_DGRAM, 0);
	act("connect:nodgram", sendto(datagram, "x", 1, 0, (void *)&address, sizeof address));
}

int main(int count, char **arguments)
{
	begin(count, arguments);
	opens();
	changes();
	sockets();
	return 0;
}
