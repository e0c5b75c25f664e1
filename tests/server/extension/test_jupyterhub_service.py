"""The server as a service of a real JupyterHub, with two people and a Jupyter server for each."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from typing import Any

import pytest
import requests

import jupyter_mlsvc
from jupyter_mlsvc.errors import Forbidden
from tests.jupyter_hub import SERVICE, JupyterHub
from tests.server.extension.waiting import until

pytestmark = pytest.mark.kernel

ACCESS = f"access:services!service={SERVICE}"
SETTINGS: dict[str, dict[str, Any]] = {
    "MlsvcApp": {"authenticators": ["jupyterhub"], "stop_seconds": 0},
    "HubAuthenticator": {
        "cache_seconds": 0.2,
        "role_groups": {"contributor": ["data-science"], "reader": ["analysts"]},
    },
    "TokenManager": {"cache_seconds": 0.2},
    "LocalEngine": {"preload": []},
    "KernelFactory": {"preload_at_start": False},
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterHub]:
    groups = {"data-science": ["maria"], "analysts": ["otto"]}
    folder = tmp_path_factory.mktemp("hub")
    with JupyterHub(folder, groups=groups, settings=SETTINGS) as hub:
        hub.start_server_of("maria", "otto")
        yield hub


def client_of(hub: JupyterHub, name: str) -> jupyter_mlsvc.Client:
    """Connect as kernels of a person's Jupyter server do."""
    file = hub.connection_file_of(name)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    connection = json.loads(file.read_text())
    return jupyter_mlsvc.Client(connection["url"], token=connection["token"])


def ask(hub: JupyterHub, token: str, path: str = "/user") -> requests.Response:
    """Ask the server through the hub's proxy."""
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(hub.service_url + path, headers=headers, timeout=30)


def test_one_server_knows_the_people_of_all_labs(hub: JupyterHub) -> None:
    for name, role, group in (
        ("maria", "contributor", "data-science"),
        ("otto", "reader", "analysts"),
    ):
        person = hub.at_lab_of(name, "/user").json()
        assert (person["name"], person["role"]) == (f"jupyterhub:{name}", role)
        me = client_of(hub, name).whoami()
        assert (me.name, me.groups) == (f"jupyterhub:{name}", [f"jupyterhub:{group}"])
    client_of(hub, "maria").services.publish(
        "Double", "2", code="y = 2 * x", inputs={"x": "numeric"}, outputs={"y": "numeric"}
    )
    service = client_of(hub, "otto").services.get("Double", "2")
    assert service(x=21).y == 42
    with pytest.raises(Forbidden, match="your role is reader"):
        client_of(hub, "otto").services.delete("Double", "2")


def test_a_lab_speaks_for_nobody_whom_it_does_not_let_in(hub: JupyterHub) -> None:
    for stranger in ("", "made-up-token"):
        assert hub.at_lab_of("maria", "/user", token=stranger).status_code == 401
    _, token = hub.make_token("otto", ["self"])
    assert hub.at_lab_of("maria", "/user", token=token).status_code in {401, 403}


def test_only_tokens_for_the_service_are_taken_and_only_until_they_are_revoked(
    hub: JupyterHub,
) -> None:
    _, other = hub.make_token("maria", ["users:activity!user"])
    refused = ask(hub, other)
    assert refused.status_code == 403
    assert ACCESS in refused.json()["message"]
    token_id, token = hub.make_token("maria", [ACCESS])
    assert ask(hub, token).json()["name"] == "jupyterhub:maria"
    hub.ask("DELETE", f"/users/maria/tokens/{token_id}")
    until(lambda: ask(hub, token).status_code == 401)


def test_the_server_answers_at_its_own_address_as_at_the_hubs(hub: JupyterHub) -> None:
    _, token = hub.make_token("otto", [ACCESS])
    headers = {"Authorization": f"Bearer {token}"}
    for base in (hub.server_url, hub.service_url):
        assert requests.get(f"{base}/services", headers=headers, timeout=30).ok
        assert requests.get(f"{base}/services", timeout=30).status_code == 401
    assert ask(hub, token, "x/user").status_code == 404


def test_a_service_outlives_the_jupyter_server_of_its_publisher(hub: JupyterHub) -> None:
    client_of(hub, "maria").services.publish(
        "Triple", "1", code="y = 3 * x", inputs={"x": "numeric"}, outputs={"y": "numeric"}
    )
    hub.ask("DELETE", "/users/maria/server")
    until(lambda: not hub.ask("GET", "/users/maria").json()["servers"])
    assert client_of(hub, "otto").services.get("Triple", "1")(x=14).y == 42
