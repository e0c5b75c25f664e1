"""The Jupyter server extension of jupyter-mlsvc: sessions, snapshots and scoring services."""

from __future__ import annotations

from jupyter_mlsvc._version import __version__

__all__ = ["__version__"]


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    """Tell Jupyter where the extension is, or what says that it is not installed."""
    from jupyter_mlsvc_server.not_installed import is_requirement

    try:
        from jupyter_mlsvc_server.extension.app import MlsvcExtension
    except ModuleNotFoundError as error:
        if not is_requirement(error):
            raise
        return [{"module": "jupyter_mlsvc_server.not_installed"}]
    return [{"module": "jupyter_mlsvc_server.extension.app", "app": MlsvcExtension}]
