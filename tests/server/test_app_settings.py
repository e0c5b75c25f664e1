"""Settings of the extension itself, each by what a caller sees of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
import requests
from traitlets import TraitError

from jupyter_mlsvc_server.launch import ServerProcess, free_port
from jupyter_mlsvc_server.server import MlsvcApp
from tests.contract.doors import sign_in
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

PASSWORD = "correct horse"
METRICS_PORT = free_port()
METRICS_KEY = "of-a-monitor-0123456789abcdef"
OPTIONS = ["--KernelFactory.preload_at_start=false", "--LocalEngine.preload=[]"]
SERVICE = {
    "code": "y = n",
    "inputParameterDefinitions": [{"name": "n", "type": "integer"}],
    "outputParameterDefinitions": [{"name": "y", "type": "integer"}],
}
ENGINE = """
import msgspec
from jupyter_mlsvc_server.scoring.local import LocalEngine

class OwnEngine(LocalEngine):
    async def consume(self, name, version, body, *call):
        return await super().consume(name, version, msgspec.json.encode({"n": 42}), *call)
"""


class ServerElsewhere(ServerProcess):
    """A server whose public API is at another address of this machine."""

    @property
    def public_url(self) -> str:
        return f"http://127.0.0.2:{self.public_port}"


class ServerWithoutPublicApi(ServerProcess):
    """A server that has no public API."""

    @property
    def public_url(self) -> str:
        return self.notebook_url


def is_open(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(60)
        return probe.connect_ex((address, port)) == 0


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    key = tmp_path_factory.mktemp("key") / "metrics-key"
    key.touch(mode=0o600)
    key.write_text(METRICS_KEY)
    with ServerElsewhere(
        data_dir=tmp_path_factory.mktemp("elsewhere"),
        admin_password=PASSWORD,
        jupyter=True,
        environment={"MLSVC_IP": "127.0.0.3"},
        options=[
            *OPTIONS,
            "--MlsvcApp.public_ip=127.0.0.2",
            "--MlsvcApp.metrics_ip=127.0.0.2",
            f"--MlsvcApp.metrics_port={METRICS_PORT}",
            f"--MlsvcApp.metrics_key_file={key}",
            "--MlsvcApp.any_case_paths=True",
            "--MlsvcApp.jupyter_user=maria",
        ],
    ) as server:
        yield server


@pytest.fixture(scope="module")
def no_public_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("no-public-api")
    (folder / "own_engine.py").write_text(ENGINE)
    with ServerWithoutPublicApi(
        data_dir=folder,
        admin_password=PASSWORD,
        jupyter=True,
        environment={"PYTHONPATH": str(folder)},
        options=[
            *OPTIONS,
            "--MlsvcApp.public_enabled=False",
            "--MlsvcApp.log_format=json",
            "--MlsvcApp.access_log=all",
            "--MlsvcApp.scoring_engine_class=own_engine.OwnEngine",
        ],
    ) as server:
        yield server


def test_public_ip_is_where_the_public_api_is(elsewhere: ServerProcess) -> None:
    assert is_open("127.0.0.2", elsewhere.public_port)
    for address in ("127.0.0.1", "127.0.0.3"):
        assert not is_open(address, elsewhere.public_port)


def test_metrics_have_an_address_of_their_own(elsewhere: ServerProcess) -> None:
    assert not is_open("127.0.0.1", METRICS_PORT)
    url = f"http://127.0.0.2:{METRICS_PORT}"
    answer = requests.get(f"{url}/metrics", timeout=30)
    assert "\nmlsvc_http_connections " in answer.text
    assert requests.get(f"{url}/services", timeout=30).status_code == 401
    call = requests.post(f"{url}/api/Any/1", json={"n": 3}, timeout=30)
    assert call.status_code == 401, "services are not called there"


def test_metrics_key_file_lets_a_monitor_read_the_metrics(elsewhere: ServerProcess) -> None:
    monitor = {"Authorization": f"Bearer {METRICS_KEY}"}
    url = elsewhere.public_url
    assert "mlsvc_" in requests.get(f"{url}/metrics", headers=monitor, timeout=30).text
    assert requests.get(f"{url}/services", headers=monitor, timeout=30).status_code == 401


def test_the_environment_says_where_the_public_api_is_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLSVC_IP", raising=False)
    assert MlsvcApp().public_ip == "127.0.0.1"
    monkeypatch.setenv("MLSVC_IP", "127.0.0.3")
    assert MlsvcApp().public_ip == "127.0.0.3"


@pytest.mark.parametrize("at_public_api", [True, False])
def test_any_case_paths_leave_names_as_they_are(
    elsewhere: ServerProcess, at_public_api: bool
) -> None:
    url = elsewhere.public_url if at_public_api else elsewhere.notebook_url
    door = sign_in(url, "admin", PASSWORD)
    assert door.post("/Services/Any/1", json=SERVICE).status_code == 201
    # The second call goes the short way.
    for _ in range(2):
        assert door.post("/API/Any/1", json={"n": 3}).json()["outputParameters"] == {"y": 3}
    assert door.post("/api/any/1", json={"n": 3}).status_code == 404
    assert door.delete("/SERVICES/Any/1").status_code == 200


def test_jupyter_user_is_who_sits_at_the_keyboard(elsewhere: ServerProcess) -> None:
    keyboard = {"Authorization": f"token {elsewhere.jupyter_token}"}
    answer = requests.get(f"{elsewhere.notebook_url}/user", headers=keyboard, timeout=30)
    assert answer.json()["name"] == "maria"


def test_public_enabled_may_be_off(no_public_api: ServerProcess) -> None:
    assert not is_open("127.0.0.1", no_public_api.public_port)
    door = sign_in(no_public_api.notebook_url, "admin", PASSWORD)
    assert door.get("/status").status_code == 200


def test_access_log_has_calls_and_other_requests_as_json(no_public_api: ServerProcess) -> None:
    door = sign_in(no_public_api.notebook_url, "admin", PASSWORD)
    assert door.post("/services/Logged/1", json=SERVICE).status_code == 201
    answers = [door.post("/api/Logged/1", json={"n": 3}) for _ in range(2)]
    ids = {answer.headers["X-Request-Id"] for answer in answers}

    def logged() -> dict[str, tuple[str, int]]:
        lines = [
            json.loads(line)
            for line in no_public_api.log_file.read_text().splitlines()
            if line.startswith("{")
            and line.endswith("}")
            and '"jupyter_mlsvc_server.access"' in line
        ]
        return {line["request"]: (line["path"], line["status"]) for line in lines}

    wait_until(lambda: ids <= logged().keys())
    assert ("/services/Logged/1", 201) in logged().values()
    assert {logged()[each] for each in ids} == {("/api/Logged/1", 200)}


def test_scoring_engine_class_runs_the_services(no_public_api: ServerProcess) -> None:
    door = sign_in(no_public_api.notebook_url, "admin", PASSWORD)
    assert door.post("/services/Some/1", json=SERVICE).status_code == 201
    answer = door.post("/api/Some/1", json={"n": 3})
    assert answer.json()["outputParameters"] == {"y": 42}


def test_a_trusted_proxy_is_an_address_or_a_network() -> None:
    assert MlsvcApp(trusted_proxies=["10.0.0.0/8", "::1"]).trusted_proxies
    with pytest.raises(TraitError, match="does not appear to be"):
        MlsvcApp(trusted_proxies=["proxy.example"])


def test_a_service_of_jupyterhub_is_told_its_address_and_a_person_s_server_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/services/mlsvc/")
    monkeypatch.setenv("JUPYTERHUB_PUBLIC_URL", "https://hub.example.org/services/mlsvc/")
    monkeypatch.delenv("JUPYTERHUB_SERVICE_NAME", raising=False)
    assert (MlsvcApp().base_path, MlsvcApp().public_url) == ("", "")
    monkeypatch.setenv("JUPYTERHUB_SERVICE_NAME", "mlsvc")
    assert MlsvcApp().base_path == "/services/mlsvc"
    assert MlsvcApp().public_url == "https://hub.example.org/services/mlsvc"


@pytest.mark.parametrize("path", ["services", "/a//b", "/a b", "/a?b", "/a/{name}"])
def test_a_base_path_is_a_path(path: str) -> None:
    assert MlsvcApp(base_path="/a/b/").base_path == "/a/b"
    with pytest.raises(TraitError, match="has to be a path"):
        MlsvcApp(base_path=path)
    with pytest.raises(TraitError, match="has to begin with http"):
        MlsvcApp(public_url="hub.example.org")
