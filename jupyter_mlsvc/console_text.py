"""What a service printed before it failed, without what only its libraries did."""

from __future__ import annotations

import html
import re
from typing import Final

MAX_LINES: Final = 40
"""Lines that are shown of what was printed."""

_FRAME: Final = re.compile(r'  File "(?P<file>[^"]*)", line \d+')
_INNER: Final = re.compile(r"    ")
_REPEATED: Final = re.compile(r"  \[Previous line repeated ")


def folded(console: str) -> str:
    """Leave frames of libraries out of tracebacks, and the middle out of what is long.

    Frames of the service stay, whose code is in no file: ``<Loans/V1.0>``. So does all that is no
    frame, above all the last line.
    """
    kept: list[str] = []
    left_out = 0
    is_library = False
    for line in console.rstrip("\n").splitlines():
        frame = _FRAME.match(line)
        if frame is not None:
            is_library = not frame["file"].startswith("<")
            left_out += is_library
        elif not (_INNER.match(line) or _REPEATED.match(line)):
            is_library = False
        if is_library:
            continue
        if left_out:
            kept.append(_left_out(left_out))
            left_out = 0
        kept.append(line)
    if left_out:
        kept.append(_left_out(left_out))
    if len(kept) > MAX_LINES:
        half = MAX_LINES // 2
        kept[half:-half] = [f"[… {len(kept) - MAX_LINES:,} lines]"]
    return "\n".join(kept)


def folded_html(console: str) -> str:
    """Show the same, and where that is not all of it the whole under a fold."""
    whole, short = console.rstrip("\n"), folded(console)
    shown = f"<pre>{html.escape(short)}</pre>"
    if short == whole:
        return shown
    lines = whole.count("\n") + 1
    return (
        f"{shown}<details><summary>All {lines:,} lines</summary>"
        f"<pre>{html.escape(whole)}</pre></details>"
    )


def _left_out(count: int) -> str:
    return f"  [… {count} {'frame' if count == 1 else 'frames'} of libraries]"
