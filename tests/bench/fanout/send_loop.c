/* The floor: a server that does nothing but send() the same bytes on every connection.
 *
 *     send_loop PORT FRAME_FILE
 *
 * Answers every connection with a head and the frame, as one chunk, and sends the frame again on all of them for each
 * byte that comes on its standard input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    static char frame[1 << 16], chunk[(1 << 16) + 64], ignored[1 << 16];
    FILE *file = fopen(argv[2], "rb");
    if (!file) return 1;
    size_t length = fread(frame, 1, sizeof frame, file);
    size_t size = sprintf(chunk, "%zx\r\n", length);
    memcpy(chunk + size, frame, length);
    memcpy(chunk + size + length, "\r\n", 2);
    size += length + 2;
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) return 1;
    int epoll = epoll_create1(0), *open = malloc(sizeof(int) * 65536), count = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[512];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = 0;
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
    puts("listening");
    fflush(stdout);
    for (;;) {
        int ready = epoll_wait(epoll, events, 512, -1);
        for (int e = 0; e < ready; e++) {
            int fd = events[e].data.fd, s;
            if (fd == listener) {
                while ((s = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    event.events = EPOLLIN, event.data.fd = s;
                    epoll_ctl(epoll, EPOLL_CTL_ADD, s, &event);
                }
            } else if (fd == 0) {
                ssize_t times = read(0, ignored, sizeof ignored);
                if (times <= 0) return 0;
                for (; times > 0; times--)
                    for (int i = 0; i < count; i++)
                        if (send(open[i], chunk, size, MSG_NOSIGNAL) != (ssize_t)size) return 1;
            } else if (read(fd, ignored, sizeof ignored) > 0) {
                open[count++] = fd;
                send(fd, head, sizeof head - 1, MSG_NOSIGNAL);
                send(fd, chunk, size, MSG_NOSIGNAL);
            } else {
                for (int i = 0; i < count; i++)
                    if (open[i] == fd) open[i--] = open[--count];
                close(fd);
            }
        }
    }
}
