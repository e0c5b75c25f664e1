"""Batches by the client, against a real server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pandas
import pytest

from jupyter_mlsvc.client.batches import Batch
from jupyter_mlsvc.client.client import Client
from jupyter_mlsvc.errors import BatchFailed, BatchInterrupted, InvalidInput, NotFound
from jupyter_mlsvc_server.launch import ServerProcess

from .fake import FakeTransport, answer, sent

Publish = Callable[..., str]

SERVICE: dict[str, Any] = {
    "name": "echo",
    "version": "1",
    "versionPublishedBy": "ana",
    "creationTime": "2017-10-05T22:49:33.7832679",
    "snapshotId": None,
    "runtimeType": "Python",
    "description": "",
    "operationId": None,
    "outputParameterDefinitions": [],
    "outputFileNames": [],
    "myPermissionOnService": "read only",
}
STARTED = {"name": "echo", "version": "1", "batchExecutionId": "b1", "BatchExecutionId": "b1"}


@pytest.fixture(scope="module")
def real(mlsvc_server: ServerProcess) -> Iterator[Client]:
    url, password = mlsvc_server.public_url, mlsvc_server.admin_password
    with Client(url, username="admin", password=password) as client:
        yield client
        client.logout()


@pytest.fixture
def publish(real: Client) -> Iterator[Publish]:
    names: list[str] = []

    def publish(code: str, inputs: Any, outputs: Any, **more: Any) -> str:
        names.append(f"svc-{uuid.uuid4().hex[:8]}")
        real.services.publish(names[-1], "1", code=code, inputs=inputs, outputs=outputs, **more)
        return names[-1]

    yield publish
    for name in names:
        for batch in real.batches.list(name, "1"):
            batch.delete()
        real.services.delete(name, "1")


def records_sent(
    client: Client, transport: FakeTransport, inputs: dict[str, str], records: Any
) -> Any:
    """What the client sends for records of a service with these inputs."""
    definitions = [{"name": name, "type": kind} for name, kind in inputs.items()]
    transport.answers = [
        answer([SERVICE | {"inputParameterDefinitions": definitions}]),
        answer(STARTED, 202),
    ]
    assert client.batches.start("echo", None, records, parallel_count=3).id == "b1"
    request = transport.requests[-1]
    assert request.path == "/api/echo/1/batch"
    assert request.query == {"parallelCount": "3"}
    return sent(request)


ROWS = [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
INPUTS = {"a": "integer", "b": "character"}


@pytest.mark.parametrize(
    "records",
    [
        ROWS,
        iter(ROWS),
        {"a": [1, 2], "b": ["x", None]},
        pandas.DataFrame({"b": ["x", None], "other": [0.5, 0.5], "a": [1, 2]}, index=[7, 8]),
    ],
    ids=["dictionaries", "iterator", "columns", "frame"],
)
def test_each_row_is_a_record(client: Client, transport: FakeTransport, records: Any) -> None:
    assert records_sent(client, transport, INPUTS, records) == ROWS


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("vector", [5.1, 3]),
        ("matrix", [[5.1, 3]]),
        ("data.frame", {"length": [5.1], "width": [3]}),
    ],
)
def test_a_whole_row_is_the_only_input_where_no_column_has_its_name(
    client: Client, transport: FakeTransport, kind: str, first: object
) -> None:
    frame = pandas.DataFrame({"length": [5.1, 7.0], "width": [3, 2]})
    rows = records_sent(client, transport, {"flower": kind}, frame)
    assert rows[0] == {"flower": first}
    assert len(rows) == 2


def test_a_column_of_lists_is_a_vector(client: Client, transport: FakeTransport) -> None:
    frame = pandas.DataFrame({"flower": [[1, 2], [3, 4]]})
    assert records_sent(client, transport, {"flower": "vector"}, frame) == [
        {"flower": [1, 2]},
        {"flower": [3, 4]},
    ]


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (pandas.DataFrame({"a": [1]}), "no column 'b'"),
        ({"a": [1, 2], "b": ["x"]}, "lengths"),
        ({"a": 1, "b": 2}, "'a' is no list"),
        ([ROWS[0], 3], "Record 1"),
        ([{"a": object(), "b": ""}], "a must be"),
    ],
    ids=["column missing", "lengths", "no columns", "no mapping", "not carried"],
)
def test_records_that_cannot_be_sent_are_named(
    client: Client, transport: FakeTransport, records: Any, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        records_sent(client, transport, INPUTS, records)


def test_interrupting_leaves_the_batch_and_says_how_to_go_on(
    client: Client, transport: FakeTransport
) -> None:
    def interrupt(_: object) -> Any:
        raise KeyboardInterrupt

    transport.answers = [interrupt]
    batch = Batch(client.batches, "echo", "1", "b1")
    with pytest.raises(BatchInterrupted) as raised:
        batch.wait(quiet=True)
    assert [request.method for request in transport.requests] == ["GET"]
    (line,) = raised.value._render_traceback_()
    assert "client.batches.get('echo', '1', 'b1')" in line
    assert "--resume b1" in line
    assert "cancel()" in line


# --- against a real server -----------------------------------------------------------------------


@pytest.mark.kernel
def test_a_frame_comes_back_with_its_index_and_failed_rows_marked(
    real: Client, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    name = publish("half = n / 2\nword = 'x' * n\n1 / n", ["n:integer"], ["half:numeric", "word"])
    frame = pandas.DataFrame(
        {"n": [2, 0, 3]}, index=pandas.Index(["two", "none", "three"], name="key")
    )
    batch = real.batches.start(name, None, frame).wait()
    assert "3/3" in capfd.readouterr().err
    result = batch.to_frame()
    assert list(result.columns) == ["half", "word", "success", "error"]
    assert result.index.equals(frame.index)
    assert result.index.name == "key"
    assert result["half"].dtype == float
    assert result["half"].fillna(-1).tolist() == [1.0, -1, 1.5]
    assert result["success"].tolist() == [True, False, True]
    assert result["error"].tolist() == ["", "ZeroDivisionError: division by zero", ""]
    progress = batch.progress
    assert (progress.completed, progress.failed, progress.total) == (3, 1, 3)
    assert "Complete: 3 of 3 records, 1 failed" in repr(batch)
    assert batch.id in batch._repr_html_()

    results = batch.results()
    assert results[0] is not None
    assert results[0].outputs == {"half": 1.0, "word": "xx"}
    assert results[1] is not None
    assert results[1].error_message == "ZeroDivisionError: division by zero"

    again = real.batches.get(name, None, batch.id)
    assert again.to_frame().index.tolist() == [0, 1, 2]
    assert again.to_frame(frame.index).equals(result)
    with pytest.raises(InvalidInput, match="3 records"):
        again.to_frame([1, 2])
    assert [item.id for item in real.batches.list(name)] == [batch.id]
    assert batch.id in repr(real.batches.list(name))
    batch.delete()
    with pytest.raises(NotFound):
        real.batches.get(name, "1", batch.id)


@pytest.mark.kernel
def test_results_of_several_pages_are_whole(
    real: Client, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_mlsvc.client.batches._PAGE", 7)
    name = publish("m = n", ["n:integer"], ["m:integer"])
    batch = real.batches.start(name, "1", {"n": range(30)}).wait(quiet=True)
    assert batch.to_frame()["m"].tolist() == list(range(30))


@pytest.mark.kernel
def test_outputs_keep_their_names_beside_ours(real: Client, publish: Publish) -> None:
    name = publish("success = 'yes'", ["n:integer"], ["success:character"])
    frame = real.batches.start(name, "1", [{"n": 1}]).wait(quiet=True).to_frame()
    assert frame.to_dict("list") == {"success": ["yes"], "success_": [True], "error": [""]}


@pytest.mark.kernel
def test_files_of_each_record_can_be_had(real: Client, publish: Publish) -> None:
    code = "open('note.txt', 'w').write(str(n))"
    name = publish(code, ["n:integer"], [], output_files=["note.txt"])
    batch = real.batches.start(name, "1", [{"n": 5}, {"n": 6}]).wait(quiet=True)
    assert batch.artifacts(1) == ["note.txt"]
    assert batch.artifact(1, "note.txt") == b"6"
    result = batch.results()[0]
    assert result is not None
    assert result.files == {"note.txt": b"5"}


@pytest.mark.kernel
def test_a_cancelled_batch_gives_what_it_has(real: Client, publish: Publish) -> None:
    name = publish("import time\ntime.sleep(n)\nm = n", ["n:numeric"], ["m:numeric"])
    batch = real.batches.start(name, "1", {"n": [0] * 3 + [0.5] * 200})
    with pytest.raises(TimeoutError, match=batch.id):
        batch.wait(quiet=True, timeout=1)
    assert batch.state == "InProgress"
    batch.cancel()
    frame = batch.wait(quiet=True).to_frame()
    assert batch.state == "Cancelled"
    assert len(frame) == 203
    assert frame["m"][:3].tolist() == [0, 0, 0]
    assert frame["error"].iloc[-1] == "Not finished."
    assert batch.results()[-1] is None


@pytest.mark.kernel
def test_a_batch_that_cannot_go_on_says_why(real: Client) -> None:
    real.services.publish("going", "1", code="import time\ntime.sleep(0.2)", inputs=["n:integer"])
    batch = real.batches.start("going", "1", {"n": [1] * 100})
    real.services.delete("going", "1")
    with pytest.raises(BatchFailed, match="going"):
        batch.wait(quiet=True)
    assert len(batch.to_frame()) == 100
    batch.delete()
