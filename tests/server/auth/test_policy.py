"""Who may do what, row by row."""

from __future__ import annotations

import pytest

from jupyter_mlsvc_server.auth.policy import POLICY, Action, may, require
from jupyter_mlsvc_server.auth.principal import Owner, Principal, Role
from jupyter_mlsvc_server.errors import Forbidden

# For each role: may do it to anybody's, to their own, to somebody else's.
YES, OWN, NO = (True, True, True), (False, True, False), (False, False, False)

EXPECTED = {
    (Action.READ_SERVICE, Role.OWNER): YES,
    (Action.READ_SERVICE, Role.CONTRIBUTOR): YES,
    (Action.READ_SERVICE, Role.READER): YES,
    (Action.CONSUME, Role.OWNER): YES,
    (Action.CONSUME, Role.CONTRIBUTOR): YES,
    (Action.CONSUME, Role.READER): YES,
    (Action.PUBLISH, Role.OWNER): YES,
    (Action.PUBLISH, Role.CONTRIBUTOR): YES,
    (Action.PUBLISH, Role.READER): NO,
    (Action.CHANGE_SERVICE, Role.OWNER): YES,
    (Action.CHANGE_SERVICE, Role.CONTRIBUTOR): OWN,
    (Action.CHANGE_SERVICE, Role.READER): NO,
    (Action.SEE_CODE, Role.OWNER): YES,
    (Action.SEE_CODE, Role.CONTRIBUTOR): OWN,
    (Action.SEE_CODE, Role.READER): OWN,
    (Action.USE_SESSIONS, Role.OWNER): OWN,
    (Action.USE_SESSIONS, Role.CONTRIBUTOR): OWN,
    (Action.USE_SESSIONS, Role.READER): OWN,
    (Action.USE_SNAPSHOTS, Role.OWNER): OWN,
    (Action.USE_SNAPSHOTS, Role.CONTRIBUTOR): OWN,
    (Action.USE_SNAPSHOTS, Role.READER): OWN,
    (Action.USE_BATCHES, Role.OWNER): OWN,
    (Action.USE_BATCHES, Role.CONTRIBUTOR): OWN,
    (Action.USE_BATCHES, Role.READER): OWN,
    (Action.ADMINISTER, Role.OWNER): YES,
    (Action.ADMINISTER, Role.CONTRIBUTOR): NO,
    (Action.ADMINISTER, Role.READER): NO,
}


BOB = Owner("bob", "bob")


@pytest.mark.parametrize(
    ("action", "role"), EXPECTED, ids=lambda part: str(part.value).replace(" ", "-")
)
def test_the_policy_decides(action: Action, role: Role) -> None:
    ann = Principal("ann", "ann", role)
    answers = tuple(may(ann, action, owner) for owner in (None, ann.owner, BOB))
    assert answers == EXPECTED[action, role]


def test_every_row_of_the_policy_is_tested() -> None:
    assert {(action, role) for action in POLICY for role in POLICY[action]} == set(EXPECTED)
    assert set(POLICY) == set(Action)


def test_a_refusal_says_what_and_why() -> None:
    contributor = Principal("ann", "ann", Role.CONTRIBUTOR)
    with pytest.raises(Forbidden) as refusal:
        require(contributor, Action.CHANGE_SERVICE, BOB, "delete service 'Iris'")
    assert refusal.value.message == (
        "You may not delete service 'Iris': your role is contributor "
        "and it belongs to somebody else."
    )
    with pytest.raises(Forbidden, match=r"your role is reader\.$"):
        require(Principal("eve", "eve", Role.READER), Action.PUBLISH, None, "publish services")


def test_what_is_allowed_passes() -> None:
    ann = Principal("ann", "ann", Role.CONTRIBUTOR)
    require(ann, Action.CHANGE_SERVICE, ann.owner, "delete it")


def test_the_id_decides_and_not_the_name() -> None:
    ann = Principal("1", "ann", Role.CONTRIBUTOR)
    assert not may(ann, Action.CHANGE_SERVICE, Owner("2", "ann"))
    assert may(ann, Action.CHANGE_SERVICE, Owner("1", "ann of before"))
