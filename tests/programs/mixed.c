/* Writes a file; with a further argument makes getpid's call of the 32-bit ABI before. */
#include <stdio.h>
int main(int count, char **words) {
    long result = 20;
    if (count > 2) __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
    if (result <= 0) return 1;
    FILE *file = fopen(count > 1 ? words[1] : "", "w");
    return !file || fputs("done\n", file) < 0 || fclose(file) != 0;
}
