"""Members of requests in other spellings, and those that nobody knows."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from jupyter_mlsvc.wire import models
from jupyter_mlsvc.wire.members import UnknownMember, known_members
from jupyter_mlsvc.wire.operations import OPERATIONS

KINDS = {
    operation.body.__name__: operation.body
    for operation in OPERATIONS
    if operation.body not in {None, bytes}
}
MEMBERS = [
    (kind, field.encode_name)
    for kind in KINDS.values()
    for field in msgspec.structs.fields(kind)
]  # fmt: skip
IDS = [f"{kind.__name__}.{name}" for kind, name in MEMBERS]


def snake(name: str) -> str:
    """Spell a name as in Python."""
    return re.sub("(?<!^)([A-Z])", r"_\1", name).lower()


@pytest.mark.parametrize(("kind", "name"), MEMBERS, ids=IDS)
def test_other_spellings_are_read(kind: Any, name: str) -> None:
    for spelling in (name, name.upper(), name.lower(), name[0].upper() + name[1:], snake(name)):
        data = {spelling: 1}
        assert known_members(kind, data, is_lenient=True) == {name: 1}


@pytest.mark.parametrize(("kind", "name"), MEMBERS, ids=IDS)
def test_other_spellings_are_refused_with_the_right_one_where_nothing_is_forgiven(
    kind: Any, name: str
) -> None:
    other = name[0].swapcase() + name[1:]
    with pytest.raises(UnknownMember, match=f"Did you mean '{name}'"):
        known_members(kind, {other: "x"}, is_lenient=False)


@pytest.mark.parametrize("is_lenient", [True, False])
@pytest.mark.parametrize(("kind", "name"), MEMBERS, ids=IDS)
def test_a_slip_is_refused_with_what_was_meant(kind: Any, name: str, is_lenient: bool) -> None:
    with pytest.raises(UnknownMember, match=f"'{name}x' here. Did you mean '{name}'"):
        known_members(kind, {f"{name}x": 1}, is_lenient=is_lenient)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_is_null_says_nothing(kind: Any) -> None:
    assert known_members(kind, {"whatever": None}, is_lenient=False) == {}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_member_in_two_spellings_is_refused(kind: Any) -> None:
    name = msgspec.structs.fields(kind)[0].encode_name
    with pytest.raises(UnknownMember, match="twice"):
        known_members(kind, {name: 1, name.upper(): 2}, is_lenient=True)


def test_members_of_members_are_read_as_well() -> None:
    data = {
        "inputParameterDefinitions": [{"Name": "x", "TYPE": "vector"}],
        "output_parameter_definitions": [{"name": "y"}],
    }
    assert known_members(models.PublishWebServiceRequest, data, is_lenient=True) == {
        "inputParameterDefinitions": [{"name": "x", "type": "vector"}],
        "outputParameterDefinitions": [{"name": "y"}],
    }
    with pytest.raises(UnknownMember, match="Did you mean 'type'"):
        known_members(
            models.PublishWebServiceRequest,
            {"inputParameterDefinitions": [{"name": "x", "typ": "vector"}]},
            is_lenient=True,
        )


@pytest.mark.parametrize("is_lenient", [True, False])
def test_a_word_that_is_none_of_several_is_refused_with_these(*, is_lenient: bool) -> None:
    with pytest.raises(UnknownMember) as refused:
        known_members(models.PublishWebServiceRequest, {"isolation": "Call"}, is_lenient=is_lenient)
    assert str(refused.value) == (
        "'Call' is not among the values of 'isolation'. Did you mean 'call'? "
        "They are 'call', 'none', 'worker'."
    )
    for right in ("call", None):
        data = {"isolation": right} if right else {}
        kind = models.PublishWebServiceRequest
        assert known_members(kind, data, is_lenient=is_lenient) == data


def test_values_are_left_alone() -> None:
    value = {"Name": [{"Value": 1, "value": 2}], "name": None}
    data = {"code": "1", "inputParameters": [{"name": "x", "value": value}]}
    assert known_members(models.ExecuteRequest, data, is_lenient=True) == data


@pytest.mark.parametrize("empty", [None, [], {}])
def test_what_microsofts_client_sends_beside_the_contract_is_ignored_where_it_is_empty(
    empty: object,
) -> None:
    data = {"code": "1", "input_parameters": empty, "output_parameters": empty}
    for is_lenient in (True, False):
        assert known_members(models.ExecuteRequest, data, is_lenient=is_lenient) == {"code": "1"}


@pytest.mark.parametrize("data", [[], 7, "text", None])
def test_what_is_no_object_is_left_to_the_decoder(data: object) -> None:
    assert known_members(models.LoginRequest, data, is_lenient=True) == data
