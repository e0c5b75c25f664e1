"""``jupyter mlsvc audit``: shows who did what."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, get_args

from traitlets import Bool, Unicode

from jupyter_mlsvc.wire.harmless import harmless
from jupyter_mlsvc_server.audit.log import files
from jupyter_mlsvc_server.audit.record import Result
from jupyter_mlsvc_server.storage.cli import DataFolderCommand, Misuse

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO: Final = re.compile(r"(\d{1,6})([smhdw])")
_RESULTS: Final = get_args(Result)


class AuditCommand(DataFolderCommand):
    """Show who did what, the oldest first; also while the server runs."""

    name = "jupyter-mlsvc-audit"
    description = __doc__
    usage = (
        "jupyter mlsvc audit [--who NAME] [--what OPERATION] [--object NAME] [--since TIME] "
        "[--result done|refused|failed] [--request ID] [--json]"
    )
    examples = "jupyter mlsvc audit --what login --result refused --since 2d"

    who = Unicode("", help="Name of a person, or id of an account, with * as wildcard.").tag(
        config=True
    )
    what = Unicode(
        "", help="Operation, such as publishWebServiceVersion, with * as wildcard; in any case."
    ).tag(config=True)
    object_name = Unicode("", help="What it was done to, with * as wildcard.").tag(config=True)
    since = Unicode(
        "", help="Not what is older: 30m, 12h, 7d, or a date and time as 2026-01-31T12:00 (UTC)."
    ).tag(config=True)
    result = Unicode("", help="done, refused or failed.").tag(config=True)
    request = Unicode(
        "", help="Id of a request, as an error in a notebook and the header X-Request-Id have it."
    ).tag(config=True)
    as_json = Bool(False, help="Write the lines as they are in the file.").tag(config=True)

    aliases = {  # noqa: RUF012
        **DataFolderCommand.aliases,
        "who": "AuditCommand.who",
        "what": "AuditCommand.what",
        "object": "AuditCommand.object_name",
        "since": "AuditCommand.since",
        "result": "AuditCommand.result",
        "request": "AuditCommand.request",
    }
    flags = {  # noqa: RUF012
        **DataFolderCommand.flags,
        "json": ({"AuditCommand": {"as_json": True}}, "Write the lines as they are in the file."),
    }

    async def run(self) -> None:
        """Write the lines that are asked for."""
        if self.extra_args:
            raise Misuse("Give no argument.")
        if self.result and self.result not in _RESULTS:
            raise Misuse(f"--result is {' or '.join(_RESULTS)}.")
        earliest = earliest_of(self.since, datetime.now(UTC)) if self.since else ""
        with contextlib.suppress(BrokenPipeError):
            for line, event in _events(self.folder):
                if self._is_wanted(event, earliest):
                    print(line if self.as_json else as_text(event))  # noqa: T201

    def _is_wanted(self, event: dict[str, Any], earliest: str) -> bool:
        what = event["operation"].lower()
        return (
            time_of(event) >= earliest
            and (not self.result or event["result"] == self.result)
            and (not self.request or event["request"] == self.request)
            and (not self.who or _is_any(self.who, event["who"], event["id"]))
            and (not self.what or fnmatchcase(what, self.what.lower()))
            and (not self.object_name or fnmatchcase(event["object"], self.object_name))
        )


def _is_any(pattern: str, *names: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def earliest_of(since: str, now: datetime) -> str:
    """Return the time that is meant, as the log writes it.

    Raises
    ------
    Misuse
        It is no time.
    """
    if ago := _AGO.fullmatch(since):
        unit = {_UNITS[ago[2]]: int(ago[1])}
        try:
            return (now - timedelta(**unit)).isoformat()
        except OverflowError:
            return ""
    try:
        given = datetime.fromisoformat(since)
    except ValueError:
        raise Misuse("--since is 30m, 12h or 7d, or a date and time as 2026-01-31T12:00.") from None
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def time_of(event: dict[str, Any]) -> str:
    """Return when it was, in UTC."""
    return str(event["__timestamp__"]).removesuffix("Z")


def as_text(event: dict[str, Any]) -> str:
    """Write an event for people."""
    who = event["who"] or "nobody known"
    by = f" by {event['by']}" if event["by"] else ""
    address = f" from {event['address']}" if event["address"] else ""
    status = f" {event['status']}" if event["status"] else ""
    request = f" (request {event['request']})" if event["request"] else ""
    return harmless(
        f"{time_of(event)[:19]} {event['result']}{status} {event['operation']} "
        f"{event['object'] or '-'} {who}{by}{address}{request}"
    )


def _events(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in files(folder):
        # One that was rotated away in between is in the next one's place.
        with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as lines:
            for line in lines:
                # The last line may not be whole yet.
                with contextlib.suppress(ValueError):
                    yield line.rstrip(), json.loads(line)
