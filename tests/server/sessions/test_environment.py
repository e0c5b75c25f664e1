from __future__ import annotations

import pytest

from jupyter_mlsvc_server.sessions.environment import scrubbed


@pytest.mark.parametrize(
    "name",
    [
        "MLSVC_ADMIN_PASSWORD",
        "MLSVC_TOKEN",
        "JUPYTER_TOKEN",
        "JUPYTERHUB_API_TOKEN",
        "JPY_API_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AZURE_CLIENT_SECRET",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "DATABASE_URL",
        "HTTPS_PROXY",
        "PYTHONSTARTUP",
        "IPYTHONDIR",
    ],
)
def test_what_may_be_secret_or_run_code_stays_with_the_server(name: str) -> None:
    assert scrubbed({name: "value"}) == {}


def test_what_programs_need_goes_through() -> None:
    needed = {"PATH": "/bin", "HOME": "/home/x", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "2"}
    assert scrubbed(needed | {"SECRET": "x"}) == needed


def test_the_operator_can_let_more_through_and_set_variables() -> None:
    environment = {"PROJ_DIR": "/p", "PROJ_X": "1", "OTHER": "2", "PATH": "/bin"}
    assert scrubbed(environment, ["PROJ_*"], {"PATH": "/opt", "NEW": "n"}) == {
        "PROJ_DIR": "/p",
        "PROJ_X": "1",
        "PATH": "/opt",
        "NEW": "n",
    }
