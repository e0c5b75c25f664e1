"""What code of sessions and services can't reach: a table of attacks, run by both on one server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from jupyter_mlsvc_server.confinement import why_no_sandbox
from jupyter_mlsvc_server.formats.confine import landlock_abi
from jupyter_mlsvc_server.launch import ServerProcess
from tests.server import attacks
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(landlock_abi() < 6, reason="needs Linux 6.12 or later, with Landlock"),
]

PASSWORD = "a long password of the owner"
CODE = Path(attacks.__file__).read_text("utf-8")
OPTIONS = (
    "--Confinement.max_processes=600",
    "--Confinement.max_file_bytes=67108864",
    "--Confinement.max_memory_bytes=4294967296",
    "--WarmKernels.warm_kernels=0",
    "--LocalEngine.deadline_seconds=300",
    "--LocalEngine.preload=[]",
)
ATTACKS = sorted(
    name
    for name, each in vars(attacks).items()
    if callable(each) and getattr(each, "__module__", "") == attacks.__name__
    and not name.startswith("_") and name != "run_all"
)  # fmt: skip

IN_A_SANDBOX = {
    "look_at_the_servers_files", "change_a_mode", "see_other_processes", "connect_to_a_socket",
    "open_shared_memory_of_another",
}  # fmt: skip
"""What the level basic does not promise."""
WITHOUT_NETWORK = {"use_the_network", "send_a_datagram", "ask_for_addresses"}
READ_ONLY = {
    "write_into_an_opened_folder", "cut_a_file_short", "link_out_of_the_own_folder",
    "write_into_the_home_folder", "write_into_the_working_folder", "make_shared_memory",
}  # fmt: skip
"""What only versions are kept from that ask for it."""
STRICT = {"network": False, "readOnly": True}
SHARED = f"mlsvc-attacked-{os.getpid()}"

Call = Callable[..., Any]


@pytest.fixture(scope="module", params=["basic", "sandbox"])
def level(request: pytest.FixtureRequest) -> str:
    if request.param == "sandbox" and why_no_sandbox():
        pytest.skip("needs user namespaces")
    return str(request.param)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the operator lets code write into."""
    folder = tmp_path_factory.mktemp("opened")
    (folder / "kept").write_text("data")
    return folder


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, level: str, opened: Path
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("attacked")
    options = [
        *(*OPTIONS, f"--Confinement.level={level}"),
        f"--Confinement.writable_paths={opened}",
    ]
    with ServerProcess(data_dir=folder, admin_password=PASSWORD, options=options) as server:
        yield server


@pytest.fixture(scope="module")
def call(server: ServerProcess) -> Call:
    login = {"username": "admin", "password": PASSWORD}
    answer = requests.post(f"{server.public_url}/login", json=login, timeout=120)
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def call(method: str, path: str, **members: Any) -> Any:
        url = server.public_url + path
        answer = requests.request(method, url, headers=headers, json=members or None, timeout=300)
        assert answer.status_code < 300, answer.text
        return answer.json()

    return call


def run(call: Call, session: str, code: str, *outputs: str) -> Any:
    answer = call("POST", f"/sessions/{session}/execute", code=code, outputParameters=list(outputs))
    assert answer["success"], answer
    return answer["outputParameters"][0]["value"] if outputs else None


@pytest.fixture(scope="module")
def victim(call: Call) -> Iterator[str]:
    """The folder of another session, which has a file, a snapshot and shared memory."""
    session = call("POST", "/sessions", name="victim")["sessionId"]
    code = (
        "import os\nopen('diary.txt', 'w').write('secret')\nx = bytes(100_000)\nat = os.getcwd()\n"
        "from multiprocessing.shared_memory import SharedMemory\n"
        f"memory = SharedMemory({SHARED!r}, create=True, size=8)"
    )
    folder: str = run(call, session, code, "at")
    call("POST", f"/sessions/{session}/snapshot", name="of the victim")
    yield folder
    Path("/dev/shm", SHARED).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def got(server: ServerProcess, call: Call, victim: str, opened: Path) -> dict[str, dict[str, str]]:
    """What each attack got, in a session, in a service, and in one that asks for more."""
    (sockets,) = server.data_dir.glob("sessions/run-*/sockets")
    code = (
        f"{CODE}\nimport json\n_SOCKETS = {str(sockets.readlink())!r}\n_SHARED = {SHARED!r}\n"
        f"_OPENED = {str(opened)!r}\n"
        f"got = json.dumps(run_all({str(server.data_dir)!r}, {victim!r}))"
    )
    session = call("POST", "/sessions", name="attacker")["sessionId"]
    got = {"session": json.loads(run(call, session, code, "got"))}
    more: dict[str, dict[str, bool]] = {"service": {}, "strict": STRICT}
    for attacker, members in more.items():
        call(
            "POST",
            f"/services/{attacker}/1",
            code=code,
            runtimeType="Python",
            outputParameterDefinitions=[{"name": "got", "type": "character"}],
            **members,
        )
        answer = call("POST", f"/api/{attacker}/1")
        assert answer["success"], answer
        got[attacker] = json.loads(answer["outputParameters"]["got"])
    # Its folder is for the worker alone, who makes it anew.
    del got["service"]["replace_the_own_folder_by_a_link"]
    return got


@pytest.mark.parametrize("attacker", ["session", "service", "strict"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_gets_nothing(
    got: dict[str, dict[str, str]], level: str, attacker: str, attack: str
) -> None:
    succeeds = IN_A_SANDBOX if level == "basic" else set[str]()
    if attacker == "strict":
        succeeds = succeeds - {"open_shared_memory_of_another"}
    else:
        succeeds = succeeds | WITHOUT_NETWORK | READ_ONLY
    if attack in succeeds:
        assert got[attacker][attack]  # an attack that succeeds nowhere shows nothing
    else:
        assert got[attacker].get(attack, "") == ""


# Threads count as processes do, and are cheaper; where the system counts, they are refused.
MANY = """
import os, threading, time
for _ in range(3):
    if not os.fork():
        try:
            for _ in range(400):
                threading.Thread(target=time.sleep, args=(600,)).start()
            time.sleep(600)
        finally:
            os._exit(1)
raise RuntimeError(os.wait())
"""

NAP = f"{600 + os.getpid() / 10_000_000}"
STARTS = f"""
import os, subprocess
if not os.fork():
    subprocess.Popen(["/bin/sleep", {NAP!r}], start_new_session=True, stdout=-3, stderr=-3)
    os._exit(0)
started = os.wait()[1]
"""


def naps() -> bool:
    lines = (each.info["cmdline"] for each in psutil.process_iter(["cmdline"]))
    return any(line and line[-1] == NAP for line in lines)


def test_session_with_too_many_processes_is_ended_with_all_that_it_started(call: Call) -> None:
    session = call("POST", "/sessions", name="many")["sessionId"]
    assert run(call, session, STARTS, "started") == 0
    assert naps()
    answer = call("POST", f"/sessions/{session}/execute", code=MANY)
    assert not answer["success"]
    wait_until(lambda: not naps())
    assert call("GET", "/user")["name"] == "admin"


def test_status_says_the_level(call: Call, level: str) -> None:
    assert call("GET", "/status")["details"]["confinement"] == level


def test_server_is_as_it_was(server: ServerProcess, call: Call, victim: str, got: Any) -> None:
    assert Path(victim, "diary.txt").read_text() == "secret"
    assert not Path(victim).is_symlink()
    assert call("GET", "/user")["name"] == "admin"
