"""Routes of batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final

from starlette.responses import Response

from jupyter_mlsvc_server.api.arrow import is_arrow
from jupyter_mlsvc_server.api.request import ApiRequest
from jupyter_mlsvc_server.api.responses import StreamedResponse, bytes_response, json_response
from jupyter_mlsvc_server.api.routing import Routes, counted, route, upload
from jupyter_mlsvc_server.batches.manager import BatchManager
from jupyter_mlsvc_server.batches.record import BatchRecord
from jupyter_mlsvc_server.errors import BadRequest

_PARALLEL_COUNT: Final = 10
_MAX_WHOLE_BYTES: Final = 2**16
"""A longer answer is sent in pieces."""


_BATCHES: Final = "BatchManager.max_batches_per_user"


class BatchRoutes:
    """Starts, follows and ends batches."""

    def __init__(self, *, batches: BatchManager) -> None:
        self._batches = batches

    def table(self) -> Routes:
        """Return the routes."""
        batches = "/api/{name}/{version}/batch"
        batch = batches + "/{batch_id}"
        files = batch + "/{index}/files"
        return [
            route(
                batches, get=self.list, post=counted(_BATCHES, upload(self.start, reads_text=True))
            ),
            route(batch, get=self.status, delete=self.delete),
            route(batch + "/cancel", post=self.cancel),
            route(files, get=self.file_names),
            route(files + "/{file_name}", get=self.file),
        ]

    async def list(self, request: ApiRequest, name: str, version: str) -> Response:
        """List ids of the caller's, oldest first (contract: ``GetBatchExecutions``)."""
        return json_response(await self._batches.ids(request.principal, name, version))

    async def start(self, request: ApiRequest, name: str, version: str) -> Response:
        """Start one (contract: ``StartBatchExecution``)."""
        # The records are too many to keep in memory.
        upload = await self._batches.receive(
            is_lenient=request.settings.lenient_json, is_arrow=is_arrow(request.headers)
        )
        request.ended.push_async_callback(asyncio.to_thread, upload.discard)
        async for piece in request.pieces():
            await upload.write(piece)
        parallel_count = _number(request, "parallelCount", _PARALLEL_COUNT, least=1)
        started = await self._batches.begin(
            request.principal, name, version, upload, parallel_count
        )
        return json_response(started, status=202)

    async def status(self, request: ApiRequest, name: str, version: str, batch_id: str) -> Response:
        """Answer how far it is, with results (contract: ``GetBatchExecutionStatus``)."""
        record = await self._find(request, name, version, batch_id)
        # Microsoft's Python client has no s at the end of the name.
        partial = request.query_flag("showPartialResults", "showPartialResult")
        first = _number(request, "first", 0, least=0)
        count = _number(request, "count", 0, least=0) if request.query("count") else None
        if partial and record.is_active and not first and count is None:
            await self._batches.partial_polls.wait(record)
            record = await self._find(request, name, version, batch_id)
        pieces = self._batches.results.status(record, partial=partial, first=first, count=count)
        beginning: list[bytes] = []
        async for piece in pieces:
            beginning.append(piece)
            if sum(map(len, beginning)) > _MAX_WHOLE_BYTES:
                headers = {"Content-Type": "application/json"}
                return StreamedResponse(_joined(beginning, pieces), headers=headers)
        return Response(b"".join(beginning))

    async def delete(self, request: ApiRequest, name: str, version: str, batch_id: str) -> Response:
        """Stop and delete it (contract: ``CancelAndDeleteBatchExecution``)."""
        await self._batches.delete(await self._find(request, name, version, batch_id))
        return json_response([batch_id])

    async def cancel(self, request: ApiRequest, name: str, version: str, batch_id: str) -> Response:
        """Stop it and keep the results it has (our addition)."""
        was_active = await self._batches.cancel(await self._find(request, name, version, batch_id))
        return json_response(
            f"Cancelled batch {batch_id}." if was_active else f"Batch {batch_id} had ended."
        )

    async def file_names(
        self, request: ApiRequest, name: str, version: str, batch_id: str, index: str
    ) -> Response:
        """List files that the code wrote for a record (contract: ``GetBatchExecutionFiles``)."""
        record = await self._find(request, name, version, batch_id)
        return json_response(await self._batches.results.file_names(record, index))

    async def file(self, request: ApiRequest, file_name: str, index: str, **batch: str) -> Response:
        """Send such a file as it is (contract: ``GetBatchExecutionFile``)."""
        record = await self._find(request, **batch)
        return bytes_response(await self._batches.results.file(record, index, file_name))

    async def _find(
        self, request: ApiRequest, name: str, version: str, batch_id: str
    ) -> BatchRecord:
        return await self._batches.get(request.principal, name, version, batch_id)


async def _joined(beginning: Sequence[bytes], rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    for piece in beginning:
        yield piece
    async for piece in rest:
        yield piece


def _number(request: ApiRequest, name: str, default: int, *, least: int) -> int:
    """Read a number from the query.

    Raises
    ------
    BadRequest
        It is none, or too small.
    """
    text = request.query(name, str(default))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if number < least:
        raise BadRequest(f"{name} must be an integer of at least {least}, got {text!r}.")
    return number
