"""What a batch has so far, read for answers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire import models
from jupyter_mlsvc_server.batches import files
from jupyter_mlsvc_server.batches.errors import (
    BatchDamaged,
    BatchNotFound,
    FileNotFound,
    RecordNotFound,
)
from jupyter_mlsvc_server.batches.record import BatchRecord, BatchState, Progress
from jupyter_mlsvc_server.batches.run import BatchRun, failure

_PIECE_BYTES: Final = 2**20
_PIECE_RESULTS: Final = 4096

_UNFINISHED: Final = msgspec.json.encode(
    models.BatchItemResult(
        success=False,
        error_message="Not finished.",
        output_parameters={},
        output_files={},
        console_output="",
        changed_files=[],
        finished=False,
    )
)
"""Stands where a record has no result, so that results keep the numbers of their records."""

_DAMAGED: Final = failure(
    "The stored result of this record is damaged. Start a batch with this record again."
)
"""Stands where a result is not what was written."""


class BatchResults:
    """Reads batches that run here, run elsewhere, or have ended.

    Parameters
    ----------
    root
        Where the folders of batches are.
    runs
        The batches that run in this process, by their ids.
    is_there
        Tells whether a batch has a row.
    spell
        Spells a state.
    """

    def __init__(
        self,
        *,
        root: Path,
        runs: Mapping[str, BatchRun],
        is_there: Callable[[str], Awaitable[bool]],
        spell: Callable[[str], str] = str,
    ) -> None:
        self._is_there = is_there
        self._root = root
        self._runs = runs
        self._spell = spell

    async def progress(self, record: BatchRecord) -> Progress:
        """Count the results that a batch has."""
        run = self._runs.get(record.id)
        if run is not None and run.progress.completed:
            return run.progress
        if record.state is BatchState.COMPLETE:
            return Progress(record.completed, record.failed, record.total)
        return await self._from_disk(record, files.count) or Progress()

    async def status(
        self, record: BatchRecord, *, partial: bool, first: int = 0, count: int | None = None
    ) -> AsyncIterator[bytes]:
        """Return state and results of a batch in pieces (contract: ``GetBatchExecutionStatus``).

        Results have the numbers of their records. Where one is not there yet but a later one is, a
        result that says so (``finished`` is false) takes its place.

        Parameters
        ----------
        partial
            Whether a batch that has not ended gives the results it has.
        first, count
            Which results to give; by default all.
        """
        progress = await self.progress(record)
        head = msgspec.json.encode(
            models.BatchWebServiceResult(
                state=self._spell(record.state.value),
                completed_item_count=progress.completed,
                total_item_count=record.total,
                parallel_count=record.parallel_count,
                failed_item_count=progress.failed,
                error_message=record.reason,
                batch_execution_results=[],
            )
        )
        opening, closing = head[:-2], head[-2:]
        end = progress.reach if partial or not record.is_active else 0
        if count is not None:
            end = min(end, first + count)
        yield opening
        separator = b""
        async for piece in self._pieces(record, first, end):
            yield separator + piece
            separator = b","
        yield closing

    async def file_names(self, record: BatchRecord, index: str) -> list[str]:
        """List the files that the code wrote for a record (contract: ``GetBatchExecutionFiles``).

        Raises
        ------
        RecordNotFound
            There is no such record, or its result is not there yet.
        """
        result = await self._result(record, index)
        return [name for name, text in result.output_files.items() if text is not None]

    async def file(self, record: BatchRecord, index: str, file_name: str) -> bytes:
        """Read one of these files (contract: ``GetBatchExecutionFile``).

        Raises
        ------
        RecordNotFound, FileNotFound
            There is no such record or file.
        """
        text = (await self._result(record, index)).output_files.get(file_name)
        if text is None:
            raise FileNotFound(file_name, int(index))
        return base64.b64decode(text)

    async def _pieces(self, record: BatchRecord, first: int, end: int) -> AsyncIterator[bytes]:
        at = first
        while at < end:
            stand_in = _UNFINISHED if record.is_active else _DAMAGED
            found = await self._from_disk(record, lambda folder: _piece(folder, at, end, stand_in))  # noqa: B023
            if found is None:
                # It was deleted meanwhile; fewer results are no answer.
                raise BatchNotFound(record.name, record.version, record.id)
            piece, at = found
            yield piece

    async def _result(self, record: BatchRecord, index: str) -> models.WebServiceResult:
        if not (index.isascii() and index.isdigit()) or int(index) >= record.total:
            raise RecordNotFound(index, record.total)
        number = int(index)
        found = await self._from_disk(
            record, lambda folder: next(files.read_results(folder, number, number + 1), None)
        )
        if found is None or (not found and record.is_active):
            raise RecordNotFound(index, record.total)
        if not found:
            raise BatchDamaged(record.id, f"The result of record {index}")
        return msgspec.json.decode(found, type=models.WebServiceResult)

    async def _from_disk(self, record: BatchRecord, read: Callable[[Path], Any]) -> Any:
        """Read files of a batch; None where it has none yet, or was deleted meanwhile."""
        folder = self._root / record.id
        try:
            return await asyncio.to_thread(read, folder)
        except FileNotFoundError:
            # A row is deleted before its files are.
            if record.state is BatchState.COMPLETE and await self._is_there(record.id):
                raise BatchDamaged(record.id, "What is stored") from None
            return None


def _piece(folder: Path, first: int, end: int, damaged: bytes) -> tuple[bytes, int]:
    """Join results from ``first`` on to a piece of JSON; gives it and the next result's number."""
    bodies: list[bytes] = []
    size = 0
    for body in files.read_results(folder, first, min(end, first + _PIECE_RESULTS)):
        bodies.append(_UNFINISHED if body is None else body or damaged)
        size += len(bodies[-1])
        if size >= _PIECE_BYTES:
            break
    return b",".join(bodies), first + len(bodies)
