"""What a panel knows of the server, with the server at the transport seam."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.widgets.state import PanelState, Part
from tests.widgets.fake_server import Server, service_row


class Seen:
    """Parts that changed, each time that a state said so."""

    def __init__(self) -> None:
        self.parts: list[set[Part]] = []

    def __call__(self, parts: set[Part]) -> None:
        self.parts.append(parts)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def state(server: Server, seen: Seen) -> PanelState:
    return PanelState(lambda: Client("https://fake:1", "token", transport=server), seen)


def follow(state: PanelState, server: Server, *steps: Callable[[], object]) -> None:
    """Follow, doing one step each time that the server is asked for events, until none is left."""
    stop = threading.Event()
    todo = [*steps, stop.set]

    def next_step() -> None:
        todo.pop(0)()

    server.on_wait = next_step
    state.follow(stop)


def keys(state: PanelState, search: str = "") -> list[str]:
    found = state.shown_services(search)
    return [f"{service.name} {service.version}" for service in found]


# --- what is shown -----------------------------------------------------------------------------


def test_services_are_by_name_and_the_newest_version_comes_first(state: PanelState) -> None:
    state.load()
    assert keys(state) == ["churn V1", "Iris V2.0", "Iris V1.0"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("iris", ["Iris V2.0", "Iris V1.0"]),
        ("v1.0 IRIS", ["Iris V1.0"]),
        ("tells", ["Iris V1.0"]),
        ("ben", ["churn V1"]),
        ("nothing like it", []),
    ],
)
def test_a_search_looks_for_all_its_words(state: PanelState, search: str, found: list[str]) -> None:
    state.load()
    assert keys(state, search) == found


def test_everything_is_loaded_first(state: PanelState, server: Server, seen: Seen) -> None:
    follow(state, server)
    assert seen.parts == [{"services", "sessions", "statistics", "connection"}]
    assert state.is_loaded
    assert server.asked[0] == "GET /events"


def test_an_event_loads_what_it_is_about(state: PanelState, server: Server, seen: Seen) -> None:
    def publish() -> None:
        server.services.append(service_row("New", "V1"))
        server.happened("service")

    follow(state, server, publish)
    assert "New V1" in keys(state)
    assert seen.parts[1:] == [{"services"}]
    assert server.asked.count("GET /sessions") == 1


def test_events_about_other_things_load_nothing(state: PanelState, server: Server) -> None:
    follow(state, server, lambda: server.happened("batch"), lambda: server.happened("snapshot"))
    assert server.asked.count("GET /services") == 1


def test_a_server_that_was_restarted_is_loaded_anew(state: PanelState, server: Server) -> None:
    def restart() -> None:
        server.run, server.events = "run-2", []
        del server.services[0]

    follow(state, server, restart)
    assert keys(state) == ["churn V1", "Iris V2.0"]


def test_statistics_are_asked_for_every_few_seconds(server: Server, seen: Seen) -> None:
    now = 0.0
    state = PanelState(
        lambda: Client("https://fake:1", "token", transport=server), seen, clock=lambda: now
    )

    def later() -> None:
        nonlocal now
        now += 5

    now = 100.0
    follow(state, server, later, later)
    assert server.asked.count("GET /statistics") == 3
    assert seen.parts[1:] == [{"statistics"}, {"statistics"}]


@pytest.mark.timeout(30)
def test_a_server_without_events_is_asked_every_few_seconds(
    state: PanelState, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.events = server.statistics = None
    stop = threading.Event()
    rounds = 0

    def wait(_seconds: float) -> bool:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            stop.set()
        return stop.is_set()

    clocked = threading.Event()
    clocked.wait = wait  # type: ignore[assignment,method-assign]  # time that passes at once
    clocked.is_set = stop.is_set  # type: ignore[method-assign]  # as above
    state.follow(clocked)
    assert server.asked.count("GET /events") == 1
    assert server.asked.count("GET /statistics") == 1
    assert server.asked.count("GET /services") == 3
    assert not state.trouble


def test_a_server_that_is_away_is_trouble_until_it_is_back(
    server: Server, seen: Seen, state: PanelState
) -> None:
    state.load()
    server.is_away = True
    state.load()
    assert "https://fake:1 cannot be reached: connection refused" in state.trouble
    assert "\n" not in state.trouble
    assert keys(state)
    server.is_away = False
    state.load()
    assert state.trouble == ""
    assert [parts for parts in seen.parts if "connection" in parts] == [
        {"services", "sessions", "statistics", "connection"},
        {"connection"},
        {"services", "sessions", "statistics", "connection"},
    ]


def test_after_a_failure_the_client_of_the_moment_is_used(server: Server) -> None:
    made: list[Client] = []

    def connect() -> Client:
        made.append(Client(f"https://fake:{len(made) + 1}", "token", transport=server))
        return made[-1]

    state = PanelState(connect)
    state.load()
    server.is_away = True
    state.load()
    server.is_away = False
    state.load()
    assert [client.url for client in made] == ["https://fake:1", "https://fake:2"]


# --- doing something ---------------------------------------------------------------------------


def test_what_is_deleted_is_gone_at_once(state: PanelState, server: Server, seen: Seen) -> None:
    state.load()
    assert state.delete_service(state.shown_services("v2.0")[0]) == "Deleted Iris V2.0."
    assert keys(state) == ["churn V1", "Iris V1.0"]
    assert server.asked[-1] == "DELETE /services/Iris/V2.0"
    assert seen.parts[-1] == {"services"}


def test_deleting_what_is_gone_is_no_failure(state: PanelState, server: Server) -> None:
    state.load()
    service = state.shown_services("churn")[0]
    assert state.delete_service(service) == "Deleted churn V1."
