"""Versions that ask to write nothing but what they must."""

from __future__ import annotations

from pathlib import Path

from jupyter_mlsvc_server.formats.confine import Policy, keep_from_writing
from jupyter_mlsvc_server.formats.protocol import Service
from jupyter_mlsvc_server.worker.scratch import ScratchDir


def write_nothing_else(service: Service, scratch: ScratchDir, temporary: Path) -> None:
    """Keep this worker from all files but temporary ones, where the version asks for it.

    The working directory stays open where the version answers files.

    Raises
    ------
    OSError
        That failed; the process must not run the code of others.
    """
    if not service.spec.read_only:
        return
    written = [temporary]
    if service.spec.output_files:
        written += scratch.own_folders()
    keep_from_writing(Policy.decoded(service.policy), map(str, written))
