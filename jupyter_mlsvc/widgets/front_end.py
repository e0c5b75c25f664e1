"""The half of a widget that runs in the browser, as the build leaves it beside this module."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).with_name("static")
_NOT_BUILT: Final = """export default { render({ el }) {
  el.textContent = "The front end of jupyter-mlsvc is not built: make labextension";
} };"""


def script() -> str:
    """Text of the module that draws all widgets."""
    return _text("widget.js") or _NOT_BUILT


def style() -> str:
    """Text of their style sheet."""
    return _text("widget.css")


def _text(name: str) -> str:
    file = _FOLDER / name
    return file.read_text(encoding="utf-8") if file.is_file() else ""
