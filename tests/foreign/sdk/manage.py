"""Find, list, change and delete services."""

from __future__ import annotations

from tests.foreign.sdk.work import Work, failure_of

factor: int


def scaled(x):
    return x * factor


def scaled_and_shifted(x, by):
    return x * factor + by


def find_a_service(work: Work) -> None:
    """By version, and the newest without one."""
    name = work.name()
    for version in ("1.0", "1.1"):
        work.client.deploy_service(
            name, version=version, code_str=f"y = {version}", outputs={"y": float}
        )
    assert work.client.get_service(name).consume().output("y") == 1.1
    assert work.client.get_service(name, version="1.0").consume().output("y") == 1.0
    assert failure_of(work.client.get_service, name, version="9").status == 404
    assert failure_of(work.client.get_service, work.name(), version="1.0").status == 404


def list_services(work: Work) -> None:
    """All, those of one name from the oldest on, or one."""
    name = work.name()
    for version in ("1.0", "1.1"):
        work.client.service(name).version(version).code_str("pass").description("d").deploy()
    here = work.client.list_services(name)
    assert [each["version"] for each in here] == ["1.0", "1.1"]
    assert [each["name"] for each in work.client.list_services()].count(name) == 2
    [one] = work.client.list_services(name, version="1.1")
    assert one == here[1]
    assert (one["description"], one["code"], one["runtimeType"]) == ("d", "pass", "Python")
    assert one["myPermissionOnService"] == "read/write"
    assert (one["inputParameterDefinitions"], one["outputParameterDefinitions"]) == ([], [])


def change_a_service(work: Work) -> None:
    """``redeploy`` changes what is given and keeps the rest."""
    name = work.name()
    first = (
        work.client.service(name)
        .version("1.0")
        .code_fn(scaled)
        .objects(factor=2)
        .inputs(x=int)
        .outputs(y=int)
        .artifacts(["a.txt"])
        .description("first")
        .deploy()
    )
    assert first.scaled(4).output("y") == 8
    described = (
        work.client.service(name).version("1.0").objects(factor=3).description("second").redeploy()
    )
    can = described.capabilities()
    assert (can["description"], can["operation_id"]) == ("second", "scaled")
    assert [each["name"] for each in can["inputs"] + can["outputs"]] == ["x", "y"]
    assert can["artifacts"] == ["a.txt"]
    assert described.scaled(4).output("y") == 12
    assert first.scaled(4).output("y") == 12
    changed = work.client.redeploy_service(
        name,
        version="1.0",
        code_fn=scaled_and_shifted,
        inputs={"x": float, "by": float},
        outputs={"y": float},
        objects={"factor": 10},
        artifacts=[],
    )
    assert changed.scaled_and_shifted(0.5, 1).output("y") == 6
    assert changed.capabilities()["artifacts"] == []
    assert failure_of(work.client.redeploy_service, name, version="2.0").status == 404


def delete_a_service(work: Work) -> None:
    """It is gone, its other versions are not."""
    name = work.name()
    for version in ("1.0", "1.1"):
        work.client.deploy_service(name, version=version, code_str="pass")
    assert work.client.delete_service(name, version="1.1") is True
    assert [each["version"] for each in work.client.list_services(name)] == ["1.0"]
    assert failure_of(work.client.delete_service, name, version="1.1").status == 404


def leave_nothing_behind(work: Work) -> None:
    """The session and the snapshot that a deployment needs are gone after it."""
    http = work.client._http_client
    before = [len(http.get(path).json()) for path in ("/sessions", "/snapshots")]
    service = work.client.deploy_service(
        work.name(), version="1.0", code_fn=scaled, inputs={"x": int}, objects={"factor": 7}
    )
    assert [len(http.get(path).json()) for path in ("/sessions", "/snapshots")] == before
    assert service.scaled(6).error == ""


def bad_syntax(work: Work) -> None:
    """The answer names what is wrong with the code."""
    error = failure_of(
        work.client.deploy_service, work.name(), version="1.0", code_str="y = (1", outputs={}
    )
    assert error.status == 400
    assert "SyntaxError" in error.body, error.body
