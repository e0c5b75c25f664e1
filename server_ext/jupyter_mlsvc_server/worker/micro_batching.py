"""Micro-batching: one call of a model predicts the rows of several requests.

A call of an estimator costs much the same for one row as for thirty. So the worker of a model that
predicts each row for itself takes all requests that wait on its link, up to ``MAX_REQUESTS``. It
never waits for more. Each request is answered as if it had been alone::

    bodies --> rows of each request --> groups of like rows --> one call a group --> answers
      |                                                             |
      | another shape, too large,                                   | raised, printed,
      | or does not fit the model                                   | or changed a file
      v                                                             v
    one after the other, as any program (:class:`Program`) <--------+

**Groups.** Rows are put together only where each column has the same type of values. So pandas and
the estimator see the types that they would see in one request alone.

**Falling back.** Of a call that raised or printed nobody can say which row was the cause. Its
requests are answered again one by one, and each gets its own message. After ``_MAX_LOUD_CALLS``
calls in a row that printed or changed a file, the worker no longer puts requests together.

**State.** Between two calls of the model everything is put back, as between two requests::

            call of the model
    fresh -------------------> used
      ^                         |  reset
      +------- all is back -----+
                                |
                                +-- the model was changed in place --> dirty

A dirty program answers what is left with ``Kind.RETIRED``: another worker has to take it, and this
one ends. A group that makes each worker dirty before it has answered anything would never get an
answer. So the first such worker leaves a file in the folder of the template, and workers that start
after it answer one by one.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
import warnings
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from jupyter_mlsvc.wire.models import ParameterDefinition, WebServiceResult
from jupyter_mlsvc.wire.values import encode_output, input_decoder
from jupyter_mlsvc_server.formats.protocol import Kind, Service
from jupyter_mlsvc_server.formats.realtime import INPUT, OUTPUT
from jupyter_mlsvc_server.worker.console import Console
from jupyter_mlsvc_server.worker.model import Model
from jupyter_mlsvc_server.worker.program import Compiled, Program
from jupyter_mlsvc_server.worker.scratch import ScratchDir

MAX_REQUESTS: Final = 32
"""Requests that one call predicts. More gain little, and wait longer for each other."""

_MAX_LOUD_CALLS: Final = 3
"""Calls in a row that printed something, after which requests are answered one by one."""

_MAX_BYTES: Final = 2**16
"""Bytes of a request that is put together with others; larger ones would only take memory."""

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError)
"""What reading a body that is not of the shape may raise."""

_DATA_FRAME: Final = "data.frame"
_EXACT: Final = 2**53
_INT64: Final = range(-(2**63), 2**63)
_SCALARS: Final = {int, float, str, bool, type(None)}
_NUMBERS: Final = {int, float, type(None)}

_INTEGERS: Final = "integers"
_FLOATS: Final = "floats"
_MISSING: Final = "floats, some missing"
_ALL_INTEGERS: Final = {_INTEGERS}
_FLOATS_OR_INTEGERS: Final = {_FLOATS, _INTEGERS}
_WHOLE: Final = {"i", "l", "q", "?"}
"""Types of arrays (numpy's characters) that have only values which JSON has, too."""

_MATRIX: Final = {*_FLOATS_OR_INTEGERS, _MISSING}


class _Request(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The body of a request in the one shape that is read here."""

    columns: dict[str, list[Any]] = msgspec.field(name=INPUT)


class _Rows(NamedTuple):
    """Rows of a request: its position among the requests, its columns, and the number of rows."""

    position: int
    labels: Sequence[str]
    columns: Sequence[list[Any]]
    height: int


class _Group(NamedTuple):
    """Requests whose rows are put together, their joined columns, and the types of these."""

    requests: list[_Rows]
    columns: Sequence[list[Any]]
    dtypes: Sequence[Hashable]


class RealtimeProgram(Program):
    """Program of a realtime service, which runs a model.

    Parameters
    ----------
    service, compiled, namespace
        As for any program; its code calls the model.
    model
        The model that the namespace has.
    """

    def __init__(
        self, service: Service, compiled: Compiled, namespace: dict[str, Any], model: Model
    ) -> None:
        self._input = ParameterDefinition(
            name=INPUT, type=_DATA_FRAME, columns=list(model.dtypes) or UNSET
        )
        spec = msgspec.structs.replace(service.spec, inputs=(self._input,))
        service = msgspec.structs.replace(service, spec=spec)
        super().__init__(service, compiled, namespace)
        self._model = model

    def enter(self, console: Console, scratch: ScratchDir) -> None:
        """Get ready to answer, in the worker."""
        self._model.enter()
        super().enter(console, scratch)


class MicroBatchingProgram(RealtimeProgram):
    """Program of a model that predicts each row without regard to the others."""

    most: int = MAX_REQUESTS

    def __init__(
        self, service: Service, compiled: Compiled, namespace: dict[str, Any], model: Model
    ) -> None:
        super().__init__(service, compiled, namespace, model)
        self._decode: Callable[[bytes], _Request] = msgspec.json.Decoder(_Request).decode
        self._encode = msgspec.json.Encoder().encode
        self._take = _taker(model.columns)
        self._make_frame = input_decoder(self._input)
        self._head, self._tail = self._frame_of_answers()
        self._is_dirty = False
        self._has_predicted = False
        self._loud = 0
        self._one_by_one = Path(service.work) / "one-by-one"
        """File that says: trying made a worker dirty before it had answered any request."""

    def enter(self, console: Console, scratch: ScratchDir) -> None:
        """Get ready to answer, in the worker."""
        super().enter(console, scratch)
        if self._one_by_one.exists():
            self._loud = _MAX_LOUD_CALLS

    def answer_all(self, bodies: list[bytes]) -> list[tuple[Kind, bytes]]:
        """Answer requests, in their order. Then :meth:`reset` is due, once for all of them.

        Where the model was changed by one of them, what is left is ``Kind.RETIRED``.
        """
        answers: list[tuple[Kind, bytes] | None] = [None] * len(bodies)
        if self._loud < _MAX_LOUD_CALLS:
            try:
                if len(bodies) == 1 and (row := self._read_row(bodies[0])) is not None:
                    answer = self._answer_row(row)
                    if answer is not None:
                        return [answer]
                else:
                    self._answer_together(bodies, answers)
            except Exception:  # noqa: BLE001  # a fault of ours: the other way may still go
                traceback.print_exc(file=sys.__stderr__)
        whole = [
            self._answer_alone(body) if answer is None else answer
            for body, answer in zip(bodies, answers, strict=True)
        ]
        if self._is_dirty and all(kind is Kind.RETIRED for kind, _ in whole):
            # Whoever gets them now would come no further.
            with contextlib.suppress(OSError):
                self._one_by_one.touch()
        return whole

    def reset(self) -> bool:
        """Restore everything for the next request; return whether that was possible."""
        return self._is_fresh() and super().reset()

    def _is_fresh(self) -> bool:
        """Undo what the last call of the model did, if any; return whether that worked."""
        if self._is_dirty:
            return False
        if self._has_run:
            self._is_dirty = not super().reset()
        elif self._has_predicted:
            # The model was called without the code of the service, and has left no files.
            self._is_dirty = not self._is_as_it_was()
        self._has_predicted = False
        return not self._is_dirty

    def _answer_alone(self, body: bytes) -> tuple[Kind, bytes]:
        return self.answer(self.read(body)) if self._is_fresh() else (Kind.RETIRED, b"")

    # --- a lone row of numbers, which has nobody to share the work with ---

    def _read_row(self, body: bytes) -> Any:
        """Return the matrix of a body with a single row of numbers; None if it is anything else."""
        model = self._model
        if not model.takes_matrix or len(body) > _MAX_BYTES:
            return None
        try:
            given = self._decode(body).columns
            _, columns = self._take(given)
        except _UNREADABLE:
            return None
        if len(given) != len(columns) or not self._fits(columns):
            return None
        row = []
        for column in columns:
            if len(column) != 1:
                return None
            item = column[0]
            if type(item) is not float and (type(item) is not int or not -_EXACT <= item <= _EXACT):
                return None
            row.append(item)
        numpy = sys.modules["numpy"]
        return numpy.array([row], numpy.float64 if float in map(type, row) else numpy.int64)

    def _fits(self, columns: Sequence[list[Any]]) -> bool:
        """Return whether these are as many columns as the model takes."""
        model = self._model
        if model.columns is None and model.width is not None:
            return len(columns) == model.width
        return bool(columns)

    def _answer_row(self, row: Any) -> tuple[Kind, bytes] | None:
        plain = self._predict(self._model.predict_matrix, row)
        if plain is None:
            return None
        try:
            answer = b"".join((self._head, self._encode(plain), self._tail))
        except (ValueError, OverflowError):  # JSON needs more than one try for these
            return None
        return (Kind.SUCCESS, answer) if len(answer) <= self._codec.largest else None

    # --- several at once ---------------------------------------------------------------------

    def _answer_together(
        self, bodies: list[bytes], answers: list[tuple[Kind, bytes] | None]
    ) -> None:
        """Fill in the answers that can be given together."""
        fitting = []
        for position, body in enumerate(bodies):
            rows = self._read(position, body)
            if rows is not None:
                fitting.append(rows)
        for group in self._groups(fitting):
            plain = self._predict(self._call, group)
            if plain is not None:
                self._share_out(group.requests, plain, answers)

    def _read(self, position: int, body: bytes) -> _Rows | None:
        """Parse a body; None if it is not of the shape, or does not fit the model."""
        if len(body) > _MAX_BYTES:
            return None
        try:
            given = self._decode(body).columns
            labels, columns = self._take(given)
        except _UNREADABLE:
            return None
        height = len(columns[0]) if columns else 0
        if not self._fits(columns):
            return None
        if not height:
            return None  # what an estimator says to no rows at all is its own affair
        for column in columns:
            if len(column) != height:
                return None
        if len(given) != len(columns) and not _all_fit(given.values(), height):
            return None
        return _Rows(position, labels, columns, height)

    def _groups(self, requests: list[_Rows]) -> list[_Group]:
        """Return groups of requests whose rows may be put together."""
        if not requests:
            return []
        by_labels: dict[Hashable, list[_Rows]] = defaultdict(list)
        if self._model.columns is not None or self._model.takes_matrix:
            by_labels[None] = requests
        else:
            for rows in requests:
                by_labels[tuple(rows.labels)].append(rows)
        groups: list[_Group] = []
        for group in by_labels.values():
            columns = _stacked(group)
            kinds = [set(map(type, column)) for column in columns]
            dtypes = [_dtype(column, kind) for column, kind in zip(columns, kinds, strict=True)]
            # Most often all are alike, which is seen at once if no column has two kinds of values.
            if None not in dtypes and all(len(kind) == 1 for kind in kinds):
                groups.append(_Group(group, columns, dtypes))
            elif self._model.takes_matrix and _FLOATS_OR_INTEGERS.issuperset(dtypes):
                groups += _parted_numbers(group)
            else:
                groups += self._parted(group)
        return groups

    def _parted(self, requests: list[_Rows]) -> list[_Group]:
        """Return groups of requests by the types of their columns."""
        by_dtypes: dict[tuple[Hashable, ...], list[_Rows]] = defaultdict(list)
        for rows in requests:
            dtypes = tuple(_dtype(column, set(map(type, column))) for column in rows.columns)
            if self._model.takes_matrix and _MATRIX.issuperset(dtypes):
                # A matrix has one type for all its columns.
                dtype = next(dtype for dtype in (_MISSING, _FLOATS, _INTEGERS) if dtype in dtypes)
                dtypes = (dtype,) * len(dtypes)
            if None not in dtypes:
                by_dtypes[dtypes].append(rows)
        return [_Group(group, _stacked(group), dtypes) for dtypes, group in by_dtypes.items()]

    def _call(self, group: _Group) -> dict[str, Any]:
        """Call the model with all rows."""
        if self._model.takes_matrix and _MATRIX.issuperset(group.dtypes):
            return self._model.predict_matrix(_matrix(group))
        given = dict(zip(group.requests[0].labels, group.columns, strict=True))
        return self._model(self._make_frame(given, INPUT))

    def _predict(
        self, predict: Callable[[Any], dict[str, Any]], rows: Any
    ) -> dict[str, list[Any]] | None:
        """Predict all rows; None where that fails or prints anything."""
        if not self._is_fresh():
            return None
        self._has_predicted = True
        self._console.begin()
        plain = None
        try:
            # Filters that the code sets are undone, and warnings given before are given again.
            with warnings.catch_warnings():
                predicted = predict(rows)
            plain = _plain(predicted)
        except BaseException:  # noqa: BLE001  # whatever the model raises, it will raise again
            self._has_run = True
        self._look()
        if plain is None:
            return None
        if self._is_touched or self._console.text():
            self._loud += 1
            self._has_run = True  # there is more to put back
            return None
        self._loud = 0
        return plain

    def _share_out(
        self,
        group: list[_Rows],
        plain: dict[str, list[Any]],
        answers: list[tuple[Kind, bytes] | None],
    ) -> None:
        """Encode the answer of each request, from its rows of the prediction."""
        head, tail, encode = self._head, self._tail, self._encode
        columns = list(plain.items())
        start = 0
        for rows in group:
            end = start + rows.height
            outputs = {name: column[start:end] for name, column in columns}
            start = end
            try:
                answer = b"".join((head, encode(outputs), tail))
            except (ValueError, OverflowError):  # JSON needs more than one try for these
                continue
            if len(answer) <= self._codec.largest:
                answers[rows.position] = Kind.SUCCESS, answer

    def _frame_of_answers(self) -> tuple[bytes, bytes]:
        """Return what stands before and after the columns in a successful answer."""
        whole = self._encode(
            WebServiceResult(
                success=True,
                error_message="",
                output_parameters={OUTPUT: {}},
                output_files={},
                console_output="",
                changed_files=[],
            )
        )
        head, key, tail = whole.partition(f'"{OUTPUT}":'.encode())
        return head + key, tail.removeprefix(b"{}")


def _taker(
    names: list[str] | None,
) -> Callable[[dict[str, list[Any]]], tuple[Sequence[str], Sequence[list[Any]]]]:
    """Return the function that picks the model's columns of a request, or raises ``KeyError``."""
    if names is None:
        return lambda given: (tuple(given), tuple(given.values()))
    if len(names) == 1:
        return lambda given: (names, (given[names[0]],))
    take = itemgetter(*names)
    return lambda given: (names, take(given))


def _all_fit(columns: Iterable[list[Any]], height: int) -> bool:
    """Return whether columns that the model does not use would pass as well."""
    return all(len(column) == height for column in columns)


def _stacked(group: list[_Rows]) -> list[list[Any]]:
    parts = zip(*(rows.columns for rows in group), strict=True)
    return [list(chain.from_iterable(column)) for column in parts]


def _parted_numbers(requests: list[_Rows]) -> list[_Group]:
    """Return groups of requests that have nothing but numbers, for a matrix."""
    with_floats: list[_Rows] = []
    integers: list[_Rows] = []
    for rows in requests:
        has_floats = float in map(type, chain.from_iterable(rows.columns))
        (with_floats if has_floats else integers).append(rows)
    return [
        _Group(group, columns, [dtype] * len(columns))
        for group, dtype in ((with_floats, _FLOATS), (integers, _INTEGERS))
        if group
        for columns in [_stacked(group)]
    ]


def _dtype(column: list[Any], kinds: set[type]) -> Hashable:
    """Return the type that a column has in pandas; None where it depends on the values."""
    if kinds == {float}:
        return _FLOATS
    if kinds == {int}:
        return _INTEGERS if min(column) in _INT64 and max(column) in _INT64 else None
    if kinds <= _NUMBERS:  # nothing but nulls are floats, too
        if any(type(item) is int and not -_EXACT <= item <= _EXACT for item in column):
            return None
        return _MISSING if type(None) in kinds else _FLOATS
    return frozenset(kinds) if kinds <= _SCALARS else None


def _plain(predicted: dict[str, Any]) -> dict[str, list[Any]]:
    """Turn a prediction into JSON data."""
    numpy = sys.modules["numpy"]
    for column in predicted.values():
        if type(column) is not numpy.ndarray or column.dtype.char not in _WHOLE:
            plain: dict[str, list[Any]] = encode_output(_DATA_FRAME, predicted, OUTPUT)
            return plain
    return {name: column.tolist() for name, column in predicted.items()}


def _matrix(group: _Group) -> Any:
    """Return the matrix that ``DataFrame.to_numpy`` makes of such columns, laid out as there."""
    numpy = sys.modules["numpy"]
    all_integers = _ALL_INTEGERS.issuperset(group.dtypes)
    return numpy.array(group.columns, dtype=numpy.int64 if all_integers else numpy.float64).T
