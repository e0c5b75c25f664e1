"""``%batch``: call a service for each row of a table."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from jupyter_mlsvc.errors import BatchFailed
from jupyter_mlsvc.magics.base import MlsvcMagics
from jupyter_mlsvc.magics.consume import EXPRESSION, take_expression, value_of
from jupyter_mlsvc.magics.options import LineParser
from jupyter_mlsvc.wire.names import python_name

if TYPE_CHECKING:
    import pandas

    from jupyter_mlsvc.client.batches import Batch

_FORM: Final = "%batch NAME [VERSION] VARIABLE [-o NAME] [--parallel N] [--quiet] [--resume ID]"

_INPUT: Final = re.compile(r"[^\W\d]\w*=(?!=)")
"""An input as ``%consume`` takes it."""


@magics_class
class BatchMagics(MlsvcMagics):
    """Calling services with many records."""

    @no_var_expand
    @needs_local_scope
    @magic_arguments()
    @argument("name", help="name of the service")
    @argument("version", nargs="?", help="version; the newest where it is left out")
    @argument(
        "variable",
        help="variable or expression with the records: a DataFrame, or a list of dictionaries",
    )
    @argument("-o", "--output", metavar="NAME", help="variable for the result, which is not shown")
    @argument("-p", "--parallel", type=int, default=10, metavar="N", help="records at a time")
    @argument("-q", "--quiet", action="store_true", help="show no progress bar")
    @argument("--resume", metavar="ID", help="wait for a batch that you started from this variable")
    @line_magic
    def batch(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Call a service for each row of a DataFrame and return the outputs as a DataFrame.

        The index is that of the rows. Those that failed stay, with False in the column success and
        the reason in the column error.

        Interrupting ends the waiting; the batch goes on on the server. The message says how to wait
        for it again and how to stop it.

        Examples::

            %batch Iris V1.0 flowers
            %batch Iris V1.0 flowers[flowers.width > 2]
            %batch Iris flowers -o species --parallel 20
        """
        parser = LineParser(self.batch.parser, _FORM)
        line, expression = take_expression(line)
        arguments = parser.parse(line)
        namespace = self.namespace(local_ns)
        is_taken = arguments.variable == EXPRESSION and expression is not None
        text = expression or "" if is_taken else arguments.variable
        try:
            records = value_of(text, namespace)
        except ValueError as error:
            if named := _INPUT.match(text):
                raise parser.misuse(
                    f"The columns of the rows are the inputs: leave {named[0]} out"
                ) from None
            raise parser.misuse(str(error)) from None
        if arguments.output is not None and not arguments.output.isidentifier():
            raise parser.misuse(f"{arguments.output!r} is no name of a variable")
        if arguments.parallel < 1:
            raise parser.misuse("--parallel has to be at least 1")
        batch = self._batch(arguments, records)
        frame = self._finished(batch, quiet=arguments.quiet)
        if arguments.output is None:
            return frame
        self.shell.user_ns[python_name(arguments.output)] = frame
        return None

    def _batch(self, arguments: Any, records: Any) -> Batch:
        from jupyter_mlsvc.display import TransferBar

        batches = self.connection.client.batches
        if arguments.resume:
            index = getattr(records, "index", None) if hasattr(records, "columns") else None
            return batches.get(arguments.name, arguments.version, arguments.resume, index=index)
        with closing(TransferBar(f"Records for {arguments.name}", quiet=arguments.quiet)) as bar:
            return batches.start(
                arguments.name,
                arguments.version,
                records,
                parallel_count=arguments.parallel,
                quiet=arguments.quiet,
                progress=bar,
            )

    def _finished(self, batch: Batch, *, quiet: bool) -> pandas.DataFrame:
        try:
            batch.wait(quiet=quiet)
        except BatchFailed as error:
            # What it has is worth more than an exception; the rows without a result say so.
            print(error, file=sys.stderr)
        progress = batch.progress
        if progress.failed:
            print(
                f"{progress.failed:,} of {progress.total:,} records failed; the column 'error' "
                "says why.",
                file=sys.stderr,
            )
        return batch.to_frame(quiet=quiet)
