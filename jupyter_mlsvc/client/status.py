"""State of the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.wire import models

# Members that the contract has for clients of the original server; ours say the same in words.
_ORIGINALS: Final = re.compile(r"(python|r)[A-Z]\w*|apiVersion|logPath")


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
        return formatting.text_card(self._title(), self._rows())

    def _repr_html_(self) -> str:
        return formatting.html_card(self._title(), self._rows())

    def _title(self) -> str:
        return f"{self._url}: {self.code}"

    def _rows(self) -> list[tuple[str, str]]:
        version = (self.report.details or {}).get("version", "")
        return [
            ("user", self._user or ""),
            ("version", str(version)),
            *_leaves(self.report, ""),
        ]


def _leaves(report: models.StatusResponse, path: str) -> Iterator[tuple[str, str]]:
    """Name the components that have no others in them, and what a reader wants to know of each."""
    for name, component in (report.components or {}).items():
        if component.components:
            yield from _leaves(component, f"{path}{name} / ")
            continue
        details = ", ".join(
            f"{key} {value}"
            for key, value in (component.details or {}).items()
            if not isinstance(value, dict | list) and not _ORIGINALS.match(key)
        )
        yield f"{path}{name}", f"{component.status_code}{f' ({details})' if details else ''}"
