"""What can go wrong with batches."""

from __future__ import annotations

from jupyter_mlsvc_server.errors import (
    Advice,
    BadRequest,
    MlsvcServerError,
    NotFound,
    PayloadTooLarge,
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


class InvalidRecords(BadRequest):
    """The body is no list of records."""


class TooManyRecords(PayloadTooLarge):
    """More records than a batch may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"A batch may have {most:,} records here. Send them in several batches.")
