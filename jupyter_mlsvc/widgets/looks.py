"""What the widgets have in common: how they show themselves, and lines of text."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any, Final

import ipywidgets
from IPython.core.getipython import get_ipython

VIEW: Final = "application/vnd.jupyter.widget-view+json"


def bundle(model_id: Callable[[], str], text: str, fallback: str) -> dict[str, Any]:
    """Give the looks of something that has widgets where they can be shown.

    Parameters
    ----------
    model_id
        Gives the widget's id; not called where there is no kernel that it could talk through.
    text, fallback
        Plain text and HTML for where widgets can't be shown, or no longer.
    """
    found: dict[str, Any] = {"text/plain": text, "text/html": fallback}
    if getattr(get_ipython(), "kernel", None) is not None:
        found |= {
            VIEW: {"version_major": 2, "version_minor": 0, "model_id": model_id()},
        }
    return found


def line(text: str, *, is_error: bool = False, role: str = "status") -> str:
    """HTML of a line that says something; nothing where there is nothing to say."""
    if not text:
        return ""
    if not is_error:
        return f'<div role="{role}">{html.escape(text)}</div>'
    return (
        '<div role="alert" style="color:var(--jp-error-color1,#b71c1c);white-space:pre-wrap;'
        f'overflow-wrap:anywhere">{html.escape(text)}</div>'
    )


def block(content: str) -> str:
    """HTML with the tables and spacing of a notebook's output, not those of a label."""
    style = "line-height:1.5;padding:0;overflow-x:auto"
    # JupyterLab would put tables into the middle.
    content = content.replace("<table>", '<table style="margin:0 0 0.5em 0">')
    return f'<div class="jp-RenderedHTMLCommon" style="{style}">{content}</div>'


def close_all(widget: ipywidgets.Widget) -> None:
    """Close a widget with its layout and style, and all those in it."""
    for child in getattr(widget, "children", ()):
        close_all(child)
    for name in ("layout", "style"):
        part = getattr(widget, name, None)
        if isinstance(part, ipywidgets.Widget):
            part.close()
    widget.close()
