"""How service versions are, and what they did since the server started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from traitlets.config import LoggingConfigurable

from jupyter_mlsvc.wire import models
from jupyter_mlsvc_server.auth.policy import Action, may, require
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.engine import ScoringEngine
from jupyter_mlsvc_server.scoring.statistics import INTERVAL_SECONDS, Figures, Interval
from jupyter_mlsvc_server.services.call_history import PERIODS, CallRecorder
from jupyter_mlsvc_server.services.manager import ServiceManager
from jupyter_mlsvc_server.storage.clock import to_text

_NAMES: Final = " or ".join(PERIODS)

_FEW_RETIRED: Final = 5
"""Workers that may be replaced before the statistics have a note."""


class ServiceStatisticsReporter(LoggingConfigurable):
    """Asks the scoring engine about the versions that somebody may see.

    Parameters
    ----------
    services, scoring
        Know versions, and what they did.
    calls
        Keeps what they did before.
    calls_by_key
        Gives how often each service key called a version, by its name.
    """

    def __init__(
        self,
        *,
        services: ServiceManager,
        scoring: ScoringEngine,
        calls: CallRecorder,
        calls_by_key: Callable[[str, str], Mapping[str, int]] = lambda *_: {},
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._calls = calls
        self._services = services
        self._scoring = scoring
        self._calls_by_key = calls_by_key

    async def list(self, principal: Principal) -> list[models.ServiceStatistics]:
        """Give a row for each version that is loaded or was called, the oldest version first."""
        keys = await self._services.keys(principal)
        found = await self._scoring.all_figures()
        return [
            models.ServiceStatistics(**_members(key, found[key]))
            for key in (DefinitionKey(*each) for each in keys)
            if key in found
        ]

    async def get(
        self, principal: Principal, name: str, version: str, period: str = ""
    ) -> models.ServiceStatisticsWithHistory:
        """Give the figures of one version, with its past and its memory.

        Parameters
        ----------
        period
            ``hour``, ``day`` or ``week``; else the past is the last ten minutes.

        Raises
        ------
        BadRequest
            There is no such period.
        ServiceNotFound
            There is no such version.
        """
        require(principal, Action.READ_SERVICE, None, "read services")
        looked_at = PERIODS.get(period)
        if looked_at is None and period:
            raise BadRequest(f"period is {period[:40]!r}; it has to be {_NAMES}.")
        record = await self._services.record(name, version)
        key = DefinitionKey(*record.key)
        may_see_keys = may(principal, Action.CHANGE_SERVICE, record.owner)
        calls_by_key = self._calls_by_key(*key) if may_see_keys else {}
        memory = await self._scoring.memory_of(*key)
        figures = await self._scoring.figures(*key, with_history=looked_at is None)
        if looked_at is None:
            seconds, history = INTERVAL_SECONDS, figures.history
        else:
            seconds, history = looked_at.seconds, await self._calls.history(key, looked_at)
        return models.ServiceStatisticsWithHistory(
            **_members(key, figures),
            memory_bytes=memory,
            keys=[models.KeyCalls(name=of, calls=calls) for of, calls in calls_by_key.items()],
            interval_seconds=seconds,
            history=[_interval(each) for each in history],
        )


def _members(key: DefinitionKey, figures: Figures) -> dict[str, Any]:
    return {
        "name": key.name,
        "version": key.version,
        "state": figures.state.value,
        "message": figures.message,
        "workers": figures.workers,
        "waiting": figures.waiting,
        "calls": figures.calls,
        "errors": figures.errors,
        "rejected": figures.rejected,
        "calls_per_minute": figures.calls_per_minute,
        "p50_milliseconds": _milliseconds(figures.p50),
        "p99_milliseconds": _milliseconds(figures.p99),
        "last_call": None if figures.last_call is None else _time(figures.last_call),
        "retired": figures.retired,
        "note": note(figures),
        "retired_for": figures.retired_for,
        "lost_workers": figures.lost_workers,
    }


def note(figures: Figures) -> str:
    """Tell the publisher of a version where most calls cost a worker."""
    if figures.retired < _FEW_RETIRED or 2 * figures.retired < figures.calls:
        return ""
    return (
        f"{figures.retired:,} of {figures.calls:,} calls had their worker replaced, which makes "
        f"them slow: {figures.retired_for}. Have the code change a copy, or publish it with "
        "isolation 'call', or 'none' where calls are meant to share what they change."
    )


def _interval(interval: Interval) -> models.StatisticsInterval:
    return models.StatisticsInterval(
        time=_time(interval.start),
        calls=interval.calls,
        errors=interval.errors,
        rejected=interval.rejected,
        p50_milliseconds=_milliseconds(interval.p50),
        p99_milliseconds=_milliseconds(interval.p99),
    )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _time(seconds: float) -> str:
    return to_text(datetime.fromtimestamp(seconds, UTC))
