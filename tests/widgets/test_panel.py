"""The panel: what its front end hears of the server, and what it may ask for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.errors import MlsvcError
from jupyter_mlsvc.widgets.panel import Panel, panel
from tests.client.fake import answer, lines, sent
from tests.widgets.comm import FakeComm
from tests.widgets.fake_server import Server
from tests.widgets.test_forms import RESULT


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def made(server: Server) -> Iterator[Panel]:
    made = panel(Client("https://fake:1", "token", transport=server))
    yield made
    made.close()


@pytest.fixture
def comm(made: Panel) -> FakeComm:
    return FakeComm(made)


def heard(comm: FakeComm) -> dict[str, Any]:
    """What comes next of the server's state."""
    content, [body] = comm.take()
    assert content == {"changed": True}
    found: dict[str, Any] = json.loads(body)
    return found


def test_a_page_asks_for_what_is_known(comm: FakeComm, server: Server) -> None:
    asked = len(server.asked)
    comm.ask("GET", "state")
    content, [body] = comm.take()
    state = json.loads(body)
    assert content == {"id": "r"}
    assert [each["name"] for each in state["services"]] == ["Iris", "Iris", "churn"]
    assert state["services"][0].items() >= server.services[0].items()
    assert state["sessions"][0].items() >= server.sessions[0].items()
    assert state["statistics"][0]["calls"] == 1200
    assert state["user"]["name"] == "maria"
    assert (state["trouble"], state["isLoaded"]) == ("", True)
    assert len(server.asked) == asked


def test_it_follows_the_server_while_it_is_seen(
    made: Panel, comm: FakeComm, server: Server
) -> None:
    may_go_on = threading.Event()
    server.on_wait = lambda: may_go_on.wait(60)
    assert not made.is_live
    comm.set(_view_count=1)
    first = heard(comm)
    follower = made._thread
    assert follower is not None
    assert {"services", "sessions", "statistics"} <= first.keys()
    server.services.pop()
    server.happened("service")
    may_go_on.set()
    changed = heard(comm)
    assert [each["name"] for each in changed["services"]] == ["Iris", "Iris"]
    assert "sessions" not in changed
    comm.set(_view_count=0)
    follower.join(60)
    assert not made.is_live


def test_a_server_that_is_away_is_told(made: Panel, comm: FakeComm, server: Server) -> None:
    server.is_away = True
    comm.set(_view_count=1)
    assert "cannot be reached: connection refused" in heard(comm)["trouble"]
    assert repr(made).startswith("ML services: The server at https://fake:1 cannot be reached")
    assert "cannot be reached" in made._repr_mimebundle_()[0]["text/html"]


def test_it_passes_requests_on(comm: FakeComm, server: Server) -> None:
    comm.ask("DELETE", "services", "Iris", "V1.0")
    content, [body] = comm.take()
    assert (content, json.loads(body)) == ({"id": "r"}, "Deleted.")
    server.answers["POST", "/api/Iris/V1.0"] = lambda request: answer(sent(request))
    comm.ask("POST", "api", "Iris", "V1.0", body=b'{"x":1}')
    assert json.loads(comm.take()[1][0]) == {"x": 1}
    item, last = b'{"output":"y","value":1}', json.dumps(RESULT).encode()
    server.answers["POST", "/api/Iris/V1.0"] = lambda _: lines(
        b"event: item\ndata: %b\n\nevent: result\ndata: %b\n\n" % (item, last)
    )
    comm.ask("POST", "api", "Iris", "V1.0", body=b"{}", lines=True)
    assert [comm.take()[1] for _ in range(3)] == [[item], [last], [b""]]
    server.answers["GET", "/services/Iris/V1.0/statistics"] = lambda each: answer(each.query)
    comm.ask("GET", "services", "Iris", "V1.0", "statistics", query={"period": "day"})
    assert json.loads(comm.take()[1][0]) == {"period": "day"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ["keys"]),
        ("POST", ["keys"]),
        ("POST", ["api", "..", "keys"]),
        ("DELETE", ["services", "..", "keys"]),
        ("DELETE", ["sessions", ".."]),
        ("POST", ["services", "Iris", "V9"]),
        ("GET", ["user"]),
    ],
)
def test_it_passes_nothing_else_on(
    comm: FakeComm, server: Server, method: str, path: list[str]
) -> None:
    asked = list(server.asked)
    comm.ask(method, *path)
    assert "This widget may not ask for" in comm.take()[0]["problem"]["message"]
    assert server.asked == asked


def test_it_is_readable_where_widgets_are_not(made: Panel) -> None:
    bundle, _ = made._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert bundle["text/plain"].startswith("Services\nname")
    assert "Tells irises" in bundle["text/html"]


def test_closing_frees_it_and_its_thread(made: Panel, comm: FakeComm) -> None:
    comm.set(_view_count=1)
    heard(comm)
    follower = made._thread
    assert follower is not None
    made.close()
    made.close()
    follower.join(60)
    assert comm.is_closed
    assert made.layout.comm is None
    with pytest.raises(MlsvcError, match="This panel is closed"):
        made._shown()
