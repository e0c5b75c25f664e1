"""Which revisions have their workers forked from one template process.

A template restores a snapshot and knows nothing of the code that will use it. So revisions share
one where nothing that happens before the fork of a worker tells them apart: whose they are, what
they may reach, and what is restored. Two people never share one. Nor is one shared where

- code sees or counts the processes beside it, in namespaces or groups of its own: it would see
  those of other versions, and take from their limits;
- the service is in R: its template has nothing but its code;
- the snapshot has very many blobs: keeping the workers of each revision to its own folder takes a
  rule for every one of them at each start.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple
from weakref import WeakSet, WeakValueDictionary

import msgspec

from jupyter_mlsvc_server.formats.manifest import Manifest
from jupyter_mlsvc_server.formats.r_code import RUNTIME as R
from jupyter_mlsvc_server.scoring.definition import ServiceDefinition
from jupyter_mlsvc_server.scoring.settings import ScoringSettings
from jupyter_mlsvc_server.scoring.template import Template
from jupyter_mlsvc_server.scoring.template_process import TemplateProcess

_MAX_BLOBS: Final = 256
"""Blobs of a snapshot whose template is shared."""

_DOTTED: Final = re.compile(r"\w+(?:\.\w+)*")

Start = Callable[[ServiceDefinition, bool], Awaitable[TemplateProcess]]
"""Starts a process for a definition, with whether others may share it."""


class TemplateKey(NamedTuple):
    """What revisions with one template have in common.

    Attributes
    ----------
    owner_id
        Whose they are.
    network, read_only
        What they may reach.
    runtime_type
        What restores the snapshot.
    needs_libraries
        Whether the template is forked from a process that has imported the usual libraries.
    modules
        Modules among the snapshot's files that the code may import.
    content
        Digest of the manifest; empty without a snapshot.
    """

    owner_id: str
    network: bool
    read_only: bool
    runtime_type: str
    needs_libraries: bool
    modules: frozenset[str]
    content: bytes


def template_key(definition: ServiceDefinition, preload: Iterable[str]) -> TemplateKey | None:
    """Give what a revision shares its template by; None where it has one of its own."""
    spec, content = definition.spec, definition.content
    manifest = None if content is None else content.manifest
    if spec.runtime_type == R or (manifest is not None and len(manifest.digests) > _MAX_BLOBS):
        return None
    return TemplateKey(
        owner_id=definition.owner_id,
        network=spec.network,
        read_only=spec.read_only,
        runtime_type=spec.runtime_type,
        needs_libraries=definition.may_need(preload),
        modules=_own_modules(definition, manifest),
        content=b"" if manifest is None else _digest(manifest),
    )


def _own_modules(definition: ServiceDefinition, manifest: Manifest | None) -> frozenset[str]:
    """Name the modules among the files that the code may import."""
    files = () if manifest is None else manifest.files
    own = {file.path.partition("/")[0].removesuffix(".py") for file in files}
    named = {name for part in definition.spec.parts.values() for name in _DOTTED.findall(part)}
    return frozenset(name for name in named if name.partition(".")[0] in own)


def _digest(manifest: Manifest) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(manifest)).digest()


class SharedTemplates:
    """Has a template process started for the first revision that needs it.

    Parameters
    ----------
    start
        Starts a process.
    settings
        The operator's.
    may_join
        Whether further revisions may use a process.
    is_sharing
        Whether revisions share processes at all.
    """

    def __init__(
        self,
        start: Start,
        settings: ScoringSettings,
        may_join: Callable[[TemplateProcess], bool],
        *,
        is_sharing: bool,
    ) -> None:
        self._start = start
        self._settings = settings
        self._may_join = may_join
        self._is_sharing = is_sharing
        self._shared: WeakValueDictionary[TemplateKey, TemplateProcess] = WeakValueDictionary()
        self._locks: WeakValueDictionary[TemplateKey, asyncio.Lock] = WeakValueDictionary()
        self.processes: WeakSet[TemplateProcess] = WeakSet()
        """All that have been started and may still be there."""

    async def template(self, definition: ServiceDefinition) -> Template:
        """Give the template of a revision; the caller stops it."""
        key = None
        if self._is_sharing:
            key = await asyncio.to_thread(template_key, definition, self._settings.preload)
        if key is None:
            process = await self._started(definition, is_shared=False)
            return process.template_of(definition, self._settings)
        async with self._locks.setdefault(key, asyncio.Lock()):
            shared = self._shared.get(key)
            if shared is None or not (shared.is_open and self._may_join(shared)):
                shared = self._shared[key] = await self._started(definition, is_shared=True)
            return shared.template_of(definition, self._settings)

    async def _started(self, definition: ServiceDefinition, *, is_shared: bool) -> TemplateProcess:
        process = await self._start(definition, is_shared)
        self.processes.add(process)
        return process
