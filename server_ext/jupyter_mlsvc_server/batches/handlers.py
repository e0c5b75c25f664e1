"""REST endpoints of batches."""

from __future__ import annotations

from jupyter_mlsvc_server.batches.intake import Upload
from jupyter_mlsvc_server.batches.record import BatchRecord
from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.web import Endpoint, Routes

_PARALLEL_COUNT = 10
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


class BatchEndpoint(Endpoint):
    """Base of what concerns batches."""

    resource = "batches"

    async def find(self, name: str, version: str, batch_id: str) -> BatchRecord:
        """Find a batch of the caller."""
        return await self.parts.batches.get(self.principal, name, version, batch_id)

    def number(self, name: str, default: int, *, least: int) -> int:
        """Read a number from the query.

        Raises
        ------
        BadRequest
            It is none, or too small.
        """
        text = self.query(name, str(default))
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
        if number < least:
            raise BadRequest(f"{name} must be an integer of at least {least}, got {text!r}.")
        return number

    def flag(self, *names: str) -> bool:
        """Read a truth value from the query, under any of its names; false where it is left out.

        Raises
        ------
        BadRequest
            It is neither true nor false.
        """
        for name in names:
            text = self.query(name)
            if text:
                if text.lower() not in _TRUTH:
                    raise BadRequest(f"{name} must be true or false, got {text!r}.")
                return _TRUTH[text.lower()]
        return False


class AllBatches(BatchEndpoint):
    """The caller's batches of a service version."""

    takes_upload = True
    _upload: Upload | None = None

    async def receiver(self) -> Upload:
        """Open a file for the records, which are too many to keep in memory."""
        self._upload = await self.parts.batches.receive(is_lenient=self.web_settings.lenient_json)
        return self._upload

    async def post(self, name: str, version: str) -> None:
        """Start one (contract: ``StartBatchExecution``)."""
        self.check_body()
        assert self._upload is not None
        parallel_count = self.number("parallelCount", _PARALLEL_COUNT, least=1)
        self.answer(
            await self.parts.batches.begin(
                self.principal, name, version, self._upload, parallel_count
            ),
            status=202,
        )

    async def get(self, name: str, version: str) -> None:
        """List their ids, oldest first (contract: ``GetBatchExecutions``)."""
        self.answer(await self.parts.batches.ids(self.principal, name, version))


class OneBatch(BatchEndpoint):
    """One batch."""

    async def get(self, name: str, version: str, batch_id: str) -> None:
        """Tell how far it is, with results (contract: ``GetBatchExecutionStatus``)."""
        record = await self.find(name, version, batch_id)
        # Microsoft's Python client has no s at the end of the name.
        partial = self.flag("showPartialResults", "showPartialResult")
        first = self.number("first", 0, least=0)
        count = self.number("count", 0, least=0) if self.query("count") else None
        async for piece in self.parts.batches.results.status(
            record, partial=partial, first=first, count=count
        ):
            if self._write_buffer and len(piece) > 2**16:
                await self.flush()
            self.write(piece)
        self.finish()

    async def delete(self, name: str, version: str, batch_id: str) -> None:
        """Stop and delete it (contract: ``CancelAndDeleteBatchExecution``)."""
        await self.parts.batches.delete(await self.find(name, version, batch_id))
        self.answer([batch_id])


class CancelBatch(BatchEndpoint):
    """Stopping a batch."""

    async def post(self, name: str, version: str, batch_id: str) -> None:
        """Stop it and keep the results it has (our addition)."""
        was_active = await self.parts.batches.cancel(await self.find(name, version, batch_id))
        self.answer_text(
            f"Cancelled batch {batch_id}." if was_active else f"Batch {batch_id} had ended."
        )


class RecordFiles(BatchEndpoint):
    """The files that the code wrote for one record."""

    async def get(self, name: str, version: str, batch_id: str, index: str) -> None:
        """List their names (contract: ``GetBatchExecutionFiles``)."""
        record = await self.find(name, version, batch_id)
        self.answer(await self.parts.batches.results.file_names(record, index))


class RecordFile(BatchEndpoint):
    """A file that the code wrote for one record."""

    async def get(self, name: str, version: str, batch_id: str, index: str, file_name: str) -> None:
        """Send it as it is (contract: ``GetBatchExecutionFile``)."""
        record = await self.find(name, version, batch_id)
        content = await self.parts.batches.results.file(record, index, file_name)
        self.answer_bytes(content, "application/octet-stream")


def _path(rest: str) -> str:
    return r"/api/(?P<name>[^/]+)/(?P<version>[^/]+)/batch" + rest


_ONE = "/(?P<batch_id>[^/]+)"
_RECORD = _ONE + "/(?P<index>[^/]+)/files"

routes: Routes = [
    (_path(""), AllBatches),
    (_path(_ONE), OneBatch),
    (_path(_ONE + "/cancel"), CancelBatch),
    (_path(_RECORD), RecordFiles),
    (_path(_RECORD + "/(?P<file_name>[^/]+)"), RecordFile),
]
