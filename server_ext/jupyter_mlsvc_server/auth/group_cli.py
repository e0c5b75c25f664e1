"""``jupyter mlsvc group``: who is in which group, also while the server runs."""

from __future__ import annotations

from typing import ClassVar

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.cli import KindCommand, UserCommand, table
from jupyter_mlsvc_server.storage.cli import CommandGroup


class MemberCommand(KindCommand):
    """A command about a member of a group."""

    command = "jupyter mlsvc group"
    words = ("group", "user name")
    is_member: ClassVar[bool]
    """Whether the user is a member afterwards."""

    async def work(self, accounts: AccountManager, *words: str) -> str:
        """Put the user in, or take them out."""
        group, name = words
        await accounts.set_member(self.kind, name, group, is_member=self.is_member)
        return f"{name} is {'' if self.is_member else 'not '}in group {group.lower()}."


class JoinGroup(MemberCommand):
    """Put a user into a group; its first member makes it.

    Members may change and delete the services that belong to the group.
    """

    name = "jupyter-mlsvc-group-add"
    description = __doc__
    usage = "jupyter mlsvc group add GROUP USER [--kind KIND]"
    examples = "jupyter mlsvc group add churn maria"
    is_member = True


class LeaveGroup(MemberCommand):
    """Take a user out of a group; services that belong to it stay where they are."""

    name = "jupyter-mlsvc-group-remove"
    description = __doc__
    usage = "jupyter mlsvc group remove GROUP USER [--kind KIND]"
    examples = "jupyter mlsvc group remove churn maria"
    is_member = False


class ListGroups(UserCommand):
    """List all groups with their members, those of providers of identities as well."""

    name = "jupyter-mlsvc-group-list"
    description = __doc__
    command = "jupyter mlsvc group"
    usage = "jupyter mlsvc group list"
    examples = usage
    words = ()
    is_change = False

    async def work(self, accounts: AccountManager, *_words: str) -> str:
        """Write a line a member."""
        rows = sorted(
            (group, user.name, user.kind) for user in await accounts.list() for group in user.groups
        )
        if not rows:
            return "No groups. Make one with: jupyter mlsvc group add GROUP USER"
        return table([("GROUP", "MEMBER", "KIND"), *rows])


class GroupApp(CommandGroup):
    """Add, list and remove members of groups, which services can belong to."""

    command = JoinGroup.command
    name = "jupyter-mlsvc-group"
    description = __doc__
    version = __version__
    subcommands = {  # noqa: RUF012
        "add": (JoinGroup, "Put a user into a group."),
        "list": (ListGroups, "List all groups."),
        "remove": (LeaveGroup, "Take a user out of a group."),
    }
    examples = "\n".join(command.usage for command, _ in subcommands.values())
