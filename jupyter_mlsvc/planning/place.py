"""Where a service finds what the notebook does not give it: a session, a snapshot, or nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.client.snapshots import Snapshot
from jupyter_mlsvc.wire.models import InventoryObject


class Notebook(Protocol):
    """What the planner uses of a notebook; a program is one that has no current session."""

    @property
    def client(self) -> Client:
        """Client of the server."""

    @property
    def namespace(self) -> dict[str, Any]:
        """Namespace of the code, the globals of its functions."""

    def own_objects(self) -> dict[str, Any]:
        """Return the objects that its author made."""

    def existing(self) -> Session | None:
        """Return the current session, or the default one where the server has it."""

    def switch(self, name: str) -> Session:
        """Make an existing session the current one."""

    def explaining_lost_session(self, session: Session) -> AbstractContextManager[None]:
        """Say that the session has ended where that is why something was not found."""

    def waiting(self, what: str, *, quiet: bool = False) -> AbstractContextManager[object]:
        """Show for how long a block has been going on."""


class Place:
    """A session, a snapshot, or nothing, with what is known of its objects.

    Parameters
    ----------
    session, snapshot
        One of them, or neither.
    objects
        What is known of its objects by now, by name.
    compare
        Asks for objects with digests, by name; None where that is not possible.
    """

    def __init__(
        self,
        session: Session | None = None,
        snapshot: Snapshot | None = None,
        objects: dict[str, InventoryObject] | None = None,
        compare: Callable[[Iterable[str]], dict[str, InventoryObject]] | None = None,
    ) -> None:
        self.session = session
        self.snapshot = snapshot
        self.objects = objects or {}
        # The server knows why, and says so where code needs one of them.
        self.left_out: set[str] = set()
        self._compare = compare

    @classmethod
    def of_session(cls, notebook: Notebook, session: Session) -> Place:
        """Make the place of a session that is asked for what is needed."""

        def compare(names: Iterable[str]) -> dict[str, InventoryObject]:
            with notebook.explaining_lost_session(session):
                found = session.summary() if session.is_r else session.comparison(names)
            return {item.name: item for item in found.objects}

        return cls(session, compare=compare)

    @classmethod
    def of_snapshot(cls, snapshot: Snapshot) -> Place:
        """Make the place of a snapshot, with the objects that it kept."""
        contents = snapshot.contents().objects
        place = cls(
            snapshot=snapshot,
            objects={
                item.name: InventoryObject(name=item.name, type=item.type, size=item.size)
                for item in contents
                if item.kept
            },
        )
        place.left_out = {item.name for item in contents if not item.kept}
        return place

    @property
    def runtime(self) -> str | None:
        """Language of what is there; None where nothing is."""
        found = self.session or self.snapshot
        return None if found is None else found.runtime_type

    @property
    def label(self) -> str | None:
        """Name of the place in a sentence; None for nothing."""
        if self.session is not None:
            return f"session {self.session.name!r}"
        return None if self.snapshot is None else f"snapshot {self.snapshot.name!r}"

    def look(self, names: Iterable[str]) -> None:
        """Find out about some names; what was known of them before is replaced."""
        wanted = sorted(set(names))
        if self._compare is not None and wanted:
            self.objects = self.objects | self._compare(wanted)
