"""The helper in a session's kernel, talked to over a comm as the server does."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import platform
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec
import pytest
import pytest_asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager

from jupyter_mlsvc.wire import objects
from jupyter_mlsvc_server.formats.manifest import BlobEntry, CaptureReport, Manifest, Workspace
from jupyter_mlsvc_server.kernel.agent import TARGET

pytestmark = [pytest.mark.kernel, pytest.mark.asyncio(loop_scope="module")]

_LOAD = "__import__('jupyter_mlsvc_server.kernel.agent', fromlist=['load']).load(get_ipython())"


class Refused(Exception):
    """The agent answered with an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.type = error["type"]
        self.name = error.get("name")


class Kernel:
    """A kernel with the agent in it."""

    def __init__(self, manager: AsyncKernelManager, client: AsyncKernelClient) -> None:
        self.manager = manager
        self.client = client
        self.comm_id = uuid.uuid4().hex

    async def execute(self, code: str, *, silent: bool = False) -> dict[str, Any]:
        reply = await self.client.execute_interactive(
            code, silent=silent, store_history=not silent, output_hook=lambda _: None
        )
        content: dict[str, Any] = reply["content"]
        return content

    async def evaluate(self, expression: str) -> str:
        reply = await self.client.execute_interactive(
            "", silent=True, user_expressions={"x": expression}, output_hook=lambda _: None
        )
        return str(reply["content"]["user_expressions"]["x"]["data"]["text/plain"])

    def send(self, kind: str, content: dict[str, Any]) -> None:
        session = self.client.session
        message = session.msg(kind, {"comm_id": self.comm_id} | content)
        session.send(self.client.shell_channel.socket, message)

    async def ask(
        self, op: str, buffers: list[bytes] | None = None, **members: Any
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Ask, with bytes in a file where there are some; give the bytes that a file got."""
        number = uuid.uuid4().hex
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "file"
            if buffers:
                file.write_bytes(buffers[0])
            place = {} if op == "set" else {"file": str(file)}
            self.send("comm_msg", {"data": {"id": number, "op": op, **place, **members}})
            answer = await self._answer_to(number)
            return answer, [file.read_bytes()] if file.exists() and not buffers else []

    async def _answer_to(self, number: str) -> dict[str, Any]:
        while True:
            message = await self.client.get_iopub_msg(timeout=60)
            if message["msg_type"] != "comm_msg" or message["content"]["data"]["id"] != number:
                continue
            answer: dict[str, Any] = message["content"]["data"]
            if not answer["ok"]:
                raise Refused(answer["error"])
            return answer


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kernel]:
    manager = AsyncKernelManager(kernel_name="python3")
    await manager.start_kernel(cwd=str(tmp_path_factory.mktemp("work")))
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=60)
    kernel = Kernel(manager, client)
    assert (await kernel.execute(_LOAD, silent=True))["status"] == "ok"
    kernel.send("comm_open", {"target_name": TARGET, "data": {}})
    yield kernel
    client.stop_channels()
    await manager.shutdown_kernel(now=True)


@pytest_asyncio.fixture(loop_scope="module")
async def kernel(running: Kernel) -> Kernel:
    """The kernel, with none of the user's names."""
    await running.execute("%reset -f")
    return running


async def names(kernel: Kernel) -> set[str]:
    answer, _ = await kernel.ask("list")
    return {row["name"] for row in answer["objects"]}


async def test_loading_leaves_neither_names_nor_history(running: Kernel) -> None:
    assert await names(running) == set()
    assert await running.evaluate("get_ipython().execution_count") == "1"
    assert await running.evaluate("[n for n in globals() if 'agent' in n or 'mlsvc' in n]") == "[]"


async def test_values_travel_both_ways(kernel: Kernel) -> None:
    await kernel.ask("set", values={"x": [1, 2.5, None], "text": "ä", "none": None})
    await kernel.execute("import numpy as np; y = np.array(x[:2]) * 2; z = {'a': {1, 2}}")
    answer, _ = await kernel.ask("get", names=["y", "z", "none"])
    assert answer["values"] == {"y": [2, 5.0], "z": {"a": [1, 2]}, "none": None}


async def test_a_missing_name_is_named_with_the_one_that_was_meant(kernel: Kernel) -> None:
    await kernel.execute("species = 1")
    with pytest.raises(Refused, match=r"no object 'specie'.*Did you mean 'species'") as refused:
        await kernel.ask("get", names=["specie"])
    assert refused.value.type == "UnknownName"


async def test_a_value_that_json_cannot_carry_is_named_with_its_type(kernel: Kernel) -> None:
    await kernel.execute("from sklearn.svm import SVC; model = SVC()")
    with pytest.raises(Refused, match=r"model.*SVC") as refused:
        await kernel.ask("get", names=["model"])
    assert refused.value.type == "ValueProblem"


async def test_only_the_users_names_are_listed(kernel: Kernel) -> None:
    await kernel.execute("import numpy as np; a = np.zeros(1000); _own = 1; exit = 5")
    await kernel.execute("a.sum()")
    answer, _ = await kernel.ask("list")
    rows = {row["name"]: row for row in answer["objects"]}
    assert rows.keys() == {"np", "a", "_own", "exit"}
    assert rows["a"] == {"name": "a", "type": "numpy.ndarray", "size": 8000}


@pytest.mark.parametrize("name", ["In", "_", "get_ipython", "__name__", "nothing"])
async def test_what_is_not_the_users_cannot_be_deleted(kernel: Kernel, name: str) -> None:
    with pytest.raises(Refused) as refused:
        await kernel.ask("delete", name=name)
    assert (refused.value.type, refused.value.name) == ("UnknownName", name)


async def test_deleting_removes_a_name(kernel: Kernel) -> None:
    await kernel.execute("a = 1; b = 2")
    await kernel.ask("delete", name="a")
    assert await names(kernel) == {"b"}


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps], ids=["pickle", "cloudpickle"])
async def test_pickles_become_objects(kernel: Kernel, dumps: Any) -> None:
    answer, _ = await kernel.ask("set_pickled", name="data", buffers=[dumps({"a": (1, 2)})])
    assert answer["type"] == "dict"
    assert await kernel.evaluate("data") == "{'a': (1, 2)}"


