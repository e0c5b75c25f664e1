"""Which models share a process with others of the same person, and that process.

A model is *hosted* when it is called after it was not loaded. It leaves for workers of its own when

- it is *busy*: many calls a second, a call that is not answered at once, or long calls,
- its call came to anything else than a result or a refusal of its inputs,
- the host was lost while it had a call, which may have been the reason: for good then,
- it is no plain estimator of scikit-learn, which the host finds out on loading: for good.

A model with workers of its own that is not called for a while is unloaded; its next call finds it
in the host again. What is hosted never says more than workers of its own would: their answer counts
wherever there is doubt, so that nothing here needs to know what went wrong.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import Any, BinaryIO, Final
from weakref import WeakValueDictionary

import msgspec

from jupyter_mlsvc_server.formats.blobs import CheckedBlobs
from jupyter_mlsvc_server.formats.protocol import Service
from jupyter_mlsvc_server.formats.realtime import RUNTIME as REALTIME
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.scoring import process_memory
from jupyter_mlsvc_server.scoring.definition import ServiceDefinition
from jupyter_mlsvc_server.scoring.forkserver_client import NotStarted
from jupyter_mlsvc_server.scoring.forkservers import heavy_modules
from jupyter_mlsvc_server.scoring.settings import ScoringSettings
from jupyter_mlsvc_server.scoring.template import Template
from jupyter_mlsvc_server.scoring.template_process import TemplateProcess

MAX_MODEL_BYTES: Final = 2**25
"""Bytes of a model's file; what a larger one takes is mostly its own."""

MAX_MODELS: Final = 128
"""Models of a host; more would have more of them wait for each other, and be lost together."""

APART_SECONDS: Final = 60.0
"""How long a model has workers of its own before it may be hosted again."""

FOR_GOOD: Final = math.inf

_MAX_REMEMBERED: Final = 10_000
_LEAST_DEADLINE: Final = 5.0
"""Seconds; a call that may take less could be late for others in the host."""

_DROP_SECONDS: Final = 5.0
"""Seconds for a host to forget a model; one that takes longer is at a call that does not end."""

_MEASURED_SECONDS: Final = 5.0


