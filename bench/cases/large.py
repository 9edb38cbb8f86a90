"""Large bodies both ways: 10 MB and 1 GB, down in blocks and as a file, and up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.cases.pairs import Group, LoadCase
from bench.load import Load
from bench.peers import GUNICORN, PLAIN, PYFPM, UWSGI, UWSGI_FASTCGI
from bench.servers import Setting

MIB = 1024 * 1024
SMALL, HUGE = 10 * MIB, 1024 * MIB
PEERS = (PYFPM, PLAIN, UWSGI_FASTCGI, UWSGI, GUNICORN)
FEW = (PYFPM, PLAIN, UWSGI)
SHOWN = ("cpu", "user", "system", "throughput", "p50")


def make_files(setting: Setting, cases: Sequence[LoadCase]) -> Setting:
    """Files for `?file=SIZE`; as large as they are, most of them is a hole, so that no disk takes part."""
    for size in (SMALL, HUGE):
        file: Path = setting.directory / str(size)
        file.touch()
        with file.open("r+b") as opened:
            opened.truncate(size)
    return setting


def once(path: str, upload: int = 0) -> Load:
    """One request of one client."""
    return Load(path, connections=1, requests=1, seconds=30.0, upload=upload)


def _case(name: str, title: str, load: Load, *, huge: bool = False) -> LoadCase:
    if huge:
        shown = (*SHOWN[:-1], "grown")
        return LoadCase(name, f"{title}, one client", load, FEW, shown, streams=True, rounds=5, usual=False)
    return LoadCase(name, f"{title}, 4 clients", load, PEERS, SHOWN, rounds=5)


GROUP = Group(
    [
        _case("down-10m", "10 MB down in blocks of 64 KiB", Load(f"/?down={SMALL}", connections=4, seconds=0.4)),
        _case("file-10m", "10 MB down by wsgi.file_wrapper", Load(f"/?file={SMALL}", connections=4, seconds=0.4)),
        _case("up-10m", "10 MB up", Load(f"/?up={SMALL}", connections=4, seconds=0.4, upload=SMALL)),
        _case("down-1g", "1 GB down in blocks of 64 KiB", once(f"/?down={HUGE}"), huge=True),
        _case("file-1g", "1 GB down by wsgi.file_wrapper", once(f"/?file={HUGE}"), huge=True),
        _case("up-1g", "1 GB up, passed on by nginx while it comes", once(f"/?up={HUGE}", upload=HUGE), huge=True),
    ],
    prepare=make_files,
)
