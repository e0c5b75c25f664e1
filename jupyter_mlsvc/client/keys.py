"""Service keys: with one, an application calls services and does nothing else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import UNSET

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.client.api import Api
from jupyter_mlsvc.client.services import Services
from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.addresses import is_this_machine
from jupyter_mlsvc.wire.made_up import made_up


class Keys:
    """Your service keys, and those of all where you are an owner; ``client.keys``."""

    def __init__(self, api: Api, services: Services) -> None:
        self._api = api
        self._services = services

    def create(
        self,
        services: str | Sequence[str] | None,
        name: str | None = None,
        *,
        days: float | timedelta | None = None,
        note: str | None = None,
        rate: str | None = None,
        origins: Sequence[str] = (),
    ) -> NewServiceKey:
        """Make a key for services that you may change (our addition).

        Parameters
        ----------
        services : str or sequence of str or None
            Names, each for all versions, or ``NAME/VERSION`` for one. None is for all services,
            which owners of the server may.
        name : str, optional
            What to call the key; the server makes a name by default.
        days : float or datetime.timedelta, optional
            For how long it is good; until it is revoked by default.
        note : str, optional
            What it is for, in a line.
        rate : str, optional
            How many calls it may make, such as ``"10/second"`` or ``"600/minute"``.
        origins : sequence of str
            Origins such as ``https://example.org`` whose pages may call with it.

        Returns
        -------
        NewServiceKey
            ``key`` of it is the key, which nobody can read anywhere else or later.

        Raises
        ------
        Forbidden
            You may not change one of the services.
        NotFound
            There is no such service.
        Conflict
            There is a key of that name.
        """
        if days is not None and not isinstance(days, timedelta):
            days = timedelta(days=days)
        request = models.CreateServiceKeyRequest(
            name=name,
            services=[services] if isinstance(services, str) else _list(services),
            note=note,
            expires_in_seconds=None if days is None else days.total_seconds(),
            rate=rate,
            origins=_list(origins) or None,
        )
        answer = self._api.post(models.CreateServiceKeyResponse, "keys", json=request)
        return NewServiceKey(self, answer.service_key, answer.key, self._curl)

    def list(self) -> formatting.Listing[ServiceKey]:
        """List your keys; an owner of the server sees all (our addition)."""
        rows = self._api.get(list[models.ServiceKey], "keys")
        return formatting.Listing(
            (ServiceKey(self, row) for row in rows), _COLUMNS, "No service keys."
        )

    def revoke(self, name: str) -> None:
        """End a key at once (our addition).

        Raises
        ------
        NotFound
            You have none of that name.
        """
        self._api.delete("keys", name)

    def _curl(self, key: NewServiceKey) -> str:
        """Write the line that calls the first service of a key."""
        name, _, version = (key.services or [""])[0].partition("/")
        if not name:
            return ""
        service = self._services.get(name, version or None)
        inputs = {each.name: _example(each) for each in service.inputs}
        words = (
            *("curl", "-sS", self._services.address(service.name, service.version)),
            *("-H", f"X-API-Key: {key.key}", "--json", json.dumps(inputs, ensure_ascii=False)),
        )
        return " ".join(shlex.quote(word) for word in words)

    @property
    def is_out_of_reach(self) -> bool:
        """Whether programs on other machines can't call the address that is known here."""
        return is_this_machine(urlsplit(self._api.public_url).hostname or "")


class ServiceKey:
    """What is known of a key.

    Attributes
    ----------
    id, name, note, maker : str
    services : list of str or None
        Names, or ``NAME/VERSION``; None where it is for all.
    state : str
        ``active``, ``expired``, or ``suspended``: its maker may not change what it is for.
    creation_time, expiration_time, last_use : str or None
    rate : str or None
    origins : list of str
    calls : int
        How often it was used.
    """

    def __init__(self, keys: Keys, row: models.ServiceKey) -> None:
        self._keys = keys
        self.id = row.id
        self.name = row.name
        self.services = row.services
        self.note = row.note
        self.maker = row.maker
        self.state = row.state
        self.creation_time = row.creation_time
        self.expiration_time = row.expiration_time
        self.rate = row.rate
        self.origins = row.origins
        self.calls = row.calls
        self.last_use = row.last_use

    def revoke(self) -> None:
        """End the key at once."""
        self._keys.revoke(self.name)

    def __repr__(self) -> str:
        return formatting.text_card(self._title(), self._rows())

    def _repr_html_(self) -> str:
        return formatting.html_card(self._title(), self._rows())

    def _title(self) -> str:
        return f"Service key {self.name!r} for {_shown(self)}"

    def _rows(self) -> list[tuple[str, str]]:
        return [
            ("note", self.note),
            ("good until", formatting.moment(self.expiration_time) or "it is revoked"),
            ("state", self.state if self.state != "active" else ""),
            ("rate", self.rate or ""),
            ("pages of", ", ".join(self.origins)),
            ("calls", str(self.calls) if self.calls else ""),
            ("last use", formatting.moment(self.last_use)),
            ("made by", self.maker),
        ]


class NewServiceKey(ServiceKey):
    """A key that was just made; it shows the key itself, and how to call with it.

    Attributes
    ----------
    key : str
        What callers send, as a bearer token or as ``X-API-Key``.
    curl : str
        A line for a terminal that calls its first service; empty where it is for all.
    """

    def __init__(
        self,
        keys: Keys,
        row: models.ServiceKey,
        key: str,
        curl: Callable[[NewServiceKey], str],
    ) -> None:
        super().__init__(keys, row)
        self.key = key
        self.curl = curl(self)

    def _rows(self) -> list[tuple[str, str]]:
        reach = (
            "only on this machine: the address is its own; see 'Give a service to a colleague'"
            if self._keys.is_out_of_reach
            else ""
        )
        return [
            ("key", self.key),
            ("call", self.curl),
            ("reached", reach),
            *super()._rows(),
            ("keep it", "it is shown here only; clear this output before you share the notebook"),
        ]


def _list(items: Sequence[str] | None) -> list[str] | None:
    return None if items is None else list(items)


def _shown(key: ServiceKey) -> str:
    return "all services" if key.services is None else ", ".join(key.services)


_COLUMNS: Final[Sequence[formatting.Column]] = (
    ("name", lambda key: key.name),
    ("for", _shown),
    ("state", lambda key: key.state),
    ("good until", lambda key: formatting.moment(key.expiration_time) or "revoked"),
    ("rate", lambda key: key.rate),
    ("pages of", lambda key: ", ".join(key.origins)),
    ("calls", lambda key: key.calls),
    ("last use", lambda key: formatting.moment(key.last_use) or "never"),
    ("made by", lambda key: key.maker),
    ("note", lambda key: key.note),
)


def _example(definition: models.ParameterDefinition) -> Any:
    """Return what its author shows to callers, or a made-up value of the type."""
    return made_up(definition) if definition.example is UNSET else definition.example
