"""What a manifest that comes from outside has to be before anything is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, get_args

from jupyter_mlsvc.wire.models import RuntimeType
from jupyter_mlsvc_server.formats.manifest import FORMAT, BlobEntry, Manifest, Workspace
from jupyter_mlsvc_server.formats.r_code import RUNTIME as R
from jupyter_mlsvc_server.snapshots.errors import InvalidArchive

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_VERSION: Final = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}[0-9A-Za-z.+]{0,40}")
_MODULE: Final = re.compile(r"\w{1,200}(\.\w{1,200}){0,50}")
_MAX_PART: Final = 255
_DEEPEST: Final = 64


def require_sound(manifest: Manifest) -> None:
    """Refuse a manifest that no server of ours could have written.

    Raises
    ------
    InvalidArchive
        The message says what is wrong with it.
    """
    if manifest.format != FORMAT:
        raise InvalidArchive(f"it has format {manifest.format} and this server reads {FORMAT}")
    if manifest.runtime_type not in get_args(RuntimeType):
        raise InvalidArchive(f"its runtime {manifest.runtime_type!r} is none of this server's")
    _require_version(manifest)
    _require_sound_workspace(manifest.workspace)
    _require_sound_parts([manifest.stream, *manifest.buffers, *manifest.files])
    _require_sound_paths([file.path for file in manifest.files])


def _require_version(manifest: Manifest) -> None:
    workspace, language = manifest.workspace, manifest.runtime_type
    version = workspace.r_version if language == R else workspace.python_version
    if not _VERSION.fullmatch(version):
        raise InvalidArchive(f"{version!r} is no version of {language}")
    if language == R and manifest.buffers:
        raise InvalidArchive("a workspace of R has no buffers")


def _require_sound_workspace(workspace: Workspace) -> None:
    for module in workspace.submodules:
        if not _MODULE.fullmatch(module):
            raise InvalidArchive(f"{module!r} is no name of a module")
    names = [entry.name for entry in workspace.objects]
    _require_different("objects", names)
    for name in names:
        if not name or (name.startswith("__") and name.endswith("__")):
            raise InvalidArchive(f"{name!r} is no name of an object")


def _require_sound_parts(parts: list[BlobEntry]) -> None:
    sizes: dict[str, int] = {}
    for part in parts:
        if not _DIGEST.fullmatch(part.digest):
            raise InvalidArchive(f"{part.digest[:80]!r} is no SHA-256")
        if part.size < 0 or sizes.setdefault(part.digest, part.size) != part.size:
            raise InvalidArchive(f"the size of {part.digest} is wrong")


def _require_sound_paths(paths: list[str]) -> None:
    _require_different("files", paths)
    folders = {folder for path in paths for folder in _folders(path)}
    for path in paths:
        parts = path.split("/")
        if len(parts) > _DEEPEST + 1 or not all(_is_plain(part) for part in parts):
            raise InvalidArchive(f"{path[:200]!r} is no path inside a working directory")
        if path in folders:
            raise InvalidArchive(f"{path!r} is a file and a folder")


def _folders(path: str) -> Iterable[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


def _is_plain(part: str) -> bool:
    is_short = len(part.encode()) <= _MAX_PART
    return is_short and part not in {"", ".", ".."} and "\0" not in part


def _require_different(kind: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise InvalidArchive(f"two {kind} have one name")
