from __future__ import annotations

import pytest

from fpm.client.request import connectable, parse_target
from fpm.config.model import TcpAddress, UnixAddress


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/run/x.sock", UnixAddress("/run/x.sock")),
        ("./x.sock", UnixAddress("./x.sock")),
        ("unix:/run/x.sock", UnixAddress("/run/x.sock")),
        ("unix:x", UnixAddress("x")),
        ("127.0.0.1:9000", TcpAddress("127.0.0.1", 9000)),
        ("[::1]:9000", TcpAddress("::1", 9000)),
        ("localhost:1", TcpAddress("localhost", 1)),
        (":9000", TcpAddress("", 9000)),
        ("9000", TcpAddress("", 9000)),
        ("www", None),
    ],
)
def test_targets(text: str, address: object) -> None:
    assert parse_target(text) == address


@pytest.mark.parametrize("text", ["localhost:", "localhost:http", "0", "65536", "h:-1", "[::1]"])
def test_no_port(text: str) -> None:
    with pytest.raises(ValueError, match="port number"):
        parse_target(text)


@pytest.mark.parametrize(("host", "to"), [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("h", "h")])
def test_addresses_of_the_whole_machine_are_reached_by_loopback(host: str, to: str) -> None:
    assert connectable(TcpAddress(host, 1)) == TcpAddress(to, 1)
