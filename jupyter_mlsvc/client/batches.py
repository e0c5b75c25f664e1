"""Batches: a service called with many records at once, on the server, while you do other things."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.client.api import Api
from jupyter_mlsvc.client.parameters import plain_values
from jupyter_mlsvc.client.progress import progress_bar, shown_when_slow
from jupyter_mlsvc.client.results import ServiceResult
from jupyter_mlsvc.client.services import Services
from jupyter_mlsvc.client.transfer import Bytes, Progress, no_progress
from jupyter_mlsvc.errors import (
    BatchFailed,
    BatchInterrupted,
    ConnectionFailed,
    InvalidInput,
    NotFound,
)
from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.names import find_name
from jupyter_mlsvc.wire.tables import is_table

if TYPE_CHECKING:
    import pandas

    from jupyter_mlsvc.client.service import Service

_ACTIVE: Final = frozenset({"Pending", "InProgress"})
_PAGE: Final = 5000
_FIRST_PAUSE: Final = 0.05
_MAX_PAUSE: Final = 1.0
_SERVER_AWAY_SECONDS: Final = 60.0
_WHOLE_ROW_TYPES: Final = frozenset({"vector", "matrix", "data.frame"})


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch is.

    Attributes
    ----------
    state : str
        ``Pending``, ``InProgress``, ``Complete``, ``Failed`` or ``Cancelled``.
    completed, failed, total : int
        Records that have a result, those of them whose result is a failure, and all records.
    reason : str
        Why the batch could not go on, or empty.
    """

    state: str
    completed: int
    failed: int
    total: int
    reason: str = ""

    @property
    def is_active(self) -> bool:
        """Whether it has yet to end."""
        return self.state in _ACTIVE

    def __str__(self) -> str:
        failed = f", {self.failed:,} failed" if self.failed else ""
        return f"{self.state}: {self.completed:,} of {self.total:,} records{failed}"


