"""What each call of the API asks for, in the words of the policy.

The first row that fits a call counts. A call that no row fits is for everybody who is known, as
``GET /user`` is. Managers decide whose things an action may touch.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from jupyter_mlsvc_server.auth.policy import Action

_ROWS: Final = tuple(
    (methods, re.compile(path), action)
    for methods, path, action in (
        (
            "GET",
            r"/status|/computenodes|/statistics|/services/.*/(statistics|pool)",
            Action.OBSERVE,
        ),
        ("POST PUT DELETE", r"/computenodes", Action.ADMINISTER),
        ("GET", r"/services/.*/(logs|contents|calls.*)", Action.CHANGE_SERVICE),
        ("GET", r"/metrics", Action.ADMINISTER),
        (
            "GET",
            r"/services.*|/api/[^/]+/[^/]+/(swagger|openapi)\.json|/events",
            Action.READ_SERVICE,
        ),
        ("POST PUT DELETE", r"/services/.*/pool", Action.CHANGE_SERVICE),
        ("POST", r"/(realtime-)?services/.*", Action.PUBLISH),
        ("PATCH DELETE", r"/(realtime-)?services/.*", Action.CHANGE_SERVICE),
        ("POST", r"/api/[^/]+/[^/]+", Action.CONSUME),
        ("GET POST DELETE", r"/api/[^/]+/[^/]+/batch.*", Action.USE_BATCHES),
        ("GET POST DELETE", r"/sessions.*", Action.USE_SESSIONS),
        ("GET POST DELETE", r"/snapshots.*", Action.USE_SNAPSHOTS),
        ("GET POST DELETE", r"/keys.*", Action.USE_KEYS),
    )
)


@cache
def needed(method: str, path: str) -> Action | None:
    """Return the action that a call needs.

    Parameters
    ----------
    method
        In upper case.
    path
        That of the route, with the names of its parameters in braces.
    """
    for methods, pattern, action in _ROWS:
        if method in methods.split() and pattern.fullmatch(path):
            return action
    return None
