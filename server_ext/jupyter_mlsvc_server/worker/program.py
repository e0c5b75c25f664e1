"""A compiled service with its namespace: turns the body of a request into an answer."""

from __future__ import annotations

import ast
import contextlib
import dis
import os
import sys
import traceback
import types
import warnings
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from operator import is_not
from pathlib import Path
from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire.json_values import ValueProblem
from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.sources import show_source
from jupyter_mlsvc.wire.values import encode_output, input_decoder
from jupyter_mlsvc_server.formats.concurrency import FLAGS, is_awaiting
from jupyter_mlsvc_server.formats.problems import CodeProblem, SetupProblem
from jupyter_mlsvc_server.formats.protocol import Kind, Service
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.formats.shown_paths import without_folders
from jupyter_mlsvc_server.worker.arrow_bodies import ArrowOutputs, Encode, encoder_for
from jupyter_mlsvc_server.worker.code_facts import (
    CodeFacts,
    facts_of,
    user_functions,
    with_inner,
)
from jupyter_mlsvc_server.worker.codec import ServiceCodec, UnserializableOutput
from jupyter_mlsvc_server.worker.console import Console
from jupyter_mlsvc_server.worker.invalid_input import InvalidInput
from jupyter_mlsvc_server.worker.mutation import MutationDetector
from jupyter_mlsvc_server.worker.process_state import ProcessState
from jupyter_mlsvc_server.worker.random_state import SEEDING, reseed
from jupyter_mlsvc_server.worker.read_only import write_nothing_else
from jupyter_mlsvc_server.worker.scratch import ScratchDir
from jupyter_mlsvc_server.worker.session_settings import (
    notes_on_settings,
    notes_on_variables,
    variables_read,
)
from jupyter_mlsvc_server.worker.streaming import (
    CallerLeft,
    Sink,
    Stream,
    is_stream,
)
from jupyter_mlsvc_server.worker.temporary import TemporaryFiles, temporary_directory
from jupyter_mlsvc_server.worker.traceback_text import explain, last_line, place
from jupyter_mlsvc_server.worker.worker import Observer
from jupyter_mlsvc_server.worker.yielding import (
    compile_yielding,
    name_of_stream,
    stream_of,
    yields,
)

