"""Answers that a client may have already: their entity tags, and the 304 in their place."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec
from starlette.datastructures import Headers
from starlette.responses import Response

from jupyter_mlsvc_server.storage.turns import in_turns

_TAG_BYTES: Final = 16


async def list_unless_known(headers: Headers, items: Sequence[object]) -> Response:
    """Make an answer of a list, or a 304 where the client's ``If-None-Match`` names it.

    The tag is of the bytes, so that it holds whichever server of several answers, and changes with
    whatever the caller may see.

    Parameters
    ----------
    headers
        Those of the request.
    items
        There may be many thousands.
    """
    body = b"[%b]" % b",".join(await in_turns(msgspec.json.encode, items))
    tag = f'"{blake2b(body, digest_size=_TAG_BYTES).hexdigest()}"'
    is_known = _names(headers.getlist("if-none-match"), tag)
    given = {"ETag": tag}
    return Response(status_code=304, headers=given) if is_known else Response(body, headers=given)


def _names(conditions: list[str], tag: str) -> bool:
    """Whether one of the tags is this one, also as proxies that compress have weakened it."""
    named = {each.strip().removeprefix("W/") for text in conditions for each in text.split(",")}
    return not named.isdisjoint({tag, "*"})
