"""Where the server keeps its things."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_data_dir
from traitlets import HasTraits, TraitType


class FolderPath(TraitType[Path, "Path | str"]):
    """A trait that is a folder; it takes a ``Path`` or a text, with ``~`` for the home folder."""

    info_text = "a path of a folder"

    def validate(self, obj: HasTraits | None, value: Any) -> Path:
        """Turn texts into absolute paths."""
        if not isinstance(value, str | os.PathLike) or not os.fspath(value):
            self.error(obj, value)
        return Path(value).expanduser().absolute()

    def from_string(self, s: str) -> Path:
        """Read a value of the command line."""
        return Path(s)


def default_data_dir() -> Path:
    """Name the data folder: ``MLSVC_DATA_DIR``, or ``mlsvc`` in Jupyter's data folder."""
    given = os.environ.get("MLSVC_DATA_DIR")
    return Path(given) if given else Path(jupyter_data_dir()) / "mlsvc"
