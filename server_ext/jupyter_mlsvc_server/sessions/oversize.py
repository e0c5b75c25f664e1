"""Outputs that are too large to be read whole, where others wait meanwhile."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

from jupyter_mlsvc_server.formats.request_bodies import LARGE_BYTES
from jupyter_mlsvc_server.sessions.widget_text import VIEW

_TEXT: Final = re.compile(rb'"text(?:/plain)?":\s*"')
_NAME: Final = re.compile(rb'"name":\s*"(stdout|stderr)"')


_READ: Final = frozenset({"text/plain", VIEW})


class _Display(msgspec.Struct):
    data: dict[str, msgspec.Raw]
    metadata: dict[str, Any] = {}
    transient: dict[str, Any] = {}


_decode_display: Final = msgspec.json.Decoder(_Display).decode


def display_content(packed: bytes) -> dict[str, Any]:
    """Read the content of a display, whose pictures and pages stay the JSON that they came as.

    Raises
    ------
    msgspec.MsgspecError
        It is no JSON, or not of this form.
    """
    display = _decode_display(packed)
    data = {
        kind: value
        if len(memoryview(value)) > LARGE_BYTES and kind not in _READ
        else msgspec.json.decode(value)
        for kind, value in display.data.items()
    }
    return {"data": data, "metadata": display.metadata, "transient": display.transient}


def beginning_of(kind: str, data: bytes) -> dict[str, Any] | None:
    """Make a content of what was read of one, which is JSON that breaks off.

    Parameters
    ----------
    kind
        Type of the output.
    data
        The first bytes of its content.

    Returns
    -------
    dict or None
        A content with the text as far as it was read; None where there is no text.
    """
    found = _TEXT.search(data)
    text = _cut_string(data[found.end() :]) if found else ""
    if not text:
        return None
    if kind == "stream":
        name = _NAME.search(data)
        return {"name": name[1].decode() if name else "stdout", "text": text}
    return {"data": {"text/plain": text}, "metadata": {}}


def shortened(event: dict[str, Any], room: int) -> dict[str, Any] | None:
    """Cut the text of an event so that it takes some bytes at most; None where it has no text."""
    data = event.get("data")
    text = event.get("text") if data is None else data.get("text/plain")
    if not isinstance(text, str) or room <= 0:
        return None
    # As JSON a character has up to six bytes, and outside of the first plane twelve.
    cut = text[:room]
    while cut and len(json.dumps(cut)) > room:
        cut = cut[: len(cut) // 2]
    if not cut:
        return None
    if data is None:
        return {**event, "text": cut}
    return {**event, "data": {"text/plain": cut}, "metadata": {}}


def _cut_string(data: bytes) -> str:
    """Decode a JSON string without its beginning quote that may break off anywhere."""
    end = 0
    while (end := data.find(b'"', end)) >= 0:
        before = _backslashes(data[:end])
        if before % 2 == 0:
            break
        end += 1
    body = data if end < 0 else data[:end]
    for cut in range(min(12, len(body)) + 1):
        # A character, an escape, or a pair of them may be cut in two.
        try:
            text: str = json.loads(b'"' + body[: len(body) - cut] + b'"')
            text.encode()
        except ValueError:
            continue
        return text
    return ""


def _backslashes(data: bytes) -> int:
    return len(data) - len(data.rstrip(b"\\"))
