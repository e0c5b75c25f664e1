"""What the server and the front say to each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from jupyter_mlsvc.wire.models import Isolation, ParameterDefinition
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.formats.manifest import Manifest
from jupyter_mlsvc_server.scoring.definition import PoolSize, ServiceDefinition


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base of what is asked or told."""


# --- from the server -------------------------------------------------------------------------


class Start(Message, frozen=True):
    """Get ready; the first question.

    Attributes
    ----------
    data_dir : str
        The server's data folder.
    settings : dict
        Those of the scoring engine.
    doors : tuple of int
        Descriptors of the public door's listening sockets, which the process has inherited.
    max_body_bytes : int
        Largest body of a request.
    cors_origins : tuple of str
        Origins whose pages may call.
    any_case_paths : bool
        Whether the path of a call may be written in any case, but for name and version.
    certfile, keyfile : str
        Files of the public door's certificate; empty for plain HTTP.
    log_level : int
        What is less important than this need not be told.
    """

    data_dir: str
    settings: dict[str, Any]
    doors: tuple[int, ...]
    max_body_bytes: int
    cors_origins: tuple[str, ...]
    any_case_paths: bool
    certfile: str
    keyfile: str
    log_level: int


class Open(Message, frozen=True):
    """Take connections at the public door."""


class Close(Message, frozen=True):
    """Take no more, and end those that there are."""


class Stop(Message, frozen=True):
    """End all processes; the last question."""


class ForgetTokens(Message, frozen=True):
    """Some token became invalid."""


class Content(msgspec.Struct, frozen=True):
    """What a snapshot holds, and where."""

    manifest: Manifest
    folder: str

    @property
    def blobs(self) -> Path:
        """Folder of the blobs."""
        return Path(self.folder)


class Definition(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A service definition on its way."""

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
    pool: PoolSize | None
    setup_code: str | None
    isolation: Isolation

    @classmethod
    def of(cls, definition: ServiceDefinition) -> Definition:
        """Pack it."""
        content = definition.content
        return cls(
            **{
                name: getattr(definition, name)
                for name in cls.__struct_fields__
                if name != "content"
            },
            content=None if content is None else Content(content.manifest, str(content.blobs)),
        )

    def unpacked(self) -> ServiceDefinition:
        """Unpack it."""
        return ServiceDefinition(**{name: getattr(self, name) for name in self.__struct_fields__})


class Check(Message, frozen=True):
    """As the engine's method, as are the following."""

    definition: Definition
    call: bytes | None


class Put(Message, frozen=True):
    """Answered when the revision is served."""

    definition: Definition


class Remove(Message, frozen=True):
    """Answered when the version is served no longer."""

    name: str
    version: str


class Reject(Message, frozen=True):
    """Count a call that was refused for how it was sent."""

    name: str
    version: str


class Resize(Message, frozen=True):
    """Told, not asked."""

    name: str
    version: str
    size: PoolSize | None


class HasSize(Message, frozen=True):
    """Answered with a boolean."""

    name: str
    version: str
    size: PoolSize


class Consume(Message, frozen=True):
    """Answered with a :class:`ScoringAnswer`."""

    name: str
    version: str
    body: bytes


class ConsumeMany(Message, frozen=True):
    """Answered with ``many.Outcomes``."""

    name: str
    version: str
    bodies: list[bytes]
    at_a_time: int


class Statistics(Message, frozen=True):
    """Answered with a dict."""


class Known(Message, frozen=True):
    """Answered with a list of keys."""


class AskFigures(Message, frozen=True):
    """Answered with figures."""

    name: str
    version: str
    with_history: bool


class MemoryOf(Message, frozen=True):
    """Answered with bytes."""

    name: str
    version: str


ToFront = (
    Start | Open | Close | Stop | ForgetTokens | Check | Put | Remove | Reject | Resize | HasSize
    | Consume | ConsumeMany | Statistics | Known | AskFigures | MemoryOf
)  # fmt: skip


# --- from the front --------------------------------------------------------------------------


class FindDefinition(Message, frozen=True):
    """Answered with a :class:`Definition`."""

    name: str
    version: str


class Verify(Message, frozen=True):
    """Whose token is this? Answered with :class:`Trusted`."""

    token: str


class Trusted(msgspec.Struct, frozen=True, array_like=True):
    """Who it is, and for how many seconds that may be remembered."""

    principal: Principal
    seconds: float


class Answered(Message, frozen=True):
    """A version has given an answer, the first one since its workers were started."""

    name: str
    version: str


class Logged(Message, frozen=True):
    """A line for the server's log."""

    level: int
    text: str


ToServer = FindDefinition | Verify | Answered | Logged
