/* An HTTP client that loads a web server, of one thread, so that it leaves the machine to the servers.
 *
 *   load HOST PORT PATH CONNECTIONS SECONDS REQUESTS RATE UPLOAD [FILE WITH MORE HEADER LINES]
 *
 * It keeps CONNECTIONS connections to 127.0.0.1:PORT and stops after SECONDS or REQUESTS, whichever is first (0: no
 * such limit); what is under way then is finished and counts, if that takes at most 20 s. RATE 0 is a closed loop: each connection asks again as
 * soon as it has its answer. Any other RATE is that many requests a second, whatever the answers do: the time of a
 * request counts from when it was due, not from when a connection was free for it (else a server that stands still
 * looks quick: "coordinated omission"). UPLOAD is the size of a body to send, 0 for a GET. In PATH each {9}, {f} and {a}
 * is another digit, hexadecimal digit and letter with each request.
 *
 * Prints one JSON object: requests (answered with 200), failed, seconds, bytes (of bodies), and times in seconds from
 * least to most; `first` is how long the first byte of the first answer took.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 16384, PIECE = 1 << 18, PATIENCE = 20 };
enum body { SIZED, CHUNKED, UNTIL_CLOSE };
enum chunk { SIZE_LINE, DATA, DATA_END, TRAILER };

struct connection {
    int fd;
    bool busy, closes;
    double due;                /* when the request was to be sent */
    char request[HEAD_MAX + 1024];
    size_t sent;               /* of the request */
    long long upload_left;
    char head[HEAD_MAX];
    size_t head_size;
    bool in_body;
    int status;
    enum body body;
    enum chunk chunk;
    long long left;            /* of the body, or of the chunk */
    char line[64];             /* a chunk's size line, or a trailer, or the line end after a chunk */
    size_t line_size;
};

static struct {
    char head[HEAD_MAX + 1024];
    size_t head_size;
    struct sockaddr_in address;
    double seconds, rate, begin;
    long long requests, upload;
    int connections;
} options;
static struct {
    size_t at;
    const char *characters;
} varied[1024];                /* places in the head where each request has something else */
static int varied_count;
static unsigned long long random_state = 1;
static struct connection *all;
static char piece[PIECE];
static int epoll, alarm_clock = -1;
static long long started, finished, failed, bytes;
static double *times, first_byte;
static size_t times_room;
static int busy_count;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec clock;
    clock_gettime(CLOCK_MONOTONIC, &clock);
    return (double)clock.tv_sec + (double)clock.tv_nsec / 1e9;
}

/* Ask the kernel to say when the descriptor can be read, and also when it can be written if `writing`. */
static void watch(struct connection *one, int operation, bool writing)
{
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = one};
    if (epoll_ctl(epoll, operation, one->fd, &event) < 0)
        die("epoll_ctl");
}

static void open_connection(struct connection *one)
{
    int yes = 1;
    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (one->fd < 0)
        die("socket");
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(one->fd, (struct sockaddr *)&options.address, sizeof options.address) < 0)
        die("connect");
    watch(one, EPOLL_CTL_ADD, false);
}

static void close_connection(struct connection *one)
{
    close(one->fd);
    one->fd = -1;
}

/* Send what the socket takes; the rest when epoll says so. Errors show when the answer is read. */
static void send_more(struct connection *one)
{
    const int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    while (one->sent < options.head_size || one->upload_left > 0) {
        bool of_head = one->sent < options.head_size;
        size_t size = of_head ? options.head_size - one->sent
                      : one->upload_left < PIECE ? (size_t)one->upload_left : PIECE;
        ssize_t count = send(one->fd, of_head ? one->request + one->sent : piece, size, flags);
        if (count < 0) {
            watch(one, EPOLL_CTL_MOD, errno == EAGAIN);
            return;
        }
        if (of_head)
            one->sent += (size_t)count;
        else
            one->upload_left -= count;
    }
    if (options.upload)
        watch(one, EPOLL_CTL_MOD, false);
}

/* A number below `end`, another each time, and the same in each run (xorshift). */
static unsigned pick(unsigned end)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 32) % end;
}

static void start(struct connection *one, double due)
{
    if (one->fd < 0)
        open_connection(one);
    memcpy(one->request, options.head, options.head_size);
    for (int i = 0; i < varied_count; i++)
        one->request[varied[i].at] = varied[i].characters[pick((unsigned)strlen(varied[i].characters))];
    one->busy = true;
    one->due = due;
    one->sent = one->head_size = one->line_size = 0;
    one->upload_left = options.upload;
    one->in_body = one->closes = false;
    one->status = 0;
    started++;
    busy_count++;
    send_more(one);
}

