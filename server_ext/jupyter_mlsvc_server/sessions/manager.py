"""Creating, finding, listing, closing and culling sessions."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from traitlets import Float, Integer, Type, Unicode
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc.wire import models
from jupyter_mlsvc_server.auth.keys import signing_key
from jupyter_mlsvc_server.auth.policy import Action, require
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.confinement import Confinement
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.events.record import Change, EventAction, Kind, PublishEvent, drop_event
from jupyter_mlsvc_server.sessions.errors import (
    SessionEnded,
    SessionGone,
    SessionNotFound,
    SessionStarting,
    TooManySessions,
)
from jupyter_mlsvc_server.sessions.ids import SessionIds
from jupyter_mlsvc_server.sessions.kernels import KernelFactory
from jupyter_mlsvc_server.sessions.memory import memory_of
from jupyter_mlsvc_server.sessions.session import Session, SessionLimits, SessionSpec
from jupyter_mlsvc_server.storage.clock import Clock, now_text

_MAX_NAME = 256
_MAX_PATH = 4096
_MIN_LEASE_SECONDS = 1.0
# Ended sessions are remembered, so that their owners read why they are gone.
_REMEMBERED = 1000


class SnapshotLoader(Protocol):
    """What restores a snapshot into a session."""

    async def load(self, principal: Principal, snapshot_id: str, session: Session) -> object:
        """Restore a snapshot of the caller's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCounts:
    """How many sessions and kernels there are.

    Attributes
    ----------
    sessions
        Sessions by runtime type and state.
    queued
        Executions that wait for their turn.
    """

    sessions: Mapping[tuple[str, str], int]
    queued: int


