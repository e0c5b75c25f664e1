"""A word of warning before a password can be read by others."""

from __future__ import annotations

import warnings
from urllib.parse import urlsplit

from jupyter_mlsvc.errors import InsecureLogin
from jupyter_mlsvc.wire.addresses import is_this_machine


def warn_of_plain_http(url: str) -> None:
    """Warn before a password goes over plain HTTP to another machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http" and not is_this_machine(host):
        warnings.warn(
            f"The password goes to {host} over plain HTTP: whoever listens on the way can read "
            "it. Use an https address where the server has one.",
            InsecureLogin,
            stacklevel=3,
        )