async def test_a_function_and_a_class_of_a_dill_see_the_names_of_the_session(
    kernel: Kernel,
) -> None:
    pytest.importorskip("dill")
    program = (
        "import dill, sys\nscale = 3\ndef f(x): return x * scale\n"
        "class Model:\n  def predict(self, x): return f(x) + 1\n"
        "sys.stdout.buffer.write(dill.dumps([f, Model()]))"
    )
    command = [sys.executable, "-c", program]
    made = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
    await kernel.ask("set_pickled", name="both", buffers=[made.stdout])
    await kernel.execute("f, model = both; scale = 10")
    assert await kernel.evaluate("f(2), model.predict(2)") == "(20, 21)"


async def test_functions_that_our_client_sends_belong_to_the_session(kernel: Kernel) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__", "scale": 3}
    exec("def f(x): return x * scale", namespace)
    data = objects.dumps(namespace["f"], namespace)
    await kernel.ask("set_pickled", name="f", buffers=[data])
    await kernel.execute("scale = 10")
    assert await kernel.evaluate("f(2), f.__globals__ is globals()") == "(20, True)"
    assert await kernel.evaluate("type(__builtins__).__name__") == "'module'"


async def test_objects_come_back_as_a_pickle_that_anybody_reads(kernel: Kernel) -> None:
    await kernel.execute("k = 2\ndef f(x): return x * k\ndata = [1, {'a': b'x'}]")
    answer, (data,) = await kernel.ask("get_pickled", name="data")
    assert pickle.loads(data) == [1, {"a": b"x"}]
    assert answer["size"] == len(data)
    _, (function,) = await kernel.ask("get_pickled", name="f")
    assert pickle.loads(function)(4) == 8
    _, (bound,) = await kernel.ask("get_pickled", name="f", bound=True)
    assert objects.loads(bound, {"k": 100})(4) == 400


async def test_a_large_object_travels_both_ways(kernel: Kernel) -> None:
    data = b"x" * 20_000_000
    await kernel.ask("set_pickled", name="big", buffers=[pickle.dumps(data)])
    _, (back,) = await kernel.ask("get_pickled", name="big")
    assert pickle.loads(back) == data


