"""What is in a snapshot, or behind a version of a service."""

from __future__ import annotations

from typing import Final

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.wire import models


class ServiceContents:
    """What the snapshot behind a version of a service holds.

    Attributes
    ----------
    name, version : str
    size : int
        Bytes of all that it holds, as the server stores it.
    runtime_type, runtime_version : str
        Language, and the version that wrote it, which is empty where there is no snapshot.
    objects : list of SnapshotObject
        Each has ``name``, ``type``, ``size`` in bytes, ``kept``, and the ``reason`` where it was
        left out.
    files : list of SnapshotFile
        Each has ``path`` and ``size`` in bytes.
    skipped_files : list of SkippedFile
        Files that were left out: ``path`` and ``reason``.
    packages : dict
        Versions of the packages that were loaded, by name.
    """

    def __init__(self, body: models.ServiceContents) -> None:
        self.name = body.name
        self.version = body.version
        self.size = body.size
        self.runtime_type = body.runtime_type
        self.runtime_version = body.runtime_version
        self.objects = formatting.Listing(body.objects, _OBJECTS, "No objects.")
        self.files = formatting.Listing(body.files, _FILES, "No files.")
        self.skipped_files = formatting.Listing(body.skipped_files, _SKIPPED_FILES, "No files.")
        self.packages = body.packages

    def __repr__(self) -> str:
        return formatting.text_card(self._title(), self._rows())

    def _repr_html_(self) -> str:
        return formatting.html_card(self._title(), self._rows())

    def _title(self) -> str:
        return f"Contents of {self.name} {self.version}"

    def _rows(self) -> list[tuple[str, str]]:
        return [("size", formatting.size(self.size)), *_rows(self)]


class SnapshotContents:
    """What a snapshot holds.

    Attributes
    ----------
    id, name, owner, creation_time : str
    content_size : int
        Bytes of all that it holds.
    runtime_type, runtime_version : str
        Language, and the version that wrote it.
    objects : list of SnapshotObject
        Each has ``name``, ``type``, ``size`` in bytes, ``kept``, and the ``reason`` where it was
        left out.
    files : list of SnapshotFile
        Each has ``path`` and ``size`` in bytes.
    skipped_files : list of SkippedFile
        Files that were left out: ``path`` and ``reason``.
    services : list of NamedVersion
        The service versions that hold the same: ``name`` and ``version``.
    packages : dict
        Versions of the packages that were loaded, by name.
    """

    def __init__(self, body: models.SnapshotContents) -> None:
        self.id = body.id
        self.name = body.name
        self.owner = body.owner
        self.creation_time = body.creation_time
        self.content_size = body.content_size
        self.runtime_type = body.runtime_type
        self.runtime_version = body.runtime_version
        self.objects = formatting.Listing(body.objects, _OBJECTS, "No objects.")
        self.files = formatting.Listing(body.files, _FILES, "No files.")
        self.skipped_files = formatting.Listing(body.skipped_files, _SKIPPED_FILES, "No files.")
        self.services = formatting.Listing(body.services, _SERVICES, "No services.")
        self.packages = body.packages

    def __repr__(self) -> str:
        return formatting.text_card(self._title(), self._rows())

    def _repr_html_(self) -> str:
        return formatting.html_card(self._title(), self._rows())

    def _title(self) -> str:
        return f"Contents of snapshot {self.name!r}"

    def _rows(self) -> list[tuple[str, str]]:
        return [
            ("id", self.id),
            ("created", formatting.moment(self.creation_time)),
            ("size", formatting.size(self.content_size)),
            *_rows(self),
            ("services", ", ".join(f"{each.name} {each.version}" for each in self.services)),
        ]


def _rows(contents: ServiceContents | SnapshotContents) -> list[tuple[str, str]]:
    objects, files = contents.objects, contents.files
    left_out = [f"{each.name} ({each.type}): {each.reason}" for each in objects if not each.kept]
    left_out += [f"{each.path}: {each.reason}" for each in contents.skipped_files]
    return [
        ("runtime", f"{contents.runtime_type} {contents.runtime_version}"),
        ("objects", "\n".join(_object(each) for each in objects if each.kept)),
        ("files", "\n".join(f"{each.path}  {formatting.size(each.size)}" for each in files)),
        ("left out", "\n".join(left_out)),
    ]


def _object(row: models.SnapshotObject) -> str:
    return f"{row.name}  {row.type}  {formatting.size(row.size)}"


_OBJECTS: Final[tuple[formatting.Column, ...]] = (
    ("name", lambda row: row.name),
    ("type", lambda row: row.type),
    ("size", lambda row: formatting.size(row.size) if row.kept else ""),
    ("kept", lambda row: "yes" if row.kept else "no"),
    ("reason", lambda row: row.reason),
)
_FILES: Final[tuple[formatting.Column, ...]] = (
    ("path", lambda row: row.path),
    ("size", lambda row: formatting.size(row.size)),
)
_SKIPPED_FILES: Final[tuple[formatting.Column, ...]] = (
    ("path", lambda row: row.path),
    ("reason", lambda row: row.reason),
)
_SERVICES: Final[tuple[formatting.Column, ...]] = (
    ("name", lambda row: row.name),
    ("version", lambda row: row.version),
)
