"""One version of a service, called like a function."""

from __future__ import annotations

import inspect
import keyword
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import takewhile
from typing import Any, Final, Protocol

from msgspec import UNSET

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.client.answer_items import AnswerItems
from jupyter_mlsvc.client.contents import ServiceContents
from jupyter_mlsvc.client.recent_calls import RecentCall, RecentCalls
from jupyter_mlsvc.client.results import ServiceResult
from jupyter_mlsvc.client.service_log import ServiceLog
from jupyter_mlsvc.client.statistics import ServiceStatistics
from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.harmless import harmless_lines
from jupyter_mlsvc.wire.names import find_name

_MAX_COLUMNS: Final = 50
"""Columns of an input that a docstring lists."""


class ServiceCalls(Protocol):
    """Requests about one version of a service, by name and version."""

    def consume(
        self,
        name: str,
        version: str,
        inputs: Mapping[str, object] | None = None,
        *,
        outputs: Sequence[models.ParameterDefinition] = (),
    ) -> ServiceResult:
        """Call the service."""

    def consume_json(
        self,
        name: str,
        version: str,
        body: bytes,
        *,
        outputs: Sequence[models.ParameterDefinition] = (),
    ) -> tuple[bytes, ServiceResult]:
        """Call the service with JSON."""

    def stream(
        self,
        name: str,
        version: str,
        inputs: Mapping[str, object] | None = None,
        *,
        outputs: Sequence[models.ParameterDefinition] = (),
    ) -> AnswerItems:
        """Call the service and take the items of its answer as they come."""

    def stream_json(
        self,
        name: str,
        version: str,
        body: bytes,
        *,
        outputs: Sequence[models.ParameterDefinition] = (),
    ) -> AnswerItems:
        """Do so with JSON."""

    def address(self, name: str, version: str) -> str:
        """Return the URL that programs call."""

    def statistics_of(
        self, name: str, version: str, period: models.Period | None = None
    ) -> ServiceStatistics:
        """Return status and request statistics."""

    def logs(
        self, name: str, version: str, *, limit: int = 100, after: int | None = None
    ) -> ServiceLog:
        """Return what its code has printed."""

    def calls(
        self, name: str, version: str, *, limit: int = 100, errors: bool = False
    ) -> RecentCalls:
        """Return its newest calls."""

    def call_details(self, name: str, version: str, call_id: int) -> RecentCall:
        """Return one of these calls, with what it printed."""

    def contents(self, name: str, version: str) -> ServiceContents:
        """Return what the snapshot behind it holds."""

    def swagger(self, name: str, version: str) -> formatting.Document:
        """Return the Swagger document."""

    def openapi(self, name: str, version: str) -> formatting.Document:
        """Return the OpenAPI document."""

    def update(self, *args: Any, **changes: Any) -> Service:
        """Change the service: name, version, and what changes."""

    def delete(self, name: str, version: str) -> None:
        """Delete the version."""


