"""Text of others, shown so that it cannot pass for something else.

Names, messages and output come from anybody. A line end in one forges a line of a log, a control
character changes a terminal, and marks of writing direction make ``gpj.exe`` read ``exe.jpg``.
"""

from __future__ import annotations

import re
from typing import Final

_HARMFUL: Final = re.compile(
    # Controls, soft hyphen, and those of writing direction.
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    # Invisible operators, isolates, halves of characters, annotations, tags.
    "\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def harmless(text: str) -> str:
    """Return text on one line, with what is invisible or moves other text as an escape.

    What is left alone is all that people write: letters of any script with their joiners, and
    emoji.
    """
    return text if text.isascii() and text.isprintable() else _HARMFUL.sub(_escape, text)


def harmless_lines(text: str) -> str:
    """Return text as :func:`harmless` does, with its line ends and tabs."""
    return "\n".join("\t".join(map(harmless, line.split("\t"))) for line in text.split("\n"))


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
