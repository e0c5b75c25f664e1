"""Who may do what: one table, which decides from action, role and owner alone."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final

from jupyter_mlsvc_server.auth.principal import Owner, Principal, Role
from jupyter_mlsvc_server.errors import Forbidden


class Action(StrEnum):
    """What a principal may want to do."""

    READ_SERVICE = "read service"
    """See that a service exists, with its parameters and documents."""
    CONSUME = "consume"
    """Call a service."""
    PUBLISH = "publish"
    """Publish a service under a name that is free or their own."""
    CHANGE_SERVICE = "change service"
    """Update or delete a service, or publish a version under its name."""
    SEE_CODE = "see code"
    """Read the code of a service."""
    USE_SESSIONS = "use sessions"
    """Run code in a session, read it, and close it."""
    USE_SNAPSHOTS = "use snapshots"
    """Load, download, publish and delete a snapshot."""
    USE_BATCHES = "use batches"
    """Read, stop and delete a batch."""
    ADMINISTER = "administer"
    """Change how the server runs."""


class Reach(Enum):
    """Whose things an action may touch."""

    NOBODYS = "nobody's"
    OWN = "own"
    ANYBODYS = "anybody's"


_NOBODYS, _OWN, _ANYBODYS = Reach.NOBODYS, Reach.OWN, Reach.ANYBODYS

POLICY: Final[Mapping[Action, Mapping[Role, Reach]]] = MappingProxyType(
    {
        action: MappingProxyType(dict(zip(Role, reaches, strict=True)))
        for action, reaches in {
            #                      owner       contributor  reader
            Action.READ_SERVICE: (_ANYBODYS, _ANYBODYS, _ANYBODYS),
            Action.CONSUME: (_ANYBODYS, _ANYBODYS, _ANYBODYS),
            Action.PUBLISH: (_ANYBODYS, _ANYBODYS, _NOBODYS),
            Action.CHANGE_SERVICE: (_ANYBODYS, _OWN, _NOBODYS),
            Action.SEE_CODE: (_ANYBODYS, _OWN, _OWN),
            Action.USE_SESSIONS: (_OWN, _OWN, _OWN),
            Action.USE_SNAPSHOTS: (_OWN, _OWN, _OWN),
            Action.USE_BATCHES: (_OWN, _OWN, _OWN),
            Action.ADMINISTER: (_ANYBODYS, _NOBODYS, _NOBODYS),
        }.items()
    }
)
"""How far each role reaches with each action."""


def may(principal: Principal, action: Action, resource_owner: Owner | None) -> bool:
    """Decide.

    Parameters
    ----------
    principal
        Who is asking.
    action
        What they want to do.
    resource_owner
        Whose thing it is; ``None`` asks about anybody's.
    """
    reach = POLICY[action][principal.role]
    return reach is Reach.ANYBODYS or (reach is Reach.OWN and _is_own(principal, resource_owner))


def require(principal: Principal, action: Action, resource_owner: Owner | None, what: str) -> None:
    """Refuse what the policy does not allow.

    Parameters
    ----------
    principal, action, resource_owner
        As in :func:`may`.
    what
        Ends the sentence "You may not …", such as ``"delete service 'Iris'"``.

    Raises
    ------
    Forbidden
        The policy does not allow it.
    """
    if not may(principal, action, resource_owner):
        raise Forbidden(
            f"You may not {what}: your role is {principal.role}{_whose(principal, action)}."
        )


def _is_own(principal: Principal, owner: Owner | None) -> bool:
    return owner is not None and owner.id == principal.id


def _whose(principal: Principal, action: Action) -> str:
    own = POLICY[action][principal.role] is Reach.OWN
    return " and it belongs to somebody else" if own else ""
