"""What processes that run people's code write beside their answers, as lines of the server's log.

They get one end of a socket as their standard error, never the log itself. So a line says of whom
it is, holds no control characters, and there are only so many.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from collections.abc import Callable
from typing import Final

from jupyter_mlsvc.wire.harmless import harmless

_PIECE: Final = 2**16
_LONGEST_LINE: Final = 2000
"""Characters of a line that are logged."""
_PERIOD: Final = 10.0
"""Seconds for which the limits count."""
_MOST_LINES: Final = 200
_MOST_BYTES: Final = 2**16
"""In a period; what comes on top of it is counted and dropped."""
_PAUSE: Final = 0.05
"""Seconds between two looks at a process that has written too much."""
_LAST_PIECES: Final = 8
"""Pieces that are read of a process that has ended."""
_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_KEPT: Final = 4000
"""Characters that are kept of what was written last."""


class ChildOutput:
    """The server's end of a child's standard error.

    Parameters
    ----------
    log
        Gets the lines.
    label
        Whose they are.
    level
        Level of the lines.
    clock
        Seconds that have passed.

    Attributes
    ----------
    theirs
        The end for the child; :meth:`started` closes it here.
    last
        What was written last, as it is logged.
    """

    def __init__(
        self,
        log: logging.Logger,
        label: str,
        *,
        level: int = logging.WARNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._label = harmless(label)
        self._level = level
        self._clock = clock
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._ours.fileno(), self._read)
        self._resume: asyncio.TimerHandle | None = None
        self._part = b""
        self._period_ends = 0.0
        self._lines = 0
        self._bytes = 0
        self._dropped = 0
        self.last = ""
        self._is_closed = False

    def started(self) -> None:
        """Leave the child's end to the child."""
        self.theirs.close()

    def close(self) -> None:
        """Log what is still there; may be called twice."""
        if self._is_closed:
            return
        self.theirs.close()
        for _ in range(_LAST_PIECES):
            if not (data := self._receive()):
                break
            self._take(data)
        self._end()

    def _read(self) -> None:
        data = self._receive()
        if data is None:
            return
        if not data:
            self._end()
            return
        self._take(data)
        if self._is_full():
            # Who writes without an end waits, and the server has time for others.
            self._loop.remove_reader(self._ours.fileno())
            self._resume = self._loop.call_later(_PAUSE, self._look_again)

    def _look_again(self) -> None:
        self._resume = None
        self._loop.add_reader(self._ours.fileno(), self._read)

    def _receive(self) -> bytes | None:
        """Read a piece: nothing at the end, None where there is none yet."""
        try:
            return self._ours.recv(_PIECE)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _take(self, data: bytes) -> None:
        *lines, self._part = (self._part + data).split(b"\n")
        for line in lines:
            self._write(line)
        if len(self._part) > _LONGEST_LINE * 4:
            self._write(self._part)
            self._part = b""

    def _end(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._resume is not None:
            self._resume.cancel()
        else:
            self._loop.remove_reader(self._ours.fileno())
        self._ours.close()
        if self._part:
            self._write(self._part)
        self._tell_dropped()

    def _is_full(self) -> bool:
        return self._lines >= _MOST_LINES or self._bytes >= _MOST_BYTES

    def _write(self, line: bytes) -> None:
        now = self._clock()
        if now >= self._period_ends:
            self._tell_dropped()
            self._period_ends = now + _PERIOD
            self._lines = self._bytes = 0
        if self._is_full():
            self._dropped += 1
            return
        self._lines += 1
        self._bytes += len(line)
        if text := _shown(line):
            self.last = f"{self.last}\n{text}"[-_KEPT:]
            self._log.log(self._level, "%s: %s", self._label, text)

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._log.log(
                self._level, "%s: %d more lines in %g s left out", self._label, dropped, _PERIOD
            )


def _shown(line: bytes) -> str:
    """Return a line as it is logged."""
    text = line[: _LONGEST_LINE * 4].decode("utf-8", "replace")
    # As a terminal shows it: a bar of progress begins its line anew.
    text = _COLOURS.sub("", text).rstrip().rpartition("\r")[2].expandtabs(4)
    if len(text) > _LONGEST_LINE:
        text = f"{text[:_LONGEST_LINE]} [cut]"
    return harmless(text)
