"""A Jupyter server that uses a server elsewhere, over the network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests

from jupyter_mlsvc_server.auth.errors import UnusableSecretFile
from jupyter_mlsvc_server.auth.hosts import Hosts
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import sign_in
from tests.server.api.test_tls import TlsServer, certificate
from tests.server.extension.conftest import PASSWORD, Make, as_person

SECRET, OTHER = "a-secret-of-maria-that-is-long", "a-secret-of-the-operators-server"


def write_secret(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def apart(make: Make, tmp_path: Path) -> ServerProcess:
    """A server that knows two hosts."""
    hosts = write_secret(tmp_path / "hosts", f"# hosts\nmaria:{SECRET}\n*:{OTHER}\n")
    options = [
        f"--MlsvcApp.hosts_file={hosts}",
        "--MlsvcApp.hosts_role=reader",
        "--AccountManager.readers_use_sessions=True",
    ]
    return make(jupyter=False, options=options).start()


def jupyter_of(
    make: Make,
    tmp_path: Path,
    url: str,
    user: str,
    secret: str,
    kind: type[ServerProcess] | None = None,
) -> ServerProcess:
    """A Jupyter server that is to use a server elsewhere."""
    file = write_secret(tmp_path / "secret", f"{secret}\n")
    return make(
        data_dir=tmp_path / "of-jupyter",
        options=[
            f"--MlsvcExtension.server_url={url}",
            f"--MlsvcExtension.host_secret_file={file}",
            f"--MlsvcExtension.jupyter_user={user}",
        ],
        kind=kind or JupyterElsewhere,
    ).start()


class JupyterElsewhere(ServerProcess):
    """A Jupyter server without a server of its own."""

    @property
    def public_url(self) -> str:
        """There is none beside the Jupyter-mounted one."""
        return self.notebook_url


@pytest.mark.kernel
def test_jupyter_uses_a_server_elsewhere_in_a_users_name(
    make: Make, apart: ServerProcess, tmp_path: Path
) -> None:
    jupyter = jupyter_of(make, tmp_path, apart.public_url, "maria", SECRET)
    user = as_person(jupyter, "GET", "/user").json()
    assert (user["name"], user["role"]) == ("maria", "reader")
    made = as_person(jupyter, "POST", "/sessions", json={"name": "far"})
    assert made.status_code == 201
    connection = json.loads(jupyter.connection_file.read_text())
    assert connection["url"] == apart.public_url
    token = {"Authorization": f"Bearer {connection['token']}"}
    (session,) = requests.get(f"{apart.public_url}/sessions", headers=token, timeout=30).json()
    assert session["name"] == "far"
    jupyter.stop()
    assert sign_in(apart.public_url, "admin", PASSWORD).get("/status").status_code == 200


@pytest.mark.kernel
def test_host_is_believed_for_its_user_only(apart: ServerProcess) -> None:
    def ask(path: str, **headers: str) -> Any:
        named = {f"X-Mlsvc-{name.replace('_', '-')}": text for name, text in headers.items()}
        return requests.get(apart.public_url + path, headers=named, timeout=30)

    assert ask("/user", User="maria", Host_Secret=SECRET).json()["name"] == "maria"
    refused = ask("/user", User="admin", Host_Secret=SECRET)
    assert refused.status_code == 401
    assert "does not let it ask for 'admin'" in refused.json()["message"]
    assert ask("/user", User="ben", Host_Secret=OTHER).json()["name"] == "ben"
    assert ask("/user", User="ben", Host_Secret="").status_code == 401
    assert ask("/user", User="ben").status_code == 401
    assert ask("/user", Host_Secret=OTHER).status_code == 401
    assert ask("/host", Host_Secret="wrong").status_code == 404


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("user", "secret", "said"),
    [
        ("maria", "another-secret-that-is-long", "status 404. Check MlsvcExtension.server_url"),
        ("ben", SECRET, "refuses. The secret of this Jupyter server does not let it ask for 'ben'"),
    ],
)
def test_jupyter_says_why_the_server_refuses_it(
    make: Make, apart: ServerProcess, tmp_path: Path, user: str, secret: str, said: str
) -> None:
    jupyter = jupyter_of(make, tmp_path, apart.public_url, user, secret, JupyterWithout)
    answer = as_person(jupyter, "GET", "/user")
    assert answer.status_code == 503
    assert said in answer.json()["message"]
    assert "ompare MlsvcExtension.host_secret_file" in answer.json()["message"]
    assert "End it" not in answer.json()["message"]


@pytest.mark.kernel
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
@pytest.mark.parametrize("is_trusted", [True, False])
def test_certificate_of_the_server_is_checked(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_trusted: bool
) -> None:
    certfile, keyfile = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certfile))
    hosts = write_secret(tmp_path / "hosts", f"maria:{SECRET}\n")
    settings = {"hosts_file": hosts, "public_certfile": certfile, "public_keyfile": keyfile}
    options = [f"--MlsvcApp.{name}={value}" for name, value in settings.items()]
    apart = make(TlsServer, jupyter=False, options=options).start()
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certfile))
    jupyter = jupyter_of(make, tmp_path, apart.public_url, "maria", SECRET, JupyterWithout)
    answer = as_person(jupyter, "GET", "/user")
    if is_trusted:
        assert answer.json()["name"] == "maria"
    else:
        assert answer.status_code == 503
        assert f"The certificate of {apart.public_url} is not trusted" in answer.json()["message"]


@pytest.mark.kernel
def test_jupyter_says_that_nobody_answers(make: Make, tmp_path: Path) -> None:
    jupyter = make(
        JupyterWithout, options=["--MlsvcExtension.server_url=http://127.0.0.1:9"]
    ).start()
    answer = as_person(jupyter, "GET", "/user")
    assert answer.status_code == 503
    assert "Nobody answers at http://127.0.0.1:9" in answer.json()["message"]


class JupyterWithout(ServerProcess):
    """A Jupyter server whose server is not there."""

    @property
    def _urls(self) -> list[str]:
        # Jupyter's own status; what is added to the address goes into a query.
        return [f"{self.jupyter_url}/api/status?token={self.jupyter_token}&rest="]


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("maria:short", 0o600, "line 1"),
        (f"\n{SECRET}", 0o600, "line 2"),
        (f"maria:{SECRET}", 0o640, "chmod 600"),
    ],
)
def test_file_of_hosts_has_to_be_right(tmp_path: Path, text: str, mode: int, said: str) -> None:
    path = write_secret(tmp_path / "hosts", text, mode)
    with pytest.raises(UnusableSecretFile, match=said):
        Hosts.read(path, Role.CONTRIBUTOR)
    with pytest.raises(UnusableSecretFile, match="cannot be read"):
        Hosts.read(tmp_path / "none", Role.CONTRIBUTOR)
