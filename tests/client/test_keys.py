from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jupyter_mlsvc.client.client import Client

from .fake import FakeTransport, answer, sent

ROW: dict[str, Any] = {
    "id": "k1",
    "name": "billing",
    "services": ["Iris/V1.0"],
    "note": "for <billing>",
    "maker": "maria",
    "state": "active",
    "creationTime": "2026-11-23T13:38:07.1234560",
    "expirationTime": None,
    "rate": "10/second",
    "origins": ["https://app.example"],
    "calls": 12,
    "lastUse": "2026-11-24T13:38:07.1234560",
}
SERVICE = {
    "name": "Iris",
    "version": "V1.0",
    "versionPublishedBy": "maria",
    "snapshotId": None,
    "creationTime": "2026-11-23T13:38:07.1234560",
    "runtimeType": "Python",
    "description": "",
    "operationId": None,
    "outputParameterDefinitions": [],
    "outputFileNames": [],
    "myPermissionOnService": "read/write",
    "inputParameterDefinitions": [
        {"name": "flower", "type": "vector", "example": [5.1, 3.5]},
        {"name": "who's", "type": "character"},
    ],
}


@pytest.mark.parametrize("days", [2, timedelta(days=2)])
def test_a_new_key_shows_itself_and_the_line_that_calls_with_it(
    client: Client, transport: FakeTransport, days: float | timedelta
) -> None:
    created = {"key": "mlsvckey_x", "serviceKey": ROW | {"calls": 0}}
    transport.answers = [answer(created, 201), answer([SERVICE])]
    key = client.keys.create("Iris/V1.0", "billing", days=days, rate="10/second")
    request = transport.requests[0]
    assert (request.method, request.path) == ("POST", "/keys")
    assert sent(request)["services"] == ["Iris/V1.0"]
    assert sent(request)["expiresInSeconds"] == 2 * 86_400
    assert key.key == "mlsvckey_x"
    assert key.curl == (
        "curl -sS https://fake:1/api/Iris/V1.0 -H 'X-API-Key: mlsvckey_x' "
        """--json '{"flower": [5.1, 3.5], "who'"'"'s": "text"}'"""
    )
    assert key.curl in repr(key)
    assert "mlsvckey_x" in key._repr_html_()
    assert "clear this output" in repr(key)
    assert "only on this machine" not in repr(key)


def test_a_key_for_all_services_has_no_line(client: Client, transport: FakeTransport) -> None:
    created = {"key": "mlsvckey_x", "serviceKey": ROW | {"services": None}}
    transport.answers = [answer(created, 201)]
    key = client.keys.create(None)
    assert key.curl == ""
    assert "for all services" in repr(key)


def test_keys_are_listed_and_revoked(client: Client, transport: FakeTransport) -> None:
    transport.answers = [answer([ROW]), answer("Revoked.")]
    keys = client.keys.list()
    for shown in ("billing", "Iris/V1.0", "10/second", "12", "2026-11-24 13:38:07 UTC", "maria"):
        assert shown in repr(keys)
    assert "&lt;billing&gt;" in keys._repr_html_()
    keys[0].revoke()
    request = transport.requests[1]
    assert (request.method, request.path) == ("DELETE", "/keys/billing")
