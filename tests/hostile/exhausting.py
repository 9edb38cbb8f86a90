"""How a broken-into pool tries to take the machine; its neighbour must not notice. Rows as in attacks.py."""

from __future__ import annotations

from tests.hostile.attacks import Attack, Place

SECONDS = 1.5

EXHAUSTING = (
    Attack(
        "all descriptors",
        """
kept = []
for _ in until(SECONDS):
    try:
        kept.append(os.open("/dev/null", os.O_RDONLY))
        kept.extend(os.pipe())
    except OSError:
        time.sleep(0.01)
for fd in kept:
    os.close(fd)
""",
        Place.WORKERS,
        seconds=SECONDS,
    ),
    Attack(
        "many processes",
        """
made = []
end = time.monotonic() + SECONDS
try:
    while time.monotonic() < end and len(made) < 600:
        pid = os.fork()
        if pid == 0:
            time.sleep(max(end - time.monotonic(), 0))
            os._exit(0)
        made.append(pid)
except OSError:
    time.sleep(max(end - time.monotonic(), 0))
for pid in made:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
found = len(made)
""",
        seconds=SECONDS,
    ),
    Attack(
        "memory without end",
        """
kept = []
for _ in until(SECONDS):
    kept.append(b"x" * (1 << 24))
    if len(kept) > 128:
        break
    time.sleep(0.002)
""",
        seconds=SECONDS,
    ),
    Attack(
        "a full /tmp",
        """
import errno
found = ""
block = b"x" * (1 << 20)
with open("/tmp/forged", "wb", buffering=0) as file:
    for _ in until(SECONDS):
        try:
            file.write(block)
        except OSError as error:
            found = errno.errorcode[error.errno]
            break
        if file.tell() > 1 << 28:
            break
os.unlink("/tmp/forged")
""",
        seconds=SECONDS,
    ),
    Attack(
        "log lines without end",
        """
import sys
for _ in until(SECONDS):
    print("forged " * 100, file=sys.stderr, flush=True)
""",
        Place.WORKERS,
        seconds=SECONDS,
    ),
    Attack(
        "all processors",
        """
made = []
for _ in range(8):
    pid = os.fork()
    if pid == 0:
        burn(SECONDS)
        os._exit(0)
    made.append(pid)
for pid in made:
    os.waitpid(pid, 0)
""",
        seconds=SECONDS,
    ),
)
