"""``%publish`` and ``%%publish``: make a service of code, a function or a model."""

from __future__ import annotations

import argparse
import ast
import keyword
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from IPython.core.error import UsageError
from IPython.core.magic import line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from jupyter_mlsvc.errors import InvalidInput
from jupyter_mlsvc.magics.base import MlsvcMagics
from jupyter_mlsvc.magics.options import (
    LineParser,
    code_text,
    csv_files,
    definition_options,
    runtime_option,
)
from jupyter_mlsvc.wire.models import Isolation

if TYPE_CHECKING:
    from jupyter_mlsvc.client.service import Service
    from jupyter_mlsvc.planning.request import Request

_FORM: Final = """%publish NAME [VERSION] MODEL   with a variable that holds a fitted model
     %publish [NAME [VERSION]] -f FUNCTION
     %%publish NAME [VERSION] [-i NAME[:TYPE][=VALUE],…] [-o NAME[:TYPE],…]   with the code in the
          cell
     %publish NAME [VERSION] … CODE
     %publish NAME [VERSION] … --cells 3-5
     with [--snapshot NAME | --session NAME [--as-in-session]] [--description TEXT] [--alias NAME]
          [--init-code CODE] [--setup CODE] [--isolation call|worker|none] [--effects]
          [--concurrency N] [--deadline SECONDS] [--files NAME,…] [--runtime R] [--no-network]
          [--read-only] [--keep-bodies] [--no-check] [--force] [--replace] [--group GROUP]
          [--describe NAME="TEXT"] [--tag WORD,…] [--example data|synthetic] [--ranges];
          of a model [--response NAME,…]"""
_OF_CODE: Final = (
    *("inputs", "outputs", "init_code", "setup", "files", "snapshot", "session", "runtime"),
    *("function", "cells", "isolation", "effects", "as_in_session", "ranges"),
    *("concurrency", "deadline"),
)


