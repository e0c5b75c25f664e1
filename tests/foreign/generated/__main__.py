"""A program on a client that openapi-generator wrote; it calls every operation of its document.

It runs in a process of its own, without anything of ours, and fails if one answer is not as it
should be or if an operation was left out. Arguments: the address, a user name, a prefix for names,
and a file with a serialised model; the password is in the environment.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import mlsclient
from mlsclient import models

SUFFIXES = ("_with_http_info", "_without_preload_content")


class Group:
    """The operations of one tag; it remembers which ones were called."""

    def __init__(self, client: Any, tag: str) -> None:
        self._api = getattr(mlsclient, f"{tag}Api")(client)
        self._tag = tag
        self.called: set[str] = set()

    def __getattr__(self, operation: str) -> Any:
        method = getattr(self._api, operation)
        self.called.add(operation)
        return method

    def raw(self, operation: str, *arguments: Any) -> Any:
        """Call an operation and read the JSON of its answer without the client's models.

        Microsoft's document declares ``expires_on`` a string, and values and details objects, where
        its own examples have numbers. Models made from it refuse those.
        """
        self.called.add(operation)
        answer = getattr(self._api, f"{operation}_without_preload_content")(*arguments)
        body = answer.read()
        assert answer.status < 300, body
        return json.loads(body)

    def left_out(self) -> set[str]:
        """The operations that were not called."""
        every = {name for name in vars(type(self._api)) if not name.startswith("_")}
        return {name for name in every if not name.endswith(SUFFIXES)} - self.called


class Program:
    """One run against a server."""

    def __init__(self, url: str, account: Any, prefix: str, model: bytes) -> None:
        self.client = mlsclient.ApiClient(mlsclient.Configuration(host=url))
        self.account = account
        self.prefix = prefix
        self.model = model
        # Published services use the first; Microsoft's document, and so its models, know it not.
        self.ours = hasattr(models, "StartExecutionRequest")
        self.text = "string" if self.ours else "character"
        self.groups = {
            name.removesuffix("Api"): Group(self.client, name.removesuffix("Api"))
            for name in dir(mlsclient)
            if name.endswith("Api")
        }

    def run(self) -> None:
        """Do everything and compare what was called with what there is."""
        self.tokens()
        self.keys()
        self.state()
        self.nodes()
        self.sessions()
        self.snapshots_and_services()
        self.realtime()
        left_out = {tag: group.left_out() for tag, group in self.groups.items()}
        assert not any(left_out.values()), left_out

    def tokens(self) -> None:
        """Sign in, renew, give up, and sign in again."""
        auth = self.groups["AuthenticationAPIs"]
        first = auth.raw("login", self.account)
        second = auth.raw(
            "renew_token", models.RenewTokenRequest(refreshToken=first["refresh_token"])
        )
        auth.raw("revoke_refresh_token", second["refresh_token"])
        self.sign(second["access_token"])
        failure = self.failure_of(self.groups["SnapshotAPIs"].list_snapshots)
        assert failure.status == 401, failure
        self.sign(auth.raw("login", self.account)["access_token"])

    def keys(self) -> None:
        """Make a key, find it in the list, and revoke it."""
        api = self.groups.get("ServiceKeyAPIs")
        if api is None:
            return
        made = api.create_service_key(models.CreateServiceKeyRequest(note="generated"))
        name = made.service_key.name
        assert made.key.startswith("mlsvckey_")
        assert name in {each.name for each in api.list_service_keys()}
        assert isinstance(api.revoke_service_key(name), str)
        assert name not in {each.name for each in api.list_service_keys()}

    def sign(self, token: str) -> None:
        """Send a token with every request from now on."""
        self.client.default_headers["Authorization"] = f"Bearer {token}"

    def state(self) -> None:
        """Ask how the server is."""
        api = self.groups["StatusAPIs"]
        assert api.raw("status")["statusCode"] == "pass"
        if hasattr(api, "get_user"):
            assert api.get_user().name == self.account.username
        if hasattr(api, "get_metrics"):
            assert b"mlsvc_" in api.get_metrics()
        if hasattr(api, "list_events"):
            place = api.list_events()
            later = api.list_events(run=place.run, after=place.last, wait=0)
            assert (later.run, later.is_reset) == (place.run, False)

    def nodes(self) -> None:
        """List the compute nodes, and set, add and remove the one that is there."""
        api = self.groups["CentralizedConfigurationAPIs"]
        nodes = api.get_compute_nodes().compute_nodes
        entries = models.UpdateComputeNodesRequest(entries=nodes)
        api.set_compute_nodes(entries)
        api.add_compute_node(entries)
        assert self.failure_of(api.remove_compute_node, entries).status == 400
        assert api.get_compute_nodes().compute_nodes == nodes

    def sessions(self) -> None:
        """Run code, and look after the workspace and the files of a session."""
        api = self.groups["SessionAPIs"]
        session = api.create_session(
            models.CreateSessionRequest(name="generated", runtimeType="Python")
        ).session_id
        [listed] = [each for each in api.list_sessions() if each.id == session]
        assert (listed.name, listed.owner, listed.runtime_type) == (
            *("generated", self.account.username, "Python"),
        )
        self.code(api, session)
        self.files(api, session)
        self.objects(api, session)
        self.interruption(api, session)
        if hasattr(api, "start_execution"):
            self.following(api, session)
        if hasattr(api, "get_session_inventory"):
            api.get_session_inventory(session)
        if hasattr(api, "list_executions"):
            assert "succeeded" in {each.state for each in api.list_executions(session)}
        if hasattr(api, "renew_session"):
            assert isinstance(api.renew_session(session), str)
        assert isinstance(api.close_session(session), str)
        other = api.create_session(models.CreateSessionRequest(runtimeType="Python")).session_id
        assert isinstance(api.close_session_by_force(other), str)
        assert not {session, other} & {each.id for each in api.list_sessions()}

    def code(self, api: Group, session: str) -> None:
        """Inputs, outputs, console, history and errors."""
        request = models.ExecuteRequest(
            code="total = {'all': sum(prices.values())}\nprint('summed up')",
            inputParameters=[models.WorkspaceObject(name="prices", value={"a": 1, "b": 2.5})],
            outputParameters=["total"],
        )
        done = api.execute_code(session, request)
        assert (done.success, done.error_message) == (True, "")
        assert done.output_parameters[0].value == {"all": 3.5}
        assert done.console_output == "summed up\n"
        assert api.get_session_console_output(session).console_output == "summed up\n"
        scalar = models.ExecuteRequest(code="half = 0.5", outputParameters=["half"])
        outputs = api.raw("execute_code", session, scalar)["outputParameters"]
        assert outputs == [{"name": "half", "value": 0.5}]
        failed = api.execute_code(session, models.ExecuteRequest(code="1 / 0"))
        assert (failed.success, failed.error_message) == (
            *(False, "ZeroDivisionError: division by zero"),
        )
        assert api.list_session_history(session) == [request.code, scalar.code, "1 / 0"]

    def files(self, api: Group, session: str) -> None:
        """A file goes up by multipart, is used, and comes back."""
        content = bytes(range(256)) * 400
        api.upload_session_file(session, ("a file (1).bin", content))
        assert api.list_session_files(session) == ["a file (1).bin"]
        changed = api.execute_code(
            session,
            models.ExecuteRequest(
                code="data = open('a file (1).bin', 'rb').read()[::-1]\n"
                "_ = open('back.bin', 'wb').write(data)"
            ),
        )
        assert (changed.success, changed.changed_files) == (True, ["back.bin"]), changed
        assert bytes(api.get_session_file(session, "back.bin")) == content[::-1]
        api.delete_session_file(session, "a file (1).bin")
        assert api.list_session_files(session) == ["back.bin"]

    def objects(self, api: Group, session: str) -> None:
        """An object goes into the workspace as bytes and comes back as bytes."""
        api.set_workspace_object(session, "basket", pickle.dumps({"apples": [1, 2, None]}))
        assert "basket" in api.list_workspace_objects(session)
        api.execute_code(session, models.ExecuteRequest(code="basket['pears'] = len(basket)"))
        back = pickle.loads(api.get_workspace_object(session, "basket"))
        assert back == {"apples": [1, 2, None], "pears": 1}
        api.delete_workspace_object(session, "basket")
        assert "basket" not in api.list_workspace_objects(session)

    def interruption(self, api: Group, session: str) -> None:
        """What runs is cancelled while its output can be read; the session stays."""
        results: list[Any] = []
        request = models.ExecuteRequest(
            code="import time\nprint('long', flush=True)\ntime.sleep(60)"
        )
        runner = threading.Thread(
            target=lambda: results.append(api.execute_code(session, request)), daemon=True
        )
        runner.start()
        while api.get_session_console_output(session).console_output != "long\n":
            assert runner.is_alive(), results
        assert isinstance(api.cancel_session(session), str)
        runner.join(60)
        assert results[0].success is False
        assert results[0].error_message.startswith("KeyboardInterrupt")
        assert api.execute_code(session, models.ExecuteRequest(code="pass")).success

    def following(self, api: Group, session: str) -> None:
        """Output is read while the code runs (not in Microsoft's document)."""
        request = models.StartExecutionRequest(code="print('step')\n6 * 7")
        execution = api.start_execution(session, request).execution_id
        events = [
            json.loads(line) for line in api.follow_execution(session, execution).splitlines()
        ]
        assert events[0]["text"] == "step\n"
        assert (events[-1]["type"], events[-1]["success"]) == ("result", True)

    def snapshots_and_services(self) -> None:
        """Keep a session, load it elsewhere, and publish what it held."""
        sessions, snapshots = self.groups["SessionAPIs"], self.groups["SnapshotAPIs"]
        source = sessions.create_session(models.CreateSessionRequest(runtimeType="Python"))
        sessions.execute_code(source.session_id, models.ExecuteRequest(code="rate = 3"))
        sessions.upload_session_file(source.session_id, ("notes.txt", b"three"))
        request = models.CreateSnapshotRequest(name="generated")
        snapshot = snapshots.create_snapshot(source.session_id, request).snapshot_id
        sessions.close_session(source.session_id)
        [listed] = [each for each in snapshots.list_snapshots() if each.id == snapshot]
        assert (listed.name, listed.owner) == ("generated", self.account.username)
        assert listed.content_size > 0
        with zipfile.ZipFile(io.BytesIO(snapshots.get_snapshot_content(snapshot))) as archive:
            assert archive.testzip() is None
            assert archive.read("files/notes.txt") == b"three"
        target = sessions.create_session(models.CreateSessionRequest(runtimeType="Python"))
        snapshots.load_snapshot(target.session_id, snapshot)
        assert "rate" in sessions.list_workspace_objects(target.session_id)
        assert sessions.list_session_files(target.session_id) == ["notes.txt"]
        sessions.close_session(target.session_id)
        again = sessions.create_session(
            models.CreateSessionRequest(runtimeType="Python", snapshotId=snapshot)
        )
        assert "rate" in sessions.list_workspace_objects(again.session_id)
        sessions.close_session(again.session_id)
        self.services(snapshot)
        if hasattr(snapshots, "get_snapshot_contents"):
            contents = snapshots.get_snapshot_contents(snapshot)
            assert [(each.name, each.kept) for each in contents.objects] == [("rate", True)]
            assert [each.path for each in contents.files] == ["notes.txt"]
        if hasattr(snapshots, "upload_snapshot"):
            content = snapshots.get_snapshot_content(snapshot)
            copy = snapshots.upload_snapshot(("copy.zip", bytes(content)), name="copy").snapshot_id
            assert snapshots.get_snapshot_content(copy) == content
            snapshots.delete_snapshot(copy)
        assert isinstance(snapshots.delete_snapshot(snapshot), str)
        failure = self.failure_of(snapshots.get_snapshot_content, snapshot)
        assert failure.status == 404
        assert json.loads(failure.body)["message"]

    def services(self, snapshot: str) -> None:
        """Publish, describe, change and delete."""
        api, name = self.groups["ServicesManagementAPIs"], f"{self.prefix}-code"
        request = models.PublishWebServiceRequest(
            code="price = rate * amount",
            initCode="import math",
            description="Prices.",
            operationId="price",
            snapshotId=snapshot,
            runtimeType="Python",
            inputParameterDefinitions=[models.ParameterDefinition(name="amount", type="integer")],
            outputParameterDefinitions=[models.ParameterDefinition(name="price", type=self.text)],
            outputFileNames=["plot.png"],
        )
        assert isinstance(api.publish_web_service_version(name, "1.0", request), str)
        assert isinstance(api.publish_web_service(name, request), str)
        assert self.failure_of(api.publish_web_service_version, name, "1.0", request).status == 409
        described = api.get_all_web_service_versions_by_name(name)
        assert [each.name for each in described] == [name, name]
        [guid] = [each.version for each in described if each.version != "1.0"]
        assert len(guid) == 36
        [service] = api.get_web_service_version(name, "1.0")
        assert (service.code, service.operation_id) == (request.code, "price")
        assert service.input_parameter_definitions == request.input_parameter_definitions
        assert service.my_permission_on_service == "read/write"
        assert {(name, "1.0"), (name, guid)} <= {
            (each.name, each.version) for each in api.get_all_web_services()
        }
        change = models.PublishWebServiceRequest(description="Dear.", runtimeType="Python")
        assert isinstance(api.patch_web_service_version(name, "1.0", change), str)
        self.pool(api, name)
        if hasattr(api, "get_statistics"):
            figures = api.get_service_statistics(name, "1.0")
            assert (figures.calls, figures.last_call, len(figures.history)) == (0, None, 60)
            assert name in {each.name for each in api.get_statistics()}
            assert api.get_service_contents(name, "1.0").runtime_type == "Python"
            assert api.get_service_logs(name, "1.0") == []
            assert api.get_service_calls(name, "1.0") == []
            assert self.failure_of(api.get_service_call, name, "1.0", "1").status == 404
        described = self.groups["ServiceConsumptionAPIs"]
        document = described.get_web_service_swagger(name, "1.0")
        assert document["info"] == {"description": "Dear.", "title": name, "version": "1.0"}
        if self.ours:
            newer = described.get_web_service_open_api(name, "1.0")
            assert newer["info"] == document["info"]
        for version in ("1.0", guid):
            api.delete_web_service_version(name, version)
        assert self.failure_of(api.get_web_service_version, name, "1.0").status == 404

    def pool(self, api: Group, name: str) -> None:
        """Give a version a pool of its own, wait for it, and give it up."""
        size = models.CreateOrUpdateServicePoolRequest(InitialPoolSize=1, MaxPoolSize=2)
        assert isinstance(api.create_or_update_service_pool(name, "1.0", size), str)
        assert self.settled(api, name, "Pending") == "Success"
        assert isinstance(api.delete_service_pool(name, "1.0"), str)
        assert self.settled(api, name, "Success") == "NotFound"

    def settled(self, api: Group, name: str, status: str) -> str:
        """Wait until a pool is no more in a state; give the next one."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            [node] = api.get_service_pool_status(name, "1.0")
            assert node.compute_node_endpoint
            if node.status != status:
                return str(node.status)
            time.sleep(0.1)
        raise AssertionError(f"The pool stays {status}.")

    def realtime(self) -> None:
        """Publish a model with and without a version, and change it."""
        api, name = self.groups["ServicesManagementAPIs"], f"{self.prefix}-model"
        model = ("model", self.model)
        published = [
            api.publish_realtime_web_service_by_name_version(name, "1.0", model),
            api.publish_realtime_web_service_by_name(name, model, description="d"),
            api.patch_realtime_web_service_by_name_version(name, "1.0", operation_id="classify"),
            api.patch_realtime_web_service_by_name_version(name, "1.0", model=model),
        ]
        assert all(isinstance(each, str) for each in published), published
        services = api.get_all_web_service_versions_by_name(name)
        assert [each.runtime_type for each in services] == ["Realtime", "Realtime"]
        [numbered] = [each for each in services if each.version == "1.0"]
        assert numbered.operation_id == "classify"
        for service in services:
            api.delete_web_service_version(name, service.version)

    def failure_of(self, operation: Any, *arguments: Any) -> Any:
        """Call something that has to fail; give the client's exception."""
        try:
            operation(*arguments)
        except mlsclient.ApiException as error:
            return error
        raise AssertionError("The call went well.")


url, username, prefix, model_file = sys.argv[1:]
account = models.LoginRequest(username=username, password=os.environ["TEST_PASSWORD"])
Program(url, account, prefix, Path(model_file).read_bytes()).run()
print("every operation was called")
