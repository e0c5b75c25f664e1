"""Who one is to a server."""

from __future__ import annotations

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.wire import models


class User:
    """The caller, as the server knows them; it shows itself.

    Attributes
    ----------
    answer : UserResponse
        What the server said.
    """

    def __init__(self, answer: models.UserResponse, url: str) -> None:
        self.answer = answer
        self._url = url

    def __repr__(self) -> str:
        return formatting.text_card(self._title(), self._rows())

    def _repr_html_(self) -> str:
        return formatting.html_card(self._title(), self._rows())

    def _title(self) -> str:
        return f"{self.answer.name} ({self.answer.role})"

    def _rows(self) -> list[tuple[str, str]]:
        seconds = self.answer.token_seconds
        left = formatting.duration(seconds) if seconds is not None else ""
        groups = self.answer.groups
        return [
            ("server", f"{self._url} ({self.answer.server_version})"),
            ("you may", ", ".join(self.answer.may)),
            ("runs code", self._code()),
            *([("groups", ", ".join(groups))] if groups else []),
            ("token", f"good for {left}" if left else "good until the server ends or revokes it"),
        ]

    def _code(self) -> str:
        level = self.answer.confinement
        if not self.answer.may_run_code:
            return "no"
        if level == "none":
            return "yes, and nothing keeps it from the server's files"
        return f"yes, confined at level {level}" if level else "yes"
