"""A section of ours while the options of another server are read into it: which of them belong together. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from fpm.convert.given import Carried, Given, Left, Section
from fpm.convert.listening import settle
from fpm.convert.option import NOT_CARRIED, Option, Peer
from fpm.convert.values import Unfit, convert, is_yes, number, text

APPLICATION = re.compile(r"(?:[^\W\d][\w.]*|[^:]*\.py|[^:]*/[^:]*\.wsgi):[^\W\d][\w.]*(?:\(\))?")
"""As fpm.config.application_value has it."""
_VARIABLE = re.compile(r"[A-Za-z_]\w*")
_EXPANDED = re.compile(r"\$\{|\$pool|^\$")
_JOINED = {"pythonpath": ":", "supplementary_groups": " "}
_SWITCHES = frozenset({"preload"})
"""Where a switch that is off says nothing."""
STDERR = "the journal where a unit runs pyfpm; after pyfpm start it goes to that terminal: name a file"
UNKNOWN = "pyfpm does not know this option of {}; nothing has been done for it"


def show(given: Given) -> str:
    """Return an option as its file has it, in one line."""
    value = given.value if isinstance(given.value, str) else repr(given.value)
    line = f"{given.name} = {value}" if value else given.name
    line = "".join(char if char.isprintable() else " " for char in line)
    return line if len(line) <= 160 else f"{line[:159]}…"


class Draft:
    """One pool, or [global]: takes options, keeps what is left, and completes what a pool must have."""

    def __init__(self, peer: Peer, name: str) -> None:
        self.name = name
        self.parts: dict[str, Given] = {}
        """What only together makes directives, by `how`."""
        self._peer = peer
        self._directives: dict[str, Carried] = {}
        self._for_all: dict[str, Carried] = {}
        self._left: list[Left] = []

    def copy(self, name: str) -> Draft:
        """Return another pool with the same options."""
        other = Draft(self._peer, name)
        other.parts = dict(self.parts)
        other._directives, other._for_all = dict(self._directives), dict(self._for_all)
        return other

    def take(self, given: Given) -> None:
        """Carry one option over, or note why not."""
        option = self._peer.find(given.name)
        if option is not None and option.how in NOT_CARRIED:
            self.leave(given, option.note)
        elif given.reason or option is None:
            self.leave(given, given.reason or UNKNOWN.format(self._peer.title))
        else:
            try:
                self._carry(option, given)
            except Unfit as unfit:
                self.leave(given, f"{option.ours} is not set: {unfit}" if option.ours != "listen" else str(unfit))

    def leave(self, given: Given, reason: str) -> None:
        """Note that an option is not carried over."""
        self._left.append(Left(given.line, show(given), reason))

    def set(self, directive: str, value: str, given: Given, note: str = "", *, raw: bool = False) -> None:
        """Set a directive; what has been set before is replaced, which is noted.

        Args:
            raw: the value is written as it is, in the form of our files already.
        """
        before = self._directives.get(directive)
        origin = (given.line, given.name, "; ".join(filter(None, (note, given.note))))
        if before is not None and directive in _JOINED:
            value = f"{before.value}{_JOINED[directive]}{value}"
            self._directives[directive] = Carried(value, (*before.origins, origin))
            return
        if before is not None and directive.endswith("[]"):
            self._directives[directive] = replace(before, others=(*before.others, Carried(value, (origin,), raw)))
            return
        if before is not None:
            line, name, _ = before.origins[-1]
            self._left.append(Left(line, f"{name} ({directive} = {before.value})", f"line {given.line} replaces it"))
        self._directives[directive] = Carried(value, (origin,), raw)

    def _carry(self, option: Option, given: Given) -> None:
        if option.how in _PARTS:
            convert(option.how, given.value)
            if option.how in self.parts:
                self.leave(self.parts[option.how], f"line {given.line} replaces it")
            self.parts[option.how] = replace(given, note="; ".join(filter(None, (option.note, given.note))))
        elif option.how == "mount":
            self._take_mount(option, given)
        elif option.how == "variable":
            self._take_variables(option, given)
        elif option.how == "address":
            self._take_addresses(option, given)
        elif option.ours == "listen.owner":
            self._take_owner(given)
        else:
            value = convert(option.how, given.value)
            if option.ours in _SWITCHES and not is_yes(given.value):
                self.leave(given, f"off is the default; {option.note}")
            elif option.is_global:
                self._for_all[option.ours] = Carried(value, ((given.line, given.name, option.note),))
            else:
                is_stderr = option.how == "log" and value == "/dev/stderr"
                self.set(option.ours, value, given, STDERR if is_stderr else option.note)

    def _take_variables(self, option: Option, given: Given) -> None:
        fixed = re.fullmatch(r"becomes env\[(\w+)\]", option.note)
        if fixed:
            pairs = {fixed[1]: given.value}
        elif isinstance(given.value, dict):
            pairs = given.value
        else:
            several = given.value if isinstance(given.value, list | tuple) else [given.value]
            pairs = dict(str(one).partition("=")[::2] for one in several)
        for name, value in pairs.items():
            if not _VARIABLE.fullmatch(str(name).strip()):
                raise Unfit(f"expected NAME=VALUE, found '{name}'")
            written = str(value)
            if not written.isprintable():
                raise Unfit(f"the value of {name} has more than one line, or characters that cannot be printed")
            if "'" in written and _EXPANDED.search(written):
                raise Unfit(f"{name} has both ' and what pyfpm would replace; put it into the file of env_file")
            self.set(f"env[{str(name).strip()}]", written.strip(), given)

    def _take_mount(self, option: Option, given: Given) -> None:
        prefix, file = given.value if isinstance(given.value, tuple) else text(given.value).partition("=")[::2]
        if "file" in self.parts:
            raise Unfit(f"one application for each pool: write another one for {prefix}")
        self.parts["file"] = replace(given, value=text(file))
        if text(prefix).rstrip("/"):
            self.set("script_name", text(prefix).rstrip("/"), given, option.note)

    def _take_addresses(self, option: Option, given: Given) -> None:
        several = given.value if isinstance(given.value, list | tuple) else re.split(r",\s*", str(given.value))
        reasons = []
        for one in several:
            try:
                if "listen" in self._directives:
                    raise Unfit(f"a pool has one listening address, here {self._directives['listen'].value}")
                self.set("listen", convert("address", one), given, option.note)
            except Unfit as unfit:
                reasons.append(f"{one} {unfit}" if len(several) > 1 else str(unfit))
        if reasons:
            raise Unfit("; ".join(reasons))

    def _take_owner(self, given: Given) -> None:
        owner, _, group = text(given.value).partition(":")
        if owner:
            self.set("listen.owner", owner, given)
        if group:
            self.set("listen.group", group, given)

    # ---------------------------------------------------------------- what a pool must have

    def finish_global(self) -> Section:
        """Return [global]."""
        return Section(self.name, self._directives, left=tuple(self._left))

    def finish(self, web_group: str, directory: str) -> Section:
        """Return the pool with everything that it must have.

        Args:
            web_group: the web server's group on this machine; "" if none was found.
            directory: of the file.
        """
        to_complete: dict[str, str] = {}
        self._finish_application(to_complete)
        if "chdir" not in self._directives and self._has_relative_path():
            to_complete["chdir"] = "paths are relative to where the other server was started: is it this directory?"
            self._directives["chdir"] = Carried(directory, ())
        self._finish_processes()
        listening, missing = settle(self.name, self._directives, web_group)
        self._directives |= listening
        to_complete |= missing
        if "user" not in self._directives:
            to_complete["user"] = "no user is named; each pool has its own, made by useradd --system --no-create-home"
            self._directives["user"] = Carried(re.sub(r"[^a-z0-9_-]", "-", self.name.lower()), ())
        ordered = sorted(self._directives, key=lambda name: (_place(name), list(self._directives).index(name)))
        directives = {name: self._directives[name] for name in ordered}
        left = tuple(sorted(self._left, key=lambda one: one.line))
        return Section(self.name, directives, self._for_all, left, to_complete)

    def _finish_application(self, to_complete: dict[str, str]) -> None:
        where, app = self._application()
        if where is not None and APPLICATION.fullmatch(app):
            self.set("app", app, replace(where, note=""), where.note)
            for how in ("callable", "factory"):
                if how in self.parts:
                    part = self.parts[how]
                    known = self._directives["app"]
                    origins = (*known.origins, (part.line, part.name, part.note))
                    self._directives["app"] = Carried(known.value, origins)
            return
        to_complete["app"] = "write the module and the callable of the application"
        self._directives["app"] = Carried(f"wsgi:{self._peer.callable_}", ())
        if where is not None:
            reason = "app is module:callable, FILE.py:callable, FILE.wsgi:callable or module:factory()"
            if "(" in app and not app.endswith("()"):
                reason = "a factory takes no arguments here: write a function that calls it with them"
            self.leave(where, reason)

    def _has_relative_path(self) -> bool:
        values = {name: one.value for name, one in self._directives.items() if not one.raw}
        file = values.get("app", "").partition(":")[0]
        paths = [file] if file.endswith((".py", ".wsgi")) and ("/" in file or file.endswith(".py")) else []
        paths += [*values.get("pythonpath", "").split(":"), values.get("venv", "")]
        return any(path and path[0] not in "/$" for path in paths)

    def _application(self) -> tuple[Given | None, str]:
        given = self.parts.get("module") or self.parts.get("file")
        if given is None:
            return None, ""
        where, _, name = text(given.value).partition(":")
        if "module" not in self.parts and where.endswith(".wsgi") and "/" not in where:
            where = f"./{where}"  # shop.wsgi is a module
        if "callable" in self.parts:
            name = name or text(self.parts["callable"].value)
        name = name or self._peer.callable_
        if "factory" in self.parts and is_yes(self.parts["factory"].value) and not name.endswith(")"):
            name += "()"
        return given, f"{where}:{name}"

    def _finish_processes(self) -> None:
        workers, threads, least, first = (self._count(how) for how in ("workers", "threads", "least", "first"))
        origins = [self.parts[how] for how in ("workers", "threads") if how in self.parts]
        most = max(workers or 1, 1) * max(threads or 1, 1)
        if "pm" in self._directives or "pm.max_children" in self._directives:
            return
        pm = "static"
        if least == 0 or (least is None and "pm.process_idle_timeout" in self._directives):
            pm = "ondemand"
        elif least or (threads or 1) > 1:
            pm = "dynamic"
            low = min(least or 1, most)
            high = min(max(2 * low, first or 0) if least else max(workers or 1, 1), most)
            self._spare(low, high, min(max(first or (low if least else high), low), high))
        self._directives["pm"] = Carried(pm, ())
        self._directives["pm.max_children"] = Carried(
            str(most), tuple((one.line, f"{one.name} = {one.value}", one.note) for one in origins)
        )

    def _spare(self, low: int, high: int, start: int) -> None:
        parts = [self.parts[how] for how in ("least", "first") if how in self.parts]
        origins = tuple((one.line, f"{one.name} = {one.value}", one.note) for one in parts)
        self._directives["pm.start_servers"] = Carried(str(start), origins)
        self._directives["pm.min_spare_servers"] = Carried(str(low), ())
        self._directives["pm.max_spare_servers"] = Carried(str(high), ())

    def _count(self, how: str) -> int | None:
        return number(self.parts[how].value) if how in self.parts else None


_PARTS = frozenset({"workers", "threads", "least", "first", "module", "callable", "file", "factory"})
_ORDER = (
    *("app", "venv", "python", "pythonpath", "chdir", "user", "group", "listen", "script_name"),
    *("pm", "pm.max_children", "pm.start_servers", "pm.min_spare_servers", "pm.max_spare_servers"),
)


def _place(name: str) -> int:
    """Return where a directive is written: what it is about first, variables last."""
    if name in _ORDER:
        return _ORDER.index(name)
    if name.startswith("listen."):
        return _ORDER.index("listen")
    if name.startswith("pm."):
        return len(_ORDER) - 1
    return len(_ORDER) + (1 if name.startswith("env[") else 0)
