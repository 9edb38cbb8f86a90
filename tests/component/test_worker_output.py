"""The standard streams of a worker over a pipe that nobody reads."""

from __future__ import annotations

import os
import re
from select import PIPE_BUF

import pytest

from fpm.worker.stdio import open_output
from tests.support.waiting import does_not_block


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def take(fd: int) -> bytes:
    os.set_blocking(fd, False)
    data = b""
    try:
        while part := os.read(fd, 65536):
            data += part
    except BlockingIOError:
        return data
    return data


def test_whole_lines_come_through(pipe):
    stream = open_output(pipe[1])
    stream.write("one\ntwo ")
    stream.write("\ud800 three\n")
    assert take(pipe[0]) == b"one\ntwo \\ud800 three\n"


def test_a_long_line_is_written_in_pieces(pipe):
    stream = open_output(pipe[1])
    stream.write("x" * 20_000 + "\n")
    assert take(pipe[0]) == b"x" * 20_000 + b"\n"


def test_a_full_pipe_does_not_block_and_says_once_what_was_lost(pipe):
    stream = open_output(pipe[1])
    does_not_block(lambda: [stream.write(f"line {number} {'x' * 90}\n") for number in range(3000)])
    written = take(pipe[0]).splitlines()
    assert 0 < len(written) < 3000
    assert written[-1].startswith(f"line {len(written) - 1} ".encode())
    stream.write("after\n")
    note, after = take(pipe[0]).splitlines()
    assert note == b"%d lines were lost here because the log did not keep up" % (3000 - len(written))
    assert after == b"after"


@pytest.mark.parametrize("left", [1, 2])
def test_every_lost_line_is_counted(pipe, left):
    """Also one that is lost because only the note about those before it found room."""
    stream = open_output(pipe[1])
    does_not_block(lambda: [stream.write(f"line {'x' * 90}\n") for _ in range(3000)])
    written = []
    for _ in range(left):
        written.append(os.read(pipe[0], PIPE_BUF))  # one page of the pipe
    does_not_block(lambda: [stream.write(f"line {'y' * 4090}\n") for _ in range(10)])
    written.append(take(pipe[0]))
    stream.write("after\n")
    text = b"".join([*written, take(pipe[0])])
    told = sum(int(count) for count in re.findall(rb"(\d+) lines were lost here", text))
    assert text.count(b"line ") + told == 3010


def test_the_reader_is_gone(pipe):
    stream = open_output(pipe[1])
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, pipe[0])
    os.close(null)
    stream.write("nobody reads this\n")
    stream.flush()
