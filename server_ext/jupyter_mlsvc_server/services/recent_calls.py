"""The newest calls of service versions, for those who may change them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import UNSET

from jupyter_mlsvc.wire import models
from jupyter_mlsvc_server.auth.policy import Action, require
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.errors import NotFound
from jupyter_mlsvc_server.scoring.engine import ScoringEngine
from jupyter_mlsvc_server.scoring.recent_calls import BatchCaller, RecentCall
from jupyter_mlsvc_server.services.manager import ServiceManager
from jupyter_mlsvc_server.services.record import ServiceRecord
from jupyter_mlsvc_server.storage.clock import to_text

USUAL_CALLS: Final = 100


class CallNotFound(NotFound):
    """The call was not there, or is one of those that are not kept any more."""

    def __init__(self, name: str, version: str, number: int) -> None:
        super().__init__(
            f"Call {number} of version {version!r} of service {name!r} is not kept: the server "
            "keeps the newest ones only."
        )


class RecentCallReader:
    """Reads the newest calls of service versions from the scoring engine.

    Parameters
    ----------
    services, scoring
        Know versions, and keep their calls.
    request_id
        Returns the id of a request by the number that the API gave it.
    """

    def __init__(
        self, *, services: ServiceManager, scoring: ScoringEngine, request_id: Callable[[int], str]
    ) -> None:
        self._services = services
        self._scoring = scoring
        self._id_of_request = request_id

    async def list(
        self,
        principal: Principal,
        name: str,
        version: str,
        *,
        limit: int | None = None,
        only_errors: bool = False,
    ) -> list[models.ServiceCall]:
        """Return the newest calls of a version, the newest first.

        Raises
        ------
        Forbidden
            The caller may not change the version: problems show its code.
        ServiceNotFound
            There is no such version.
        """
        record = await self._record(principal, name, version)
        most = USUAL_CALLS if limit is None else limit
        found = await self._scoring.calls(*record.key, limit=most, only_failed=only_errors)
        return [models.ServiceCall(**self._members(each)) for each in found if _is_of(record, each)]

    async def get(
        self, principal: Principal, name: str, version: str, number: int
    ) -> models.ServiceCallDetails:
        """Return one of these calls, with what it printed and the bodies that are kept.

        Raises
        ------
        Forbidden, ServiceNotFound
            As for :meth:`list`.
        CallNotFound
            It is not kept.
        """
        record = await self._record(principal, name, version)
        call = await self._scoring.call(*record.key, number)
        if call is None or not _is_of(record, call):
            raise CallNotFound(name, version, number)
        text = call.text or await self._printed(record, call)
        # A call that ran while the version kept bodies may have ended after that was taken back.
        is_shown = record.spec.keep_bodies
        request, answer = (call.request, call.answer) if is_shown else (None, None)
        return models.ServiceCallDetails(
            **self._members(call),
            text=text,
            request=UNSET if request is None else _text(request),
            answer=UNSET if answer is None else _text(answer),
        )

    async def _printed(self, record: ServiceRecord, call: RecentCall) -> str:
        """Read what a call printed in the log, as long as that has it."""
        entries = await self._scoring.logs(*record.key, after=call.entry_id - 1, limit=1)
        return entries[0].text if entries and entries[0].id == call.entry_id else ""

    async def _record(self, principal: Principal, name: str, version: str) -> ServiceRecord:
        require(principal, Action.READ_SERVICE, None, "read services")
        record = await self._services.record(name, version)
        what = f"read the calls of version {version!r} of service {name!r}"
        require(principal, Action.CHANGE_SERVICE, record.owner, what)
        return record

    def _members(self, call: RecentCall) -> dict[str, Any]:
        return {
            "id": call.number,
            "time": _time(call.time),
            "caller": "" if call.caller is None else call.caller.name,
            "caller_kind": UNSET if call.caller is None else call.caller.kind,
            "status": call.status,
            "success": call.success,
            "milliseconds": None if call.seconds is None else round(call.seconds * 1000, 3),
            "first_item_milliseconds": (
                UNSET if call.first_item is None else round(call.first_item * 1000, 3)
            ),
            "request_id": self._request_id(call),
            "request_bytes": call.request_bytes,
            "answer_bytes": call.answer_bytes,
            "problem": call.problem,
        }

    def _request_id(self, call: RecentCall) -> str:
        if isinstance(call.caller, BatchCaller):
            return f"{call.caller.batch_id}/{call.request_id}"
        given = call.request_id
        return self._id_of_request(given) if isinstance(given, int) else given


def _is_of(record: ServiceRecord, call: RecentCall) -> bool:
    """Whether a call is of this version, not of one of the same name that was deleted elsewhere."""
    return _time(call.time) >= record.created_at


def _time(seconds: float) -> str:
    return to_text(datetime.fromtimestamp(seconds, UTC))


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")
