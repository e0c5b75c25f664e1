"""Checks of how the server is reached: by its socket, its port, over TLS, and from kernels."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import http.client
import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
from jupyter_core.paths import jupyter_runtime_dir

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.doctor.findings import Finding, Setup, State
from jupyter_mlsvc_server.formats.host import (
    SECRET_HEADER,
    USER_HEADER,
    lock_path,
    socket_address,
    socket_path,
    socket_secret,
)

_SECONDS: Final = 10.0
_DAY: Final = 86_400
_SOON: Final = 14 * _DAY
_READ_LOG: Final = "Look into its log; start it again if it does not recover."


def is_running(data_dir: Path) -> bool:
    """Return whether a server uses the data folder."""
    try:
        lock = os.open(lock_path(data_dir), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def check_server(setup: Setup) -> Iterator[Finding]:
    """Look whether the server of the data folder, if one runs, answers and is well."""
    name = "server"
    if not is_running(setup.data_dir):
        yield Finding(name, State.INFO, f"No server runs on {setup.data_dir}.")
        return
    try:
        status, body = _ask(setup.data_dir, "/status")
    except (OSError, http.client.HTTPException) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error
        yield Finding(name, State.FAIL, f"It runs, and does not answer ({reason}).", _READ_LOG)
        return
    if status != 200:
        yield Finding(name, State.FAIL, f"It runs, and answers {status}.", _READ_LOG)
        return
    answer = msgspec.json.decode(body)
    version = answer.get("details", {}).get("version", "")
    if version != __version__:
        yield Finding(
            name,
            State.WARN,
            f"Version {version} runs, {__version__} is installed.",
            "Start it again.",
        )
    bad = [*_not_well(answer)]
    if bad:
        worst = State.FAIL if answer["statusCode"] == "fail" else State.WARN
        yield Finding(name, worst, f"It answers, but says: {'; '.join(bad)}.", _READ_LOG)
    else:
        yield Finding(name, State.OK, "It runs and answers.")


def _not_well(part: dict[str, Any], path: str = "") -> Iterator[str]:
    """Name the parts of a status that are not well."""
    inner = part.get("components") or {}
    if part.get("statusCode") != "pass" and not inner:
        yield f"{path or 'server'}: {part.get('statusCode')}"
    for name, each in inner.items():
        yield from _not_well(each, f"{path} {name}".strip())


def _ask(data_dir: Path, path: str) -> tuple[int, bytes]:
    """Ask a server by its socket, where it believes its own account."""
    connection = http.client.HTTPConnection("localhost", timeout=_SECONDS)
    with contextlib.closing(connection):
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(_SECONDS)
        with socket_address(socket_path(data_dir)) as address:
            connection.sock.connect(address)
        secret = socket_secret(socket_path(data_dir))
        headers = {USER_HEADER: quote(getpass.getuser()), SECRET_HEADER: secret}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def check_port(setup: Setup) -> Iterator[Finding]:
    """Look whether the public port is free, or is the running server's."""
    name, place = "public port", f"{setup.public_ip or '*'}:{setup.public_port}"
    if not setup.public_enabled:
        yield Finding(name, State.INFO, "The public API is closed (MlsvcApp.public_enabled).")
        return
    if is_running(setup.data_dir):
        yield _reached(name, place, setup)
        return
    if setup.public_port == 0:
        yield Finding(name, State.OK, "The server takes a free one.")
        return
    try:
        with socket.create_server((setup.public_ip, setup.public_port)):
            pass
    except OSError as error:
        yield Finding(
            name,
            State.FAIL,
            f"{place} can't be opened: {os.strerror(error.errno or 0)}.",
            "Choose another port with MLSVC_PORT or MlsvcApp.public_port, or stop what uses it.",
        )
    else:
        yield Finding(name, State.OK, f"{place} is free.")


