"""The attacks: a row for each. To add one, add a row; what is examined afterwards is the same for all.

An attack is code with everything of toolbox.py at hand. It lasts `SECONDS`. Whatever it writes anywhere says "forged":
such a line in the error log has to bear the pool's name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class Place(Enum):
    """Where an attacker's code runs, always as the pool's user."""

    WORKER = "in one worker"
    WORKERS = "in every worker at once"
    TEMPLATE = "while the template imports the application, at a reload"
    SHELL = "in a process of its own, outside of the pool"


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        name: what it does.
        code: what the attacker executes.
        place: where.
        administrator: commands of `pyfpm` that are given again and again meanwhile, each by its words; a signal to the
            master by its name.
        seconds: how long it lasts.
        repeat: whether a worker's code is executed again in a new request until the time is over.
    """

    name: str
    code: str
    place: Place = Place.WORKER
    administrator: tuple[tuple[str, ...], ...] = ()
    seconds: float = 1.0
    repeat: bool = False

    def shortened(self) -> Attack:
        """The same for half the time: long enough for a hundred answers of each of those who are measured."""
        return replace(self, seconds=self.seconds / 2)


ATTACKS = (
    # --------------------------------------------------------------------------------------------- what it holds
    Attack(
        "scribble over the scoreboard",
        """
fd = descriptors()["scoreboard"][0]
board = mmap.mmap(fd, os.fstat(fd).st_size)
for _ in until(SECONDS):
    pattern = random.choice([b"\\xff", b"\\x00", b"\\x01", b"\\x7f", None])
    board[:] = os.urandom(len(board)) if pattern is None else pattern * len(board)
    time.sleep(0.0005)
for size in (0, 1, 1 << 20):
    try:
        os.ftruncate(fd, size)
    except OSError:
        continue
board[:] = bytes(len(board))
""",
    ),
    Attack(
        "messages that lie",
        "flood(SECONDS, encoded(forged()))",
        Place.WORKERS,
    ),
    Attack(
        "messages that are broken or large",
        """
raw = encoded(forged()) + [b"{", b"[" * 5000, os.urandom(3000), b"\\xff\\xfe", b""]
raw += [b'{"v": 1, "kind": "LogText", "level": "notice", "text": "forged %s"}' % (b"\\\\n" * 30000)]
flood(SECONDS, raw)
""",
        Place.WORKERS,
    ),
    Attack(
        "descriptors in messages",
        """
ends = sockets("channel")
for _ in until(SECONDS):
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
    for one in ends:
        try:
            data = random.choice([b"{}", os.urandom(73), b"\\x01" + bytes(72)])
            one.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))],
                        socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            pass
    for fd in fds:
        os.close(fd)
""",
    ),
    Attack(
        "output without end",
        """
kinds = [b"forged " * 9000, b"\\n" * 65536, b"\\x00\\x1b[31m" * 8000, os.urandom(65536), b"]: ALERT: forged\\r" * 3000]
for fd in (1, 2):
    os.set_blocking(fd, False)
for _ in until(SECONDS):
    for fd in (1, 2):
        try:
            os.write(fd, random.choice(kinds))
        except BlockingIOError:
            pass
""",
        Place.WORKERS,
    ),
    Attack(
        "the eventfd that says that nobody is idle",
        """
fds = descriptors()["eventfd"]
for fd in fds:
    fcntl.fcntl(fd, fcntl.F_SETFL, 0)
for _ in until(SECONDS):
    for fd in fds:
        os.eventfd_write(fd, 1)
        if random.random() < 0.5:
            try:
                os.preadv(fd, [bytearray(8)], -1, os.RWF_NOWAIT)
            except BlockingIOError:
                pass
""",
        Place.WORKERS,
    ),
    Attack(
        "the end of a worker, again and again",
        "os.kill(os.getpid(), random.choice([9, 11, 15, 19]))",
        Place.WORKERS,
        repeat=True,
    ),
    Attack(
        "a template that lies about its workers",
        """
channel = sockets("channel")[0]
for pid in [int(pid) for pid in os.listdir("/proc") if pid.isdigit()]:
    channel.send(json.dumps(message("Forked", slot=0, pid=pid)).encode())
    channel.send(json.dumps(message("WorkerExited", pid=pid, status=9, **USAGE)).encode())
threading.Thread(target=flood, args=(SECONDS, encoded(forged()))).start()
""",
        Place.TEMPLATE,
    ),
    # --------------------------------------------------------------------------------------- the master's time
    Attack(
        "forks that fail with thousands of lines",
        """
channel = sockets("channel")[0]
text = json.dumps(message("ForkFailed", slot=0, error="forged " + "\\n" * 20000)).encode()
threading.Thread(target=flood, args=(SECONDS, [text])).start()
""",
        Place.TEMPLATE,
        seconds=2.0,
    ),
    Attack(
        "messages that are believed once",
        """
kinds = [message("Serving"), message("WorkerReady", stack=True), b""]
flood(SECONDS, [one if isinstance(one, bytes) else json.dumps(one).encode() for one in kinds])
""",
        Place.WORKERS,
        administrator=(("status",),),
        seconds=1.5,
    ),
    Attack(
        "a scoreboard full of torn slots",
        """
fd = descriptors()["scoreboard"][0]
board = mmap.mmap(fd, os.fstat(fd).st_size)
for number in until(SECONDS):
    board[256:] = bytes([random.choice([1, 2, 3, 255])]) * (len(board) - 256)
board[256:] = bytes(len(board) - 256)
""",
        Place.WORKERS,
        administrator=(("status", "attacker", "--full"),),
        seconds=1.5,
    ),
    Attack(
        "thousands of mappings",
        """
board = [mmap.mmap(-1, 4096, prot=mmap.PROT_READ if number % 2 else mmap.PROT_WRITE) for number in range(30000)]
for _ in until(SECONDS):
    del board[:100]
    board += [mmap.mmap(-1, 4096, prot=mmap.PROT_READ if number % 2 else mmap.PROT_WRITE) for number in range(100)]
""",
        Place.WORKERS,
        administrator=(("status", "attacker", "--full"),),
        seconds=2.5,
    ),
    Attack(
        "a file for stacks that is written without end",
        """
(fd,) = [fd for fd in descriptors()["memfd"] if "stack" in os.readlink(f"/proc/self/fd/{fd}")]
block = bytes(64 << 20)
for _ in until(SECONDS):
    os.write(fd, block)
    os.ftruncate(fd, 0)
""",
        Place.WORKERS,
        administrator=(("trace", "attacker"),),
        seconds=2.0,
    ),
    Attack(
        "workers that say that they are at a limit",
        """
for _ in until(SECONDS):
    for one in sockets("channel"):
        one.send(json.dumps(message("LimitReached", requests=1 << 40, memory=1 << 40)).encode(), socket.MSG_DONTWAIT)
        one.send(json.dumps(message("LimitReached", requests=1 << 40, memory=0)).encode(), socket.MSG_DONTWAIT)
    time.sleep(0.01)
""",
        Place.WORKERS,
        repeat=True,
    ),
    Attack(
        "thousands of threads in slow requests",
        """
threading.stack_size(65536)
stop = threading.Event()
threads = [threading.Thread(target=stop.wait, daemon=True) for _ in range(1500)]
for one in threads:
    one.start()
for _ in until(SECONDS):
    time.sleep(0.05)
stop.set()
""",
        Place.WORKERS,
        administrator=(("trace", "attacker"),),
        seconds=2.0,
    ),
    # ------------------------------------------------------------------------------------------ whose processes
    Attack(
        "stop everybody else's processes",
        """
for _ in until(SECONDS):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/status") as status:
                if f"Uid:\\t{os.getuid()}\\t" in status.read():
                    continue
            os.kill(int(pid), 19)
        except OSError:
            pass
    time.sleep(0.05)
""",
        Place.SHELL,
    ),
    Attack(
        "lines like the master's",
        """
line = "[29-Nov-2026 00:00:00] ALERT: forged \\x1b]0;forged\\x07\\x1b[2J\\x9b31m\\u202e"
raw = encoded([message("LogText", level="alert", text=f"forged\\n{line}\\nchild 1 forged")])
for _ in until(SECONDS):
    sys.stderr.write(f"{line}\\n<0>forged\\n")
    sys.stderr.flush()
    for one in sockets("channel"):
        for data in raw:
            try:
                one.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except OSError:
                pass
    time.sleep(0.1)
""",
    ),
    # ------------------------------------------------------------------------------------- one decides for all
    Attack(
        "its own application and logs removed or replaced",
        """
import shutil
os.rename(f"{SITE}/attacker.py", f"{SITE}/away.py")
shutil.rmtree(f"{SITE}/logs")
os.symlink("/nowhere/forged.log", f"{SITE}/logs")
""",
        administrator=(("SIGUSR1",), ("status",)),
    ),
    Attack(
        "sockets that all share, shut down",
        """
for one in sockets("listen") + sockets("channel"):
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        continue
""",
        Place.WORKERS,
        administrator=(("status",),),
        repeat=True,
    ),
    Attack(
        "a process that has left and goes on accepting",
        """
ends = sockets("listen")
if not os.fork():
    os.setsid()
    if os.fork():
        os._exit(0)
    while True:
        for one in ends:
            try:
                one.accept()[0].sendall(b"forged")
            except OSError:
                time.sleep(0.01)
""",
        administrator=(("status",),),
    ),
    Attack(
        "a template that is stopped",
        """
os.kill(os.getppid(), 19)
time.sleep(SECONDS)
os.kill(os.getppid(), 18)
""",
        administrator=(("status",),),
    ),
    Attack(
        "connections that send nothing",
        """
import resource
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
held = []
for _ in until(SECONDS):
    one = socket.socket(socket.AF_UNIX)
    one.setblocking(False)
    held.append(one)
    try:
        one.connect(f"{SITE}/run/fpm.sock")
    except OSError:
        held.pop().close()
    if len(held) > 3000:
        held.clear()
""",
        Place.SHELL,
    ),
)
