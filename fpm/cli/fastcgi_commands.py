"""`pyfpm ping` and `pyfpm request`: send requests directly to a FastCGI server, without a web server.

`ctx.obj` may have a method `resolve(name) -> ListenAddress` that knows the configured pools; without it only sockets
can be given. It raises FpmError for an unknown name.
"""

from __future__ import annotations

import base64
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NoReturn

import click

from fpm.cli.options import examples, format_option, timeout_option
from fpm.cli.output import byte_printer, complain, print_json, say
from fpm.client.exchange import Response, send_request
from fpm.client.records import TimeLimits
from fpm.client.request import as_latin1, header_param, parse_target, request_params
from fpm.config.model import ListenAddress
from fpm.errors import EXIT_FAILED, ClientError, FpmError

PONG_LIMIT = 65536
READ_SIZE = 65536
JSON_LIMIT = 64 * 1024 * 1024
"""Bytes of a body that is printed in a JSON document."""
NO_LIMIT = 7 * 86400.0
"""Seconds that stand for no limit; poll(2) takes 24 days at most."""
FORM = "application/x-www-form-urlencoded"


def address_of(ctx: click.Context, target: str) -> ListenAddress:
    """Return the address of SOCKET|POOL; exit with status 1 if the pool is unknown.

    Raises:
        click.BadParameter: it is neither.
    """
    try:
        address = parse_target(target)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if address is not None:
        return address
    resolve = getattr(ctx.obj, "resolve", None)
    if resolve is None:
        raise click.BadParameter(f"'{target}' is not a socket: give a path, HOST:PORT or a port")
    try:
        found: ListenAddress = resolve(target)
    except FpmError as error:
        _fail(f"{target}: {error}", ctx.params.get("form") == "json")
    return found


@click.command(epilog=examples("pyfpm ping shop", "pyfpm ping --timeout 2 /run/pyfpm/shop.sock"))
@click.argument("target", metavar="SOCKET|POOL")
@click.option("--path", default="/ping", show_default=True, help="ping.path of the pool.")
@click.option("--expect", default="pong", show_default=True, help="ping.response of the pool.")
@timeout_option(3.0, "for the whole request")
@format_option()
@click.pass_context
def ping(ctx: click.Context, target: str, path: str, expect: str, timeout: float, form: str) -> None:
    """Check that a pool answers, for container probes.

    Exit status 0: it answers `pong`. 1: it answers anything else, or nothing in time. Its `ping.path` must be set.
    """
    params = _params("GET", path)
    address, as_json, begun = address_of(ctx, target), form == "json", time.monotonic()
    seconds = timeout or NO_LIMIT
    try:
        limits = TimeLimits(connect=seconds, idle=seconds, total=seconds)
        with send_request(address, params, limits=limits) as response:
            body = response.read(PONG_LIMIT).decode("latin-1")
    except ClientError as error:
        _fail(f"{address}: {error}", as_json)
    if response.head.status != 200 or body.strip() != expect:
        answer = f"answered {response.head.status} {body.strip()[:60]!r}, expected {expect!r}"
        _fail(f"{address}: {answer}. The pool needs ping.path = {path}, or name its path with --path", as_json)
    if as_json:
        print_json({"ok": True, "address": str(address), "answer": body.strip(), "seconds": _since(begun)})
    else:
        say(body.strip())


def _split_pair(text: str, separator: str, option: str) -> tuple[str, str]:
    name, found, value = text.partition(separator)
    if not found or not name.strip():
        raise click.BadParameter(f"'{text}' does not have the form {option}")
    return name.strip(), value.strip()


def _params(
    method: str, path: str, headers: Iterable[tuple[str, str]] = (), content_length: int | None = None
) -> dict[str, str]:
    if not path.startswith("/"):
        raise click.BadParameter(f"the path '{path}' does not start with a slash")
    try:
        return request_params(method, path, headers=headers, content_length=content_length)
    except ValueError as error:
        raise click.BadParameter(f"'{path}': {error}. (-P sends any parameter as it is)") from None


