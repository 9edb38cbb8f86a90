"""`wsgi.input`: reads the body as it arrives, keeping at most one chunk unless the application asks for more."""

from __future__ import annotations

from collections.abc import Callable, Iterator


class BodyStream:
    """A readable stream over a function that returns the next chunk, b"" at the end.

    Args:
        pull: called only when bytes are needed that have not arrived yet; may raise OSError when the peer is gone.
        length: CONTENT_LENGTH in bytes; nothing behind it is read. None: up to what `pull` calls the end.
    """

    __slots__ = ("_chunk", "_left", "_position", "_pull")

    def __init__(self, pull: Callable[[], bytes], length: int | None) -> None:
        self._pull = pull
        self._left = length
        self._chunk = b""
        self._position = 0

    def _fill(self) -> bool:
        """Get a chunk if none is left; return False at the end."""
        if self._position < len(self._chunk):
            return True
        if self._left == 0:
            return False
        chunk = self._pull()
        if self._left is not None:
            chunk = chunk[: self._left]
            # An early end of STDIN ends the body, whatever CONTENT_LENGTH promised.
            self._left = self._left - len(chunk) if chunk else 0
        elif not chunk:
            self._left = 0
        self._chunk, self._position = chunk, 0
        return bool(chunk)

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes, fewer only at the end; without a size read the rest."""
        wanted = -1 if size is None else size
        parts: list[bytes] = []
        while wanted and self._fill():
            stop = len(self._chunk) if wanted < 0 else self._position + wanted
            part = self._chunk[self._position : stop]
            self._position += len(part)
            parts.append(part)
            if wanted > 0:
                wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readline(self, size: int | None = -1) -> bytes:
        """Read a line with its newline, at most `size` bytes of it."""
        wanted = -1 if size is None else size
        parts: list[bytes] = []
        while wanted and self._fill():
            newline = self._chunk.find(b"\n", self._position)
            stop = len(self._chunk) if newline < 0 else newline + 1
            if wanted > 0:
                stop = min(stop, self._position + wanted)
            part = self._chunk[self._position : stop]
            self._position = stop
            parts.append(part)
            if part.endswith(b"\n"):
                break
            if wanted > 0:
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