async def test_an_object_that_cannot_be_sent_is_explained(kernel: Kernel) -> None:
    await kernel.execute("import threading; pair = [1, threading.Lock()]")
    with pytest.raises(Refused, match=r"pair\[1\] is a thread lock") as refused:
        await kernel.ask("get_pickled", name="pair")
    assert refused.value.type == "NotSerializable"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no pickle", "are no object that can be read"),
        (b"", "are no object that can be read"),
        (b"cno_such_module\nthing\n.", "needs the module 'no_such_module'"),
        (pickle.dumps([1, 2])[:-3], "are no object that can be read"),
        (b"csys\nexit\n(I3\ntR.", "SystemExit"),
    ],
    ids=["text", "empty", "module", "cut", "exits"],
)
async def test_bytes_that_are_no_object_are_refused_and_the_session_lives(
    kernel: Kernel, data: bytes, message: str
) -> None:
    with pytest.raises(Refused, match=message):
        await kernel.ask("set_pickled", name="x", buffers=[data])
    assert await names(kernel) == set()


async def test_an_interrupt_ends_an_operation_and_not_the_session(kernel: Kernel) -> None:
    await kernel.execute(
        "import time\nclass Slow:\n  def __reduce__(self): time.sleep(60); return int, ()\n"
        "slow = Slow()"
    )
    asking = asyncio.create_task(kernel.ask("get_pickled", name="slow"))
    while not asking.done():
        await asyncio.sleep(0.3)
        await kernel.manager.interrupt_kernel()
    with pytest.raises(Refused) as refused:
        await asking
    assert refused.value.type == "KeyboardInterrupt"
    await kernel.execute("del slow")
    assert await kernel.evaluate("1 + 1") == "2"


async def test_an_operation_that_is_not_there_is_refused(kernel: Kernel) -> None:
    with pytest.raises(Refused):
        await kernel.ask("launch")
    with pytest.raises(Refused):
        await kernel.ask("set", values=3)


async def test_a_workspace_is_captured_and_restored(kernel: Kernel, tmp_path: Path) -> None:
    await kernel.execute(
        "import numpy as np\nfactor = 2\nweights = np.arange(20_000.0)\n"
        "def score(x): return x * factor\nlock = __import__('threading').Lock()"
    )
    (staging := tmp_path / "staging").mkdir()
    answer, _ = await kernel.ask("capture", staging=str(staging))
    report = msgspec.convert(answer["report"], CaptureReport)
    rows = {row.name: row.kept for row in report.workspace.objects}
    assert rows == {"np": True, "factor": True, "weights": True, "score": True, "lock": False}
    manifest = _stored(report, staging, tmp_path / "blobs")

    await kernel.execute("%reset -f")
    await kernel.execute("factor, other = 0, 'stays'")
    answer, _ = await kernel.ask("restore", manifest=manifest, blobs=str(tmp_path / "blobs"))
    assert set(answer["names"]) == {"np", "factor", "weights", "score"}
    assert answer["lost"] == {}
    await kernel.execute("factor = 5; weights[0] = 1")
    assert await kernel.evaluate("score(2), weights[0], other") == "(10, np.float64(1.0), 'stays')"


async def test_a_workspace_of_another_python_is_refused(kernel: Kernel) -> None:
    workspace = {"python_version": "3.9.1"}
    with pytest.raises(Refused, match=f"this is Python {platform.python_version()}") as refused:
        await kernel.ask("check", workspace=workspace)
    assert refused.value.type == "IncompatibleWorkspace"


async def test_restore_lists_other_versions_of_packages(kernel: Kernel) -> None:
    workspace = Workspace(
        python_version=platform.python_version(),
        packages={"numpy": "0.1", "no-such-package": "1.0", "msgspec": msgspec.__version__},
    )
    answer, _ = await kernel.ask("check", workspace=msgspec.to_builtins(workspace))
    numpy, missing = answer["warnings"]
    assert numpy.startswith("numpy was 0.1 then and is ")
    assert missing == "no-such-package 1.0 was loaded then and is not installed here."


def _stored(report: CaptureReport, staging: Path, blobs: Path) -> dict[str, Any]:
    """Put what was captured where blobs are looked for; content does not matter here."""

    def keep(path: Path, digest: str) -> BlobEntry:
        (folder := blobs / digest[:2]).mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.rename(folder / digest)
        return BlobEntry(digest=digest, size=(folder / digest).stat().st_size)

    buffers = [keep(staging / "buffers" / str(n), f"b{n}") for n in range(len(report.buffer_sizes))]
    manifest = Manifest(
        runtime_type="Python",
        workspace=report.workspace,
        stream=keep(staging / "stream", "stream"),
        buffers=tuple(buffers),
    )
    plain: dict[str, Any] = msgspec.to_builtins(manifest)
    return plain