@magics_class
class PublishMagics(MlsvcMagics):
    """Publishing services."""

    @no_var_expand
    @magic_arguments()
    @definition_options
    @runtime_option
    @argument("-f", "--function", metavar="NAME", help="function of this notebook to publish")
    @argument("--cells", metavar="3-5", help="publish cells that ran, by their numbers")
    @argument(
        "--realtime",
        action="store_true",
        help="publish a model of this kernel; a fitted one needs no option",
    )
    @argument(
        "--response",
        type=csv_files,
        metavar="NAME,…",
        help="what a model predicts; the answer has NAME_Pred, y_Pred without it",
    )
    @argument(
        "--setup",
        type=code_text,
        metavar="CODE",
        help="code that runs once in each worker, before the first call; or a file that ends with "
        ".py and holds it",
    )
    @argument(
        "--isolation",
        choices=get_args(Isolation),
        help="what a call sees of those before it; call: nothing, by a process for each; worker: "
        "nothing; none: what they keep, such as caches",
    )
    @argument(
        "--effects",
        action="store_true",
        help="calls change what is elsewhere, such as a table; one whose process is lost is not "
        "run again",
    )
    @argument(
        "--concurrency",
        type=int,
        metavar="N",
        help="calls that a worker runs at a time; 1 without it, and 100 where the code awaits; "
        "code that does not runs in so many threads",
    )
    @argument(
        "--deadline",
        type=float,
        metavar="SECONDS",
        help="what a call may take; as long as the server allows without it",
    )
    @argument(
        "--no-network",
        action="store_false",
        dest="network",
        help="the code can't use the network, also where the server allows it",
    )
    @argument(
        "--read-only",
        action="store_true",
        help="the code can write nothing but temporary files, and those that are answered",
    )
    @argument(
        "--keep-bodies",
        action="store_true",
        help="the newest calls are kept with what was sent and answered, for you to look at",
    )
    @argument(
        "--as-in-session",
        action="store_true",
        help="keep the session's objects where those of this notebook differ",
    )
    @argument("--no-check", action="store_true", help="do not call the service once before")
    @argument(
        "--force", action="store_true", help="publish although the service will fail when called"
    )
    @argument(
        "--replace",
        action="store_true",
        help="take the place of a version of yours that has never answered rightly",
    )
    @argument(
        "--group",
        metavar="GROUP",
        help="one of your groups, whose members may change all versions of the name as well",
    )
    @argument("name", nargs="?", help="name of the service; that of the function without it")
    @argument("version", nargs="?", help="version, such as V1.0; the next one without it")
    @argument("code", nargs="?", default="", help="code; in %%%%publish the cell is the code")
    @line_cell_magic
    def publish(self, line: str, cell: str | None = None) -> Service:
        """Publish a service.

        The code runs for each call: it finds the inputs as variables, and its variables named like
        the outputs are the answer. Models, functions and constants that it needs are those of this
        notebook, as they are now; what the notebook does not have comes from the current session,
        or from the snapshot that ``--snapshot`` names. Inputs and outputs that are not declared
        are read from the code, and the types of those that have none from the values that they
        have here. The server calls the service once before it takes it, and the answer is shown.
        Code on the line is the rest of the line, or one Python string.

        Examples::

            %%publish Iris -i flower_data -o iris_species
            iris_species = [names[x] for x in clf.predict(flower_data)]

        Callers are shown names and types of columns, and no values but those that are given for
        it, or with ``--example``::

            %%publish Loans -i applicant=loans.head(3) -o risk --describe income="Euros a year"
            risk = pipe.predict_proba(applicant)[:, 1]

        A function is a service by its signature, a fitted model without any code: it takes a
        DataFrame ``inputData`` and answers ``outputData``::

            %publish Score -f score
            %publish Iris V2.0 --response species clf
            %publish Iris V3.0 --response species models/iris.onnx
        """
        from jupyter_mlsvc.planning.planner import Planner

        parser = LineParser(self.publish.parser, _FORM, words=2)
        arguments = parser.parse(line)
        if arguments.snapshot and arguments.session:
            raise parser.misuse("Give --snapshot or --session, not both")
        request = self._request(parser, arguments, cell)
        if note := note_on_version(line, request):
            print(note)
        try:
            return Planner(self.connection, print).publish(request).service
        except (TypeError, OSError) as error:
            if request.model is None:
                raise
            what = request.model_name or request.name
            raise UsageError(f"{what} can't be published. {error}") from None

    def _request(
        self, parser: LineParser, arguments: argparse.Namespace, cell: str | None
    ) -> Request:
        """Find out what is to be published: a model, a function, cells, or code."""
        from jupyter_mlsvc.planning.models import is_fitted_model

        if arguments.realtime or _is_onnx_file(arguments.code):
            return self._of_model(parser, arguments, cell)
        named = None if cell is not None else self._object_at_end(arguments)
        if named is not None:
            value = self.shell.user_ns[named]
            if is_fitted_model(value) and not [
                each for each in _OF_CODE if getattr(arguments, each)
            ]:
                arguments.code = named
                return self._of_model(parser, arguments, cell)
            if not is_fitted_model(value):
                arguments.function, arguments.code = named, ""
        if arguments.response:
            raise parser.misuse("--response is for --realtime")
        code = "" if arguments.function else self._code(parser, arguments, cell)
        if arguments.function and (cell is not None or arguments.code):
            raise parser.misuse("-f publishes a function: leave the code out")
        arguments.name = arguments.name or arguments.function
        if not arguments.name:
            raise parser.misuse("The service needs a name")
        try:
            return request_of(arguments, code)
        except InvalidInput as error:
            raise parser.misuse(str(error)) from None

    def _object_at_end(self, arguments: argparse.Namespace) -> str | None:
        """Name the model or function that a line ends with; its words move up where it does."""
        if arguments.function or arguments.cells:
            return None
        words = [arguments.name, arguments.version, arguments.code.strip()]
        last = max((place for place, word in enumerate(words) if word), default=None)
        name = None if last is None else words[last]
        if last is None or not _is_name(name) or not _is_publishable(self.shell.user_ns.get(name)):
            return None
        if last:
            words[last] = None
        arguments.name, arguments.version, arguments.code = words[0], words[1], ""
        return name

    def _of_model(
        self, parser: LineParser, arguments: argparse.Namespace, cell: str | None
    ) -> Request:
        given = [f"--{name.replace('_', '-')}" for name in _OF_CODE if getattr(arguments, name)]
        if given:
            raise parser.misuse(f"--realtime goes without {', '.join(given)}")
        name = arguments.code.strip()
        if cell is not None or not name:
            raise parser.misuse("--realtime needs the variable of the model on its line")
        request = request_of(arguments, "")
        request.response, request.model_name = arguments.response or [], name
        if name in self.shell.user_ns:
            request.model = self.shell.user_ns[name]
        elif name.strip("'\"").endswith(".onnx"):
            request.model = Path(name.strip("'\"")).expanduser()
        else:
            raise parser.misuse(f"There is no variable {name} in this kernel")
        return request

    def _code(self, parser: LineParser, arguments: argparse.Namespace, cell: str | None) -> str:
        if arguments.cells is not None:
            if cell is not None or arguments.code:
                raise parser.misuse("--cells publishes cells that ran: leave the code out")
            return self._code_of_cells(parser, arguments.cells)
        if cell is None:
            self._tell_code_from_version(arguments)
            if not arguments.code.strip():
                raise parser.misuse(self._what_to_publish(arguments))
        return _code(parser, arguments, cell)

    def _tell_code_from_version(self, arguments: argparse.Namespace) -> None:
        """Take a word for the beginning of the code where it is no version: ``y = x * 2``."""
        version = arguments.version or ""
        whole = f"{version} {arguments.code}"
        if version and not _is_assignment(arguments.code) and _is_assignment(whole):
            arguments.version, arguments.code = None, whole

    def _what_to_publish(self, arguments: argparse.Namespace) -> str:
        """Say why a line without code publishes nothing, by what its words stand for here."""
        found = self.shell.user_ns
        words = [word for word in (arguments.name, arguments.version) if word in found]
        if not words:
            return "There is no code to publish"
        first, second = arguments.name, arguments.version
        if second and _is_publishable(found.get(first)):
            return f"What is published stands last: %publish {second} {first}"
        name = words[-1]
        value = found[name]
        kind = type(value).__name__
        if callable(getattr(value, "predict", None)):
            return f"{name} ({kind}) is not fitted, so it is no model yet: call {name}.fit first"
        if callable(value):
            return f"{name} ({kind}) is published as a function: %publish NAME -f {name}"
        return f"There is no code to publish, and {name} ({kind}) is no model and no function"

    def _code_of_cells(self, parser: LineParser, numbers: str) -> str:
        from jupyter_mlsvc.planning.cell_code import python_of

        history = self.shell.history_manager
        try:
            found = [] if history is None else history.get_range_by_str(numbers, raw=True)
            ran = [str(source) for _, _, source in found]
        except (ValueError, KeyError, AttributeError):
            ran = []
        if not ran:
            raise parser.misuse(f"No cells {numbers} ran here; give numbers as in --cells 3-5")
        parts = [python_of(_without_cell_magic(source)) for source in ran]
        for note in (note for part in parts for note in part.notes):
            print(note)
        return "\n".join(part.code for part in parts)


