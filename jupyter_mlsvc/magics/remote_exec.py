"""``%remote_exec`` and ``%%remote_exec``: run code in a session on the server."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from IPython.core.error import UsageError
from IPython.core.magic import line_cell_magic, magics_class, needs_local_scope, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from jupyter_mlsvc.errors import RemoteExecutionError
from jupyter_mlsvc.magics.base import MlsvcMagics
from jupyter_mlsvc.magics.options import LineParser, csv_names, runtime_option, session_option

if TYPE_CHECKING:
    from jupyter_mlsvc.client.events import AnyEvent
    from jupyter_mlsvc.client.session import Session
    from jupyter_mlsvc.display import RemoteValue

_FORM: Final = """%%remote_exec [--session NAME] [--runtime R] [-i a,b] [-o x,y]
                       with the code in the cell
     %remote_exec [--session NAME] [--runtime R] [-i a,b] [-o x,y] CODE"""
_UNDEFINED: Final = re.compile(r"name '(\w+)' is not defined|object '(\w+)' not found")

_UNSET: Final = ("NameError", "Error")
"""What an unknown name raises in Python and in R."""


@magics_class
class RemoteExecMagics(MlsvcMagics):
    """Running code on the server."""

    @no_var_expand
    @needs_local_scope
    @magic_arguments()
    @session_option
    @runtime_option
    @argument(
        "-i",
        "--inputs",
        type=csv_names,
        action="extend",
        default=[],
        metavar="NAME,…",
        help="local variables to send",
    )
    @argument(
        "-o",
        "--outputs",
        type=csv_names,
        action="extend",
        default=[],
        metavar="NAME,…",
        help="variables to bring back",
    )
    @argument("code", nargs="?", default="", help="code; in %%%%remote_exec the cell is the code")
    @line_cell_magic
    def remote_exec(
        self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None
    ) -> RemoteValue | None:
        """Run code in a session on the server.

        Output appears while the code runs. Interrupting the cell interrupts the code there; the
        session keeps its variables. The session is started when it is first used, and a session
        that you name becomes the current one. With ``--runtime R`` it is one that runs R, beside
        the notebook's in Python; values then travel as JSON, DataFrames as data frames.

        Examples::

            %%remote_exec -i flowers -o score
            score = clf.score(flowers.data, flowers.target)
        """
        from jupyter_mlsvc.display import CellOutput
        from jupyter_mlsvc.object_transfer import fetch, send

        parser = LineParser(self.remote_exec.parser, _FORM, words=0)
        arguments = parser.parse(line)
        code = _code(parser, arguments.code, cell)
        values = _values(arguments.inputs, self.namespace(local_ns))
        session = self.connection.session(arguments.session, arguments.runtime)
        with self.connection.explaining_lost_session(session):
            for name, value in values.items():
                send(session, name, value, self.shell.user_ns)
            output = CellOutput()
            waiting = self.connection.waiting(f"Running in session {session.name!r}")

            def on_event(event: AnyEvent) -> None:
                waiting.heard()
                output(event)

            try:
                with waiting:
                    session.run(code, on_event=on_event)
            except RemoteExecutionError as error:
                error.hint = _hint(error, self.namespace(local_ns)) or _language_hint(
                    error, session, code
                )
                raise
            fetched = [
                fetch(session, name, self.shell.user_ns, _not_set(name, session))
                for name in arguments.outputs
            ]
            self.shell.push({moved.name: value for value, moved in fetched})
        return output.value


def _code(parser: LineParser, on_line: str, cell: str | None) -> str:
    if cell is not None and on_line:
        raise parser.misuse(
            f"%%remote_exec takes its code from the cell, but its line has more: {on_line}"
        )
    code = on_line if cell is None else cell
    if not code.strip():
        raise parser.misuse("There is no code to run")
    return code


def _values(names: list[str], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Look the variables up before anything is sent."""
    for name in names:
        if name not in namespace:
            raise UsageError(
                f"There is no variable {name!r} here to send. Define it first, or check -i."
            )
    return {name: namespace[name] for name in names}


def _not_set(name: str, session: Session) -> str:
    return f"The code ran, but there is no {name!r} in session {session.name!r} to bring back."


def _hint(error: RemoteExecutionError, namespace: Mapping[str, Any]) -> str:
    found = _UNDEFINED.search(error.remote_message)
    name = (found[1] or found[2]) if found else None
    if name is None or name not in namespace or not error.remote_type.startswith(_UNSET):
        return ""
    return f"{name!r} is a variable of this notebook; send it with -i {name}."


def _language_hint(error: RemoteExecutionError, session: Session, code: str) -> str:
    """Tell the likeliest cause of R that cannot be read: it is Python."""
    if session.runtime_type != "R" or not error.is_syntax_error:
        return ""
    try:
        ast.parse(code)
    except (SyntaxError, ValueError):
        return ""
    return f"session {session.name!r} runs R; --runtime Python is for code in Python."
