"""What generated calls need to get past the first check: things that exist, and sensible values."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import cloudpickle
import requests
from sklearn.linear_model import LinearRegression

from jupyter_mlsvc import serialize_model
from tests.contract.doors import Door
from tests.fuzz.calls import WHOLE_BODY

Members = dict[str, list[Any]]

CODES = ["y = a", "y = 1 / 0", "open('made.txt', 'w').write('1')", "y = float('nan')", "y = (", ""]
INPUTS = [[{"name": "a", "type": "integer"}], [{"name": "a", "type": "data.frame"}], []]
OUTPUTS = [[{"name": "y", "type": "numeric"}], [{"name": "y", "type": "string"}], []]

PUBLISH: Members = {
    "code": CODES,
    "initCode": ["import math", "1 / 0"],
    "inputParameterDefinitions": INPUTS,
    "outputParameterDefinitions": OUTPUTS,
    "outputFileNames": [["made.txt"], []],
    "runtimeType": ["Python", None],
    "operationId": ["run", None],
}
RUN: Members = {
    "code": CODES,
    "inputParameters": [[{"name": "a", "value": [1, None, "é"]}], []],
    "outputParameters": [["y", "a"], ["missing"], []],
}

_RUNS = {"executeCode", "startExecution"}
_PUBLISHES = {"publishWebService", "publishWebServiceVersion", "patchWebServiceVersion"}
_TAKES_AWAY = {
    *("closeSession", "closeSessionByForce", "DeleteSnapshot", "deleteWebServiceVersion"),
    *("patchWebServiceVersion", "patchRealtimeWebServiceByNameVersion"),
    *("CancelAndDeleteBatchExecution", "revokeServiceKey"),
}
_MADE_BY = {
    "id": "session",
    "snapshotId": "snapshot",
    "executionId": "execution",
    "keyName": "key",
    "callId": "call",
}


class World:
    """Things that a server has; one that a call took away is made again when it is needed.

    Parameters
    ----------
    door
        Where, and as whom.
    password
        The password of ``admin``.
    """

    def __init__(self, door: Door, password: str) -> None:
        self._door = door
        self._password = password
        self._things: dict[str, str] = {}
        self._special: dict[str, Callable[[], Members]] = {
            "login": lambda: {"username": ["admin"], "password": [password]},
            "renewToken": self._token_members,
            "revokeRefreshToken": self._token_members,
            "createSession": self._session_members,
            "setWorkspaceObject": lambda: {WHOLE_BODY: [cloudpickle.dumps({"a": 1}), b"no pickle"]},
            "createOrUpdateServicePool": lambda: {
                "InitialPoolSize": [0, 1],
                "MaxPoolSize": [1, 2],
            },
            "setComputeNodes": self._node_members,
            "addComputeNode": self._node_members,
            "removeComputeNode": self._no_nodes,
            "UploadSnapshot": lambda: {"file": [self._archive(), _empty_zip()]},
        }
        self.model = serialize_model(LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0]))

    # --- what calls may name -----------------------------------------------------------------

    def path(self, template: str, operation_id: str) -> dict[str, str]:
        """Values for the parameters of a path, of things that are there (or free, to publish)."""
        names = {
            "name": self._thing("realtime" if "realtime" in template else "service"),
            "version": "2.0" if operation_id.startswith("publish") else "1.0",
            "fileName": "a.txt",
            "objectName": "x",
            "index": "0",
        }
        for name, kind in _MADE_BY.items():
            if f"{{{name}}}" in template:
                is_snapshot = template.startswith("/snapshots/")
                is_batch = template.startswith("/api/")
                names[name] = self._thing(
                    "snapshot" if is_snapshot else "batch" if is_batch else kind
                )
        return {name: value for name, value in names.items() if f"{{{name}}}" in template}

    def members(self, operation_id: str) -> Members:
        """Values for the members of a body that reach further than any that are made up."""
        if operation_id in _PUBLISHES:
            return PUBLISH | {"snapshotId": [None, self._thing("snapshot")]}
        if operation_id in _RUNS:
            return RUN
        if "Realtime" in operation_id:
            return {"model": [self.model, b"blob"], "operationId": ["predict"]}
        special = self._special.get(operation_id)
        return {} if special is None else special()

    def _token_members(self) -> Members:
        return {"refreshToken": [self._refresh_token()]}

    def _no_nodes(self) -> Members:
        # The only node can't be removed, so what succeeds names none.
        return {WHOLE_BODY: [{}, {"entries": []}]}

    def _node_members(self) -> Members:
        nodes = self._door.get("/computenodes").json()["computeNodes"]
        return {"entries": [nodes, ["http://localhost:1"], None]}

    def _session_members(self) -> Members:
        return {"runtimeType": ["Python"], "snapshotId": [None, self._thing("snapshot")]}

    # --- after a call ------------------------------------------------------------------------

    def settle(self, operation_id: str, path: dict[str, str], answer: requests.Response) -> None:
        """Clear away what a call made, and forget what it took away."""
        if operation_id == "createSession" and answer.status_code == 201:
            self._door.delete(f"/sessions/{answer.json()['sessionId']}/force")
        elif operation_id in {"CreateSnapshot", "UploadSnapshot"} and answer.status_code == 201:
            self._door.delete(f"/snapshots/{answer.json()['snapshotId']}")
        elif operation_id == "createServiceKey" and answer.status_code == 201:
            self._door.delete(f"/keys/{answer.json()['serviceKey']['name']}")
        elif operation_id.startswith("publish") and answer.status_code == 201:
            self._delete_versions(path["name"])
        elif operation_id in _TAKES_AWAY and answer.ok:
            taken = {path.get(name) for name in ("id", "name", "executionId", "keyName")}
            self._things = {
                kind: thing for kind, thing in self._things.items() if thing not in taken
            }

    def _delete_versions(self, name: str) -> None:
        kept = {self._things.get("service"), self._things.get("realtime")}
        for service in self._door.get("/services").json():
            if service["name"] == name and not (name in kept and service["version"] == "1.0"):
                self._door.delete(f"/services/{service['name']}/{service['version']}")

    # --- making things -----------------------------------------------------------------------

    def _thing(self, kind: str) -> str:
        if kind not in self._things:
            makers: dict[str, Callable[[], str]] = {
                "session": self._session,
                "snapshot": self._snapshot,
                "execution": self._execution,
                "service": self._service,
                "realtime": self._realtime,
                "batch": self._batch,
                "key": self._key,
                "call": self._call,
            }
            self._things[kind] = makers[kind]()
        return self._things[kind]

    def _session(self) -> str:
        self._things.pop("execution", None)
        session: str = self._made("/sessions", json={})["sessionId"]
        code = "x = 1\nopen('a.txt', 'w').write('a')"
        assert self._door.post(f"/sessions/{session}/execute", json={"code": code}).ok
        return session

    def _snapshot(self) -> str:
        path = f"/sessions/{self._thing('session')}/snapshot"
        snapshot: str = self._made(path, json={})["snapshotId"]
        return snapshot

    def _execution(self) -> str:
        path = f"/sessions/{self._thing('session')}/executions"
        execution: str = self._made(path, json={"code": "print(1)"})["executionId"]
        return execution

    def _service(self) -> str:
        self._things.pop("call", None)
        self._door.delete("/services/known/1.0")
        body = {
            "code": "y = a\nopen('made.txt', 'w').write(str(a))",
            "inputParameterDefinitions": INPUTS[0],
            "outputParameterDefinitions": [{"name": "y", "type": "integer"}],
            "outputFileNames": ["made.txt"],
        }
        self._made("/services/known/1.0", json=body)
        return "known"

    def _realtime(self) -> str:
        self._door.delete("/services/model/1.0")
        self._made("/realtime-services/model/1.0", files={"model": ("model", self.model)})
        return "model"

    def _batch(self) -> str:
        path = f"/api/{self._thing('service')}/1.0/batch"
        batch: str = self._made(path, json=[{"a": 1}, {"a": "wrong"}])["batchExecutionId"]
        return batch

    def _call(self) -> str:
        service = f"{self._thing('service')}/1.0"
        self._door.post(f"/api/{service}", json={"a": 1})
        return str(self._door.get(f"/services/{service}/calls?limit=1").json()[0]["id"])

    def _key(self) -> str:
        made = self._made("/keys", json={"services": None})["serviceKey"]
        return str(made["name"])

    def _archive(self) -> bytes:
        return self._door.get(f"/snapshots/{self._thing('snapshot')}").content

    def _refresh_token(self) -> str:
        body = {"username": "admin", "password": self._password}
        token: str = self._made("/login", json=body)["refresh_token"]
        return token

    def _made(self, path: str, **kwargs: Any) -> Any:
        answer = self._door.post(path, **kwargs)
        assert answer.ok, answer.text
        return answer.json()


def _empty_zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w"):
        pass
    return content.getvalue()
