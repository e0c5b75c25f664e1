"""A server on a machine whose Python other users may run, as a program.

Where Python or this checkout is below a folder that only root enters, the machine that the server
sees has an empty one in its place, with what is needed in it. It runs a command there, as root or
as another user::

    python -m tests.server.open_machine UID COMMAND…
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from jupyter_mlsvc_server.formats import sandbox
from jupyter_mlsvc_server.id_range import closed_to_others
from jupyter_mlsvc_server.launch import ServerProcess

_OPEN: Final = "mode=0755"

_NEEDED: Final = {
    Path(each).resolve() for each in (sys.base_prefix, sys.prefix, Path(__file__).parents[2])
}
_ABOVE: Final = sorted(path for path in _NEEDED if _NEEDED.isdisjoint(path.parents))
"""Folders of Python and of this checkout, none below another."""


class OtherUsersServer(ServerProcess):
    """A server that is started on such a machine."""

    uid = 0

    def _command(self) -> list[str]:
        program = [sys.executable, "-m", __name__, str(self.uid)]
        return [*program, *super()._command()]

    def _environment(self) -> dict[str, str]:
        found = super()._environment()
        paths = [str(Path(__file__).parents[2]), found.get("PYTHONPATH", "")]
        found["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        return found | {"HOME": str(self.data_dir.parent)}


def _show_python() -> None:
    """Have other users enter the folders of this machine that code needs, in a view of its own."""
    closed: dict[str, list[Path]] = {}
    if closed_to_others([Path("/etc")]):
        closed["/etc"] = [*Path("/etc").iterdir()]
    for path in _ABOVE:
        if folder := closed_to_others([path]):
            closed.setdefault(folder, []).append(path)
    if not closed or os.geteuid() != 0:
        return
    sandbox._check(sandbox._libc().unshare(sandbox._NEW_MOUNTS))
    sandbox._mount(None, "/", None, sandbox._RECURSIVE | sandbox._SLAVE)
    for folder, paths in closed.items():
        _open(folder, paths)


def _open(folder: str, paths: list[Path]) -> None:
    """Show some paths of a folder in one that all may enter."""
    kept = Path(tempfile.mkdtemp())
    sandbox._mount(folder, str(kept), None, sandbox._BIND)
    sandbox._mount("tmpfs", folder, "tmpfs", 0, _OPEN)
    for path in paths:
        before = kept / path.relative_to(folder)
        if before.is_symlink():
            path.symlink_to(before.readlink())
            continue
        if before.is_dir():
            path.mkdir(parents=True)
        else:
            path.touch()
        sandbox._mount(str(before), str(path), None, sandbox._BIND)
    sandbox._check(sandbox._libc().umount2(str(kept).encode(), sandbox._DETACH))
    kept.rmdir()


def main(uid: int, command: list[str]) -> None:
    """Run a command."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(0o022)
    _show_python()
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