static bool may_start(double at)
{
    return (options.seconds == 0 || at < options.begin + options.seconds) &&
           (options.requests == 0 || started < options.requests);
}

/* Start what is due on connections that are free. */
static void start_due(void)
{
    for (int i = 0; i < options.connections; i++) {
        double at = now(), due = options.rate > 0 ? options.begin + (double)started / options.rate : at;
        if (due > at || !may_start(due))
            return;
        if (!all[i].busy)
            start(&all[i], due);
    }
}

static void finish(struct connection *one, bool good)
{
    if (good) {
        if ((size_t)finished == times_room) {
            times_room = times_room ? 2 * times_room : 65536;
            if (!(times = realloc(times, times_room * sizeof *times)))
                die("realloc");
        }
        times[finished++] = now() - one->due;
    } else
        failed++;
    one->busy = false;
    busy_count--;
    if (!good || one->closes)
        close_connection(one);
    if (options.rate == 0) {
        double at = now();
        if (may_start(at))
            start(one, at);
    } else
        start_due();
}

/* The head is whole: what follows it, and how it ends. */
static void read_head(struct connection *one)
{
    one->status = one->head_size > 12 ? atoi(one->head + 9) : 0;
    one->body = UNTIL_CLOSE;
    for (char *line = strstr(one->head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (!strncasecmp(line + 2, "content-length:", 15)) {
            one->body = SIZED;
            one->left = atoll(line + 17);
        } else if (!strncasecmp(line + 2, "transfer-encoding: chunked", 26)) {
            one->body = CHUNKED;
            one->chunk = SIZE_LINE;
        } else if (!strncasecmp(line + 2, "connection: close", 17))
            one->closes = true;
    }
    one->in_body = true;
}

/* One byte of a chunked body that is not data; true when the body has ended. */
static bool chunk_byte(struct connection *one, char byte)
{
    if (byte != '\n') {
        if (one->line_size < sizeof one->line - 1 && byte != '\r')
            one->line[one->line_size++] = byte;
        return false;
    }
    one->line[one->line_size] = 0;
    bool is_empty = one->line_size == 0;
    one->line_size = 0;
    if (one->chunk == DATA_END)
        one->chunk = SIZE_LINE;
    else if (one->chunk == SIZE_LINE) {
        one->left = strtoll(one->line, NULL, 16);
        one->chunk = one->left ? DATA : TRAILER;
    } else
        return is_empty;
    return false;
}

/* Bytes of a body; true when it has ended. */
static bool take_body(struct connection *one, const char *data, size_t size)
{
    if (one->body == UNTIL_CLOSE) {
        bytes += (long long)size;
        return false;
    }
    for (size_t at = 0; at < size;) {
        if (one->body == CHUNKED && one->chunk != DATA) {
            if (chunk_byte(one, data[at++]))
                return true;
            continue;
        }
        size_t part = (long long)(size - at) < one->left ? size - at : (size_t)one->left;
        at += part;
        bytes += (long long)part;
        one->left -= (long long)part;
        if (one->left == 0 && one->body == CHUNKED)
            one->chunk = DATA_END;
    }
    return one->body == SIZED && one->left == 0;
}

/* Bytes of an answer; true when it is whole. */
static bool take(struct connection *one, const char *data, size_t size)
{
    if (one->in_body)
        return take_body(one, data, size);
    size_t room = HEAD_MAX - 1 - one->head_size, part = size < room ? size : room, before = one->head_size;
    memcpy(one->head + before, data, part);
    one->head_size += part;
    one->head[one->head_size] = 0;
    char *end = memmem(one->head, one->head_size, "\r\n\r\n", 4);
    if (!end)
        return false;
    end[2] = 0;
    read_head(one);
    return take_body(one, data + (end + 4 - one->head - before), size - (size_t)(end + 4 - one->head - before));
}

static void readable(struct connection *one)
{
    static char data[PIECE];
    ssize_t count = recv(one->fd, data, sizeof data, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN)
        return;
    if (count <= 0) {
        bool whole = one->busy && one->in_body && one->body == UNTIL_CLOSE && count == 0 && one->status == 200;
        if (one->busy) {
            one->closes = true;
            finish(one, whole);
        } else
            close_connection(one);
        return;
    }
    if (first_byte == 0)
        first_byte = now() - one->due;
    if (one->busy && take(one, data, (size_t)count))
        finish(one, one->status == 200);
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The time within which this share of the requests was answered (nearest rank). */
static double at(double share)
{
    long long rank = (long long)(share * (double)finished + 0.9999999);
    return finished ? times[rank < 1 ? 0 : rank - 1] : 0;
}

static void report(void)
{
    double seconds = now() - options.begin;
    qsort(times, (size_t)finished, sizeof *times, compare);
    printf("{\"requests\": %lld, \"failed\": %lld, \"seconds\": %.6f, \"bytes\": %lld, \"first\": %.6f, "
           "\"least\": %.6f, \"p50\": %.6f, \"p90\": %.6f, \"p99\": %.6f, \"most\": %.6f}\n",
           finished, failed, seconds, bytes, first_byte, at(0), at(.5), at(.9), at(.99), at(1));
}

/* Note where a path varies, and leave one character there. */
static void find_varied(char *path)
{
    static const char marks[] = "9fa", *const kinds[] = {"0123456789", "0123456789abcdef", "abcdefghijklmnopqrstuvwxyz"};
    const size_t before = options.upload ? sizeof "POST " - 1 : sizeof "GET " - 1;
    for (char *at = path; (at = strchr(at, '{')) && at[1] && at[2] == '}' && varied_count < 1024; at++) {
        const char *kind = strchr(marks, at[1]);
        if (!kind)
            continue;
        varied[varied_count].at = before + (size_t)(at - path);
        varied[varied_count++].characters = kinds[kind - marks];
        memmove(at, at + 2, strlen(at + 2) + 1);
    }
}

static void make_head(char **words, const char *more)
{
    find_varied(words[3]);
    int size = snprintf(options.head, sizeof options.head, "%s %s HTTP/1.1\r\nHost: %s\r\n",
                        options.upload ? "POST" : "GET", words[3], words[1]);
    if (options.upload)
        size += sprintf(options.head + size, "Content-Length: %lld\r\n", options.upload);
    if (more) {
        FILE *file = fopen(more, "r");
        if (!file)
            die(more);
        size += (int)fread(options.head + size, 1, sizeof options.head - (size_t)size - 3, file);
        fclose(file);
    }
    options.head_size = (size_t)size + (size_t)sprintf(options.head + size, "\r\n");
}

/* A timer that wakes epoll as often as requests are due; it goes on when it has been read. */
static void start_clock(void)
{
    alarm_clock = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    long period = options.rate > 1 ? (long)(1e9 / options.rate) : 999999999;
    struct itimerspec spec = {.it_interval = {0, period}, .it_value = {0, period}};
    struct epoll_event event = {.events = EPOLLIN};
    if (timerfd_settime(alarm_clock, 0, &spec, NULL) < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, alarm_clock, &event) < 0)
        die("timerfd");
}

static bool is_over(void)
{
    double at = now();
    if (busy_count == 0 && !may_start(options.rate > 0 ? options.begin + (double)started / options.rate : at))
        return true;
    return at > options.begin + options.seconds + PATIENCE;
}

int main(int count, char **words)
{
    if (count < 9)
        return fprintf(stderr, "see load.c\n"), 2;
    options.address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(words[2])),
                                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    options.connections = atoi(words[4]);
    options.seconds = atof(words[5]);
    options.requests = atoll(words[6]);
    options.rate = atof(words[7]);
    options.upload = atoll(words[8]);
    make_head(words, count > 9 ? words[9] : NULL);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    all = calloc((size_t)options.connections, sizeof *all);
    if (epoll < 0 || !all)
        die("epoll_create1");
    for (int i = 0; i < options.connections; i++)
        open_connection(&all[i]);
    options.begin = now();
    if (options.rate > 0)
        start_clock();
    start_due();
    while (!is_over()) {
        struct epoll_event events[256];
        int found = epoll_wait(epoll, events, 256, 100);
        for (int i = 0; i < found; i++) {
            struct connection *one = events[i].data.ptr;
            if (!one) {
                long long times_due;
                if (read(alarm_clock, &times_due, sizeof times_due) > 0)
                    start_due();
            }
            else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && one->fd >= 0)
                readable(one);
            if (one && one->fd >= 0 && events[i].events & EPOLLOUT)
                send_more(one);
        }
    }
    failed += busy_count;
    report();
    return 0;
}
