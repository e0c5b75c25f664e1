"""The helper in each session kernel: sets inputs, reads outputs, captures and restores.

The server loads it once, by a silent execution without history that leaves nothing behind::

    __import__("jupyter_mlsvc_server.kernel.agent", fromlist=["load"]).load(get_ipython())

and then talks to it over a Jupyter comm that the server opens (target ``jupyter_mlsvc.agent``,
:data:`TARGET`). ``load`` may be run again; the newest one counts.

A request is a ``comm_msg`` on the shell channel whose ``data`` is ``{"id": …, "op": …, …}``. The
kernel answers each one by exactly one ``comm_msg`` on iopub with the same comm id::

    {"id": …, "ok": true, …members of the operation…}
    {"id": …, "ok": false, "error": {"type": …, "message": …, "name": …, "errno": …}}

``type`` is the name of the exception's class, ``KeyboardInterrupt`` after an interrupt; ``name``
is the object it is about, where there is one; ``errno`` is the number of the system's error that
kept an operation from writing its files. ``message`` is a sentence for the user. Send a request
only while the kernel is idle: comm messages overtake a cell that is awaiting something.

==============  ==========================================  =======================================
``op``          members of the request                      members of the answer
==============  ==========================================  =======================================
``set``         ``values``: {name: JSON}; maybe
                ``types``: {name: parameter type};
                or ``file``: path of JSON with both
``set_pickled`` ``name``; ``file``: path of the pickle       ``type``
``get``         ``names``: [name]; ``file``: path to        ``values``: {name: JSON}, or
                write large values to                       ``sizes``: {name: bytes}; in R
                                                            ``types``: {name: parameter type}
``get_pickled`` ``name``; ``file``: path to write it to;     ``size``, ``type``
                ``bound``: false
``delete``      ``name``
``list``                                                    ``objects``: [{name, type, size}]
``inventory``   ``summary``: true leaves the slow out;      ``inventory``: a ``SessionInventory``
                ``comparison``: true leaves versions out;
                maybe ``names``: [name], those alone
``capture``     ``staging``: path of an empty folder;       ``report``: a ``CaptureReport``
                maybe ``known``: a ``Known``
``check``       ``workspace``: a ``Workspace``              ``warnings``: [sentence]
``restore``     ``manifest``: a ``Manifest``;               ``names``: [name],
                ``blobs``: path of the blob folder          ``lost``: {name: reason}
==============  ==========================================  =======================================

- ``set`` sets all values or none; one with a type becomes what a service's input of it is.
- ``set_pickled`` takes what ``cloudpickle.dumps``, ``dill.dumps``, ``pickle.dumps`` or
  ``jupyter_mlsvc.wire.objects.dumps`` wrote; functions written by the last one see the session's
  names. ``delete`` and the two ``get`` fail with type ``UnknownName`` when there
  is no such name, ``get`` with ``ValueProblem`` when JSON can't carry the value.
- ``get_pickled`` writes a plain cloudpickle that any program can read; with ``bound`` true,
  functions in it are written for :func:`jupyter_mlsvc.wire.objects.loads`.
- ``capture`` writes ``stream`` and ``buffers/<n>`` into ``staging`` (see ``capture.py``).
- ``check`` fails with type ``IncompatibleWorkspace`` when this kernel can't restore the workspace.
- ``restore`` overwrites objects of the same names and keeps the others. Files are the server's job.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire import inventory, objects
from jupyter_mlsvc.wire.inventory import type_name
from jupyter_mlsvc.wire.json_text import encode_json
from jupyter_mlsvc.wire.kinds import size_of
from jupyter_mlsvc_server.formats.fingerprints import Known
from jupyter_mlsvc_server.formats.manifest import Manifest, Workspace
from jupyter_mlsvc_server.formats.restore import check, differences, restore
from jupyter_mlsvc_server.formats.shown_paths import without_paths
from jupyter_mlsvc_server.kernel.capture import capture
from jupyter_mlsvc_server.kernel.pickle_errors import explain
from jupyter_mlsvc_server.kernel.user_namespace import UserSpace

TARGET: Final = "jupyter_mlsvc.agent"
"""Name of the comm target."""

_WRITING: Final = frozenset({"capture", "get", "get_pickled"})
"""Operations that write files for the server."""

_MAX_IN_MESSAGE: Final = 2**16
"""Bytes of values that are sent in a message, which takes time of all that the server does."""

Answer = dict[str, Any]
"""Members of an answer."""


class UnknownName(Exception):
    """There is no object of this name."""

    def __init__(self, name: str, similar: list[str]) -> None:
        hint = f" Did you mean {similar[0]!r}?" if similar else ""
        super().__init__(f"There is no object {name!r} in the session.{hint}")


class NotSerializable(Exception):
    """An object cannot be written, or bytes cannot be read; the message says why."""


def load(shell: Any) -> None:
    """Answer comms of :data:`TARGET` in the kernel of an IPython shell."""
    agent = Agent(UserSpace(shell))
    shell.kernel.comm_manager.register_target(TARGET, agent.on_open)


class Agent:
    """Does what the server asks for in a kernel.

    Parameters
    ----------
    space
        The user's names.
    """

    def __init__(self, space: UserSpace) -> None:
        self._space = space
        # What can be imported now can be imported in any other process of the server.
        self._search_path = [folder or os.getcwd() for folder in sys.path]
        self._operations: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "set": self._set,
            "set_pickled": self._set_pickled,
            "get": self._get,
            "get_pickled": self._get_pickled,
            "delete": self._delete,
            "list": self._list,
            "inventory": self._inventory,
            "capture": self._capture,
            "check": self._check,
            "restore": self._restore,
        }

    def on_open(self, comm: Any, _message: dict[str, Any]) -> None:
        """Listen to a comm that the server opened."""
        comm.on_msg(lambda message: self._on_message(comm, message))

    def _on_message(self, comm: Any, message: dict[str, Any]) -> None:
        request = message["content"]["data"]
        comm.send({"id": request.get("id")} | self.answer(request))

    def answer(self, request: dict[str, Any]) -> Answer:
        """Do what a request asks for; whatever is raised becomes the answer."""
        try:
            operation = self._operations[request["op"]]
            answer = operation(request)
        except BaseException as error:  # noqa: BLE001  # objects of the user raise whatever they like
            return {"ok": False, "error": _described(error, request)}
        return {"ok": True, **answer}

    def _set(self, request: dict[str, Any]) -> Answer:
        from jupyter_mlsvc.wire.values import decode_input

        if "file" in request:
            request = msgspec.json.decode(Path(request["file"]).read_bytes())
        types = request.get("types", {})
        self._space.update(
            {
                name: decode_input(types[name], value, name) if name in types else value
                for name, value in request["values"].items()
            }
        )
        return {}

    def _set_pickled(self, request: dict[str, Any]) -> Answer:
        with open(request["file"], "rb") as file:
            value = _loads(file.read(), self._space.namespace)
        self._space.update({request["name"]: value})
        return {"type": type_name(value)}

    def _get(self, request: dict[str, Any]) -> Answer:
        from jupyter_mlsvc.wire.json_values import require_text
        from jupyter_mlsvc.wire.values import encode_output

        values = {name: self._value(name) for name in request["names"]}
        plain = {name: encode_output("", value, name) for name, value in values.items()}
        for name, value in plain.items():
            # What the kernel's protocol can't send would leave the server without an answer.
            require_text(value, name)
        texts = {name: encode_json(value) for name, value in plain.items()}
        if sum(map(len, texts.values())) <= _MAX_IN_MESSAGE:
            return {"values": plain}
        with open(request["file"], "xb") as file:
            file.writelines(texts.values())
        return {"sizes": {name: len(text) for name, text in texts.items()}}

    def _get_pickled(self, request: dict[str, Any]) -> Answer:
        name = request["name"]
        value = self._value(name)
        data = _dumps(name, value, self._space.namespace if request.get("bound") else None)
        # Not in a message: what carries those copies them, and the server has other things to do.
        with open(request["file"], "xb") as file:
            file.write(data)
        return {"type": type_name(value), "size": len(data)}

    def _delete(self, request: dict[str, Any]) -> Answer:
        self._value(request["name"])
        self._space.delete(request["name"])
        return {}

    def _list(self, _request: dict[str, Any]) -> Answer:
        rows = [
            {"name": name, "type": type_name(value), "size": size_of(value)}
            for name, value in self._space.items()
        ]
        return {"objects": rows}

    def _inventory(self, request: dict[str, Any]) -> Answer:
        names = request.get("names")
        values = {
            name: value for name, value in self._space.items() if names is None or name in names
        }
        take = inventory.take
        if request.get("summary"):
            take = inventory.summary
        elif request.get("comparison"):
            take = inventory.comparison
        return {"inventory": msgspec.to_builtins(take(values))}

    def _capture(self, request: dict[str, Any]) -> Answer:
        report = capture(
            self._space.namespace,
            Path(request["staging"]),
            exclude=self._space.foreign_names(),
            search_path=self._search_path,
            known=msgspec.convert(request.get("known", {}), Known),
        )
        return {"report": msgspec.to_builtins(report)}

    def _check(self, request: dict[str, Any]) -> Answer:
        workspace = msgspec.convert(request["workspace"], Workspace)
        check(workspace)
        return {"warnings": differences(workspace)}

    def _restore(self, request: dict[str, Any]) -> Answer:
        blobs = Path(request["blobs"])
        manifest = msgspec.convert(request["manifest"], Manifest)
        restored = restore(
            manifest, lambda digest: blobs / digest[:2] / digest, self._space.namespace
        )
        self._space.claim(restored.names)
        return {"names": restored.names, "lost": restored.lost}

    def _value(self, name: str) -> Any:
        try:
            return self._space.get(name)
        except KeyError:
            raise UnknownName(name, self._space.similar_to(name)) from None


def _dumps(name: str, value: object, namespace: objects.Namespace | None) -> bytes:
    import cloudpickle

    try:
        if namespace is not None:
            return objects.dumps(value, namespace)
        data: bytes = cloudpickle.dumps(value)
    except Exception as error:
        raise NotSerializable(explain(name, value, error)) from error
    return data


def _loads(data: bytes, namespace: objects.Namespace) -> Any:
    # dill finds the globals of its functions only through its own reader.
    by_dill = b"dill._dill" in data and importlib.util.find_spec("dill") is not None
    try:
        if by_dill:
            dill = importlib.import_module("dill")
            with objects.target(namespace):
                return dill.loads(data)
        return objects.loads(data, namespace)
    except ModuleNotFoundError as error:
        if error.name == "dill":
            raise NotSerializable(
                "These bytes were written by dill, which is not installed on the server: install "
                "dill there, or write them with cloudpickle."
            ) from error
        raise NotSerializable(
            f"The object needs the module {error.name!r}, which is not installed on the server."
        ) from error
    except Exception as error:
        raise NotSerializable(
            f"The bytes are no object that can be read here ({_last_line(error)}). Send what "
            "cloudpickle.dumps, dill.dumps or pickle.dumps wrote, with the same minor version of "
            "Python and the same packages."
        ) from error


def _described(error: BaseException, request: dict[str, Any]) -> dict[str, Any]:
    kind = type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        message = "The session was interrupted."
    elif isinstance(error, KeyError) and request.get("op") is None:
        message = "The request names no operation."
    else:
        message = _last_line(error, with_type=type(error).__module__ == "builtins")
    described: dict[str, Any] = {"type": kind, "message": message}
    if isinstance(error, OSError) and request.get("op") in _WRITING:
        described["errno"] = error.errno
    if isinstance(request.get("name"), str):
        described["name"] = request["name"]
    return described


def _working_directory() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # the user's code has removed it
        return ""


def _last_line(error: BaseException, *, with_type: bool = True) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # an error of the user's own class
        text = ""
    if not text:
        return type(error).__name__
    text = without_paths(text, [_working_directory()])
    return f"{type(error).__name__}: {text}" if with_type else text
