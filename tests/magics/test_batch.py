"""``%batch`` in a real shell."""

from __future__ import annotations

import signal
import time
import uuid
from types import SimpleNamespace

import pandas
import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from jupyter_mlsvc.magics.connection import MlsvcConnection

from .conftest import Run, ShownError


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "required"),
        ("Iris", "required"),
        ("Iris V1.0 nothing", "no variable 'nothing'"),
        ("Iris rows=frame", "leave rows= out"),
        ("Iris rows=frame[:1]", "leave rows= out"),
        ("Iris frame -o 3x", "'3x' is no name"),
        ("Iris frame --parallel 0", "at least 1"),
        ("Iris frame --parallel many", "invalid int value"),
        ("Iris V1.0 frame more", "unrecognized"),
        ("Iris frame --paralel 3", "unknown option --paralel"),
    ],
)
def test_misuse_shows_the_right_form(shell: InteractiveShell, line: str, words: str) -> None:
    shell.user_ns["frame"] = [{"n": 1}]
    with pytest.raises(UsageError, match=words) as raised:
        shell.run_line_magic("batch", line)
    assert "Use: %batch NAME [VERSION] VARIABLE" in str(raised.value)


@pytest.fixture
def halving(on_server: InteractiveShell, connection: MlsvcConnection) -> str:
    code = "import time\ntime.sleep(wait)\nhalf = 1 / n / 2"
    # Batches outlive their service: those of another test would be found under its name.
    name = f"Half-{uuid.uuid4().hex[:8]}"
    connection.client.services.publish(
        name, "1", code=code, inputs=["n:numeric", "wait:numeric"], outputs=["half:numeric"]
    )
    return name


@pytest.mark.kernel
def test_a_frame_becomes_a_frame(
    run: Run, on_server: InteractiveShell, halving: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TQDM_DISABLE")
    on_server.user_ns["numbers"] = pandas.DataFrame(
        {"n": [1, 0, 4], "wait": 0.0, "label": "x"}, index=["a", "b", "c"]
    )
    ran = run(f"%batch {halving} numbers")
    frame = ran.value
    assert frame.index.tolist() == ["a", "b", "c"]
    assert frame["half"].fillna(-1).tolist() == [0.5, -1, 0.125]
    assert frame["success"].tolist() == [True, False, True]
    assert "ZeroDivisionError" in frame["error"]["b"]
    assert "3/3" in ran.stderr
    assert "1 of 3 records failed" in ran.stderr

    quiet = run(f"%batch {halving} 1 numbers --quiet --parallel 2 -o result")
    assert quiet.value is None
    assert "3/3" not in quiet.stderr
    assert on_server.user_ns["result"].equals(frame)


@pytest.mark.kernel
def test_waiting_goes_on_after_an_interrupt(
    run: Run,
    on_server: InteractiveShell,
    connection: MlsvcConnection,
    halving: str,
    shown_error: ShownError,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_server.user_ns["rows"] = [{"n": 1, "wait": 0.2}] * 20
    batches = connection.client.batches

    def interrupted(_seconds: float) -> None:
        signal.raise_signal(signal.SIGINT)

    pausing = SimpleNamespace(sleep=interrupted, monotonic=time.monotonic)
    monkeypatch.setattr("jupyter_mlsvc.client.batches.time", pausing)
    shown = shown_error(f"%batch {halving} rows -q")  # which undoes it as well
    (batch,) = batches.list(halving, "1")
    assert f"batch {batch.id} goes on on the server" in shown
    assert "File " not in shown
    frame = run(f"%batch {halving} rows -q --resume {batch.id}").value
    assert frame["half"].tolist() == [0.5] * 20
