"""State of the server."""

from __future__ import annotations

from collections.abc import Iterator

from jupyter_mlsvc.client import looks
from jupyter_mlsvc.wire import models


class Status:
    """What the server says of itself and its components.

    Attributes
    ----------
    code : str
        ``pass``, ``warn`` or ``fail``.
    report : StatusResponse
        The whole answer; components nest.
    """

    def __init__(self, report: models.StatusResponse, url: str, user: str | None) -> None:
        self.report = report
        self.code = report.status_code
        self._url = url
        self._user = user

    def __repr__(self) -> str:
        rows = [("user", self._user or ""), *((name, text) for name, text in self._components())]
        return looks.text_card(self._title(), rows)

    def _repr_html_(self) -> str:
        rows = [("user", self._user or ""), *((name, text) for name, text in self._components())]
        return looks.html_card(self._title(), rows)

    def _title(self) -> str:
        return f"{self._url}: {self.code}"

    def _components(self) -> Iterator[tuple[str, str]]:
        yield from _flat(self.report, "")


def _flat(report: models.StatusResponse, path: str) -> Iterator[tuple[str, str]]:
    for name, component in (report.components or {}).items():
        where = f"{path}{name}"
        details = ", ".join(
            f"{key} {value}"
            for key, value in (component.details or {}).items()
            if not isinstance(value, dict | list)
        )
        yield where, f"{component.status_code}{f' ({details})' if details else ''}"
        yield from _flat(component, f"{where} / ")
