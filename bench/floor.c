/* The floor of the comparison: a FastCGI responder that only moves bytes. It reads no variable and runs no application.
 *
 *   floor SOCKET PROCESSES
 *
 * Each process waits with epoll, accepts, reads records by the lengths in their headers until the input has ended, and
 * sends one fixed answer; it keeps the connection if the web server asks for that. What a server of any language costs
 * above this is what it does for the application.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BEGIN_REQUEST = 1, STDIN = 5, STDOUT = 6, END_REQUEST = 3, HEADER = 8, PIECE = 65536, CONNECTIONS = 4096 };

/* Where a connection is in its records. Descriptors are small numbers: they are the index. */
static struct connection {
    unsigned char header[HEADER];
    unsigned have;         /* bytes of the header */
    unsigned left;         /* bytes of content and padding that are still to come */
    unsigned char flags;   /* 1: keep the connection */
    bool wants_flags;
} connections[CONNECTIONS];

static unsigned char answer[256];
static size_t answer_size;

static void make_answer(void)
{
    static const char text[] = "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n";
    unsigned size = sizeof text - 1, padding = (8 - size % 8) % 8;
    unsigned char *to = answer;
    memcpy(to, (unsigned char[]){1, STDOUT, 0, 1, (unsigned char)(size >> 8), (unsigned char)size, (unsigned char)padding, 0}, HEADER);
    memcpy(to + HEADER, text, size);
    to += HEADER + size + padding;
    memcpy(to, (unsigned char[]){1, STDOUT, 0, 1, 0, 0, 0, 0, 1, END_REQUEST, 0, 1, 0, 8}, 14);
    answer_size = (size_t)(to - answer) + HEADER + HEADER + 8;
}

/* Take bytes; true when the input has ended, which is an empty record of STDIN. */
static bool take(struct connection *one, const unsigned char *data, size_t size)
{
    bool ended = false;
    while (size > 0) {
        if (one->left > 0) {
            unsigned part = size < one->left ? (unsigned)size : one->left;
            if (one->wants_flags && part > 2) {
                one->flags = data[2];
                one->wants_flags = false;
            }
            one->left -= part, data += part, size -= part;
            continue;
        }
        one->header[one->have++] = *data++, size--;
        if (one->have < HEADER)
            continue;
        unsigned length = (unsigned)one->header[4] << 8 | one->header[5];
        one->have = 0;
        one->left = length + one->header[6];
        one->wants_flags = one->header[1] == BEGIN_REQUEST;
        ended = ended || (one->header[1] == STDIN && length == 0);
    }
    return ended;
}

/* Read what is there, answer if it is a whole request; true while the connection is open. */
static bool serve(int fd)
{
    static unsigned char data[PIECE];
    struct connection *one = &connections[fd];
    ssize_t count = recv(fd, data, sizeof data, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN)
        return true;
    if (count > 0 && !take(one, data, (size_t)count))
        return true;
    if (count > 0 && send(fd, answer, answer_size, MSG_NOSIGNAL) > 0 && one->flags & 1)
        return true;
    close(fd);
    return false;
}

/* Accept as long as somebody waits. Mostly the request is there already, and then epoll never hears of it. */
static void accept_all(int listener, int epoll)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= CONNECTIONS) {
            close(fd);
            continue;
        }
        memset(&connections[fd], 0, sizeof connections[fd]);
        if (serve(fd)) {
            struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
            epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            return; /* what is kept has its turn, too */
        }
    }
}

static void work(int listener)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.fd = listener};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        if (epoll_wait(epoll, &event, 1, -1) < 1)
            continue;
        if (event.data.fd == listener)
            accept_all(listener, epoll);
        else
            serve(event.data.fd);
    }
}

int main(int count, char **words)
{
    if (count != 3)
        return fprintf(stderr, "usage: floor SOCKET PROCESSES\n"), 2;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, words[1], sizeof address.sun_path - 1);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1024) < 0)
        return perror(words[1]), 1;
    chmod(words[1], 0666);
    make_answer();
    for (int i = 0; i < atoi(words[2]); i++)
        if (fork() == 0)
            work(listener);
    while (wait(NULL) > 0)
        ;
    return 0;
}
