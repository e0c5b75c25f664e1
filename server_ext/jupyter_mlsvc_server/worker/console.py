"""What the user's code prints, kept in order and within bounds."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from contextvars import ContextVar
from typing import Any


class CallConsole:
    """Keeps what a request prints.

    Parameters
    ----------
    limit
        Characters that are kept; the rest is dropped and a note says so.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[str] = []
        self._size = 0
        self._dropped = False

    def write(self, text: str) -> None:
        """Keep text, as far as there is room."""
        room = self._limit - self._size
        if room < len(text):
            text = text[: max(room, 0)]
            self._dropped = True
        self._size += len(text)
        self._parts.append(text)

    def text(self) -> str:
        """Give what was printed."""
        self._take_raw()
        if self._dropped:
            self._parts.append(f"\n[The output was cut after {self._limit} characters.]\n")
            self._dropped = False
        return "".join(self._parts)

    def _take_raw(self) -> None:
        """Take what came past Python; of one request among others nobody knows that."""


class Console(CallConsole):
    """Takes stdout and stderr of one request after the other.

    Text of Python code arrives in the order it was written. What the process writes past Python (a
    library in C, a subprocess) goes to a file behind the descriptors 1 and 2 and comes last.

    Parameters
    ----------
    limit
        Characters of a request that are kept; the rest is dropped and a note says so.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._out = _Stream(self)
        self._err = _Stream(self)
        self._raw: int | None = None

    def take_descriptors(self) -> None:
        """Point the process's own stdout and stderr to the console; the old stderr stays open."""
        sys.__stderr__ = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")  # type: ignore[misc]
        if hasattr(os, "memfd_create"):
            self._raw = os.memfd_create("console", 0)
        else:
            with tempfile.TemporaryFile() as file:
                self._raw = os.dup(file.fileno())
        os.set_inheritable(self._raw, False)
        os.dup2(self._raw, 1)
        os.dup2(self._raw, 2)

    def begin(self) -> None:
        """Start with nothing; whatever the code did to ``sys.stdout`` before is undone."""
        self._parts.clear()
        self._size = 0
        self._dropped = False
        if self._raw is not None and os.lseek(self._raw, 0, os.SEEK_END):
            self._empty_raw()  # a process that an earlier request has left behind
        sys.stdout = self._out
        sys.stderr = self._err

    def write_last(self, text: str) -> None:
        """Keep text after all that came past Python so far."""
        self._take_raw()
        self.write(text)

    def _take_raw(self) -> None:
        if self._raw is None:
            return
        size = os.lseek(self._raw, 0, os.SEEK_END)
        if size:
            data = os.pread(self._raw, max(self._limit - self._size, 0) + 1, 0)
            self.write(data.decode("utf-8", "replace"))
            self._empty_raw()

    def _empty_raw(self) -> None:
        assert self._raw is not None
        os.ftruncate(self._raw, 0)
        os.lseek(self._raw, 0, os.SEEK_SET)


class SharedConsole(Console):
    """Takes stdout and stderr of requests that run at the same time, each by its context.

    What is written in no request's context, as by the setup, is kept until :meth:`open`, and goes
    to the log of the service from then on. There also goes what comes past Python, as nobody knows
    which request it is of.

    Parameters
    ----------
    console
        The worker's console, whose place it takes.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console._limit)  # noqa: SLF001
        self._raw = console._raw  # noqa: SLF001
        self._is_open = False
        self._of_call: ContextVar[CallConsole] = ContextVar("console")

    def open(self) -> None:
        """Be ready for requests."""
        self._is_open = True
        if self._raw is not None:
            assert sys.__stderr__ is not None
            for descriptor in (1, 2):
                os.dup2(sys.__stderr__.fileno(), descriptor)
            os.close(self._raw)
            self._raw = None

    def begin_call(self) -> CallConsole:
        """Give the request of this context a console."""
        console = CallConsole(self._limit)
        self._of_call.set(console)
        return console

    def write(self, text: str) -> None:
        """Keep text for the request that writes it, as far as there is room."""
        console = self._of_call.get(None)
        if console is not None:
            console.write(text)
        elif not self._is_open:
            super().write(text)
        elif sys.__stderr__ is not None:
            sys.__stderr__.write(text)


class _Stream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` of the user's code."""

    encoding = "utf-8"
    errors = "replace"
    newlines = None

    def __init__(self, console: Console) -> None:
        self._console = console
        self.buffer = _Bytes(console)

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._console.write(text)
        return len(text)

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Stay open: the next request prints here too."""


class _Bytes(io.RawIOBase):
    """For code that writes bytes to ``sys.stdout.buffer``."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, data: Any, /) -> int:
        with contextlib.suppress(AttributeError):
            data = data.tobytes()
        self._console.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Stay open, as the stream above it."""
