"""What can go wrong with batches."""

from __future__ import annotations

from typing import Final

from jupyter_mlsvc_server.errors import (
    Advice,
    BadRequest,
    MlsvcServerError,
    NotFound,
    PayloadTooLarge,
    TooManyRequests,
)

_DELETE_SOME: Final = Advice(
    "Delete some with DELETE /api/NAME/VERSION/batch/ID.",
    operation="CancelAndDeleteBatchExecution",
)


class BatchNotFound(NotFound):
    """No such batch, or another person's, which looks the same from outside."""

    code = "BatchNotFound"

    def __init__(self, name: str, version: str, batch_id: str) -> None:
        super().__init__(
            f"There is no batch {batch_id!r} of version {version!r} of service {name!r}.",
            advice=Advice(
                f"List yours with GET /api/{name}/{version}/batch.",
                operation="GetBatchExecutions",
            ),
        )


class RecordNotFound(NotFound):
    """The batch has no record of this number, or its result is not there yet."""

    def __init__(self, index: str, total: int) -> None:
        super().__init__(
            f"Record {index!r} has no result. The batch has {total:,} records, counted from 0; "
            "those that are not finished have none yet."
        )


class BatchDamaged(MlsvcServerError):
    """What is stored of a batch is not what it was."""

    code = "ContentDamaged"

    def __init__(self, batch_id: str, what: str) -> None:
        super().__init__(
            f"{what} of batch {batch_id} is damaged, or its file is missing. Start a batch with "
            "these records again."
        )


class FileNotFound(NotFound):
    """The code wrote no such file for this record."""

    def __init__(self, file_name: str, index: int) -> None:
        super().__init__(f"There is no file {file_name!r} of record {index}.")


class TooManyBatches(TooManyRequests):
    """The caller has as many batches as one person may have."""

    code = "TooManyBatches"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"You have {most:,} batches, which is the limit for one person "
            "(BatchManager.max_batches_per_user).",
            retry_after=60,
            advice=_DELETE_SOME,
        )


class BatchesTooLarge(PayloadTooLarge):
    """The caller's batches take as much of the disk as one person's may."""

    code = "BatchesTooLarge"

    def __init__(self, size: int, most: int) -> None:
        super().__init__(
            f"Your batches would take {size:,} bytes with this one; {most:,} is the limit for one "
            "person (BatchManager.max_bytes_per_user).",
            advice=_DELETE_SOME,
        )


class InvalidRecords(BadRequest):
    """The body is no list of records."""


class TooManyRecords(PayloadTooLarge):
    """More records than a batch may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"A batch may have {most:,} records here. Send them in several batches.")
