"""Which versions have a template in common, and what they see of each other."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
import pytest

from jupyter_mlsvc_server.formats.blobs import LocalBlobs
from jupyter_mlsvc_server.formats.confine import SCOPES_ABI, landlock_abi
from jupyter_mlsvc_server.formats.manifest import BlobEntry, FileEntry, Manifest, Workspace
from jupyter_mlsvc_server.scoring.definition import ServiceDefinition
from jupyter_mlsvc_server.scoring.errors import ServiceUnavailable, UnservableCode
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.scoring.shared_templates import template_key
from tests.server.scoring.serving import Service, Snapshots, StoredContent, define, serve_by
from tests.waiting import until

MakeEngine = Callable[..., Awaitable[LocalEngine]]

BLOB: Final = BlobEntry(digest="0" * 64, size=1)
CONTENT: Final = StoredContent(
    Manifest(
        runtime_type="Python",
        workspace=Workspace(),
        stream=BLOB,
        files=(FileEntry(path="tools/part.py", digest="1" * 64, size=1),),
    ),
    LocalBlobs(Path("blobs")),
)
USUAL: Final = define("y = 1", CONTENT)


def changed(**members: Any) -> ServiceDefinition:
    return ServiceDefinition(
        spec=USUAL.spec, content=members.pop("content", CONTENT), owner_id="", **members
    )


def other_content(**members: Any) -> StoredContent:
    return StoredContent(msgspec.structs.replace(CONTENT.manifest, **members), CONTENT.blobs)


@pytest.mark.parametrize(
    ("definition", "is_same"),
    [
        (define("z = 2", CONTENT, "x:numeric", "z:numeric", "Other", "r2"), True),
        (define("y = 1", CONTENT, isolation="call", setup_code="n = 1"), True),
        (define("y = 1", other_content()), True),
        (ServiceDefinition(spec=USUAL.spec, content=CONTENT, owner_id="ann"), False),
        (define("y = 1", CONTENT, network=False), False),
        (define("y = 1", CONTENT, read_only=True), False),
        (define("y = 1", other_content(stream=BlobEntry(digest="2" * 64, size=1))), False),
        (define("y = 1", other_content(files=())), False),
        (define("import tools.part\ny = 1", CONTENT), False),
        (define("y = 1"), False),
    ],
)
def test_versions_share_a_template_by_person_confinement_and_content(
    definition: ServiceDefinition, is_same: bool
) -> None:
    assert (template_key(definition, []) == template_key(USUAL, [])) is is_same


def test_versions_in_r_and_with_very_many_blobs_have_one_of_their_own() -> None:
    many = tuple(FileEntry(path=f"{n}", digest=f"{n:064}", size=1) for n in range(300))
    assert template_key(define("y <- 1", runtime_type="R"), []) is None
    assert template_key(define("y = 1", other_content(files=many)), []) is None


async def served(engine: LocalEngine, content: StoredContent, **codes: str) -> list[Service]:
    return [
        await serve_by(engine, code, content, outputs="y:any", name=name, revision=name)
        for name, code in codes.items()
    ]


@pytest.mark.asyncio(loop_scope="module")
async def test_code_of_versions_with_one_template_is_their_own(
    engine: LocalEngine, snapshots: Snapshots
) -> None:
    content = snapshots.take("base = [40]\ndef f(): return base[0]")
    code = "import os; y = [f() + {}, os.getppid()]"
    services = await served(
        engine, content, a=code.format(1), b=code.format(2), c="base.append(1); y = len(base)"
    )
    (a, template), (b, same), c = [(await each.outputs())["y"] for each in services]
    assert (a, b, c, same) == (41, 42, 2, template)
    with pytest.raises(UnservableCode, match="SyntaxError in line 1"):
        await engine.check(define("y = (", content, name="d"))
    with pytest.raises(UnservableCode, match="does not hold"):
        await engine.check(define("y = lost", snapshots.take("lost = (n for n in ())"), name="d"))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_version_reaches_neither_files_nor_processes_of_one_with_its_template(
    engine: LocalEngine, snapshots: Snapshots
) -> None:
    content = snapshots.take("base = 1", {"data.txt": b"own"})
    told = (
        "import os\nopen(os.path.expanduser('~/kept'), 'w').close()\n"
        "y = [os.getpid(), os.getppid(), os.getcwd(), open('data.txt').read()]"
    )
    reach = """
