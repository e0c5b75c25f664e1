"""A client made by a public generator from our core document does the workflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

PROGRAM = """
import sys

import mlsclient
from mlsclient import models

url, username, password, name = sys.argv[1:]
client = mlsclient.ApiClient(mlsclient.Configuration(host=url))
tokens = mlsclient.AuthenticationAPIsApi(client).login(
    models.LoginRequest(username=username, password=password)
)
client.default_headers["Authorization"] = f"Bearer {tokens.access_token}"
sessions = mlsclient.SessionAPIsApi(client)
snapshots = mlsclient.SnapshotAPIsApi(client)
services = mlsclient.ServicesManagementAPIsApi(client)

print(mlsclient.StatusAPIsApi(client).status().status_code)
request = models.CreateSessionRequest(name="generated", runtimeType="Python")
session = sessions.create_session(request).session_id
done = sessions.execute_code(session, models.ExecuteRequest(code="rate = 3; print('hi')"))
print(done.success, done.console_output.strip())
print(sessions.list_workspace_objects(session))
snapshot = snapshots.create_snapshot(session, models.CreateSnapshotRequest(name="s")).snapshot_id
print(services.publish_web_service_version(name, "1.0", models.PublishWebServiceRequest(
    code="price = rate * amount",
    snapshotId=snapshot,
    runtimeType="Python",
    inputParameterDefinitions=[models.ParameterDefinition(name="amount", type="integer")],
    outputParameterDefinitions=[models.ParameterDefinition(name="price", type="string")],
)))
print(len(snapshots.list_snapshots()), session in [s.id for s in sessions.list_sessions()])
described = services.get_web_service_version(name, "1.0")[0]
print(described.code, described.output_parameter_definitions[0].type)
print(services.patch_web_service_version(name, "1.0", models.PublishWebServiceRequest(
    description="d", runtimeType="Python")))
document = mlsclient.ServiceConsumptionAPIsApi(client).get_web_service_swagger(name, "1.0")
print(document["info"])
services.delete_web_service_version(name, "1.0")
print(snapshots.delete_snapshot(snapshot), sessions.close_session(session))
"""


def test_a_client_generated_from_the_served_document_does_the_workflow(
    mlsvc_server: ServerProcess, mlsvc_admin_token: str, service_name: str, tmp_path: Path
) -> None:
    document = tmp_path / "core.json"
    document.write_text(Door(mlsvc_server.public_url, mlsvc_admin_token).get("/swagger.json").text)
    subprocess.run(
        [
            *(str(Path(sys.executable).with_name("openapi-generator-cli")), "generate"),
            *("-g", "python", "--package-name", "mlsclient"),
            *("-i", str(document), "-o", str(tmp_path / "client")),
        ],
        check=True,
        capture_output=True,
        timeout=100,
    )
    assert mlsvc_server.admin_password is not None
    account = ["admin", mlsvc_server.admin_password]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mlsvc_server.public_url, *account, service_name],
        cwd=tmp_path / "client",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "pass"
    assert lines[1:3] == ["True hi", "['rate']"]
    assert lines[5] == "price = rate * amount string"
    assert f"'title': '{service_name}'" in lines[7]