@click.command(
    epilog=examples(
        "pyfpm request shop '/search?q=x'",
        "pyfpm request /run/pyfpm/shop.sock /save -d @form.txt",
        "pyfpm request shop / -H 'Host: www.example.com' --body-only",
    )
)
@click.argument("target", metavar="SOCKET|POOL")
@click.argument("path")
@click.option("-X", "method", metavar="METHOD", help="Request method; GET, or POST with -d.")
@click.option("-d", "data", metavar="DATA|@FILE|-", help="Request body: the text itself, a file, or standard input.")
@click.option("-H", "headers", metavar="'NAME: VALUE'", multiple=True, help="Request header, may be repeated.")
@click.option("-P", "params", metavar="NAME=VALUE", multiple=True, help="FastCGI parameter, may be repeated.")
@click.option("--include/--body-only", default=True, help="Print status and headers before the body (the default).")
@timeout_option(60.0, "without any byte from the server")
@format_option()
@click.pass_context
def request(
    ctx: click.Context,
    target: str,
    path: str,
    method: str | None,
    data: str | None,
    headers: tuple[str, ...],
    params: tuple[str, ...],
    include: bool,
    timeout: float,
    form: str,
) -> None:
    """Send one request over FastCGI and print the response.

    PATH is what a browser would send, with a query string or without: '/status?json&full', '/caf%C3%A9'. The
    application gets it decoded, as by nginx. The exit status is 0 if a complete response was received and its
    status is below 400, otherwise 1.
    """
    address = address_of(ctx, target)
    pairs = [_split_pair(header, ":", "'NAME: VALUE'") for header in headers]
    extra = [_split_pair(param, "=", "NAME=VALUE") for param in params]
    body, length = _open_body(ctx, data)
    method = method or ("GET" if body is None else "POST")
    values = _params(method, path, pairs, length)
    if body is not None and header_param("Content-Type") not in {header_param(name) for name, _ in pairs}:
        values["CONTENT_TYPE"] = FORM
    values.update({as_latin1(name): as_latin1(value) for name, value in extra})
    as_json = form == "json"
    try:
        limits = TimeLimits(idle=timeout or NO_LIMIT)
        with send_request(address, values, _pieces(body), limits=limits) as response:
            if as_json:
                print_json(_as_object(response, address))
            else:
                _print_response(response, include=include)
    except ClientError as error:
        _fail(f"{address}: {error}", as_json)
    if response.head.status >= 400:
        ctx.exit(EXIT_FAILED)


def _open_body(ctx: click.Context, data: str | None) -> tuple[BinaryIO | None, int | None]:
    """Open a file positioned at the body, and return it and its length in bytes; (None, None) without a body."""
    if data is None:
        return None, None
    if data == "-":
        return _measured(ctx, sys.stdin.buffer)
    if data.startswith("@"):
        try:
            return _measured(ctx, ctx.with_resource(open(data[1:], "rb")))
        except OSError as error:
            raise click.BadParameter(f"cannot read {data[1:]}: {error.strerror}") from None
    content = data.encode(errors="surrogateescape")
    spool = ctx.with_resource(tempfile.TemporaryFile())  # noqa: SIM115  the context closes it
    spool.write(content)
    spool.seek(0)
    return spool, len(content)


def _measured(ctx: click.Context, source: BinaryIO) -> tuple[BinaryIO, int]:
    """Return a regular file itself, else a copy, with its size: FastCGI servers need CONTENT_LENGTH before the body."""
    status = os.fstat(source.fileno())
    if stat.S_ISREG(status.st_mode):
        return source, status.st_size - source.tell()
    spool = ctx.with_resource(tempfile.TemporaryFile())  # noqa: SIM115  the context closes it
    for piece in _pieces(source):
        spool.write(piece)
    length = spool.tell()
    spool.seek(0)
    return spool, length


def _pieces(source: BinaryIO | None) -> Iterator[bytes]:
    while source is not None and (piece := source.read(READ_SIZE)):
        yield piece


def _print_response(response: Response, *, include: bool) -> None:
    """Print the response to standard output as it arrives, and the server's STDERR stream to standard error."""
    show = byte_printer(sys.stdout)
    if include:
        lines = [f"Status: {response.head.status} {response.head.reason}"]
        lines += [f"{name}: {value}" for name, value in response.head.headers]
        show("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"))
    for piece in response:
        show(piece)
    show(b"")
    if response.stderr:
        byte_printer(sys.stderr)(response.stderr)


def _as_object(response: Response, address: ListenAddress) -> dict[str, Any]:
    """Read the response; a body that is no UTF-8 is given in base64."""
    body = response.read(JSON_LIMIT)
    try:
        content = {"body": body.decode()}
    except UnicodeDecodeError:
        content = {"body_base64": base64.b64encode(body).decode()}
    return {
        "ok": response.head.status < 400,
        "address": str(address),
        "status": response.head.status,
        "reason": response.head.reason,
        "headers": [list(pair) for pair in response.head.headers],
        **content,
        "stderr": response.stderr.decode("utf-8", "replace"),
    }


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 6)


def _fail(text: str, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"ok": False, "error": text})
    else:
        complain(f"pyfpm: {text}")
    raise SystemExit(EXIT_FAILED)
