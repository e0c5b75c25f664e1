"""``python -m jupyter_mlsvc_server`` and ``jupyter mlsvc`` run the server and its commands."""

from __future__ import annotations

import sys

from jupyter_mlsvc_server.not_installed import MESSAGE, is_requirement


def main() -> None:
    """Run the program, or say what to install where the server half is not there."""
    try:
        from jupyter_mlsvc_server.app import main as run
    except ModuleNotFoundError as error:
        if not is_requirement(error):
            raise
        sys.exit(MESSAGE)
    run()


if __name__ == "__main__":
    main()
