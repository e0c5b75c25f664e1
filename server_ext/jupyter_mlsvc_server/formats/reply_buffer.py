"""Buffer of a worker's answers that are not sent yet, which the server can read.

Each answer that is sent wakes the server, which costs both processes more than a call of a small
model. A worker that has the next request at hand, and knows that more wait for it, therefore
keeps a few answers and sends them at once. They lie in a file that both know: should the next
request run for long, or end the worker, the server takes them from there, and nobody waits or fails
because of whoever came after.
"""

from __future__ import annotations

import mmap
import os
import socket
from pathlib import Path
from struct import Struct as Layout
from time import monotonic
from typing import Final

from jupyter_mlsvc_server.formats.protocol import ANSWER, Flush, Kind

_USED: Final = Layout("<I")
"""Head of the file: bytes in use, this one's included."""

_SIZE: Final = 2**16
_MAX_KEPT: Final = (0, 8, 64)
_MAX_KEPT_SECONDS: Final = (0.0, 0.001, 0.004)
"""Answers that are kept and for how long, by the most urgent flush of them."""

_LOOKS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ReplyBuffer:
    """Buffers answers of a worker, which writes it.

    Parameters
    ----------
    link
        Where answers are sent.
    path
        The file, which is made. Where it can't be, each answer is sent at once.
    """

    def __init__(self, link: socket.socket, path: Path) -> None:
        self._link = link
        self._file = _mapped(path)
        self._end = _USED.size
        self._kept = 0
        self._since = 0.0
        self._flush_mode: int = Flush.NOW

    def put(self, number: int, kind: Kind, body: bytes, flush: int) -> None:
        """Send an answer, now or together with the next ones."""
        if len(body) > _SIZE:
            # As large as it is it is not copied once more.
            self.flush()
            self._link.sendall(ANSWER.pack(len(body), number, kind))
            self._link.sendall(body)
            return
        answer = ANSWER.pack(len(body), number, kind) + body
        if not self._kept:
            if not flush:
                self._link.sendall(answer)
                return
            self._since = monotonic()
            self._flush_mode = flush
        elif flush < self._flush_mode:
            self._flush_mode = flush
        begin, end = self._end, self._end + len(answer)
        if self._file is None or end > _SIZE:
            self.flush()
            self._link.sendall(answer)
            return
        self._file[begin:end] = answer
        self._end = end
        self._kept += 1
        # Last, so that who looks now sees whole answers only.
        _USED.pack_into(self._file, 0, end)
        mode = self._flush_mode
        if self._kept >= _MAX_KEPT[mode] or monotonic() - self._since > _MAX_KEPT_SECONDS[mode]:
            self.flush()

    def send(self, numbers: list[int], answers: list[tuple[Kind, bytes]]) -> None:
        """Send several answers at once, now; none for requests that another worker answers."""
        self._link.sendall(
            b"".join(
                ANSWER.pack(len(body), number, kind) + body
                for number, (kind, body) in zip(numbers, answers, strict=True)
                if kind is not Kind.RETIRED
            )
        )

    def flush(self) -> None:
        """Send the answers that are kept."""
        if self._kept and self._file is not None:
            with memoryview(self._file) as view:
                self._link.sendall(view[_USED.size : self._end])
            _USED.pack_into(self._file, 0, _USED.size)
            self._end = _USED.size
            self._kept = 0


def reply_buffer_path(work: Path, pid: int) -> Path:
    """Return the path of a worker's reply buffer."""
    return work / f"replies-{pid}"


def _mapped(path: Path) -> mmap.mmap | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Room on the disk now: writing to a page that can't be had ends a process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, _SIZE)
            else:
                os.write(descriptor, bytes(_SIZE))
            return mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
    except OSError:
        return None


class ReplyBufferReader:
    """Reads the buffer in the server; the user's code may have written to its file.

    It reads the file and does not map it, because whoever cuts a mapped file short ends those who
    look at it; nor does it wait for whoever should write to a pipe in the file's place.

    Parameters
    ----------
    path
        The file; nothing is ever found where there is none.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, _LOOKS)
        except OSError:
            self._file = -1

    def look(self) -> bytes:
        """Return the answers that are kept, framed as on the link."""
        if self._file < 0:
            return b""
        try:
            head = os.pread(self._file, _USED.size, 0)
            if len(head) < _USED.size:
                return b""
            kept = min(_USED.unpack(head)[0], _SIZE) - _USED.size
            return os.pread(self._file, kept, _USED.size) if kept > 0 else b""
        except OSError:
            return b""

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
