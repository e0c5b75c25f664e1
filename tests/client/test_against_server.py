"""The client against a real server, through both of its APIs."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy
import pandas
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

from jupyter_mlsvc import serialize_model
from jupyter_mlsvc.client.auth import Login
from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.client.events import AnyEvent, Finished, StreamText
from jupyter_mlsvc.client.session import Session
from jupyter_mlsvc.client.user import User
from jupyter_mlsvc.errors import (
    BadRequest,
    NotFound,
    NotLoggedIn,
    RemoteExecutionError,
    ServiceFailed,
    Unauthorized,
)
from jupyter_mlsvc_server.launch import ServerProcess

pytestmark = pytest.mark.kernel


@pytest.fixture(params=["public API", "Jupyter-mounted API"])
def door(request: pytest.FixtureRequest, mlsvc_server: ServerProcess) -> str:
    return mlsvc_server.public_url if request.param == "public API" else mlsvc_server.notebook_url


@pytest.fixture
def client(door: str, mlsvc_server: ServerProcess) -> Iterator[Client]:
    with Client(door, username="admin", password=mlsvc_server.admin_password) as client:
        yield client
        client.logout()


@pytest.fixture
def session(client: Client) -> Iterator[Session]:
    with client.sessions.create("from the client") as session:
        yield session


def test_the_server_is_well(client: Client) -> None:
    assert client.status().code == "pass"


def test_a_wrong_password_is_refused(door: str) -> None:
    with pytest.raises(Unauthorized):
        Client(door, username="admin", password="not the password")


def test_a_forged_token_is_refused(door: str) -> None:
    with pytest.raises(Unauthorized):
        Client(door, "mlsvc-forged").services.list()


def test_a_login_renews_itself_and_the_old_pair_dies(client: Client, door: str) -> None:
    auth = client._api.auth
    assert isinstance(auth, Login)
    old = auth.token()
    auth._renew_at = 0.0
    client.services.list()
    assert auth.token() != old
    with pytest.raises(Unauthorized):
        Client(door, old).services.list()


def test_a_login_that_was_revoked_elsewhere_says_so(client: Client) -> None:
    auth = client._api.auth
    assert isinstance(auth, Login)
    # As another program would that has the same login.
    client._api.call(
        "DELETE",
        "login",
        "refreshToken",
        query={"refreshToken": auth.refresh_token},
        needs_token=False,
    ).read()
    with pytest.raises(NotLoggedIn, match="The login of 'admin' has ended"):
        client.services.list()


def test_a_session_keeps_variables_and_history(client: Client, session: Session) -> None:
    session.execute("x = a + 1", {"a": 1})
    result = session.execute("print(x)", outputs=["x"])
    assert (result.outputs, result.console_output) == ({"x": 2}, "2\n")
    assert session.history() == ["x = a + 1", "print(x)"]
    assert session.console_output() == "2\n"
    assert session.id in [item.id for item in client.sessions.list()]
    assert session.list_objects() == ["a", "x"]


def test_code_that_raises_raises_here(session: Session) -> None:
    with pytest.raises(RemoteExecutionError) as raised:
        session.execute("{}['key']")
    assert str(raised.value) == "KeyError in session 'from the client': 'key'"


def test_sessions_are_used_by_their_ids(client: Client) -> None:
    session = client.sessions.create("by its id")
    result = client.sessions.execute(session.id, "x = a + 1\n1 / 0", {"a": 1}, ["x"])
    assert not result.success
    assert client.sessions.execute(session.id, "x += 1", outputs=["x"]).outputs == {"x": 3}
    client.sessions.cancel(session.id)
    client.sessions.close(session.id)
    assert session.id not in [item.id for item in client.sessions.list()]


def test_objects_are_set_read_and_deleted(session: Session) -> None:
    session.put_object("z", {1, 2})
    session.execute("z.add(3)")
    assert session.get_object("z") == {1, 2, 3}
    session.delete_object("z")
    with pytest.raises(NotFound):
        session.get_object("z")


def test_files_go_and_come_back(session: Session, tmp_path: Path) -> None:
    (tmp_path / "my data.bin").write_bytes(bytes(range(256)))
    session.upload_file(tmp_path / "my data.bin")
    result = session.execute("n = len(open('my data.bin', 'rb').read())", outputs=["n"])
    assert result.outputs == {"n": 256}
    assert session.list_files() == ["my data.bin"]
    assert session.download_file("my data.bin") == bytes(range(256))
    session.delete_file("my data.bin")
    assert session.list_files() == []


def test_a_run_can_be_followed_again_from_any_event(session: Session) -> None:
    execution = session.start_execution("print('a', flush=True)\n1 / 0")
    events = list(session.events(execution))
    assert isinstance(events[0], StreamText)
    assert isinstance(events[-1], Finished)
    assert list(session.events(execution, since=1)) == events[1:]


def test_cancelling_stops_the_code_and_keeps_the_session(session: Session) -> None:
    started = threading.Event()

    def on_event(event: AnyEvent) -> None:
        if isinstance(event, StreamText):
            started.set()

    def cancel() -> None:
        started.wait(30)
        session.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(RemoteExecutionError, match="KeyboardInterrupt"):
        session.run("import time\nprint('on', flush=True)\ntime.sleep(60)", on_event=on_event)
    thread.join()
    assert session.execute("x = 1", outputs=["x"]).outputs == {"x": 1}


def test_a_snapshot_is_taken_loaded_downloaded_and_deleted(
    client: Client, session: Session, tmp_path: Path
) -> None:
    session.execute("x = [1, 2]\nopen('note.txt', 'w').write('hello')")
    snapshot = client.snapshots.create(session.id, "round trip")
    with client.sessions.create("other", snapshot_id=snapshot.id) as other:
        assert other.execute("y = x", outputs=["y"]).outputs == {"y": [1, 2]}
        assert other.download_file("note.txt") == b"hello"
        other.execute("x = None")
        client.snapshots.load(snapshot.id, other.id)
        assert other.execute("y = x", outputs=["y"]).outputs == {"y": [1, 2]}
    assert snapshot.id in [item.id for item in client.snapshots.list()]
    with zipfile.ZipFile(snapshot.download(tmp_path / "s.zip")) as archive:
        assert "note.txt" in [Path(name).name for name in archive.namelist()]
    snapshot.delete()
    assert snapshot.id not in [item.id for item in client.snapshots.list()]


def test_a_service_lives_and_dies(client: Client, session: Session) -> None:
    session.execute("factor = 3")
    snapshot = client.snapshots.create(session.id)
    service = client.services.publish(
        "By the client",
        "1.0",
        code="y = x * factor",
        inputs={"x": "numeric"},
        outputs={"y": float},
        snapshot_id=snapshot.id,
        alias="multiply",
    )
    snapshot.delete()
    assert (service.alias, service.may_change, service.published_by) == ("multiply", True, "admin")
    assert service(2).y == service(x=2)["y"] == 6
    with pytest.raises(BadRequest, match="x"):
        service(x="two")
    assert service.update(code="y = x + factor")(x=2).y == 5
    assert "/api/By%20the%20client/1.0" in service.swagger()["paths"]
    assert "/api/By%20the%20client/1.0" in service.openapi()["paths"]
    assert [item.version for item in client.services.versions("By the client")] == ["1.0"]
    service.delete()
    with pytest.raises(NotFound):
        client.service("By the client", "1.0")


def test_without_a_version_it_is_the_next_one(client: Client) -> None:
    service = client.services.publish("Unversioned", code="y = 1", outputs=["y:integer"])
    assert service.version == "V1.0"
    assert service().y == 1
    service.delete()


def test_the_core_document_is_served(client: Client) -> None:
    assert "/services/{name}/{version}" in client.services.core_swagger()["paths"]


def test_a_model_is_published_called_and_changed_as_a_realtime_service(client: Client) -> None:
    rows = pandas.DataFrame({"x": [0.0, 1.0, 2.0]}, index=["a", "b", "c"])
    model = LinearRegression().fit(rows, [1.0, 3.0, 5.0])
    services = client.services
    service = services.publish_realtime("Line", "1", model, response="y", description="2x + 1")
    try:
        assert (service.runtime_type, service.description) == ("Realtime", "2x + 1")
        result = service(rows)
        assert list(result.outputData.y_Pred) == pytest.approx([1, 3, 5])
        assert result.outputs == {"outputData": {"y_Pred": pytest.approx([1, 3, 5])}}
        with pytest.raises(BadRequest, match="'x'"):
            service(rows.rename(columns={"x": "z"}))
        renamed = serialize_model(model, response="height")
        changed = services.update_realtime("Line", "1", renamed, alias="line")
        assert (changed.alias, changed.description) == ("line", "2x + 1")
        assert list(changed(rows).outputData) == ["height_Pred"]
        with pytest.raises(BadRequest, match="not fitted"):
            services.update_realtime("Line", "1", LinearRegression())
        assert services.update_realtime("Line", "1", alias="").alias is None
    finally:
        service.delete()


def test_an_onnx_model_is_published_from_its_file_or_its_bytes(
    client: Client, tmp_path: Path
) -> None:
    rows = numpy.array([[0.0], [1.0], [2.0]], dtype=numpy.float32)
    proto = to_onnx(LinearRegression().fit(rows, [1.0, 3.0, 5.0]), rows)
    file = tmp_path / "line.onnx"
    file.write_bytes(proto.SerializeToString())
    for version, model in enumerate((file, str(file), proto, file.read_bytes())):
        service = client.services.publish_realtime("Line", f"{version}", model, response="height")
        try:
            result = service(pandas.DataFrame({"x": [3.0, 4.0]}))
            assert list(result.outputData.height_Pred) == pytest.approx([7, 9], abs=1e-5)
        finally:
            service.delete()


def test_what_is_no_model_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(TypeError, match="a dict"):
        client.services.publish_realtime("Line", "1", {})
    with pytest.raises(TypeError, match="serialize_model"):
        client.services.publish_realtime("Line", "1", b"blob", response="y")


def test_a_pool_is_set_seen_and_given_up(client: Client) -> None:
    service = client.services.publish("Pooled", "1", code="y = 1", outputs=["y:integer"])
    try:
        assert client.services.pool_status("Pooled", "1") == "NotFound"
        client.services.set_pool("Pooled", "1", initial=0, maximum=3)
        assert client.services.pool_status("Pooled", "1") in {"Pending", "Success"}
        with pytest.raises(BadRequest, match="MaxPoolSize"):
            client.services.set_pool("Pooled", "1", initial=3, maximum=2)
        client.services.delete_pool("Pooled", "1")
        assert client.services.pool_status("Pooled", "1") == "NotFound"
    finally:
        service.delete()


# --- what goes on ----------------------------------------------------------------------------


def test_who_one_is(client: Client, mlsvc_server: ServerProcess) -> None:
    me = client.whoami()
    assert (me.name, me.role, me.public_url) == ("admin", "owner", mlsvc_server.public_url)
    shown = repr(User(me, client.url))
    assert "admin (owner)" in shown
    assert "publish services" in shown
    assert "good for " in shown


def test_events_tell_what_one_does(client: Client) -> None:
    found = client.events.follow(timeout=30, kinds={"service", "session"})
    with client.sessions.create("followed") as session:
        service = client.services.publish("followed", "1.0", code="y = 1", outputs=["y:integer"])
        service.delete()
    told = []
    for event in found:
        told.append((event.kind, event.action, event.name))
        if event.kind == "session" and event.action == "deleted":
            break
    assert event.id == session.id
    assert ("session", "created", "followed") in told
    assert told.index(("service", "created", "followed")) < told.index(
        ("service", "deleted", "followed")
    )


def test_statistics_of_a_service(client: Client) -> None:
    service = client.services.publish(
        "counted", "1.0", code="y = 1 / x", inputs=["x:numeric"], outputs=["y:numeric"]
    )
    assert service.statistics().calls == 0
    service(x=4)
    with pytest.raises(ServiceFailed):
        service(x=0)
    after = service.statistics()
    assert (after.calls, after.errors, after.state) == (2, 1, "ready")
    assert sum(each.calls for each in after.history) == 2
    day = service.statistics("day")
    assert (len(day.history), sum(each.errors for each in day.history)) == (96, 1)
    assert "2 calls, 1 failed" in repr(day)
    assert "▁▁█" in repr(day)
    (row,) = [each for each in client.services.statistics() if each.name == "counted"]
    assert (row.calls, row.history) == (2, [])
    service.delete()


def test_executions_and_the_state_of_a_session(client: Client, session: Session) -> None:
    session.execute("x = 1")
    with pytest.raises(RemoteExecutionError):
        session.execute("1 / 0")
    first, second = session.executions()
    assert (first.code, first.state, second.state) == ("x = 1", "succeeded", "failed")
    assert second.error_message == "ZeroDivisionError: division by zero"
    assert "succeeded" in repr(session.executions())
    listed = client.sessions.get(session.id)
    assert (listed.state, listed.queued) == ("idle", 0)
    assert listed.execution_id == second.execution_id
    assert listed.memory_bytes is not None
    assert listed.memory_bytes > 10 * 2**20
    assert "59 min" in repr(client.sessions.list())


def test_what_is_in_a_snapshot(client: Client, session: Session) -> None:
    session.execute("import threading\nvalues = [1, 2]\nlock = threading.Lock()")
    session.execute("open('a.txt', 'w').write('abc')")
    snapshot = client.snapshots.create(session, "looked at")
    contents = snapshot.contents()
    assert {each.name: each.kept for each in contents.objects}["values"]
    assert [(each.path, each.size) for each in contents.files] == [("a.txt", 3)]
    text = repr(contents)
    assert "values  list" in text
    assert "lock (_thread.lock)" in text
    snapshot.delete()


def test_following_goes_on_when_the_server_is_started_again(tmp_path: Path) -> None:
    quick = ["--KernelFactory.preload_at_start=false", "--LocalEngine.preload=[]"]
    with ServerProcess(data_dir=tmp_path, admin_password="a password", options=quick) as server:
        client = Client(server.public_url, username="admin", password="a password")
        found = client.events.follow(timeout=60)
        client.services.publish("before", code="y = 1")
        assert next(found).name == "before"
        server.stop()
        server.start()
        assert next(found).kind == "reset"
        client.services.publish("after", code="y = 1")
        assert next(found).name == "after"
        client.close()
