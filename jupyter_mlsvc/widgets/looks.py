"""How widgets show themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

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
