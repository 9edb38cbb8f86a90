"""`pyfpm ping` and `pyfpm request`: send requests directly to a FastCGI server, without a web server.

`ctx.obj` may have a method `resolve(name) -> ListenAddress` that knows the configured pools; without it only sockets
can be given. It raises FpmError for an unknown name.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NoReturn

import click

from fpm.cli.output import byte_printer, complain, say
from fpm.client.exchange import Response, send_request
from fpm.client.records import TimeLimits
from fpm.client.request import as_latin1, header_param, parse_target, request_params
from fpm.config.model import ListenAddress
from fpm.errors import EXIT_FAILED, ClientError, FpmError

PONG_LIMIT = 65536
READ_SIZE = 65536
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
        _fail(f"{ctx.info_name}: {target}: {error}")
    return found


@click.command()
@click.argument("target", metavar="SOCKET|POOL")
@click.option("--path", default="/ping", show_default=True, help="ping.path of the pool.")
@click.option("--expect", default="pong", show_default=True, help="ping.response of the pool.")
@click.option(
    "--timeout", default=3.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Total seconds."
)
@click.pass_context
def ping(ctx: click.Context, target: str, path: str, expect: str, timeout: float) -> None:
    """Exit 0 if the pool answers `pong`, otherwise 1 (for container probes)."""
    params = _params("GET", path)
    address = address_of(ctx, target)
    try:
        limits = TimeLimits(connect=timeout, idle=timeout, total=timeout)
        with send_request(address, params, limits=limits) as response:
            body = response.read(PONG_LIMIT).decode("latin-1")
    except ClientError as error:
        _fail(f"ping: {address}: {error}")
    if response.head.status != 200 or body.strip() != expect:
        _fail(f"ping: {address}: answered {response.head.status} {body.strip()[:60]!r}, expected {expect!r}")
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


@click.command()
@click.argument("target", metavar="SOCKET|POOL")
@click.argument("path")
@click.option("-X", "method", metavar="METHOD", help="Request method; GET, or POST with -d.")
@click.option("-d", "data", metavar="DATA|@FILE|-", help="Request body: the text itself, a file, or standard input.")
@click.option("-H", "headers", metavar="'NAME: VALUE'", multiple=True, help="Request header, may be repeated.")
@click.option("-P", "params", metavar="NAME=VALUE", multiple=True, help="FastCGI parameter, may be repeated.")
@click.option("--include/--body-only", default=True, help="Print status and headers before the body (the default).")
@click.option(
    "--timeout", default=60.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Idle seconds."
)
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
    try:
        limits = TimeLimits(idle=timeout)
        with send_request(address, values, _pieces(body), limits=limits) as response:
            _print_response(response, include=include)
    except ClientError as error:
        _fail(f"request: {address}: {error}")
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


def _fail(text: str) -> NoReturn:
    complain(f"pyfpm {text}")
    raise SystemExit(EXIT_FAILED)