_READS: Final = {"LOAD_NAME", "LOAD_GLOBAL", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"}
_WRITES: Final = {"STORE_NAME", "STORE_GLOBAL"}


@dataclass(frozen=True, slots=True)
class Compiled:
    """Compiled code.

    Attributes
    ----------
    setup : types.CodeType
        What runs once in each worker.
    codes : tuple of types.CodeType
        What runs for each request, in this order.
    names, needed : frozenset of str
        Names that they look up; of these, those that they don't set themselves.
    modules : frozenset of str
        Modules that they import.
    stream : str
        The output that takes what the code yields; empty where it does not.
    """

    setup: types.CodeType
    codes: tuple[types.CodeType, ...]
    names: frozenset[str]
    needed: frozenset[str]
    modules: frozenset[str]
    stream: str = ""

    @property
    def is_awaiting(self) -> bool:
        """Whether any of it awaits."""
        return any(map(is_awaiting, (self.setup, *self.codes)))


def compile_service(service: Service) -> Compiled:
    """Compile the code and the code that runs before it.

    Raises
    ------
    CodeProblem
        A syntax error; the message has the line and a caret.
    """
    codes = []
    for what, source in service.spec.parts.items():
        file_name = service.spec.file_name(what)
        show_source(file_name, source)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                code = compile_yielding(source, file_name) if what == "code" else None
                codes.append(code or compile(source, file_name, "exec", FLAGS, dont_inherit=True))
        except SyntaxError as error:
            raise CodeProblem(f"{what} has a {type(error).__name__} in {place(error)}") from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise CodeProblem(f"{what} can't be compiled: {last_line(error)}") from error
    read, written, imported = set[str](), set[str](), set[str]()
    for code in codes:
        for part in with_inner(code):
            for instruction in dis.get_instructions(part):
                if instruction.opname in _READS:
                    read.add(instruction.argval)
                elif instruction.opname in _WRITES and part is code:
                    written.add(instruction.argval)
                elif instruction.opname == "IMPORT_NAME":
                    imported.add(instruction.argval)
    outputs = [parameter.name for parameter in service.spec.outputs]
    return Compiled(
        setup=codes[0],
        codes=tuple(codes[1:]),
        names=frozenset(read),
        needed=frozenset(read - written),
        modules=frozenset(imported),
        stream=name_of_stream(outputs, written) if yields(codes[-1]) else "",
    )


def modules_imported(spec: ServiceSpec) -> frozenset[str]:
    """Name the modules that code imports; none where it is no Python."""
    found = set[str]()
    for source in spec.parts.values():
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import):
                    found.update(alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found.add(node.module or "")
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class SnapshotCode:
    """The code that has come with a snapshot.

    Attributes
    ----------
    modules : tuple of types.ModuleType
        Modules among its files.
    functions, of_modules : tuple of types.CodeType
        Its functions, and those of these modules. Once they are frozen, they can't be found.
    facts : CodeFacts
        What all of these name.
    variables : tuple of str
        Variables of the environment that they read.
    """

    modules: tuple[types.ModuleType, ...]
    functions: tuple[types.CodeType, ...]
    of_modules: tuple[types.CodeType, ...]
    facts: CodeFacts
    variables: tuple[str, ...]

    @classmethod
    def of(
        cls, namespace: dict[str, Any], modules: Iterable[types.ModuleType] = ()
    ) -> SnapshotCode:
        """Look at a namespace and the modules that came with it."""
        modules = tuple(modules)
        # A list first: the search goes through all objects, and would find a tuple that grows.
        found = list(user_functions(namespace))
        functions = tuple(found)
        of_modules = tuple(set(user_functions(namespace, modules)) - {*functions})
        codes = (*functions, *of_modules)
        read = variables_read(part for code in codes for part in with_inner(code))
        return cls(modules, functions, of_modules, facts_of(codes), tuple(read))


def newest_module() -> str:
    """Name the module that was imported last."""
    return next(reversed(sys.modules))


def modules_since(module: str) -> list[tuple[str, types.ModuleType]]:
    """Give the names and modules that were imported after the one that :func:`newest_module` named.

    Those before it are left alone: a look at each of the thousands of them would write its
    reference counts, and in a forked process copy some 10 MB of memory.
    """
    # One step for the interpreter, in which no thread of the user's imports anything.
    names = list(takewhile(partial(is_not, module), reversed(sys.modules)))
    return [(name, sys.modules[name]) for name in names if name in sys.modules]


def is_below(module: types.ModuleType, folder: str) -> bool:
    """Whether a module is from a file in a folder."""
    return str(getattr(module, "__file__", None) or "").startswith(folder)


def _place(error: BaseException, file_name: str, source: str) -> tuple[str, str]:
    """Say in which line of some code an exception was raised, and show the line."""
    frames = traceback.extract_tb(error.__traceback__)
    numbers = [frame.lineno for frame in frames if frame.filename == file_name and frame.lineno]
    if not numbers:
        return "", ""
    line = source.splitlines()[numbers[-1] - 1].strip()
    return f" in line {numbers[-1]}", f"\n    {line}"


class Program:
    """Runs a service's code, each time as if it were the first.

    Parameters
    ----------
    service
        What was published.
    compiled
        Its code.
    namespace
        The dict of ``__main__`` with the snapshot restored into it. Functions of the snapshot have
        it as their globals, so the code runs in this dict and the dict is reset afterwards.
    snapshot
        The code that has come with the snapshot, where it was looked at before; it is looked for
        in the namespace otherwise.
    """

    most: int = 1
    """Requests that it answers at once."""
    retired_for: str = ""
    """What :meth:`reset` could not put back, in a few words."""
    sink: Sink | None = None
    """Takes the items of the request that is answered now, where its caller wants a stream."""

    def __init__(
        self,
        service: Service,
        compiled: Compiled,
        namespace: dict[str, Any],
        snapshot: SnapshotCode | None = None,
    ) -> None:
        snapshot = snapshot or SnapshotCode.of(namespace)
        self._own_modules = list(snapshot.modules)
        self.compiled = compiled
        self.base = dict(namespace)
        self._namespace = namespace
        self._prepare(service)
        own = (*compiled.codes, compiled.setup)
        self._facts = snapshot.facts | facts_of(own)
        read = variables_read(part for code in own for part in with_inner(code))
        self._variables = list(dict.fromkeys([*read, *snapshot.variables]))
        self.observer: Observer | None = None

    def notes(self) -> list[str]:
        """Name what the session had that changes results and that calls don't have."""
        manifest = self.service.manifest
        settings = () if manifest is None else manifest.workspace.settings
        return notes_on_settings(settings, self._facts.names) + notes_on_variables(self._variables)

    def leave_init_code(self) -> None:
        """Forget all but the code that runs before each request, inputs and outputs included."""
        spec = self.service.spec.without_code()
        self._prepare(msgspec.structs.replace(self.service, spec=spec))

    def _prepare(self, service: Service) -> None:
        """Make of a service what each request needs."""
        self.service = service
        self._codec = ServiceCodec(service, input_decoder)
        self._declared = service.spec.outputs
        # An empty initCode is most common, and its code object does nothing.
        _, *sources = service.spec.parts.values()
        self._codes = [
            code
            for code, source in zip(self.compiled.codes, sources, strict=True)
            if source.strip()
        ]

    def enter(self, console: Console, scratch: ScratchDir) -> None:
        """Get ready to answer, in the worker.

        Raises
        ------
        SetupProblem
            The code that runs once in each worker has failed.
        """
        self._console = console
        self._scratch = scratch
        facts = self._facts
        self._temporary = self._temporary_files()
        write_nothing_else(self.service, scratch, self._temporary.directory)
        self._folders = [str(scratch.directory), str(self._temporary.directory)]
        made = self._set_up()
        self._guard(facts | facts_of(user_functions(self._namespace)), made)
        self._has_run = False
        self._is_touched = self._had_threads = False
        self._has_failed = False

    def _temporary_files(self) -> TemporaryFiles:
        """Make the folder for temporary files."""
        files = TemporaryFiles(
            temporary_directory(Path(self.service.work), os.getpid()),
            watches_shared=self._facts.names_temporary,
        )
        files.create()
        return files

    def _guard(self, facts: CodeFacts, made: AbstractSet[str]) -> None:
        """Take all as it is now as what each request is to find.

        Parameters
        ----------
        facts
            What the code names.
        made
            Names whose objects may change.
        """
        self._may_seed = facts.may_use(SEEDING)
        self._detector = MutationDetector(
            self.base, self._reachable() - made, self._own_modules, facts
        )
        # Last: it takes note of descriptors that the detector has opened, too.
        self._state = ProcessState(facts, self.base, self._own_modules)
        self._newest_module = newest_module()

    def _set_up(self) -> set[str]:
        """Run the code that runs once in each worker; gives the names that it has set."""
        source = self.service.spec.parts["setupCode"]
        if not source.strip():
            return set()
        self._console.begin()
        try:
            self._run_setup()
        except BaseException as error:  # whatever the user's code raises
            message, trace = explain(error, folders=self._folders)
            print(f"setupCode of {self.service.spec.label} failed: {trace}", file=sys.__stderr__)
            place = _place(error, self.compiled.setup.co_filename, source)
            said = self._console.text()
            printed = f"\nIt printed:\n{said}" if said else ""
            raise SetupProblem(
                f"setupCode failed{place[0]}: {message}{place[1]}{printed}".rstrip()
            ) from error
        if said := self._console.text():
            print(f"setupCode of {self.service.spec.label} said: {said}", file=sys.__stderr__)
        before, self.base = self.base, dict(self._namespace)
        self._scratch.keep()
        return {name for name, value in self.base.items() if before.get(name, before) is not value}

    def _run_setup(self) -> None:
        exec(self.compiled.setup, self._namespace)

    def read(self, body: bytes) -> dict[str, Any] | Exception:
        """Read a request: the inputs, or what is wrong with it or went wrong here."""
        try:
            return self._codec.inputs(body)
        except Exception as error:  # noqa: BLE001  # concerns this request only, not those read with it
            return error

    def answer(self, given: dict[str, Any] | Exception) -> tuple[Kind, bytes]:
        """Answer a request: what the answer is, and its body. Then :meth:`reset` is due."""
        if isinstance(given, InvalidInput):
            return self._codec.reject(given)
        if isinstance(given, Exception):
            return self._fault(given)
        self._has_run = self._is_touched = True  # as far as is known yet
        try:
            return self._run(given)
        except Exception as error:  # noqa: BLE001  # a fault of ours ends this worker only
            return self._fault(error)

    def reset(self) -> bool:
        """Put everything back for the next request; tell whether that was possible."""
        if not self._has_run:
            return not self._has_failed
        self._has_run = False
        if self._may_seed:
            reseed()
        if newest_module() is not self._newest_module:
            self._forget_modules()
        return self._put_files_back() and self._is_as_it_was()

    def _put_files_back(self) -> bool:
        """Put files back; tell whether that was possible."""
        try:
            # A thread may have gone on writing; if it still does, the worker is not as it was.
            if self._is_touched or (self._had_threads and self._scratch.is_modified()):
                self._scratch.reset()
            self._temporary.clean()
        except OSError:
            self.retired_for = "files were left that can't be removed"
            return False
        return True

    def _is_as_it_was(self) -> bool:
        """Tell whether nothing has changed that can't be put back."""
        if self._has_failed:
            self.retired_for = "the worker itself failed"
            return False
        if changed := self._state.put_back():
            self.retired_for = changed
            return False
        self._detector.put_back()
        if self._detector.has_changed():
            self.retired_for = self._detector.what_changed()
            return False
        return True

    def _forget_modules(self) -> None:
        """Have modules of the working directory imported anew by the next request."""
        for name, module in modules_since(self._newest_module):
            if is_below(module, str(self._scratch.directory)):
                sys.modules.pop(name, None)
        self._newest_module = newest_module()
        self._state.note_imports()

    def _reachable(self) -> set[str]:
        """Names that the code looks up, directly or through functions of the snapshot."""
        manifest = self.service.manifest
        uses = {row.name: row.uses for row in manifest.workspace.objects} if manifest else {}
        waiting, seen = list(self.compiled.names), set[str]()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(uses.get(name, ()))
        return seen

    def _fault(self, error: Exception) -> tuple[Kind, bytes]:
        traceback.print_exception(error, file=sys.__stderr__)
        self._has_failed = True
        return Kind.FAULT, b""

    # --- the run -----------------------------------------------------------------------------

    def _run(self, values: dict[str, Any]) -> tuple[Kind, bytes]:
        self._console.begin()
        message, trace, shown, outputs, invalid = "", "", "", {}, None
        try:
            outputs = self._run_apart(values)
        except InvalidInput as problem:
            # A model looks at the columns only when it is called.
            invalid = InvalidInput(*problem.args)
        except CallerLeft:
            pass  # its answer is read by nobody
        except BaseException as error:  # noqa: BLE001  # whatever the user's code raises
            message, trace, shown = self._describe(error)
            self._console.write(shown or f"{message}\n")
        self._put_names_back()
        self._look()
        if invalid is not None:
            return self._codec.reject(invalid)
        changed = self._scratch.changed_files() if self._is_touched else []
        return self._codec.result(
            message, outputs, self._console, self._scratch, changed, trace, shown
        )

    def _describe(self, error: BaseException) -> tuple[str, str, str]:
        """Say what went wrong in the code: a message, the traceback, and that as callers see it."""
        if isinstance(error, UnserializableOutput):
            return str(error), "", ""
        message, trace = explain(error, folders=self._folders)
        if self.observer is not None:
            self.observer.raised(error)
            return message, trace, trace
        # Who calls sees no folder; the log has the rest, for who may change the service.
        return without_folders(message), trace, without_folders(trace)

    def _run_apart(self, values: dict[str, Any]) -> dict[str, Any]:
        """Run the code with context variables of its own."""
        return self._state.new_context().run(self._execute, values)

    def _put_names_back(self) -> None:
        """Have the code's names be as they were, and those of libraries that it has changed."""
        self._state.put_back_libraries()
        namespace = self._namespace
        # Files that the code left open are written when nothing refers to them any more.
        while namespace:  # what is dropped may set names once more
            namespace.clear()
        namespace.update(self.base)

    def _execute(self, values: dict[str, Any]) -> dict[str, Any]:
        """Run the code and read its outputs."""
        namespace = self._namespace
        # Filters that the code sets are undone, and warnings given before are given again.
        with warnings.catch_warnings():
            namespace.update(values)
            for code in self._codes:
                if yields(code):
                    namespace[self.compiled.stream] = stream_of(code, namespace)
                else:
                    exec(code, namespace)
            return self._outputs(namespace, encoder_for(values))

    def _look(self) -> None:
        """See whether the code has touched files, once it has run."""
        self._had_threads = self._state.has_threads
        self._is_touched = self._scratch.is_modified()

    def _outputs(self, namespace: dict[str, Any], encode: Encode) -> dict[str, Any]:
        outputs = {} if encode is encode_output else ArrowOutputs()
        for parameter in self._declared:
            if parameter.name not in namespace:
                raise UnserializableOutput.not_set(parameter.name, parameter.type)
            value = namespace[parameter.name]
            if is_stream(value):
                return self._outputs_with_streams(namespace)
            outputs[parameter.name] = self._output(parameter, value, encode)
        return outputs

    def _outputs_with_streams(self, namespace: dict[str, Any]) -> dict[str, Any]:
        """Read outputs of which some are streams: these first, as their code may set the others."""
        streams = {}
        for parameter in self._declared:
            value = namespace.get(parameter.name)
            if is_stream(value):
                streams[parameter.name] = self._whole_of(Stream(parameter, value))
        return self._outputs_beside(streams, namespace, are_sent=self.sink is not None)

    def _outputs_beside(
        self, streams: dict[str, Any], namespace: dict[str, Any], *, are_sent: bool
    ) -> dict[str, Any]:
        """Read outputs that are no streams; those that are, are there unless they were sent."""
        outputs = {}
        for parameter in self._declared:
            if parameter.name not in streams:
                if parameter.name not in namespace:
                    raise UnserializableOutput.not_set(parameter.name, parameter.type)
                outputs[parameter.name] = self._output(
                    parameter, namespace[parameter.name], encode_output
                )
            elif not are_sent:
                outputs[parameter.name] = streams[parameter.name]
        return outputs

    def _whole_of(self, stream: Stream) -> Any:
        """Read a stream to its end: its items go to the caller, or into the value of the output."""
        items, size, sink = [], 0, self.sink
        try:
            for plain in stream:
                if sink is not None:
                    sink.send(self._codec.item(stream.name, plain))
                else:
                    items.append(plain)
                    size = self._codec.require_size_of(plain, size)
        except ValueProblem as problem:
            raise UnserializableOutput(f"Output {problem}") from problem
        if self.observer is not None:
            self.observer.streamed(stream.name, stream.kind)
        return stream.whole(items)

    def _output(self, parameter: ParameterDefinition, value: Any, encode: Encode) -> Any:
        if self.observer is not None:
            self.observer.gave(parameter.name, value)
        try:
            return encode(parameter.type, value, parameter.name)
        except ValueProblem as problem:
            raise UnserializableOutput(f"Output {problem}") from problem
