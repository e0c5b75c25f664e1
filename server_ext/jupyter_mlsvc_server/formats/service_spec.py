"""What a service version is made of, in the one shape that all processes carry."""

from __future__ import annotations

from typing import Literal

import msgspec

from jupyter_mlsvc.wire.models import Isolation, ParameterDefinition, ServiceExample
from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc_server.formats.realtime import CODE, RUNTIME

Part = Literal["setupCode", "initCode", "code"]
"""Code of a service, by its member of the contract."""


class ServiceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A revision of a service version; a change makes another one.

    Members are columns of ``service_revisions``, those that are tuples in JSON.

    Attributes
    ----------
    name, version : str
        Which service.
    revision_id : str
        Changes with every change of the others.
    runtime_type : str
        ``Python``, ``R`` or ``Realtime``.
    code, init_code, setup_code : str
        As published; :attr:`parts` tells what runs.
    inputs, outputs : tuple of ParameterDefinition
        Names and types.
    output_files : tuple of str
        Files of the working directory that are answered.
    isolation : str
        What a request may see of those before it.
    effects : bool
        Whether a call may change what is elsewhere, so that it must not run twice.
    network : bool
        Whether it may use the network, where the server lets code do that.
    read_only : bool
        Whether its code may write temporary files only, and those that it answers.
    keep_bodies : bool
        Whether the newest calls are kept with their inputs and answers, for the publisher.
    concurrency : int
        Calls that a worker runs at a time.
    deadline_seconds : float
        Seconds that a call may take; 0 for as many as the server allows.
    description : str
        What is said about it.
    operation_id : str or None
        Its alias for clients.
    tags : tuple of str
        Words to find it by.
    examples : tuple of ServiceExample
        Calls with their answers, for callers to look at.
    snapshot_id, content_id : str or None
        The snapshot that was named, and what that holds; None without one.
    """

    name: ServiceName
    version: Version
    revision_id: str
    runtime_type: str = "Python"
    code: str = ""
    init_code: str | None = None
    setup_code: str | None = None
    inputs: tuple[ParameterDefinition, ...] = ()
    outputs: tuple[ParameterDefinition, ...] = ()
    output_files: tuple[str, ...] = ()
    isolation: Isolation = "worker"
    effects: bool = False
    network: bool = True
    read_only: bool = False
    keep_bodies: bool = False
    concurrency: int = 1
    deadline_seconds: float = 0.0
    description: str = ""
    operation_id: str | None = None
    tags: tuple[str, ...] = ()
    examples: tuple[ServiceExample, ...] = ()
    snapshot_id: str | None = None
    content_id: str | None = None

    @property
    def label(self) -> str:
        """Name and version, as in a path."""
        return f"{self.name}/{self.version}"

    @property
    def parts(self) -> dict[Part, str]:
        """The code that runs, in this order; an empty text where there is none."""
        return {
            "setupCode": self.setup_code or "",
            "initCode": self.init_code or "",
            "code": CODE if self.runtime_type == RUNTIME else self.code,
        }

    def file_name(self, part: Part) -> str:
        """Name the file that a part is from in tracebacks."""
        return f"<{self.label}>" if part == "code" else f"<{self.label} {part}>"

    def without_code(self) -> ServiceSpec:
        """Leave only what runs before the code, with nothing to take and nothing to answer."""
        return msgspec.structs.replace(self, code="", inputs=(), outputs=(), output_files=())