class Batch:
    """A batch of yours on the server.

    Attributes
    ----------
    id : str
        Finds it again: ``client.batches.get(name, version, id)``.
    name, version : str
        The service.

    Examples
    --------
    >>> batch = client.batches.start("Iris", "V1.0", flowers)
    >>> batch.wait().to_frame()
    """

    def __init__(
        self, batches: Batches, name: str, version: str, batch_id: str, index: Any = None
    ) -> None:
        self._batches = batches
        self._index = index
        self.name = name
        self.version = version
        self.id = batch_id

    # --- how far -----------------------------------------------------------------------------

    @property
    def progress(self) -> BatchProgress:
        """How far it is now; asks the server."""
        body = self._status(first=0, count=0)
        return BatchProgress(
            # A server may spell states as the documents of the original do.
            state=f"{body.state[:1].upper()}{body.state[1:]}",
            completed=body.completed_item_count,
            failed=body.failed_item_count,
            total=body.total_item_count,
            reason=body.error_message,
        )

    @property
    def state(self) -> str:
        """``Pending``, ``InProgress``, ``Complete``, ``Failed`` or ``Cancelled``."""
        return self.progress.state

    def wait(self, *, quiet: bool = False, timeout: float | None = None) -> Batch:
        """Wait until it has ended, with a progress bar.

        Interrupting ends the waiting only: the batch goes on on the server, also if it restarts.
        Wait again, or stop it with :meth:`cancel`.

        Parameters
        ----------
        quiet : bool
            Show no progress bar.
        timeout : float, optional
            Seconds to wait at most.

        Raises
        ------
        BatchFailed
            It could not go on; the results until then are there.
        BatchInterrupted
            You interrupted the waiting. It is a ``KeyboardInterrupt``.
        TimeoutError
            It goes on, but the time is over.
        """
        try:
            progress = self._watch(quiet=quiet, timeout=timeout)
        except KeyboardInterrupt:
            raise BatchInterrupted(self.name, self.version, self.id) from None
        if progress.state == "Failed":
            raise BatchFailed(f"{self.name} {self.version}", self.id, progress.reason)
        return self

    def _watch(self, *, quiet: bool, timeout: float | None) -> BatchProgress:
        give_up = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        progress = self.progress
        silence: dict[str, Any] = {"disable": True} if quiet else {}
        with progress_bar(
            total=progress.total, desc=f"{self.name} {self.version}", unit="record", **silence
        ) as bar:
            while True:
                bar.update(progress.completed - bar.n)
                if progress.failed:
                    bar.set_postfix(failed=progress.failed, refresh=False)
                if not progress.is_active:
                    return progress
                if give_up is not None and time.monotonic() > give_up:
                    raise TimeoutError(f"Batch {self.id} goes on after {timeout:g} s: {progress}.")
                time.sleep(pause)
                pause = min(pause * 1.5, _MAX_PAUSE)
                progress = self._patient_progress()

    def _patient_progress(self) -> BatchProgress:
        """Ask the server; one that is away may be restarting, and goes on with the batch then."""
        give_up = time.monotonic() + _SERVER_AWAY_SECONDS
        while time.monotonic() < give_up:
            with suppress(ConnectionFailed):
                return self.progress
            time.sleep(_MAX_PAUSE)
        return self.progress

    # --- what came of it ---------------------------------------------------------------------

    def results(self) -> list[ServiceResult | None]:
        """Results in the order of the records; None for a record that has none yet.

        Those whose ``success`` is false tell in ``error_message`` what was wrong.
        """
        service = f"{self.name} {self.version}"
        found = [ServiceResult(service, row) if row.finished else None for row in self._rows()]
        return found + [None] * (self.progress.total - len(found))

    def to_frame(self, index: Any = None, *, quiet: bool = False) -> pandas.DataFrame:
        """Give the outputs as a DataFrame with a row for each record.

        Rows that failed stay, with ``success`` false, the reason in ``error``, and no outputs.
        Where an output has one of these two names, an underscore is added to ours.

        Parameters
        ----------
        index : optional
            Index of the frame; that of the DataFrame that the batch was started with, or 0, 1, …
        quiet : bool
            Show no progress bar while many results are fetched.

        Returns
        -------
        pandas.DataFrame
            A column for each output, ``success`` and ``error``.
        """
        import pandas

        total = self.progress.total
        rows = list(
            shown_when_slow(self._rows(), "Fetching results", total, unit="record", quiet=quiet)
        )
        index = self._index if index is None else index
        if index is None:
            index = pandas.RangeIndex(total)
        elif len(index) != total:
            raise InvalidInput(
                f"The index has {len(index):,} entries and the batch {total:,} records."
            )
        columns: dict[str, list[Any]] = {name: [None] * total for name in self._output_names(rows)}
        success, error = [False] * total, ["Not finished."] * total
        for number, row in enumerate(rows):
            success[number], error[number] = row.success, row.error_message
            for name, value in row.output_parameters.items():
                columns[name][number] = value
        columns[_free_name("success", columns)] = list(success)
        columns[_free_name("error", columns)] = list(error)
        return pandas.DataFrame(columns, index=index)

    def artifacts(self, record: int) -> list[str]:
        """List the files that the code wrote for a record, counted from 0."""
        return self._batches.api.get(list[str], *self._path, str(record), "files")

    def artifact(self, record: int, name: str) -> bytes:
        """Content of one of these files.

        Raises
        ------
        NotFound
            The code wrote no such file for the record.
        """
        return self._batches.api.call("GET", *self._path, str(record), "files", name).read()

    # --- its end -----------------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop it; the results until then are kept. Does nothing where it has ended."""
        self._batches.api.post(str, *self._path, "cancel")

    def delete(self) -> None:
        """Stop it and delete it with its results (contract: ``CancelAndDeleteBatchExecution``)."""
        self._batches.api.delete(*self._path)

    # --- inside ------------------------------------------------------------------------------

    @property
    def _path(self) -> tuple[str, ...]:
        return ("api", self.name, self.version, "batch", self.id)

    def _status(self, *, first: int, count: int) -> models.BatchWebServiceResult:
        query = {"showPartialResults": "true", "first": str(first), "count": str(count)}
        return self._batches.api.get(models.BatchWebServiceResult, *self._path, query=query)

    def _rows(self) -> Iterator[models.BatchItemResult]:
        first = 0
        while page := self._status(first=first, count=_PAGE).batch_execution_results:
            yield from page
            first += len(page)

    def _output_names(self, rows: Iterable[models.BatchItemResult]) -> list[str]:
        found: dict[str, None] = dict.fromkeys(
            self._batches.declared_outputs(self.name, self.version)
        )
        for row in rows:
            found.update(dict.fromkeys(row.output_parameters))
        return list(found)

    def __repr__(self) -> str:
        return f"<Batch {self.id} of {self.name} {self.version}: {self.progress}>"

    def _repr_html_(self) -> str:
        progress = self.progress
        return formatting.html_card(
            f"Batch of {self.name} {self.version}",
            [("id", self.id), ("progress", str(progress)), ("reason", progress.reason)],
        )


