"""The server's view of what the workers of one revision of a service are forked from."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from jupyter_mlsvc_server.formats.child_output import ChildOutput
from jupyter_mlsvc_server.formats.protocol import Trial
from jupyter_mlsvc_server.formats.reply_buffer import reply_buffer_path
from jupyter_mlsvc_server.formats.trial import trace_path
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, ServiceDefinition
from jupyter_mlsvc_server.scoring.forkserver_client import ForkserverClient, LinkLost
from jupyter_mlsvc_server.scoring.settings import ScoringSettings
from jupyter_mlsvc_server.scoring.trial import (
    TrialOutcome,
    outcome_of,
    outcome_of_end,
    receive_report,
    send_trial,
)

if TYPE_CHECKING:
    from jupyter_mlsvc_server.scoring.template_process import TemplateProcess

_EXIT_TIMEOUT: Final = 5.0
"""Seconds for a trial to end once it was killed."""

_TRIAL_EXIT_TIMEOUT: Final = 2.0
"""Seconds to wait for word of how a trial ended that gave no report."""

_TRIAL_SPARE_SECONDS: Final = 5.0
"""Seconds until a trial is ended from here that does not end itself in its time."""


class Template:
    """Forks the workers of one revision from a process that others may use, too.

    Parameters
    ----------
    definition
        What it serves.
    process
        The process.
    settings
        Numbers and times, and the log for what workers write.
    """

    def __init__(
        self, definition: ServiceDefinition, process: TemplateProcess, settings: ScoringSettings
    ) -> None:
        self.key: DefinitionKey = definition.key
        self.revision_id = definition.spec.revision_id
        self.runtime_type = definition.spec.runtime_type
        self.has_effects = definition.spec.effects
        self.deadline_seconds = definition.spec.deadline_seconds
        self.process = process
        self.folder = uuid.uuid4().hex if process.is_shared else ""
        """Where the files of its workers are, below those of the process."""
        self.link_lost: Callable[[], None] = lambda: None
        """Called when the process is gone."""
        self.child_ended: Callable[[int], None] = lambda _pid: None
        """Called with the process id when a worker has ended."""
        # What is said about a service would only make each message longer.
        self._spec = msgspec.structs.replace(definition.spec, description="", examples=(), tags=())
        self._output = ChildOutput(settings.log, f"service {definition.spec.label}")
        self._is_stopped = False

    async def fork(self, *, is_trial: bool = False) -> tuple[int, socket.socket]:
        """Have a worker forked; gives its process id and our end of its link.

        Raises
        ------
        LinkLost
            The process is gone.
        """
        return await self.process.fork(self, self._spec, self._output.theirs, is_trial=is_trial)

    async def try_once(
        self, body: bytes | None, settings: ScoringSettings, *, only_compiles: bool = False
    ) -> TrialOutcome:
        """Run the service once, in a process of its own that is gone afterwards.

        Parameters
        ----------
        body
            A request; None for what runs before each one.
        settings
            Numbers and times.
        only_compiles
            Whether nothing is run.

        Raises
        ------
        UnservableCode
            It is no code, needs what the snapshot does not hold, or the part that runs once in each
            worker fails, ends its process or does not end.
        LinkLost
            The process that this one stands for is gone.
        """
        trial = Trial(
            body=body,
            start_seconds=settings.start_seconds,
            seconds=settings.deadline_of(self.deadline_seconds) or settings.start_seconds,
            only_compiles=only_compiles,
        )
        pid, link = await self.fork(is_trial=True)
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
            return msgspec.structs.replace(outcome_of(report, trial), streams=report.streams)
        if code is None and self.link.is_lost:
            raise LinkLost  # the trial has ended with it, which says nothing of the code
        return outcome_of_end(self._spec, trial, trace, code, is_late=is_late)

    async def stop(self, *, at_once: bool = False) -> None:
        """End its workers, and the process unless others use it."""
        if self._is_stopped:
            return
        self._is_stopped = True
        await self.process.leave(self, at_once=at_once)
        self._output.close()

    def reply_buffer_of(self, pid: int) -> Path:
        """Give the file of a worker's answers that are not sent yet."""
        return reply_buffer_path(self._work, pid)

    @property
    def link(self) -> ForkserverClient:
        """The control link to the process."""
        return self.process.link

    @property
    def began(self) -> float:
        """When the process was ready, by the monotonic clock."""
        return self.process.began

    @property
    def exit_code(self) -> int | None:
        """How the process ended, where that is known."""
        return self.process.exit_code

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self.process.pid

    @property
    def _work(self) -> Path:
        return self.process.work / self.folder


def _taken(path: Path) -> str:
    """Read a file and remove it."""
    try:
        text = path.read_text("utf-8", "replace")
        path.unlink()
    except OSError:
        return ""
    return text
