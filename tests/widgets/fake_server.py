"""A server at the transport seam, from lists that a test changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyter_mlsvc.client.transport import ApiRequest, ApiResponse
from jupyter_mlsvc.errors import ConnectionFailed
from tests.client.fake import answer, problem

USER = {"name": "maria", "role": "owner", "serverVersion": "1", "publicUrl": "https://public"}


def service_row(name: str, version: str, **members: Any) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "versionPublishedBy": "maria",
        "creationTime": "2024-05-01T10:00:00",
        "snapshotId": None,
        "runtimeType": "Python",
        "description": "",
        "operationId": None,
        "inputParameterDefinitions": [],
        "outputParameterDefinitions": [],
        "outputFileNames": [],
        "myPermissionOnService": "read/write",
        **members,
    }


def statistics_row(name: str, version: str, **members: Any) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "state": "ready",
        "message": "",
        "workers": 1,
        "waiting": 0,
        "calls": 0,
        "errors": 0,
        "callsPerMinute": 0,
        "p50Milliseconds": None,
        "p99Milliseconds": None,
        "lastCall": None,
        **members,
    }


class Server:
    """Answers as a server would, from lists that a test changes; remembers what it was asked."""

    def __init__(self) -> None:
        self.services = [
            service_row("Iris", "V1.0", description="Tells irises"),
            service_row("Iris", "V2.0"),
            service_row("churn", "V1", myPermissionOnService="read only", versionPublishedBy="ben"),
        ]
        self.sessions = [
            {"id": "s1", "name": "test", "owner": "maria", "runtimeType": "Python", "state": "idle"}
        ]
        self.statistics: list[dict[str, Any]] | None = [
            statistics_row("Iris", "V1.0", calls=1200, callsPerMinute=12)
        ]
        self.events: list[dict[str, Any]] | None = []
        self.run = "run-1"
        self.asked: list[str] = []
        self.is_away = False
        self.on_wait: Callable[[], object] = lambda: None
        self.answers: dict[tuple[str, str], Callable[[ApiRequest], ApiResponse]] = {}

    def send(self, request: ApiRequest) -> ApiResponse:
        self.asked.append(f"{request.method} {request.path}")
        if self.is_away:
            raise ConnectionFailed("https://fake:1", "connection refused")
        if (prepared := self.answers.get((request.method, request.path))) is not None:
            return prepared(request)
        match request.method, request.path:
            case "GET", "/user":
                return answer(USER)
            case "GET", "/services":
                return answer(self.services)
            case "GET", "/sessions":
                return answer(self.sessions)
            case "GET", "/statistics" if self.statistics is not None:
                return answer(self.statistics)
            case "GET", "/events" if self.events is not None:
                return answer(self._listing(request))
            case "DELETE", path if path.startswith("/services/Iris/"):
                return answer("Deleted.")
        return problem(404, "There is no such thing.")

    def _listing(self, request: ApiRequest) -> dict[str, Any]:
        assert self.events is not None
        after = request.query.get("after")
        if after is not None:
            self.on_wait()
        is_reset = after is not None and request.query["run"] != self.run
        events = [] if after is None or is_reset else self.events[int(after) :]
        last = len(self.events)
        return {"run": self.run, "last": last, "events": events, "isReset": is_reset}

    def happened(self, kind: str) -> None:
        assert self.events is not None
        number = len(self.events) + 1
        event = {"number": number, "kind": kind, "action": "changed", "id": "", "name": ""}
        self.events.append({**event, "version": ""})