def request_of(arguments: argparse.Namespace, code: str) -> Request:
    """Make the request of a line and its code.

    Raises
    ------
    InvalidInput
        The file of the set-up code can't be read.
    """
    from jupyter_mlsvc.planning.cell_code import PythonCode, python_of
    from jupyter_mlsvc.planning.request import Request

    found = PythonCode(code) if arguments.runtime == "R" else python_of(code)
    return Request(
        name=arguments.name or "",
        version=arguments.version,
        code=found.code,
        warnings=found.notes,
        function=arguments.function,
        response=arguments.response or [],
        init_code=arguments.init_code or "",
        setup_code=_setup_code(arguments.setup or ""),
        isolation=arguments.isolation,
        effects=arguments.effects,
        network=arguments.network,
        read_only=arguments.read_only,
        keep_bodies=arguments.keep_bodies,
        concurrency=arguments.concurrency,
        deadline_seconds=arguments.deadline,
        inputs=arguments.inputs,
        outputs=arguments.outputs,
        description=arguments.description,
        alias=arguments.alias,
        files=arguments.files or [],
        runtime=arguments.runtime,
        session=arguments.session,
        snapshot=arguments.snapshot,
        as_in_session=arguments.as_in_session,
        check=not arguments.no_check,
        force=arguments.force,
        replace=arguments.replace,
        group=arguments.group,
        tags=arguments.tag,
        descriptions=dict(arguments.describe or ()),
        example=arguments.example,
        ranges=arguments.ranges,
    )


def note_on_version(line: str, request: Request) -> str:
    """Say how a line was read whose version may be a word of the name."""
    version = request.version or ""
    is_word = version.isalpha() and version.islower() and f"{request.name} {version}" in line
    if not is_word:
        return ""
    return (
        f"{version!r} is taken as the version of {request.name!r}. A name with spaces has quotes: "
        f'%publish "{request.name} {version}"'
    )


def _setup_code(text: str) -> str:
    path = text.strip()
    if not path.endswith(".py") or "\n" in path:
        return text
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"The set-up code can't be read: {error.strerror}: {path}.") from None


def _is_onnx_file(code: str) -> bool:
    path = Path(code.strip().strip("'\""))
    return path.suffix == ".onnx" and path.expanduser().is_file()


def _is_assignment(code: str) -> bool:
    """Whether code sets something with its first statement."""
    with suppress(SyntaxError, ValueError):
        first = ast.parse(code.strip()).body[:1]
        return any(isinstance(each, ast.Assign | ast.AnnAssign) for each in first)
    return False


def _is_name(text: str | None) -> bool:
    return text is not None and text.isidentifier() and not keyword.iskeyword(text)


def _is_publishable(value: object) -> bool:
    """Whether a variable is what people publish by its name: a function or a fitted model."""
    from jupyter_mlsvc.planning.models import is_fitted_model

    return type(value).__name__ == "function" or is_fitted_model(value)


def _without_cell_magic(source: str) -> str:
    first, _, rest = source.partition("\n")
    return rest if first.lstrip().startswith("%%") else source


def _code(parser: LineParser, arguments: argparse.Namespace, cell: str | None) -> str:
    if cell is not None and arguments.code:
        raise parser.misuse(
            f"%%publish takes its code from the cell, but its line has more: {arguments.code}"
        )
    code: str = arguments.code if cell is None else cell
    if not code.strip():
        raise parser.misuse("There is no code to publish")
    return code
