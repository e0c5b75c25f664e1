"""The server's view of a template process: one restored revision of a service."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from jupyter_mlsvc_server.confinement import Confinement, hand_over, own_places, seed_caches
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.child_output import ChildOutput
from jupyter_mlsvc_server.formats.protocol import (
    ENDED_FROM_OUTSIDE,
    Prepare,
    Prepared,
    Refused,
    Service,
    Trial,
)
from jupyter_mlsvc_server.formats.reply_buffer import reply_buffer_path
from jupyter_mlsvc_server.formats.trial import trace_path
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, ServiceDefinition
from jupyter_mlsvc_server.scoring.errors import (
    ServiceUnavailable,
    StartInterrupted,
    UnservableCode,
    UnservableSnapshot,
    ending,
)
from jupyter_mlsvc_server.scoring.forkserver_client import ForkserverClient, LinkLost
from jupyter_mlsvc_server.scoring.settings import ScoringSettings
from jupyter_mlsvc_server.scoring.trial import (
    TrialOutcome,
    outcome_of,
    outcome_of_end,
    receive_report,
    send_trial,
)
from jupyter_mlsvc_server.storage.machine_faults import errno_fault

_EXIT_TIMEOUT: Final = 5.0
"""Seconds for a template to end its workers and itself."""

_TRIAL_EXIT_TIMEOUT: Final = 2.0
"""Seconds to wait for word of how a trial ended that gave no report."""

_TRIAL_SPARE_SECONDS: Final = 5.0
"""Seconds until a trial is ended from here that does not end itself in its time."""


class Template:
    """A process from which the workers of one revision are forked.

    Parameters
    ----------
    definition
        What it serves.
    work
        A folder of its own for working directories; removed with it.
    confinement
        What it may reach.
    user
        The user that it runs as; 0 for the server's own.
    """

    def __init__(
        self, definition: ServiceDefinition, work: Path, confinement: Confinement, user: int = 0
    ) -> None:
        self.key: DefinitionKey = definition.key
        self.revision_id = definition.spec.revision_id
        self.runtime_type = definition.spec.runtime_type
        self.has_effects = definition.spec.effects
        self.deadline_seconds = definition.spec.deadline_seconds
        self.began = 0.0
        """When it was ready, by the monotonic clock."""
        self.streams: tuple[str, ...] = ()
        """The output that is what the code yields, if it does."""
        self.exit_code: int | None = None
        """How it ended, where that is known."""
        self.link_lost: Callable[[], None] = lambda: None
        """Called when the process is gone."""
        self.child_ended: Callable[[int], None] = lambda _pid: None
        """Called with the process id when a worker has ended."""
        self._definition = definition
        self._work = work
        self._confinement = confinement
        self._user = user
        self._cgroup = ""
        self._pid = 0
        self._forkserver: ForkserverClient | None = None
        self._output: ChildOutput | None = None

    async def start(self, forkserver: ForkserverClient, settings: ScoringSettings) -> None:
        """Fork it and wait until it has restored the snapshot.

        Raises
        ------
        UnservableCode, UnservableSnapshot
            It refuses the definition, and says why; or it can't be confined as that says.
        ServiceUnavailable
            It ended, or took too long.
        LinkLost
            The forkserver is gone.
        """
        spec = self._definition.spec
        if why := self._confinement.refusal(network=spec.network, read_only=spec.read_only):
            raise UnservableCode(why)
        self._forkserver = forkserver
        await asyncio.to_thread(self._make_folders)
        output = ChildOutput(settings.log, f"service {spec.label}")
        self._output = output
        try:
            self._pid, socket = await forkserver.fork(output=output.theirs)
            output.started()
            self.link = ForkserverClient(socket, self._lost, self._ended)
            service = await asyncio.to_thread(self._service, settings)
            await self.link.prepare(Prepare(service))
            async with asyncio.timeout(settings.start_seconds):
                answer = await self.link.first()
        except TimeoutError:
            await self.stop(at_once=True)
            raise ServiceUnavailable(
                self.key, f"Restoring its snapshot took more than {settings.start_seconds:g} s."
            ) from None
        except LinkLost:
            code = await forkserver.exit_code(self._pid, _EXIT_TIMEOUT) if self._pid else None
            await self.stop(has_ended=True)
            if forkserver.is_lost:
                raise
            kind = StartInterrupted if code in ENDED_FROM_OUTSIDE else ServiceUnavailable
            raise kind(
                self.key, f"Restoring its snapshot ended the process ({ending(code)})."
            ) from None
        except BaseException:
            await self.stop(at_once=True)
            raise
        if isinstance(answer, Refused):
            await self.stop()
            raise self._refusal(answer)
        if isinstance(answer, Prepared) and answer.stream:
            self.streams = (answer.stream,)
        self.began = monotonic()

    def is_of(self, forkserver: ForkserverClient) -> bool:
        """Whether this forkserver has forked it, and it was not stopped."""
        return bool(self._pid) and self._forkserver is forkserver

    def _refusal(self, answer: Refused) -> MlsvcServerError:
        if (fault := errno_fault(answer.errno)) is not None:
            return fault
        if answer.cause == "machine":
            return ServiceUnavailable(self.key, answer.message)
        kind = UnservableCode if answer.cause == "code" else UnservableSnapshot
        return kind(answer.message)

    async def try_once(self, body: bytes | None, settings: ScoringSettings) -> TrialOutcome:
        """Run the service once, in a process of its own that is gone afterwards.

        Parameters
        ----------
        body
            A request; None for what runs before each one.

        Raises
        ------
        UnservableCode
            The code that runs once in each worker fails, ends its process or does not end.
        LinkLost
            The process that this one stands for is gone.
        """
        trial = Trial(
            body=body,
            start_seconds=settings.start_seconds,
            seconds=settings.deadline_of(self.deadline_seconds) or settings.start_seconds,
        )
        pid, link = await self.link.fork(is_trial=True)
        is_late, report = False, None
        try:
            with link:
                async with asyncio.timeout(
                    trial.start_seconds + trial.seconds + _TRIAL_SPARE_SECONDS
                ):
                    await send_trial(link, trial)
                    report = await receive_report(link)
        except TimeoutError:
            is_late = True
        except (OSError, msgspec.MsgspecError):
            pass  # it has ended, or its code has written to the link
        finally:
            waits = 0 if is_late or report is not None else _TRIAL_EXIT_TIMEOUT
            code = await self.link.exit_code(pid, waits)
            if code is None:
                await self.link.kill(pid)
                await self.link.exit_code(pid, _EXIT_TIMEOUT)
            trace = await asyncio.to_thread(_taken, trace_path(self._work, pid))
        if report is not None:
            return outcome_of(report, trial)
        return outcome_of_end(self._definition.spec, trial, trace, code, is_late=is_late)

    async def stop(self, *, at_once: bool = False, has_ended: bool = False) -> None:
        """End it and its workers."""
        pid, self._pid = self._pid, 0
        if pid and self._forkserver is not None:
            await self.link.close()
        if pid and self._forkserver is not None and not has_ended:
            timeout = 0.0 if at_once else _EXIT_TIMEOUT
            self.exit_code = await self._forkserver.exit_code(pid, timeout)
            if self.exit_code is None:
                await self._forkserver.kill(pid)
                await self._forkserver.exit_code(pid, _EXIT_TIMEOUT)
        if self._output is not None:
            self._output.close()
        self._confinement.close_cgroup(self._cgroup)
        await asyncio.to_thread(shutil.rmtree, self._work, ignore_errors=True)

    def _lost(self) -> None:
        self.link_lost()

    def _ended(self, pid: int) -> None:
        self.child_ended(pid)

    def reply_buffer_of(self, pid: int) -> Path:
        """Give the file of a worker's answers that are not sent yet."""
        return reply_buffer_path(self._work, pid)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._pid

    def _make_folders(self) -> None:
        for folder in (self._work, self._own, self._temporary):
            folder.mkdir(mode=0o700, parents=True)
        seed_caches(self._own)
        hand_over(self._work, self._user)
        self._cgroup = self._confinement.open_cgroup(self._work.name)

    @property
    def _own(self) -> Path:
        return self._work / "own"

    @property
    def _temporary(self) -> Path:
        return self._work / "tmp"

    def _service(self, settings: ScoringSettings) -> Service:
        spec, content = self._definition.spec, self._definition.content
        blobs = []
        if content is not None:
            blobs = [content.blobs / each[:2] / each for each in content.manifest.digests]
        policy = self._confinement.policy(
            read=blobs,
            write=[self._work],
            program=settings.r_command,
            network=spec.network,
            read_only=spec.read_only,
            user=self._user,
            cgroup=self._cgroup,
        )
        return Service(
            spec=spec,
            manifest=None if content is None else content.manifest,
            blobs=None if content is None else str(content.blobs),
            stamps={} if content is None else dict(content.stamps),
            work=str(self._work),
            memory_limit=settings.memory_limit,
            console_limit=settings.console_limit,
            answer_limit=settings.answer_limit,
            lenient_json=settings.lenient_json,
            is_traced=settings.is_traced,
            r_command=settings.r_command,
            policy="" if policy is None else policy.encoded(),
            environment=own_places(os.environ, self._own, self._temporary)
            | dict(settings.environment),
        )


def _taken(path: Path) -> str:
    """Read a file and remove it."""
    try:
        text = path.read_text("utf-8", "replace")
        path.unlink()
    except OSError:
        return ""
    return text
