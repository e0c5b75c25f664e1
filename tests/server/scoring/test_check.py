"""What is refused before it is published, and how it is told."""

from __future__ import annotations

import msgspec
import pytest

from jupyter_mlsvc_server.errors import BadRequest
from jupyter_mlsvc_server.formats.manifest import BlobEntry
from jupyter_mlsvc_server.scoring.local import LocalEngine
from tests.server.scoring.serving import Service, Snapshots, StoredContent, define

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def refusal(engine: LocalEngine, *args: object, **kwargs: object) -> str:
    with pytest.raises(BadRequest) as caught:
        await engine.check(define(*args, **kwargs))  # type: ignore[arg-type]  # passed on
    return caught.value.message


async def test_a_syntax_error_is_shown_with_line_and_caret(engine: LocalEngine) -> None:
    assert await refusal(engine, "a = 1\nif a:\n    y = (a +\n") == (
        "code has a SyntaxError in line 3: '(' was never closed\n    y = (a +\n        ^"
    )
    assert await refusal(engine, "y = 1", init_code="a = 1\nb == = 2") == (
        "initCode has a SyntaxError in line 2: invalid syntax\n    b == = 2\n         ^"
    )


async def test_an_indentation_error_and_a_null_byte_are_refused(engine: LocalEngine) -> None:
    assert "IndentationError in line 2" in await refusal(engine, "a = 1\n  y = 2")
    assert "null bytes" in await refusal(engine, "y = '\0'")


LOCKED = """
import threading
lock = threading.Lock()
def guarded(x):
    with lock:
        return x
def indirect(x):
    return guarded(x)
"""


@pytest.fixture(scope="module")
def locked(snapshots: Snapshots) -> StoredContent:
    return snapshots.take(LOCKED)


@pytest.mark.parametrize(
    "code",
    ["y = lock.locked()", "y = guarded(1)", "y = indirect(1)", "def f(): return lock\ny = f()"],
)
async def test_code_that_needs_a_skipped_name_is_refused_with_the_reason(
    engine: LocalEngine, locked: StoredContent, code: str
) -> None:
    message = await refusal(engine, code, locked)
    assert message.startswith("The code needs what the snapshot does not hold:\n- lock (")
    reason = next(row.reason for row in locked.manifest.workspace.objects if row.name == "lock")
    assert reason
    assert message.endswith(reason)


async def test_init_code_counts_too(engine: LocalEngine, locked: StoredContent) -> None:
    assert "- lock (" in await refusal(engine, "y = 1", locked, init_code="guarded(1)")


@pytest.mark.parametrize(
    ("code", "inputs"),
    [
        ("lock = open\ny = 1\nlock", ""),
        ("y = lock", "lock:any"),
        ("y = 1", ""),
        ("class A: lock = 1\ny = A.lock", ""),
    ],
    ids=["set by the code", "an input", "not used", "an attribute"],
)
async def test_a_skipped_name_that_is_not_needed_does_no_harm(
    engine: LocalEngine, locked: StoredContent, code: str, inputs: str
) -> None:
    await engine.check(define(code, locked, inputs=inputs))


async def test_a_snapshot_of_another_python_is_refused(
    engine: LocalEngine, iris: StoredContent
) -> None:
    manifest = iris.manifest
    workspace = msgspec.structs.replace(manifest.workspace, python_version="3.7.1")
    old = StoredContent(msgspec.structs.replace(manifest, workspace=workspace), iris.blobs)
    assert "was taken with Python 3.7.1" in await refusal(engine, "y = 1", old)


async def test_a_snapshot_that_is_damaged_is_refused(
    engine: LocalEngine, iris: StoredContent
) -> None:
    missing = BlobEntry(digest="0" * 64, size=1)
    broken = StoredContent(msgspec.structs.replace(iris.manifest, stream=missing), iris.blobs)
    assert "is damaged: its file is missing" in await refusal(engine, "y = 1", broken)


async def test_a_checked_definition_is_served_by_the_process_that_checked_it(
    engine: LocalEngine, iris: StoredContent
) -> None:
    definition = define("import os; y = os.getppid()", iris, revision="checked")
    await engine.check(definition)
    checked = engine._checked["checked"][1].pid
    await engine.put(definition)
    assert await Service(engine, definition.key).outputs() == {"y": checked}
    assert "checked" not in engine._checked