class MlsvcSessionManager(LoggingConfigurable):
    """Keeps the sessions of all users; each sees only their own."""

    default_runtime = Unicode(
        "Python",
        help="Runtime of a session whose creator names none (the original took R).",
    ).tag(config=True)
    idle_timeout = Float(
        3600.0,
        min=0,
        help="Seconds a session may be idle before it is closed. 0 keeps it until the server ends.",
    ).tag(config=True)
    cull_interval = Float(
        30.0, min=0.05, help="Seconds between two looks for sessions that are idle for too long."
    ).tag(config=True)
    max_sessions_per_user = Integer(
        20, min=0, help="Number of sessions that one user may have at a time. 0 sets no limit."
    ).tag(config=True)
    max_output_bytes = Integer(
        8 * 2**20,
        min=4096,
        help="Bytes of output (text, plots) kept of one execution; further output is left out, and "
        "the output says so.",
    ).tag(config=True)
    max_executions_kept = Integer(
        50, min=1, help="Number of executions of a session whose output is kept for replay."
    ).tag(config=True)
    max_queue = Integer(
        100,
        min=1,
        help="Number of executions that may wait in a session; further ones are refused.",
    ).tag(config=True)
    heartbeat_interval = Float(
        15.0,
        min=0.01,
        help="Seconds of silence after which a follower of events is sent a sign of life, so that "
        "no proxy takes it for dead.",
    ).tag(config=True)
    kernel_factory_class = Type(KernelFactory, help="What starts the kernels of sessions.").tag(
        config=True
    )

    needs: Final = Action.USE_SESSIONS
    """What somebody has to be allowed for theirs to go on."""

    def __init__(
        self,
        *,
        data_dir: Path,
        snapshots: SnapshotLoader,
        confinement: Confinement | None = None,
        publish_event: PublishEvent = drop_event,
        clock: Clock = time.monotonic,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._clock = clock
        self._publish_event = publish_event
        self._factory: KernelFactory = self.kernel_factory_class(
            data_dir=data_dir, confinement=confinement, parent=self
        )
        self._snapshots = snapshots
        self._sessions: dict[str, Session] = {}
        self._starting: dict[str, SessionSpec] = {}
        self._key_file = data_dir / "secret.key"
        self._ids = SessionIds(b"")
        self._ended: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self.executions: Counter[str] = Counter()
        """Executions since the server started, by how they ended."""
        self._culler: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Clean up after earlier runs, and begin to cull."""
        self._ids = SessionIds(await asyncio.to_thread(signing_key, self._key_file))
        await self._factory.start()
        self._culler = asyncio.create_task(self._cull())

    async def stop(self) -> None:
        """Close all sessions and end all kernels."""
        if self._culler is not None:
            self._culler.cancel()
            await asyncio.gather(self._culler, return_exceptions=True)
            self._culler = None
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(
            *(session.close() for session in sessions),
            *self._tasks,
            return_exceptions=True,
        )
        await self._factory.stop()

    async def create(self, principal: Principal, request: models.CreateSessionRequest) -> Session:
        """Create a session, from a snapshot if one is named (contract: ``createSession``).

        Raises
        ------
        RuntimeNotAvailable
            The runtime type is none that this server starts, or its kernel is not installed.
        TooManySessions
            The caller has as many as one user may have.
        SnapshotNotFound
            There is no such snapshot of the caller's; no session is left behind.
        KernelDidNotStart
            Its process did not come up.
        """
        require(principal, Action.USE_SESSIONS, principal.owner, "use sessions")
        runtime_type = request.runtime_type or self.default_runtime
        await asyncio.to_thread(self._factory.require, runtime_type)
        if request.name is not None and len(request.name) > _MAX_NAME:
            raise BadRequest(f"The name of a session may have {_MAX_NAME} characters.")
        if request.notebook is not None and len(request.notebook) > _MAX_PATH:
            raise BadRequest(f"The path of a notebook may have {_MAX_PATH} characters.")
        lease = request.lease_seconds
        if lease is not None and not lease >= _MIN_LEASE_SECONDS:
            raise BadRequest(f"leaseSeconds is {lease:g}; it has to be 1 or more, or left out.")
        self._require_room(principal.id)
        spec = SessionSpec(
            id=self._ids.new(principal.id),
            name=request.name or secrets.token_hex(8),
            owner=principal.owner,
            runtime_type=runtime_type,
            created=now_text(),
            notebook=request.notebook,
            lease_seconds=lease,
        )
        self._publish_change(spec, EventAction.CREATED)
        session = await self._open(spec)
        self.log.info(
            "created session %s owner=%s pid=%s", session.id, principal.name, session.process_id
        )
        if request.snapshot_id:
            await self._load(principal, request.snapshot_id, session)
        self._publish_changed(session)
        return session

    async def _open(self, spec: SessionSpec) -> Session:
        """Make a session that was asked for."""
        self._starting[spec.id] = spec
        try:
            user = await self._factory.user_of(spec.owner.id)
            kernel = await self._factory.start_kernel(spec.runtime_type, user)
        except BaseException:
            self._publish_change(spec, EventAction.DELETED)
            raise
        finally:
            del self._starting[spec.id]
        session = Session(
            kernel=kernel,
            spec=spec,
            limits=SessionLimits(
                output_bytes=self.max_output_bytes,
                executions=self.max_executions_kept,
                queue=self.max_queue,
            ),
            clock=self._clock,
        )
        session.on_switch = lambda: self._publish_changed(session)
        session.on_executed = lambda state: self.executions.update([state])
        self._sessions[session.id] = session
        kernel.on_end = lambda reason: self._on_death(session, reason)
        if kernel.ended is not None:
            self._on_death(session, kernel.ended)
        return session

    async def list(self, principal: Principal) -> list[Session]:
        """List the caller's sessions, oldest first (contract: ``listSessions``)."""
        return [session for session in self._sessions.values() if session.owner.id == principal.id]

    async def describe(self, principal: Principal) -> Sequence[models.Session]:
        """Describe the caller's sessions, oldest first, with those that are starting.

        It renews no lease: who only looks does not use them.
        """
        sessions = await self.list(principal)
        memory = await asyncio.to_thread(memory_of, [each.process_id for each in sessions])
        specs = [each for each in self._starting.values() if each.owner.id == principal.id]
        rows = [*map(self._describe, sessions, memory), *map(_describe_spec, specs)]
        return sorted(rows, key=lambda row: row.creation_time or "")

    def _describe(self, session: Session, memory: int | None) -> models.Session:
        idle, limit = session.idle_seconds, self.idle_timeout
        left = [limit - idle] if limit else []
        if session.lease_left is not None:
            left.append(session.lease_left)
        return models.Session(
            id=session.id,
            name=session.name,
            owner=session.owner.name,
            runtime_type=session.runtime_type,
            state=session.state,
            creation_time=session.created,
            last_activity=session.last_activity,
            memory_bytes=memory,
            idle_seconds=round(idle, 3),
            lease_seconds=round(max(min(left), 0.0), 3) if left else None,
            execution_id=session.execution_id,
            queued=session.queued,
            notebook=session.notebook,
        )

    async def get(self, principal: Principal, session_id: str) -> Session:
        """Find one of the caller's sessions; doing so renews its lease.

        Raises
        ------
        SessionEnded
            It was there and has ended; the message says why.
        SessionGone
            It was there before the server was restarted.
        SessionStarting
            It has no process yet.
        SessionNotFound
            There is none, or it is another person's.
        """
        session = await self.look_at(principal, session_id)
        session.touch()
        return session

    async def look_at(self, principal: Principal, session_id: str) -> Session:
        """Find a session as :meth:`get` does, without renewing its lease.

        Raises
        ------
        SessionEnded, SessionGone, SessionStarting, SessionNotFound
            As for :meth:`get`.
        """
        session = self._sessions.get(session_id)
        if session is not None and session.owner.id == principal.id:
            return session
        spec = self._starting.get(session_id)
        if spec is not None and spec.owner.id == principal.id:
            raise SessionStarting(session_id)
        owner_id, reason = self._ended.get(session_id, ("", ""))
        if reason and owner_id == principal.id:
            raise SessionEnded(session_id, reason)
        if self._ids.is_of(session_id, principal.id):
            raise SessionGone(session_id, "the server was restarted, or it was long ago.")
        raise SessionNotFound(session_id)

    async def renew(self, principal: Principal, session_id: str) -> None:
        """Renew the lease of one of the caller's sessions, which is no use of it (our addition).

        Raises
        ------
        SessionEnded, SessionStarting, SessionNotFound
            As for :meth:`get`.
        """
        (await self.look_at(principal, session_id)).renew()

    async def get_for_workspace(self, principal: Principal, session_id: str) -> Session:
        """Find a session as :meth:`get` does; an ended one is 410 (``listWorkspaceObjects``).

        Raises
        ------
        SessionGone
            It was there and has ended; the message says why.
        SessionNotFound
            There is none, or it is another person's.
        """
        try:
            return await self.get(principal, session_id)
        except SessionEnded:
            raise SessionGone(session_id, self._ended[session_id][1]) from None

    async def close(self, principal: Principal, session_id: str) -> None:
        """Interrupt what runs and close the session (contract: ``closeSession``)."""
        await self._end(await self.get(principal, session_id), "it was closed.")

    async def close_by_force(self, principal: Principal, session_id: str) -> None:
        """Kill the session's processes at once (contract: ``closeSessionByForce``)."""
        await self._end(await self.get(principal, session_id), "it was closed.", now=True)

    def held_for(self) -> set[str]:
        """Return the ids of accounts that have a session."""
        held = {each.owner.id for each in self._sessions.values()}
        return held | {each.owner.id for each in self._starting.values()}

    async def end_all_of(self, account_id: str) -> None:
        """End all sessions of an account that may not have any."""
        for session in list(self._sessions.values()):
            if session.owner.id == account_id:
                await self._end(session, "its owner may not use sessions any more.", now=True)

    def statistics(self) -> dict[str, Any]:
        """Numbers of all sessions.

        ``last_used`` is when a session was used last, in seconds since 1970, or None.
        """
        idle = min((each.idle_seconds for each in self._sessions.values()), default=None)
        return {
            "last_used": None if idle is None else time.time() - idle,
            "active": len(self._sessions),
        }

    def counts(self) -> SessionCounts:
        """Count sessions and waiting executions."""
        sessions = self._sessions.values()
        return SessionCounts(
            sessions=Counter((each.runtime_type, each.state) for each in sessions),
            queued=sum(each.queued for each in sessions),
        )

    @property
    def is_executing(self) -> bool:
        """Whether code runs or waits in a session."""
        return any(session.state == "busy" for session in self._sessions.values())

    def shells(self, runtime_type: str) -> dict[str, Any]:
        """Numbers of one runtime type for the status page; a ``limit`` of 0 means none."""
        sessions = self._sessions.values()
        is_there = runtime_type in self._factory.available()
        return {
            "active": sum(session.runtime_type == runtime_type for session in sessions),
            "limit": self.max_sessions_per_user if is_there else 0,
            "can_open": is_there and self._culler is not None,
        }

    def _require_room(self, owner_id: str) -> None:
        limit = self.max_sessions_per_user
        held = [each.owner.id for each in self._sessions.values()]
        held += [each.owner.id for each in self._starting.values()]
        if limit and held.count(owner_id) >= limit:
            raise TooManySessions(limit)

    async def _load(self, principal: Principal, snapshot_id: str, session: Session) -> None:
        session.is_loading = True
        try:
            await self._snapshots.load(principal, snapshot_id, session)
        except BaseException:
            if self._sessions.pop(session.id, None) is not None:
                self._publish_change(session, EventAction.DELETED)
            await session.close(now=True)
            raise
        finally:
            session.is_loading = False

    async def _end(self, session: Session, reason: str, *, now: bool = False) -> None:
        # Out of sight first: nobody gets a session that is being closed.
        if self._sessions.pop(session.id, None) is None:
            return
        self._remember(session, reason)
        session.end(reason)
        self._publish_change(session, EventAction.DELETED)
        self.log.info("session %s of %s ended: %s", session.id, session.owner.name, reason)
        await session.close(now=now)

    def _publish_changed(self, session: Session) -> None:
        # Of one that ended in the meantime that was the last word.
        if session.id in self._sessions:
            self._publish_change(session, EventAction.CHANGED)

    def _publish_change(self, session: Session | SessionSpec, action: EventAction) -> None:
        self._publish_event(
            Change(
                kind=Kind.SESSION,
                action=action,
                owner=session.owner,
                id=session.id,
                name=session.name,
            )
        )

    def _remember(self, session: Session, reason: str) -> None:
        self._ended[session.id] = (session.owner.id, reason)
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    def _on_death(self, session: Session, reason: str) -> None:
        self.log.warning("session %s of %s: %s", session.id, session.owner.name, reason)
        task = asyncio.create_task(self._end(session, reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _cull(self) -> None:
        while True:
            await asyncio.sleep(self.cull_interval)
            over = [(each, self._why_over(each)) for each in self._sessions.values()]
            for session, reason in over:
                if reason is None:
                    continue
                try:
                    await self._end(session, reason)
                except Exception:
                    self.log.exception("session %s could not be closed", session.id)

    def _why_over(self, session: Session) -> str | None:
        """Say why a session is to end now; None where it is not."""
        limit, left = self.idle_timeout, session.lease_left
        if left is not None and left < 0:
            return "what started it did not renew its lease; it has ended, or was cut off."
        if limit and session.idle_seconds > limit:
            return f"it was idle for more than {limit:g} seconds."
        return None


def _describe_spec(spec: SessionSpec) -> models.Session:
    return models.Session(
        id=spec.id,
        name=spec.name,
        owner=spec.owner.name,
        runtime_type=spec.runtime_type,
        state="starting",
        creation_time=spec.created,
        last_activity=spec.created,
        idle_seconds=0.0,
        notebook=spec.notebook,
    )
