"""A program on Microsoft's SDK, run by a Python that has the SDK and nothing of ours.

Its arguments are the address and a file with a serialised model. It signs in and does the jobs
whose names come on standard input, one a line; each is answered by a line of JSON: null, or the
traceback of what went wrong.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from tests.foreign.sdk import batch, deploy, manage, old_python, realtime, values
from tests.foreign.sdk.work import Work


def main() -> None:
    """Sign in and do jobs until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stdout = sys.stderr
    modules = (batch, deploy, manage, realtime, values)
    jobs = {name: job for module in modules for name, job in vars(module).items()}
    model = Path(sys.argv[2]).read_bytes()
    work: Work | None = None
    for line in sys.stdin:
        problem = None
        try:
            work = work or Work(
                sign_in(sys.argv[1], json.loads(os.environ["SDK_TEST_AUTH"])), model
            )
            jobs[line.strip()](work)
        except Exception:  # noqa: BLE001 - whoever asked decides what it means
            problem = traceback.format_exc()
        print(json.dumps(problem), file=answers)


def sign_in(url: str, auth: str | list[str]) -> Any:
    """Make a client with a user name and password, or with a token."""
    old_python.stand_in()
    import azureml
    from azureml.deploy import DeployClient
    from azureml.deploy.server import MLServer

    credentials = auth if isinstance(auth, str) else tuple(auth)
    if sys.version_info >= (3, 12):
        return DeployClient(url, use=MLServer, auth=credentials)
    # By its name, as the manual has it, the SDK finds the class in the folder it is installed in.
    os.chdir(Path(azureml.__file__).parents[1])
    return DeployClient(url, use="MLServer", auth=credentials)


main()
