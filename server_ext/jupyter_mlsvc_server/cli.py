"""``jupyter mlsvc``: runs the server, or a command beside it.

Commands that need no server do not wait for the import of one.
"""

from __future__ import annotations

import json
import sys

from jupyter_mlsvc_server.formats.environment_block import (
    hide_from_others,
    hide_passwords_in_arguments,
)
from jupyter_mlsvc_server.formats.host import HOSTED_OPTION
from jupyter_mlsvc_server.not_installed import MESSAGE, is_requirement
from jupyter_mlsvc_server.sessions.environment import is_allowed


def main() -> None:
    """Run the command that the command line names; without one, the server.

    Where the server half is not there, it says what to install.
    """
    try:
        _run()
    except ModuleNotFoundError as error:
        if not is_requirement(error):
            raise
        if HOSTED_OPTION in sys.argv:
            # The Jupyter server that runs it reads this, and says it where it is asked.
            print(json.dumps({"message": MESSAGE}))  # noqa: T201
        sys.exit(MESSAGE)


def _hide_secrets() -> None:
    """Leave to others what sessions may see: before the long imports, and before their code."""
    hide_from_others(lambda name: not is_allowed(name))
    hide_passwords_in_arguments()


def _run() -> None:
    _hide_secrets()
    if sys.argv[1:2] == ["user"]:
        from jupyter_mlsvc_server.auth.cli import UserApp

        UserApp.launch_instance(sys.argv[2:])
    elif sys.argv[1:2] in (["adopt"], ["backup"], ["restore"]):
        from jupyter_mlsvc_server.storage.cli import COMMANDS

        COMMANDS[sys.argv[1]].launch_instance(sys.argv[2:])
    elif sys.argv[1:2] == ["audit"]:
        from jupyter_mlsvc_server.audit.cli import AuditCommand

        AuditCommand.launch_instance(sys.argv[2:])
    elif sys.argv[1:2] == ["doctor"]:
        from jupyter_mlsvc_server.doctor.app import DoctorApp

        DoctorApp.launch_instance(sys.argv[2:])
    else:
        from jupyter_mlsvc_server.server import main as serve

        serve()
