/* The hot path of a worker: waiting, accept, the usual request to environ, its whole answer, the slot's writes.
 *
 * Plain Python (fpm/worker, fpm/fastcgi, fpm/wsgi, fpm/scoreboard/writer.py) is the reference: whatever is not usual is
 * left to it, before anything was done ("not ours") or in the middle of a request (hand_over()). Tests hold the two
 * together byte by byte.
 *
 * Rules of the file. Only the limited API of CPython 3.11, so that one binary serves all later versions. No state but
 * in objects, and no memory but theirs and the stack's. Nothing here waits but epoll_wait(2) and, shortly, the first
 * bytes of a new connection. A function that returns int gives 1 for done, 0 for "not ours" (or no), -1 with an
 * exception set. What comes from the socket is checked before it is believed; what comes from the application goes the
 * fast ways only if it is of exactly the type that they are for. */

#define _GNU_SOURCE
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the scoreboard is little-endian, and plain Python serves other machines"
#endif

enum {
    READ_SIZE = 65536,
    EVENTS_MAX = 64,
    IN_A_ROW = 16,           /* requests served before the master's channel is looked at again */
    FIRST_WAIT = 1,          /* ms: a web server writes its request right after connect(2) */
    OUT_SIZE = 4096,         /* bytes for a record's header and the head of an answer */
    END_ROOM = 256,          /* of them for what is added at its end: status and Content-Length */
    STATUS_MAX = 100,        /* bytes of a status that is sent from here */
    STATUS_ROOM = 12,        /* bytes around it, with the empty line: "Status: \r\n\r\n" */
    ITEMS_MAX = 16,          /* parts of a body that go out without being joined */
    CONTENT_MAX = 65535,     /* of one record (FastCGI 3.3) */
    RECORD_HEADER = 8,
    PARAMS_START = 24,       /* where the variables begin in a usual request */
    KNOWN_MAX = 256,         /* names of variables that are remembered, each with its last value */
    KNOWN_NAME_MAX = 64,     /* bytes of them */
    KNOWN_VALUE_MAX = 1024,
    PROBES = 4,
    CALM_AFTER = 200,        /* requests, as fpm.scoreboard.writer.CALM_AFTER */
    LONG_REQUEST = 1000,     /* us, as fpm.worker.accounting.LONG */
    MEASURE_EVERY = 32,      /* requests, as fpm.worker.accounting.MEASURE_EVERY */
};
static const double LOOK_AFTER = 0.001;    /* s, as fpm.worker.answer_sender.LOOK_AFTER */
static const double KEPT_LIMIT = 120.0;    /* s, as fpm.worker.connection.LIMITS[Phase.KEPT] */

typedef struct {
    const unsigned char *text;
    Py_ssize_t size;
} Span;

static Span span_of(const char *text) { return (Span){(const unsigned char *)text, (Py_ssize_t)strlen(text)}; }

/* Are the bytes the same? */
static int same(Span one, Span other) {
    return one.size == other.size && !memcmp(one.text, other.text, (size_t)one.size);
}

/* Does it begin so? */
static int begins(Span span, Span with) {
    return span.size >= with.size && !memcmp(span.text, with.text, (size_t)with.size);
}

static PyObject *decode(Span span) { return PyUnicode_DecodeLatin1((const char *)span.text, span.size, NULL); }

/* The bytes of a text, which live as long as it does; 0 if it is not all ASCII. */
static int ascii_span(PyObject *text, Span *span) {
    Py_ssize_t length = PyUnicode_GetLength(text);
    span->text = length < 0 ? NULL : (const unsigned char *)PyUnicode_AsUTF8AndSize(text, &span->size);
    return !span->text ? -1 : span->size == length;
}

/* The result of a call whose value tells nothing. */
static int done(PyObject *result) {
    Py_XDECREF(result);
    return result ? 1 : -1;
}

