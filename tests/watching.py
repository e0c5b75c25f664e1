"""Looks at every answer of our servers that a test's process gets, whichever client asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import requests.adapters
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from tests.conformity import Answer, Unexpected, check_answer

OURS = "jupyter-mlsvc/"
_MAX_SHORT_BODY = 2**22
"""Bytes of a body that are read for the check; larger ones are left to stream."""


@contextmanager
def watched_answers() -> Iterator[list[str]]:
    """Check all answers while the block runs.

    Yields
    ------
    list of str
        What was found. Nothing is raised where the call was made: whoever made it may catch it.
    """
    found: list[str] = []

    def look(answer: Answer) -> None:
        try:
            check_answer(answer)
        except Unexpected as unexpected:
            found.append(str(unexpected))

    send = requests.adapters.HTTPAdapter.send
    fetch = AsyncHTTPClient.fetch

    def watched_send(adapter: Any, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        response = send(adapter, request, *args, **kwargs)
        if response.headers.get("Server", "").startswith(OURS):
            look(_of_requests(request, response))
        return response

    async def watched_fetch(client: Any, *args: Any, **kwargs: Any) -> HTTPResponse:
        response = await fetch(client, *args, **kwargs)
        if response.headers.get("Server", "").startswith(OURS):
            look(_of_tornado(response))
        return response

    requests.adapters.HTTPAdapter.send = watched_send  # type: ignore[method-assign, assignment]
    AsyncHTTPClient.fetch = watched_fetch  # type: ignore[method-assign, assignment]
    try:
        yield found
    finally:
        requests.adapters.HTTPAdapter.send = send  # type: ignore[method-assign]
        AsyncHTTPClient.fetch = fetch  # type: ignore[method-assign]


def _of_requests(request: requests.PreparedRequest, response: requests.Response) -> Answer:
    content_type = response.headers.get("Content-Type", "")
    length = response.headers.get("Content-Length", "")
    is_json = content_type.startswith("application/json")
    # An answer in pieces may be a long one that its caller wants to stream; a page is not.
    is_short = int(length) <= _MAX_SHORT_BODY if length.isdigit() else "count=" in str(request.url)
    return Answer(
        method=str(request.method),
        url=str(request.url),
        status=response.status_code,
        content_type=content_type,
        # Reading it here leaves it for the caller, who may still ask for pieces.
        body=response.content if is_json and is_short else None,
    )


def _of_tornado(response: HTTPResponse) -> Answer:
    return Answer(
        method=str(response.request.method),
        url=response.request.url,
        status=response.code,
        content_type=response.headers.get("Content-Type", ""),
        body=response.body,
    )
