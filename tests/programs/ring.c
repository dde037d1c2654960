/* Opens one file by a call and two through io_uring: at once, and by a worker of the kernel. */
#define _GNU_SOURCE
#include "acts.h"
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static int ring;
static struct io_uring_params set;
static char *queue, *completions;
static struct io_uring_sqe *entries;

static void *map(size_t size, off_t what)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, what);
}

static unsigned *word(char *at, unsigned offset)
{
	return (unsigned *)(at + offset);
}

static long submit(const char *path, int flags)
{
	static unsigned done;
	entries[0] = (struct io_uring_sqe){
		.opcode = IORING_OP_OPENAT, .flags = flags, .fd = AT_FDCWD, .addr = (unsigned long)path};
	word(queue, set.sq_off.array)[done & *word(queue, set.sq_off.ring_mask)] = 0;
	__atomic_store_n(word(queue, set.sq_off.tail), done + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -1;
	struct io_uring_cqe *all = (void *)(completions + set.cq_off.cqes);
	long result = all[done & *word(completions, set.cq_off.ring_mask)].res;
	__atomic_store_n(word(completions, set.cq_off.head), ++done, __ATOMIC_RELEASE);
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

int main(int count, char **arguments)
{
	begin(count, arguments);
	act("read:called", open("called", O_RDONLY));
	ring = syscall(SYS_io_uring_setup, 4, &set);
	if (ring < 0) {
		perror("io_uring_setup");
		return 1;
	}
	queue = map(set.sq_off.array + set.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	completions = map(set.cq_off.cqes + set.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	entries = map(set.sq_entries * sizeof *entries, IORING_OFF_SQES);
	act("read:at-once", submit("at-once", 0));
	act("read:by-worker", submit("by-worker", IOSQE_ASYNC));
	return 0;
}
