"""Who may do what, row by row."""

from __future__ import annotations

import pytest

from jupyter_mlsvc_server.auth.policy import POLICY, Action, may, require, require_reach
from jupyter_mlsvc_server.auth.principal import Owner, Principal, Role
from jupyter_mlsvc_server.errors import Forbidden

# For each role: may do it to anybody's, to their own, to somebody else's.
YES, OWN, NO = (True, True, True), (False, True, False), (False, False, False)

EXPECTED = {
    (action, role): answers
    for action, row in {
        #                      owner, contributor, reader, caller
        Action.READ_SERVICE: (YES, YES, YES, YES),
        Action.CONSUME: (YES, YES, YES, YES),
        Action.OBSERVE: (YES, YES, YES, NO),
        Action.PUBLISH: (YES, YES, NO, NO),
        Action.CHANGE_SERVICE: (YES, OWN, NO, NO),
        Action.SEE_CODE: (YES, OWN, OWN, NO),
        Action.USE_SESSIONS: (OWN, OWN, NO, NO),
        Action.USE_SNAPSHOTS: (OWN, OWN, OWN, NO),
        Action.USE_BATCHES: (OWN, OWN, OWN, OWN),
        Action.USE_KEYS: (YES, OWN, NO, NO),
        Action.ADMINISTER: (YES, NO, NO, NO),
    }.items()
    for role, answers in zip(Role, row, strict=True)
}


BOB = Owner("bob", "bob")
BOBS_OF_GROUP = Owner("bob", "bob", "churn")


@pytest.mark.parametrize(
    ("action", "role"), EXPECTED, ids=lambda part: str(part.value).replace(" ", "-")
)
def test_the_policy_decides(action: Action, role: Role) -> None:
    ann = Principal("ann", "ann", role)
    answers = tuple(may(ann, action, owner) for owner in (None, ann.owner, BOB))
    assert answers == EXPECTED[action, role]
    # What belongs to a group is its members' own, and nobody else's.
    member = Principal("ann", "ann", role, groups=frozenset({"churn", "other"}))
    of_group = tuple(may(each, action, BOBS_OF_GROUP) for each in (member, ann))
    assert of_group == answers[1:]
    assert may(member, action, BOB) is answers[2]


def test_every_row_of_the_policy_is_tested() -> None:
    assert {(action, role) for action in POLICY for role in POLICY[action]} == set(EXPECTED)
    assert set(POLICY) == set(Action)


def test_a_refusal_says_what_and_why() -> None:
    contributor = Principal("ann", "ann", Role.CONTRIBUTOR)
    with pytest.raises(Forbidden) as refusal:
        require(contributor, Action.CHANGE_SERVICE, BOB, "delete service 'Iris'")
    assert refusal.value.message == (
        "You may not delete service 'Iris': your role is contributor and it belongs to 'bob', "
        "who can do that, as owners of the server can."
    )
    with pytest.raises(Forbidden, match="can do that, as members of group 'churn' and owners"):
        require(contributor, Action.CHANGE_SERVICE, BOBS_OF_GROUP, "delete it")
    reader = Principal("eve", "eve", Role.READER)
    with pytest.raises(Forbidden, match=r"your role is reader\. Whoever runs the server can"):
        require(reader, Action.PUBLISH, None, "publish services")
    with pytest.raises(Forbidden, match=r"run no code.*AccountManager\.readers_use_sessions"):
        require_reach(reader, Action.USE_SESSIONS)


def test_sessions_are_for_readers_where_the_server_says_so() -> None:
    reader = Principal("eve", "eve", Role.READER, readers_use_sessions=True)
    assert may(reader, Action.USE_SESSIONS, reader.owner)
    caller = Principal("app", "app", Role.CALLER, readers_use_sessions=True)
    assert not may(caller, Action.USE_SESSIONS, caller.owner)


def test_what_is_allowed_passes() -> None:
    ann = Principal("ann", "ann", Role.CONTRIBUTOR)
    require(ann, Action.CHANGE_SERVICE, ann.owner, "delete it")


def test_the_id_decides_and_not_the_name() -> None:
    ann = Principal("1", "ann", Role.CONTRIBUTOR)
    assert not may(ann, Action.CHANGE_SERVICE, Owner("2", "ann"))
    assert may(ann, Action.CHANGE_SERVICE, Owner("1", "ann of before"))