/* The time of a clock in seconds, as Python has it. */
static double read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The end of each of our objects, when what it holds has been let go of. */
static void free_object(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

/* ------------------------------------------------------------------ the scoreboard: numbers of fpm.scoreboard */

enum { FREE, CREATING, ACCEPTING, READING_HEADERS, INFO, EXECUTING, END };  /* fpm.scoreboard.stages.Stage */
enum { WAKE_BELOW_OFFSET = 8, STAGES_OFFSET = 256, BEGIN_OFFSET = 16, DONE_OFFSET = 32, SLOW_OFFSET = 56 };

struct __attribute__((packed)) Begin {  /* at BEGIN_OFFSET of a slot: the fields of fpm.scoreboard.snapshot.Slot */
    uint64_t requests;
    double request_start;
    uint64_t duration, cpu, content_length;
    uint32_t slow_requests;
    uint64_t memory_peak;
    uint32_t max_active;
    unsigned char method[16], uri[512], query[512];
    double began;
    unsigned char script[256], user[32];
};
enum { USER_OFFSET = BEGIN_OFFSET + offsetof(struct Begin, user), SLOT_END = BEGIN_OFFSET + sizeof(struct Begin) };

/* A slot's block of statistics (fpm.scoreboard.statistics), and what is counted in it (fpm.scoreboard.counting). */
enum { CLASSES = 5, ABORTED = CLASSES /* in the place of a class */, START_SIZE = 32 };
static const int64_t QUEUE_WAIT_MAX = 3600000000, CLOCK_SKEW_MAX = 1000000;  /* us */
#define DECADE(ten) 100u * (ten), 125u * (ten), 160u * (ten), 200u * (ten), 250u * (ten), 315u * (ten), \
    400u * (ten), 500u * (ten), 630u * (ten), 800u * (ten)
static const uint32_t BOUNDS[] = {  /* us */
    DECADE(1), DECADE(10), DECADE(100), DECADE(1000), DECADE(10000), DECADE(100000), 100000000u};
enum { BUCKETS = sizeof BOUNDS / sizeof *BOUNDS + 1 };
typedef struct {
    uint64_t total, counts[BUCKETS];
} Histogram;
typedef struct {
    uint64_t classes[CLASSES + 1];  /* the aborted ones are the last */
    Histogram response, first_byte, queue_wait, cpu;
    Histogram usual;         /* counts for the class and all of these but the wait, see statistics.USUAL */
} Statistics;

/* The numbers that both sides count, and where they are written: a base of fpm.scoreboard.writer.SlotWriter. */
typedef struct {
    PyObject_HEAD
    Py_buffer board, block;
    Statistics *statistics;  /* in the block */
    unsigned char *stages, *slot;
    Py_ssize_t slots, index;
    unsigned long long requests, memory, last_long;
    unsigned int sequence, slow;
    int peak_active;
    char has_user, was_long;
} Slot;

/* Shows what this worker does now (fpm.scoreboard.stages.Stage). */
static void set_stage(Slot *self, unsigned char stage) {
    __atomic_store_n(self->stages + self->index, stage, __ATOMIC_RELEASE);
}

/* How many workers are idle, this one included. */
static Py_ssize_t count_idle(Slot *self) {
    Py_ssize_t idle = 0;
    for (Py_ssize_t i = 0; i < self->slots; i++) idle += self->stages[i] == ACCEPTING;
    return idle;
}

/* Have all requests been short for long? Then one that is held may wait for another, see Connections.park_others(). */
static int is_calm(const Slot *self) { return self->requests - self->last_long >= CALM_AFTER; }

/* A request has come. Returns 1 if the master wants to hear that few workers are idle now. */
static int take_slot(Slot *self) {
    set_stage(self, READING_HEADERS);
    self->requests++;
    Py_ssize_t idle = 0, absent = 0;
    for (Py_ssize_t i = 0; i < self->slots; i++) {
        idle += self->stages[i] == ACCEPTING;
        absent += self->stages[i] <= CREATING;
    }
    if (self->slots - absent - idle > self->peak_active)
        self->peak_active = (int)(self->slots - absent - idle);
    uint16_t wake_below;
    memcpy(&wake_below, (unsigned char *)self->board.buf + WAKE_BELOW_OFFSET, sizeof wake_below);
    return idle < wake_below;
}

/* Begins and ends a change of the slot: its counter is odd between the two. */
static void turn_sequence(Slot *self) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n((uint32_t *)self->slot, ++self->sequence, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Copies a text to its field, cut to `size` bytes; what is left of the field stays as it is. */
static void copy_text(unsigned char *field, Py_ssize_t size, Span text) {
    if (text.size) memcpy(field, text.text, (size_t)(text.size < size ? text.size : size));
}

/* What the request is. Made elsewhere and copied as one: a reader who finds the slot while it is written must not find
 * it empty. */
static void begin_slot(Slot *self, double now, double began, Span method, Span uri, Span query, Span user) {
    struct Begin fields = {
        .requests = self->requests, .request_start = now, .slow_requests = self->slow, .memory_peak = self->memory,
        .max_active = (uint32_t)self->peak_active, .began = began,
    };
    copy_text(fields.method, sizeof fields.method, method);
    copy_text(fields.uri, sizeof fields.uri, uri);
    copy_text(fields.query, sizeof fields.query, query);
    copy_text(fields.user, sizeof fields.user, user);
    turn_sequence(self);
    memcpy(self->slot + BEGIN_OFFSET, &fields, offsetof(struct Begin, script));
    if (user.size || self->has_user) memcpy(self->slot + USER_OFFSET, fields.user, sizeof fields.user);
    self->has_user = user.size > 0;
    turn_sequence(self);
}

/* How long the request took, and its CPU time, in microseconds. */
static void end_slot(Slot *self, uint64_t duration, uint64_t cpu, int slow) {
    const uint64_t times[] = {duration, cpu};
    turn_sequence(self);
    memcpy(self->slot + DONE_OFFSET, times, sizeof times);
    self->slow += (unsigned int)slow;
    memcpy(self->slot + SLOW_OFFSET, &self->slow, sizeof self->slow);
    turn_sequence(self);
}

/* Adds to a number of the statistics; this worker is the only one that writes it. */
static void add_to(uint64_t *number, uint64_t count) { __atomic_store_n(number, *number + count, __ATOMIC_RELAXED); }

/* Counts a duration in microseconds: in the bucket of the first bound that it does not exceed. */
static void count_duration(Histogram *histogram, uint64_t duration) {
    int low = 0, high = BUCKETS - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (BOUNDS[middle] < duration)
            low = middle + 1;
        else
            high = middle;
    }
    add_to(&histogram->total, duration);
    add_to(&histogram->counts[low], 1);
}

/* The microseconds since a time that a web server has told, -1 if it is none; see read_wait() in
 * fpm.scoreboard.counting. */
static int64_t read_wait(Span text, double now) {
    int64_t whole = 0, unit, part = 0, unit_of_part = 1000000;
    Py_ssize_t at = begins(text, span_of("t=")) ? 2 : 0, start = at;
    if (text.size > START_SIZE) return -1;
    for (; at < text.size && text.text[at] >= '0' && text.text[at] <= '9'; at++)
        if (whole < 100000000000000000) whole = whole * 10 + text.text[at] - '0';
    if (at == start || (at < text.size && text.text[at++] != '.')) return -1;
    for (; at < text.size && text.text[at] >= '0' && text.text[at] <= '9'; at++)
        if (unit_of_part > 1) part += (text.text[at] - '0') * (unit_of_part /= 10);
    if (at < text.size) return -1;
    unit = whole < 100000000000 ? 1000000 : whole < 100000000000000 ? 1000 : 1;
    int64_t wait = (int64_t)(now * 1e6) - (whole * unit + part * unit / 1000000);
    return wait < -CLOCK_SKEW_MAX || wait > QUEUE_WAIT_MAX ? -1 : wait < 0 ? 0 : wait;
}

/* Counts how long a request has waited for a worker, if its web server says when it came. */
static void count_wait(Slot *self, Span request_start, double now) {
    int64_t wait = request_start.size ? read_wait(request_start, now) : -1;
    if (wait >= 0) count_duration(&self->statistics->queue_wait, (uint64_t)wait);
}

/* bind(board, offset, slots, index, statistics): where this slot is in the scoreboard's memory, and the block of its
 * statistics. Raises ValueError if it is not. */
static PyObject *slot_bind(PyObject *object, PyObject *args) {
    Slot *self = (Slot *)object;
    PyObject *board, *block;
    Py_ssize_t offset, slots, index;
    if (!PyArg_ParseTuple(args, "OnnnO", &board, &offset, &slots, &index, &block)) return NULL;
    if (self->slot) return PyErr_Format(PyExc_ValueError, "the slot is bound already");
    if (PyObject_GetBuffer(board, &self->board, PyBUF_WRITABLE) < 0) return NULL;
    Py_ssize_t size = self->board.len;
    if (index < 0 || index >= slots || slots > size - STAGES_OFFSET || offset < STAGES_OFFSET + slots || offset % 4 ||
        offset > size - SLOT_END) {
        PyBuffer_Release(&self->board);
        return PyErr_Format(PyExc_ValueError, "a scoreboard of %zd bytes has no slot %zd of %zd", size, index, slots);
    }
    if (PyObject_GetBuffer(block, &self->block, PyBUF_WRITABLE) < 0) {
        PyBuffer_Release(&self->board);
        return NULL;
    }
    if (self->block.len < (Py_ssize_t)sizeof(Statistics) || (uintptr_t)self->block.buf % sizeof(uint64_t)) {
        PyBuffer_Release(&self->block);
        PyBuffer_Release(&self->board);
        return PyErr_Format(PyExc_ValueError, "it is no block of statistics");
    }
    self->statistics = self->block.buf;
    self->stages = (unsigned char *)self->board.buf + STAGES_OFFSET;
    self->slot = (unsigned char *)self->board.buf + offset;
    self->slots = slots;
    self->index = index;
    Py_RETURN_NONE;
}

/* Lets go of the memory. */
static void slot_dealloc(PyObject *object) {
    if (((Slot *)object)->slot) {
        PyBuffer_Release(&((Slot *)object)->block);
        PyBuffer_Release(&((Slot *)object)->board);
    }
    free_object(object);
}

static PyMethodDef slot_methods[] = {
    {"bind", slot_bind, METH_VARARGS, "bind(board, offset, slots, index, statistics)"}, {NULL, NULL, 0, NULL}};
static PyMemberDef slot_members[] = {
    {"requests", T_ULONGLONG, offsetof(Slot, requests), 0, NULL},
    {"last_long", T_ULONGLONG, offsetof(Slot, last_long), 0, NULL},
    {"_memory", T_ULONGLONG, offsetof(Slot, memory), 0, NULL},
    {"_sequence", T_UINT, offsetof(Slot, sequence), 0, NULL},
    {"_slow", T_UINT, offsetof(Slot, slow), 0, NULL},
    {"_peak_active", T_INT, offsetof(Slot, peak_active), 0, NULL},
    {"_user", T_BOOL, offsetof(Slot, has_user), 0, NULL},
    {"was_long", T_BOOL, offsetof(Slot, was_long), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot slot_slots[] = {
    {Py_tp_dealloc, slot_dealloc}, {Py_tp_methods, slot_methods}, {Py_tp_members, slot_members}, {0, NULL}};
static PyType_Spec slot_spec = {
    "fpm._hotpath.Slot", sizeof(Slot), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slot_slots};

/* ------------------------------------------------------------------ routes: fpm.scoreboard.route_table, route_fold */

enum {
    LOOKED_AT = 512,         /* the numbers of fpm.scoreboard.route_fold */
    SEGMENT_MAX = 64,
    ROUTE_TEXT_MAX = 120,
    CUT_SIZE = 4,
    HASH_MIN = 8,
    TOKEN_MIN = 16,
    OPAQUE_MIN = 32,
    UUID_SIZE = 36,
    FOLD_ROOM = 2 * (LOOKED_AT + CUT_SIZE) + 8, /* `<n>/` stands for `1/`; nothing grows more */
    ROUTES = 64,             /* the numbers of fpm.scoreboard.route_table */
    ROUTE_BUCKETS = 40,
    UNIT = 256,
    PLACE_AFTER = 2048,
    SAVED_MAX = 256,
    FLOOD = 256,
    WATCH = 32,
    FIRST_BUCKET = 6,
    PLACES = 256,            /* of the index by the hashes of texts */
};
static const uint64_t SOUND_MAX = (1ull << 48) - 1;
enum RouteNumber { R_INHERITED, R_REQUESTS, R_ERRORS, R_TIME, R_CPU, R_GROWTH, ROUTE_NUMBERS };

struct Route {
    uint32_t sequence, size;
    uint64_t numbers[ROUTE_NUMBERS];
    uint32_t buckets[ROUTE_BUCKETS];
    unsigned char text[ROUTE_TEXT_MAX]; /* in the first entry: how many of the others are in use */
};

typedef struct {
    PyObject_HEAD
    Py_buffer buffer;
    struct Route *table;     /* NULL: there is none (any more) */
    uint64_t peak, unseen;
    uint64_t saved, missed, former_requests, former_time; /* see RouteTable */
    uint32_t hashes[ROUTES];
    unsigned int used, watching;
    unsigned char places[PLACES];
} Routes;

enum { DIGIT = 1, HEX_LETTER = 2, LETTER = 4 };

/* What a byte is in a path; 0: it is between the parts. */
static int kind_of(unsigned char byte) {
    unsigned char lower = byte | 32;
    return byte >= '0' && byte <= '9' ? DIGIT : lower < 'a' || lower > 'z' ? 0 : lower <= 'f' ? HEX_LETTER : LETTER;
}

/* Does a UUID begin here (RFC 9562 4), and end with its part? */
static int is_uuid(const unsigned char *text, Py_ssize_t size) {
    if (size < UUID_SIZE || (size > UUID_SIZE && kind_of(text[UUID_SIZE]))) return 0;
    for (int i = 0; i < UUID_SIZE; i++) {
        int is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_dash ? text[i] != '-' : !(kind_of(text[i]) & (DIGIT | HEX_LETTER))) return 0;
    }
    return 1;
}

/* How a part is called that is one of many; as it is if it is none. Tells where it ends. */
static Span name_part(const unsigned char *text, Py_ssize_t size, Py_ssize_t *end) {
    int kinds = 0, former = 0, runs = 0, kind;
    Py_ssize_t length = 0;
    for (; length < size && (kind = kind_of(text[length])) != 0; length++) {
        runs += kind == DIGIT && former != DIGIT;
        kinds |= former = kind;
    }
    *end = length;
    if (length == 8 && is_uuid(text, size)) {
        *end = UUID_SIZE;
        return span_of("<uuid>");
    }
    if (kinds == DIGIT) return span_of("<n>");
    int is_token = length >= TOKEN_MIN && runs > 1, is_hash = length >= HASH_MIN && runs && !(kinds & LETTER);
    return length >= OPAQUE_MIN || is_token || is_hash ? span_of("<hash>") : (Span){text, length};
}

/* Where the last slash before `end` is; 0 without one. */
static Py_ssize_t find_slash(const unsigned char *text, Py_ssize_t end) {
    while (end > 0 && text[end - 1] != '/') end--;
    return end > 0 ? end - 1 : 0;
}

/* Ends a text that is too long. */
static Py_ssize_t cut_at(unsigned char *text, Py_ssize_t at) {
    memcpy(text + at, "/...", CUT_SIZE);
    return at + CUT_SIZE;
}

/* Adds the pattern of a path, or of its first part, without a bound. */
static Py_ssize_t fold_parts(Span path, unsigned char *out) {
    Py_ssize_t size = 0, segment = 0;
    for (Py_ssize_t at = 0; at <= path.size;) {
        int is_end = at == path.size, is_part = !is_end && kind_of(path.text[at]);
        if (is_part) {
            Py_ssize_t length;
            Span name = name_part(path.text + at, path.size - at, &length);
            memcpy(out + size, name.text, (size_t)name.size);
            size += name.size;
            at += length;
            continue;
        }
        if ((is_end || path.text[at] == '/') && size - segment > SEGMENT_MAX) {
            memcpy(out + segment, "<long>", 6);
            size = segment + 6;
        }
        if (!is_end) out[size++] = path.text[at];
        if (!is_end && path.text[at] == '/') segment = size;
        at++;
    }
    return size;
}

/* See fpm.scoreboard.route_fold.fold_path(): returns the size of the pattern in `out`, which has FOLD_ROOM bytes. */
static Py_ssize_t fold_path(Span path, unsigned char *out) {
    int is_cut = path.size > LOOKED_AT;
    if (is_cut) path.size = find_slash(path.text, LOOKED_AT);
    Py_ssize_t size = fold_parts(path, out);
    if (is_cut) size = cut_at(out, size);
    if (size > ROUTE_TEXT_MAX) size = cut_at(out, find_slash(out, ROUTE_TEXT_MAX - CUT_SIZE + 1));
    if (!size) out[size++] = '/';
    return size;
}

/* The bucket of a duration in microseconds. */
static int bucket_of(uint64_t duration) {
    int bits = duration ? 64 - __builtin_clzll(duration) : 0;
    if (bits <= FIRST_BUCKET) return 0;
    int bucket = 1 + 2 * (bits - FIRST_BUCKET - 1) + (int)(duration >> (bits - 2) & 1);
    return bucket < ROUTE_BUCKETS ? bucket : ROUTE_BUCKETS - 1;
}

/* One more, or some, as far as the number goes. */
static void add_saturating(uint32_t *number, uint32_t count) {
    *number = *number > UINT32_MAX - count ? UINT32_MAX : *number + count;
}

/* The hash of a text (FNV-1a). */
static uint32_t hash_text(Span text) {
    uint32_t hash = 2166136261u;
    for (Py_ssize_t i = 0; i < text.size; i++) hash = (hash ^ text.text[i]) * 16777619u;
    return hash;
}

/* The entry of a text; 0 without one. */
static unsigned int find_route(Routes *self, Span text, uint32_t hash) {
    for (unsigned int place = hash % PLACES; self->places[place]; place = (place + 1) % PLACES) {
        unsigned int entry = self->places[place];
        const struct Route *route = &self->table[entry];
        if (self->hashes[entry] == hash && route->size == (uint32_t)text.size &&
            !memcmp(route->text, text.text, (size_t)text.size))
            return entry;
    }
    return 0;
}

/* Makes the index anew. */
static void index_routes(Routes *self) {
    memset(self->places, 0, sizeof self->places);
    for (unsigned int entry = 1; entry <= self->used; entry++) {
        unsigned int place = self->hashes[entry] % PLACES;
        while (self->places[place]) place = (place + 1) % PLACES;
        self->places[place] = (unsigned char)entry;
    }
}

/* Begins and ends a change of an entry's owner: the table's counter is odd between the two. */
static void turn_table(Routes *self) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&self->table->sequence, self->table->sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Lets a pattern begin with this entry, and this weight; what a former owner has counted goes to the others. */
static unsigned int place_route(Routes *self, Span text, uint32_t hash, uint64_t weight, unsigned int entry) {
    struct Route *others = self->table, *route = &self->table[entry];
    const uint32_t sequence = route->sequence;
    turn_table(self);
    if (entry > self->used) {
        uint32_t used = self->used = entry;
        memcpy(others->text, &used, sizeof used);
    } else {
        for (int i = R_REQUESTS; i < ROUTE_NUMBERS; i++) others->numbers[i] += route->numbers[i];
        for (int i = 0; i < ROUTE_BUCKETS; i++) add_saturating(&others->buckets[i], route->buckets[i]);
    }
    memset(route, 0, sizeof *route);
    route->sequence = sequence;
    route->size = (uint32_t)text.size;
    route->numbers[R_INHERITED] = weight;
    memcpy(route->text, text.text, (size_t)text.size);
    self->hashes[entry] = hash;
    index_routes(self);
    turn_table(self);
    return entry;
}

/* What the others have had at the last change of an owner: requests since then have got no entry. */
static void keep_former(Routes *self) {
    self->former_requests = self->table->numbers[R_REQUESTS];
    self->former_time = self->table->numbers[R_TIME];
}

/* Gives a pattern the entry of the least weight. */
static unsigned int replace_route(Routes *self, Span text, uint32_t hash) {
    uint64_t requests = 0, time = 0, mean, weight = UINT64_MAX;
    unsigned int least = 1;
    for (unsigned int entry = 0; entry < ROUTES; entry++) {
        requests += self->table[entry].numbers[R_REQUESTS];
        time += self->table[entry].numbers[R_TIME];
    }
    mean = time / (requests ? requests : 1);
    mean += !mean;
    for (unsigned int entry = 1; entry < ROUTES; entry++) {
        const uint64_t *numbers = self->table[entry].numbers;
        uint64_t found = numbers[R_INHERITED] + UNIT * (numbers[R_REQUESTS] + numbers[R_TIME] / mean);
        if (found >= weight) continue;
        weight = found;
        least = entry;
    }
    const uint64_t *others = self->table->numbers;
    uint64_t passed = others[R_REQUESTS] - self->former_requests + (others[R_TIME] - self->former_time) / mean;
    place_route(self, text, hash, weight + UNIT * passed, least);
    keep_former(self);
    return least;
}

/* The entry of a request; 0: it is one of the others. */
static unsigned int choose_route(Routes *self, Span path, uint64_t duration) {
    const uint64_t saved_max = (uint64_t)SAVED_MAX * PLACE_AFTER;
    unsigned char out[FOLD_ROOM];
    self->saved += duration;
    if (++self->missed > FLOOD && self->saved < PLACE_AFTER) return 0;
    Span text = {out, fold_path(path, out)};
    uint32_t hash = hash_text(text);
    unsigned int entry = find_route(self, text, hash);
    if (entry) {
        self->missed = 0;
        return entry;
    }
    if (self->used < ROUTES - 1) return place_route(self, text, hash, 0, self->used + 1);
    if (self->saved < PLACE_AFTER) return 0;
    self->saved = (self->saved < saved_max ? self->saved : saved_max) - PLACE_AFTER;
    return replace_route(self, text, hash);
}

/* By what the memory has grown since somebody looked is the last request's, if it was the only one. */
static void grow_route(Routes *self, unsigned int entry, uint64_t peak) {
    if (peak > self->peak) {
        self->table[self->unseen ? 0 : entry].numbers[R_GROWTH] += peak - self->peak;
        self->peak = peak;
        self->watching = WATCH;
    } else if (self->watching) {
        self->watching--;
    }
    self->unseen = 0;
}

/* Counts a request; a peak of 0: nobody has looked at the memory. See RouteTable.count(). */
static void count_route(Routes *self, Span path, uint64_t duration, uint64_t cpu, int failed, uint64_t peak) {
    unsigned int entry = choose_route(self, path, duration);
    struct Route *route = &self->table[entry];
    route->numbers[R_REQUESTS]++;
    route->numbers[R_TIME] += duration;
    route->numbers[R_CPU] += cpu;
    route->numbers[R_ERRORS] += (uint64_t)(failed != 0);
    add_saturating(&route->buckets[bucket_of(duration)], 1);
    if (peak)
        grow_route(self, entry, peak);
    else
        self->unseen++;
}

/* Takes one entry over; 0 if it is not sound. */
static int take_route(Routes *self, unsigned int entry) {
    const struct Route *route = &self->table[entry];
    Span text = {route->text, route->size};
    for (int i = 0; i < ROUTE_NUMBERS; i++)
        if (route->numbers[i] > SOUND_MAX) return 0;
    if (!entry) return !route->size;
    if (text.size < 1 || text.size > ROUTE_TEXT_MAX) return 0;
    self->hashes[entry] = hash_text(text);
    if (find_route(self, text, self->hashes[entry])) return 0;
    self->used = entry;
    index_routes(self);
    return 1;
}

/* Goes on with what a worker before has left; begins anew if that is not sound, as after a death in the middle. */
static void take_table(Routes *self) {
    uint32_t used;
    memcpy(&used, self->table->text, sizeof used);
    int is_sound = !(self->table->sequence & 1) && used < ROUTES && take_route(self, 0);
    for (unsigned int entry = 1; is_sound && entry <= used; entry++) is_sound = take_route(self, entry);
    if (is_sound) return;
    memset(self->table, 0, ROUTES * sizeof *self->table);
    self->used = 0;
    index_routes(self);
}

/* Routes(table, peak): see fpm.scoreboard.route_table.RouteTable. Raises ValueError if the memory is no table. */
static PyObject *routes_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords)) {
    PyObject *memory;
    unsigned long long peak;
    if (!PyArg_ParseTuple(args, "OK", &memory, &peak)) return NULL;
    Routes *self = (Routes *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!self || PyObject_GetBuffer(memory, &self->buffer, PyBUF_WRITABLE) < 0) {
        Py_XDECREF((PyObject *)self);
        return NULL;
    }
    if (self->buffer.len == ROUTES * (Py_ssize_t)sizeof *self->table && (uintptr_t)self->buffer.buf % 8 == 0) {
        self->table = self->buffer.buf;
        self->peak = peak;
        self->saved = (uint64_t)SAVED_MAX * PLACE_AFTER;
        take_table(self);
        keep_former(self);
        return (PyObject *)self;
    }
    PyErr_Format(PyExc_ValueError, "%zd bytes are no table of routes", self->buffer.len);
    PyBuffer_Release(&self->buffer);
    Py_DECREF((PyObject *)self);
    return NULL;
}

