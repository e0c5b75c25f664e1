"""``%publish`` and ``%%publish``: make a service of code and a session."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from IPython.core.error import UsageError
from IPython.core.magic import line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.magics.base import MlsvcMagics
from jupyter_mlsvc.magics.options import (
    LineParser,
    csv_files,
    definition_options,
    runtime_option,
)
from jupyter_mlsvc.planning.cell_code import python_of
from jupyter_mlsvc.planning.planner import Planner
from jupyter_mlsvc.planning.request import Request

_FORM: Final = """%publish NAME VERSION [--snapshot NAME | --session NAME] [-i NAME:TYPE,…]
              [-o NAME:TYPE,…] [--description TEXT] [--init-code CODE] [--alias NAME]
              [--files NAME,…] [--runtime R] CODE
     %%publish NAME VERSION …   with the code in the cell
     %publish --realtime NAME VERSION [--response NAME,…] [--description TEXT] [--alias NAME] MODEL
                                with a variable of this kernel that holds a fitted model, or the
                                path of an .onnx file"""
_OF_CODE: Final = ("inputs", "outputs", "init_code", "files", "snapshot", "session", "runtime")


@magics_class
class PublishMagics(MlsvcMagics):
    """Publishing services."""

    @no_var_expand
    @magic_arguments()
    @definition_options
    @runtime_option
    @argument(
        "--realtime",
        action="store_true",
        help="publish a model of this kernel in place of code; its variable stands for the code",
    )
    @argument(
        "--response",
        type=csv_files,
        metavar="NAME,…",
        help="what a realtime model predicts; the answer has NAME_Pred, y_Pred without it",
    )
    @argument(
        "--as-in-session",
        action="store_true",
        help="keep the session's objects where those of this notebook differ",
    )
    @argument(
        "--force", action="store_true", help="publish although the service will fail when called"
    )
    @argument("name", help="name of the service")
    @argument("version", nargs="?", help="version, such as V1.0")
    @argument("code", nargs="?", default="", help="code; in %%%%publish the cell is the code")
    @line_cell_magic
    def publish(self, line: str, cell: str | None = None) -> Service:
        """Publish a service.

        The code runs for each call: it finds the inputs as variables, and its variables named like
        the outputs are the answer. Models, functions and constants that it needs are those of this
        notebook, as they are now; what the notebook does not have comes from the current session,
        or from the snapshot that ``--snapshot`` names. Inputs and outputs that are not declared
        are read from the code. Code on the line is the rest of the line, or one Python string.

        Examples::

            %%publish Iris V1.0 -i flower_data:vector -o iris_species:vector
            iris_species = [names[x] for x in clf.predict(flower_data)]

        With ``--realtime`` it is a fitted model of this kernel that runs, without code: the
        service takes a DataFrame ``inputData`` and answers ``outputData``::

            %publish --realtime Iris V2.0 --response species clf
            %publish --realtime Iris V3.0 --response species models/iris.onnx
        """
        parser = LineParser(self.publish.parser, _FORM, words=2)
        arguments = parser.parse(line)
        if arguments.realtime:
            return self._publish_model(parser, arguments, cell)
        if arguments.response:
            raise parser.misuse("--response is for --realtime")
        code = _code(parser, arguments, cell)
        if arguments.snapshot and arguments.session:
            raise parser.misuse("Give --snapshot or --session, not both")
        return Planner(self.connection, print).publish(request_of(arguments, code)).service

    def _what(self, arguments: argparse.Namespace) -> str:
        return " ".join(filter(None, ("Publishing", arguments.name, arguments.version)))

    def _publish_model(
        self, parser: LineParser, arguments: argparse.Namespace, cell: str | None
    ) -> Service:
        given = [f"--{name.replace('_', '-')}" for name in _OF_CODE if getattr(arguments, name)]
        if given:
            raise parser.misuse(f"--realtime goes without {', '.join(given)}")
        name = arguments.code.strip()
        if cell is not None or not name:
            raise parser.misuse("--realtime needs the variable of the model on its line")
        if name in self.shell.user_ns:
            model = self.shell.user_ns[name]
        elif name.strip("'\"").endswith(".onnx"):
            model = Path(name.strip("'\"")).expanduser()
        else:
            raise parser.misuse(f"There is no variable {name} in this kernel")
        try:
            with self.connection.waiting(self._what(arguments)):
                return self.connection.client.services.publish_realtime(
                    arguments.name,
                    arguments.version,
                    model,
                    description=arguments.description,
                    alias=arguments.alias,
                    response=arguments.response or (),
                )
        except (TypeError, OSError) as error:
            raise UsageError(f"{name} can't be published. {error}") from None


def request_of(arguments: argparse.Namespace, code: str) -> Request:
    """Make the request of a line and its code."""
    return Request(
        name=arguments.name,
        version=arguments.version,
        code=code if arguments.runtime == "R" else python_of(code)[0],
        init_code=arguments.init_code or "",
        inputs=arguments.inputs,
        outputs=arguments.outputs,
        description=arguments.description,
        alias=arguments.alias,
        files=arguments.files or [],
        runtime=arguments.runtime,
        session=arguments.session,
        snapshot=arguments.snapshot,
        as_in_session=arguments.as_in_session,
        force=arguments.force,
    )


def _code(parser: LineParser, arguments: argparse.Namespace, cell: str | None) -> str:
    if cell is not None and arguments.code:
        raise parser.misuse(
            f"%%publish takes its code from the cell, but its line has more: {arguments.code}"
        )
    code: str = arguments.code if cell is None else cell
    if not code.strip():
        raise parser.misuse("There is no code to publish")
    return code
