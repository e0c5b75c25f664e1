"""Versions of the packages that a workspace uses."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from jupyter_mlsvc.wire.inventory import package_versions


def install(folder: Path, version: str, day: int) -> None:
    """Put a distribution where others are, at a given day; an older one goes."""
    for left in folder.glob("*.dist-info"):
        (left / "METADATA").unlink()
        left.rmdir()
    (folder / f"some_model-{version}.dist-info").mkdir(parents=True)
    (folder / f"some_model-{version}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: some-model\nVersion: {version}\n"
    )
    os.utime(folder, (day * 86_400,) * 2)


def test_what_is_installed_meanwhile_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    assert "some-model" not in package_versions()
    install(tmp_path, "1.0", day=1)
    assert "some-model" not in package_versions()
    monkeypatch.setitem(sys.modules, "some_model", ModuleType("some_model"))
    assert package_versions()["some-model"] == "1.0"
    install(tmp_path, "2.0", day=2)
    assert package_versions()["some-model"] == "2.0"
    monkeypatch.delitem(sys.modules, "some_model")
    assert "some-model" not in package_versions()
