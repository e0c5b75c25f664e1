"""Progress of what goes through many things, shown only where it takes its time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

T = TypeVar("T")

_PATIENCE_SECONDS: Final = 1.0


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
                # Imported late: it looks for a notebook, which takes its time.
                from tqdm.auto import tqdm

                bar = tqdm(total=total, initial=number, desc=label, unit=unit, leave=False)
            yield item
    finally:
        if bar is not None:
            bar.close()
