/* Writes a file, and reads it. */
#include <stdio.h>
int main(int count, char **words) {
    char line[16] = "";
    FILE *file = fopen(count > 1 ? words[1] : "", "w");
    if (!file || fputs("done\n", file) < 0 || fclose(file) != 0) return 1;
    file = fopen(words[1], "r");
    return !file || !fgets(line, sizeof line, file) || line[0] != 'd';
}
