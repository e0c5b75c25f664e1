"""``%mlsvc attach``: the output of code that runs in a session, from another notebook as well."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from jupyter_mlsvc.client.formatting import line, moment
from jupyter_mlsvc.errors import MlsvcError
from jupyter_mlsvc.magics.command import Command
from jupyter_mlsvc.magics.connection import MlsvcConnection

if TYPE_CHECKING:
    from jupyter_mlsvc.client.events import AnyEvent
    from jupyter_mlsvc.client.session import Session
    from jupyter_mlsvc.display import RemoteValue
    from jupyter_mlsvc.wire.models import Execution

_MAX_CODE: Final = 60


def _attach(connection: MlsvcConnection, arguments: argparse.Namespace) -> RemoteValue | None:
    from jupyter_mlsvc.display import CellOutput

    session = connection.chosen(arguments.session)
    with connection.explaining_lost_session(session):
        execution = _chosen(session, session.executions(), arguments.execution)
        print(_about(session, execution))
        output = CellOutput()
        waiting = connection.waiting(f"Running in session {session.name!r}")

        def on_event(event: AnyEvent) -> None:
            waiting.heard()
            output(event)

        with waiting:
            session.attach(execution.execution_id, on_event=on_event)
    return output.value


def _chosen(session: Session, executions: Sequence[Execution], wanted: str | None) -> Execution:
    """Return the execution that is named, or what runs, else what is next, else what ran last."""
    if wanted is not None:
        found = [each for each in executions if each.execution_id == wanted]
        if not found:
            raise MlsvcError(
                f"Session {session.name!r} has no execution {wanted!r} (any more). Without "
                "--execution it is what runs, else what ran last."
            )
        return found[0]
    for state in ("running", "queued"):
        for each in executions:
            if each.state == state:
                return each
    if not executions:
        raise MlsvcError(f"Session {session.name!r} runs nothing, and keeps nothing that it ran.")
    return executions[-1]


def _about(session: Session, execution: Execution) -> str:
    code = line(execution.code)
    shown = code if len(code) <= _MAX_CODE else f"{code[: _MAX_CODE - 1]}…"
    match execution.state:
        case "running":
            since = moment(execution.start_time)
            return (
                f"Session {session.name!r} has been running since {since}: {shown}\n"
                "Interrupting this cell leaves it, and the code runs on."
            )
        case "queued":
            return f"This waits in session {session.name!r} for what runs before it: {shown}"
        case _:
            end = moment(execution.end_time)
            return f"Session {session.name!r} ran this until {end} ({execution.state}): {shown}"


ATTACH_COMMAND: Final = Command(
    "attach [SESSION] [--execution ID]",
    "output of what a session runs, or ran last, from its beginning on; leaving stops nothing",
    _attach,
    (
        (("session",), {"nargs": "?"}),
        (("--execution",), {}),
    ),
)
