/* Makes calls that the kernel does not have, lives with the answer, and writes the file that it is told. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int refused(long number) { return syscall(number) == -1 && (errno == ENOSYS || errno == EPERM); }

int main(int count, char **words) {
    int good = 1;
    for (int word = 2; word < count; word++) {
        if (!strcmp(words[word], "number")) good &= refused(1000) & refused(350);
#ifdef __x86_64__
        /* getpid of x32 */
        if (!strcmp(words[word], "x32")) good &= refused(0x40000000 + 39);
        if (!strcmp(words[word], "ia32")) {
            long result = 511;
            __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
            good &= result == -ENOSYS || result == -EPERM;
        }
#endif
    }
    FILE *file = fopen(count > 1 ? words[1] : "", "w");
    return !good || !file || fputs("done\n", file) < 0 || fclose(file) != 0;
}
