"""Every status that an operation lists is one that it answers, at both doors.

The rows are compared with Microsoft's document and with ours: an operation or a status without a
row fails.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import cloudpickle
import pytest
import requests
from sklearn.linear_model import LinearRegression
from tornado.httpclient import AsyncHTTPClient

from jupyter_mlsvc import serialize_model
from jupyter_mlsvc.wire.operations import OPERATIONS
from jupyter_mlsvc_server.api.lifecycle import Lifecycle
from jupyter_mlsvc_server.api.status import StatusRoutes
from tests.contract.doors import Door
from tests.reference import ABSENT, SWAGGER
from tests.serving import served, tokens_of

pytestmark = pytest.mark.kernel

OPERATION = {operation.id: operation for operation in OPERATIONS}
NOBODY = str(uuid.UUID(int=0))
MODEL = serialize_model(LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0]))
CODE = {"code": "y = 1", "outputParameterDefinitions": [{"name": "y", "type": "integer"}]}

NEVER = {
    ("publishWebService", 409): "the server makes up the version, so that it is free",
    ("publishRealtimeWebServiceByName", 409): "the server makes up the version here as well",
    ("GetWebServiceSwagger", 400): "a name that can't be published is simply not there: 404",
    ("deleteServicePool", 400): "the call has no body that could be wrong",
}
"""Statuses that the original lists and this server has no use for."""


class Stage:
    """Somebody at a door, and things for their calls; what is not asked for is not made.

    Parameters
    ----------
    door, password
        As ``admin``, an owner.
    token_of
        Gives the tokens of others.
    """

    def __init__(self, door: Door, password: str, token_of: Callable[[str], str]) -> None:
        self.door = door
        self.password = password
        self.nobody = door.with_token(None)
        self.reader = door.with_token(token_of("rita"))
        self._session: str | None = None
        self._ended: str | None = None
        self.made: list[str] = []

    @property
    def session(self) -> str:
        """The path of a session with the object ``x`` and the file ``a.txt``."""
        if self._session is None:
            self._session = self.new_session()
            code = {"code": "x = 1\nopen('a.txt', 'w').close()"}
            assert self.door.post(f"{self._session}/execute", json=code).json()["success"]
        return self._session

    @property
    def ended(self) -> str:
        """The path of a session that was closed."""
        if self._ended is None:
            self._ended = self.new_session()
            assert self.door.delete(self._ended).ok
        return self._ended

    def new_session(self) -> str:
        """The path of a fresh session."""
        answer = self.door.post("/sessions", json={})
        assert answer.status_code == 201, answer.text
        path = f"/sessions/{answer.json()['sessionId']}"
        self.made.append(path)
        return path

    def snapshot(self) -> str:
        """The id of a fresh snapshot."""
        answer = self.door.post(f"{self.session}/snapshot", json={})
        identifier: str = answer.json()["snapshotId"]
        self.made.append(f"/snapshots/{identifier}")
        return identifier

    def free(self) -> str:
        """Name and version of a service that is not there yet."""
        name = f"status-{uuid.uuid4().hex[:8]}/1.0"
        self.made.append(f"/services/{name}")
        return name

    def service(self) -> str:
        """Name and version of a fresh service."""
        name = self.free()
        assert self.door.post(f"/services/{name}", json=CODE).status_code == 201
        return name

    def call(self) -> str:
        """The path of a call of a fresh service."""
        service = self.service()
        self.door.post(f"/api/{service}", json={})
        (call,) = self.door.get(f"/services/{service}/calls").json()
        return f"/services/{service}/calls/{call['id']}"

    def realtime(self) -> str:
        """Name and version of a fresh realtime service."""
        name = self.free()
        assert send_model(self.door, name).status_code == 201
        return name

    def tokens(self) -> dict[str, Any]:
        """A fresh pair of tokens."""
        pair: dict[str, Any] = sign_in(self).json()
        return pair


Case = Callable[[Stage], requests.Response]


@pytest.fixture(scope="module")
def stage(door: Door, people: Callable[[str], str], mlsvc_server: Any) -> Iterator[Stage]:
    stage = Stage(door, mlsvc_server.admin_password, people)
    yield stage
    for path in reversed(stage.made):
        door.delete(path)


def sign_in(stage: Stage, **changes: Any) -> requests.Response:
    body = {"username": "admin", "password": stage.password} | changes
    return stage.nobody.post("/login", json=body)


def guess_often(stage: Stage) -> requests.Response:
    name = uuid.uuid4().hex
    for _ in range(30):
        answer = sign_in(stage, username=name, password="wrong")
        if answer.status_code != 401:
            break
    return answer


def send_model(
    door: Door, path: str, model: bytes | None = MODEL, method: str = "POST", **fields: str
) -> requests.Response:
    files = {} if model is None else {"model": ("model", model)}
    form = {name: (None, value) for name, value in ({"description": ""} | fields).items()}
    return door.call(method, f"/realtime-services/{path}", files={**form, **files})


def send_file(door: Door, path: str, name: str = "b.txt") -> requests.Response:
    return door.post(f"{path}/files", files={"file": (name, b"1")})


def send_archive(stage: Stage) -> requests.Response:
    archive = stage.door.get(f"/snapshots/{stage.snapshot()}").content
    answer = stage.door.post("/snapshots", files={"file": ("a.zip", archive)})
    stage.made.append(f"/snapshots/{answer.json()['snapshotId']}")
    return answer


def announce(door: Door, path: str) -> requests.Response:
    """Announce a body that is too large, without sending it."""
    request = requests.Request(
        "POST", door.url + path, headers={"Authorization": f"Bearer {door.token}"}
    ).prepare()
    request.headers["Content-Length"] = str(10**12)
    with requests.Session() as session:
        return session.send(request, timeout=30)


def run(stage: Stage) -> str:
    """The path of an execution that is over."""
    started = stage.door.post(f"{stage.session}/executions", json={"code": "1"}).json()
    path = f"{stage.session}/executions/{started['executionId']}"
    assert stage.door.get(f"{path}/events").ok
    return path


def nodes(stage: Stage) -> list[str]:
    listed: list[str] = stage.door.get("/computenodes").json()["computeNodes"]
    return listed


def without_token(identifier: str) -> Case:
    """Call an operation as nobody."""
    operation = OPERATION[identifier]
    path = re.sub(r"\{\w+\}", "1", operation.path)
    return lambda stage: stage.nobody.call(operation.method.upper(), path, json={})


def create_key(stage: Stage, **options: Any) -> requests.Response:
    answer = stage.door.post("/keys", json={"services": [stage.service()]} | options)
    if answer.ok:
        stage.made.append(f"/keys/{answer.json()['serviceKey']['name']}")
    return answer


def key_of(stage: Stage) -> str:
    """The name of a fresh key."""
    name: str = create_key(stage).json()["serviceKey"]["name"]
    return name


def of_nobody(identifier: str) -> Case:
    """Call an operation on what is not there."""
    operation = OPERATION[identifier]
    path = operation.path.replace("{objectName}", "x").replace("{fileName}", "a.txt")
    path = re.sub(r"\{\w+\}", NOBODY, path)
    if any(parameter.kind == "file" for parameter in operation.parameters):
        return lambda stage: stage.door.call(
            operation.method.upper(), path, files={"file": ("a", b""), "model": ("a", MODEL)}
        )
    body = json.dumps(CODE) if operation.body is not bytes else cloudpickle.dumps(1)
    return lambda stage: stage.door.call(operation.method.upper(), path, data=body)


def publish_without_version(stage: Stage, *, realtime: bool = False) -> requests.Response:
    name = f"status-{uuid.uuid4().hex[:8]}"
    answer = (
        send_model(stage.door, name)
        if realtime
        else stage.door.post(f"/services/{name}", json=CODE)
    )
    (service,) = stage.door.get(f"/services/{name}").json()
    stage.made.append(f"/services/{name}/{service['version']}")
    return answer


def create_session(stage: Stage) -> requests.Response:
    answer = stage.door.post("/sessions", json={"name": "status"})
    stage.made.append(f"/sessions/{answer.json()['sessionId']}")
    return answer


def delete_a_file(stage: Stage) -> requests.Response:
    assert send_file(stage.door, stage.session, "c.txt").ok
    return stage.door.delete(f"{stage.session}/files/c.txt")


def delete_an_object(stage: Stage) -> requests.Response:
    stage.door.post(f"{stage.session}/workspace/z", data=cloudpickle.dumps(1))
    return stage.door.delete(f"{stage.session}/workspace/z")


def create_snapshot(stage: Stage) -> requests.Response:
    answer = stage.door.post(f"{stage.session}/snapshot", json={"name": None})
    stage.made.append(f"/snapshots/{answer.json()['snapshotId']}")
    return answer


def load_over_a_folder(stage: Stage) -> requests.Response:
    snapshot, session = stage.snapshot(), stage.new_session()
    code = {"code": "import os; os.mkdir('a.txt')"}
    assert stage.door.post(f"{session}/execute", json=code).json()["success"]
    return stage.door.post(f"{session}/loadsnapshot/{snapshot}")


def compute_node_rows(identifier: str, verb: str) -> dict[tuple[str, int], Case]:
    def send(door: Door, entries: list[str]) -> requests.Response:
        return door.call(verb, "/computenodes", json={"entries": entries})

    return {
        (identifier, 200): lambda s: send(s.door, [] if verb == "DELETE" else nodes(s)),
        (identifier, 400): lambda s: send(s.door, ["http://elsewhere:1"]),
        (identifier, 403): lambda s: send(s.reader, []),
    }


ROWS: dict[tuple[str, int], Case] = {
    ("login", 200): sign_in,
    ("login", 400): lambda s: s.nobody.post("/login", json={"username": "admin"}),
    ("login", 401): lambda s: sign_in(s, password="wrong"),
    ("login", 429): guess_often,
    ("renewToken", 200): lambda s: s.nobody.post(
        "/login/refreshToken", json={"refreshToken": s.tokens()["refresh_token"]}
    ),
    ("renewToken", 400): lambda s: s.nobody.post("/login/refreshToken", json={}),
    ("renewToken", 401): lambda s: s.nobody.post(
        "/login/refreshToken", json={"refreshToken": "wrong"}
    ),
    ("revokeRefreshToken", 200): lambda s: s.nobody.delete(
        f"/login/refreshToken?refreshToken={s.tokens()['refresh_token']}"
    ),
    ("revokeRefreshToken", 400): lambda s: s.nobody.delete("/login/refreshToken"),
    ("revokeRefreshToken", 401): lambda s: s.nobody.delete(
        "/login/refreshToken?refreshToken=wrong"
    ),
    # --- services
    ("getAllWebServices", 200): lambda s: s.door.get("/services"),
    ("getAllWebServiceVersionsByName", 200): lambda s: s.door.get("/services/nothing"),
    ("getWebServiceVersion", 200): lambda s: s.door.get(f"/services/{s.service()}"),
    ("publishWebService", 201): publish_without_version,
    ("publishWebService", 400): lambda s: s.door.post("/services/status", json={}),
    ("publishWebService", 403): lambda s: s.reader.post("/services/status", json=CODE),
    ("publishWebService", 404): lambda s: s.door.post(
        "/services/status", json=CODE | {"snapshotId": NOBODY}
    ),
    ("publishWebServiceVersion", 201): lambda s: s.door.post(f"/services/{s.free()}", json=CODE),
    ("publishWebServiceVersion", 400): lambda s: s.door.post("/services/%20/1", json=CODE),
    ("publishWebServiceVersion", 403): lambda s: s.reader.post("/services/status/1", json=CODE),
    ("publishWebServiceVersion", 404): lambda s: s.door.post(
        "/services/status/1", json=CODE | {"snapshotId": NOBODY}
    ),
    ("publishWebServiceVersion", 409): lambda s: s.door.post(f"/services/{s.service()}", json=CODE),
    ("patchWebServiceVersion", 200): lambda s: s.door.patch(f"/services/{s.service()}", json={}),
    ("patchWebServiceVersion", 400): lambda s: s.door.patch(
        f"/services/{s.service()}", json={"code": "("}
    ),
    ("patchWebServiceVersion", 403): lambda s: s.reader.patch(f"/services/{s.service()}", json={}),
    ("deleteWebServiceVersion", 200): lambda s: s.door.delete(f"/services/{s.service()}"),
    ("deleteWebServiceVersion", 403): lambda s: s.reader.delete(f"/services/{s.service()}"),
    ("createOrUpdateServicePool", 200): lambda s: s.door.post(
        f"/services/{s.service()}/pool", json={"InitialPoolSize": 0}
    ),
    ("createOrUpdateServicePool", 400): lambda s: s.door.post(
        f"/services/{s.service()}/pool", json={"InitialPoolSize": -1}
    ),
    ("createOrUpdateServicePool", 403): lambda s: s.reader.post(
        f"/services/{s.service()}/pool", json={}
    ),
    ("deleteServicePool", 200): lambda s: s.door.delete(f"/services/{s.service()}/pool"),
    ("deleteServicePool", 403): lambda s: s.reader.delete(f"/services/{s.service()}/pool"),
    ("getServicePoolStatus", 200): lambda s: s.door.get(f"/services/{s.service()}/pool"),
    ("publishRealtimeWebServiceByName", 201): lambda s: publish_without_version(s, realtime=True),
    ("publishRealtimeWebServiceByName", 400): lambda s: send_model(s.door, "status", None),
    ("publishRealtimeWebServiceByName", 403): lambda s: send_model(s.reader, "status"),
    ("publishRealtimeWebServiceByNameVersion", 201): lambda s: send_model(s.door, s.free()),
    ("publishRealtimeWebServiceByNameVersion", 400): lambda s: send_model(s.door, "s/1", b"blob"),
    ("publishRealtimeWebServiceByNameVersion", 403): lambda s: send_model(s.reader, "s/1"),
    ("publishRealtimeWebServiceByNameVersion", 409): lambda s: send_model(s.door, s.service()),
    ("patchRealtimeWebServiceByNameVersion", 200): lambda s: send_model(
        s.door, s.realtime(), None, "PATCH", description="new"
    ),
    ("patchRealtimeWebServiceByNameVersion", 400): lambda s: send_model(
        s.door, s.service(), MODEL, "PATCH"
    ),
    ("patchRealtimeWebServiceByNameVersion", 403): lambda s: send_model(
        s.reader, s.realtime(), MODEL, "PATCH"
    ),
    ("GetWebServiceSwagger", 200): lambda s: s.door.get(f"/api/{s.service()}/swagger.json"),
    ("GetWebServiceOpenApi", 200): lambda s: s.door.get(f"/api/{s.service()}/openapi.json"),
    ("getStatistics", 200): lambda s: s.door.get("/statistics"),
    ("getServiceStatistics", 200): lambda s: s.door.get(f"/services/{s.service()}/statistics"),
    ("getServiceStatistics", 400): lambda s: s.door.get(
        f"/services/{s.service()}/statistics?period=no"
    ),
    ("getServiceLogs", 200): lambda s: s.door.get(f"/services/{s.service()}/logs"),
    ("getServiceLogs", 400): lambda s: s.door.get(f"/services/{s.service()}/logs?limit=no"),
    ("getServiceLogs", 403): lambda s: s.reader.get(f"/services/{s.service()}/logs"),
    ("getServiceContents", 200): lambda s: s.door.get(f"/services/{s.service()}/contents"),
    ("getServiceContents", 403): lambda s: s.reader.get(f"/services/{s.service()}/contents"),
    ("getServiceCalls", 200): lambda s: s.door.get(f"/services/{s.service()}/calls"),
    ("getServiceCalls", 400): lambda s: s.door.get(f"/services/{s.service()}/calls?errors=no"),
    ("getServiceCalls", 403): lambda s: s.reader.get(f"/services/{s.service()}/calls"),
    ("getServiceCall", 200): lambda s: s.door.get(s.call()),
    ("getServiceCall", 403): lambda s: s.reader.get(s.call()),
    ("getServiceCall", 404): lambda s: s.door.get(f"/services/{s.service()}/calls/none"),
    # --- sessions
    ("createSession", 201): create_session,
    ("createSession", 400): lambda s: s.door.post("/sessions", json={"runtimeType": "Cobol"}),
    ("createSession", 404): lambda s: s.door.post("/sessions", json={"snapshotId": NOBODY}),
    ("listSessions", 200): lambda s: s.door.get("/sessions"),
    ("closeSession", 200): lambda s: s.door.delete(s.new_session()),
    ("closeSessionByForce", 200): lambda s: s.door.delete(f"{s.new_session()}/force"),
    ("renewSession", 200): lambda s: s.door.post(f"{s.session}/renew"),
    ("executeCode", 200): lambda s: s.door.post(f"{s.session}/execute", json={"code": "1 / 0"}),
    ("executeCode", 400): lambda s: s.door.post(f"{s.session}/execute", json={"code": 1}),
    ("startExecution", 202): lambda s: s.door.post(f"{s.session}/executions", json={"code": "1"}),
    ("startExecution", 400): lambda s: s.door.post(f"{s.session}/executions", json=[]),
    ("followExecution", 200): lambda s: s.door.get(f"{run(s)}/events"),
    ("followExecution", 400): lambda s: s.door.get(f"{run(s)}/events?since=first"),
    ("cancelSession", 200): lambda s: s.door.post(f"{s.session}/cancel"),
    ("getSessionConsoleOutput", 200): lambda s: s.door.get(f"{s.session}/console-output"),
    ("listSessionHistory", 200): lambda s: s.door.get(f"{s.session}/history"),
    ("uploadSessionFile", 201): lambda s: send_file(s.door, s.session),
    ("uploadSessionFile", 400): lambda s: s.door.post(f"{s.session}/files", data=b"1"),
    ("listSessionFiles", 200): lambda s: s.door.get(f"{s.session}/files"),
    ("getSessionFile", 200): lambda s: s.door.get(f"{s.session}/files/a.txt"),
    ("getSessionFile", 400): lambda s: s.door.get(f"{s.session}/files/%2E%2E%2Fa"),
    ("deleteSessionFile", 200): delete_a_file,
    ("deleteSessionFile", 400): lambda s: s.door.delete(f"{s.session}/files/%2E%2E%2Fa"),
    ("listWorkspaceObjects", 200): lambda s: s.door.get(f"{s.session}/workspace"),
    ("listWorkspaceObjects", 410): lambda s: s.door.get(f"{s.ended}/workspace"),
    ("listExecutions", 200): lambda s: s.door.get(f"{s.session}/executions"),
    ("getSessionInventory", 400): lambda s: s.door.get(f"{s.session}/inventory?view=other"),
    ("getSessionInventory", 200): lambda s: s.door.get(f"{s.session}/inventory"),
    ("setWorkspaceObject", 200): lambda s: s.door.post(
        f"{s.session}/workspace/y", data=cloudpickle.dumps(1)
    ),
    ("setWorkspaceObject", 400): lambda s: s.door.post(f"{s.session}/workspace/y", data=b"1"),
    ("getWorkspaceObject", 200): lambda s: s.door.get(f"{s.session}/workspace/x"),
    ("getWorkspaceObject", 400): lambda s: s.door.get(f"{s.session}/workspace/1"),
    ("deleteWorkspaceObject", 200): delete_an_object,
    ("deleteWorkspaceObject", 400): lambda s: s.door.delete(f"{s.session}/workspace/1"),
    # --- snapshots
    ("CreateSnapshot", 201): create_snapshot,
    ("CreateSnapshot", 400): lambda s: s.door.post(f"{s.session}/snapshot", json={"name": 1}),
    ("LoadSnapshot", 200): lambda s: s.door.post(f"{s.session}/loadsnapshot/{s.snapshot()}"),
    ("LoadSnapshot", 400): load_over_a_folder,
    ("ListSnapshots", 200): lambda s: s.door.get("/snapshots"),
    ("UploadSnapshot", 201): send_archive,
    ("UploadSnapshot", 400): lambda s: s.door.post("/snapshots", files={"file": ("a", b"no")}),
    ("UploadSnapshot", 413): lambda s: announce(s.door, "/snapshots"),
    ("GetSnapshotContent", 200): lambda s: s.door.get(f"/snapshots/{s.snapshot()}"),
    ("getSnapshotContents", 200): lambda s: s.door.get(f"/snapshots/{s.snapshot()}/contents"),
    ("DeleteSnapshot", 200): lambda s: s.door.delete(f"/snapshots/{s.snapshot()}"),
    # --- service keys
    ("createServiceKey", 201): create_key,
    ("createServiceKey", 400): lambda s: create_key(s, rate="often"),
    ("createServiceKey", 403): lambda s: s.reader.post("/keys", json={}),
    ("createServiceKey", 404): lambda s: create_key(s, services=["nobody"]),
    ("createServiceKey", 409): lambda s: create_key(s, name=key_of(s)),
    ("listServiceKeys", 200): lambda s: s.door.get("/keys"),
    ("listServiceKeys", 403): lambda s: s.reader.get("/keys"),
    ("revokeServiceKey", 200): lambda s: s.door.delete(f"/keys/{key_of(s)}"),
    ("revokeServiceKey", 403): lambda s: s.reader.delete("/keys/x"),
    # --- status and compute nodes
    ("getUser", 200): lambda s: s.door.get("/user"),
    ("listEvents", 200): lambda s: s.door.get("/events?wait=0"),
    ("listEvents", 400): lambda s: s.door.get("/events?wait=long"),
    ("status", 200): lambda s: s.door.get("/status"),
    ("getMetrics", 200): lambda s: s.door.get("/metrics"),
    ("getMetrics", 403): lambda s: s.reader.get("/metrics"),
    ("getComputeNodes", 200): lambda s: s.door.get("/computenodes"),
}
ROWS |= {
    row: case
    for identifier, verb in (
        ("setComputeNodes", "POST"),
        ("addComputeNode", "PUT"),
        ("removeComputeNode", "DELETE"),
    )
    for row, case in compute_node_rows(identifier, verb).items()
}
for _operation in OPERATIONS:
    if not _operation.public:
        ROWS.setdefault((_operation.id, 401), without_token(_operation.id))
    if 404 in _operation.errors:
        ROWS.setdefault((_operation.id, 404), of_nobody(_operation.id))


@pytest.mark.parametrize(
    ("operation", "status"), ROWS, ids=[f"{name} {status}" for name, status in ROWS]
)
def test_an_operation_answers_each_of_its_statuses(
    stage: Stage, operation: str, status: int
) -> None:
    answer = ROWS[operation, status](stage)
    assert answer.status_code == status, answer.text
    # The body is looked at wherever an answer comes in.
    described = OPERATION[operation]
    path = re.sub(r"\{\w+\}", "[^/]+", described.path)
    assert answer.request.method == described.method.upper()
    assert re.search(f"{path}$", str(answer.request.url).partition("?")[0])


async def test_failing_status_is_500() -> None:
    async def nobody_knows() -> None:
        raise OSError("the disk is gone")

    routes = StatusRoutes(
        status=cast("Any", SimpleNamespace(report=nobody_knows)), lifecycle=Lifecycle()
    )
    async with served(routes.table(), tokens=tokens_of("admin")) as port:
        answer = await AsyncHTTPClient(force_instance=True).fetch(
            f"http://127.0.0.1:{port}/status",
            headers={"Authorization": "Bearer token"},
            raise_error=False,
        )
    assert answer.code == 500
    assert "disk" not in answer.body.decode()


PROVED_HERE = {("status", 500)}
"""Rows that are tests of their own, above."""
UNDER_LOAD = {
    *(("listEvents", 429), ("listEvents", 503), ("listExecutions", 503)),
    ("createServiceKey", 429),
}
"""What is answered where there are too many; tests of events, sessions and keys do that."""


def test_every_status_of_our_document_has_a_row() -> None:
    listed = {
        (operation.id, status)
        for operation in OPERATIONS
        for status in (operation.status, *operation.errors)
    }
    assert listed - set(ROWS) <= PROVED_HERE | UNDER_LOAD | set(NEVER)
    assert set(ROWS) <= listed


def test_every_status_of_microsofts_document_has_a_row() -> None:
    if not SWAGGER.exists():
        pytest.skip(ABSENT)
    original = json.loads(SWAGGER.read_text(encoding="utf-8"))
    listed = {
        (operation["operationId"], status)
        for methods in original["paths"].values()
        for operation in methods.values()
        for status in _statuses(operation["responses"])
    }
    assert listed - set(ROWS) == PROVED_HERE | set(NEVER)


def _statuses(responses: dict[str, Any]) -> set[int]:
    """Those that have an entry, and those that the text of the ``default`` one names."""
    own = {int(status) for status in responses if status.isdigit()}
    text = responses.get("default", {}).get("description", "")
    return own | {int(status) for status in re.findall(r"`(\d{3})`", text)}
