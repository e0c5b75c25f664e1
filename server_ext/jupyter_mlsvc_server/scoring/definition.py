"""What a scoring engine needs to know of a service version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from jupyter_mlsvc.wire.models import Isolation, ParameterDefinition
from jupyter_mlsvc_server.formats.manifest import Manifest


class Content(Protocol):
    """What a snapshot holds, and where."""

    @property
    def manifest(self) -> Manifest:
        """What it holds."""

    @property
    def blobs(self) -> Path:
        """Folder of the blobs; that of digest ``abcd…`` is ``ab/abcd…`` in it."""


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
    """A revision of a service version.

    Attributes
    ----------
    name, version : str
        Which service.
    revision_id : str
        Changes with every change of the others.
    runtime_type : str
        ``Python``, ``R`` or ``Realtime``.
    code, init_code : str
        What runs for each request, ``init_code`` first.
    inputs, outputs : tuple of ParameterDefinition
        Names and types.
    output_files : tuple of str
        Files of the working directory that are answered.
    content : Content or None
        The snapshot's content; None without a snapshot.
    pool : PoolSize or None
        Size of its dedicated pool; None for the usual size.
    setup_code : str or None
        What runs once in each worker, before its first request.
    isolation : str
        What a request may see of those before it.
    """

    name: str
    version: str
    revision_id: str
    runtime_type: str
    code: str
    init_code: str | None
    inputs: tuple[ParameterDefinition, ...]
    outputs: tuple[ParameterDefinition, ...]
    output_files: tuple[str, ...]
    content: Content | None
    pool: PoolSize | None = None
    setup_code: str | None = None
    isolation: Isolation = "worker"

    @property
    def key(self) -> DefinitionKey:
        """Name and version."""
        return DefinitionKey(self.name, self.version)
