"""Heads of requests that were parsed before.

A client that keeps its connection sends the same head with each of its calls, but for the length of
the body. What a head means depends on its bytes alone, so one that is known by its bytes need not
be taken apart again; that is most of what a call costs here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jupyter_mlsvc_server.scoring.definition import DefinitionKey

END: Final = b"\r\n\r\n"

_KEPT: Final = 1000
_MAX_HEAD_BYTES: Final = 2**12


@dataclass(frozen=True, slots=True)
class CallHead:
    """The head of a plain call: kept alive, with a token and a body of known length, as it is.

    Attributes
    ----------
    key
        The service version.
    url
        The target, as it was sent.
    token
        The bearer token.
    length
        Bytes of the body.
    origin
        Where the page that calls comes from.
    """

    key: DefinitionKey
    url: bytes
    token: str
    length: int
    origin: bytes | None


class HeadCache:
    """Remembers the heads of plain calls, and what they mean."""

    def __init__(self) -> None:
        self._known: dict[bytes, CallHead] = {}
        self.get = self._known.get
        """Gives what the bytes of a head mean."""

    def add(self, data: bytes, head: CallHead) -> None:
        """Remember a head that has just been parsed.

        Parameters
        ----------
        data
            What came, from the first byte of the head.
        head
            What the parser made of it.
        """
        raw = data[: data.find(END) + len(END)]
        if not _is_plain(raw):
            return
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[raw] = head


def _is_plain(raw: bytes) -> bool:
    """Whether the head ends where it seems to, by whatever rules it is read.

    A parser may take a line feed alone for the end of a line, or skip empty lines at the beginning.
    """
    lines = raw.count(b"\r\n")
    return (
        raw.startswith(b"POST ")
        and len(raw) <= _MAX_HEAD_BYTES
        and raw.count(b"\n") == raw.count(b"\r") == lines
    )
