"""What the code of service versions has printed, for those who may change them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from msgspec import UNSET

from jupyter_mlsvc.wire import models
from jupyter_mlsvc_server.auth.policy import Action, require
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.scoring.engine import ScoringEngine
from jupyter_mlsvc_server.scoring.service_log import LogEntry
from jupyter_mlsvc_server.services.manager import ServiceManager
from jupyter_mlsvc_server.storage.clock import to_text

USUAL_ENTRIES: Final = 100


class ServiceLogReader:
    """Reads the logs of service versions from the scoring engine."""

    def __init__(self, *, services: ServiceManager, scoring: ScoringEngine) -> None:
        self._services = services
        self._scoring = scoring

    async def read(
        self,
        principal: Principal,
        name: str,
        version: str,
        *,
        after: int | None = None,
        limit: int | None = None,
    ) -> list[models.ServiceLogEntry]:
        """Return entries of a version, oldest first; see ``ScoringEngine.logs``.

        Raises
        ------
        Forbidden
            The caller may not change the version: a traceback shows its code.
        ServiceNotFound
            There is no such version.
        """
        require(principal, Action.READ_SERVICE, None, "read services")
        record = await self._services.record(name, version)
        what = f"read the log of version {version!r} of service {name!r}"
        require(principal, Action.CHANGE_SERVICE, record.owner, what)
        found = await self._scoring.logs(
            *record.key, after=after, limit=USUAL_ENTRIES if limit is None else limit
        )
        entries = [_entry(each) for each in found]
        # Another server may have deleted one of the same name, which was not loaded here.
        return [each for each in entries if each.time >= record.created_at]


def _entry(entry: LogEntry) -> models.ServiceLogEntry:
    return models.ServiceLogEntry(
        id=entry.id,
        time=to_text(datetime.fromtimestamp(entry.time, UTC)),
        level=entry.level,
        problem=entry.problem,
        text=entry.text,
        request_id=entry.request_id or UNSET,
        trace_id=entry.trace_id or UNSET,
    )
