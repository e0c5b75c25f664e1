from __future__ import annotations

import pytest

from jupyter_mlsvc.client.client import Client

from .fake import FakeTransport


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "MLSVC_URL",
        "MLSVC_TOKEN",
        "MLSVC_PUBLIC_URL",
        "MLSVC_CONNECTION_FILE",
        "JPY_SESSION_NAME",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def client(transport: FakeTransport) -> Client:
    return Client("https://fake:1", "given-token", transport=transport)
