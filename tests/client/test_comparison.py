"""How a version of a service differs from another one, or from a session."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.errors import MlsvcError, NotFound

from .fake import FakeTransport, answer, problem
from .test_services import ROW

CODE = "\n".join([f"step_{number} = {number}" for number in range(9)] + ["y = x"])


def service(version: str, **others: Any) -> dict[str, Any]:
    return {
        **ROW,
        "name": "Area",
        "version": version,
        "code": CODE,
        "inputParameterDefinitions": [{"name": "x", "type": "numeric"}],
        "outputParameterDefinitions": [{"name": "y", "type": "numeric"}],
        "snapshotId": "s1",
        **others,
    }


def contents(**others: Any) -> dict[str, Any]:
    return {
        "name": "Area",
        "version": "1",
        "size": 2048,
        "runtimeType": "Python",
        "runtimeVersion": "3.11.2",
        "objects": [{"name": "model", "type": "SVC", "size": 10, "kept": True, "reason": ""}],
        "files": [{"path": "data.csv", "size": 10}],
        "skippedFiles": [],
        "packages": {"numpy": "1.26.4", "scikit-learn": "1.4.0"},
        **others,
    }


def test_lines_that_differ_are_shown_part_by_part(client: Client, transport: FakeTransport) -> None:
    newer = service(
        "2", code=CODE.replace("y = x", "y = 2 * x"), description="Doubles.\u202e", snapshotId="s2"
    )
    newer["inputParameterDefinitions"] = [{"name": "x", "type": "vector"}]
    transport.answers = [
        answer([service("1")]),
        answer(contents()),
        answer([newer]),
        answer(contents(packages={"numpy": "2.1.0", "scikit-learn": "1.4.0"})),
    ]
    found = client.compare("Area", "1", "2")
    assert list(found.changes) == ["description", "code", "inputs and outputs", "environment"]
    assert [line for line in found.changes["code"] if line[0] in "+-"] == ["-y = x", "+y = 2 * x"]
    assert " step_8 = 8" in found.changes["code"]
    assert " step_0 = 0" not in found.changes["code"]
    assert "-numpy 1.26.4" in found.changes["environment"]
    assert found.same == ["before each call", "setup", "objects", "files"]
    assert found.unknown == []
    assert repr(found).startswith("Area 1 (-) and Area 2 (+)\n\ndescription:")
    assert "Doubles.\\u202e" in repr(found)
    assert "-in x: numeric" in found._repr_html_()


@pytest.mark.parametrize("status", [404, 403])
def test_what_a_version_of_others_holds_is_not_compared(
    client: Client, transport: FakeTransport, status: int
) -> None:
    transport.answers = [
        answer([service("1")]),
        problem(status, "You may not read the contents of version '1' of service 'Area'."),
        answer([service("2")]),
        answer(contents()),
    ]
    found = client.compare("Area", "1", "2")
    assert found.changes == {}
    assert found.unknown == ["environment", "objects", "files"]
    assert "Not compared: environment, objects, files." in repr(found)


def test_a_version_is_compared_with_a_session(client: Client, transport: FakeTransport) -> None:
    inventory = {
        "pythonVersion": "3.11.2",
        "packages": {"numpy": "1.26.4"},
        "objects": [{"name": "model", "type": "SVC"}, {"name": "rate", "type": "int"}],
    }
    transport.answers = [answer([service("1")]), answer(contents()), answer(inventory)]
    found = client.compare("Area", "1", client.sessions.with_id("i1"))
    assert found.changes["objects"][1:] == [" model: SVC", "+rate: int"]
    assert "-scikit-learn 1.4.0" in found.changes["environment"]
    # A session has no code that would be published.
    assert found.unknown == ["files"]


def test_a_version_without_snapshot_holds_nothing(client: Client, transport: FakeTransport) -> None:
    nothing = contents(runtimeVersion="", objects=[], files=[], packages={})
    transport.answers = [
        answer([service("1", snapshotId=None)]),
        answer(nothing),
        answer([service("2")]),
        answer(contents()),
    ]
    found = client.compare("Area", "1", "2")
    assert found.changes["objects"][1:] == ["+model: SVC, 10 B"]
    # The versions of packages that it runs with are those of the server, whatever they are.
    assert found.unknown == ["environment"]
    assert [request.path for request in transport.requests[1::2]] == [
        "/services/Area/1/contents",
        "/services/Area/2/contents",
    ]


def test_what_is_not_there_is_said(client: Client, transport: FakeTransport) -> None:
    transport.answers = [problem(404, "There is no service 'Area'.")]
    with pytest.raises(NotFound):
        client.compare("Area", "1", "2")
    with pytest.raises(MlsvcError, match="session of R"):
        client.compare("Area", "1", client.sessions.with_id("i1", runtime_type="R"))
