"""A thousand pools are read and checked in proportion to a hundred, and take little memory."""

from __future__ import annotations

import gc
import time
import tracemalloc
from pathlib import Path

from tests.support.configuration import Files, section

POOLS = 1000
FEW = 100


def write_pools(files: Files, count: int = POOLS) -> str:
    for number in range(count):
        text = section(
            f"site{number:04}",
            user=str(20_000 + number),
            group=str(20_000 + number),
            listen=f"{files.directory}/$pool.sock",
            listen__mode="0666",
            chdir="/tmp",
            python="/usr/bin/env",
            pm__max_requests="500",
            access__log=f"{files.directory}/$pool.log",
            pm__status_path="/status",
        )
        files.write(f"pools.d/site{number:04}.conf", text + "env[HOME] = /srv/$pool\n")
    return "include = pools.d/*.conf\n"


def test_a_thousand_pools_of_a_thousand_users(tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    (tmp_path / "many").mkdir()
    few, files = Files(tmp_path / "few"), Files(tmp_path / "many")
    of_few, text = write_pools(few, FEW), write_pools(files)
    start = time.process_time()
    few.load(of_few, is_root=True)
    middle = time.process_time()
    config = files.load(text, is_root=True)
    times = (time.process_time() - middle) / (middle - start)
    assert times < 2 * POOLS / FEW, "more than in proportion"
    assert len(config.pools) == POOLS
    assert len({pool.identity for pool in config.pools}) == POOLS


def test_a_pool_takes_a_few_kilobytes(tmp_path: Path) -> None:
    files = Files(tmp_path)
    text = write_pools(files, FEW)
    files.load(text, is_root=True)
    tracemalloc.start()
    try:
        config = files.load(text, is_root=True)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / len(config.pools) < 3000
