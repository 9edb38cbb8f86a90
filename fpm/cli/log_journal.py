"""systemd's journal for `pyfpm logs`: what the daemon's unit has logged there, as if it were an error log."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fpm.cli.log_entries import EntryReader, LogEntry
from fpm.cli.options import Options
from fpm.client.control import fetch_snapshot
from fpm.config.local_system import DEFAULT_FILE
from fpm.errors import FpmError
from fpm.log.lines import INDENT, Level, format_head
from fpm.system.systemd import find_service

BOOTED = "/run/systemd/system"
"""This directory exists where systemd is the init process (sd_booted(3))."""
READ_TIME = 30.0
"""Seconds for one call of journalctl."""
FIRST_READ, READ_MAX = 1000, 64_000
"""Entries from the end of the journal that are looked at."""
PIECE = 1024 * 1024
FIELDS = "MESSAGE,PRIORITY"
RIGHTS = (
    "no permission to read the journal: call `pyfpm logs` as root, or as a member of the group systemd-journal "
    "(usermod --append --groups systemd-journal USER)"
)
MISSING = "journalctl was not found: install systemd's tools, or set error_log to a file"
_OUR_HEAD = re.compile(rf"(?:{'|'.join(level.name for level in Level)}): ")
_LEVELS = {"0": Level.ALERT, "1": Level.ALERT, "2": Level.ALERT, "3": Level.ERROR, "4": Level.WARNING, "7": Level.DEBUG}
"""Of the priorities of syslog(3); the others are notices."""


def match_of_file(file: str) -> list[str]:
    """Return the options of journalctl for the unit that contrib/systemd has for this configuration file, if any."""
    if file == DEFAULT_FILE:
        return ["--unit", "pyfpm.service"]
    if os.path.dirname(file) == os.path.join(os.path.dirname(DEFAULT_FILE), "pools.d"):
        return ["--unit", f"pyfpm@{Path(file).stem}.service"]
    return []


def find_journal(options: Options, *, is_syslog: bool, ident: str) -> JournalLog | None:
    """Find out where in the journal the daemon logs; None: not there, as far as can be seen.

    Args:
        is_syslog: error_log is syslog, not standard error.
        ident: syslog.ident.
    """
    if not os.path.isdir(BOOTED):
        return None
    try:
        pid = fetch_snapshot(options.control_path(), workers=False).daemon.pid
    except FpmError:  # it does not run, or not for this user: what it has logged is wanted all the same
        match = match_of_file(os.path.abspath(options.file))
    else:
        match = _match_of_process(pid, is_syslog=is_syslog, ident=ident)
    if not match and is_syslog:
        match = ["--identifier", ident]
    return JournalLog(match) if match else None


def _match_of_process(pid: int, *, is_syslog: bool, ident: str) -> list[str]:
    try:
        output = os.readlink(f"/proc/{pid}/fd/2")
    except OSError:  # of another user
        output = "socket:"
    if not is_syslog and output == os.devnull:  # in the background it logs to syslog
        return ["--identifier", ident]
    if not is_syslog and not output.startswith("socket:"):
        return []
    try:
        service = find_service(Path(f"/proc/{pid}/cgroup").read_text(errors="replace"))
    except OSError:
        return []
    return ["--user-unit" if service.of_user else "--unit", service.name] if service is not None else []


def error_lines(entry: Mapping[str, Any]) -> list[str]:
    """Return an entry of `journalctl -o json` as the lines that an error log would have."""
    text = entry.get("MESSAGE")
    if isinstance(text, list):  # bytes that are not UTF-8
        text = bytes(one & 0xFF for one in text if isinstance(one, int)).decode("utf-8", "replace")
    first, *rest = str(text or "").split("\n")
    if first.startswith("{"):
        return [first, *(INDENT + line for line in rest)]
    head = format_head(_LEVELS.get(str(entry.get("PRIORITY")), Level.NOTICE), _time_of(entry))
    if _OUR_HEAD.match(first):
        head = head.rpartition("] ")[0] + "] "
    return [head + first, *(INDENT + line for line in rest)]


def _time_of(entry: Mapping[str, Any]) -> float:
    digits = str(entry.get("__REALTIME_TIMESTAMP"))
    return int(digits) / 1e6 if digits.isdecimal() and len(digits) < 18 else 0.0


class JournalLog:
    """The entries of one unit or one identifier.

    Args:
        match: options of journalctl that select them.
    """

    def __init__(self, match: Sequence[str]) -> None:
        self.path = f"journal of {match[-1]}"
        self._command = ["journalctl", *match, "--output=json", f"--output-fields={FIELDS}", "--all", "--no-pager"]
        self._opened = 0.0
        self._cursor = ""
        self._rest = b""
        self._reader = EntryReader("error", (), 0.0)
        self._follower: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Remember the time: what comes later is new."""
        self._opened = time.time()

    def read_last(self, is_enough: Callable[[Sequence[LogEntry]], bool]) -> list[LogEntry]:
        """Return the last entries: more and more of the journal is read until they are enough, or all.

        Raises:
            OSError: it cannot be read.
        """
        count = FIRST_READ
        while True:
            lines = self._run(f"--lines={count}")
            self._reader = EntryReader("error", (), self._opened)
            entries = self._parse(lines)
            if len(lines) < count or count >= READ_MAX or is_enough(entries):
                return entries
            count *= 4

    def read_new(self) -> list[LogEntry]:
        """Return the entries since the last call.

        Raises:
            OSError: journalctl cannot be started, or has exited.
        """
        if self._follower is None:
            after = f"--after-cursor={self._cursor}" if self._cursor else f"--since=@{self._opened:.6f}"
            command = [*self._command, "--follow", "--no-tail", "--quiet", after]
            self._follower = _begin(command)
        assert self._follower.stdout is not None
        try:
            data = os.read(self._follower.stdout.fileno(), PIECE)
        except BlockingIOError:
            return []
        if not data:
            raise OSError(0, f"journalctl --follow exited with status {self._follower.wait()}")
        whole, _, self._rest = (self._rest + data).rpartition(b"\n")
        return self._parse(whole.splitlines())

    def close(self) -> None:
        """End the journalctl that follows."""
        if self._follower is not None:
            self._follower.terminate()
            self._follower.communicate()
            self._follower = None

    def _run(self, *more: str) -> list[bytes]:
        try:
            done = subprocess.run(
                [*self._command, *more], stdin=subprocess.DEVNULL, capture_output=True, timeout=READ_TIME, check=False
            )
        except FileNotFoundError as error:
            raise OSError(0, MISSING) from error
        except subprocess.TimeoutExpired as error:
            raise OSError(0, f"journalctl did not finish within {READ_TIME:g} s") from error
        said = done.stderr.decode("utf-8", "replace").strip()
        lines = [line for line in done.stdout.splitlines() if line.startswith(b"{")]
        if not lines and ("insufficient permissions" in said or "not seeing messages" in said):
            raise OSError(0, RIGHTS)
        if done.returncode != 0:
            raise OSError(0, f"journalctl failed with status {done.returncode}: {said or 'it does not say why'}")
        return lines

    def _parse(self, lines: Sequence[bytes]) -> list[LogEntry]:
        entries: list[LogEntry] = []
        for line in lines:
            try:
                parsed = json.loads(line)
            except (ValueError, RecursionError):  # "-- No entries --"
                continue
            if isinstance(parsed, dict):
                self._cursor = str(parsed.get("__CURSOR", self._cursor))
                entries += self._reader.take(error_lines(parsed))
        return [*entries, *self._reader.finish()]


def _begin(command: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
    except FileNotFoundError as error:
        raise OSError(0, MISSING) from error
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    return process
