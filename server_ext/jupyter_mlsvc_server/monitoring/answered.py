"""What is noted of a request once it has been answered, for metrics and the access log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

CLIENT_LEFT: Final = 499
"""Status of a request whose client went away before the answer, as nginx writes it."""


class AnsweredRequest(NamedTuple):
    """A request and how it ended.

    Attributes
    ----------
    id
        Id of the request.
    method, path
        As they were sent.
    route
        Path with names in braces for its parameters; empty where there is no such path.
    status
        Status of the answer, or ``CLIENT_LEFT``.
    seconds
        Time from the head of the request to the end of the answer.
    user
        Name of the caller; empty where nobody is known.
    user_id
        Id of the caller's account.
    credential
        What showed who that is.
    address
        Where the request came from; empty for a local socket.
    subject
        What it is about, such as a service and its version.
    """

    id: str
    method: str
    path: str
    route: str
    status: int
    seconds: float
    user: str = ""
    user_id: str = ""
    credential: str = ""
    address: str = ""
    subject: str = ""


Observer = Callable[[AnsweredRequest], None]
"""Takes note of a request."""
