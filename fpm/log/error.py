"""The error log: PHP-FPM's lines or JSON, to a file, standard error or syslog. Writing never blocks, never raises."""

from __future__ import annotations

import os
import stat
import syslog
import time
from collections.abc import Mapping

from fpm.log.escape import cut, escape_line
from fpm.log.json_entry import format_json
from fpm.log.lines import INDENT, Level, format_lines, guard_bare, parse_level, pool_prefix, room_beside
from fpm.log.syslog_target import SyslogTarget, syslog_head
from fpm.log.target import FileTarget, Target, is_journal, is_open, open_target

SYSLOG = "syslog"
_PRIORITY = {
    Level.DEBUG: syslog.LOG_DEBUG,
    Level.NOTICE: syslog.LOG_NOTICE,
    Level.WARNING: syslog.LOG_WARNING,
    Level.ERROR: syslog.LOG_ERR,
    Level.ALERT: syslog.LOG_ALERT,
}


class ErrorLog:
    """The master's log.

    Args:
        path: a file, "syslog", or None for standard error.
        level: lower levels are not written.
        limit: bytes of a line.
        ident: name in syslog.
        facility: syslog's facility, such as daemon or local0.
        form: "text", or "json" for one object in each line.
        journal_stream: JOURNAL_STREAM of the environment. Lines to the journal have a priority and no time of ours.

    Raises:
        StartError: the file cannot be opened.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        level: str = "notice",
        limit: int = 1024,
        ident: str = "pyfpm",
        facility: str = "daemon",
        form: str = "text",
        journal_stream: str = "",
    ) -> None:
        self.level = parse_level(level)
        self.limit = limit
        self.form = form
        self._ident = ident
        self._facility = facility
        self._uses_syslog = path == SYSLOG
        self._has_stderr = False
        self._target: Target = SyslogTarget() if self._uses_syslog else open_target(path, "error_log")
        self._target.say_dropped = self._format_dropped
        self._uses_journal = not self._uses_syslog and is_journal(self._target.fileno(), journal_stream)

    def debug(self, text: str) -> None:
        """Log something that helps to find a fault in pyfpm itself."""
        self.log(Level.DEBUG, text)

    def notice(self, text: str) -> None:
        """Log something worth knowing that needs no action."""
        self.log(Level.NOTICE, text)

    def warning(self, text: str) -> None:
        """Log something that somebody should look at."""
        self.log(Level.WARNING, text)

    def error(self, text: str) -> None:
        """Log something that does not work."""
        self.log(Level.ERROR, text)

    def alert(self, text: str) -> None:
        """Log something that needs action now."""
        self.log(Level.ALERT, text)

    def log(self, level: Level | str, text: str, pool: str = "", fields: Mapping[str, str | int] | None = None) -> None:
        """Write an entry; in text each of its lines names the pool, JSON has the further fields as well."""
        if isinstance(level, str):
            level = parse_level(level)
        if level >= self.level:
            self._target.write(self._format(level, text, pool, fields))

    def raw(self, text: str, pool: str = "", fields: Mapping[str, str | int] | None = None) -> None:
        """Write worker output as one escaped line without decoration (decorate_workers_output = no).

        In JSON it is an entry like others, so that no line of an application can be taken for one of ours.
        """
        if self.form == "json":
            self._target.write(self._format(Level.NOTICE, text, pool, fields))
            return
        line = cut(guard_bare(escape_line(text)), self.limit)
        head = self._head(Level.NOTICE)
        self._target.write(head + _encode(line) + b"\n")

    def find_gap(self) -> str:
        """Say why nobody will read the log, or return ""; files have been opened already."""
        if isinstance(self._target, SyslogTarget):
            try:
                self._target.reach()
            except OSError as error:
                return f"nothing takes messages for syslog ({error.strerror})"
        return ""

    def reopen(self) -> None:
        """Open a new file after logrotate has moved the old one; keep the old one if that fails."""
        failure = self._target.reopen()
        if failure:
            self.error(f"unable to re-open error log file: {failure}; the old one stays in use")
        elif self._has_stderr:
            self.take_stderr()

    def take_stderr(self) -> None:
        """Redirect this process's standard error to the log's file, also after `reopen`.

        With syslog it is discarded; if the log is standard error, nothing changes.
        """
        if self._uses_syslog:
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(null, 2)
            os.close(null)
        elif isinstance(self._target, FileTarget):
            self._has_stderr = True
            os.dup2(self._target.fileno(), 2)

    def has_same_file(self, fd: int) -> bool:
        """Tell whether a descriptor is of a file that this log, or this process's standard error, writes to."""
        found = os.fstat(fd)
        return stat.S_ISREG(found.st_mode) and any(
            os.path.samestat(found, os.fstat(own)) for own in (self._target.fileno(), 1, 2) if is_open(own)
        )

    def room_beside(self, text: str) -> int:
        """Return how many more bytes fit into one entry that has this text."""
        return room_beside(text, self.limit, debug_pid=self._debug_pid())

    def pending_fd(self) -> int | None:
        """Return the descriptor to wait for with POLLOUT before `flush`; None when no line is pending."""
        return self._target.pending_fd()

    def flush(self) -> None:
        """Write pending lines, as far as possible without waiting."""
        self._target.flush()

    def close(self) -> None:
        """Write pending lines as far as possible and close what was opened."""
        self._target.close()

    def _format(self, level: Level, text: str, pool: str = "", fields: Mapping[str, str | int] | None = None) -> bytes:
        head = self._head(level)
        if self.form == "json":
            return head + _encode(format_json(level, text, time.time(), pool=pool, fields=fields or {})) + b"\n"
        prefix = pool_prefix(pool)
        if self._uses_syslog:
            beginnings = f"[{level.name}] {prefix}", f"[{level.name}] {prefix}{INDENT}"
            lines = [
                cut(f"{beginnings[number > 0]}{escape_line(line)}", self.limit)
                for number, line in enumerate(text.rstrip("\n").split("\n"))
            ]
            return b"".join(head + _encode(line) + b"\n" for line in lines)
        now = None if self._uses_journal else time.time()
        lines = format_lines(level, text, now, limit=self.limit, prefix=prefix, debug_pid=self._debug_pid())
        return b"".join(head + _encode(line) + b"\n" for line in lines)

    def _debug_pid(self) -> int | None:
        return os.getpid() if self.level is Level.DEBUG else None

    def _format_dropped(self, count: int) -> bytes:
        return self._format(Level.WARNING, f"{count} log lines were dropped: the log could not take them in time")

    def _head(self, level: Level) -> bytes:
        """What syslog or the journal wants before each line (the journal: sd-daemon(3)); nothing for a file."""
        if self._uses_syslog:
            return syslog_head(_PRIORITY[level], self._facility, self._ident, os.getpid())
        return b"<%d>" % _PRIORITY[level] if self._uses_journal else b""


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
