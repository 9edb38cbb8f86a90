"""Messages between the master and the status process: back and forth, and nothing else is believed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.protocol.status import (
    AddressTaken,
    AnswerAt,
    LeaveAddress,
    SiteSpec,
    SnapshotTaken,
    SnapshotWanted,
    as_message,
    read_command,
    read_report,
)
from fpm.protocol.wire import MessageError

SITE = SiteSpec("www", "/status", "/ping", "pong", ("10.0.0.0/8",), ("127.0.0.1/32", "::1/128"))
COMMANDS = [AnswerAt("/run/x.sock", SITE), LeaveAddress("9000"), SnapshotTaken(7, 0.5), SnapshotTaken(7, error="full")]
REPORTS = [AddressTaken("/run/x.sock"), SnapshotWanted(7, "www", True), SnapshotWanted(8, None, False)]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_comes_as_it_was_sent(command) -> None:
    assert read_command(json.loads(json.dumps(as_message(command)))) == command


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_comes_as_it_was_sent(report) -> None:
    assert read_report(json.loads(json.dumps(as_message(report)))) == report


@pytest.mark.parametrize("report", REPORTS)
def test_another_version_or_direction_is_refused(report) -> None:
    with pytest.raises(MessageError, match="version"):
        read_report({**as_message(report), "v": 2})
    with pytest.raises(MessageError, match="unknown kind"):
        read_command(as_message(report))


@given(
    st.dictionaries(
        st.sampled_from(["v", "kind", "number", "pool", "workers", "address"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    )
)
def test_whatever_comes_is_read_or_refused(values) -> None:
    values = {"v": 1, "kind": "SnapshotWanted", **values}
    try:
        report = read_report(values)
    except MessageError:
        return
    assert isinstance(report, SnapshotWanted | AddressTaken)
