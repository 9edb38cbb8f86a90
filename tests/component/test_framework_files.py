"""Files and uploads of real frameworks in a real worker: the bytes, and that plain files are not read in blocks."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import raw_fastcgi as raw
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerPool

pytest.importorskip("django")
pytest.importorskip("flask")
FULL = 61440
"""Bytes of a file in one record, where the kernel sends them."""
SIZE = 500_003


@pytest.fixture(scope="module", params=["django", "app"], ids=["django", "flask"])
def pool(request: pytest.FixtureRequest) -> Iterator[WorkerPool]:
    """One worker for all tests of the file."""
    with WorkerPool(f"framework_files:{request.param}") as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(random.Random(SIZE).randbytes(SIZE))
    return path


def is_django(pool: WorkerPool) -> bool:
    return pool.settings.app.endswith("django")


def get(pool: WorkerPool, path: str, query: object, method: str = "GET", **headers: str) -> tuple[set[int], raw.Reply]:
    """The sizes of the records of STDOUT, and the answer."""
    params = {**raw.web_params(path, method=method, query=str(query)), **headers}
    sizes, reply = set(), raw.Reply()
    with raw.Wire(pool.address) as wire:
        wire.send(raw.request_bytes(params))
        while (one := wire.read_record()) is not None and one[0] != raw.END:
            sizes.add(len(one[2]))
            reply.stdout += one[2]
        reply.ended = one is not None
    return sizes, reply


def test_a_file(pool: WorkerPool, file: Path) -> None:
    sizes, reply = get(pool, "/file", file)
    assert (reply.status, reply.headers["content-length"], reply.ended) == (200, str(SIZE), True)
    assert reply.body == file.read_bytes()
    assert FULL in sizes, "it was read"
    if is_django(pool):
        get(pool, "/file", file, "HEAD")
        wait_until(lambda: get(pool, "/finished", "")[1].body == b"2 True")


def test_its_head(pool: WorkerPool, file: Path) -> None:
    _, reply = get(pool, "/file", file, "HEAD")
    assert (reply.headers["content-length"], reply.body, reply.ended) == (str(SIZE), b"", True)


@pytest.mark.parametrize(("first", "last"), [(0, 9), (10, 99_999), (300_000, SIZE - 1), (SIZE - 1, SIZE - 1)])
def test_a_part_of_it(pool: WorkerPool, file: Path, first: int, last: int) -> None:
    if is_django(pool):
        pytest.skip("Django answers with all of it")
    _, reply = get(pool, "/file", file, HTTP_RANGE=f"bytes={first}-{last}")
    assert (reply.status, reply.headers["content-length"], reply.ended) == (206, str(last - first + 1), True)
    assert reply.body == file.read_bytes()[first : last + 1]
    assert pool.logged() == ""


def test_what_the_client_has(pool: WorkerPool, file: Path) -> None:
    if is_django(pool):
        pytest.skip("Django leaves that to its ConditionalGetMiddleware")
    etag = get(pool, "/file", file)[1].headers["etag"]
    _, reply = get(pool, "/file", file, HTTP_IF_NONE_MATCH=etag)
    assert (reply.status, reply.body, reply.ended) == (304, b"", True)


def test_a_stream_of_lines(pool: WorkerPool, tmp_path: Path) -> None:
    if not is_django(pool):
        pytest.skip("Django's StreamingHttpResponse")
    (tmp_path / "lines").write_bytes(b"line\n" * 2000)
    assert get(pool, "/stream", tmp_path / "lines")[1].body == b"line\n" * 2000


@pytest.mark.parametrize("size", [0, 10_000, 3_000_000])
def test_an_upload(pool: WorkerPool, size: int) -> None:
    data = random.Random(size).randbytes(size)
    head = b'--end\r\nContent-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: image/png\r\n\r\n'
    body = head + data + b"\r\n--end--\r\n"
    params = raw.web_params("/upload", method="POST", body=body)
    params["CONTENT_TYPE"] = "multipart/form-data; boundary=end"
    assert raw.exchange(pool.address, params, body).body == hashlib.sha256(data).hexdigest().encode()