def _reached(name: str, place: str, setup: Setup) -> Finding:
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(  # noqa: S104 - to reach it
        setup.public_ip, setup.public_ip
    )
    if setup.public_port == 0:
        return Finding(name, State.INFO, "The running server took a free one; its log has it.")
    try:
        socket.create_connection((host, setup.public_port), timeout=_SECONDS).close()
    except OSError as error:
        return Finding(
            name,
            State.FAIL,
            f"The server runs, but nothing answers at {place} "
            f"({error.strerror or 'it takes too long'}).",
            "Another program may have had the port at its start: its log says so. Or the server "
            "was started with other settings; give the same ones here.",
        )
    return Finding(name, State.OK, f"{place} answers.")


def check_tls(setup: Setup) -> Iterator[Finding]:
    """Look whether the files of TLS fit each other, and how long the certificate is valid."""
    name = "TLS"
    if not setup.certfile:
        if _is_local(setup.public_ip) or not setup.public_enabled:
            yield Finding(name, State.INFO, "The public API is plain HTTP, on this machine only.")
        elif setup.allow_plain_http:
            yield Finding(
                name,
                State.WARN,
                f"The public API at {setup.public_ip or 'all addresses'} is plain HTTP.",
                "Let only a proxy that speaks TLS reach it, or set MlsvcApp.public_certfile and "
                "public_keyfile.",
            )
        else:
            yield Finding(
                name,
                State.FAIL,
                f"The public API at {setup.public_ip or 'all addresses'} has no certificate, so "
                "the server does not start.",
                "Set MlsvcApp.public_certfile and public_keyfile, or MlsvcApp.allow_plain_http "
                "where only a proxy that speaks TLS reaches it.",
            )
        return
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(setup.certfile, setup.keyfile or None)
        ends = _valid_until(context, setup.certfile)
    except (OSError, ssl.SSLError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        detail = getattr(error, "verify_message", "") or reason or error
        yield Finding(
            name,
            State.FAIL,
            f"{setup.certfile} and its key can't be used: {detail}.",
            "Give a PEM file with the certificate chain and one with its private key, which the "
            "account of the server can read; renew a certificate that has expired.",
        )
        return
    days = int((ends - time.time()) / _DAY)
    key = Path(setup.keyfile or setup.certfile)
    if key.stat().st_mode & 0o077:
        yield Finding(name, State.WARN, f"Others may read {key}.", f"Run: chmod 600 {key}")
    if ends - time.time() < _SOON:
        message = f"The certificate is valid for {days} more days."
        yield Finding(name, State.WARN, message, "Renew it, and start the server again.")
    else:
        yield Finding(name, State.OK, f"The certificate is valid for {days} more days.")


def _valid_until(context: ssl.SSLContext, certfile: str) -> float:
    """Read when a certificate ends, from a handshake with itself as what is trusted."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.load_verify_locations(certfile)
    client_context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    for _ in range(4):  # turns of a handshake, and more
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    certificate = client.getpeercert() or {}
    return float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))


def _is_local(address: str) -> bool:
    return address.startswith("127.") or address in {"::1", "localhost"}


def check_connection_files(setup: Setup) -> Iterator[Finding]:
    """Look at the files by which kernels of Jupyter servers find their server."""
    name = "connection files"
    paths = sorted(Path(jupyter_runtime_dir()).glob("mlsvc-*.json"))
    alive = [path for path in paths if Path("/proc", path.stem.removeprefix("mlsvc-")).exists()]
    for path in alive:
        if path.stat().st_mode & 0o077:
            yield Finding(name, State.FAIL, f"Others may read {path}.", f"Run: chmod 600 {path}")
            continue
        yield _of_connection(name, path)
    if not alive:
        message = "No Jupyter server runs here that has the extension."
        yield Finding(name, State.INFO, message)


def _of_connection(name: str, path: Path) -> Finding:
    try:
        connection = msgspec.json.decode(path.read_bytes())
        url, problem = str(connection["url"]), str(connection.get("problem", ""))
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return Finding(
            name, State.FAIL, f"{path} can't be read.", "Start that Jupyter server again."
        )
    if problem:
        who = f"The Jupyter server of process {path.stem[6:]} has no server. {problem}"
        return Finding(name, State.FAIL, who, "Mend that, and start that Jupyter server again.")
    return Finding(name, State.OK, f"Kernels of process {path.stem[6:]} find the server at {url}.")
