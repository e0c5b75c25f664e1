"""Creating, finding, listing, closing and culling sessions."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

from traitlets import Float, Integer, Type, Unicode
from traitlets.config import LoggingConfigurable

from jupyter_mlsvc.wire import models
from jupyter_mlsvc_server.auth.policy import Action, require
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.sessions.errors import (
    RuntimeNotAvailable,
    SessionEnded,
    SessionGone,
    SessionNotFound,
    TooManySessions,
)
from jupyter_mlsvc_server.sessions.kernels import KernelFactory
from jupyter_mlsvc_server.sessions.session import Session, SessionLimits
from jupyter_mlsvc_server.sessions.warm import WarmKernels

RUNTIMES = ["Python"]
_LONGEST_NAME = 256
# Ended sessions are remembered, so that their owners read why they are gone.
_REMEMBERED = 1000


class SnapshotLoader(Protocol):
    """What restores a snapshot into a session."""

    async def load(self, principal: Principal, snapshot_id: str, session: Session) -> object:
        """Restore a snapshot of the caller's."""


class SessionManager(LoggingConfigurable):
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

    def __init__(self, *, data_dir: Path, snapshots: SnapshotLoader, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._factory: KernelFactory = self.kernel_factory_class(data_dir=data_dir, parent=self)
        self._warm = WarmKernels(factory=self._factory, parent=self)
        self._snapshots = snapshots
        self._sessions: dict[str, Session] = {}
        self._creating: dict[str, int] = {}
        self._ended: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._culler: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Clean up after earlier runs, and begin to warm kernels up and to cull."""
        await self._factory.start()
        await self._warm.start()
        self._culler = asyncio.create_task(self._cull())

    async def stop(self) -> None:
        """Close all sessions and end all kernels."""
        if self._culler is not None:
            self._culler.cancel()
            await asyncio.gather(self._culler, return_exceptions=True)
            self._culler = None
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(
            self._warm.stop(),
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
            The runtime type is none that this server starts.
        TooManySessions
            The caller has as many as one user may have.
        SnapshotNotFound
            There is no such snapshot of the caller's; no session is left behind.
        KernelDidNotStart
            Its process did not come up.
        """
        require(principal, Action.USE_SESSIONS, principal.name, "use sessions")
        runtime_type = request.runtime_type or self.default_runtime
        if runtime_type not in RUNTIMES:
            raise RuntimeNotAvailable(runtime_type, RUNTIMES)
        if request.name is not None and len(request.name) > _LONGEST_NAME:
            raise BadRequest(f"The name of a session may have {_LONGEST_NAME} characters.")
        owner = principal.name
        self._creating[owner] = self._creating.get(owner, 0) + 1
        try:
            self._require_room(owner)
            kernel = await self._warm.take()
            session = Session(
                kernel=kernel,
                name=request.name or secrets.token_hex(8),
                owner=owner,
                runtime_type=runtime_type,
                limits=SessionLimits(
                    output_bytes=self.max_output_bytes,
                    executions=self.max_executions_kept,
                    queue=self.max_queue,
                ),
            )
            self._sessions[session.id] = session
        finally:
            self._creating[owner] -= 1
            if not self._creating[owner]:
                del self._creating[owner]
        kernel.on_end = lambda reason: self._on_death(session, reason)
        if kernel.ended is not None:
            self._on_death(session, kernel.ended)
        self.log.info("created session %s owner=%s pid=%s", session.id, owner, session.process_id)
        if request.snapshot_id:
            await self._load(principal, request.snapshot_id, session)
        return session

    async def list(self, principal: Principal) -> list[Session]:
        """List the caller's sessions, oldest first (contract: ``listSessions``)."""
        return [session for session in self._sessions.values() if session.owner == principal.name]

    async def get(self, principal: Principal, session_id: str) -> Session:
        """Find one of the caller's sessions; doing so renews its lease.

        Raises
        ------
        SessionEnded
            It was there and has ended; the message says why.
        SessionNotFound
            There is none, or it is another person's.
        """
        session = self._sessions.get(session_id)
        if session is not None and session.owner == principal.name:
            session.touch()
            return session
        owner, reason = self._ended.get(session_id, ("", ""))
        if reason and owner == principal.name:
            raise SessionEnded(session_id, reason)
        raise SessionNotFound(session_id)

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

    def statistics(self) -> dict[str, Any]:
        """Numbers for the status page; a ``limit`` of 0 means none."""
        return {
            "active": len(self._sessions),
            "warm": self._warm.ready,
            "limit": self.max_sessions_per_user,
            "can_open": self._culler is not None,
        }

    def _require_room(self, owner: str) -> None:
        limit = self.max_sessions_per_user
        held = sum(session.owner == owner for session in self._sessions.values())
        if limit and held + self._creating[owner] > limit:
            raise TooManySessions(limit)

    async def _load(self, principal: Principal, snapshot_id: str, session: Session) -> None:
        try:
            await self._snapshots.load(principal, snapshot_id, session)
        except BaseException:
            self._sessions.pop(session.id, None)
            await session.close(now=True)
            raise

    async def _end(self, session: Session, reason: str, *, now: bool = False) -> None:
        # Out of sight first: nobody gets a session that is being closed.
        if self._sessions.pop(session.id, None) is None:
            return
        self._remember(session, reason)
        session.end(reason)
        self.log.info("session %s of %s ended: %s", session.id, session.owner, reason)
        await session.close(now=now)

    def _remember(self, session: Session, reason: str) -> None:
        self._ended[session.id] = (session.owner, reason)
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    def _on_death(self, session: Session, reason: str) -> None:
        self.log.warning("session %s of %s: %s", session.id, session.owner, reason)
        task = asyncio.create_task(self._end(session, reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _cull(self) -> None:
        while True:
            await asyncio.sleep(self.cull_interval)
            limit = self.idle_timeout
            idle = [each for each in self._sessions.values() if limit and each.idle_seconds > limit]
            for session in idle:
                reason = f"it was idle for more than {limit:g} seconds."
                try:
                    await self._end(session, reason)
                except Exception:
                    self.log.exception("session %s could not be closed", session.id)
