"""Reading the option lines of the magics, and options that several of them share.

Code on the line is taken as it stands: nothing in it is expanded, and no quote or brace lost.
"""

from __future__ import annotations

import argparse
import ast
import io
import tokenize
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser, argument

from jupyter_mlsvc.wire.names import InvalidName, parameter_name

if TYPE_CHECKING:
    from jupyter_mlsvc.planning.request import Parameter

F = TypeVar("F", bound=Callable[..., Any])

_QUOTES: Final = "\"'"


# --- types of options ------------------------------------------------------------------------


def csv_names(text: str) -> list[str]:
    """Read ``a,b``: names of variables."""
    try:
        return [parameter_name(name) for name in _split(text)]
    except InvalidName as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def csv_parameters(text: str) -> list[Parameter]:
    """Read ``a:vector,b``: outputs, with their types where they are given."""
    from jupyter_mlsvc.planning.parameters import parameters

    try:
        return parameters(_split(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def csv_inputs(text: str) -> list[Parameter]:
    """Read ``a:vector=x[:3],b``: inputs, with types and with values that callers are shown."""
    from jupyter_mlsvc.planning.parameters import expressions

    try:
        return expressions(split_outside(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def name_and_text(text: str) -> tuple[str, str]:
    """Read ``name=text``."""
    name, sign, said = text.partition("=")
    if not sign or not name.strip():
        raise argparse.ArgumentTypeError(
            f'{text!r} describes nothing; use NAME="text", such as income="Euros a year"'
        )
    return name.strip(), said.strip()


def csv_files(text: str) -> list[str]:
    """Read ``a.png,b.csv``: names of files, or of anything else."""
    return _split(text)


def code_text(text: str) -> str:
    """Read code: one Python string literal, or the text as it stands."""
    literal = _leading_literal(text)
    return text if literal is None or literal[1].strip() else literal[0]


def split_outside(text: str) -> list[str]:
    """Split at commas that are neither in brackets nor in quotes."""
    parts = [""]
    for letter, is_inside in _places(text):
        if letter == "," and not is_inside:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def is_open(text: str) -> bool:
    """Whether a bracket or a quote is not closed."""
    return any(is_inside for _, is_inside in [*_places(text)][-1:])


def _places(text: str) -> Iterator[tuple[str, bool]]:
    """Yield letters, and whether what follows each is in brackets or quotes."""
    depth, quote = 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES:
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth = max(depth - 1, 0)
        yield letter, bool(quote or depth)


def _split(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


_COMMA_TYPES: Final = (csv_names, csv_parameters, csv_inputs, csv_files)


# --- options that several magics share -------------------------------------------------------


RUNTIMES: Final = ("Python", "R")


def session_option(function: F) -> F:
    """Add ``--session NAME``."""
    option = argument(
        "-s", "--session", metavar="NAME", help="session on the server, by name or id"
    )
    added: F = option(function)
    return added


def runtime_option(function: F) -> F:
    """Add ``--runtime NAME``."""
    option = argument(
        "--runtime",
        choices=RUNTIMES,
        help="language of the session that is used or started; Python, or R",
    )
    added: F = option(function)
    return added


def definition_options(function: F) -> F:
    """Add what describes a service: inputs, outputs, description and so on."""
    options = (
        argument(
            "-i",
            "--inputs",
            type=csv_inputs,
            action="extend",
            metavar="NAME[:TYPE][=VALUE],…",
            help="inputs of the service; types: logical, numeric, integer, character, vector, "
            "matrix, data.frame, by default that of the value in this notebook; a value, such as "
            "df.head(3), is an example that callers are shown",
        ),
        argument(
            "-o",
            "--outputs",
            type=csv_parameters,
            action="extend",
            metavar="NAME[:TYPE],…",
            help="outputs of the service",
        ),
        argument("-d", "--description", help="a sentence for those who use the service"),
        argument(
            "--describe",
            type=name_and_text,
            action="append",
            metavar='NAME="TEXT"',
            help="a sentence about an input, an output or a column; once for each",
        ),
        argument(
            "--tag",
            type=csv_files,
            action="extend",
            metavar="WORD,…",
            help="words to find the service by",
        ),
        argument(
            "--example",
            choices=("data", "synthetic"),
            help="what callers are shown: the first rows of what the inputs have here, with "
            "categories and the answer; or made-up values of the same types",
        ),
        argument(
            "--ranges",
            action="store_true",
            help="refuse numbers that are out of the range of those that the inputs have here; "
            "callers see these limits",
        ),
        argument(
            "--init-code", type=code_text, metavar="CODE", help="code that runs before each call"
        ),
        argument("--alias", metavar="NAME", help="name of the call in generated clients"),
        argument(
            "--files",
            type=csv_files,
            action="extend",
            metavar="NAME,…",
            help="files that the code writes and callers get",
        ),
        argument(
            "--snapshot",
            metavar="NAME",
            help="snapshot of yours that the code finds its objects in, by name or id",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return session_option(function)


# --- words -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a line: with its quotes taken off, as it was written, and where it ends."""

    text: str
    raw: str
    end: int


def read_word(line: str, start: int) -> Word | None:
    """Read the word at or after a position, by the quoting rules of a shell.

    Raises
    ------
    UsageError
        A quote is not closed.
    """
    while start < len(line) and line[start].isspace():
        start += 1
    if start == len(line):
        return None
    text: list[str] = []
    quote = ""
    at = start
    while at < len(line) and (quote or not line[at].isspace()):
        letter = line[at]
        if quote == '"' and letter == "\\" and line[at + 1 : at + 2] in {'"', "\\"}:
            at += 1
            text.append(line[at])
        elif letter == quote:
            quote = ""
        elif not quote and letter in _QUOTES:
            quote = letter
        else:
            text.append(letter)
        at += 1
    if quote:
        raise UsageError(f"A {quote} is not closed: {line[start:]}")
    return Word("".join(text), line[start:at], at)


# --- lines -----------------------------------------------------------------------------------


class LineParser:
    """Parses ``[options] WORD… [options] CODE`` with the parser that the decorators built.

    Parameters
    ----------
    parser : MagicArgumentParser
        Knows the options; the code, where there is any, must be its last positional ``code``.
    form : str
        The right form, shown with each mistake.
    words : int or None
        How many words come before the code; None where all are words and there is no code.
    """

    def __init__(self, parser: MagicArgumentParser, form: str, *, words: int | None = None) -> None:
        self._parser = parser
        self._form = form
        self._words = words

    def parse(self, line: str) -> argparse.Namespace:
        """Parse a line.

        Raises
        ------
        UsageError
            It does not fit; the message has the right form in it.
        """
        try:
            options, words, code = self._read(line, 0, self._words)
            if code:
                literal = _leading_literal(code)
                if literal is not None:
                    code, rest = self._after_literal(code, *literal)
                    options += rest
                words = [*words, code]
            return self._parser.parse_args([*options, *(["--", *words] if words else [])])
        except UsageError as error:
            raise self.misuse(str(error)) from None

    def misuse(self, message: str) -> UsageError:
        """Make the error for a wrong use."""
        end = "" if message.endswith(("?", ".")) else "."
        return UsageError(f"{message}{end}\nUse: {self._form}")

    def _read(self, line: str, at: int, limit: int | None) -> tuple[list[str], list[str], str]:
        """Take options and words off the front; what is left is code."""
        options: list[str] = []
        words: list[str] = []
        while line[at:].strip():
            raw = line[at:].split(maxsplit=1)[0]
            action = self._option(raw)
            if action is not None:
                option, at = self._with_value(action, line, at)
                options.append(option)
            elif raw == "--":
                return options, words, line[at:].strip().removeprefix("--").strip()
            elif _is_long_option(raw) or (len(words) != limit and _is_short_option(raw)):
                raise UsageError(f"unknown option {raw}")
            elif len(words) == limit:
                # Not read as a word: an apostrophe in code is no open quote.
                return options, words, line[at:].strip()
            elif (word := read_word(line, at)) is not None:
                words.append(word.text)
                at = word.end
        return options, words, ""

    def _after_literal(self, raw: str, code: str, rest: str) -> tuple[str, list[str]]:
        """Take options after a quoted code; with anything else there it was not quoted."""
        if not rest.strip():
            return code, []
        try:
            options, words, remainder = self._read(rest, 0, 0)
        except UsageError:
            return raw, []
        return (raw, []) if words or remainder else (code, options)

    def _option(self, text: str) -> argparse.Action | None:
        name = text.partition("=")[0] if text.startswith("--") else text
        return _options(self._parser).get(name)

    def _with_value(self, action: argparse.Action, line: str, at: int) -> tuple[str, int]:
        """Read an option with its value, if it takes one."""
        name = max(action.option_strings, key=len)
        word = read_word(line, at)
        if word is None or action.nargs == 0:
            return name, at if word is None else word.end
        if word.text.startswith("--") and "=" in word.text:
            text, raw = word.text.partition("=")[2], word.raw.partition("=")[2]
            end = word.end
        else:
            value = read_word(line, word.end)
            if value is None:
                raise UsageError(f"{word.text} needs a value")
            text, raw, end = value.text, value.raw, value.end
        if action.type is code_text:
            text = raw
        elif action.type is csv_inputs and "=" in raw and raw[0] not in _QUOTES:
            # Quotes around all of it are no part of it, those in an expression are.
            text = raw
            while is_open(text) and (more := read_word(line, end)):
                text, end = text + line[end : more.end], more.end
        # ``-i a, b`` means what ``-i a,b`` means.
        while action.type in _COMMA_TYPES and text.endswith(",") and (more := read_word(line, end)):
            text, end = text + more.text, more.end
        return f"{name}={text}", end


def _is_long_option(raw: str) -> bool:
    return raw.startswith("--") and raw[2:3].isalpha()


def _is_short_option(raw: str) -> bool:
    return len(raw) > 1 and raw[0] == "-" and raw[1].isalpha()


def _leading_literal(text: str) -> tuple[str, str] | None:
    """Read the Python string literal that text begins with; gives its value and what follows."""
    try:
        token = next(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError, StopIteration):
        return None
    if token.type != tokenize.STRING or token.start != (1, 0):
        return None
    try:
        with warnings.catch_warnings():
            # A pattern such as "\d" is what its author meant.
            warnings.simplefilter("ignore")
            value = ast.literal_eval(token.string)
    except (SyntaxError, ValueError):
        return None
    return (value, text[len(token.string) :]) if isinstance(value, str) else None


def option_strings(parser: MagicArgumentParser) -> Sequence[str]:
    """Long options that a parser knows, for completion."""
    return sorted(name for name in _options(parser) if name.startswith("--"))


def _options(parser: MagicArgumentParser) -> dict[str, argparse.Action]:
    # argparse has no public way to ask whether an option takes a value.
    found: dict[str, argparse.Action] = parser._option_string_actions  # noqa: SLF001
    return found
