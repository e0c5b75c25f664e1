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

    READ_SERVICE = "read services"
    """See that a service exists, with its parameters and documents."""
    CONSUME = "call services"
    """Call a service."""
    OBSERVE = "read how the server runs"
    """Read its state, its compute nodes, and the statistics and pools of services."""
    PUBLISH = "publish services"
    """Publish a service under a name that is free or their own."""
    CHANGE_SERVICE = "change services"
    """Update or delete a service, or publish a version under its name."""
    SEE_CODE = "see code"
    """Read the code of a service."""
    USE_SESSIONS = "use sessions"
    """Run code in a session, read it, and close it."""
    USE_SNAPSHOTS = "use snapshots"
    """Load, download, publish and delete a snapshot."""
    USE_BATCHES = "use batches"
    """Read, stop and delete a batch."""
    USE_KEYS = "use service keys"
    """Make a key for services that one may change, list and revoke it."""
    ADMINISTER = "change how the server runs"
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
            #                      owner       contributor  reader     caller
            Action.READ_SERVICE: (_ANYBODYS, _ANYBODYS, _ANYBODYS, _ANYBODYS),
            Action.CONSUME: (_ANYBODYS, _ANYBODYS, _ANYBODYS, _ANYBODYS),
            Action.OBSERVE: (_ANYBODYS, _ANYBODYS, _ANYBODYS, _NOBODYS),
            Action.PUBLISH: (_ANYBODYS, _ANYBODYS, _NOBODYS, _NOBODYS),
            Action.CHANGE_SERVICE: (_ANYBODYS, _OWN, _NOBODYS, _NOBODYS),
            Action.SEE_CODE: (_ANYBODYS, _OWN, _OWN, _NOBODYS),
            Action.USE_SESSIONS: (_OWN, _OWN, _OWN, _NOBODYS),
            Action.USE_SNAPSHOTS: (_OWN, _OWN, _OWN, _NOBODYS),
            Action.USE_BATCHES: (_OWN, _OWN, _OWN, _OWN),
            Action.USE_KEYS: (_ANYBODYS, _OWN, _NOBODYS, _NOBODYS),
            Action.ADMINISTER: (_ANYBODYS, _NOBODYS, _NOBODYS, _NOBODYS),
        }.items()
    }
)
"""How far each role reaches with each action."""


def reach(principal: Principal, action: Action) -> Reach:
    """Tell how far somebody reaches with an action.

    Sessions are for those who may run code, whatever their role's row says. A service key is for
    calls, and for reading what they need.
    """
    if action is Action.USE_SESSIONS and not principal.may_run_code:
        return Reach.NOBODYS
    if action is Action.USE_BATCHES and principal.key is not None:
        return Reach.NOBODYS
    return POLICY[action][principal.role]


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
    how_far = reach(principal, action)
    is_own = resource_owner is not None and principal.owns(resource_owner)
    return how_far is Reach.ANYBODYS or (how_far is Reach.OWN and is_own)


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
        raise Forbidden(f"You may not {what}: {_why_not(principal, action, resource_owner)}")


def require_reach(principal: Principal, action: Action) -> None:
    """Refuse an action that the role of somebody allows with nobody's things.

    Raises
    ------
    Forbidden
        It allows none.
    """
    if reach(principal, action) is Reach.NOBODYS:
        raise Forbidden(f"You may not {action}: {_why_not(principal, action, None)}")


def require_service(principal: Principal, name: str, version: str = "") -> None:
    """Refuse a service, or a version of it, that a service key is not for.

    Raises
    ------
    Forbidden
        It is for others.
    """
    if not principal.knows_of(name, version):
        which = f"version {version!r} of " if version and principal.knows_of(name) else ""
        raise Forbidden(
            f"The service key {principal.name!r} is not for {which}service {name!r}. Whoever may "
            "change the service can make one that is."
        )


def _why_not(principal: Principal, action: Action, owner: Owner | None) -> str:
    if principal.key is not None:
        return (
            f"{principal.name!r} is a service key, which is for calling services and reading their "
            "descriptions. Log in for all else."
        )
    role = f"your role is {principal.role}"
    if POLICY[action][principal.role] is Reach.NOBODYS:
        return (
            f"{role}. Whoever runs the server can give you another one (jupyter mlsvc user role)."
        )
    if reach(principal, action) is Reach.NOBODYS:
        return (
            f"{role}, and readers run no code on this server. Whoever runs it can make you a "
            "contributor (jupyter mlsvc user role), or let readers use sessions "
            "(AccountManager.readers_use_sessions)."
        )
    whose = "somebody else" if owner is None else repr(owner.name)
    members = f"members of group {owner.group!r} and " if owner is not None and owner.group else ""
    return (
        f"{role} and it belongs to {whose}, who can do that, as {members}owners of the server can."
    )