import os
def attempt(what, *args):
    try:
        what(*args)
    except OSError as error:
        return type(error).__name__
    return 'done'
y = [
    attempt(os.kill, pid, 0),
    attempt(os.kill, os.getppid(), 0),
    attempt(open, folder + '/data.txt'),
    attempt(open, folder + '/made', 'w'),
    attempt(os.listdir, folder),
    open('data.txt').read(),
    os.path.exists(os.path.expanduser('~/kept')),
]"""
    first = await serve_by(engine, told, content, name="seen", revision="seen")
    second = await serve_by(
        engine, reach, content, "pid:integer folder:character", name="sees", revision="sees"
    )
    pid, template, folder, text = (await first.outputs())["y"]
    seen = (await second.outputs(pid=pid, folder=folder))["y"]
    assert engine._pools[second.key].template_pid == template
    assert text == "own"
    assert seen[2:] == ["PermissionError"] * 3 + ["own", False]
    if landlock_abi() >= SCOPES_ABI:
        assert seen[:2] == ["PermissionError"] * 2


async def test_a_template_ends_with_the_last_version_and_its_loss_is_that_of_all(
    make_engine: MakeEngine, snapshots: Snapshots
) -> None:
    engine = await make_engine()
    content = snapshots.take("base = 1")
    code = "import os; y = [base, os.getpid()]"
    names = {"a": code, "b": code}

    async def definitions(name: str, version: str) -> ServiceDefinition:
        return define(names[name], content, name=name, revision=name)

    engine.definitions = definitions
    services = await served(engine, content, **names)
    workers = [(await each.outputs())["y"][1] for each in services]
    template = engine._pools[services[0].key].template_pid
    os.kill(template, signal.SIGKILL)
    await until(lambda: not {*workers, template} & {*psutil.pids()})
    assert [(await each.outputs())["y"][0] for each in services] == [1, 1]
    template = engine._pools[services[0].key].template_pid
    assert engine._pools[services[1].key].template_pid == template
    await engine.remove(*services[0].key)
    assert (await services[1].outputs())["y"][0] == 1
    assert psutil.pid_exists(template)
    await engine.remove(*services[1].key)
    await until(lambda: not psutil.pid_exists(template))


async def test_a_template_that_is_lost_says_nothing_of_the_code_and_leaves_nothing(
    make_engine: MakeEngine, snapshots: Snapshots, tmp_path: Path
) -> None:
    engine = await make_engine()
    content = snapshots.take("base = 1")
    begun = tmp_path / "begun"
    slow = define(f"open({str(begun)!r}, 'w')\nwhile base: pass", content, revision="slow")
    check = asyncio.create_task(engine.check(slow, b"{}"))
    await until(begun.exists)
    (process,) = engine._templates.processes
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ServiceUnavailable):
        await check
    usual = define("y = base", content)
    await engine.check(usual)
    (process,) = (each for each in engine._templates.processes if each.is_open)
    os.kill(process.pid, signal.SIGKILL)
    await until(lambda: not process.is_open)
    await engine.put(usual)
    assert (await Service(engine, usual.key).outputs())["y"] == 1
    assert not process.work.exists()


async def test_a_worker_that_ends_before_its_fork_is_known_holds_nobody_up(
    make_engine: MakeEngine, snapshots: Snapshots
) -> None:
    engine = await make_engine()
    content = snapshots.take("base = 1")
    first = await serve_by(engine, "y = base", content, name="first", revision="first")
    template = await engine._templates.template(define("y = (", content, revision="other"))
    fork = asyncio.create_task(template.fork())
    await asyncio.sleep(0)  # it is asked for
    time.sleep(0.5)  # noqa: ASYNC251  # word of fork and end come together
    pid, link = await fork
    link.close()
    assert pid not in template.process._owners
    await template.stop()
    assert (await first.outputs())["y"] == 1
