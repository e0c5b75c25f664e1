"""Codec of a service, shared by all languages: decodes requests and encodes answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any, Final

import msgspec
from msgspec import UNSET

from jupyter_mlsvc.wire.arrow_columns import Columns, reader_of_columns
from jupyter_mlsvc.wire.columns import UnsupportedColumn
from jupyter_mlsvc.wire.json_text import UnreadableJson, decode_json, is_blank
from jupyter_mlsvc.wire.json_values import ValueProblem, describe, require_text
from jupyter_mlsvc.wire.models import ParameterDefinition, WebServiceResult
from jupyter_mlsvc.wire.names import python_name
from jupyter_mlsvc.wire.problem import Problem, exception_type
from jupyter_mlsvc.wire.suggestions import did_you_mean
from jupyter_mlsvc.wire.values import TABLE_TYPES, ReadInput
from jupyter_mlsvc_server.formats.envelope import MARK, Form, opened
from jupyter_mlsvc_server.formats.problems import CodeProblem
from jupyter_mlsvc_server.formats.protocol import (
    MAX_ANSWER_BYTES,
    Kind,
    Notes,
    Service,
    with_notes,
)
from jupyter_mlsvc_server.formats.shown_paths import without_folders, without_paths
from jupyter_mlsvc_server.worker.arrow_bodies import (
    Answer,
    ArrowInputs,
    ArrowOutputs,
    read_request,
)
from jupyter_mlsvc_server.worker.console import CallConsole
from jupyter_mlsvc_server.worker.invalid_input import InvalidInput
from jupyter_mlsvc_server.worker.scratch import ScratchDir

_MAX_MESSAGE: Final = 10_000
"""Characters of an error message that are answered; an exception may hold any text."""

_MAX_PRINTED: Final = 2**18
"""Bytes of a request's output that the log of its service gets."""

_MAX_PROBLEMS: Final = 20
"""Problems with a request that are listed one by one."""

Decoder = Callable[[ParameterDefinition], ReadInput]
"""Returns the decoder of an input; raises an ``UnsupportedColumn``."""


