"""What a service key is asked to be, read and checked."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from jupyter_mlsvc.wire.models import CreateServiceKeyRequest
from jupyter_mlsvc.wire.names import InvalidName, service_name
from jupyter_mlsvc.wire.names import version as checked_version
from jupyter_mlsvc_server.auth.errors import InvalidKeyOption
from jupyter_mlsvc_server.auth.key_use import Rate
from jupyter_mlsvc_server.auth.service_keys import NewKey

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_MAX_NOTE: Final = 200
_MAX_SERVICES: Final = 100
_MAX_ORIGINS: Final = 20
_MAX_SECONDS: Final = 100 * 366 * 86_400.0


def new_key(request: CreateServiceKeyRequest) -> NewKey:
    """Read what a key is to be.

    Raises
    ------
    InvalidKeyOption
        It can't be so; the message says why.
    """
    services = None if request.services is None else _services(request.services)
    note = (request.note or "").strip()
    if len(note) > _MAX_NOTE or not note.isprintable():
        raise InvalidKeyOption(f"note has to be a line of up to {_MAX_NOTE} characters.")
    return NewKey(
        name=_name(request.name, services),
        services=services,
        note=note,
        expires_at=_expiry(request.expires_in_seconds),
        rate=str(Rate.parse(request.rate)) if request.rate else "",
        origins=_origins(request.origins or ()),
    )


def _name(given: str | None, services: Sequence[str] | None) -> str:
    if given:
        if not _NAME.fullmatch(given):
            raise InvalidKeyOption(
                f"{given[:70]!r} is no valid name of a key: use 1 to 64 letters, digits, '.', "
                "'_', '-' or '@', starting with a letter or digit."
            )
        return given
    first = services[0].partition("/")[0] if services else "all"
    shown = re.sub(r"[^A-Za-z0-9._-]", "-", first).lstrip("._-")[:50] or "key"
    return f"{shown}-{secrets.token_hex(3)}"


def _services(given: Sequence[str]) -> tuple[str, ...]:
    if not 0 < len(given) <= _MAX_SERVICES:
        raise InvalidKeyOption(
            f"services has {len(given)} items; a key is for 1 to {_MAX_SERVICES} services, or for "
            "all where services is left out."
        )
    for each in given:
        name, slash, version = each.partition("/")
        try:
            service_name(name)
            if slash:
                checked_version(version)
        except InvalidName as error:
            raise InvalidKeyOption(str(error)) from None
    return tuple(dict.fromkeys(given))


def _expiry(seconds: float | None) -> datetime | None:
    if seconds is None:
        return None
    if not 0 < seconds <= _MAX_SECONDS:
        raise InvalidKeyOption(
            "expiresInSeconds has to be more than 0, and a hundred years at most. A key without "
            "it is good until it is revoked."
        )
    return datetime.now(UTC) + timedelta(seconds=seconds)


def _origins(given: Sequence[str]) -> tuple[str, ...]:
    if len(given) > _MAX_ORIGINS:
        raise InvalidKeyOption(f"A key is for pages of up to {_MAX_ORIGINS} origins.")
    return tuple(dict.fromkeys(_origin(each) for each in given))


def _origin(text: str) -> str:
    """Return an origin as browsers write it."""
    stripped = text.strip().rstrip("/").lower()
    try:
        parts = urlsplit(stripped)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    is_one = parts.scheme in {"http", "https"} and host and host.isascii() and "*" not in host
    if not is_one or stripped != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
        raise InvalidKeyOption(
            f"{text[:100]!r} is no origin of a page: give scheme and host, and the port where it "
            "is not the usual one, such as https://example.org or http://localhost:3000."
        )
    usual = {"http": 80, "https": 443}[parts.scheme]
    return stripped.removesuffix(f":{usual}") if port == usual else stripped