/* The bytes of a path; a new reference to their owner, NULL with an exception set. */
static PyObject *path_bytes(PyObject *path, Span *span) {
    int is_ascii = ascii_span(path, span);
    if (is_ascii) return is_ascii > 0 ? Py_NewRef(path) : NULL;
    PyObject *bytes = PyUnicode_AsEncodedString(path, "latin-1", "replace");
    char *start;
    if (bytes && PyBytes_AsStringAndSize(bytes, &start, &span->size) < 0) Py_CLEAR(bytes);
    span->text = bytes ? (const unsigned char *)start : NULL;
    return bytes;
}

/* count(path, duration, cpu, failed, peak) */
static PyObject *routes_count(PyObject *object, PyObject *args) {
    Routes *self = (Routes *)object;
    PyObject *path, *bytes;
    unsigned long long duration, cpu, peak;
    int failed;
    Span span;
    if (!PyArg_ParseTuple(args, "UKKpK", &path, &duration, &cpu, &failed, &peak)) return NULL;
    bytes = path_bytes(path, &span);
    if (!bytes) return NULL;
    if (self->table) count_route(self, span, duration, cpu, failed, peak);
    Py_DECREF(bytes);
    Py_RETURN_NONE;
}

/* look(path, peak) */
static PyObject *routes_look(PyObject *object, PyObject *args) {
    Routes *self = (Routes *)object;
    PyObject *path, *bytes;
    unsigned long long peak;
    unsigned char out[FOLD_ROOM];
    Span span;
    if (!PyArg_ParseTuple(args, "UK", &path, &peak)) return NULL;
    bytes = path_bytes(path, &span);
    if (!bytes) return NULL;
    Span text = {out, fold_path(span, out)};
    if (self->table) grow_route(self, find_route(self, text, hash_text(text)), peak);
    Py_DECREF(bytes);
    Py_RETURN_NONE;
}

/* close(): lets go of the memory. */
static PyObject *routes_close(PyObject *object, PyObject *Py_UNUSED(args)) {
    Routes *self = (Routes *)object;
    if (self->table) PyBuffer_Release(&self->buffer);
    self->table = NULL;
    Py_RETURN_NONE;
}

/* Lets go of everything. */
static void routes_dealloc(PyObject *object) {
    Py_XDECREF(routes_close(object, NULL));
    free_object(object);
}

