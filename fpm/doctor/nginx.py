"""Does nginx pass requests to a pool's socket, with the variables and the time that the pool needs. Pure."""

from __future__ import annotations

from collections.abc import Collection
from posixpath import basename, normpath

from fpm.config.model import AbstractAddress, ListenAddress, PoolConfig, TcpAddress, UnixAddress
from fpm.doctor.findings import Finding
from fpm.doctor.nginx_text import Dump, Pass
from fpm.doctor.shell import join

CHECK = "nginx"
NEEDED = frozenset({"REQUEST_METHOD", "QUERY_STRING", "SERVER_PROTOCOL"})
"""Of Debian's fastcgi_params and fastcgi.conf; without them no application works."""
PATHS = frozenset({"PATH_INFO", "SCRIPT_NAME", "REQUEST_URI", "DOCUMENT_URI"})
"""One of them says what is asked for."""


def judge(pool: PoolConfig, dump: Dump, others: Collection[str], nginx: str) -> list[Finding]:
    """Judge what nginx has for one pool.

    Args:
        others: addresses of all pools, as text.
        nginx: the command that runs it with this configuration, for a shell.
    """
    if isinstance(pool.listen, AbstractAddress):
        return []
    names = _spellings(pool.listen)
    mine = [one for one in dump.passes if any(_plain(target) in names for target in one.targets)]
    if mine:
        return [found for one in mine for found in _judge_pass(pool, one, nginx)]
    near = next((one for one in dump.passes if _is_near(pool, one, others)), None)
    if near is not None:
        wanted = spell_pass(pool.listen)
        text = (
            f"{near.file}:{near.line} passes requests to {near.written}, where no pool of this configuration listens; "
            f"{pool.name} listens on {pool.listen}"
        )
        commands = (_replace(near, near.written, wanted), f"{nginx} -s reload")
        return [Finding(CHECK, "problem", text, pool.name, commands=commands)]
    text = f"nginx has no fastcgi_pass to {pool.listen}. In its server block it needs"
    return [Finding(CHECK, "note", text, pool.name, lines=needed_lines(pool))]


def needed_lines(pool: PoolConfig) -> tuple[str, ...]:
    """Return what a server block of nginx needs for this pool."""
    lines = ["include fastcgi_params;", f"fastcgi_pass {spell_pass(pool.listen)};"]
    if pool.request_terminate_timeout > 60:
        lines.append(f"fastcgi_read_timeout {pool.request_terminate_timeout + 5:g}s;")
    return ("location / {", *(f"    {line}" for line in lines), "}")


def spell_pass(address: ListenAddress) -> str:
    """Write an address as `fastcgi_pass` takes it."""
    if isinstance(address, TcpAddress):
        host = address.host if address.host not in ("", "0.0.0.0", "::") else "127.0.0.1"
        return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    return f"unix:{address}"


def _judge_pass(pool: PoolConfig, one: Pass, nginx: str) -> list[Finding]:
    found = []
    reload = f"{nginx} -s reload"
    where = f"{one.file}:{one.line}"
    missing = NEEDED - one.params
    if missing or not PATHS & one.params:
        lacking = ", ".join(sorted(missing)) or "SCRIPT_NAME"
        text = f"{where} passes requests to {pool.name} without {lacking}, which applications need"
        commands = (_replace(one, "fastcgi_pass", "include fastcgi_params; fastcgi_pass"), reload)
        found.append(Finding(CHECK, "problem", text, pool.name, commands=commands))
    limit = pool.request_terminate_timeout
    if limit and one.read_timeout < limit:
        text = (
            f"{where} gives an answer {one.read_timeout:g} s (fastcgi_read_timeout), and request_terminate_timeout is "
            f"{limit:g} s: nginx answers 504 while the request goes on"
        )
        commands = (_replace(one, "fastcgi_pass", f"fastcgi_read_timeout {limit + 5:g}s; fastcgi_pass"), reload)
        found.append(Finding(CHECK, "problem", text, pool.name, commands=commands))
    return found


def _replace(one: Pass, old: str, new: str) -> str:
    """Return the command that changes a word in the line of the directive."""
    plain = [text.replace("\\", r"\\").replace("|", r"\|").replace("&", r"\&") for text in (old, new)]
    pattern = plain[0].replace(".", r"\.").replace("*", r"\*").replace("[", r"\[").replace("]", r"\]")
    return join("sed", "-i", f"{one.line}s|{pattern}|{plain[1]}|", one.file)


def _spellings(address: ListenAddress) -> set[str]:
    if isinstance(address, UnixAddress):
        path = normpath(address.path)
        moved = {path.replace("/run/", "/var/run/", 1)} if path.startswith("/run/") else set()
        if path.startswith("/var/run/"):
            moved = {path.replace("/var/run/", "/run/", 1)}
        return {path, *moved}
    assert isinstance(address, TcpAddress)
    if address.host in ("", "0.0.0.0", "::"):
        return {f"{host}:{address.port}" for host in ("127.0.0.1", "[::1]", "localhost")}
    return {spell_pass(address), *([f"localhost:{address.port}"] if address.host == "127.0.0.1" else [])}


def _plain(target: str) -> str:
    return normpath(target) if target.startswith("/") else target


def _is_near(pool: PoolConfig, one: Pass, others: Collection[str]) -> bool:
    """Does this look like a mistyped or an old path of the pool: the same file name, and nobody else's socket?"""
    if not isinstance(pool.listen, UnixAddress) or len(one.targets) != 1 or not one.written.startswith("unix:"):
        return False
    target = _plain(one.targets[0])
    return basename(target) == basename(pool.listen.path) and target not in {_plain(other) for other in others}
