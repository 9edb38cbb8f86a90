"""`wsgi.input`: reads the body as it arrives, and waits for no more of it than the application asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

_ALL = 1 << 62
"""More bytes than there are."""
_AT_ONCE = 1 << 20
"""Most bytes that are taken of what has come."""


class BodyStream:
    """A readable stream over a function that returns what has come.

    Args:
        pull: called with a number of bytes, only when some are needed that have not come yet; returns pieces of the
            body, together no more than that, none at its end; may raise OSError when the peer is gone.
        length: CONTENT_LENGTH in bytes; nothing behind it is read. None: up to what `pull` calls the end.
    """

    __slots__ = ("_left", "_piece", "_pieces", "_position", "_pull")

    def __init__(self, pull: Callable[[int], Sequence[memoryview]], length: int | None) -> None:
        self._pull = pull
        self._left = _ALL if length is None else length
        """Bytes that were not pulled yet."""
        self._piece: memoryview | bytes = b""
        """What is being read, from the position on."""
        self._position = 0
        self._pieces: list[memoryview] = []
        """What comes after it, the next one last."""

    def _fill(self) -> bool:
        """Go on to the next piece; return False at the end."""
        self._position = 0
        if not self._pieces:
            if not self._left:
                self._piece = b""
                return False
            self._pieces[:] = self._pull(min(self._left, _AT_ONCE))
            if not self._pieces:
                # An early end of STDIN ends the body, whatever CONTENT_LENGTH promised.
                self._left, self._piece = 0, b""
                return False
            self._left -= sum(map(len, self._pieces))
            self._pieces.reverse()
        self._piece = self._pieces.pop()
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes, fewer only at the end; without a size read the rest."""
        wanted = _ALL if size is None or size < 0 else size
        piece, start = self._piece, self._position
        stop = start + wanted
        if stop <= len(piece):
            self._position = stop
            return bytes(piece[start:stop])
        parts = [piece[start:]]
        wanted -= len(parts[0])
        while wanted and self._fill():
            piece = self._piece
            if len(piece) > wanted:
                piece = piece[:wanted]
            parts.append(piece)
            self._position = len(piece)
            wanted -= len(piece)
        return b"".join(parts)

    def readline(self, size: int | None = -1) -> bytes:
        """Read a line with its newline, at most `size` bytes of it."""
        wanted = _ALL if size is None or size < 0 else size
        parts: list[bytes] = []
        while wanted and (self._position < len(self._piece) or self._fill()):
            piece = self._piece = bytes(self._piece)  # which is a copy the first time
            newline = piece.find(b"\n", self._position)
            stop = min(len(piece) if newline < 0 else newline + 1, self._position + wanted)
            part = piece[self._position : stop]
            self._position = stop
            parts.append(part)
            if part.endswith(b"\n"):
                break
            wanted -= len(part)
        return b"".join(parts)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """Read lines to the end, or until they have `hint` bytes together."""
        lines: list[bytes] = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def __next__(self) -> bytes:
        if line := self.readline():
            return line
        raise StopIteration

    def close(self) -> None:
        """Do nothing: the stream belongs to the server (PEP 3333)."""