static PyMethodDef routes_methods[] = {
    {"count", routes_count, METH_VARARGS, "count(path, duration, cpu, failed, peak)"},
    {"look", routes_look, METH_VARARGS, "look(path, peak)"},
    {"close", routes_close, METH_NOARGS, "close()"},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef routes_members[] = {
    {"watching", T_UINT, offsetof(Routes, watching), READONLY, NULL}, {NULL, 0, 0, 0, NULL}};
static PyType_Slot routes_slots[] = {
    {Py_tp_new, routes_new}, {Py_tp_dealloc, routes_dealloc}, {Py_tp_methods, routes_methods},
    {Py_tp_members, routes_members}, {0, NULL}};
static PyType_Spec routes_spec = {"fpm._hotpath.Routes", sizeof(Routes), 0, Py_TPFLAGS_DEFAULT, routes_slots};

/* ------------------------------------------------------------------ the server: what is the same for each request */

/* What plain Python gives; fpm.worker.compiled says what each is. */
#define EACH_PART(X) X(APPLICATION, application) X(CONSTANTS, constants) X(HELD, held) X(CURRENT, current) \
    X(FIELDS, fields) X(STATUSES, statuses) X(FORMAT_HEAD, format_head) X(COMPLETE_ENVIRON, complete_environ) \
    X(ACCOUNTING, accounting) X(KEPT_PHASE, kept_phase) X(LINGERING_PHASE, lingering_phase) \
    X(MAKE_INPUT, make_input) X(ENDED, ended) X(HAND_OVER, hand_over) X(RESUME, resume) X(SEND_REST, send_rest) \
    X(SETTLE, settle) X(TAKE, take) X(TELL, tell) X(ROUTE_TABLE, route_table) \
    X(MOUNT, mount) X(OWN_PATHS, own_paths) X(OWN, own)
#define CONSTANT_OF(constant, text) constant,
#define TEXT_OF(constant, text) #text,
enum Part { EACH_PART(CONSTANT_OF) PARTS };
static const char *const PART_NAMES[PARTS] = {EACH_PART(TEXT_OF)};

/* Variables that mean something here: their order is that of their texts. */
enum Role {
    OTHER, SCRIPT_NAME, PATH_INFO, REQUEST_METHOD, QUERY_STRING, CONTENT_LENGTH, CONTENT_TYPE, SCRIPT_FILENAME, HTTPS,
    REQUEST_SCHEME, SERVER_PROTOCOL, SERVER_NAME, SERVER_PORT, REMOTE_USER, HTTP_HOST, SERVER_SOFTWARE, REQUEST_START,
    UNWANTED,
    UNWANTED_LAST = UNWANTED + 3, ROLES,
};
/* Names of attributes and entries that are used for each request; the first are those of the variables. */
enum Name {
    A_REQUEST = ROLES, A_RESPONSE, A_PHASE, A_DEADLINE, A_MACHINE, A_WRITE, A_START_RESPONSE, URL_SCHEME, INPUT, HTTP,
    HTTPS_SCHEME, PORT_80, PORT_443, NOTHING, NAMES,
};
static const char *const NAME_TEXTS[NAMES] = {
    "", "SCRIPT_NAME", "PATH_INFO", "REQUEST_METHOD", "QUERY_STRING", "CONTENT_LENGTH", "CONTENT_TYPE",
    "SCRIPT_FILENAME", "HTTPS", "REQUEST_SCHEME", "SERVER_PROTOCOL", "SERVER_NAME", "SERVER_PORT", "REMOTE_USER",
    "HTTP_HOST", "SERVER_SOFTWARE", "REQUEST_START",
    "HTTP_PROXY", "HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE",
    "request", "response", "phase", "deadline", "machine", "write", "start_response", "wsgi.url_scheme", "wsgi.input",
    "http", "https", "80", "443", "",
};

/* The name of a variable, and its value in the request before: most are the same again. The texts are the objects'. */
typedef struct {
    PyObject *name, *value;
    Span name_text, value_text;
    int role;                /* what it means here (enum Role) */
} Known;

typedef struct {
    PyObject_HEAD
    PyObject *parts[PARTS], *names[NAMES];
    Slot *slot;
    PyTypeObject *answer_type, *routes_type;
    unsigned long long slow_limit;  /* us */
    unsigned long long limit;       /* requests, 0: none */
    int logs;                /* there is an access log */
    int is_unix;             /* the listening socket; on others plain Python accepts */
    int accepting, leaving;
    int epoll, listen, parking, wake;
    int calling;             /* the application runs */
    int serving;             /* the descriptor of the connection that is being answered, -1: none */
    Known known[KNOWN_MAX];
} Server;

static Py_ssize_t count_held(Server *self) { return PyDict_Size(self->parts[HELD]); }

/* The connection that is held with this descriptor, borrowed; NULL, maybe with an exception, without one. */
static PyObject *find_held(Server *self, int fd) {
    PyObject *key = PyLong_FromLong(fd);
    PyObject *held = key ? PyDict_GetItemWithError(self->parts[HELD], key) : NULL;
    Py_XDECREF(key);
    return held;
}

/* ------------------------------------------------------------------ from bytes to variables */

typedef struct {
    PyObject *environ, *path;
    Span values[ROLES];
    unsigned int seen;
    int repeated;            /* a variable whose meaning depends on which comes last */
    Py_ssize_t count;
} Variables;

static int is_seen(const Variables *v, int role) { return v->seen >> role & 1; }
static int has(const Variables *v, int role) { return is_seen(v, role) && v->values[role].size > 0; }

/* See fpm.fastcgi.simple.match_simple_request: BEGIN_REQUEST, one PARAMS, the ends of PARAMS and STDIN, of request 1.
 * Tells whether the connection is to be kept, and where the variables end. */
static int match_simple(const unsigned char *data, Py_ssize_t size, int *keep, Py_ssize_t *end) {
    static const unsigned char begin[] = {1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 4, 0, 1};
    static const unsigned char tail[] = {1, 4, 0, 1, 0, 0, 0, 0, 1, 5, 0, 1, 0, 0, 0, 0};
    if (size <= PARAMS_START + (Py_ssize_t)sizeof tail || (data[10] & ~1) || memcmp(data, begin, 10) ||
        memcmp(data + 11, begin + 11, sizeof begin - 11) || memcmp(data + size - sizeof tail, tail, sizeof tail))
        return 0;
    *keep = data[10];
    *end = PARAMS_START + (data[20] << 8 | data[21]);
    return *end > PARAMS_START && *end + data[22] + (Py_ssize_t)sizeof tail == size;
}

/* A length of one byte, or of four with the high bit set (FastCGI 3.4); -1 if it is cut. */
static Py_ssize_t read_size(const unsigned char *data, Py_ssize_t end, Py_ssize_t *position) {
    Py_ssize_t at = *position;
    if (at >= end || (data[at] >= 128 && end - at < 4)) return -1;
    *position = at + (data[at] < 128 ? 1 : 4);
    if (data[at] < 128) return data[at];
    return (Py_ssize_t)(data[at] & 127) << 24 | (Py_ssize_t)data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3];
}

/* The place of a name among those that are remembered: its own, or one that it may take. What means something here
 * keeps its place. */
static Known *find_known(Server *self, Span name) {
    unsigned int hash = 2166136261u;
    for (Py_ssize_t i = 0; i < name.size; i++) hash = (hash ^ name.text[i]) * 16777619u;
    Known *place = NULL;
    for (unsigned int probe = 0; probe < PROBES; probe++) {
        Known *known = &self->known[(hash + probe) % KNOWN_MAX];
        if (known->name && same(known->name_text, name)) return known;
        if (known->role == OTHER && (!place || (place->name && !known->name))) place = known;
    }
    return place;
}

/* Lets a name take a place; 0 if it is not ASCII, and is not remembered. */
static int learn(Known *known, PyObject *name, int role) {
    Py_CLEAR(known->name);
    Py_CLEAR(known->value);
    int is_ascii = ascii_span(name, &known->name_text);
    known->name = is_ascii == 1 ? Py_NewRef(name) : NULL;
    known->role = role;
    return is_ascii;
}

/* Gets the objects for a variable, from memory where it is the same as in the request before. */
static int get_variable(Server *self, Span name, Span value, PyObject **key, PyObject **text, int *role) {
    Known *known = name.size <= KNOWN_NAME_MAX ? find_known(self, name) : NULL;
    int is_known = known && known->name && same(known->name_text, name);
    *key = is_known ? Py_NewRef(known->name) : decode(name);
    if (*key && known && !is_known) is_known = learn(known, *key, OTHER);
    if (!*key || is_known < 0) return -1;
    *role = is_known ? known->role : OTHER;
    if (is_known && known->value && same(known->value_text, value)) {
        *text = Py_NewRef(known->value);
        return 1;
    }
    *text = decode(value);
    if (!*text || !is_known || value.size > KNOWN_VALUE_MAX) return *text ? 1 : -1;
    int is_ascii = ascii_span(*text, &known->value_text);
    Py_XDECREF(known->value);
    known->value = is_ascii == 1 ? Py_NewRef(*text) : NULL;
    return is_ascii < 0 ? -1 : 1;
}

/* Adds a variable to environ. Two are not there at all when they are empty, see fpm.wsgi.environ. */
static int add_variable(Server *self, Variables *v, Span name, Span value) {
    PyObject *key = NULL, *text = NULL;
    int role, result = get_variable(self, name, value, &key, &text, &role);
    if (result > 0 && role != OTHER) {
        v->repeated |= is_seen(v, role);
        v->seen |= 1u << role;
        v->values[role] = value;
    }
    if (result > 0 && (value.size || (role != CONTENT_LENGTH && role != CONTENT_TYPE))) {
        v->count++;
        result = PyDict_SetItem(v->environ, key, text) < 0 ? -1 : 1;
    }
    Py_XDECREF(key);
    Py_XDECREF(text);
    return result;
}

/* Decodes variables; 0 if plain Python must do it: some come twice, a length is wrong. */
static int decode_variables(Server *self, Variables *v, const unsigned char *data, Py_ssize_t end) {
    Py_ssize_t position = 0;
    while (position < end) {
        Span name, value;
        name.size = read_size(data, end, &position);
        value.size = name.size < 0 ? -1 : read_size(data, end, &position);
        if (value.size < 0 || name.size > end - position || value.size > end - position - name.size) return 0;
        name.text = data + position;
        value.text = name.text + name.size;
        position += name.size + value.size;
        if (add_variable(self, v, name, value) < 0) return -1;
    }
    return !v->repeated && PyDict_Size(v->environ) == v->count;
}

