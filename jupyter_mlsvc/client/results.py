"""What code answered: in a session and in a service."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from jupyter_mlsvc.client import formatting
from jupyter_mlsvc.errors import RemoteExecutionError, ServiceFailed
from jupyter_mlsvc.wire.arrow_columns import Columns, frame_of
from jupyter_mlsvc.wire.columns import exact_column
from jupyter_mlsvc.wire.models import (
    ExecuteResponse,
    ParameterDefinition,
    WebServiceResult,
    WorkspaceObject,
)
from jupyter_mlsvc.wire.names import find_name

_IN_R: Final = re.compile(r"(Error in .+?): (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RemoteError:
    """An exception in a session, as text.

    Attributes
    ----------
    type_name, message : str
        Class and message of the exception.
    traceback : list of str
        As the session's interpreter shows it, with its colours.
    is_syntax_error : bool
        Whether the code could not even be read.
    """

    type_name: str
    message: str
    traceback: list[str] = field(default_factory=list)
    is_syntax_error: bool = False

    @classmethod
    def from_line(cls, line: str) -> RemoteError:
        """Read the last line of a traceback, such as ``NameError: name 'x' is not defined``.

        In R it is like ``Error in f(x): no data``.
        """
        if found := _IN_R.match(line):
            return cls(found[1], found[2])
        name, colon, message = line.partition(": ")
        if colon and all(part.isidentifier() for part in name.split(".")):
            return cls(name, message)
        if name.rstrip(":").isidentifier() and not colon:
            return cls(name.rstrip(":"), "")
        return cls("Error", line)


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """What an execution in a session gave.

    Attributes
    ----------
    success : bool
        Whether the code ran to its end.
    error_message : str
        Last line of the traceback, or empty.
    outputs : dict
        Values of the named outputs, as JSON gives them; a data.frame of R is a DataFrame.
    console_output : str
        What the code printed.
    changed_files : list of str
        Files of the working directory that it touched.
    error : RemoteError or None
        The exception.
    """

    success: bool
    error_message: str
    outputs: dict[str, Any]
    console_output: str
    changed_files: list[str]
    error: RemoteError | None = None

    @classmethod
    def of(cls, response: ExecuteResponse, error: RemoteError | None = None) -> ExecutionResult:
        """Make one from the server's answer and, where it is known, the exception."""
        if not response.success:
            # The server's line is tidier than the exception's own message, the type is the same.
            line = RemoteError.from_line(response.error_message)
            if error is not None:
                line = replace(
                    line, traceback=error.traceback, is_syntax_error=error.is_syntax_error
                )
            error = line
        return cls(
            success=response.success,
            error_message=response.error_message,
            outputs={item.name: _output(item) for item in response.output_parameters},
            console_output=response.console_output,
            changed_files=response.changed_files,
            error=None if response.success else error,
        )

    def raise_for_error(self, session: str = "") -> None:
        """Raise ``RemoteExecutionError`` where the code raised."""
        if self.error is not None:
            raise RemoteExecutionError(
                self.error.type_name,
                self.error.message,
                self.error.traceback,
                session,
                is_syntax_error=self.error.is_syntax_error,
            )


def _output(item: WorkspaceObject) -> Any:
    return as_frame(item.value) if item.type == "data.frame" else item.value


class ServiceResult(Mapping[str, Any]):
    """What a service answered; a mapping of its outputs, which are also attributes.

    An output that the service declares as ``data.frame`` is a pandas DataFrame there, with as many
    rows as its columns have values. ``outputs`` has all of them as JSON gave them.

    An output that is named like a member of this class, such as ``success`` or ``items``, goes by
    item only: ``result["success"]``.

    Attributes
    ----------
    success : bool
        Whether the code of the service ran to its end.
    error_message : str
        Last line of its traceback, or empty.
    console_output : str
        What the code printed.
    changed_files : list of str
        Files that it touched in its working directory.
    answered_by : str
        Name and version of the service.

    Examples
    --------
    >>> result = client.service("Iris", "V1.0")(flower_data=[7, 3.2, 4.7, 1.4])
    >>> result.iris_species
    ['I. versicolor']
    """

    def __init__(
        self,
        service: str,
        answer: WebServiceResult,
        declared: Sequence[ParameterDefinition] = (),
        *,
        request_id: str = "",
        columns: Mapping[str, Columns] | None = None,
    ) -> None:
        self._columns = dict(columns or {})
        self._service = self.answered_by = service
        self._request_id = request_id
        self._tables = {item.name for item in declared if item.type == "data.frame"}
        self._files = answer.output_files
        self.success = answer.success
        self.error_message = answer.error_message
        self._outputs = answer.output_parameters
        self.console_output = answer.console_output
        self.changed_files = answer.changed_files

    @property
    def outputs(self) -> dict[str, Any]:
        """Values of the outputs by name, as JSON gives them."""
        for name in list(self._columns):
            self._outputs[name] = self._columns.pop(name).plain(name)
        return self._outputs

    def output(self, name: str) -> Any:
        """Value of one output.

        Raises
        ------
        KeyError
            The service has no such output.
        """
        found = find_name(name, self._outputs)
        if found is None:
            known = ", ".join(self._outputs) or "none"
            raise KeyError(f"{self._service} has no output {name!r}; it has: {known}")
        columns = self._columns.get(found)
        if columns is not None and found in self._tables and not columns.is_vector:
            return frame_of(columns)
        value = self._outputs[found] if columns is None else columns.plain(found)
        return as_frame(value) if found in self._tables else value

    @property
    def files(self) -> dict[str, bytes | None]:
        """Content of the declared output files; None for one that the code did not write."""
        return {
            name: None if text is None else base64.b64decode(text)
            for name, text in self._files.items()
        }

    def raise_for_error(self) -> None:
        """Raise ``ServiceFailed`` where the code of the service raised."""
        if not self.success:
            raise ServiceFailed(
                self._service, self.error_message, self.console_output, self._request_id
            )

    def __getitem__(self, name: str) -> Any:
        return self.output(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __getattr__(self, name: str) -> Any:
        outputs = self.__dict__.get("_outputs", {})
        if find_name(name, outputs) is not None:
            return self.output(name)
        raise AttributeError(f"{type(self).__name__!r} has no attribute or output {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *filter(str.isidentifier, self._outputs)})

    def __repr__(self) -> str:
        rows = [(name, formatting.short(value)) for name, value in self._values()]
        tables = [f"{name}:\n{formatting.text_frame(frame)}" for name, frame in self._frames()]
        return formatting.text_result([*rows, *self._file_rows()], self.console_output, tables)

    def _repr_html_(self) -> str:
        rows = [(name, formatting.short(value)) for name, value in self._values()]
        tables = [formatting.html_frame(name, frame) for name, frame in self._frames()]
        return formatting.html_result([*rows, *self._file_rows()], self.console_output, tables)

    def _values(self) -> Iterator[tuple[str, Any]]:
        return ((n, v) for n, v in self.items() if not formatting.is_frame(v))

    def _frames(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in self.items() if formatting.is_frame(value))

    def _file_rows(self) -> Iterator[tuple[str, str]]:
        for name, text in self._files.items():
            size = "not written" if text is None else formatting.size(len(base64.b64decode(text)))
            yield name, f"<file, {size}>"


def as_frame(value: Any) -> Any:
    """Make a table of columns; what is none stays as it is."""
    if not isinstance(value, Mapping):
        return value
    import pandas  # slow to load, and of use here only

    return pandas.DataFrame({name: exact_column(column) for name, column in value.items()})
