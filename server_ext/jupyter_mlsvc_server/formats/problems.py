"""Problems because of which a service can't be served, in its publisher's words."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from jupyter_mlsvc_server.formats.manifest import ObjectEntry, missing_behind
from jupyter_mlsvc_server.formats.protocol import Service


class CodeProblem(Exception):
    """The publisher has to change the code; the message is for them."""


class SetupProblem(CodeProblem):
    """The code that runs once in each worker has failed; the message has its line and the rest."""


class SnapshotProblem(Exception):
    """The snapshot can't be restored; the message is a sentence."""


def refuse_missing(service: Service, lost: Mapping[str, str], names: Collection[str]) -> None:
    """Refuse code that needs what the snapshot has left out or could not bring back.

    Parameters
    ----------
    service
        What is to be published, with a snapshot.
    lost
        Names that could not be restored, with the reasons.
    names
        Names that the code looks up and does not set.

    Raises
    ------
    CodeProblem
        It needs such an object, directly or through functions that it calls.
    """
    assert service.manifest is not None
    rows = [
        ObjectEntry(name=row.name, type=row.type, kept=False, reason=lost[row.name], uses=row.uses)
        if row.name in lost
        else row
        for row in service.manifest.workspace.objects
    ]
    given = {parameter.name for parameter in service.spec.inputs}
    missing = missing_behind(names, (row for row in rows if row.name not in given))
    if missing:
        reasons = "\n".join(f"- {name} ({row.type}): {row.reason}" for name, row in missing.items())
        raise CodeProblem(f"The code needs what the snapshot does not hold:\n{reasons}")