/* Does complete_usual() do for it? If the web server sends no SERVER_NAME, the host's is given. */
static int is_usual(Server *self, const Variables *v, int *secure, Span *host) {
    const unsigned int needed = 1u << REQUEST_METHOD | 1u << QUERY_STRING | 1u << SERVER_PROTOCOL;
    unsigned int refused = 1u << PATH_INFO;
    for (int role = UNWANTED; role <= UNWANTED_LAST; role++) refused |= 1u << role;
    if (self->parts[MOUNT] != Py_None || !has(v, SCRIPT_NAME) || v->values[SCRIPT_NAME].text[0] != '/' ||
        (v->seen & needed) != needed || v->seen & refused || has(v, CONTENT_LENGTH) ||
        (is_seen(v, HTTP_HOST) && !has(v, HTTP_HOST)))
        return 0;
    if (has(v, SCRIPT_FILENAME) && begins(v->values[SCRIPT_FILENAME], span_of("proxy:"))) return 0;
    Span scheme = has(v, HTTPS) ? v->values[HTTPS] : v->values[REQUEST_SCHEME];
    *secure = has(v, HTTPS) ? same(scheme, span_of("on")) : scheme.size && same(scheme, span_of("https"));
    if (scheme.size && !*secure && (has(v, HTTPS) || !same(scheme, span_of("http")))) return 0;
    if (has(v, SERVER_NAME)) return 1;
    *host = has(v, HTTP_HOST) ? v->values[HTTP_HOST] : *host;
    const unsigned char *colon = host->size ? memchr(host->text, ':', (size_t)host->size) : NULL;
    if (colon) host->size = colon - host->text;
    return host->size && host->text[0] != '[';
}

/* Puts a value into environ by a name that is always there; 0 with an exception set, also if there is no value. */
static int set_entry(Server *self, Variables *v, int name, PyObject *value) {
    return value && PyDict_SetItem(v->environ, self->names[name], value) == 0;
}

/* What fpm.wsgi.environ.complete_environ does with a usual request. */
static int complete_usual(Server *self, Variables *v, int secure, Span host) {
    PyObject *const *names = self->names;
    PyObject *name = host.size ? decode(host) : NULL;
    v->path = PyDict_GetItemWithError(v->environ, names[SCRIPT_NAME]);
    Py_XINCREF(v->path);
    int is_done = set_entry(self, v, PATH_INFO, v->path) && set_entry(self, v, SCRIPT_NAME, names[NOTHING]) &&
                  set_entry(self, v, URL_SCHEME, names[secure ? HTTPS_SCHEME : HTTP]) &&
                  (!host.size || set_entry(self, v, SERVER_NAME, name)) &&
                  (has(v, SERVER_PORT) || set_entry(self, v, SERVER_PORT, names[secure ? PORT_443 : PORT_80]));
    Py_XDECREF(name);
    return is_done ? 1 : -1;
}

/* Makes environ, and the whole path, of a request's bytes; 0 if plain Python must read it. */
static int read_request(Server *self, const unsigned char *data, Py_ssize_t size, int *keep, Variables *v) {
    Py_ssize_t end;
    int secure = 0, result;
    Span host = {NULL, 0};
    if (!match_simple(data, size, keep, &end)) return 0;
    v->environ = PyDict_New();
    result = v->environ ? decode_variables(self, v, data + PARAMS_START, end - PARAMS_START) : -1;
    if (result <= 0) return result;
    if (is_usual(self, v, &secure, &host))
        result = complete_usual(self, v, secure, host);
    else
        v->path = PyObject_CallFunctionObjArgs(self->parts[COMPLETE_ENVIRON], v->environ, self->parts[MOUNT], NULL);
    PyObject *input = v->path && result > 0 ? PyObject_CallObject(self->parts[MAKE_INPUT], NULL) : NULL;
    result = input && PyDict_Update(v->environ, self->parts[CONSTANTS]) == 0 && set_entry(self, v, INPUT, input);
    Py_XDECREF(input);
    return result ? 1 : -1;
}

/* Lets go of what read_request() has made. */
static void clear_variables(Variables *v) {
    Py_CLEAR(v->environ);
    Py_CLEAR(v->path);
}

/* ------------------------------------------------------------------ the answer to one request */

enum State { ANSWERING, HANDED_OVER, OVER };

/* What an application sees of its request: start_response(), write(), and what fpm.library asks of it. */
typedef struct {
    PyObject_HEAD
    Server *server;
    PyObject *connection;    /* fpm.worker.connection.WebConnection, NULL for a descriptor alone */
    PyObject *environ, *path, *status;
    PyObject *request;       /* fpm.worker.request.Request, once handed over */
    double epoch, started, cpu;
    long long length;        /* Content-Length in bytes, -1: not set */
    Py_ssize_t head_start, head_size;  /* its lines in `out`, behind the record's header */
    int fd, keep, head_only;
    int is_nginx;            /* which sees that a connection is not to be used again */
    int is_refused;          /* it is not kept, though the web server would */
    int is_gone;             /* the web server was gone when it was sent */
    enum State state;
    unsigned char out[OUT_SIZE];
} Answer;

/* The connection for plain Python: an object, or the descriptor of one that has none yet. */
static PyObject *place_of(Answer *self) {
    return self->connection ? Py_NewRef(self->connection) : PyLong_FromLong(self->fd);
}

/* The lines of the head without the status, as plain Python and the access log want them. */
static PyObject *get_head(Answer *self) {
    return PyUnicode_FromStringAndSize((const char *)self->out + RECORD_HEADER + self->head_start, self->head_size);
}

/* Gives what has been done of a request to plain Python, which goes on with it. Returns the Request, borrowed; where
 * there was no need of one before the end, something in its place for what the application has kept. */
static PyObject *hand_over(Answer *self) {
    if (self->request) return self->request;
    if (self->state == OVER) return self->server->parts[ENDED];
    self->request = PyObject_CallFunction(
        self->server->parts[HAND_OVER], "ONiOOdddiONL", (PyObject *)self, place_of(self), self->keep, self->environ,
        self->path, self->epoch, self->started, self->cpu, self->head_only, self->status ? self->status : Py_None,
        get_head(self), self->length);
    self->state = HANDED_OVER;
    return self->request;
}

/* Calls a method of the Request's response, after handing over. */
static PyObject *delegate(Answer *self, int name, PyObject *args, PyObject *keywords) {
    PyObject *request = hand_over(self), *response, *method, *result;
    response = request ? PyObject_GetAttr(request, self->server->names[A_RESPONSE]) : NULL;
    method = response ? PyObject_GetAttr(response, self->server->names[name]) : NULL;
    result = method ? PyObject_Call(method, args, keywords) : NULL;
    Py_XDECREF(method);
    Py_XDECREF(response);
    return result;
}

/* All else that is asked of a request (fpm.library.CurrentRequest) is plain Python's. */
static PyObject *answer_getattr(PyObject *object, PyObject *name) {
    PyObject *found = PyObject_GenericGetAttr(object, name);
    if (found || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
    PyErr_Clear();
    PyObject *request = hand_over((Answer *)object);
    return request ? PyObject_GetAttr(request, name) : NULL;
}

/* Takes a line of the head and the Content-Length that it gives, or None; 0 if they do not fit here. */
static int add_lines(Answer *self, PyObject *lines, PyObject *length) {
    Span text;
    int is_ascii = ascii_span(lines, &text);
    if (is_ascii <= 0 || text.size > OUT_SIZE - RECORD_HEADER - END_ROOM - self->head_size)
        return is_ascii < 0 ? -1 : 0;
    memcpy(self->out + RECORD_HEADER + self->head_size, text.text, (size_t)text.size);
    self->head_size += text.size;
    if (length == Py_None) return 1;
    self->length = PyLong_AsLongLong(length);
    if (self->length == -1)
        PyErr_Clear(); /* larger than any file */
    return self->length >= 0;
}

/* A field that has passed the checks before (fpm.wsgi.head); 0 if it has to pass them now. */
static int add_field(Answer *self, PyObject *field) {
    if (!PyTuple_CheckExact(field) || PyTuple_Size(field) != 2 || !PyUnicode_CheckExact(PyTuple_GetItem(field, 0)) ||
        !PyUnicode_CheckExact(PyTuple_GetItem(field, 1)))
        return 0;
    PyObject *known = PyDict_GetItemWithError(self->server->parts[FIELDS], field);
    if (!known) return PyErr_Occurred() ? -1 : 0;
    return add_lines(self, PyTuple_GetItem(known, 0), PyTuple_GetItem(known, 1));
}

/* Forgets the lines that were taken, and what they said. */
static void forget_head(Answer *self) {
    self->head_size = 0;
    self->length = -1;
}

/* Takes the head of a response; 0 if it is for plain Python, as it is or, in *checked, as the checks have found it. */
static int set_head(Answer *self, PyObject *status, PyObject *headers, PyObject **checked) {
    if (!PyUnicode_CheckExact(status) || !PyList_CheckExact(headers) || PyUnicode_GetLength(status) > STATUS_MAX)
        return 0;
    int known = PySet_Contains(self->server->parts[STATUSES], status);
    for (Py_ssize_t i = 0; known == 1 && i < PyList_Size(headers); i++)
        known = add_field(self, PyList_GetItem(headers, i));
    if (known) return known;
    forget_head(self);
    *checked = PyObject_CallFunctionObjArgs(self->server->parts[FORMAT_HEAD], status, headers, NULL);
    if (!*checked) return -1;
    /* The checks may have called the application, if it makes its own kind of str, and that start_response(). */
    if (PyTuple_Size(PyTuple_GetItem(*checked, 2)) || self->status || self->state != ANSWERING) return 0;
    return add_lines(self, PyTuple_GetItem(*checked, 0), PyTuple_GetItem(*checked, 1));
}

/* What start_response() returns. A body in pieces is plain Python's. */
static PyObject *answer_write(PyObject *object, PyObject *args, PyObject *keywords) {
    return delegate((Answer *)object, A_WRITE, args, keywords);
}

static PyMethodDef write_method = {
    "write", (PyCFunction)(void (*)(void))answer_write, METH_VARARGS | METH_KEYWORDS, "The callable of PEP 3333."};

/* start_response(status, headers, exc_info=None): see fpm.wsgi.response.Response.start_response(). */
static PyObject *answer_start_response(PyObject *object, PyObject *args, PyObject *keywords) {
    Answer *self = (Answer *)object;
    PyObject *checked = NULL;
    if (self->state != ANSWERING || self->status || keywords || PyTuple_Size(args) != 2)
        return delegate(self, A_START_RESPONSE, args, keywords);
    PyObject *status = PyTuple_GetItem(args, 0);
    int result = set_head(self, status, PyTuple_GetItem(args, 1), &checked);
    if (result <= 0 && !self->status) forget_head(self);
    if (result == 0 && !checked) return delegate(self, A_START_RESPONSE, args, NULL);
    if (result > 0) {
        self->status = Py_NewRef(status);
    } else if (checked) {
        /* The checks tell of each field that is left out once, so it is not done again. */
        PyObject *request = hand_over(self);
        PyObject *response = request ? PyObject_GetAttr(request, self->server->names[A_RESPONSE]) : NULL;
        result = response ? done(PyObject_CallMethod(response, "set_head", "OO", status, checked)) : -1;
        Py_XDECREF(response);
    }
    Py_XDECREF(checked);
    return result < 0 ? NULL : PyCFunction_NewEx(&write_method, object, NULL);
}

/* What somebody has kept of an answer that is over can do nothing more. */
static void end_answer(Answer *self) {
    self->state = OVER;
    Py_CLEAR(self->connection);
    Py_CLEAR(self->environ);
    Py_CLEAR(self->path);
}

/* Applications keep start_response() in environ, which the Request keeps. */
static int answer_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((Answer *)object)->environ);
    Py_VISIT(((Answer *)object)->request);
    return 0;
}

