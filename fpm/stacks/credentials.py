"""Who may trace whom: what the kernel asks of the two processes, as a decision about values.

The rules are those of ptrace(2), section "Ptrace access mode checking", and of the Yama module (admin-guide/LSM/Yama).
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from fpm.frozen import dataclass

CAP_SETGID = 6
CAP_SETUID = 7
CAP_SYS_PTRACE = 19
SECCOMP_FILTER = 2
"""What /proc/PID/status says of a process with a filter (SECCOMP_MODE_FILTER)."""
YAMA_ANCESTORS, YAMA_CAPABILITY, YAMA_NEVER = 1, 2, 3
GONE = "the process has exited"
STRANGER = "it is another user's now, not its pool's"
GRANT = "run the container with --cap-add SYS_PTRACE, or the systemd unit with CAP_SYS_PTRACE"


@dataclass(frozen=True, slots=True)
class Status:
    """What /proc/PID/status says (proc(5)), as far as tracing goes. Missing lines are 0 or empty."""

    name: str = ""
    state: str = ""
    """One letter: R, S, D, Z, T, t, X; "" if it is not known."""
    tracer: int = 0
    """Pid of the process that traces it; 0: none."""
    uids: tuple[int, ...] = ()
    """Real, effective, saved, file system."""
    gids: tuple[int, ...] = ()
    threads: int = 1
    permitted: int = 0
    """Bits of capabilities(7), as the next."""
    effective: int = 0
    seccomp: int = 0
    blocked: int = 0
    """Bits of signals, number 1 the lowest, as the next."""
    caught: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether it is a zombie, or gone."""
        return self.state in ("Z", "X", "x")

    def can(self, capability: int) -> bool:
        """Whether this capability is effective."""
        return bool(self.effective >> capability & 1)


def parse_status(text: str) -> Status:
    """Read the values of /proc/PID/status; lines that are not there or not understood count as missing."""
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def number(key: str, radix: int = 10) -> int:
        return next(iter(_numbers(lines.get(key, ""), radix)), 0)

    return Status(
        name=lines.get("Name", "").strip(),
        state=lines.get("State", "").strip()[:1],
        tracer=number("TracerPid"),
        uids=tuple(_numbers(lines.get("Uid", ""))),
        gids=tuple(_numbers(lines.get("Gid", ""))),
        threads=number("Threads") or 1,
        permitted=number("CapPrm", 16),
        effective=number("CapEff", 16),
        seccomp=number("Seccomp"),
        blocked=number("SigBlk", 16),
        caught=number("SigCgt", 16),
    )


def _numbers(text: str, radix: int = 10) -> Iterator[int]:
    for word in text.split():
        try:
            yield int(word, radix)
        except ValueError:
            return


def same_ids(me: Status, other: Status) -> bool:
    """Decide whether the real ids of one are all the ids of the other, as a tracer without capability needs it."""
    return set(me.uids[:1]) == set(other.uids[:3]) and set(me.gids[:1]) == set(other.gids[:3])


def is_owned_by(status: Status, ids: tuple[int, int]) -> bool:
    """Decide whether all ids of a process are these: a setuid program has others, and so has who it has become."""
    uid, gid = ids
    return set(status.uids) == {uid} and set(status.gids) == {gid}


def ids_to_take(me: Status, other: Status) -> tuple[int, int] | None:
    """Return the uid and gid that a helper must take before it attaches; None: it stays what it is.

    With CAP_SYS_PTRACE it stays. Without it (root in a container) it has to become the traced process's user, which
    executing its interpreter has made dumpable.
    """
    if me.can(CAP_SYS_PTRACE) or same_ids(me, other):
        return None
    single = len(set(other.uids[:3])) == 1 == len(set(other.gids[:3]))
    may_change = me.can(CAP_SETUID) and me.can(CAP_SETGID)
    return (other.uids[0], other.gids[0]) if single and may_change else None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else decides whether one may trace the other."""

    yama: int | None = None
    """kernel.yama.ptrace_scope; None: this kernel has no Yama."""
    dumpable: bool | None = None
    """Of the process to be traced; None: not known."""
    tracer_name: str = ""
    """Name of the process that traces it already."""
    waits_in: str = ""
    """Kernel function in which it sleeps (/proc/PID/wchan)."""


def refusals(me: Status, other: Status, around: Surroundings) -> list[str]:
    """Say why the kernel does not let `me` trace `other`, each as a clause with what to do; empty: nothing is known."""
    if other.has_ended:
        return [GONE]
    if other.tracer:
        name = f" ({around.tracer_name})" if around.tracer_name else ""
        return [f"it is already traced by pid {other.tracer}{name}, which has to let go of it first"]
    if around.yama is not None and around.yama >= YAMA_NEVER:
        return ["kernel.yama.ptrace_scope = 3 forbids it until the machine starts anew; set it to 0 to 2 at boot"]
    found = [] if me.can(CAP_SYS_PTRACE) else list(_without_capability(me, other, around))
    if not found and me.seccomp == SECCOMP_FILTER:
        found = ["a seccomp filter forbids it; let SystemCallFilter= or the container's profile allow ptrace"]
    return found


def _without_capability(me: Status, other: Status, around: Surroundings) -> Iterator[str]:
    if not same_ids(me, other):
        yield (
            f"the tracer runs as uid {_first(me.uids)} gid {_first(me.gids)} without CAP_SYS_PTRACE, the process as "
            f"uid {_first(other.uids)} gid {_first(other.gids)}; {GRANT}"
        )
    elif around.dumpable is False:
        yield (
            "the process is not dumpable (its user cannot read the interpreter's file, or it has called "
            f"PR_SET_DUMPABLE); make the interpreter readable, set process.dumpable = yes, or {GRANT}"
        )
    if other.permitted & ~me.permitted:
        yield f"the process has capabilities that the tracer lacks ({_names(other.permitted & ~me.permitted)}); {GRANT}"
    if around.yama == YAMA_ANCESTORS:
        yield (
            "kernel.yama.ptrace_scope = 1 allows it to parents only, and the process has not named the master; reload "
            f"the pool, set it to 0 with sysctl, or {GRANT}"
        )
    if around.yama == YAMA_CAPABILITY:
        yield f"kernel.yama.ptrace_scope = 2 wants CAP_SYS_PTRACE; set it to 0 or 1 with sysctl, or {GRANT}"


def _first(numbers: tuple[int, ...]) -> str:
    return str(numbers[0]) if numbers else "?"


def _names(bits: int) -> str:
    """Capabilities by number, for few of them have names that everybody knows."""
    return ", ".join(f"number {index}" for index in range(bits.bit_length()) if bits >> index & 1)
