"""Made-up calls to services, from the document that each has of its own."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests
from sklearn.linear_model import LinearRegression

from jupyter_mlsvc import serialize_model
from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, sign_in
from tests.fuzz.calls import WHOLE_BODY, Fuzzer
from tests.fuzz.conftest import EFFORT, PASSWORD

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(EFFORT.timeout)]

TYPES = ["logical", "numeric", "integer", "character", "vector", "matrix", "data.frame", "string"]

MODEL = serialize_model(LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0]))


def every_type() -> dict[str, Any]:
    """A service that gives back what it gets, of every type."""
    return {
        "code": "\n".join(f"y{i} = x{i}" for i in range(len(TYPES))),
        "inputParameterDefinitions": [{"name": f"x{i}", "type": t} for i, t in enumerate(TYPES)],
        "outputParameterDefinitions": [{"name": f"y{i}", "type": t} for i, t in enumerate(TYPES)],
    }


SERVICES: dict[str, dict[str, Any]] = {
    "every type": every_type(),
    **{
        f"one {kind}": {
            "code": "y = x",
            "inputParameterDefinitions": [{"name": "x", "type": kind}],
            "outputParameterDefinitions": [{"name": "y", "type": kind}],
        }
        for kind in TYPES
    },
    "files": {
        "code": "open('made.txt', 'w').write('1')\nprint('made')",
        "outputFileNames": ["made.txt", "not made.txt"],
    },
    "failing": {
        "code": "y = 1 / 0",
        "outputParameterDefinitions": [{"name": "y", "type": "numeric"}],
        "operationId": "login",
    },
    "realtime": {},
}


WITH_BATCHES = {"every type", "files"}
RECORDS: dict[str, dict[str, Any]] = {
    "one matrix": {"x": [[1, 2.5], [None, 4]]},
    "one data.frame": {"x": {"a": [1, None], "b": ["c", "d"]}},
    "realtime": {"inputData": {"a": [1.0, 2.0]}},
}


class Records:
    """Sensible values for the calls of one service.

    Parameters
    ----------
    door, path
        Where the service is.
    record
        A body that fits.
    """

    def __init__(self, door: Door, path: str, record: dict[str, Any]) -> None:
        self._door = door
        self._path = path
        self._record = record
        self._batch: str | None = None

    def path(self, template: str, operation_id: str) -> dict[str, str]:
        """Values for the parameters of a path."""
        if "{executionId}" not in template:
            return {}
        if self._batch is None:
            self._batch = self._finished_batch()
        known = {"executionId": self._batch, "index": "0", "fileName": "made.txt"}
        return {name: value for name, value in known.items() if f"{{{name}}}" in template}

    def members(self, operation_id: str) -> dict[str, list[Any]]:
        """A body that fits, for the call itself."""
        return {WHOLE_BODY: [self._record]} if operation_id == "ConsumeWebService" else {}

    def settle(self, operation_id: str, path: dict[str, str], answer: requests.Response) -> None:
        """Forget a batch that was deleted."""
        if operation_id == "CancelAndDeleteBatchExecution" and answer.ok:
            self._batch = None

    def _finished_batch(self) -> str:
        started = self._door.post(f"{self._path}/batch", json=[self._record, {"no": 1}])
        batch: str = started.json()["batchExecutionId"]
        deadline = time.monotonic() + 60
        while self._door.get(f"{self._path}/batch/{batch}").json()["state"] != "Complete":
            assert time.monotonic() < deadline, "the batch did not end in time"
            time.sleep(0.02)
        return batch


def published(door: Door, service: str) -> str:
    """Publish one of the services; gives its name and version."""
    if service == "realtime":
        answer = door.post("/realtime-services/realtime/1.0", files={"model": ("m", MODEL)})
    else:
        answer = door.post(f"/services/{service}/1.0", json=SERVICES[service])
    assert answer.status_code == 201, answer.text
    return f"{service}/1.0"


@pytest.mark.parametrize("service", SERVICES)
def test_made_up_calls_to_a_service_get_answers_that_its_document_lists(
    fuzzed_server: ServerProcess, service: str
) -> None:
    door = sign_in(fuzzed_server.public_url, "admin", PASSWORD)
    made = published(door, service)
    document = door.get(f"/api/{made}/openapi.json").json()
    inputs = document["components"]["schemas"]["InputParameters"]["properties"]
    record = RECORDS.get(service, dict.fromkeys(inputs))
    fuzzer = Fuzzer(door, document, Records(door, f"/api/{made}", record), EFFORT)
    calls = {
        operation["operationId"]: (template, method)
        for template, methods in document["paths"].items()
        for method, operation in methods.items()
        if template.startswith("/api/") and ("/batch" not in template or service in WITH_BATCHES)
    }
    for template, method in calls.values():
        fuzzer.try_out(template, method, costly="/batch" in template)
    assert door.delete(f"/services/{made}").ok
    succeeded = {operation for operation, status in fuzzer.seen if status < 300}
    without_files = set() if service == "files" else {"GetBatchExecutionFile"}
    assert set(calls) - succeeded <= without_files, "no call got past the checks"
