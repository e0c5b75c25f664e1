"""Progress of what goes through many things, shown only where it takes its time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

from jupyter_mlsvc.config import is_watched

T = TypeVar("T")

_PATIENCE_SECONDS: Final = 1.0


def is_progress_wanted() -> bool:
    """Return whether bars may be shown.

    Not where the variable ``TQDM_DISABLE`` of the environment says no, and not where nobody would
    see them go: they would stay among the outputs.
    """
    disabled = os.environ.get("TQDM_DISABLE", "").strip().lower()
    return disabled in {"", "0", "false", "no", "off"} and is_watched()


def progress_bar(**options: Any) -> Any:
    """Make a bar of tqdm's, one that shows nothing where ``TQDM_DISABLE`` is set.

    What differs between tqdm's own ways to read that variable, a notebook's and a terminal's, is
    the same here.
    """
    # Imported late: it looks for a notebook, which takes its time.
    from tqdm.auto import tqdm

    return tqdm(**{"disable": not is_progress_wanted()} | options)


def shown_when_slow(
    items: Iterable[T], label: str, total: int | None = None, *, unit: str, quiet: bool = False
) -> Iterator[T]:
    """Go through items and show a bar once that has taken a second; it goes at the end.

    Parameters
    ----------
    total : int, optional
        How many there are, where that is known.
    quiet : bool
        Show nothing.
    """
    started = time.monotonic()
    bar: Any = None
    try:
        for number, item in enumerate(items):
            if bar is not None:
                bar.update()
            elif not quiet and time.monotonic() - started > _PATIENCE_SECONDS:
                bar = progress_bar(total=total, initial=number, desc=label, unit=unit, leave=False)
            yield item
    finally:
        if bar is not None:
            bar.close()
