"""Heads of requests that were parsed before.

A client that keeps its connection sends the same head with each of its requests, but for the length
of the body. What a head means depends on its bytes alone, so one that is known by its bytes need
not be taken apart again; that is most of what a call costs here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jupyter_mlsvc_server.front.connection import Request

END: Final = b"\r\n\r\n"

_KEPT: Final = 1000
_MOST_BYTES: Final = 2**12


class Heads:
    """Remembers the heads of calls with a token and a body of known length, and what they mean.

    Parameters
    ----------
    body_bytes
        Length of the largest body that is taken.
    """

    def __init__(self, body_bytes: int) -> None:
        self._body_bytes = body_bytes
        self._known: dict[bytes, Request] = {}
        self.get = self._known.get
        """Gives the request that a head is of, whole and without its body; it is shared."""

    def add(self, data: bytes, request: Request) -> None:
        """Remember a request whose head has just been parsed.

        Parameters
        ----------
        data
            What came, from the first byte of the head.
        request
            What the parser made of it.
        """
        head = data[: data.find(END) + len(END)]
        is_short = request.length <= self._body_bytes
        if not is_short or not _is_plain(head) or not _is_call(request):
            return
        if len(self._known) >= _KEPT:
            self._known.clear()
        known = self._known[head] = request.copy_of_head()
        known.is_whole = known.is_admitted = True


def _is_plain(head: bytes) -> bool:
    """Whether the head ends where it seems to, by whatever rules it is read.

    A parser may take a line feed alone for the end of a line, or skip empty lines at the beginning.
    """
    lines = head.count(b"\r\n")
    return (
        head.startswith(b"POST ")
        and len(head) <= _MOST_BYTES
        and head.count(b"\n") == head.count(b"\r") == lines
    )


def _is_call(request: Request) -> bool:
    names = [name.lower() for name, _ in request.headers]
    return (
        request.key is not None
        and request.authorization is not None
        and request.is_kept_alive
        and not request.is_chunked
        and not request.expects
        and not request.codings
        and request.media_problem is None
        and names.count(b"content-length") == 1
        and b"upgrade" not in names
    )
