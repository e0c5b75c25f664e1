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


class UnknownMember(ValueError):
    """A request has a member that nobody understands; the message is a sentence about it."""


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
        A member is not known, or is there in two spellings.
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


@cache
def _described(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _folded(name: str) -> str:
    return name.replace("_", "").replace("-", "").casefold()


def _unknown(name: str, known: tuple[str, ...]) -> str:
    shown = name if len(name) <= 60 else f"{name[:60]}…"
    folded = {_folded(each): each for each in known}
    near = difflib.get_close_matches(_folded(name[:60]), folded, n=1)
    meant = f" Did you mean {folded[near[0]]!r}?" if near else ""
    return (
        f"There is no member {shown!r} here.{meant} The members are {', '.join(map(repr, known))}."
    )
