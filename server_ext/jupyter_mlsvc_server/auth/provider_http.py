"""Asking a provider of identities over HTTP; blocking, for a thread."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import requests
from traitlets import TraitError

from jupyter_mlsvc_server.auth.errors import IdentityProviderUnavailable

_LARGEST: Final = 2**20
_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}


def require_safe(url: str, what: str) -> str:
    """Return an address that nobody on the way can change the answers of.

    Raises
    ------
    TraitError
        It is no https address, nor one on this machine.
    """
    parts = urlsplit(url)
    is_here = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not parts.hostname or not (parts.scheme == "https" or is_here):
        raise TraitError(f"{what} is {url!r}; it has to be an https address.")
    return url


def get_json(
    url: str, *, timeout: float, verify: bool | str, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Ask for an object in JSON; returns the status with it.

    Parameters
    ----------
    verify
        Whether the certificate is checked, or the file with the authorities that are trusted.

    Raises
    ------
    IdentityProviderUnavailable
        Nothing of use was answered in time.
    """
    try:
        with requests.Session() as session:
            # What .netrc says is for somebody else.
            session.auth = _leave_as_is
            with session.get(
                url,
                headers=headers,
                timeout=timeout,
                verify=verify,
                stream=True,
                allow_redirects=False,
            ) as answer:
                body = answer.raw.read(_LARGEST, decode_content=True)
                status = answer.status_code
    except (requests.RequestException, OSError) as error:
        raise IdentityProviderUnavailable(f"{url}: {type(error).__name__}") from error
    if not status < 500:
        raise IdentityProviderUnavailable(f"{url}: status {status}")
    try:
        return status, msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise IdentityProviderUnavailable(f"{url}: no object in JSON") from error


def _leave_as_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
