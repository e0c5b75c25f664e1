"""What a scoring engine needs to know of a service version."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from jupyter_mlsvc.wire.values import TABLE_TYPES
from jupyter_mlsvc_server.formats.blobs import LocalBlobs
from jupyter_mlsvc_server.formats.manifest import Manifest
from jupyter_mlsvc_server.formats.r_code import RUNTIME as R
from jupyter_mlsvc_server.formats.realtime import RUNTIME as REALTIME
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec

_WORD: Final = re.compile(r"\w+")


class Content(Protocol):
    """What a snapshot holds, and where."""

    @property
    def manifest(self) -> Manifest:
        """What it holds."""

    @property
    def blobs(self) -> LocalBlobs:
        """Its parts, which stay there as long as the definition of the version does."""


class DefinitionKey(NamedTuple):
    """Name and version of a service."""

    name: str
    version: str

    def __str__(self) -> str:
        """Write it as in a path."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True, slots=True)
class PoolSize:
    """How many workers of a service version are kept, and how many it may have when it is busy.

    With ``most`` 0 none is kept, and one is started for the requests that come.
    """

    initial: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDefinition:
    """A service version with what it takes to run it.

    Attributes
    ----------
    spec : ServiceSpec
        What was published.
    content : Content or None
        The snapshot's content; None without a snapshot.
    pool : PoolSize or None
        Size of its dedicated pool; None for the usual size.
    owner_id : str
        Account whose code it is.
    """

    spec: ServiceSpec
    content: Content | None
    pool: PoolSize | None = None
    owner_id: str = ""

    @property
    def key(self) -> DefinitionKey:
        """Name and version."""
        return DefinitionKey(self.spec.name, self.spec.version)

    def may_need(self, modules: Iterable[str]) -> bool:
        """Whether the code of the version, its snapshot or its parameters may use the modules."""
        spec = self.spec
        if spec.runtime_type == R:
            return False
        if self.content is not None or spec.runtime_type == REALTIME:
            return True
        if any(each.type in TABLE_TYPES for each in (*spec.inputs, *spec.outputs)):
            return True
        named = {word for part in spec.parts.values() for word in _WORD.findall(part)}
        return any(module.partition(".")[0] in named for module in modules)
