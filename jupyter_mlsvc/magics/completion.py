"""Completion of commands, options and the names that the server knows.

Time-boxed, cached and silent: a key press never waits for a slow server nor shows its errors.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)

from jupyter_mlsvc.magics.connection import MlsvcConnection
from jupyter_mlsvc.magics.mlsvc import COMMANDS_BY_NAME
from jupyter_mlsvc.magics.options import option_strings

if TYPE_CHECKING:
    from jupyter_mlsvc.client.keys import ServiceKey
    from jupyter_mlsvc.client.service import Service
    from jupyter_mlsvc.client.session import Session
    from jupyter_mlsvc.client.snapshots import Snapshot
    from jupyter_mlsvc.wire.models import ParameterDefinition

_PATIENCE_SECONDS: Final = 0.5
_FRESH_SECONDS: Final = 10.0
_LINE: Final = re.compile(r"(?:^|=)\s*%{1,2}(mlsvc|publish|consume|batch|remote_exec)[ \t]+(.*)$")
_NEEDS_VERSION: Final = {
    "service",
    "statistics",
    "logs",
    "calls",
    "batches",
    "update",
    "delete",
    "swagger",
}
_NEEDS_SNAPSHOT: Final = {"snapshot", "load"}
_SESSION: Final = {"-s", "--session"}
_IN_SESSION: Final = {"put", "get", "download"}
_NEEDS_SERVICE: Final = _NEEDS_VERSION | {"services"}


class ServerNames:
    """Names that the server knows, fetched in the background and kept for a few seconds."""

    def __init__(self, connection: MlsvcConnection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Sequence[Any]]] = {}
        self._running: dict[str, threading.Thread] = {}

    def sessions(self) -> list[str]:
        """Names of your sessions."""
        found = self._get("sessions", self._list_sessions)
        return [session.name for session in found]

    def keys(self) -> list[str]:
        """Names of your service keys."""
        return [key.name for key in self._get("keys", self._list_keys)]

    def services(self) -> Sequence[Service]:
        """All services."""
        return self._get("services", self._list_services)

    def snapshots(self) -> list[str]:
        """Names of your snapshots."""
        found = self._get("snapshots", self._list_snapshots)
        return [snapshot.name for snapshot in found]

    def objects(self, session: str | None) -> Sequence[str]:
        """Names in the workspace of a session, by default the current one."""
        return self._get(f"objects {session}", lambda: self._in_session(session).list_objects())

    def files(self, session: str | None) -> Sequence[str]:
        """Names of the files of a session, by default the current one."""
        return self._get(f"files {session}", lambda: self._in_session(session).list_files())

    def _in_session(self, name: str | None) -> Session:
        current = self._connection.current
        if name is None and current is not None:
            return current
        return self._connection.find(name or self._connection.default_name())

    def _list_sessions(self) -> Sequence[Session]:
        return self._connection.client.sessions.list()

    def _list_snapshots(self) -> Sequence[Snapshot]:
        return self._connection.client.snapshots.list()

    def _list_keys(self) -> Sequence[ServiceKey]:
        return self._connection.client.keys.list()

    def _list_services(self) -> Sequence[Service]:
        return self._connection.client.services.list()

    def _get(self, kind: str, fetch: Callable[[], Sequence[Any]]) -> Sequence[Any]:
        with self._lock:
            at, items = self._kept.get(kind, (float("-inf"), ()))
            if time.monotonic() - at < _FRESH_SECONDS:
                return items
            thread = self._running.get(kind)
            if thread is None or not thread.is_alive():
                thread = threading.Thread(target=self._fetch, args=(kind, fetch), daemon=True)
                self._running[kind] = thread
                thread.start()
        thread.join(_PATIENCE_SECONDS)
        return self._kept.get(kind, (0.0, items))[1]

    def _fetch(self, kind: str, fetch: Callable[[], Sequence[Any]]) -> None:
        try:
            items: Sequence[Any] = fetch() if self._connection.is_connected else ()
        except Exception:  # noqa: BLE001 - whatever is wrong shows when the line runs
            items = ()
        self._kept[kind] = (time.monotonic(), items)


class Completer:
    """Completes the lines of our magics.

    Parameters
    ----------
    connection : MlsvcConnection
        Where the names come from.
    parsers : mapping
        Parser of each magic, for its options.
    """

    def __init__(self, connection: MlsvcConnection, parsers: Mapping[str, Any]) -> None:
        self._connection = connection
        self._names = ServerNames(connection)
        self._parsers = parsers

    def candidates(self, text: str) -> tuple[str, list[str]]:
        """Give the word that is being typed and what it may become."""
        found = _LINE.search(text)
        if found is None:
            return "", []
        magic, rest = found.groups()
        *before, word = re.split(r"\s+", rest)
        if (before and before[-1] in _SESSION) or word.startswith("--session="):
            prefix = "--session=" if word.startswith("--session=") else ""
            names: Iterable[str] = (prefix + name for name in self._names.sessions())
        elif magic == "mlsvc" and before and before[-1] == "--services":
            names = self._service_words([], has_inputs=False)
        elif before and before[-1] == "--snapshot":
            names = self._names.snapshots()
        elif word.startswith("-"):
            names = self._options(magic, before)
        elif magic == "mlsvc" and before and before[0] in _IN_SESSION:
            # Of names with commas between them the last is being typed.
            lead = word[: word.rfind(",") + 1]
            names = (lead + name for name in self._session_contents(before))
        else:
            names = self._words(magic, [item for item in before if not item.startswith("-")])
        return word, [name for name in names if name.startswith(word)]

    def _options(self, magic: str, before: list[str]) -> Sequence[str]:
        if magic == "mlsvc":
            command = COMMANDS_BY_NAME.get(before[0]) if before else None
            return option_strings(command.parser()) if command else []
        return option_strings(self._parsers[magic])

    def _words(self, magic: str, before: list[str]) -> Iterable[str]:
        if magic == "consume":
            return self._service_words(before, has_inputs=True)
        if magic == "batch" and len(before) < 2:
            return self._service_words(before, has_inputs=False)
        if magic == "publish" and not before:
            return self._service_words(before, has_inputs=False)
        if magic == "mlsvc":
            return self._command_words(*before)
        return []

    def _command_words(self, command: str = "", *others: str) -> Iterable[str]:
        if not command:
            return list(COMMANDS_BY_NAME)
        if command == "session":
            return self._session_words(list(others))
        if command == "attach":
            return [] if others else self._names.sessions()
        if command == "key":
            return self._key_words(list(others))
        if command in _NEEDS_SNAPSHOT:
            return [] if others else self._names.snapshots()
        if command in _NEEDS_SERVICE:
            allowed = 2 if command in _NEEDS_VERSION else 1
            return (
                self._service_words(list(others), has_inputs=False) if len(others) < allowed else []
            )
        return []

    def _session_contents(self, before: list[str]) -> Iterable[str]:
        """Names of what ``put``, ``get`` and ``download`` move."""
        if before[0] == "put":
            return self._connection.own_objects()
        at = next((at for at, item in enumerate(before[:-1]) if item in _SESSION), None)
        session = None if at is None else before[at + 1]
        return (self._names.objects if before[0] == "get" else self._names.files)(session)

    def _session_words(self, before: list[str]) -> Iterable[str]:
        if before in ([], ["close"], ["switch"]):
            own = ["new", "switch", "close"] if not before else []
            return [*own, *self._names.sessions()]
        return []

    def _key_words(self, before: list[str]) -> Iterable[str]:
        if not before:
            return ["create", "list", "revoke"]
        return self._names.keys() if before == ["revoke"] else []

    def _service_words(self, before: list[str], *, has_inputs: bool) -> Iterable[str]:
        services = self._names.services()
        if not before:
            return sorted({service.name for service in services})
        ours = [service for service in services if service.name == before[0]]
        versions = [service.version for service in ours]
        inputs: list[str] = []
        if has_inputs and ours:
            chosen = next((item for item in ours if before[1:2] == [item.version]), ours[-1])
            inputs = [text for item in chosen.inputs for text in _beginnings(item)]
        return [*(versions if len(before) == 1 else []), *inputs]

    def matcher(self) -> Callable[[CompletionContext], SimpleMatcherResult]:
        """Make the function that IPython calls."""

        @context_matcher(identifier="jupyter_mlsvc")
        def jupyter_mlsvc_matcher(context: CompletionContext) -> SimpleMatcherResult:
            word, names = self.candidates(context.text_until_cursor)
            fragment = word if context.token.endswith(word) else context.token
            cut = len(word) - len(fragment)
            return SimpleMatcherResult(
                completions=[SimpleCompletion(name[cut:], type="mlsvc") for name in names],
                matched_fragment=fragment,
                suppress=bool(names),
                ordered=True,
            )

        made: Callable[[CompletionContext], SimpleMatcherResult] = jupyter_mlsvc_matcher
        return made


def _beginnings(item: ParameterDefinition) -> list[str]:
    """Return how an input begins, and what it looks like where its columns are known."""
    beginning = f"{item.name}="
    columns: dict[str, list[object]] = {column.name: [] for column in item.columns or ()}
    filled = json.dumps(columns, ensure_ascii=False, separators=(",", ":"))
    return [beginning, *([beginning + filled] if columns and " " not in filled else [])]