/* Breaks the cycle. */
static int answer_clear(PyObject *object) {
    end_answer((Answer *)object);
    Py_CLEAR(((Answer *)object)->request);
    return 0;
}

/* Lets go of everything. */
static void answer_dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    answer_clear(object);
    Py_XDECREF(((Answer *)object)->status);
    Py_XDECREF((PyObject *)((Answer *)object)->server);
    free_object(object);
}

static PyMethodDef start_response_method = {
    "start_response", (PyCFunction)(void (*)(void))answer_start_response, METH_VARARGS | METH_KEYWORDS,
    "The callable of PEP 3333."};
static PyType_Slot answer_slots[] = {
    {Py_tp_dealloc, answer_dealloc}, {Py_tp_traverse, answer_traverse}, {Py_tp_clear, answer_clear},
    {Py_tp_getattro, answer_getattr}, {0, NULL}};
static PyType_Spec answer_spec = {
    "fpm._hotpath.Answer", sizeof(Answer), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, answer_slots};

/* ------------------------------------------------------------------ sending it */

/* A body, as it is sent. */
typedef struct {
    struct iovec parts[ITEMS_MAX + 2];  /* the head before it, the end behind it */
    int count;
    Py_ssize_t size;
} Body;

/* Adds a block to the body; 0 if it is not exactly bytes, too large, or one too many. */
static int add_part(Body *body, PyObject *bytes) {
    char *start;
    Py_ssize_t size;
    if (body->count == ITEMS_MAX || !PyBytes_CheckExact(bytes) || PyBytes_AsStringAndSize(bytes, &start, &size) < 0 ||
        size > CONTENT_MAX)
        return 0;
    body->parts[++body->count] = (struct iovec){start, (size_t)size};
    body->size += size;
    return 1;
}

/* The parts of a list or tuple; 0 if it is none, or has what is not usual. */
static int add_parts(Body *body, PyObject *result) {
    int is_list = PyList_CheckExact(result), is_good = is_list || PyTuple_CheckExact(result);
    Py_ssize_t items = !is_good ? 0 : is_list ? PyList_Size(result) : PyTuple_Size(result);
    for (Py_ssize_t i = 0; is_good && i < items; i++)
        is_good = add_part(body, is_list ? PyList_GetItem(result, i) : PyTuple_GetItem(result, i));
    return is_good;
}

/* Does this answer have a body (RFC 9110 6.4.1)? */
static int has_body(Answer *self, Span status) {
    return !self->head_only && status.size >= 3 && status.text[0] != '1' && !begins(status, span_of("204")) &&
           !begins(status, span_of("304"));
}

