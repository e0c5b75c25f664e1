"""The public API by TLS."""

from __future__ import annotations

import contextlib
import logging
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import requests

from jupyter_mlsvc_server.api.certificate import Certificate
from jupyter_mlsvc_server.api.listening import is_only_local, listen_on_port
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


def shown_by(context: ssl.SSLContext) -> bytes:
    """Shake hands with a context, and give the certificate that it shows."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    while (shown := client.getpeercert(binary_form=True) if client.version() else None) is None:
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return shown


def test_a_renewed_certificate_is_read_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger(__name__)
    caplog.set_level(logging.INFO)
    certfile, keyfile = certificate(tmp_path)
    looked_after = Certificate(certfile, keyfile)
    first = shown_by(looked_after.context)
    looked_after.look(log)
    (tmp_path / "next").mkdir()
    next_certfile, next_keyfile = certificate(tmp_path / "next")
    # Between the two renames, what is there does not fit together.
    next_certfile.rename(certfile)
    looked_after.look(log)
    assert shown_by(looked_after.context) == first
    next_keyfile.rename(keyfile)
    looked_after.look(log)
    assert shown_by(looked_after.context) == ssl.PEM_cert_to_DER_cert(certfile.read_text()) != first
    keyfile.unlink()
    looked_after.look(log)
    looked_after.look(log)
    assert [each.partition(" (")[0] for each in caplog.messages] == [
        f"the changed certificate {certfile} cannot be used",
        f"read the certificate {certfile} again",
        f"the changed certificate {certfile} cannot be used",
    ]


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_who_reaches_an_address(address: str, is_local: bool) -> None:
    listening = listen_on_port(address, 0)
    assert is_only_local(listening) is is_local
    for each in listening:
        each.close()


def test_calls_and_other_requests_go_by_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certfile, keyfile = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certfile))
    server = TlsServer(
        data_dir=tmp_path / "data",
        admin_password="correct horse",
        options=[
            "--KernelFactory.preload_at_start=false",
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
        listed = client.get(f"{url}/services", timeout=30)
        assert listed.json()[0]["name"] == "own"
        assert listed.headers["Strict-Transport-Security"] == "max-age=31536000"
        with pytest.raises(requests.ConnectionError):
            requests.get(url.replace("https", "http"), timeout=60)
