"""Which database another process has locked, by what /proc says."""

from __future__ import annotations

import pytest

from fpm.system.file_locks import LockedFile, choose_database, parse_locks

LOCKS = b"""\
1: POSIX  ADVISORY  WRITE 10500 fe:00:5597556 1073741824 1073742335
2: FLOCK  ADVISORY  WRITE 26130 fe:00:2149645 0 EOF
3: FLOCK  ADVISORY  WRITE 1809 fe:00:5587885 0 EOF
3: -> FLOCK  ADVISORY  WRITE 5808 fe:00:5587885 0 EOF
4: -> POSIX  ADVISORY  WRITE 5809 fe:00:5597556 0 EOF
5: OFDLCK ADVISORY  READ -1 fd:1a:77 128 128
6: POSIX  ADVISORY  READ 7 fd:1a:78 124 124
nonsense
"""
PARSED = {5597556: [10500], 77: [-1], 78: [7]}


def test_only_locks_of_ranges_that_somebody_has_are_read() -> None:
    assert parse_locks(LOCKS) == PARSED
    assert parse_locks(b"") == {}


@pytest.mark.parametrize(
    ("opened", "found"),
    [
        ([(1, "/var/log/a"), (5597556, "/srv/shop.data")], LockedFile("/srv/shop.data", 10500)),
        ([(9, "/srv/shop.db"), (5597556, "/srv/shop.db-shm")], LockedFile("/srv/shop.db", 10500)),
        ([(77, "/srv/shop.db")], LockedFile("/srv/shop.db", 0)),
        ([(78, "/srv/own.db")], LockedFile("/srv/own.db", 0)),
        (
            [(0, "/srv/old kernel.sqlite3"), (0, "/srv/old kernel.sqlite3-journal")],
            LockedFile("/srv/old kernel.sqlite3"),
        ),
        ([(3, "/srv/one.db"), (4, "/srv/other.db")], None),
        ([(1, "/var/log/a")], None),
        ([], None),
    ],
)
def test_the_file_that_another_process_has_locked_is_chosen(
    opened: list[tuple[int, str]], found: LockedFile | None
) -> None:
    assert choose_database(7, opened, PARSED) == found
