"""Stand-in."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import bytes_response
from jupyter_mlsvc_server.auth.policy import Action, require
from jupyter_mlsvc_server.errors import MlsvcServerError


class ScoreEntry:
    """Stand-in."""

    def __init__(self, *, engine: Any, **kwargs: Any) -> None:
        self._engine = engine

    async def consume(self, request: ApiRequest, name: str, version: str) -> Response:
        """Answer a call."""
        require(request.principal, Action.CONSUME, None, "consume services")
        try:
            body = await request.body()
        except MlsvcServerError as error:
            if error.status in {400, 413, 415}:
                self._engine.reject(name, version)
            raise
        answer = await self._engine.consume(name, version, body)
        return bytes_response(answer.body, "application/json", status=answer.status)
