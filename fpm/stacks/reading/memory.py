"""Another process's memory, read in whole pages that are kept: it stands still while they are used."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from struct import Struct, calcsize

from fpm.stacks.layout import ADDRESS_LIMIT, ADDRESS_LOWEST

Read = Callable[[int, int], bytes]
"""Address and size -> that many bytes; fewer, or none, where there is no memory. Never raises."""
PAGE = 4096
PAGE_BITS = 12


class Unreadable(Exception):
    """There is no such memory, or what is there is not what it should be; the clause goes into the note."""


class Memory:
    """Reads pages of memory, and keeps them by number."""

    def __init__(self, read: Read, budget: int) -> None:
        """`read` is called with whole pages and with long pieces, once for each; `budget`: bytes it may read in all."""
        self._read_from = read
        self._left = budget
        self._pages: dict[int, bytes] = {}

    def view(self, address: int, size: int) -> tuple[bytes, int]:
        """Return a buffer, and the place in it from which on it has all `size` bytes of memory at `address`.

        Raises:
            Unreadable: there is no such memory.
        """
        page = self._pages.get(address >> PAGE_BITS)
        if page is None:
            page = self._page(address)
        start = address & (PAGE - 1)
        if start + size <= len(page):
            return page, start
        return self._across(address, size), 0

    def copy(self, address: int, size: int) -> bytes:
        """Return `size` bytes; see view()."""
        buffer, start = self.view(address, size)
        return buffer[start : start + size]

    def _across(self, address: int, size: int) -> bytes:
        """Read what does not lie in one page. Long pieces are read at once, past the kept pages."""
        if size > PAGE:
            data = self._read(address, size)
        else:
            first = self._page(address)
            data = (first + self._page(address + size - 1))[address & (PAGE - 1) :][:size]
            if len(first) < PAGE:
                data = b""
        if len(data) < size:
            raise Unreadable(f"no memory at {address:#x}")
        return data

    def _page(self, address: int) -> bytes:
        """Return the page that `address` lies in, as far as there is memory."""
        number = address >> PAGE_BITS
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = self._read(number << PAGE_BITS, PAGE)
        return page

    def _read(self, address: int, size: int) -> bytes:
        if not ADDRESS_LOWEST <= address <= ADDRESS_LIMIT - size:
            raise Unreadable(f"{address:#x} is no address")
        self._left -= size
        if self._left < 0:
            raise Unreadable("more memory would have to be read than is allowed")
        return self._read_from(address, size)[:size]


POINTER = "Q"
INT = "i"
WORD = "I"
BYTE = "B"
ONE_BYTE_ORDER = "="
"""The reader's own, without padding: both processes are on one machine."""


class Record:
    """Takes a fixed choice of fields out of a structure."""

    def __init__(self, *wanted: tuple[int, str]) -> None:
        """`wanted`: offset and struct format of each field, two or more, in the order of take()'s result.

        Raises:
            ValueError: two fields lie on each other.
        """
        order = sorted(range(len(wanted)), key=lambda index: wanted[index][0])
        text, end = [ONE_BYTE_ORDER], 0
        for index in order:
            offset, form = wanted[index]
            if offset < end:
                raise ValueError(f"the field at {offset} begins before the one before it ends")
            text.append(f"{offset - end}x{form}")
            end = offset + calcsize(ONE_BYTE_ORDER + form)
        self.size = end
        """Bytes that must be there."""
        unpack = Struct("".join(text)).unpack_from
        places = [order.index(index) for index in range(len(wanted))]
        if places == list(range(len(wanted))):
            self.take: Callable[[bytes, int], tuple[int, ...]] = unpack
        else:
            arrange: Callable[[tuple[int, ...]], tuple[int, ...]] = itemgetter(*places)
            self.take = lambda buffer, start: arrange(unpack(buffer, start))
        """Buffer and start of the structure in it -> the values."""
