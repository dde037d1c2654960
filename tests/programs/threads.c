/* Threads that use files and sockets, and one that calls exec. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char *dir;

static void check(int good, const char *what) {
    if (!good) { perror(what); exit(1); }
}

static void *files(void *number) {
    char path[256];
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "%s/state/%ld-%d", dir, (long)number, i);
        FILE *file = fopen(path, "w");
        check(file && fprintf(file, "%d\n", i) > 0 && fclose(file) == 0, path);
    }
    return 0;
}

/* To itself, through a port that only a privileged program may take. */
static void *tcp(void *unused) {
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(7),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    char text[2];
    int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    int again = 1;
    check(server >= 0 && client >= 0, "socket");
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &again, sizeof again);
    check(bind(server, (void *)&here, sizeof here) == 0, "bind");
    check(listen(server, 1) == 0, "listen");
    check(connect(client, (void *)&here, sizeof here) == 0, "connect");
    int accepted = accept4(server, 0, 0, SOCK_CLOEXEC);
    check(write(client, "hi", 2) == 2 && read(accepted, text, 2) == 2, "stream");
    return unused;
}

static void *local(void *unused) {
    struct sockaddr_un here = { .sun_family = AF_UNIX };
    char byte;
    snprintf(here.sun_path, sizeof here.sun_path, "%s/state/socket", dir);
    int socket_ = socket(AF_UNIX, SOCK_DGRAM, 0);
    check(socket_ >= 0 && bind(socket_, (void *)&here, sizeof here) == 0, here.sun_path);
    check(sendto(socket_, "x", 1, 0, (void *)&here, sizeof here) == 1, "sendto");
    check(recv(socket_, &byte, 1, 0) == 1 && unlink(here.sun_path) == 0, "recv");
    return unused;
}

static void *replace(void *unused) {
    char input[256], output[256];
    snprintf(input, sizeof input, "%s/input", dir);
    snprintf(output, sizeof output, "%s/state/output", dir);
    check(freopen(output, "w", stdout) != 0, output);
    execl("/bin/cat", "cat", input, (char *)0);
    check(0, "exec");
    return unused;
}

int main(int count, char **words) {
    pthread_t threads[6];
    check(count == 2, "usage");
    dir = words[1];
    for (long i = 0; i < 4; i++) check(!pthread_create(&threads[i], 0, files, (void *)i), "thread");
    check(!pthread_create(&threads[4], 0, tcp, 0), "thread");
    check(!pthread_create(&threads[5], 0, local, 0), "thread");
    for (int i = 0; i < 6; i++) pthread_join(threads[i], 0);
    check(!pthread_create(&threads[0], 0, replace, 0), "thread");
    pthread_join(threads[0], 0);
    return 1;
}
