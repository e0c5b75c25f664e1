"""Where the server is and who we are, as the environment tells it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

DEFAULT_URL: Final = "http://localhost:12800"
"""Address of the public API where nothing else is said, as it was ML Server's."""
DEFAULT_SESSION: Final = "default"
_NOTEBOOK: Final = "JPY_SESSION_NAME"


@dataclass(frozen=True, slots=True)
class Environment:
    """What the environment variables say.

    Attributes
    ----------
    url : str or None
        ``MLSVC_URL``: address of the server. Kernels that JupyterLab starts have it.
    token : str or None
        ``MLSVC_TOKEN``: bearer token for that server. Never shown.
    public_url : str or None
        ``MLSVC_PUBLIC_URL``: where programs find that server.
    """

    url: str | None = None
    token: str | None = field(default=None, repr=False)
    public_url: str | None = None

    @classmethod
    def read(cls, variables: Mapping[str, str] | None = None) -> Environment:
        """Read the variables; empty ones count as unset."""
        values = os.environ if variables is None else variables
        return cls(
            url=values.get("MLSVC_URL") or None,
            token=values.get("MLSVC_TOKEN") or None,
            public_url=values.get("MLSVC_PUBLIC_URL") or None,
        )


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
