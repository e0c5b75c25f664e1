"""``%publish`` and ``%%publish``: make a service of code and a session."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from IPython.core.error import UsageError
from IPython.core.magic import line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from jupyter_mlsvc.capture import assigned_names, needed_names
from jupyter_mlsvc.client.service import Service
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.magics.base import MlsvcMagics
from jupyter_mlsvc.magics.options import (
    LineParser,
    csv_files,
    definition_options,
    runtime_option,
)

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
    @argument("name", help="name of the service")
    @argument("version", nargs="?", help="version, such as V1.0")
    @argument("code", nargs="?", default="", help="code; in %%%%publish the cell is the code")
    @line_cell_magic
    def publish(self, line: str, cell: str | None = None) -> Service:
        """Publish a service.

        The code runs for each call: it finds the inputs as variables, and its variables named like
        the outputs are the answer. It also finds what the snapshot holds; without ``--snapshot``
        one of the current session is taken for it, and the service runs its language. Code on the
        line is the rest of the line, or one Python string.

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
        what = self._what(arguments)
        with (
            self._snapshot(arguments, code) as (snapshot_id, runtime),
            self.connection.waiting(what),
        ):
            return self.connection.client.services.publish(
                arguments.name,
                arguments.version,
                code=code,
                inputs=arguments.inputs or (),
                outputs=arguments.outputs or (),
                snapshot_id=snapshot_id,
                description=arguments.description,
                init_code=arguments.init_code,
                alias=arguments.alias,
                output_files=arguments.files or (),
                runtime_type=runtime,
            )

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

    @contextmanager
    def _snapshot(
        self, arguments: argparse.Namespace, code: str
    ) -> Iterator[tuple[str | None, str]]:
        """Give the snapshot to publish and its language.

        One that is taken for the service goes when the service has it.
        """
        if arguments.snapshot:
            found = self.connection.client.snapshots.find(arguments.snapshot)
            runtime = arguments.runtime or (found.runtime_type if found else None) or "Python"
            self._note(arguments, code, runtime)
            yield found.id if found else arguments.snapshot, runtime
            return
        session = self._session(arguments.session)
        runtime = arguments.runtime or (session.runtime_type if session else "Python")
        if session is None or session.runtime_type != runtime:
            self._note(arguments, code, runtime)
            if runtime == "Python":
                self._note_missing_names(arguments, code, None)
            yield None, runtime
            return
        self._note(arguments, code, runtime)
        label = " ".join(filter(None, (arguments.name, arguments.version)))
        with self.connection.passing_snapshot(session, label) as snapshot_id:
            if runtime == "Python":
                # Only now, because the snapshot waits for what the session may be running.
                self._note_missing_names(arguments, code, session)
            yield snapshot_id, runtime

    def _note(self, arguments: argparse.Namespace, code: str, runtime: str) -> None:
        # Code in R is read by the server only.
        if runtime == "Python":
            _note_unset_outputs(arguments, code)

    def _session(self, name: str | None) -> Session | None:
        if name is not None:
            return self.connection.switch(name)
        return self.connection.existing()

    def _note_missing_names(
        self, arguments: argparse.Namespace, code: str, session: Session | None
    ) -> None:
        """Say early which names the code will not find when the service is called."""
        init_code = arguments.init_code or ""
        given = {item.name for item in arguments.inputs or ()} | assigned_names(init_code)
        needed = (needed_names(code) | needed_names(init_code)) - given
        if not needed or "import *" in code + init_code:
            return
        if session is None:
            names = ", ".join(sorted(needed))
            print(f"Note: there is no snapshot that would hold {names}.", file=sys.stderr)
            return
        missing = sorted(needed - set(session.list_objects()))
        if not missing:
            return
        note = f"Note: the code needs {', '.join(missing)}, which session {session.name!r} lacks."
        if here := [name for name in missing if name in self.shell.user_ns]:
            note += f" Send what is here with %%remote_exec -i {','.join(here)} and publish again."
        print(note, file=sys.stderr)


def _code(parser: LineParser, arguments: argparse.Namespace, cell: str | None) -> str:
    if cell is not None and arguments.code:
        raise parser.misuse(
            f"%%publish takes its code from the cell, but its line has more: {arguments.code}"
        )
    code: str = arguments.code if cell is None else cell
    if not code.strip():
        raise parser.misuse("There is no code to publish")
    return code


def _note_unset_outputs(arguments: argparse.Namespace, code: str) -> None:
    """Say early what would otherwise show when the service is called first."""
    known = assigned_names(code) | assigned_names(arguments.init_code or "")
    if not known:
        return
    unset = [item.name for item in arguments.outputs or () if item.name not in known]
    if unset:
        print(f"Note: the code does not set {', '.join(unset)}.", file=sys.stderr)