/* Have bytes come that plain Python must see: an abort, a second request? It is not looked at once for short ones. */
static int has_come(Answer *self) {
    char byte;
    return read_clock(CLOCK_MONOTONIC) - self->started > LOOK_AFTER &&
           recv(self->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* May the connection be kept after this answer? See fpm.worker.connections.Connections.may_keep(). */
static int may_keep(Answer *self) {
    Server *server = self->server;
    if (!self->is_nginx) return 1;
    int is_held = self->connection && find_held(server, self->fd);
    if (self->is_refused || count_held(server) > is_held) return 0;
    struct pollfd waiting[] = {{.fd = server->listen, .events = POLLIN}, {.fd = server->parking, .events = POLLIN}};
    return count_idle(server->slot) > 0 || poll(waiting, 2, 0) == 0;
}

/* What becomes of the connection when its answer is out. See fpm.worker.connections.Connections.settle(). */
static int settle(Answer *self) {
    Server *server = self->server;
    if (!self->connection && !self->keep) {
        close(self->fd); /* all that the peer sent has been read, so this resets nothing */
        return 1;
    }
    PyObject *held = self->keep && self->connection ? find_held(server, self->fd) : NULL;
    if (PyErr_Occurred()) return -1;
    if (!held || held != self->connection)
        return done(PyObject_CallFunction(server->parts[SETTLE], "Ni", place_of(self), self->keep));
    PyObject *deadline = PyFloat_FromDouble(read_clock(CLOCK_MONOTONIC) + KEPT_LIMIT);
    int is_kept = deadline && PyObject_SetAttr(held, server->names[A_DEADLINE], deadline) == 0 &&
                  PyObject_SetAttr(held, server->names[A_PHASE], server->parts[KEPT_PHASE]) == 0;
    Py_XDECREF(deadline);
    return is_kept ? 1 : -1;
}

static char *append(char *at, Span text) { return (char *)memcpy(at, text.text, (size_t)text.size) + text.size; }

/* Writes the status as a line, and returns where it ends. */
static char *append_status(char *at, Span status) {
    return append(append(append(at, span_of("Status: ")), status), span_of("\r\n"));
}

/* Puts the record of the whole answer around its body; 0, with nothing done, if one record does not hold it. */
static int frame(Answer *self, Span status, Body *body) {
    char line[32] = "", *head = (char *)self->out + RECORD_HEADER, *at = head + self->head_size;
    if (self->length < 0) PyOS_snprintf(line, sizeof line, "Content-Length: %zd\r\n", body->size);
    Span length = span_of(line);
    Py_ssize_t content = self->head_size + length.size + status.size + STATUS_ROOM + body->size;
    if (content > CONTENT_MAX) return 0;
    /* The status is last (fpm.wsgi.head.encode_head), but first where the application gives no header. */
    int is_first = !self->head_size;
    if (is_first) at = append_status(at, status);
    self->head_start = is_first ? at - head : 0;
    at = append(at, length);
    self->head_size += length.size; /* as the access log sees it */
    self->length = body->size;
    if (!is_first) at = append_status(at, status);
    at = append(at, span_of("\r\n"));
    const unsigned char header[] = {1, 6, 0, 1, (unsigned char)(content >> 8), (unsigned char)content, 0, 0};
    memcpy(self->out, header, sizeof header);
    body->parts[0] = (struct iovec){self->out, (size_t)(at - (char *)self->out)};
    return 1;
}

/* The records that could not be sent at once: plain Python waits for the peer. */
static int leave_rest(Answer *self, const Body *body, Py_ssize_t total, Py_ssize_t sent) {
    PyObject *records = PyBytes_FromStringAndSize(NULL, total);
    char *at = records ? PyBytes_AsString(records) : NULL;
    for (int i = 0; at && i < body->count + 2; i++)
        at = (char *)memcpy(at, body->parts[i].iov_base, body->parts[i].iov_len) + body->parts[i].iov_len;
    PyObject *request = at ? hand_over(self) : NULL; /* the parts may change from here on */
    PyObject *send_rest = self->server->parts[SEND_REST];
    PyObject *left = request ? PyObject_CallFunction(send_rest, "OOn", request, records, sent) : NULL;
    Py_XDECREF(records);
    return done(left);
}

/* Sends a whole answer; 0 if it is not as usual. */
static int send_answer(Answer *self, Body *body) {
    static const unsigned char finish[] = {1, 6, 0, 1, 0, 0, 0, 0, 1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                           1, 7, 0, 1, 0, 0, 0, 0};
    Span status;
    int is_ascii = ascii_span(self->status, &status);
    if (is_ascii <= 0) return is_ascii;
    if (!has_body(self, status) || (self->length >= 0 && self->length != body->size) || has_come(self) ||
        !frame(self, status, body))
        return 0;
    self->keep &= self->server->accepting; /* a worker that leaves keeps none */
    self->is_refused = self->keep && !may_keep(self);
    self->keep &= !self->is_refused;
    size_t finish_size = self->is_refused ? sizeof finish : sizeof finish - RECORD_HEADER;
    body->parts[body->count + 1] = (struct iovec){(void *)finish, finish_size};
    Py_ssize_t sent, total = 0;
    for (int i = 0; i < body->count + 2; i++) total += (Py_ssize_t)body->parts[i].iov_len;
    struct msghdr message = {.msg_iov = body->parts, .msg_iovlen = (size_t)body->count + 2};
    do {
        sent = sendmsg(self->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0 ? sent < total : errno == EAGAIN) return leave_rest(self, body, total, sent < 0 ? 0 : sent);
    self->is_gone = sent < 0;
    self->keep &= !self->is_gone;
    self->state = OVER;
    return 1;
}

/* ------------------------------------------------------------------ one request */

/* Counts a request that has ended here; see fpm.worker.accounting.Accounting._count(). Its answer went out as one, so
 * its first byte with its last. */
static void count_response(Answer *self, uint64_t duration, uint64_t cpu, int is_short) {
    Statistics *statistics = self->server->slot->statistics;
    Span status;
    const int success = 1;
    int digit = ascii_span(self->status, &status) > 0 && status.size ? status.text[0] - '1' : CLASSES - 1;
    if (is_short && digit == success && !self->is_gone) {
        count_duration(&statistics->usual, duration);
        return;
    }
    add_to(&statistics->classes[self->is_gone ? ABORTED : digit < 0 || digit >= CLASSES ? CLASSES - 1 : digit], 1);
    count_duration(&statistics->response, duration);
    if (!self->is_gone) count_duration(&statistics->first_byte, duration);
    count_duration(&statistics->cpu, cpu);
}

/* Bytes of memory that the process has used at most until now. */
static uint64_t memory_peak(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) < 0 ? 0 : (uint64_t)usage.ru_maxrss * 1024;
}

/* Counts it for its route, if somebody wants to know; see Accounting.account(). */
static int count_own_route(Answer *self, uint64_t duration, uint64_t cpu, int is_measured) {
    PyObject *table = self->server->parts[ROUTE_TABLE];
    Routes *routes = (Routes *)table;
    if (Py_TYPE(table) != self->server->routes_type || !routes->table) return 1;
    Span path, status;
    PyObject *bytes = path_bytes(self->path, &path);
    if (!bytes) return -1;
    int is_failed = ascii_span(self->status, &status) > 0 && status.size && status.text[0] == '5';
    uint64_t peak = is_measured ? self->server->slot->memory : routes->watching ? memory_peak() : 0;
    count_route(routes, path, duration, cpu, is_failed, peak);
    Py_DECREF(bytes);
    return 1;
}

/* The response is out: its duration, its CPU time, what is told of it. See Accounting.account(). */
static int account(Answer *self) {
    Server *server = self->server;
    Slot *slot = server->slot;
    double passed = (read_clock(CLOCK_MONOTONIC) - self->started) * 1e6;
    unsigned long long duration = passed > 0 ? (unsigned long long)passed : 0, used = duration;
    int is_measured = duration > LONG_REQUEST || self->cpu >= 0 || slot->requests % MEASURE_EVERY == 1;
    if (is_measured) {
        PyObject *measured = PyObject_CallMethod(server->parts[ACCOUNTING], "measure", "Kd", duration, self->cpu);
        used = measured ? PyLong_AsUnsignedLongLong(measured) : 0;
        Py_XDECREF(measured);
        if (PyErr_Occurred()) return -1;
    }
    int slow = duration > server->slow_limit;
    end_slot(slot, duration, used, slow);
    count_response(self, duration, used, !is_measured);
    if (count_own_route(self, duration, used, is_measured) < 0) return -1;
    if (!slow && !server->logs) return 1;
    return done(PyObject_CallFunction(
        server->parts[TELL], "OOONOdKKi", self->connection ? self->connection : Py_None, self->environ, self->status,
        get_head(self), self->path, self->epoch, duration, used, slow));
}

/* Has plain Python go on with a request: with what its application has returned or raised, if it was called. */
static int resume(Answer *self, PyObject *result, PyObject *error) {
    PyObject *request = hand_over(self);
    return !request ? -1 : done(PyObject_CallFunction(self->server->parts[RESUME], "OiOO", request, result || error,
                                    result ? result : Py_None, error ? error : Py_None));
}

/* The exception that is set, with its traceback, and set no more. */
static PyObject *take_error(void) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback && value) PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

/* Calls the application and sends what it returns. */
static int call_application(Answer *self) {
    Server *server = self->server;
    Body body = {.count = 0};
    PyObject *start_response = PyCFunction_NewEx(&start_response_method, (PyObject *)self, NULL);
    if (!start_response || PyObject_SetAttr(server->parts[CURRENT], server->names[A_REQUEST], (PyObject *)self) < 0) {
        Py_XDECREF(start_response);
        return -1;
    }
    server->calling = 1;
    PyObject *result = PyObject_CallFunctionObjArgs(server->parts[APPLICATION], self->environ, start_response, NULL);
    server->calling = 0;
    PyObject *error = result ? NULL : take_error();
    Py_DECREF(start_response);
    int is_whole = self->state == ANSWERING && self->status && result && add_parts(&body, result);
    int sent = is_whole ? send_answer(self, &body) : 0;
    if (sent == 0)
        sent = resume(self, result, error);
    else if (sent > 0 && PyObject_SetAttr(server->parts[CURRENT], server->names[A_REQUEST], Py_None) < 0)
        sent = -1;
    Py_XDECREF(result);
    Py_XDECREF(error);
    if (sent < 0 || self->state == HANDED_OVER)
        return sent; /* plain Python has done the rest */
    return account(self) < 0 || settle(self) < 0 ? -1 : 1;
}

/* Shows the request in the slot, see fpm.worker.request.Request. */
static int show(Server *self, const Variables *v, double epoch, double started) {
    Span path, method = is_seen(v, REQUEST_METHOD) ? v->values[REQUEST_METHOD] : span_of("GET");
    PyObject *bytes = PyUnicode_AsLatin1String(v->path);
    char *start;
    if (!bytes || PyBytes_AsStringAndSize(bytes, &start, &path.size) < 0) {
        Py_XDECREF(bytes);
        return -1;
    }
    path.text = (const unsigned char *)start;
    begin_slot(self->slot, epoch, started, method, path, v->values[QUERY_STRING], v->values[REMOTE_USER]);
    set_stage(self->slot, EXECUTING);
    Py_DECREF(bytes);
    return 1;
}

/* An answer to a request that has been read; NULL with an exception set. */
static Answer *make_answer(Server *self, const Variables *v, PyObject *connection, int fd, int keep) {
    allocfunc allocate = (allocfunc)PyType_GetSlot(self->answer_type, Py_tp_alloc);
    Answer *answer = (Answer *)allocate(self->answer_type, 0);
    if (!answer) return NULL;
    answer->server = (Server *)Py_NewRef((PyObject *)self);
    answer->connection = Py_XNewRef(connection);
    answer->environ = Py_NewRef(v->environ);
    answer->path = Py_NewRef(v->path);
    answer->length = -1;
    answer->fd = fd;
    answer->keep = keep;
    answer->is_nginx = begins(v->values[SERVER_SOFTWARE], span_of("nginx"));
    answer->head_only = same(v->values[REQUEST_METHOD], span_of("HEAD"));
    return answer;
}

/* Serves a request whose bytes have come. Without a connection the descriptor is ours, and is closed or given on.
 * Returns 0, with nothing done, if plain Python must read the bytes. */
static int serve(Server *self, PyObject *connection, int fd, const unsigned char *data, Py_ssize_t size, int may_stay) {
    Variables v = {0};
    const uint64_t one = 1;
    int keep, result = read_request(self, data, size, &keep, &v);
    Answer *answer = result > 0 ? make_answer(self, &v, connection, fd, keep) : NULL;
    if (answer) {
        if (take_slot(self->slot) && write(self->wake, &one, sizeof one) < 0)
            errno = 0; /* an eventfd that is full has woken the master already */
        answer->is_refused = !may_stay;
        answer->cpu = self->slot->was_long ? read_clock(CLOCK_PROCESS_CPUTIME_ID) : -1.0;
        answer->epoch = read_clock(CLOCK_REALTIME);
        answer->started = read_clock(CLOCK_MONOTONIC);
        count_wait(self->slot, v.values[REQUEST_START], answer->epoch);
        self->serving = fd;
        int is_own = PySet_Size(self->parts[OWN_PATHS]) ? PySet_Contains(self->parts[OWN_PATHS], v.path) : 0;
        result = is_own < 0 ? -1 : show(self, &v, answer->epoch, answer->started);
        if (result > 0) result = is_own ? resume(answer, NULL, NULL) : call_application(answer);
        self->serving = -1;
        if (answer->state != HANDED_OVER) end_answer(answer);
        set_stage(self->slot, self->accepting ? ACCEPTING : END);
        Py_DECREF((PyObject *)answer);
    } else if (result > 0) {
        result = -1;
    }
    clear_variables(&v);
    return result;
}

/* ------------------------------------------------------------------ waiting, and where requests come from */

/* Takes a new connection; what comes first on it is usually a whole request. */
static int serve_new(Server *self, int fd) {
    unsigned char data[READ_SIZE];
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    ssize_t size = recv(fd, data, sizeof data, MSG_DONTWAIT);
    int is_silent = size < 0 && errno == EAGAIN;
    if (is_silent && poll(&waiting, 1, FIRST_WAIT) > 0) {
        size = recv(fd, data, sizeof data, MSG_DONTWAIT);
        is_silent = size < 0 && errno == EAGAIN;
    }
    if (size <= 0 && !is_silent) {
        close(fd);
        return 1;
    }
    int served = size > 0 ? serve(self, NULL, fd, data, size, 1) : 0;
    if (served == 0)
        served = done(PyObject_CallFunction(self->parts[TAKE], "iy#", fd, (const char *)data, size > 0 ? size : 0));
    return served;
}

/* Must the loop of plain Python look at something before the next request? */
static int must_return(Server *self) {
    return self->leaving || (self->limit && self->slot->requests >= self->limit);
}

/* Is it a number that only a descriptor of pyfpm can have? */
static int is_own(Server *self, int fd) {
    PyObject *number = PyLong_FromLong(fd);
    int result = number ? PySet_Contains(self->parts[OWN], number) : -1;
    Py_XDECREF(number);
    return result;
}

/* Takes new connections as long as some wait; 0 if accept(2) fails in a way that plain Python has to see. */
static int take_new(Server *self) {
    for (int i = 0; i < IN_A_ROW; i++) {
        double before = read_clock(CLOCK_MONOTONIC);
        int fd = accept4(self->listen, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return errno == EAGAIN || errno == ECONNABORTED || errno == EINTR;
        int is_lost = is_own(self, fd); /* the application has closed a descriptor of ours */
        if (is_lost || serve_new(self, fd) < 0)
            return is_lost < 0 ? -1 : is_lost ? done(PyObject_CallFunction(self->parts[TAKE], "iy", fd, "")) : -1;
        /* As long as others are idle, it is they who are woken for the next. */
        if (must_return(self) || (count_held(self) && !is_calm(self->slot)) || count_idle(self->slot) > 1 ||
            read_clock(CLOCK_MONOTONIC) - before > LOOK_AFTER)
            break;
    }
    return 1;
}

/* Serves the next request of the only connection that is held; 0 if it is for plain Python. */
static int serve_held(Server *self, int fd) {
    unsigned char data[READ_SIZE];
    PyObject *connection = find_held(self, fd);
    if (!connection) return PyErr_Occurred() ? -1 : 0;
    PyObject *phase = PyObject_GetAttr(connection, self->names[A_PHASE]);
    PyObject *machine = PyObject_GetAttr(connection, self->names[A_MACHINE]);
    int is_ours = phase && machine && phase != self->parts[LINGERING_PHASE] && machine == Py_None;
    Py_XDECREF(phase);
    Py_XDECREF(machine);
    ssize_t size = is_ours ? recv(fd, data, sizeof data, MSG_DONTWAIT) : 0;
    if (size <= 0)
        return PyErr_Occurred() ? -1 : 0; /* plain Python will find the same */
    Py_INCREF(connection);
    int served = serve(self, connection, fd, data, size, 1);
    if (served == 0)
        served = done(PyObject_CallFunction(self->parts[TAKE], "Oy#", connection, (const char *)data, size));
    Py_DECREF(connection);
    return served;
}

/* Serves what it can of the events; 0 if they are for plain Python. */
static int react(Server *self, const struct epoll_event *events, int count) {
    int held = (int)count_held(self), result = 1;
    if (must_return(self)) return 0;
    if ((count > 1 || held > 1) && !is_calm(self->slot)) return 0;
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd, is_new = fd == self->listen;
        if (is_new ? !self->accepting || !self->is_unix || (held && !is_calm(self->slot)) : !find_held(self, fd))
            return PyErr_Occurred() ? -1 : 0;
    }
    for (int i = 0; result > 0 && i < count && !must_return(self); i++)
        result = events[i].data.fd == self->listen ? take_new(self) : serve_held(self, events[i].data.fd);
    return result;
}

/* Events as select.epoll.poll() returns them. */
static PyObject *list_events(const struct epoll_event *events, int count) {
    PyObject *list = PyList_New(count);
    for (int i = 0; list && i < count; i++) {
        PyObject *pair = Py_BuildValue("iI", events[i].data.fd, events[i].events);
        if (!pair || PyList_SetItem(list, i, pair) < 0) Py_CLEAR(list);
    }
    return list;
}

/* run(timeout): serves what it can until something comes that is for plain Python, or `timeout` seconds (None: no
 * limit) have passed without anything. Returns (descriptor, events) pairs like select.epoll.poll(). */
static PyObject *server_run(PyObject *object, PyObject *timeout) {
    Server *self = (Server *)object;
    struct epoll_event events[EVENTS_MAX];
    double seconds = timeout == Py_None ? -1.0 : PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) return NULL;
    double until = read_clock(CLOCK_MONOTONIC) + seconds;
    int count, wait = seconds < 0 ? -1 : seconds > 1e6 ? 1000000000 : (int)(seconds * 1000 + 0.999);
    do {
        Py_BEGIN_ALLOW_THREADS
        count = epoll_wait(self->epoll, events, EVENTS_MAX, wait);
        Py_END_ALLOW_THREADS
        if (count < 0 && errno != EINTR) return PyErr_SetFromErrno(PyExc_OSError);
        if (PyErr_CheckSignals() < 0) return NULL;
        int served = count > 0 ? react(self, events, count) : 0;
        if (served <= 0) return served < 0 ? NULL : list_events(events, count > 0 ? count : 0);
        /* Plain Python takes care of deadlines, and of what is to be done when a worker leaves. */
    } while (self->accepting && !must_return(self) &&
             (wait < 0 ? !count_held(self) : read_clock(CLOCK_MONOTONIC) < until));
    return PyList_New(0);
}

