"""What a subcommand of ``%mlsvc`` is, and arguments that several of them share."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from IPython.core.magic_arguments import MagicArgumentParser

from jupyter_mlsvc.magics.connection import MlsvcConnection

_FORM_WIDTH: Final = 60

Run = Callable[[MlsvcConnection, argparse.Namespace], object]
Argument = tuple[tuple[str, ...], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: its form, what it does, and how it does it."""

    form: str
    summary: str
    run: Run
    arguments: Sequence[Argument] = ()

    @property
    def name(self) -> str:
        """First word of the form."""
        return self.form.split(maxsplit=1)[0]

    @property
    def help(self) -> str:
        """The form and, beside or below it, what it does."""
        form = f"%mlsvc {self.form}"
        if len(form) < _FORM_WIDTH:
            return f"{form.ljust(_FORM_WIDTH)}{self.summary}"
        lines = textwrap.wrap(form, 96, subsequent_indent=" " * 8, break_on_hyphens=False)
        return "\n".join((*lines, f"{' ' * _FORM_WIDTH}{self.summary}"))

    def parser(self) -> MagicArgumentParser:
        """Build the parser of what follows the name."""
        parser = MagicArgumentParser(f"mlsvc {self.name}", description=self.summary)
        for names, settings in self.arguments:
            parser.add_argument(*names, **settings)
        return parser


NAME: Final[Argument] = (("name",), {})
MAYBE_NAME: Final[Argument] = (("name",), {"nargs": "?"})
VERSION: Final[Argument] = (("version",), {})
MAYBE_VERSION: Final[Argument] = (("version",), {"nargs": "?"})
SESSION: Final[Argument] = (("-s", "--session"), {})
