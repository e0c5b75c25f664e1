"""Stands for the server where only the client half is installed: says so, and breaks nothing.

The package is one, so a Jupyter server finds the extension also where ``jupyter-mlsvc`` was
installed without its extra ``server``.
"""

from __future__ import annotations

from typing import Any, Final

MESSAGE: Final = (
    "The server half of jupyter-mlsvc is not installed here, so no services run. To have it: "
    "pip install 'jupyter-mlsvc[server]'"
)


def is_requirement(error: ModuleNotFoundError) -> bool:
    """Return whether a module that is missing is another project's."""
    return not (error.name or "").startswith("jupyter_mlsvc")


def _load_jupyter_server_extension(server: Any) -> None:
    server.log.warning(MESSAGE)
