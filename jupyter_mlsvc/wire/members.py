"""Members of requests that are not spelled as the contract has them.

Nothing that a client asked for may be ignored and answered with a success. So a member is known,
or it is another spelling of one that is (``Username``, ``snapshot_id``), or it is null, or real
clients are known to send it without meaning anything by it. Whatever else there is, is refused
with what was probably meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from msgspec import inspect

STRAYS: Final[Mapping[str, frozenset[str]]] = {
    # Microsoft's SDK sends them empty beside those of the contract.
    "ExecuteRequest": frozenset({"input_parameters", "output_parameters"}),
    "StartExecutionRequest": frozenset({"input_parameters", "output_parameters"}),
}
"""Members that real clients send and that say nothing where they are empty."""


_SHOWN: Final = 60
"""Characters of a word that a message repeats."""


class UnknownMember(ValueError):
    """A request has a member or a word that nobody understands; the message is about it."""


def known_members(kind: Any, data: object, *, is_lenient: bool) -> object:
    """Return data of a request with its members as the contract spells them.

    Parameters
    ----------
    kind
        Type of the request.
    data
        What its JSON says.
    is_lenient
        Whether other spellings of known members are read. If not, they are refused.

    Raises
    ------
    UnknownMember
        A member is not known, or is there in two spellings, or is none of the words for it.
    """
    return _fit(_described(kind), data, is_lenient=is_lenient)


def spelled(
    given: Mapping[str, Any],
    known: Iterable[str],
    *,
    is_lenient: bool,
    strays: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return members or parts of a form by the names that are known; raises as above."""
    known = tuple(known)
    result: dict[str, Any] = {}
    folded: dict[str, str] | None = None
    for name, value in given.items():
        right = name
        if name not in known:
            if value is None or (name in strays and not value):
                continue
            folded = folded or {_folded(each): each for each in known}
            right = folded.get(_folded(name), "") if is_lenient else ""
        if not right:
            raise UnknownMember(_unknown(name, known))
        if right in result:
            raise UnknownMember(
                f"The member {right!r} is there twice, in two spellings: send it once."
            )
        result[right] = value
    return result


def _fit(described: inspect.Type, data: object, *, is_lenient: bool) -> object:
    match described, data:
        case inspect.StructType(cls=cls, fields=fields), dict():
            kinds = {field.encode_name: field.type for field in fields}
            strays = STRAYS.get(cls.__name__, frozenset())
            members = spelled(data, kinds, is_lenient=is_lenient, strays=strays)
            for name, value in members.items():
                _require_choice(name, kinds[name], value)
            return {
                name: _fit(kinds[name], value, is_lenient=is_lenient)
                for name, value in members.items()
            }
        case inspect.ListType(item_type=item), list():
            return [_fit(item, each, is_lenient=is_lenient) for each in data]
        case inspect.UnionType(types=types), _:
            for each in types:
                if isinstance(each, inspect.StructType | inspect.ListType):
                    return _fit(each, data, is_lenient=is_lenient)
    return data


def _require_choice(name: str, kind: inspect.Type, value: object) -> None:
    """Refuse a word for a member that takes one of several; the decoder would not list them."""
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    literals = [each for each in kinds if isinstance(each, inspect.LiteralType)]
    words = [word for each in literals for word in each.values]
    if words and isinstance(value, str) and value not in words:
        raise UnknownMember(
            f"{_cut(value)!r} is not among the values of {name!r}.{_near(value, map(str, words))} "
            f"They are {', '.join(map(repr, words))}."
        )


@cache
def _described(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _folded(name: str) -> str:
    return name.replace("_", "").replace("-", "").casefold()


def _cut(word: str) -> str:
    return word if len(word) <= _SHOWN else f"{word[:_SHOWN]}…"


def _near(word: str, known: Iterable[str]) -> str:
    folded = {_folded(each): each for each in known}
    near = difflib.get_close_matches(_folded(word[:_SHOWN]), folded, n=1)
    return f" Did you mean {folded[near[0]]!r}?" if near else ""


def _unknown(name: str, known: tuple[str, ...]) -> str:
    members = ", ".join(map(repr, known))
    return f"There is no member {_cut(name)!r} here.{_near(name, known)} The members are {members}."
