"""Turn what runs in a notebook into a versioned web service.

In a notebook: ``%load_ext jupyter_mlsvc``, then ``%mlsvc help``. In a program::

    from jupyter_mlsvc import Client

    with Client("http://localhost:12800", username="maria", password=...) as client:
        iris = client.service("Iris", "V1.0")
        print(iris(flower_data=[7, 3.2, 4.7, 1.4]).iris_species)

Names are resolved when they are first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from jupyter_mlsvc._version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from jupyter_mlsvc.client.client import Client
    from jupyter_mlsvc.client.results import ExecutionResult, ServiceResult
    from jupyter_mlsvc.client.service import Service
    from jupyter_mlsvc.client.session import Session
    from jupyter_mlsvc.client.snapshots import Snapshot
    from jupyter_mlsvc.errors import (
        ApiError,
        ConnectionFailed,
        MlsvcError,
        NotLoggedIn,
        RemoteExecutionError,
        RemoteInterrupted,
        ServiceFailed,
    )
    from jupyter_mlsvc.publishing.program import publish
    from jupyter_mlsvc.widgets.forms import form
    from jupyter_mlsvc.widgets.panel import panel
    from jupyter_mlsvc.wire.model_file import serialize_model

__all__ = [
    "ApiError",
    "Client",
    "ConnectionFailed",
    "ExecutionResult",
    "MlsvcError",
    "NotLoggedIn",
    "RemoteExecutionError",
    "RemoteInterrupted",
    "Service",
    "ServiceFailed",
    "ServiceResult",
    "Session",
    "Snapshot",
    "__version__",
    "form",
    "load_ipython_extension",
    "panel",
    "publish",
    "serialize_model",
    "unload_ipython_extension",
]

_HOME: Final[dict[str, str]] = {
    "ApiError": "jupyter_mlsvc.errors",
    "Client": "jupyter_mlsvc.client.client",
    "ConnectionFailed": "jupyter_mlsvc.errors",
    "ExecutionResult": "jupyter_mlsvc.client.results",
    "MlsvcError": "jupyter_mlsvc.errors",
    "NotLoggedIn": "jupyter_mlsvc.errors",
    "RemoteExecutionError": "jupyter_mlsvc.errors",
    "RemoteInterrupted": "jupyter_mlsvc.errors",
    "Service": "jupyter_mlsvc.client.service",
    "ServiceFailed": "jupyter_mlsvc.errors",
    "ServiceResult": "jupyter_mlsvc.client.results",
    "Session": "jupyter_mlsvc.client.session",
    "Snapshot": "jupyter_mlsvc.client.snapshots",
    "form": "jupyter_mlsvc.widgets.forms",
    "publish": "jupyter_mlsvc.publishing.program",
    "panel": "jupyter_mlsvc.widgets.panel",
    "serialize_model": "jupyter_mlsvc.wire.model_file",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Register the magics (``%load_ext jupyter_mlsvc``): no network call, harmless twice."""
    from jupyter_mlsvc.magics import load

    load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Remove the magics again (``%unload_ext jupyter_mlsvc``); sessions on the server stay."""
    from jupyter_mlsvc.magics import unload

    unload(ipython)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Tell JupyterLab where the built front end is."""
    return [{"src": "labextension", "dest": "jupyter-mlsvc"}]
