"""A framework's server is started and ended whole; one that fails is left out with a reason."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import psutil
import pytest

from tests.benchmarks import load
from tests.benchmarks.peers import PeerFailed

from . import catalogue
from .catalogue import Framework, Place
from .rival import Rival
from .server import FrameworkServer

pytestmark = pytest.mark.kernel

# Answers every body with its row's name, or with its child's number beside it.
SERVER = """\
import http.server, json, os, sys
CHILD
class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        row = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps([row[0], *children][:int(os.environ["OUTPUTS"])]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer.request_queue_size = 64
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
"""

ALONE = SERVER.replace("CHILD", "children = []")

# Ignores the end, which takes seconds until it is killed.
WITH_CHILD = SERVER.replace(
    "CHILD",
    """
import subprocess
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
children = [subprocess.Popen([sys.executable, "-c", child], start_new_session=True).pid]
""",
)

EXPECTED = [["7"], ["3"], ["5.1"]]


@pytest.fixture
def framework(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Framework:
    """A server of a few lines, in an environment that is there already."""
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path / "environments")
    made = Framework(
        name="Few Lines",
        package="few-lines",
        requirements=(),
        settings="one thread a connection",
        path="/",
        question=lambda _number, row: list(row),
        species=lambda answer: [str(answer[0])],
        command=lambda place: [sys.executable, "-c", ALONE, str(place.port)],
        variables=lambda _place: {"OUTPUTS": "1"},
    )
    folder = made.environment.folder
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / ".made-of").write_text(made.environment.fingerprint)
    (tmp_path / "environments" / "file").touch()
    return made


@pytest.fixture(autouse=True)
def _no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load generator is a program that need not be there."""
    calm = load.Load(64, 300, 1, 1.0, 1, 1, 1, answers={b"[7]": 100, b"[3]": 100, b"[5.1]": 100})
    monkeypatch.setattr(load, "run", lambda *_, **__: calm)


def take_turn(rival: Rival) -> None:
    rival.install()
    rival.take_turn("wrk", EXPECTED, connections=64, warm_seconds=1, seconds=1)


def test_a_framework_is_measured_turn_by_turn(framework: Framework, tmp_path: Path) -> None:
    rival = Rival(framework, tmp_path / "work")
    take_turn(rival)
    take_turn(rival)
    assert rival.failure is None
    assert rival.measured is not None
    assert rival.measured.rates(64) == [300.0, 300.0]
    assert rival.measured.failures() == {}


def test_one_that_started_before_gets_a_second_try(framework: Framework, tmp_path: Path) -> None:
    def only_at_odd_times(place: Place) -> list[str]:
        starts = place.work / "starts"
        starts.write_text((starts.read_text() if starts.exists() else "") + "1")
        odd = len(starts.read_text()) % 2
        return [sys.executable, "-c", ALONE if odd else "raise ValueError", str(place.port)]

    rival = Rival(dataclasses.replace(framework, command=only_at_odd_times), tmp_path / "work")
    take_turn(rival)
    take_turn(rival)
    assert rival.failure is None
    assert (tmp_path / "work" / "starts").read_text() == "111"


def test_all_that_a_server_started_ends_with_it(framework: Framework, tmp_path: Path) -> None:
    both = dataclasses.replace(
        framework,
        command=lambda place: [sys.executable, "-c", WITH_CHILD, str(place.port)],
        variables=lambda _place: {"OUTPUTS": "2"},
    )
    with FrameworkServer(both, tmp_path / "work") as server, server.target.connect() as connection:
        _, left = connection.call("POST", "/", [1])
        assert psutil.pid_exists(left)
    assert not psutil.pid_exists(left)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param(
            {"command": lambda _place: [sys.executable, "-c", "raise ValueError('no model')"]},
            "no model",
            id="ends at once",
        ),
        pytest.param({"command": lambda _place: ["/nowhere/serve"]}, "nowhere", id="no program"),
        pytest.param(
            {"prepare": lambda _place: [sys.executable, "-c", "raise ValueError('no data')"]},
            "no data",
            id="can't be prepared",
        ),
        pytest.param({"species": lambda _answer: ["8"]}, "answered b'[7]'", id="wrong answers"),
        pytest.param({"package": "file/few-lines"}, "file", id="can't be installed"),
    ],
)
def test_one_that_fails_is_left_out_with_a_reason_of_one_line(
    framework: Framework, tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    rival = Rival(dataclasses.replace(framework, **changes), tmp_path / "work")  # type: ignore[arg-type]
    take_turn(rival)
    assert rival.failure is not None
    assert reason in rival.failure
    assert "\n" not in rival.failure
    assert rival.measured is None


def test_one_that_is_not_ready_in_time_is_ended(framework: Framework, tmp_path: Path) -> None:
    # It answers what is no JSON, as one does that has no model yet.
    unready = dataclasses.replace(framework, variables=lambda _place: {"OUTPUTS": "none"})
    server = FrameworkServer(unready, tmp_path / "work")
    with pytest.raises(PeerFailed, match="Not ready after 1 s"):
        server.start(timeout=1)
    assert not psutil.pid_exists(server._process.pid)