class HostProcess(TemplateProcess):
    """A process that loads models and answers for them, in the place of a template."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gone: set[int] = set()
        """Models that were refused before their numbers were known."""
        self._measured = (-math.inf, 0)

    @property
    def has_room(self) -> bool:
        """Whether it can take another model."""
        return self.is_open and len(self._templates) < MAX_MODELS

    def template_of(self, definition: ServiceDefinition, settings: ScoringSettings) -> Template:
        """Serve a revision, until its template is stopped."""
        template = HostedTemplate(definition, self, settings)
        self._templates.add(template)
        return template

    async def fork(
        self, template: Template, spec: ServiceSpec, output: socket.socket, *, is_trial: bool
    ) -> tuple[int, socket.socket]:
        """Have a model loaded; the process id is a number that the host has given it."""
        assert isinstance(template, HostedTemplate)
        try:
            file = await asyncio.to_thread(template.open)
        except OSError as problem:
            raise NotStarted("The model's file can't be read.") from problem
        with file:
            number, link = await self.link.fork(output=file, spec=spec)
        if number not in self._gone:
            self._owners[number] = template
        self._gone.discard(number)
        return number, link

    async def leave(self, template: Template, *, at_once: bool) -> None:
        """Have a model forgotten; a process that does not do so in time is ended."""
        self._templates.discard(template)
        if not self._templates or self.link.is_lost:
            await self.stop(at_once=at_once)
            return
        for number in [number for number, owner in self._owners.items() if owner is template]:
            await self.link.kill(number)
            code = await self.link.exit_code(number, _DROP_SECONDS)
            if code is None and not self.link.is_lost:
                await self.stop(at_once=True)
                return

    def _ended(self, pid: int) -> None:
        if pid not in self._owners:
            self._gone.add(pid)
        super()._ended(pid)
        self.link.forget(pid)

    def memory_of(self, workers: Iterable[int]) -> int:
        """Measure what one model takes, in bytes: its part of the process."""
        at, size = self._measured
        if monotonic() - at > _MEASURED_SECONDS:
            size = process_memory.of_process(self.pid)
            self._measured = monotonic(), size
        return size // max(len(self._templates), 1)

    def _service(self, settings: ScoringSettings) -> Service:
        service = super()._service(settings)
        policy = self._confinement.policy(write=[self.work], user=self._user, cgroup=self._cgroup)
        return msgspec.structs.replace(
            service,
            manifest=None,
            blobs=None,
            stamps={},
            is_host=True,
            policy="" if policy is None else policy.encoded(),
        )


class HostedTemplate(Template):
    """Has a model loaded where others are."""

    def __init__(
        self, definition: ServiceDefinition, process: TemplateProcess, settings: ScoringSettings
    ) -> None:
        super().__init__(definition, process, settings)
        content = definition.content
        assert content is not None
        self._content = content

    def open(self) -> BinaryIO:
        """Open the model's file, once it is found whole.

        Raises
        ------
        OSError
            It is not.
        """
        (model,) = self._content.manifest.buffers
        blobs = self._content.blobs
        return CheckedBlobs(blobs.folder, blobs.stamps).path(model.digest).open("rb")


Start = Callable[[ServiceDefinition], Awaitable[HostProcess]]


class Hosting:
    """Decides which models are hosted, and has processes started for them.

    Parameters
    ----------
    start
        Starts a process for the models of the person whose definition this is.
    settings
        The operator's.
    is_possible
        Whether versions of one person may share processes here.
    """

    def __init__(self, start: Start, settings: ScoringSettings, *, is_possible: bool) -> None:
        self._start = start
        self._settings = settings
        self._is_possible = is_possible
        self._hosts: dict[str, list[HostProcess]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._apart: dict[str, float] = {}
        """Revisions that are not hosted, and until when."""

    def suits(self, definition: ServiceDefinition) -> bool:
        """Whether a version may be one that can be hosted."""
        spec, content, settings = definition.spec, definition.content, self._settings
        deadline = settings.deadline_of(spec.deadline_seconds)
        return (
            self._is_possible
            and not 0 < deadline < _LEAST_DEADLINE
            and settings.share_models
            and not settings.is_traced
            and settings.workers_min <= 1
            and spec.runtime_type == REALTIME
            and content is not None
            and definition.pool is None
            and spec.network
            and not spec.read_only
            and not content.manifest.files
            and len(content.manifest.buffers) == 1
            and content.manifest.buffers[0].size <= MAX_MODEL_BYTES
            and not heavy_modules(definition, settings.heavy_modules)
        )

    def may_host(self, definition: ServiceDefinition, now: float) -> bool:
        """Whether a version is to be hosted now."""
        return self.suits(definition) and not self.is_apart(definition.spec.revision_id, now)

    def is_apart(self, revision_id: str, now: float) -> bool:
        """Whether a revision is not to be hosted now."""
        return now < self._apart.get(revision_id, -math.inf)

    def keep_apart(self, revision_id: str, now: float, seconds: float = APART_SECONDS) -> None:
        """Give a revision workers of its own for so long, at least."""
        until = now + seconds
        self._apart[revision_id] = max(until, self._apart.pop(revision_id, -math.inf))
        if len(self._apart) > _MAX_REMEMBERED:
            del self._apart[next(iter(self._apart))]

    async def template(self, definition: ServiceDefinition) -> Template:
        """Give what loads a model in a host; the caller stops it."""
        owner = definition.owner_id
        async with self._locks.setdefault(owner, asyncio.Lock()):
            hosts = [each for each in self._hosts.get(owner, ()) if each.is_open]
            host = next((each for each in hosts if each.has_room), None)
            if host is None:
                host = await self._start(definition)
                hosts.append(host)
            self._hosts[owner] = hosts
            return host.template_of(definition, self._settings)