class ServiceCodec:
    """Codec of a service: decodes its requests and encodes its answers.

    Parameters
    ----------
    service
        What was published.
    decoder
        Returns for an input the function that converts JSON data to the value for the code.

    Raises
    ------
    CodeProblem
        The columns or the default of an input can't be.
    """

    def __init__(self, service: Service, decoder: Decoder) -> None:
        spec = service.spec
        self._is_r = spec.runtime_type == "R"
        self._is_lenient = service.lenient_json
        self._definitions = spec.inputs
        self._output_files = spec.output_files
        self.largest = service.answer_limit or MAX_ANSWER_BYTES
        """Bytes that an answer may have."""
        self._inputs = {parameter.name: parameter.type for parameter in spec.inputs}
        self._readers = {each.name: _reader(decoder, each) for each in spec.inputs}
        self._declared = tuple(self._readers.items())
        # Made anew for each call, whose code may change it.
        self._defaults = {
            each.name: msgspec.json.encode(each.default)
            for each in spec.inputs
            if each.default is not UNSET
        }
        self._may_be_none = frozenset(each.name for each in spec.inputs if _is_none(each))
        self._encoder = msgspec.json.Encoder()
        self._to_json = _safe(self._encoder) if service.memory_limit else self._encoder.encode
        self._before, self._after = self._around_outputs()

    def inputs(self, body: bytes) -> dict[str, Any]:
        """Decode a request, and return the inputs by name.

        Raises
        ------
        InvalidInput
            It does not fit the inputs; the message has everything that is wrong with it.
        """
        if body.startswith(MARK):
            return self._unusual_inputs(body)
        return self._inputs_of(self._parse(body), self._declared)

    def _unusual_inputs(self, body: bytes) -> dict[str, Any]:
        """Decode a request that came, or may be answered, as a stream of Arrow."""
        form, content = opened(body)
        if Form.ARROW_IN in form:
            given = read_request(content, self._definitions)
            inputs = self._inputs_of(given, self._declared_as_columns)
        else:
            inputs = self._inputs_of(self._parse(bytes(content)), self._declared)
        return ArrowInputs(inputs) if Form.ARROW_OUT in form and not self._is_r else inputs

    @cached_property
    def _declared_as_columns(self) -> tuple[tuple[str, ReadInput], ...]:
        """What decodes inputs that may be columns of Arrow."""
        if self._is_r:
            return tuple((name, _of_plain(read)) for name, read in self._declared)
        return tuple(
            (each.name, reader_of_columns(each, self._readers[each.name]))
            for each in self._definitions
        )

    def _inputs_of(
        self, given: dict[str, Any], declared: tuple[tuple[str, ReadInput], ...]
    ) -> dict[str, Any]:
        left_out: Collection[str] = ()
        if given.keys() != self._inputs.keys() and not self._is_r:
            given = _as_python_has_them(given)
        if len(given) != len(self._inputs):
            left_out = self._may_be_none - given.keys()
            for name, default in self._defaults.items():
                if name not in given:
                    given[name] = msgspec.json.decode(default)
            if len(given) != len(self._inputs):
                raise self._invalid_input(given)
        try:
            return {
                name: None if name in left_out else read(given[name], name)
                for name, read in declared
            }
        except (KeyError, ValueProblem) as problem:
            raise self._invalid_input(given) from problem

    def reject(self, error: InvalidInput) -> tuple[Kind, bytes]:
        """Encode the answer to a request that does not fit the inputs."""
        message = _cut(error.message)
        problem = Problem(
            message=message,
            exception_type=exception_type(400),
            inputs=error.inputs if error.inputs and message == error.message else UNSET,
        )
        return Kind.INVALID_INPUT, self._encoder.encode(problem)

    def result(
        self,
        message: str,
        outputs: dict[str, Any],
        console: CallConsole,
        scratch: ScratchDir,
        changed: list[str],
        trace: str = "",
        shown: str = "",
    ) -> tuple[Kind, bytes]:
        """Encode the answer to a request that ran.

        Parameters
        ----------
        message
            What went wrong; empty for a success.
        outputs
            Values as plain JSON data.
        console, scratch
            What the code printed, and where its files are.
        changed
            The files that it made, changed or removed.
        trace
            The traceback of the exception that was raised, if any.
        shown
            The same as the code's output has it, where that differs.
        """
        printed = console.text()
        if not message:
            try:
                body = self._success(outputs, printed, changed, scratch)
                return _noted(Kind.SUCCESS, body, printed) if printed else (Kind.SUCCESS, body)
            except UnserializableOutput as error:
                message = str(error)
            except MemoryError:
                message = (
                    "The answer takes more memory to write than a call may have "
                    "(ScoringSettings.memory_limit). Answer less at once, or leave files and large "
                    "results where the caller can fetch them."
                )
        if self._is_r:
            # R itself has printed the error, and warnings.
            printed = without_paths(printed, [str(scratch.directory)])
        message = _cut(message)
        said = without_folders(printed) if self._is_r else printed
        body = self._encode(message, {}, {}, said, changed)
        if len(body) > self.largest:
            body = self._encode(message, {}, {}, "", [])
        if shown and shown != trace:
            printed = printed.replace(shown, trace)
        if trace not in printed:  # the console was full
            printed += trace
        return _noted(Kind.FAILURE, body, printed, message)

    def item(self, name: str, plain: Any) -> bytes:
        """Encode an item of an output that is a stream.

        Raises
        ------
        UnserializableOutput
            It can't be written as JSON, or has more bytes than an answer may have.
        """
        item = {"output": name, "value": plain}
        try:
            body = self._to_json(item)
        except (UnicodeEncodeError, OverflowError):
            body = json.dumps(item).encode()
        except ValueError:
            raise UnserializableOutput(_unwritable({name: plain})) from None
        self._require_size(len(body))
        return body

    def require_size_of(self, plain: Any, before: int) -> int:
        """Return the bytes of items with another one, which callers get all at once.

        Raises
        ------
        UnserializableOutput
            They are more than an answer may have.
        """
        size = before + len(self.item("", plain))
        self._require_size(size)
        return size

    def _success(
        self, outputs: dict[str, Any], printed: str, changed: list[str], scratch: ScratchDir
    ) -> bytes:
        """Encode the answer of a request that succeeded.

        Raises
        ------
        UnserializableOutput
            It can't be written as JSON, or has more bytes than it may.
        """
        if type(outputs) is ArrowOutputs:
            return self._stream(outputs, printed, changed, scratch)
        declared, body = self._output_files, None
        if not (changed or printed or declared):
            body = self._usual(outputs)
        if body is None:
            # null for declared files that this request did not write
            files: dict[str, str | None] = dict.fromkeys(declared)
            written = [name for name in declared if name in changed]
            # Before any is read; in base64 three bytes are four.
            self._require_size(sum(map(scratch.size, written)) * 4 // 3)
            files |= {name: scratch.content(name) for name in written}
            try:
                body = self._encode("", outputs, files, printed, changed)
            except ValueError:
                # Python spells no integer of thousands of digits.
                raise UnserializableOutput(_unwritable(outputs)) from None
        self._require_size(len(body))
        return body

    def _stream(
        self, outputs: dict[str, Any], printed: str, changed: list[str], scratch: ScratchDir
    ) -> bytes:
        """Encode the answer of a request that succeeded as a stream of Arrow."""
        answer = Answer(outputs)
        result = self._success(answer.rest, printed, changed, scratch)
        if not answer.has_columns:
            return result
        body = answer.write(result)
        self._require_size(len(body))
        return body

    def _require_size(self, size: int) -> None:
        if size > self.largest:
            raise UnserializableOutput(
                f"The answer has {size:,} bytes, and may have {self.largest:,} here "
                "(ScoringSettings.answer_limit). Answer less at once, or leave files and large "
                "results where the caller can fetch them."
            )

    def _parse(self, body: bytes) -> dict[str, Any]:
        try:
            given = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            given = self._read_unusual(body)
        if given is None:
            return {}
        if not isinstance(given, dict):
            raise InvalidInput(
                f"The body must be an object with the inputs as members, {self._example()}, "
                f"got {describe(given)}."
            )
        return given

    def _read_unusual(self, body: bytes) -> Any:
        """Decode a body that the decoder refuses as it is."""
        try:
            if is_blank(body):
                return None
            return decode_json(body, msgspec.json.decode, is_lenient=self._is_lenient)
        except UnreadableJson as error:
            raise InvalidInput(f"The body is not JSON that can be read: {error}.") from error
        except msgspec.ValidationError as error:
            # Of what is read as it comes, only a number can be wrong.
            raise InvalidInput(
                "A number in the body is beyond 1.8e308 and can't be read."
            ) from error

    def _invalid_input(self, given: dict[str, Any]) -> InvalidInput:
        """Create the error with everything that is wrong with a request."""
        inputs = {}
        for name, type_name in self._inputs.items():
            if name not in given:
                inputs[name] = f"Input {name!r} ({type_name}) is missing."
                continue
            try:
                self._readers[name](_plain(given[name], name), name)
            except ValueProblem as problem:
                inputs[name] = f"Input {problem}"
        problems = list(inputs.values())
        extra = [name for name in given if name not in self._inputs]
        problems.extend(map(self._extra, extra[:_MAX_PROBLEMS]))
        if (more := len(problems) + len(extra[_MAX_PROBLEMS:]) - _MAX_PROBLEMS) > 0:
            problems[_MAX_PROBLEMS:] = [f"There are {more:,} more problems."]
        is_about_inputs = problems == list(inputs.values())
        return InvalidInput(" ".join(problems), inputs if is_about_inputs else None)

    def _example(self) -> str:
        if not self._inputs:
            return "which is {} here"
        return "such as {" + ", ".join(f'"{name}": …' for name in self._inputs) + "}"

    def _extra(self, name: str) -> str:
        shown = repr(name if len(name) <= 60 else f"{name[:60]}…")
        if not self._inputs:
            return f"There is no input {shown}; the service takes none."
        known = ", ".join(f"{known} ({type_name})" for known, type_name in self._inputs.items())
        meant = did_you_mean(name[:60], self._inputs)
        return f"There is no input {shown}; the service takes {known}.{meant}"

    def _around_outputs(self) -> tuple[bytes, bytes]:
        """Return what stands before and after the outputs in an answer that has nothing else."""
        empty = WebServiceResult(
            success=True,
            error_message="",
            output_parameters={},
            output_files={},
            console_output="",
            changed_files=[],
        )
        before, _, after = self._encoder.encode(empty).partition(b"{}")
        return before, after

    def _usual(self, outputs: dict[str, Any]) -> bytes | None:
        """Encode a success that has nothing but outputs; None where they take another encoder."""
        try:
            return self._before + self._to_json(outputs) + self._after
        except (ValueError, OverflowError):
            return None

    def _encode(
        self,
        message: str,
        outputs: dict[str, Any],
        files: dict[str, str | None],
        printed: str,
        changed: list[str],
    ) -> bytes:
        result = WebServiceResult(
            success=not message,
            error_message=message,
            output_parameters=outputs,
            output_files=files,
            console_output=printed,
            changed_files=changed,
        )
        try:
            return self._to_json(result)
        except (UnicodeEncodeError, OverflowError):
            return json.dumps(msgspec.to_builtins(result)).encode()


def _safe(encoder: msgspec.json.Encoder) -> Callable[[Any], bytes]:
    """Return an encoder that raises where memory runs out; ``encode`` ends the process there.

    It costs a copy, so that it is used only where memory is limited (msgspec 0.23).
    """

    def encode(value: Any) -> bytes:
        buffer = bytearray()
        encoder.encode_into(value, buffer)
        return bytes(buffer)

    return encode


def _of_plain(read: ReadInput) -> ReadInput:
    return lambda value, name: read(_plain(value, name), name)


def _plain(value: Any, name: str) -> Any:
    """Return the JSON data of a value that may be columns of Arrow."""
    return value.plain(name) if isinstance(value, Columns) else value


def _as_python_has_them(given: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a request by their names' spellings in Python."""
    named: dict[str, Any] = {}
    for name, value in given.items():
        if python_name(name) in named:
            raise InvalidInput(f"Input {python_name(name)!r} is given twice.")
        named[python_name(name)] = value
    return named


def _reader(decoder: Decoder, definition: ParameterDefinition) -> ReadInput:
    """Return the decoder of an input, after a check of its default.

    Raises
    ------
    CodeProblem
        Its columns or its default can't be.
    """
    try:
        read = decoder(definition)
        if definition.default is not UNSET and not _is_none(definition):
            read(definition.default, definition.name)
    except UnsupportedColumn as problem:
        raise CodeProblem(f"inputParameterDefinitions: {definition.name!r}: {problem}") from None
    except ValueProblem as problem:
        raise CodeProblem(f"inputParameterDefinitions: the default of {problem}") from None
    return read


def _is_none(definition: ParameterDefinition) -> bool:
    """Return whether an input that is left out is None, although its type has no null."""
    return definition.default is None and definition.type in TABLE_TYPES


def _noted(kind: Kind, body: bytes, printed: str, problem: str = "") -> tuple[Kind, bytes]:
    """Return an answer with what the log of the service is to have."""
    said, why = printed.encode("utf-8", "replace"), problem.encode("utf-8", "replace")
    if len(said) > _MAX_PRINTED:
        # The beginning says what was called, and a traceback is at the end.
        said = b"".join((said[: _MAX_PRINTED // 2], b"\n[...]\n", said[-_MAX_PRINTED // 2 :]))
    noted = with_notes(Notes(kind.value, said, why), body)
    return (Kind.WITH_NOTES, noted) if len(noted) <= MAX_ANSWER_BYTES else (kind, body)


def _cut(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else f"{message[:_MAX_MESSAGE]}…"


def _unwritable(outputs: dict[str, Any]) -> str:
    for name, value in outputs.items():
        try:
            require_text(value, name)
        except ValueProblem as problem:
            return f"Output {problem}"
    return "The answer can't be written as JSON."


class UnserializableOutput(Exception):
    """An output is not there or not of its type; the message is the result's error message."""

    @classmethod
    def not_set(cls, name: str, type_name: str) -> UnserializableOutput:
        """Create the error of an output that the code did not set."""
        declared = f" ({type_name})" if type_name else ""
        return cls(f"The code did not set the output {name!r}{declared}.")
