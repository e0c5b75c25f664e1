"""Checks of what is installed: both halves of the extension, and the packages that they need."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from jupyter_core.paths import jupyter_config_path, jupyter_path
from jupyter_server.extension.config import ExtensionConfigManager
from packaging.requirements import Requirement

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.api.pages import installed_bundle
from jupyter_mlsvc_server.doctor.findings import Finding, Setup, State

_DISTRIBUTION: Final = "jupyter-mlsvc"
_EXTENSION: Final = "jupyter_mlsvc_server"
_SIDE_PANEL: Final = "jupyter-mlsvc"
_REINSTALL: Final = f"python -m pip install --force-reinstall --no-deps {_DISTRIBUTION}"


def check_extension(setup: Setup) -> Iterator[Finding]:
    """Look whether Jupyter servers load the extension."""
    name = "Jupyter extension"
    manager = ExtensionConfigManager(read_config_path=jupyter_config_path())
    extensions: dict[str, bool] = manager.get_jpserver_extensions()  # type: ignore[no-untyped-call]
    enabled = extensions.get(_EXTENSION)
    if enabled:
        yield Finding(name, State.OK, "Jupyter servers load it.")
    elif enabled is None:
        yield Finding(
            name,
            State.FAIL,
            "No configuration of Jupyter names it, so Jupyter servers start no server.",
            f"Run: {_REINSTALL}",
        )
    else:
        yield Finding(
            name,
            State.FAIL,
            "It is disabled, so Jupyter servers start no server.",
            f"Run: jupyter server extension enable {_EXTENSION}",
        )


def check_side_panel(setup: Setup) -> Iterator[Finding]:
    """Look whether JupyterLab finds the side panel, in the version of the server."""
    name = "Lab extension"
    found = [
        Path(folder) / "package.json"
        for folder in jupyter_path("labextensions", _SIDE_PANEL)
        if (Path(folder) / "package.json").is_file()
    ]
    if not found:
        yield Finding(
            name,
            State.WARN,
            "JupyterLab has no side panel: it is in none of its folders.",
            f"Run: {_REINSTALL}",
        )
        return
    version = json.loads(found[0].read_text())["version"]
    if version != __version__:
        yield Finding(
            name,
            State.FAIL,
            f"{found[0].parent} has version {version}, the server is {__version__}.",
            f"Remove that folder if it was left by an older installation, then run: {_REINSTALL}",
        )
    elif _is_disabled(_SIDE_PANEL):
        yield Finding(
            name,
            State.WARN,
            "The side panel is disabled.",
            f"Run: jupyter labextension enable {_SIDE_PANEL}",
        )
    else:
        yield Finding(name, State.OK, f"JupyterLab has the side panel, version {version}.")


def check_pages(setup: Setup) -> Iterator[Finding]:
    """Look whether the server has pages for callers who use a browser."""
    name = "pages for callers"
    if installed_bundle() is not None:
        yield Finding(name, State.OK, "Browsers get a page at the address of a service.")
    else:
        yield Finding(
            name,
            State.WARN,
            "They were not built, so browsers get JSON as programs do.",
            f"Run: {_REINSTALL} (in a checkout: make labextension)",
        )


def _is_disabled(name: str) -> bool:
    """Return whether a page configuration disables a Lab extension; the first that says counts."""
    for folder in jupyter_config_path():
        page = Path(folder) / "labconfig" / "page_config.json"
        disabled: Any = {}
        if page.is_file():
            disabled = json.loads(page.read_text()).get("disabledExtensions", {})
        # Older versions of JupyterLab wrote a list.
        if isinstance(disabled, list):
            disabled = dict.fromkeys(disabled, True)
        if name in disabled:
            return bool(disabled[name])
    return False


def check_versions(setup: Setup) -> Iterator[Finding]:
    """Look whether all packages are there in versions that fit."""
    name = "packages"
    installed = importlib.metadata.version(_DISTRIBUTION)
    if installed != __version__:
        yield Finding(
            name,
            State.FAIL,
            f"The code is version {__version__}, its installation says {installed}.",
            f"Run: {_REINSTALL}",
        )
    problems = [*_unmet(importlib.metadata.requires(_DISTRIBUTION) or [])]
    if problems:
        yield Finding(
            name,
            State.FAIL,
            f"Some do not fit: {'; '.join(problems)}.",
            f"Run: python -m pip install --upgrade '{_DISTRIBUTION}[server]'",
        )
    else:
        yield Finding(name, State.OK, f"jupyter-mlsvc {__version__} has all that it needs.")


def _unmet(requirements: list[str]) -> Iterator[str]:
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": "server"}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{requirement.name} is not installed"
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} {version} is not {requirement.specifier}"
