"""JSON as clients really send it: what is skipped, what is forgiven, and what is said of the rest.

Where a body is read for every call, the strict decoder reads it first, and only what it refuses
comes here. A lenient reading writes the text anew as strict JSON, for the same decoder: numbers and
strings stay what they were, and nothing reads values in a second way. It takes what Json.NET takes
by default, which people who write bodies by hand have come to rely on: strings in single quotes,
names without quotes, comments, a comma after the last item, and control characters in strings.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_OTHER_ENCODINGS: Final = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
"""How texts begin that have a byte order mark of another encoding."""

_SAMPLE_BYTES: Final = 64
_PIECE_BYTES: Final = 2**20
_AT: Final = re.compile(r"\(byte (\d+)\)")
_WORD: Final = re.compile(rb"(?<![\"'\w$])[-+]?[A-Za-z_$][\w$]*(?![\"'\w$])")
_WORD_BYTES: Final = 16
_NO_NUMBERS: Final = frozenset({b"nan", b"infinity", b"inf"})
_MAX_LENIENT_BYTES: Final = 2**16
"""A lenient reading takes a hundred times as long as a strict one, and people write short texts."""

_TOKEN: Final = re.compile(
    r"""
    (?P<blank>  \s++ | //[^\n]*+ | /\*.*?\*/ )
    | (?P<double>  "[^"\\]*+(?:\\.[^"\\]*+)*+" )
    | (?P<single>  '[^'\\]*+(?:\\.[^'\\]*+)*+' )
    | (?P<open>  ["'] | /\* )
    | (?P<mark>  [{}\[\],:] )
    | (?P<word>  [^\s{}\[\],:"'/]++ | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_NAME: Final = re.compile(r"(?!\d)[\w$]+")
_TO_ESCAPE: Final = re.compile(r"""\\.|"|[\x00-\x1f]""", re.DOTALL)
_OTHER_LANGUAGES: Final = {b"True": "true", b"False": "false", b"None": "null"}


class UnreadableJson(ValueError):
    """A text is not JSON; the message is a clause that says why."""


def decode_json(
    text: bytes | memoryview, decode: Callable[[Any], T], *, is_lenient: bool = False
) -> T:
    """Return what a decoder makes of a text, after a byte order mark if there is one.

    Parameters
    ----------
    text
        JSON in UTF-8.
    decode
        A decoder of msgspec.
    is_lenient
        Whether a text that is not strict JSON is read leniently, up to 64 KiB.

    Raises
    ------
    UnreadableJson
        It is not JSON; the message says why, and names what clients often send instead.
    msgspec.ValidationError
        It is JSON, but not what the decoder is to read.
    """
    if bytes(text[: len(BYTE_ORDER_MARK)]) == BYTE_ORDER_MARK:
        text = text[len(BYTE_ORDER_MARK) :]
    try:
        return decode(text)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        require_utf_8(text)
        problem = error
    if is_lenient and len(text) <= _MAX_LENIENT_BYTES:
        strict = strict_json(str(text, "utf-8"))
        try:
            return decode(strict)
        except msgspec.ValidationError:
            raise
        except (msgspec.DecodeError, RecursionError) as error:
            if (word := _word_reason(strict, error)) is not None:
                raise UnreadableJson(word) from error
    raise UnreadableJson(_reason(text, problem)) from problem


def encode_json(value: Any) -> bytes:
    """Encode as JSON; integers may be larger than 64 bits, which the fast encoder refuses."""
    try:
        return msgspec.json.encode(value)
    except (OverflowError, TypeError, ValueError):
        return json.dumps(
            msgspec.to_builtins(value), allow_nan=False, separators=(",", ":")
        ).encode()


def strict_json(text: str) -> bytes:
    """Write a text as strict JSON, where no more is wrong with it than what is forgiven."""
    tokens: list[str] = []
    for token in _TOKEN.finditer(text):
        kind, written = token.lastgroup, token[0]
        if kind == "blank":
            continue
        if kind == "open":
            # Nothing after it can be told apart, and each look for its end costs the whole text.
            return text.encode()
        if kind in {"double", "single"}:
            written = f'"{_TO_ESCAPE.sub(_escaped, written[1:-1])}"'
        elif written == ":" and tokens and _NAME.fullmatch(tokens[-1]):
            tokens[-1] = f'"{tokens[-1]}"'
        elif written in "}]" and len(tokens) > 1 and tokens[-1] == "," and tokens[-2] not in "{[,:":
            tokens.pop()
        tokens.append(written)
    return " ".join(tokens).encode()


def is_blank(text: bytes) -> bool:
    """Whether a text has nothing in it but white space, after a byte order mark or without one."""
    return not text or not text.removeprefix(BYTE_ORDER_MARK).strip()


def require_utf_8(text: bytes | memoryview) -> None:
    """Check the encoding of a text, which a decoder does not where it only skips.

    Raises
    ------
    UnreadableJson
        It is in another one; the message names it as far as that can be told.
    """
    if (encoding := _other_encoding(bytes(text[:_SAMPLE_BYTES]))) is not None:
        raise UnreadableJson(f"it is in {encoding}; send UTF-8")
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for at in range(0, len(text), _PIECE_BYTES):
            pending = len(decoder.getstate()[0])
            end = at + _PIECE_BYTES
            decoder.decode(text[at:end], final=end >= len(text))
    except UnicodeDecodeError as wrong:
        place = at - pending + wrong.start
        raise UnreadableJson(
            f"it is not in UTF-8 (byte {place} is 0x{text[place]:02X}), perhaps in Latin-1 or "
            "Windows-1252; send UTF-8"
        ) from None


def _escaped(found: re.Match[str]) -> str:
    """Write a character or an escape of a string in single quotes as in double quotes."""
    written = found[0]
    if written == "\\'":
        return "'"
    if written == '"':
        return '\\"'
    return written if written.startswith("\\") else f"\\u{ord(written):04x}"


def _reason(text: bytes | memoryview, error: Exception) -> str:
    """Say why a text in UTF-8 could not be decoded."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return _word_reason(text, error) or str(error)


def _other_encoding(beginning: bytes) -> str | None:
    """Name the encoding of a text that is not in UTF-8; None where nothing tells."""
    for mark, encoding in _OTHER_ENCODINGS:
        if beginning.startswith(mark):
            return encoding
    # JSON begins with a character of ASCII, which has zeros beside it in wider encodings.
    zeros = [number == 0 for number in beginning[:4]]
    if len(zeros) == 4 and zeros.count(True) == 3:
        return "UTF-32"
    if zeros[:2] in ([True, False], [False, True]):
        return "UTF-16"
    return None


def _word_reason(text: bytes | memoryview, error: Exception) -> str | None:
    """Name the word at the place where the decoder stopped, if it is one of other notations.

    The decoder reads on as long as "null", "true" or "false" would be, and stops after that.
    """
    found = _AT.search(str(error))
    if found is None:
        return None
    at = int(found[1])
    first = max(at - _WORD_BYTES, 0)
    near = bytes(text[first : at + _WORD_BYTES])
    words = [word for word in _WORD.finditer(near) if first + word.start() <= at]
    if not words or first + words[-1].start() < at - len("false"):
        return None
    word = words[-1][0]
    if word.lstrip(b"+-").lower() in _NO_NUMBERS:
        return f"{word.decode()} is no number of JSON; send null for a value that is missing"
    if (right := _OTHER_LANGUAGES.get(word)) is not None:
        return f"{word.decode()} is no word of JSON; write {right}"
    return None
