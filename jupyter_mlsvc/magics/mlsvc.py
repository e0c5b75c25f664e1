"""``%mlsvc``: everything that is no code: login, sessions, snapshots and services."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from IPython.core.error import StdinNotImplementedError, UsageError
from IPython.core.magic import line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, kwds, magic_arguments

from jupyter_mlsvc.errors import Gone, InsecureLogin, MlsvcError, NotFound
from jupyter_mlsvc.magics.attach import ATTACH_COMMAND
from jupyter_mlsvc.magics.base import MlsvcMagics
from jupyter_mlsvc.magics.command import (
    MAYBE_NAME,
    MAYBE_VERSION,
    NAME,
    SESSION,
    VERSION,
    Command,
)
from jupyter_mlsvc.magics.connection import MlsvcConnection
from jupyter_mlsvc.magics.keys import KEY_COMMAND
from jupyter_mlsvc.magics.options import (
    RUNTIMES,
    LineParser,
    code_text,
    csv_files,
    csv_inputs,
    csv_parameters,
    name_and_text,
    read_word,
)
from jupyter_mlsvc.magics.workspace import WORKSPACE_COMMANDS
from jupyter_mlsvc.wire.models import Isolation, ParameterDefinition, Period

if TYPE_CHECKING:
    from jupyter_mlsvc.client.batches import Batch
    from jupyter_mlsvc.client.client import Client
    from jupyter_mlsvc.client.comparison import Comparison
    from jupyter_mlsvc.client.formatting import Document, Listing
    from jupyter_mlsvc.client.recent_calls import RecentCall, RecentCalls
    from jupyter_mlsvc.client.service import Service
    from jupyter_mlsvc.client.service_log import ServiceLog
    from jupyter_mlsvc.client.session import Session
    from jupyter_mlsvc.client.snapshots import Snapshot
    from jupyter_mlsvc.client.statistics import ServiceStatistics
    from jupyter_mlsvc.client.status import Status
    from jupyter_mlsvc.client.user import User
    from jupyter_mlsvc.planning.request import Parameter


_FOLLOW_SECONDS: Final = 1.0


class Help:
    """The forms of all subcommands."""

    def __repr__(self) -> str:
        return "\n".join((*(command.help for command in COMMANDS), *_OTHERS))


# --- subcommands -----------------------------------------------------------------------------


def _login(connection: MlsvcConnection, arguments: argparse.Namespace) -> Client:
    from jupyter_mlsvc.client.plain_http import warn_of_plain_http

    if arguments.oidc:
        if arguments.user or arguments.password_file:
            raise UsageError("--oidc asks for no name and no password.")
        return connection.login_oidc(arguments.url)
    if not arguments.user:
        raise UsageError("Give your name with -u NAME, or --oidc for your company's login.")
    # Before anybody types it; who sees this may interrupt.
    warn_of_plain_http(connection.address(arguments.url))
    password = _password(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureLogin)
        return connection.login(arguments.url, arguments.user, password)


def _password(arguments: argparse.Namespace) -> str:
    if arguments.password_file:
        path = Path(arguments.password_file).expanduser()
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise UsageError(f"The password file can't be read: {error.strerror}: {path}") from None
        if not lines:
            raise UsageError(f"The password file is empty: {path}")
        return lines[0]
    try:
        return getpass(f"Password of {arguments.user}: ")
    except (StdinNotImplementedError, EOFError):
        raise UsageError(
            "Nobody can be asked for the password here; use --password-file FILE."
        ) from None


def _logout(connection: MlsvcConnection, _: argparse.Namespace) -> None:
    try:
        connection.client.logout()
    finally:
        connection.disconnect()


def _whoami(connection: MlsvcConnection, _: argparse.Namespace) -> User:
    from jupyter_mlsvc.client.user import User

    return User(connection.client.whoami(), connection.client.url)


def _status(connection: MlsvcConnection, _: argparse.Namespace) -> Status:
    return connection.client.status()


def _sessions(connection: MlsvcConnection, _: argparse.Namespace) -> Listing[Session]:
    return connection.client.sessions.list()


def _session(connection: MlsvcConnection, arguments: argparse.Namespace) -> Session | None:
    _require_new(arguments)
    match arguments.words:
        case []:
            current = connection.current
            if current is None:
                raise MlsvcError(
                    "No session is in use yet; %%remote_exec or %mlsvc session new starts one."
                )
            return current
        case ["new"]:
            return connection.new(snapshot=arguments.snapshot, runtime=arguments.runtime)
        case ["new", name]:
            return connection.new(name, snapshot=arguments.snapshot, runtime=arguments.runtime)
        case ["close"] if arguments.all:
            _close_all(connection)
            return None
        case ["close"]:
            if connection.current is None:
                raise MlsvcError("No session is in use.")
            _close(connection, connection.current)
            return None
        case ["close", name]:
            _close(connection, connection.client.sessions.get(name))
            return None
        case [name] | ["switch", name]:
            return connection.switch(name)
        case _:
            raise UsageError("Too many words.\nUse: %mlsvc " + COMMANDS_BY_NAME["session"].form)


def _require_new(arguments: argparse.Namespace) -> None:
    for option in ("snapshot", "runtime"):
        if getattr(arguments, option) is not None and arguments.words[:1] != ["new"]:
            raise UsageError(f"--{option} goes with %mlsvc session new [NAME].")
    if arguments.all and arguments.words != ["close"]:
        raise UsageError("--all goes with %mlsvc session close, without a name.")


def _close(connection: MlsvcConnection, session: Session) -> None:
    session.close()
    connection.forget(session)
    print(f"Closed session {session.name!r}.")


def _close_all(connection: MlsvcConnection) -> None:
    closed = list[str]()
    for session in connection.client.sessions.list():
        try:
            session.close()
        except (NotFound, Gone):
            connection.forget(session)
        except MlsvcError as error:
            print(f"Session {session.name!r} was not closed: {error}", file=sys.stderr)
        else:
            connection.forget(session)
            closed.append(repr(session.name))
    match closed:
        case []:
            print("No session was there to close.")
        case [name]:
            print(f"Closed session {name}.")
        case [*names, last]:
            print(f"Closed {len(closed)} sessions: {', '.join(names)} and {last}.")


def _snapshots(connection: MlsvcConnection, _: argparse.Namespace) -> Listing[Snapshot]:
    return connection.client.snapshots.list()


def _services(connection: MlsvcConnection, arguments: argparse.Namespace) -> Listing[Service]:
    services = connection.client.services
    return services.list() if arguments.name is None else services.versions(arguments.name)


def _service(connection: MlsvcConnection, arguments: argparse.Namespace) -> Service:
    return connection.client.service(arguments.name, arguments.version)


def _statistics(
    connection: MlsvcConnection, arguments: argparse.Namespace
) -> ServiceStatistics | Listing[ServiceStatistics]:
    services = connection.client.services
    if arguments.name is None:
        if arguments.period is not None:
            raise UsageError("--period is for one service: name it.")
        return services.statistics()
    version = arguments.version or services.get(arguments.name).version
    return services.statistics_of(arguments.name, version, arguments.period)


def _version_of(connection: MlsvcConnection, arguments: argparse.Namespace) -> tuple[str, str]:
    """Return name and version, which may be written NAME/VERSION, as logs of the server do."""
    # A slash is in no name.
    name, _, behind = arguments.name.partition("/")
    return name, arguments.version or behind or connection.client.services.get(name).version


def _calls(connection: MlsvcConnection, arguments: argparse.Namespace) -> RecentCalls | RecentCall:
    services = connection.client.services
    name, version = _version_of(connection, arguments)
    if arguments.id is not None:
        return services.call_details(name, version, arguments.id)
    return services.calls(name, version, limit=arguments.count, errors=arguments.errors)


def _batches(connection: MlsvcConnection, arguments: argparse.Namespace) -> Listing[Batch]:
    return connection.client.batches.list(*_version_of(connection, arguments))


def _compare(connection: MlsvcConnection, arguments: argparse.Namespace) -> Comparison:
    name, version, client = arguments.name, arguments.version, connection.client
    if arguments.other is not None:
        if arguments.session is not None:
            raise UsageError("Give another version or --session, not both.")
        return client.compare(name, version, arguments.other)
    session = connection.chosen(arguments.session)
    what = f"Comparing with session {session.name!r}"
    with connection.explaining_lost_session(session), connection.waiting(what):
        return client.compare(name, version, session)


def _logs(connection: MlsvcConnection, arguments: argparse.Namespace) -> ServiceLog | None:
    services = connection.client.services
    name, version = _version_of(connection, arguments)
    found = services.logs(name, version, limit=arguments.count)
    if not arguments.follow:
        return found
    last = 0
    with contextlib.suppress(KeyboardInterrupt):
        while arguments.follow:
            if found:
                last = found[-1].id
                print(found, flush=True)
            time.sleep(_FOLLOW_SECONDS)
            found = services.logs(name, version, after=last)
    return None


_RUNS: Final = frozenset(
    {"code", "init_code", "setup_code", "isolation", "network", "read_only", "snapshot_id"}
    | {"concurrency", "deadline_seconds"}
)
"""What of a service decides how a call ends."""


def _update(connection: MlsvcConnection, arguments: argparse.Namespace) -> Service:
    from jupyter_mlsvc.planning.descriptions import described
    from jupyter_mlsvc.planning.planner import Planner
    from jupyter_mlsvc.planning.request import Request

    given = vars(arguments)
    options = (
        *("code", "init_code", "setup_code", "isolation", "effects", "network", "read_only"),
        *("keep_bodies", "description", "alias", "output_files", "snapshot_id", "group", "tags"),
        *("concurrency", "deadline_seconds"),
    )
    changes: dict[str, Any] = {name: given[name] for name in options if given[name] is not None}
    declared = {name: given[name] for name in ("inputs", "outputs") if given[name] is not None}
    takes_objects = arguments.session is not None or arguments.objects
    texts = dict(arguments.describe)
    if not changes and not declared and not takes_objects and not texts:
        raise UsageError("Nothing to change.\nUse: %mlsvc " + COMMANDS_BY_NAME["update"].form)
    if arguments.snapshot_id is not None and takes_objects:
        raise UsageError("Give --snapshot or one of --session and --objects, not both.")
    services = connection.client.services
    if arguments.snapshot_id is not None:
        changes["snapshot_id"] = connection.snapshot_id(arguments.snapshot_id)
    before = services.get(arguments.name, arguments.version)
    if texts and not declared:
        # What was declared stays; only what is said of it changes.
        changes["inputs"], changes["outputs"] = described(before.inputs, before.outputs, texts)
        texts = {}
    runs_otherwise = before.runtime_type in RUNTIMES and not _RUNS.isdisjoint(changes)
    if not declared and not takes_objects and not runs_otherwise:
        with connection.waiting(f"Updating {arguments.name} {arguments.version}"):
            return services.update(arguments.name, arguments.version, **changes)
    request = Request(
        name=arguments.name,
        version=arguments.version,
        code=changes.get("code", before.code or ""),
        init_code=changes.get("init_code", before.init_code or ""),
        setup_code=changes.get("setup_code", before.setup_code or ""),
        inputs=declared.get("inputs", _parameters_of(before.inputs)),
        outputs=declared.get("outputs", _parameters_of(before.outputs)),
        runtime=before.runtime_type,
        # What is published stays what it is: the last line of its code may be a model's name.
        is_expanded=True,
        session=arguments.session,
        snapshot=changes.get("snapshot_id"),
        as_in_session=arguments.as_in_session,
        descriptions=texts,
        example=arguments.example,
        ranges=arguments.ranges,
        check=not arguments.no_check,
        force=arguments.force,
    )
    return Planner(connection, print).update(
        request, changes, list(declared), takes_objects=takes_objects
    )


def _parameters_of(definitions: Sequence[ParameterDefinition]) -> list[Parameter]:
    from jupyter_mlsvc.planning.request import Parameter

    return [Parameter(each.name, each.type or "json", default=each.default) for each in definitions]


def _delete(connection: MlsvcConnection, arguments: argparse.Namespace) -> None:
    connection.client.services.delete(arguments.name, arguments.version)
    print(f"Deleted service {arguments.name} {arguments.version}.")


def _swagger(connection: MlsvcConnection, arguments: argparse.Namespace) -> Document:
    services = connection.client.services
    if arguments.name is None:
        return services.core_swagger()
    version = arguments.version or services.get(arguments.name).version
    return services.swagger(arguments.name, version)


def _help(_: MlsvcConnection, __: argparse.Namespace) -> Help:
    return Help()


# --- the table -------------------------------------------------------------------------------


COMMANDS: Final[tuple[Command, ...]] = (
    Command(
        "login [URL] (-u NAME [--password-file FILE] | --oidc)",
        "log in; asks for the password, or shows a code for your company's login",
        _login,
        (
            (("url",), {"nargs": "?"}),
            (("-u", "--user"), {}),
            (("--password-file",), {}),
            (("--oidc",), {"action": "store_true"}),
        ),
    ),
    Command("logout", "make the login's tokens useless", _logout),
    Command("whoami", "who you are to the server, and what you may do", _whoami),
    Command("status", "state of the server", _status),
    Command("sessions", "your sessions", _sessions),
    Command(
        "session [NAME | new [NAME] [--snapshot NAME] [--runtime R] | close [NAME | --all]]",
        "the current session; switch, start or close one, or close all of yours",
        _session,
        (
            (("words",), {"nargs": "*", "default": []}),
            (("--snapshot",), {}),
            (("--runtime",), {"choices": RUNTIMES}),
            (("--all",), {"action": "store_true"}),
        ),
    ),
    ATTACH_COMMAND,
    *WORKSPACE_COMMANDS,
    Command("snapshots", "your snapshots", _snapshots),
    Command("services [NAME]", "all services, or the versions of one", _services, (MAYBE_NAME,)),
    Command(
        "service NAME [VERSION]",
        "a service as an object that you can call",
        _service,
        (NAME, MAYBE_VERSION),
    ),
    Command(
        "update NAME VERSION [--description TEXT] [--code CODE] [--init-code CODE] "
        '[-i NAME[:TYPE][=VALUE],…] [-o NAME[:TYPE],…] [--describe NAME="TEXT"] '
        "[--tag WORD,…] [--example data|synthetic] [--ranges] [--alias NAME] [--files NAME,…] "
        "[--setup CODE] [--isolation call|worker|none] [--effects | --no-effects] "
        "[--concurrency N] [--deadline SECONDS] "
        "[--network | --no-network] [--read-only | --no-read-only] "
        "[--keep-bodies | --no-keep-bodies] [--group GROUP] [--objects] "
        "[--snapshot NAME | --session NAME [--as-in-session]] [--no-check] [--force]",
        "change a service in place",
        _update,
        (
            NAME,
            VERSION,
            (("-d", "--description"), {}),
            (("--code",), {"type": code_text}),
            (("--init-code",), {"type": code_text}),
            (("--setup",), {"type": code_text, "dest": "setup_code"}),
            (("--isolation",), {"choices": get_args(Isolation)}),
            (("--effects",), {"action": argparse.BooleanOptionalAction}),
            (("--concurrency",), {"type": int}),
            (("--deadline",), {"type": float, "dest": "deadline_seconds"}),
            (("--network",), {"action": argparse.BooleanOptionalAction}),
            (("--read-only",), {"action": argparse.BooleanOptionalAction}),
            (("--keep-bodies",), {"action": argparse.BooleanOptionalAction}),
            (("--group",), {}),
            (("-i", "--inputs"), {"type": csv_inputs, "action": "extend"}),
            (("-o", "--outputs"), {"type": csv_parameters, "action": "extend"}),
            (("--describe",), {"type": name_and_text, "action": "append", "default": []}),
            (("--tag",), {"type": csv_files, "action": "extend", "dest": "tags"}),
            (("--example",), {"choices": ("data", "synthetic")}),
            (("--ranges",), {"action": "store_true"}),
            (("--alias",), {}),
            (("--files",), {"type": csv_files, "dest": "output_files"}),
            (("--snapshot",), {"dest": "snapshot_id"}),
            (("--objects",), {"action": "store_true"}),
            (("--as-in-session",), {"action": "store_true"}),
            (("--no-check",), {"action": "store_true"}),
            (("--force",), {"action": "store_true"}),
            SESSION,
        ),
    ),
    Command(
        "statistics [NAME [VERSION] [--period hour|day|week]]",
        "calls, failures and times of all services, or of one",
        _statistics,
        (MAYBE_NAME, MAYBE_VERSION, (("--period",), {"choices": get_args(Period)})),
    ),
    Command(
        "logs NAME [VERSION] [-n COUNT] [--follow]",
        "what the calls of your service have printed, and their tracebacks",
        _logs,
        (
            NAME,
            MAYBE_VERSION,
            (("-n", "--count"), {"type": int, "default": 20}),
            (("-f", "--follow"), {"action": "store_true"}),
        ),
    ),
    Command(
        "calls NAME [VERSION] [-n COUNT] [--errors] [--id ID]",
        "the newest calls of your service, or one of them with its traceback",
        _calls,
        (
            NAME,
            MAYBE_VERSION,
            (("-n", "--count"), {"type": int, "default": 20}),
            (("--errors",), {"action": "store_true"}),
            (("--id",), {"type": int}),
        ),
    ),
    Command(
        "batches NAME [VERSION]",
        "your batches of a service, with how far they are",
        _batches,
        (NAME, MAYBE_VERSION),
    ),
    Command(
        "compare NAME VERSION [OTHER | --session NAME]",
        "what differs in another version, or in the session",
        _compare,
        (NAME, VERSION, (("other",), {"nargs": "?", "metavar": "OTHER"}), SESSION),
    ),
    KEY_COMMAND,
    Command("delete NAME VERSION", "delete a version of a service", _delete, (NAME, VERSION)),
    Command(
        "swagger [NAME [VERSION]]",
        "Swagger document of a service, or of the server",
        _swagger,
        (MAYBE_NAME, MAYBE_VERSION),
    ),
    Command("help", "this list", _help),
)
COMMANDS_BY_NAME: Final[Mapping[str, Command]] = {command.name: command for command in COMMANDS}
_OTHERS: Final = (
    "",
    "%%remote_exec runs code in a session, %publish makes a service of it, %consume calls one,",
    "%batch calls it for each row; %%remote_exec?, %publish?, %consume? and %batch? show options.",
)


@magics_class
class MlsvcCommandMagics(MlsvcMagics):
    """Working with the server."""

    @no_var_expand
    @magic_arguments()
    @kwds(epilog="\n".join(command.help for command in COMMANDS))
    @argument("command", nargs="?", default="help", help="one of the commands below")
    @argument("words", nargs="*", default=[], metavar="…", help="what belongs to the command")
    @line_magic
    def mlsvc(self, line: str) -> object:
        """Log in, and work with sessions, snapshots and services.

        Examples::

            %mlsvc login http://localhost:12800 -u maria
            svc = %mlsvc service Iris V1.0
            svc(flower_data=[7, 3.2, 4.7, 1.4])
        """
        first = read_word(line, 0)
        name = "help" if first is None else first.text
        command = COMMANDS_BY_NAME.get(name)
        if command is None:
            known = ", ".join(COMMANDS_BY_NAME)
            raise UsageError(f"There is no %mlsvc {name}.\nUse one of: {known}")
        parser = LineParser(command.parser(), f"%mlsvc {command.form}")
        rest = "" if first is None else line[first.end :]
        return command.run(self.connection, parser.parse(rest))
