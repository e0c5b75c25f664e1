"""The languages that sessions run: how a kernel of each is started, prepared and understood."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final, Protocol

from jupyter_mlsvc_server.formats import packages, r_code
from jupyter_mlsvc_server.formats.r_code import quoted, utf8_locale
from jupyter_mlsvc_server.sessions.agents import Agent, CommAgent, FileAgent
from jupyter_mlsvc_server.sessions.channel import KernelChannel
from jupyter_mlsvc_server.sessions.errors import KernelDidNotStart

# IPython names a cell by a temporary file that nobody else knows.
_CELL_FILE: Final = re.compile(r" \((?:\d+\.py|<[^<>]*>), line (\d+)\)$")

# IRkernel has one name for all errors, and these calls are its own.
_R_TOP: Final = "Error in eval(expr, envir, enclos): "
_R_ERROR: Final = "ERROR"
_R_SYNTAX: Final = re.compile(
    r"Error in parse\(text = x, srcfile = src\): (?:<text>:(\d+):\d+: )?(.*)"
)


_SYNTAX_ERRORS: Final = frozenset({"SyntaxError", "IndentationError", "TabError"})


def is_syntax_error(kind: str, text: str) -> bool:
    """Return whether code could not be read, by the kind and the text of a kernel's error."""
    return kind in _SYNTAX_ERRORS or (kind == _R_ERROR and _R_SYNTAX.match(text) is not None)


class KernelFolders(Protocol):
    """Folders of one kernel, which it may write into."""

    work: Path
    """The working directory, which belongs to the user."""
    own: Path
    """What stands for the home folder."""
    exchange: Path
    """Files that the server and the helper hand to each other."""
    user: int
    """The user that the kernel runs as; 0 for the server's own."""


class Runtime(Protocol):
    """What differs between the languages of sessions."""

    name: str
    """The contract's ``runtimeType``."""
    kernel_spec: str
    """Name of the kernel spec, unless it is configured."""
    arguments: tuple[str, ...]
    """Arguments of the kernel besides those of its spec."""
    object_suffix: str
    """Suffix of a workspace object that is saved to a file."""
    how_to_install: str
    """What to do where there is no such kernel; a sentence without its end."""
    awaits: bool
    """Whether its code may await something, and an interrupt has to wake it up."""
    is_forked: bool
    """Whether its kernels come from a process that has their libraries."""

    def environment(self, folders: KernelFolders) -> dict[str, str]:
        """Give the variables that a kernel with these folders needs."""

    async def prepare(self, channel: KernelChannel, folders: KernelFolders) -> Agent:
        """Load the helper into a new kernel.

        Raises
        ------
        KernelDidNotStart
            It could not be loaded; the message says why.
        """

    def error_message(self, kind: str, text: str) -> str:
        """Say in one line what the code raised, as the language itself does."""


class PythonRuntime:
    """Python, in ipykernel."""

    name = "Python"
    kernel_spec = "python3"
    object_suffix = ".dill"
    how_to_install = "Install ipykernel in the server's Python: python -m pip install ipykernel"
    awaits = True
    is_forked = True
    arguments: tuple[str, ...] = ("--HistoryManager.enabled=False",)

    _PREPARE: Final = (
        "__import__('importlib').import_module('jupyter_mlsvc_server.kernel.startup')"
        ".start(get_ipython(), sklearn_1d={sklearn_1d!r}, largest_output={largest_output})"
    )

    def __init__(self, *, sklearn_1d: bool) -> None:
        self._sklearn_1d = sklearn_1d

    def environment(self, folders: KernelFolders) -> dict[str, str]:
        """Keep IPython's profile, and what pip installs, in the session's own folder."""
        return {
            "IPYTHONDIR": str(folders.own / "ipython"),
            "PIP_TARGET": str(folders.work / packages.FOLDER),
            # Into a folder of its own pip installs another version only where this is set.
            "PIP_UPGRADE": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    async def prepare(self, channel: KernelChannel, folders: KernelFolders) -> Agent:
        """Load it by a silent execution, and open a comm to it."""
        code = self._PREPARE.format(
            sklearn_1d=self._sklearn_1d, largest_output=channel.largest_output
        )
        reply = await channel.execute(code, silent=True)
        if reply["status"] != "ok":
            raise KernelDidNotStart(self.name) from RuntimeError(
                f"{reply.get('ename')}: {reply.get('evalue')}"
            )
        await channel.open_comm()
        return CommAgent(channel, folders.exchange, folders.user)

    def error_message(self, kind: str, text: str) -> str:
        """Give the last line of a traceback."""
        if kind.endswith("Error"):
            text = _CELL_FILE.sub(r" (line \1)", text)
        return f"{kind}: {text}" if text else kind


class RRuntime:
    """R, in IRkernel."""

    name = r_code.RUNTIME
    kernel_spec = "ir"
    object_suffix = ".RData"
    how_to_install = r_code.HOW_TO_INSTALL
    awaits = False
    is_forked = False
    arguments: tuple[str, ...] = ()

    _PREPARE: Final = (
        "(function() {{ here <- new.env(parent = baseenv()); here$home_of_agent <- {code}; "
        'sys.source(file.path({code}, "agent.R"), here); here$start({folder}) }})()'
    )

    def environment(self, folders: KernelFolders) -> dict[str, str]:
        """Have R start with our profile."""
        return {"R_PROFILE_USER": str(r_code.KERNEL_FOLDER / "profile.R"), **utf8_locale()}

    async def prepare(self, channel: KernelChannel, folders: KernelFolders) -> Agent:
        """Source the helper by a silent execution."""
        folder = folders.exchange
        code = self._PREPARE.format(code=quoted(r_code.KERNEL_FOLDER), folder=quoted(folder))
        await channel.execute(code, silent=True)
        # IRkernel does not tell whether silent code failed.
        if not await asyncio.to_thread((folder / "started").exists):
            raise KernelDidNotStart(self.name) from RuntimeError("agent.R could not be sourced")
        return FileAgent(channel, folder, folders.user)

    def error_message(self, kind: str, text: str) -> str:
        """Give what R prints: ``Error in f(): no data``, or ``Error: no data`` outside of f."""
        if kind != _R_ERROR:
            return f"{kind}: {text}"
        if found := _R_SYNTAX.match(text):
            return f"Error: {found[2]}" + (f" (line {found[1]})" if found[1] else "")
        if text.startswith(_R_TOP):
            text = f"Error: {text.removeprefix(_R_TOP)}"
        return " ".join(text.split("\n")).strip() or "Error"
