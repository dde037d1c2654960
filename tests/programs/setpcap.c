/* Changes its capabilities as the first argument says. Exits with 1 if the kernel refuses. */
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
static struct __user_cap_data_struct sets[2];

static int set(void)
{
	return syscall(SYS_capset, &header, sets) != 0;
}

int main(int count, char **arguments)
{
	if (count != 2 || syscall(SYS_capget, &header, sets) != 0)
		return 2;
	if (!strcmp(arguments[1], "same"))
		return set();
	if (!strcmp(arguments[1], "fewer")) {
		sets[0].effective = sets[0].inheritable = sets[0].permitted & ~(1u << CAP_CHOWN);
		return set();
	}
	if (!strcmp(arguments[1], "inherit")) {
		/* What is not permitted any more can be inherited still, by who may CAP_SETPCAP. */
		sets[0].effective = sets[0].permitted &= ~(1u << CAP_CHOWN);
		if (set())
			return 2;
		sets[0].inheritable |= 1u << CAP_CHOWN;
		return set();
	}
	if (!strcmp(arguments[1], "bits"))
		return prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) != 0;
	if (!strcmp(arguments[1], "bound"))
		return prctl(PR_CAPBSET_DROP, CAP_CHOWN, 0, 0, 0) != 0;
	return 2;
}
