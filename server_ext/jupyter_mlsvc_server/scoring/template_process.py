"""The server's view of a template process: what was restored once for one or more revisions."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Final

from jupyter_mlsvc_server.confinement import Confinement, hand_over, own_places, seed_caches
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.formats.child_output import ChildOutput
from jupyter_mlsvc_server.formats.protocol import (
    ENDED_FROM_OUTSIDE,
    OWN_FOLDER,
    TEMPORARY_FOLDER,
    Preloaded,
    Prepare,
    Prepared,
    Refused,
    Service,
)
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.scoring import process_memory
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
from jupyter_mlsvc_server.scoring.template import Template
from jupyter_mlsvc_server.storage.machine_faults import errno_fault

_EXIT_TIMEOUT: Final = 5.0
"""Seconds for a template to end its workers and itself."""


class TemplateProcess:
    """A process from which the workers of one or more revisions are forked.

    It ends when the last of these is stopped.

    Parameters
    ----------
    definition
        The first revision that it is for.
    work
        A folder of its own for working directories; removed with it.
    confinement
        What it may reach.
    user
        The user that it runs as; 0 for the server's own.
    is_shared
        Whether it may serve other revisions, too.
    """

    def __init__(
        self,
        definition: ServiceDefinition,
        work: Path,
        confinement: Confinement,
        user: int = 0,
        *,
        is_shared: bool = False,
    ) -> None:
        self.key: DefinitionKey = definition.key
        self.work = work
        self.is_shared = is_shared
        self.began = 0.0
        """When it was ready, by the monotonic clock."""
        self.exit_code: int | None = None
        """How it ended, where that is known."""
        self.definition = definition
        self._confinement = confinement
        self._user = user
        self._cgroup = ""
        self._pid = 0
        self._restores_in_workers = False
        self._forkserver: ForkserverClient | None = None
        self._output: ChildOutput | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._templates: set[Template] = set()
        self._owners: dict[int, Template] = {}
        """Which template a worker is of, by process id."""

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
        spec = self.definition.spec
        if why := self._confinement.refusal(network=spec.network, read_only=spec.read_only):
            raise UnservableCode(why)
        self._forkserver = forkserver
        answer = await self._first_answer(forkserver, settings)
        if isinstance(answer, Prepared) and answer.has_threads:
            settings.log.info(
                "restoring the snapshot of %s starts threads, so each worker does it for itself",
                spec.label,
            )
            await self._end(forkserver)
            self._restores_in_workers, self.exit_code = True, None
            answer = await self._first_answer(forkserver, settings)
        if isinstance(answer, Refused):
            await self.stop()
            raise self._refusal(answer)
        self.began = monotonic()

    async def _first_answer(
        self, forkserver: ForkserverClient, settings: ScoringSettings
    ) -> Preloaded | Prepared | Refused:
        await asyncio.to_thread(self._make_folders)
        output = ChildOutput(settings.log, f"service {self.definition.spec.label}")
        self._output = output
        try:
            self._pid, link = await forkserver.fork(output=output.theirs)
            output.started()
            self.link = ForkserverClient(link, self._lost, self._ended)
            service = await asyncio.to_thread(self._service, settings)
            await self.link.prepare(Prepare(service))
            async with asyncio.timeout(settings.start_seconds):
                return await self.link.first()
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

    # --- its revisions -----------------------------------------------------------------------

    def template_of(self, definition: ServiceDefinition, settings: ScoringSettings) -> Template:
        """Serve a revision, until its template is stopped."""
        template = Template(definition, self, settings)
        self._templates.add(template)
        return template

    @property
    def is_open(self) -> bool:
        """Whether it can serve further revisions."""
        return self._stopping is None and not self.link.is_lost

    async def fork(
        self, template: Template, spec: ServiceSpec, output: socket.socket, *, is_trial: bool
    ) -> tuple[int, socket.socket]:
        """Have a worker forked, as :meth:`ForkserverClient.fork` does."""
        pid, link = await self.link.fork(
            is_trial=is_trial, output=output, spec=spec, folder=template.folder
        )
        if not self.link.has_ended(pid):
            self._owners[pid] = template
        return pid, link

    async def leave(self, template: Template, *, at_once: bool) -> None:
        """Serve a revision no longer: end its workers, or the process where it was the last."""
        self._templates.discard(template)
        if not self._templates or self.link.is_lost:
            await self.stop(at_once=at_once)
            return
        pids = [pid for pid, owner in self._owners.items() if owner is template]
        for pid in pids:
            await self.link.kill(pid)
        for pid in pids:
            await self.link.exit_code(pid, _EXIT_TIMEOUT)
            self._owners.pop(pid, None)
        await asyncio.to_thread(shutil.rmtree, self.work / template.folder, ignore_errors=True)

    def memory_of(self, workers: Iterable[int]) -> int:
        """Measure what one revision with these workers takes, in bytes."""
        if not self.is_shared:
            return process_memory.of_tree(self._pid)
        own = process_memory.of_process(self._pid) // max(len(self._templates), 1)
        return own + sum(map(process_memory.of_tree, workers))

    # --- its end -----------------------------------------------------------------------------

    async def stop(self, *, at_once: bool = False, has_ended: bool = False) -> None:
        """End it and its workers; once, however many wait for it."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(at_once=at_once, has_ended=has_ended))
        await asyncio.shield(self._stopping)

    async def _stop(self, *, at_once: bool, has_ended: bool) -> None:
        if self._forkserver is not None:
            await self._end(self._forkserver, at_once=at_once, has_ended=has_ended)

    async def _end(
        self, forkserver: ForkserverClient, *, at_once: bool = False, has_ended: bool = False
    ) -> None:
        """End the process that there is, and leave nothing of it."""
        pid, self._pid = self._pid, 0
        if pid:
            await self.link.close()
        if pid and not has_ended:
            timeout = 0.0 if at_once else _EXIT_TIMEOUT
            self.exit_code = await forkserver.exit_code(pid, timeout)
            if self.exit_code is None:
                await forkserver.kill(pid)
                await forkserver.exit_code(pid, _EXIT_TIMEOUT)
        if self._output is not None:
            self._output.close()
        self._confinement.close_cgroup(self._cgroup)
        await asyncio.to_thread(shutil.rmtree, self.work, ignore_errors=True)

    def _lost(self) -> None:
        for template in [*self._templates]:
            template.link_lost()

    def _ended(self, pid: int) -> None:
        owner = self._owners.pop(pid, None)
        if owner is not None:
            owner.child_ended(pid)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._pid

    def _make_folders(self) -> None:
        for folder in (self.work, self._own, self._temporary):
            folder.mkdir(mode=0o700, parents=True)
        seed_caches(self._own)
        hand_over(self.work, self._user)
        self._cgroup = self._confinement.open_cgroup(self.work.name)

    @property
    def _own(self) -> Path:
        return self.work / OWN_FOLDER

    @property
    def _temporary(self) -> Path:
        return self.work / TEMPORARY_FOLDER

    def _service(self, settings: ScoringSettings) -> Service:
        spec, content = self.definition.spec, self.definition.content
        blobs = []
        if content is not None:
            blobs = [content.blobs.path(each) for each in content.manifest.digests]
        policy = self._confinement.policy(
            read=blobs,
            write=[self.work],
            program=settings.r_command,
            network=spec.network,
            read_only=spec.read_only,
            user=self._user,
            cgroup=self._cgroup,
        )
        return Service(
            spec=spec,
            manifest=None if content is None else content.manifest,
            blobs=None if content is None else str(content.blobs.folder),
            stamps={} if content is None else dict(content.blobs.stamps),
            work=str(self.work),
            memory_limit=settings.memory_limit,
            console_limit=settings.console_limit,
            answer_limit=settings.answer_limit,
            lenient_json=settings.lenient_json,
            is_shared=self.is_shared,
            threads=settings.threads,
            restores_in_workers=self._restores_in_workers,
            is_traced=settings.is_traced,
            r_command=settings.r_command,
            policy="" if policy is None else policy.encoded(),
            environment=own_places(os.environ, self._own, self._temporary)
            | dict(settings.environment),
        )
