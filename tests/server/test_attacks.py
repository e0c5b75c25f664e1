"""What code of sessions and services can't reach: a table of attacks, run by both on one server."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from jupyter_mlsvc_server.confinement import why_no_sandbox
from jupyter_mlsvc_server.formats.confine import landlock_abi
from jupyter_mlsvc_server.id_range import IdRange, why_no_users
from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import sign_in
from tests.server import attacks
from tests.server.open_machine import OtherUsersServer
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
    "--KernelFactory.preload_at_start=false",
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
UIDS = IdRange(2_000_000, 2_000_099)
STRICT = {"network": False, "readOnly": True}
SHARED = f"mlsvc-attacked-{os.getpid()}"

Call = Callable[..., Any]


@pytest.fixture(scope="module", params=["basic", "sandbox", "user"])
def level(request: pytest.FixtureRequest) -> str:
    if request.param == "sandbox" and why_no_sandbox():
        pytest.skip("needs user namespaces")
    if request.param == "user" and (problem := why_no_users(UIDS) or why_no_sandbox(as_root=True)):
        pytest.skip(problem)
    return str(request.param)


def is_ordinary(level: str) -> bool:
    """Whether an ordinary user runs the server, where these tests have one: no level needs root."""
    return level == "sandbox" and os.geteuid() == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, level: str) -> Iterator[Path]:
    """A folder that others may enter where code runs as others."""
    if level != "user" and not is_ordinary(level):
        yield tmp_path_factory.mktemp("attacked")
        return
    place = Path(tempfile.mkdtemp(prefix="mlsvc-test-", dir="/var/tmp"))
    place.chmod(0o711)
    if is_ordinary(level):
        os.chown(place, UIDS.last, UIDS.last)
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def opened(place: Path) -> Path:
    """A folder that the operator lets code write into."""
    (folder := place / "opened").mkdir()
    (folder / "kept").write_text("data")
    folder.chmod(0o777)
    (folder / "kept").chmod(0o666)
    return folder


@pytest.fixture(scope="module")
def server(place: Path, level: str, opened: Path) -> Iterator[ServerProcess]:
    kind = ServerProcess if level == "basic" else OtherUsersServer
    options = [
        *(*OPTIONS, f"--Confinement.level={level}"),
        f"--Confinement.writable_paths={opened}",
        f"--Confinement.uids={UIDS}",
    ]
    server = kind(data_dir=place / "data", admin_password=PASSWORD, options=options)
    if isinstance(server, OtherUsersServer) and is_ordinary(level):
        server.uid = UIDS.last
        server.data_dir.mkdir()
        os.chown(server.data_dir, UIDS.last, UIDS.last)
    with server:
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


def test_session_with_too_many_processes_is_ended_with_all_that_it_started(
    call: Call, level: str
) -> None:
    session = call("POST", "/sessions", name="many")["sessionId"]
    assert run(call, session, STARTS, "started") == 0
    assert naps()
    answer = call("POST", f"/sessions/{session}/execute", code=MANY)
    assert not answer["success"]
    if level != "basic":
        # The system counts those of any user but root, and has refused the next one.
        call("DELETE", f"/sessions/{session}")
    wait_until(lambda: not naps())
    assert call("GET", "/user")["name"] == "admin"


def test_status_says_the_level(call: Call, level: str) -> None:
    details = call("GET", "/status")["details"]
    assert details["confinement"] == level
    assert level != "user" or details["namespaces"] == "own"


OF_USERS = pytest.mark.parametrize("level", ["user"], indirect=True)
TRACE = 16


def _try_as_another(victim: str, pids: list[int]) -> str:
    """Name what another user gets, without any confinement; it ends this process."""
    os.setgroups([UIDS.group])
    os.setresgid(UIDS.last, UIDS.last, UIDS.last)
    os.setresuid(UIDS.last, UIDS.last, UIDS.last)
    libc = ctypes.CDLL(None)
    tries: dict[str, Callable[[], object]] = {
        "read": lambda: Path(victim, "diary.txt").read_text(),
        "list": lambda: list(Path(victim).iterdir()),
        "list all": lambda: list(Path(victim).parents[1].iterdir()),
        "write": lambda: Path(victim, "planted").touch(),
        "connection": lambda: Path(victim, "../connection.json").read_text(),
        **{f"kill {pid}": partial(os.kill, pid, signal.SIGURG) for pid in pids},
        **{f"environ {pid}": Path(f"/proc/{pid}/environ").read_bytes for pid in pids},
        **{f"memory {pid}": Path(f"/proc/{pid}/mem").open for pid in pids},
        **{f"files {pid}": partial(os.listdir, f"/proc/{pid}/fd") for pid in pids},
    }
    got = [f"trace {pid}" for pid in pids if libc.ptrace(TRACE, pid, None, None) == 0]
    for name, each in tries.items():
        try:
            each()
        except OSError:
            continue
        got.append(name)
    return " ".join(got)


@OF_USERS
def test_people_are_apart_by_their_users_alone(server: ServerProcess, victim: str) -> None:
    owner = Path(victim).stat().st_uid
    assert owner in UIDS.users
    pids = [each.pid for each in psutil.process_iter() if each.uids().real == owner]
    assert pids
    ours, theirs = os.pipe()
    if not os.fork():
        said = "failed"
        try:
            said = _try_as_another(victim, pids)
        finally:
            os.write(theirs, said.encode())
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as answer:
        assert answer.read() == ""
    os.wait()


LANGUAGES = {
    "Python": (
        "import os\nopen('made.txt', 'w').write('made')\nmodel = list(range(200_000))\n"
        "user = os.getuid()",
        "import os\nuser = os.getuid()\nn = len(model)\n"
        "open('made.txt', 'a').write('!')\nfile = open('made.txt').read()",
    ),
    "R": (
        "cat('made', file = 'made.txt'); model <- as.numeric(1:200000)\n"
        "user <- as.integer(system('id -u', intern = TRUE))",
        "user <- as.integer(system('id -u', intern = TRUE)); n <- length(model)\n"
        "cat('!', file = 'made.txt', append = TRUE); file <- readLines('made.txt', warn = FALSE)",
    ),
}


@OF_USERS
@pytest.mark.parametrize("language", LANGUAGES)
def test_all_works_for_people_who_have_users(
    server: ServerProcess, language: str, request: pytest.FixtureRequest
) -> None:
    if language == "R":
        request.getfixturevalue("needs_r")
    door = sign_in(server.public_url, "admin", PASSWORD)
    made, used = LANGUAGES[language]
    runtime = {"runtimeType": language}
    answer = door.post("/sessions", json=runtime)
    assert answer.ok, answer.text
    session = f"/sessions/{answer.json()['sessionId']}"
    ran = door.post(
        f"{session}/execute",
        json={
            "code": made,
            "outputParameters": ["user"],
            "inputParameters": [{"name": "x", "value": 1}],
        },
    ).json()
    assert ran["success"], ran
    user = ran["outputParameters"][0]["value"]
    assert user in UIDS.users
    assert door.post(f"{session}/files", files={"file": ("given.txt", b"given")}).ok
    change = (
        "open('given.txt', 'a').write('+')"
        if language == "Python"
        else ("cat('+', file = 'given.txt', append = TRUE)")
    )
    assert door.post(f"{session}/execute", json={"code": change}).json()["success"]
    assert door.get(f"{session}/files/given.txt").content == b"given+"
    value = door.get(f"{session}/workspace/model").content
    assert door.post(f"{session}/workspace/model", data=value).ok
    taken = door.post(f"{session}/snapshot", json={"name": language}).json()["snapshotId"]
    again = door.post("/sessions", json={"snapshotId": taken, **runtime}).json()
    again = f"/sessions/{again['sessionId']}"
    code = "x <- length(model)" if language == "R" else "x = len(model)"
    answer = door.post(f"{again}/execute", json={"code": code, "outputParameters": ["x"]}).json()
    assert answer["outputParameters"][0]["value"] == 200_000
    service = {
        "code": used,
        "snapshotId": taken,
        **runtime,
        "outputParameterDefinitions": [
            {"name": "user", "type": "integer"},
            {"name": "n", "type": "integer"},
            {"name": "file", "type": "character"},
        ],
        "outputFileNames": ["made.txt"],
    }
    assert door.post(f"/services/works-{language}/1", json=service).status_code == 201
    for _ in range(2):
        answer = door.post(f"/api/works-{language}/1").json()
        assert answer["outputParameters"] == {"user": user, "n": 200_000, "file": "made!"}
        assert base64.b64decode(answer["outputFiles"]["made.txt"]) == b"made!"
    for each in (session, again):
        assert door.delete(each).ok
        assert not list(server.data_dir.glob(f"sessions/run-*/{each.rpartition('/')[2]}"))


def test_server_is_as_it_was(server: ServerProcess, call: Call, victim: str, got: Any) -> None:
    assert Path(victim, "diary.txt").read_text() == "secret"
    assert not Path(victim).is_symlink()
    assert call("GET", "/user")["name"] == "admin"
