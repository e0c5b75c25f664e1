"""Where the server is and who we are, as the environment tells it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec

DEFAULT_URL: Final = "http://localhost:12800"
"""Address of the public API where nothing else is said, as it was ML Server's."""
DEFAULT_SESSION: Final = "default"
_NOTEBOOK: Final = "JPY_SESSION_NAME"


@dataclass(frozen=True, slots=True)
class Environment:
    """What the environment variables say, or the file that one of them names.

    Attributes
    ----------
    url : str or None
        ``MLSVC_URL``: address of the server.
    token : str or None
        ``MLSVC_TOKEN``: bearer token for that server. Never shown.
    public_url : str or None
        ``MLSVC_PUBLIC_URL``: where programs find that server.
    connection_file : str or None
        ``MLSVC_CONNECTION_FILE``: file with all three, where no address is set otherwise. Kernels
        and terminals that JupyterLab starts have it; the server of that Jupyter writes it.
    problem : str
        Why that server does not run, as the file says.
    """

    url: str | None = None
    token: str | None = field(default=None, repr=False)
    public_url: str | None = None
    connection_file: str | None = None
    problem: str = ""

    @classmethod
    def read(cls, variables: Mapping[str, str] | None = None) -> Environment:
        """Read the variables, empty ones count as unset, and the file."""
        values = os.environ if variables is None else variables
        given = cls(
            url=values.get("MLSVC_URL") or None,
            token=values.get("MLSVC_TOKEN") or None,
            public_url=values.get("MLSVC_PUBLIC_URL") or None,
        )
        path = values.get("MLSVC_CONNECTION_FILE")
        # The file's token is for the file's address only.
        if given.url or not path:
            return given
        connection = read_connection(path)
        return cls(
            url=connection.url or None,
            token=given.token or connection.token or None,
            public_url=given.public_url or connection.public_url or None,
            connection_file=path,
            problem=connection.problem,
        )


class Connection(msgspec.Struct, rename="camel"):
    """Contents of the file that ``MLSVC_CONNECTION_FILE`` names."""

    url: str = ""
    token: str = ""
    public_url: str = ""
    problem: str = ""

    def __repr__(self) -> str:
        return f"<Connection {self.url}>"


def read_connection(path: str) -> Connection:
    """Read a connection file; an empty connection where there is none now."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Connection)
    except (OSError, msgspec.DecodeError):
        return Connection()


def notebook_path(variables: Mapping[str, str] | None = None) -> str | None:
    """Return the path of the notebook that this kernel belongs to, where Jupyter says so.

    A kernel that nbconvert or papermill starts from a cell inherits the variable of that cell's
    notebook, which is another one.
    """
    values = os.environ if variables is None else variables
    path = values.get(_NOTEBOOK) or None
    return None if path is None or path == _of_parent(values) else path


def default_session_name(variables: Mapping[str, str] | None = None) -> str:
    """Name the session after the notebook, where Jupyter says which notebook it is."""
    return name_of_notebook(notebook_path(variables) or "") or DEFAULT_SESSION


def notebook_of(shell: Any) -> str | None:
    """Return the path of the notebook that an IPython shell belongs to; None for none."""
    # VS Code tells its kernels by a variable.
    return notebook_path() or shell.user_ns.get("__vsc_ipynb_file__") or None


def is_watched() -> bool:
    """Return whether anybody may see what is shown only while something goes on.

    Nobody does where a kernel runs without a notebook, as for nbconvert. There it would stay among
    the outputs, and they would depend on how quick the machine was.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is None or notebook_of(shell) is not None


def name_of_notebook(path: str) -> str:
    """Return the name of a notebook's file without its ending."""
    return PurePosixPath(path.replace("\\", "/")).stem


def folder_of_notebook(path: str) -> str:
    """Return the name of the folder that a notebook is in."""
    return PurePosixPath(path.replace("\\", "/")).parent.name


def _of_parent(values: Mapping[str, str]) -> str | None:
    """Return the notebook that the process which started this kernel belongs to."""
    import psutil

    try:
        parent = psutil.Process(int(values["JPY_PARENT_PID"]))
        return parent.environ().get(_NOTEBOOK)
    except (KeyError, ValueError, OSError, psutil.Error):
        return None