class Batches:
    """Your batches; ``client.batches``."""

    def __init__(self, api: Api, services: Services) -> None:
        self.api = api
        self._services = services

    def start(
        self,
        name: str,
        version: str | None,
        records: pandas.DataFrame | Mapping[str, Sequence[object]] | Iterable[Mapping[str, object]],
        *,
        parallel_count: int = 10,
        quiet: bool = False,
        progress: Progress = no_progress,
    ) -> Batch:
        """Start a batch (contract: ``StartBatchExecution``); it runs on the server.

        Parameters
        ----------
        version : str or None
            The newest where it is None.
        records : DataFrame, mapping of columns, or iterable of mappings
            A call of the service for each row. Of columns those are taken that are named like the
            inputs; others are left aside. Where the service has one input, a vector, matrix or
            data.frame, and there is no column of its name, whole rows are that input.
        parallel_count : int
            Records that may run at a time. How many do depends on the server's workers, too.
        quiet : bool
            Show no progress bar while many records are put together.
        progress : callable, optional
            Called with the bytes that are sent so far and in all.

        Raises
        ------
        InvalidInput
            A column is missing for an input, or JSON can't carry a value.
        NotFound
            No such service or version.
        """
        service = self._services.get(name, version)
        index = getattr(records, "index", None) if _is_frame(records) else None
        if index is None and is_table(records):
            records = plain_values({"records": records})["records"]
        found = shown_when_slow(
            _rows(service, records), "Putting records together", unit="record", quiet=quiet
        )
        body = b"[" + b",".join([msgspec.json.encode(row) for row in found]) + b"]"
        response = self.api.call(
            *("POST", "api", name, service.version, "batch"),
            query={"parallelCount": str(parallel_count)},
            body=body if progress is no_progress else Bytes(body, progress),
            timeout=(self.api.timeout[0], None),
        )
        started = self.api.decode(models.StartBatchExecutionResponse, response)
        return Batch(self, name, service.version, started.batch_execution_id, index)

    def get(self, name: str, version: str | None, batch_id: str, *, index: Any = None) -> Batch:
        """Find a batch of yours again, also after a restart of the notebook or the server.

        Parameters
        ----------
        index : optional
            Index for :meth:`Batch.to_frame`, which the server does not know.

        Raises
        ------
        NotFound
            You have no such batch.
        """
        version = version or self._services.get(name).version
        batch = Batch(self, name, version, batch_id, index)
        _ = batch.progress
        return batch

    def list(self, name: str, version: str | None = None) -> formatting.Listing[Batch]:
        """List your batches of a service version, oldest first (``GetBatchExecutions``)."""
        version = version or self._services.get(name).version
        found = self.api.get(list[str], "api", name, version, "batch")
        return formatting.Listing(
            (Batch(self, name, version, batch_id) for batch_id in found), _COLUMNS, "No batches."
        )

    def declared_outputs(self, name: str, version: str) -> Sequence[str]:
        """Names of a service's outputs; none where it is gone."""
        with suppress(NotFound):
            return [output.name for output in self._services.get(name, version).outputs]
        return []


_COLUMNS: Final[Sequence[formatting.Column]] = (
    ("id", lambda batch: batch.id),
    ("progress", lambda batch: batch.progress),
)


# --- records -----------------------------------------------------------------------------------


def _rows(service: Service, records: Any) -> Iterator[dict[str, Any]]:
    """Turn records into the inputs of one call after the other."""
    if _is_frame(records) or isinstance(records, Mapping):
        yield from _from_columns(service, records)
        return
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise InvalidInput(
                f"Record {number} is of type {type(record).__name__}; it has to be a mapping with "
                "the inputs by name."
            )
        yield plain_values(record)


def _from_columns(service: Service, records: Any) -> Iterator[dict[str, Any]]:
    names = [item.name for item in service.inputs]
    labels = [label for label in records if isinstance(label, str)]
    found = {name: find_name(name, labels) for name in names}
    missing = [name for name, label in found.items() if label is None]
    if not missing:
        columns = plain_values({name: records[label] for name, label in found.items()})
        yield from _zip(columns)
    elif len(names) == 1 and service.inputs[0].type in _WHOLE_ROW_TYPES:
        columns = plain_values({"frame": records})["frame"]
        for row in _zip(columns):
            yield {names[0]: _whole_row(service.inputs[0].type, row)}
    else:
        raise InvalidInput(
            f"{service.name} {service.version} has the inputs {', '.join(names)}; there is no "
            f"column {', '.join(map(repr, missing))}."
        )


def _zip(columns: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, values in columns.items():
        if not isinstance(values, list):
            raise InvalidInput(f"Column {name!r} is no list of values.")
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise InvalidInput("The columns differ in their lengths.")
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _whole_row(kind: str, row: Mapping[str, Any]) -> Any:
    if kind == "data.frame":
        return {name: [value] for name, value in row.items()}
    return [*row.values()] if kind == "vector" else [[*row.values()]]


def _is_frame(records: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(records, pandas.DataFrame)


def _free_name(name: str, taken: Mapping[str, object]) -> str:
    while name in taken:
        name += "_"
    return name
