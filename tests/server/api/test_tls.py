"""The public API by TLS."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import requests

from jupyter_mlsvc_server.launch import ServerProcess
from tests.server.api.conftest import y_of

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate"),
]


class TlsServer(ServerProcess):
    @property
    def public_url(self) -> str:
        return f"https://127.0.0.1:{self.public_port}"


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for the loopback address, and its key."""
    certfile, keyfile = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(keyfile), "-out", str(certfile)),
        ],
        check=True,
        capture_output=True,
    )
    return certfile, keyfile


def test_calls_and_other_requests_go_by_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certfile, keyfile = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certfile))
    server = TlsServer(
        data_dir=tmp_path / "data",
        admin_password="correct horse",
        options=[
            "--WarmKernels.warm_kernels=0",
            "--LocalEngine.preload=[]",
            f"--MlsvcApp.public_certfile={certfile}",
            f"--MlsvcApp.public_keyfile={keyfile}",
            "--MlsvcApp.max_body_bytes=100000",
        ],
    )
    with server, requests.Session() as client:
        url = server.public_url
        login = {"username": "admin", "password": server.admin_password}
        token = client.post(f"{url}/login", json=login, timeout=30).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        definition = {
            "code": "y = n",
            "inputParameterDefinitions": [{"name": "n", "type": "string"}],
            "outputParameterDefinitions": [{"name": "y", "type": "string"}],
        }
        assert client.post(f"{url}/services/own/1", json=definition, timeout=30).ok
        for n in range(3):
            assert y_of(client.post(f"{url}/api/own/1", json={"n": n}, timeout=30)) == n
        refused = client.post(f"{url}/api/own/1", data=b"x" * 10_000_000, timeout=30)
        assert refused.status_code == 413
        assert client.get(f"{url}/services", timeout=30).json()[0]["name"] == "own"
        with pytest.raises(requests.ConnectionError):
            requests.get(url.replace("https", "http"), timeout=60)
