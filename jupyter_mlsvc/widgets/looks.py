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
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is not None:
        view = {"version_major": 2, "version_minor": 0, "model_id": model_id()}
        # Nobody can be asked where nbconvert or papermill runs the cell. It would keep the view and
        # no front end of it, and show nothing in its place.
        if kernel._allow_stdin:  # noqa: SLF001 - what input() looks at
            found[VIEW] = view
    return found
