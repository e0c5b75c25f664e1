"""Subcommands of ``%mlsvc`` for what a session holds: objects, files, code, and snapshots of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from IPython.core.error import UsageError

from jupyter_mlsvc.client.formatting import size
from jupyter_mlsvc.errors import MlsvcError
from jupyter_mlsvc.magics.command import MAYBE_NAME, NAME, SESSION, Argument, Command
from jupyter_mlsvc.magics.connection import MlsvcConnection
from jupyter_mlsvc.magics.options import csv_files, csv_names
from jupyter_mlsvc.wire.names import InvalidName, file_name

if TYPE_CHECKING:
    from jupyter_mlsvc.client.differences import WorkspaceDiff
    from jupyter_mlsvc.client.formatting import Column, Listing
    from jupyter_mlsvc.client.session import Session
    from jupyter_mlsvc.client.snapshots import Snapshot
    from jupyter_mlsvc.display import CodeList, ConsoleText
    from jupyter_mlsvc.object_transfer import Moved

# --- objects ---------------------------------------------------------------------------------


def _put(connection: MlsvcConnection, arguments: argparse.Namespace) -> Listing[Moved]:
    from jupyter_mlsvc.client.formatting import Listing
    from jupyter_mlsvc.object_transfer import send

    namespace = connection.namespace
    names = _variables(arguments.names)
    for name in names:
        if name not in namespace:
            raise UsageError(f"There is no variable {name!r} here to send.")
    session = connection.session(arguments.session)
    with connection.explaining_lost_session(session):
        moved = [send(session, name, namespace[name], namespace) for name in names]
    return Listing(moved, _MOVED, "")


def _get(connection: MlsvcConnection, arguments: argparse.Namespace) -> Listing[Moved]:
    from jupyter_mlsvc.client.formatting import Listing
    from jupyter_mlsvc.object_transfer import fetch

    names = _variables(arguments.names)
    session = connection.chosen(arguments.session)
    with connection.explaining_lost_session(session):
        found = [
            fetch(
                session,
                name,
                connection.namespace,
                f"There is no {name!r} in session {session.name!r}.",
            )
            for name in names
        ]
    # All or none: half of what was asked for is easily taken for the whole.
    connection.namespace.update({moved.name: value for value, moved in found})
    return Listing((moved for _, moved in found), _MOVED, "")


def _variables(words: Sequence[str]) -> list[str]:
    try:
        return csv_names(",".join(words))
    except argparse.ArgumentTypeError as error:
        raise UsageError(str(error)) from None


def _diff(connection: MlsvcConnection, arguments: argparse.Namespace) -> WorkspaceDiff:
    session = connection.chosen(arguments.session)
    what = f"Comparing with session {session.name!r}"
    with connection.explaining_lost_session(session), connection.waiting(what):
        return session.diff(connection.own_objects())


# --- files -----------------------------------------------------------------------------------


def _upload(connection: MlsvcConnection, arguments: argparse.Namespace) -> Listing[Path]:
    from jupyter_mlsvc.client.formatting import Listing
    from jupyter_mlsvc.display import TransferBar

    paths = _local_files(arguments.files)
    session = connection.session(arguments.session)
    with connection.explaining_lost_session(session):
        for path in paths:
            with TransferBar(path.name) as bar:
                session.upload_file(path, progress=bar)
    return Listing(paths, _LOCAL_FILES, "")


def _download(connection: MlsvcConnection, arguments: argparse.Namespace) -> Listing[Path]:
    from jupyter_mlsvc.client.formatting import Listing

    names = [_checked_file_name(name) for name in arguments.files]
    session = connection.chosen(arguments.session)
    to = Path(arguments.to or ".").expanduser()
    into_folder = to.is_dir() or len(names) > 1 or str(arguments.to).endswith("/")
    if into_folder:
        to.mkdir(parents=True, exist_ok=True)
    with connection.explaining_lost_session(session):
        paths = [_save(session, name, to / name if into_folder else to) for name in names]
    return Listing(paths, _LOCAL_FILES, "")


def _save(session: Session, name: str, path: Path) -> Path:
    from jupyter_mlsvc.display import TransferBar

    with TransferBar(name) as bar:
        return session.save_file(name, path, bar)


def _checked_file_name(name: str) -> str:
    try:
        return file_name(name)
    except InvalidName as error:
        raise UsageError(str(error)) from None


def _local_files(words: Iterable[str]) -> list[Path]:
    """Find local files by names and patterns."""
    found: list[Path] = []
    for word in words:
        path = Path(word).expanduser()
        matches = [path] if path.exists() else sorted(path.parent.glob(path.name))
        if not matches:
            raise UsageError(f"There is no file {word!r} here.")
        found += matches
    for path in found:
        if not path.is_file():
            raise UsageError(f"{str(path)!r} is no file; only files can be uploaded.")
    if len({path.name for path in found}) < len(found):
        raise UsageError("Two of the files have the same name.")
    return found


def _files(connection: MlsvcConnection, arguments: argparse.Namespace) -> Listing[str]:
    from jupyter_mlsvc.client.formatting import Listing

    session = connection.chosen(arguments.session)
    with connection.explaining_lost_session(session):
        for name in arguments.delete or ():
            session.delete_file(name)
        names = session.list_files()
    return Listing(names, _FILES, f"No files in session {session.name!r}.")


# --- code and what it printed ----------------------------------------------------------------


def _history(connection: MlsvcConnection, arguments: argparse.Namespace) -> CodeList:
    from jupyter_mlsvc.display import CodeList

    session = connection.chosen(arguments.session)
    with connection.explaining_lost_session(session):
        # Values that were only set, as by put in R, are executions without code.
        return CodeList(filter(str.strip, session.history()))


def _console(connection: MlsvcConnection, arguments: argparse.Namespace) -> ConsoleText:
    from jupyter_mlsvc.display import ConsoleText

    session = connection.chosen(arguments.session)
    with connection.explaining_lost_session(session):
        return ConsoleText(session.console_output())


# --- snapshots -------------------------------------------------------------------------------


def _snapshot(
    connection: MlsvcConnection, arguments: argparse.Namespace
) -> Snapshot | Listing[Path] | None:
    from jupyter_mlsvc.client.formatting import Listing
    from jupyter_mlsvc.display import TransferBar

    ways = [arguments.upload is not None, arguments.download is not None, arguments.delete]
    if sum(ways) > 1:
        raise UsageError("Give --upload, --download or --delete, not several of them.")
    if arguments.upload is not None:
        path = _local_files([arguments.upload])[0]
        with TransferBar(path.name) as bar:
            return connection.client.snapshots.upload(path, arguments.name, bar)
    if any(ways) and arguments.name is None:
        raise UsageError("Which snapshot? Give its name or id.")
    if arguments.download is not None:
        return Listing([_save_snapshot(connection, arguments)], _LOCAL_FILES, "")
    if arguments.delete:
        snapshot = _found_snapshot(connection, arguments.name)
        snapshot.delete()
        print(f"Deleted snapshot {snapshot.name!r}.")
        return None
    return connection.snapshot(connection.chosen(arguments.session), arguments.name)


def _save_snapshot(connection: MlsvcConnection, arguments: argparse.Namespace) -> Path:
    from jupyter_mlsvc.display import TransferBar

    snapshot = _found_snapshot(connection, arguments.name)
    path = Path(arguments.download).expanduser()
    if path.is_dir():
        path /= f"{snapshot.name.replace('/', '_')}.zip"
    with TransferBar(path.name) as bar:
        return snapshot.download(path, bar)


def _found_snapshot(connection: MlsvcConnection, name: str) -> Snapshot:
    snapshot = connection.client.snapshots.find(name)
    if snapshot is None:
        raise MlsvcError(f"You have no snapshot {name!r}; %mlsvc snapshots lists yours.")
    return snapshot


def _load(connection: MlsvcConnection, arguments: argparse.Namespace) -> None:
    snapshot = _found_snapshot(connection, arguments.name)
    session = connection.session(arguments.session)
    with connection.explaining_lost_session(session):
        with connection.waiting(f"Loading snapshot {snapshot.name!r}"):
            restored = snapshot.load(session.id)
        print(restored)


# --- the table -------------------------------------------------------------------------------

_NAMES: Final[Argument] = (("names",), {"nargs": "+"})
_PATHS: Final[Argument] = (("files",), {"nargs": "+"})

_MOVED: Final[Sequence[Column]] = (
    ("name", lambda moved: moved.name),
    ("type", lambda moved: moved.type),
    ("size", lambda moved: size(moved.size)),
)
_LOCAL_FILES: Final[Sequence[Column]] = (
    ("file", str),
    ("size", lambda path: size(path.stat().st_size)),
)
_FILES: Final[Sequence[Column]] = (("file", str),)

WORKSPACE_COMMANDS: Final[tuple[Command, ...]] = (
    Command(
        "put NAME,… [--session NAME]", "copy variables to the session", _put, (_NAMES, SESSION)
    ),
    Command(
        "get NAME,… [--session NAME]", "copy variables from the session", _get, (_NAMES, SESSION)
    ),
    Command("diff [--session NAME]", "what differs from this kernel", _diff, (SESSION,)),
    Command(
        "upload FILE… [--session NAME]",
        "put files into the session's folder",
        _upload,
        (_PATHS, SESSION),
    ),
    Command(
        "download FILE… [--to PATH] [--session NAME]",
        "save files of the session here",
        _download,
        (_PATHS, (("--to",), {}), SESSION),
    ),
    Command(
        "files [--delete NAME,…] [--session NAME]",
        "files of the session",
        _files,
        ((("--delete",), {"type": csv_files}), SESSION),
    ),
    Command("history [--session NAME]", "code that the session ran", _history, (SESSION,)),
    Command("console [--session NAME]", "what it printed last", _console, (SESSION,)),
    Command(
        "snapshot [NAME] [--session NAME | --upload FILE | --download FILE | --delete]",
        "keep what a session holds; or send, save or delete a snapshot",
        _snapshot,
        (
            MAYBE_NAME,
            SESSION,
            (("--upload",), {}),
            (("--download",), {}),
            (("--delete",), {"action": "store_true"}),
        ),
    ),
    Command(
        "load SNAPSHOT [--session NAME]",
        "load a snapshot into the session",
        _load,
        (NAME, SESSION),
    ),
)