/* serve(connection, descriptor, data, may_stay): True if the request was served; False, with nothing done, if it is not
 * ours. */
static PyObject *server_serve(PyObject *object, PyObject *args) {
    PyObject *connection;
    const char *data;
    Py_ssize_t size;
    int fd, may_stay;
    if (!PyArg_ParseTuple(args, "Oiy#p", &connection, &fd, &data, &size, &may_stay)) return NULL;
    int served = serve((Server *)object, connection, fd, (const unsigned char *)data, size, may_stay);
    return served < 0 ? NULL : PyBool_FromLong(served);
}

/* read(data): (keep, environ, path) of a request's bytes, or None if plain Python must read them. For tests. */
static PyObject *server_read(PyObject *object, PyObject *args) {
    const char *data;
    Py_ssize_t size;
    int keep = 0;
    Variables v = {0};
    if (!PyArg_ParseTuple(args, "y#", &data, &size)) return NULL;
    int is_read = read_request((Server *)object, (const unsigned char *)data, size, &keep, &v);
    PyObject *result = is_read < 0 ? NULL : !is_read ? Py_NewRef(Py_None) :
                       Py_BuildValue("NOO", PyBool_FromLong(keep), v.environ, v.path);
    clear_variables(&v);
    return result;
}

/* Takes the parts out of a dictionary, and makes the names. */
static int fill_server(Server *self, PyObject *parts) {
    for (int i = 0; i < PARTS; i++) {
        self->parts[i] = Py_XNewRef(PyDict_GetItemString(parts, PART_NAMES[i]));
        if (!self->parts[i])
            return PyErr_Format(PyExc_KeyError, "%s is not among the parts", PART_NAMES[i]) ? 1 : -1;
    }
    for (int i = 0; i < NAMES; i++) {
        self->names[i] = PyUnicode_InternFromString(NAME_TEXTS[i]);
        Known *known = i && i < ROLES ? find_known(self, span_of(NAME_TEXTS[i])) : NULL;
        if (i && i < ROLES && !known)
            return PyErr_Format(PyExc_SystemError, "there is no place for %s", NAME_TEXTS[i]) ? 1 : -1;
        if (!self->names[i] || (known && learn(known, self->names[i], i) < 0)) return -1;
    }
    return 1;
}

/* Server(slot, epoll, listen, parking, wake, is_unix, parts): three descriptors that are waited for, and an eventfd. */
static PyObject *server_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords)) {
    PyObject *slot, *parts, *module = PyType_GetModule(type);
    int epoll, listen, parking, wake, is_unix;
    if (!module || !PyArg_ParseTuple(args, "OiiiipO", &slot, &epoll, &listen, &parking, &wake, &is_unix, &parts))
        return NULL;
    Server *self = (Server *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    PyObject *slot_type = self ? PyObject_GetAttrString(module, "Slot") : NULL;
    int is_slot = slot_type ? PyObject_IsInstance(slot, slot_type) : -1;
    Py_XDECREF(slot_type);
    if (is_slot > 0 && ((Slot *)slot)->slot && PyDict_Check(parts)) {
        self->slot = (Slot *)Py_NewRef(slot);
        self->answer_type = (PyTypeObject *)PyObject_GetAttrString(module, "Answer");
        self->routes_type = (PyTypeObject *)PyObject_GetAttrString(module, "Routes");
        self->slow_limit = UINT64_MAX;
        self->epoll = epoll;
        self->listen = listen;
        self->parking = parking;
        self->wake = wake;
        self->is_unix = is_unix;
        self->serving = -1;
        if (self->answer_type && self->routes_type && fill_server(self, parts) > 0) return (PyObject *)self;
    } else if (is_slot >= 0) {
        PyErr_SetString(PyExc_TypeError, "a Slot that is bound, and a dictionary of parts are wanted");
    }
    Py_XDECREF((PyObject *)self);
    return NULL;
}

/* Lets go of everything. */
static void server_dealloc(PyObject *object) {
    Server *self = (Server *)object;
    for (int i = 0; i < PARTS; i++) Py_XDECREF(self->parts[i]);
    for (int i = 0; i < NAMES; i++) Py_XDECREF(self->names[i]);
    for (int i = 0; i < KNOWN_MAX; i++) {
        Py_XDECREF(self->known[i].name);
        Py_XDECREF(self->known[i].value);
    }
    Py_XDECREF((PyObject *)self->slot);
    Py_XDECREF((PyObject *)self->answer_type);
    Py_XDECREF((PyObject *)self->routes_type);
    free_object(object);
}

static PyMethodDef server_methods[] = {
    {"run", server_run, METH_O, "run(timeout) -> [(descriptor, events)]"},
    {"serve", server_serve, METH_VARARGS, "serve(connection, descriptor, data, may_stay) -> bool"},
    {"read", server_read, METH_VARARGS, "read(data) -> (keep, environ, path) | None"},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef server_members[] = {
    {"accepting", T_INT, offsetof(Server, accepting), 0, NULL},
    {"leaving", T_INT, offsetof(Server, leaving), 0, NULL},
    {"limit", T_ULONGLONG, offsetof(Server, limit), 0, NULL},
    {"slow_limit", T_ULONGLONG, offsetof(Server, slow_limit), 0, NULL},
    {"logs", T_INT, offsetof(Server, logs), 0, NULL},
    {"route_table", T_OBJECT, offsetof(Server, parts[ROUTE_TABLE]), 0, NULL},
    {"mount", T_OBJECT, offsetof(Server, parts[MOUNT]), 0, NULL},
    {"own_paths", T_OBJECT, offsetof(Server, parts[OWN_PATHS]), 0, NULL},
    {"own", T_OBJECT, offsetof(Server, parts[OWN]), 0, NULL},
    {"calling", T_INT, offsetof(Server, calling), READONLY, NULL},
    {"serving", T_INT, offsetof(Server, serving), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot server_slots[] = {
    {Py_tp_new, server_new}, {Py_tp_dealloc, server_dealloc}, {Py_tp_methods, server_methods},
    {Py_tp_members, server_members}, {0, NULL}};
/* Without the collector: a worker has one, for its whole life. */
static PyType_Spec server_spec = {"fpm._hotpath.Server", sizeof(Server), 0, Py_TPFLAGS_DEFAULT, server_slots};

/* ------------------------------------------------------------------ the module */

/* Gives a new object a name in the module; 0, or -1 with an exception set, also if there is no object. */
static int add(PyObject *module, const char *name, PyObject *value) {
    int result = value ? PyModule_AddObjectRef(module, name, value) : -1;
    Py_XDECREF(value);
    return result;
}

/* LAYOUT: where in the scoreboard it writes; plain Python compares it with its own tables (fpm.scoreboard.writer). */
static int module_exec(PyObject *module) {
    struct { const char *name; PyType_Spec *spec; } types[] = {
        {"Slot", &slot_spec}, {"Routes", &routes_spec}, {"Answer", &answer_spec}, {"Server", &server_spec}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (add(module, types[i].name, PyType_FromModuleAndSpec(module, types[i].spec, NULL)) < 0) return -1;
    const unsigned long long numbers[] = {
        WAKE_BELOW_OFFSET, STAGES_OFFSET, BEGIN_OFFSET, offsetof(struct Begin, script), DONE_OFFSET, SLOW_OFFSET,
        USER_OFFSET, ACCEPTING, READING_HEADERS, EXECUTING, END, ROUTES, sizeof(struct Route),
        offsetof(struct Route, text), offsetof(struct Route, buckets), UNIT, PLACE_AFTER, SAVED_MAX, FLOOD, WATCH,
        FIRST_BUCKET, ROUTE_BUCKETS,
        offsetof(Statistics, classes),
        offsetof(Statistics, classes[ABORTED]), sizeof(Histogram), offsetof(Statistics, response),
        offsetof(Statistics, first_byte), offsetof(Statistics, queue_wait), offsetof(Statistics, cpu),
        offsetof(Statistics, usual), (unsigned long long)QUEUE_WAIT_MAX, (unsigned long long)CLOCK_SKEW_MAX,
        START_SIZE};
    const Py_ssize_t count = sizeof numbers / sizeof *numbers, bounds = BUCKETS - 1;
    PyObject *layout = PyTuple_New(count + bounds);
    for (Py_ssize_t i = 0; layout && i < count + bounds; i++) {
        PyObject *number = PyLong_FromUnsignedLongLong(i < count ? numbers[i] : BOUNDS[i - count]);
        if (!number || PyTuple_SetItem(layout, i, number) < 0) Py_CLEAR(layout);
    }
    return add(module, "LAYOUT", layout);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};
static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_hotpath", "The hot path of a worker, compiled.", 0, NULL, module_slots, NULL, NULL, NULL};

/* What Python calls first. */
__attribute__((visibility("default"))) PyMODINIT_FUNC PyInit__hotpath(void) {
    return PyModuleDef_Init(&module_definition);
}