class Service:
    """A service version; call it with its inputs.

    Attributes
    ----------
    name, version : str
    row : WebService
        What the server lists of it.
    url : str
        Where programs call it with POST and a bearer token.
    inputs, outputs : list of ParameterDefinition
        Each has ``name`` and ``type``, and what its publisher says of it.
    description, runtime_type, published_by, creation_time : str
    code, init_code, setup_code, isolation : str or None
        None where you may not see them.
    effects : bool
        Whether its calls may change what is elsewhere, so that none is run twice.
    network, read_only : bool
        Whether its code may use the network, and may write temporary files only. True and false
        where you may not see the code.
    keep_bodies : bool
        Whether its newest calls are kept with what was sent and answered; for its publisher.
    concurrency : int or None
        Calls that a worker runs at a time; None where you may not see the code.
    deadline_seconds : float or None
        Seconds that a call may take; None where the server says so for all.
    alias : str or None
        Name of the call in generated clients.
    output_files : list of str
        Files that the answer carries.
    snapshot_id : str or None
        Snapshot that it was published from.
    tags : list of str
        Words to find it by.
    examples : list of ServiceExample
        Calls with their answers: ``inputs`` and ``outputs`` by name.
    may_change : bool
        Whether you may change and delete it: it is by you or of a group of yours, or you are an
        owner of the server.
    group : str or None
        Group whose members may change and delete it as well.
    never_answered : bool
        Whether no call has succeeded yet; its publisher may replace such a version.
    publish_check : PublishCheck or None
        What its publish check found; None where there was none, or where you may not see it.

    Examples
    --------
    >>> iris = client.service("Iris", "V1.0")
    >>> iris(flower_data=[7, 3.2, 4.7, 1.4]).iris_species
    ['I. versicolor']
    """

    def __init__(self, services: ServiceCalls, row: models.WebService) -> None:
        self._services = services
        self.row = row
        self.name = row.name
        self.version = row.version
        self.inputs = row.input_parameter_definitions
        self.outputs = row.output_parameter_definitions
        self.description = row.description
        self.runtime_type = row.runtime_type
        self.published_by = row.version_published_by
        self.creation_time = row.creation_time
        self.code = row.code or None
        self.init_code = row.init_code or None
        self.setup_code = row.setup_code or None
        self.isolation = row.isolation or None
        self.effects = row.effects is True
        self.network = row.network is not False
        self.read_only = row.read_only is True
        self.keep_bodies = row.keep_bodies is True
        self.concurrency = row.concurrency or None
        self.deadline_seconds = row.deadline_seconds or None
        self.alias = row.operation_id
        self.output_files = row.output_file_names
        self.snapshot_id = row.snapshot_id
        self.group = row.group or None
        self.tags = row.tags or []
        self.examples = row.examples or []
        self.never_answered = row.never_answered is True
        self.publish_check = row.publish_check or None
        self.may_change = row.my_permission_on_service == "read/write"
        self.__doc__ = _docstring(row)

    def __call__(self, /, *values: object, **inputs: object) -> ServiceResult:
        """Call the service; values without a name go to the inputs in their order.

        Raises
        ------
        ServiceFailed
            The code of the service raised.
        BadRequest
            An input is missing, unknown or of the wrong type.
        """
        result = self.call(self._named(values, inputs))
        result.raise_for_error()
        return result

    def stream(self, /, *values: object, **inputs: object) -> AnswerItems:
        """Call the service and iterate over the items of its answer, as they come.

        A version streams where an output is a generator, or where its code yields. Other outputs,
        and what the code printed, are in ``result`` of the iterator once it has come to its end;
        all of them where nothing streams.

        Raises
        ------
        ServiceFailed
            The code of the service raised; raised by the iterator, maybe after items.

        Examples
        --------
        >>> for word in client.service("Chat").stream(prompt="Hello"):
        ...     print(word, end=" ")
        """
        given = self._with_tables(self._named(values, inputs))
        return self._services.stream(self.name, self.version, given, outputs=self.outputs)

    def _named(self, values: tuple[object, ...], inputs: Mapping[str, object]) -> dict[str, object]:
        if len(values) > len(self.inputs):
            raise TypeError(
                f"{self.name} {self.version} takes {len(self.inputs)} inputs, got {len(values)}."
            )
        given = {item.name: value for item, value in zip(self.inputs, values, strict=False)}
        if twice := [name for name in inputs if find_name(name, given) is not None]:
            raise TypeError(f"{self.name} {self.version} got two values for {min(twice)!r}.")
        return {**given, **inputs}

    def call(self, inputs: Mapping[str, object]) -> ServiceResult:
        """Call the service; where its code raises, the result says so (``success``).

        A column with a name, such as ``loans["age"]``, is a data.frame of that column where the
        service declares one.
        """
        given = self._with_tables(inputs)
        return self._services.consume(self.name, self.version, given, outputs=self.outputs)

    def _with_tables(self, inputs: Mapping[str, object]) -> dict[str, object]:
        tables = [item.name for item in self.inputs if item.type == "data.frame"]
        return {
            name: value if find_name(name, tables) is None else _as_table(value)
            for name, value in inputs.items()
        }

    def call_json(self, body: bytes) -> tuple[bytes, ServiceResult]:
        """Call the service with inputs that are JSON already.

        Returns
        -------
        tuple
            The answer as the server wrote it, and the same as an object.
        """
        return self._services.consume_json(self.name, self.version, body, outputs=self.outputs)

    def stream_json(self, body: bytes) -> AnswerItems:
        """Call the service with inputs that are JSON already, and take items as they come."""
        return self._services.stream_json(self.name, self.version, body, outputs=self.outputs)

    def form(self, /, **values: object) -> Any:
        """Make a form to call the service with; deprecated for ``jupyter_mlsvc.form(service)``."""
        warnings.warn(
            "service.form(…) is deprecated; use jupyter_mlsvc.form(service, …).",
            DeprecationWarning,
            stacklevel=2,
        )
        # By the package's public name: the client knows no widgets.
        return import_module("jupyter_mlsvc").form(self, **values)

    def consume(self, /, **inputs: object) -> ServiceResult:
        """Call the service with its inputs by name; the same as calling the object."""
        return self(**inputs)

    @property
    def is_mine(self) -> bool:
        """The same as ``may_change``; deprecated, because it need not be by you."""
        warnings.warn(
            "service.is_mine is deprecated; use service.may_change.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.may_change

    @property
    def url(self) -> str:
        """Where programs call the service with POST."""
        return self._services.address(self.name, self.version)

    def statistics(self, period: models.Period | None = None) -> ServiceStatistics:
        """Tell how it does; see ``client.services.statistics_of``."""
        return self._services.statistics_of(self.name, self.version, period)

    def logs(self, *, limit: int = 100, after: int | None = None) -> ServiceLog:
        """Return what its calls have printed; see ``client.services.logs``."""
        return self._services.logs(self.name, self.version, limit=limit, after=after)

    def calls(self, *, limit: int = 100, errors: bool = False) -> RecentCalls:
        """Return its newest calls; see ``client.services.calls``."""
        return self._services.calls(self.name, self.version, limit=limit, errors=errors)

    def call_details(self, call_id: int) -> RecentCall:
        """Return one of these calls with its traceback; see ``client.services.call_details``."""
        return self._services.call_details(self.name, self.version, call_id)

    def contents(self) -> ServiceContents:
        """Tell what its snapshot holds; see ``client.services.contents``."""
        return self._services.contents(self.name, self.version)

    def swagger(self) -> formatting.Document:
        """Swagger document of the service."""
        return self._services.swagger(self.name, self.version)

    def openapi(self) -> formatting.Document:
        """OpenAPI 3.1 document of this version."""
        return self._services.openapi(self.name, self.version)

    def update(self, **changes: Any) -> Service:
        """Change the service; see ``client.services.update`` for what may change."""
        return self._services.update(self.name, self.version, **changes)

    def delete(self) -> None:
        """Delete this version."""
        self._services.delete(self.name, self.version)

    @property
    def __signature__(self) -> inspect.Signature:
        """The inputs, so that help and completion show them.

        Those whose names are none of Python's, such as R's ``new.cars``, go by ``**``.
        """
        names = inspect.Parameter.POSITIONAL_OR_KEYWORD
        named = [
            item
            for item in self.inputs
            if item.name.isidentifier() and not keyword.iskeyword(item.name)
        ]
        # Python has no parameter without a default after one that has it.
        optional = {
            item.name: item.default
            for item in takewhile(lambda item: item.default is not UNSET, reversed(named))
        }
        parameters = [
            inspect.Parameter(
                item.name,
                names,
                annotation=item.type,
                default=optional.get(item.name, inspect.Parameter.empty),
            )
            for item in named
        ]
        if len(parameters) < len(self.inputs):
            # No name of R begins with an underscore.
            parameters.append(inspect.Parameter("_inputs", inspect.Parameter.VAR_KEYWORD))
        return inspect.Signature(parameters, return_annotation=ServiceResult)

    def __repr__(self) -> str:
        return formatting.text_card(f"Service {self.name} {self.version}", self._rows())

    def _repr_html_(self) -> str:
        return formatting.html_card(f"Service {self.name} {self.version}", self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        return [
            ("address", self.url),
            ("description", self.description),
            ("inputs", ", ".join(f"{item.name}: {item.type}" for item in self.inputs)),
            ("outputs", ", ".join(map(_output, self.outputs))),
            ("files", ", ".join(self.output_files)),
            ("alias", self.alias or ""),
            ("setup code", self.setup_code or ""),
            ("init code", self.init_code or ""),
            ("code", self.code or ""),
            ("runtime", self.runtime_type),
            ("published", f"{formatting.moment(self.creation_time)} by {self.published_by}"),
        ]


def _output(item: models.ParameterDefinition) -> str:
    return f"{item.name}: {item.type}{', item by item' if item.streams else ''}"


def _docstring(row: models.WebService) -> str:
    """Write what a service says of itself as the docstring of a function."""
    parts = [row.description or f"Service {row.name} {row.version}."]
    for title, definitions in (
        ("Parameters", row.input_parameter_definitions),
        ("Returns", row.output_parameter_definitions),
    ):
        if definitions:
            lines = [line for each in definitions for line in _lines(each)]
            parts.append("\n".join([title, "-" * len(title), *lines]))
    return harmless_lines("\n\n".join(parts))


def _lines(definition: models.ParameterDefinition) -> Iterator[str]:
    """Write a parameter as a docstring has it, with its columns below."""
    optional = "" if definition.default is UNSET else f", default {definition.default!r}"
    yield f"{definition.name} : {definition.type}{optional}"
    if definition.description:
        yield f"    {definition.description}"
    for column in (definition.columns or ())[:_MAX_COLUMNS]:
        kind = f" ({column.type})" if column.type else ""
        said = f": {column.description}" if column.description else ""
        yield f"    - {column.name}{kind}{said}"
    if len(definition.columns or ()) > _MAX_COLUMNS:
        yield f"    - … ({len(definition.columns or ()):,} columns in all)"


def _as_table(value: Any) -> Any:
    """Return a named column of pandas or polars as a frame, so that it keeps its name."""
    if not isinstance(getattr(value, "name", None), str) or not hasattr(value, "to_frame"):
        return value
    # A row of a frame is a Series too, with the names of columns as its labels.
    is_row = isinstance(next(iter(getattr(value, "index", ())), None), str)
    return value if is_row else value.to_frame()
