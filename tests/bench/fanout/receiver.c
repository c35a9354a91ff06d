/* Opens streams and counts the frames that come on each, at as little cost as a generator can have.
 *
 *     receiver HOST PORT CONNECTIONS FRAMES FIRST MARK < requests
 *
 * Sends the requests of its input, each ended by a NUL, on one connection each and again from the first. Prints "open" once each has received its
 * first frame, or, where FIRST is 0, its first byte; then for each further frame (told by MARK, a text that every frame
 * holds once), when it has come on all of them, a line "frame P50 P99 LAST": the times at which half, 99 % and all of them had it, in ns of CLOCK_MONOTONIC.
 * Ends after FRAMES such lines, or with exit code 1 if a connection is lost.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    int count = atoi(argv[3]), frames = atoi(argv[4]);
    int first = atoi(argv[5]);
    const char *mark = argv[6];
    size_t mark_length = strlen(mark);
    static char requests[1 << 26], buffer[1 << 16];
    requests[fread(requests, 1, sizeof requests - 1, stdin)] = 0;
    char *request = requests;

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &address.sin_addr);
    int epoll = epoll_create1(0);
    int *seen = calloc(count, sizeof *seen);
    size_t *matched = calloc(count, sizeof *matched); /* how much of the mark the last bytes of a connection are */
    uint64_t *times = malloc(sizeof(uint64_t) * count);
    int *sockets = malloc(sizeof(int) * count);
    for (int i = 0; i < count; i++) {
        int s = sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (s < 0 || connect(s, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
        size_t length = strlen(request);
        if (write(s, request, length) != (ssize_t)length) die("write");
        request += length + 1;
        if (!*request) request = requests;
        fcntl(s, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(epoll, EPOLL_CTL_ADD, s, &event);
    }

    struct epoll_event events[512];
    int frame = 0, have = 0; /* the frame that is awaited, and on how many connections it has come */
    while (frame <= frames) {
        int ready = epoll_wait(epoll, events, 512, 15000);
        if (ready <= 0) die("epoll_wait");
        uint64_t now = now_ns();
        for (int e = 0; e < ready; e++) {
            int i = events[e].data.u32;
            ssize_t size = read(sockets[i], buffer, sizeof buffer);
            if (size < 0 && errno == EAGAIN) continue;
            if (size <= 0) die("a connection was lost");
            if (!first && !seen[i]) { /* stands for a frame */
                seen[i] = 1;
                have++;
            }
            for (char *at = buffer, *end = buffer + size; at < end;) {
                if (!matched[i] && !(at = memchr(at, mark[0], end - at))) break;
                matched[i] = *at == mark[matched[i]] ? matched[i] + 1 : *at == mark[0];
                at++;
                if (matched[i] == mark_length) {
                    matched[i] = 0;
                    if (seen[i]++ == frame) times[have++] = now;
                }
            }
        }
        /* Frames are sent one after the other, each when the last has come everywhere, so none is ahead of another. */
        if (have == count) {
            qsort(times, count, sizeof *times, compare);
            if (frame == 0)
                puts("open");
            else
                printf("frame %lu %lu %lu\n", times[count / 2], times[(size_t)count * 99 / 100], times[count - 1]);
            fflush(stdout);
            frame++;
            have = 0;
        }
    }
    pause(); /* the connections stay open until somebody ends this */
    return 0;
}
