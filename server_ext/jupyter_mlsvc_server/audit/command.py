"""Records of what somebody did at the command line."""

from __future__ import annotations

import getpass

from jupyter_mlsvc_server.audit.log import AuditLog
from jupyter_mlsvc_server.audit.record import AuditRecord, Result
from jupyter_mlsvc_server.storage.cli import DataFolderCommand


def note_command(command: DataFolderCommand, what_to: str, result: Result) -> None:
    """Say in the audit log what a command did, and to what."""
    record = AuditRecord(
        operation=command.name.removeprefix("jupyter-mlsvc-").replace("-", " "),
        object=what_to,
        who=getpass.getuser(),
        by="command",
        result=result,
    )
    try:
        AuditLog(data_dir=command.folder, parent=command).write(record)
    except OSError as error:
        command.log.warning("the audit log cannot be written: %s", error.strerror)
