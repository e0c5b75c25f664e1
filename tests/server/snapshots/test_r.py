from __future__ import annotations

import errno
import io
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from jupyter_mlsvc.wire.models import CreateSessionRequest
from jupyter_mlsvc_server.auth.principal import Principal
from jupyter_mlsvc_server.formats.manifest import Manifest
from jupyter_mlsvc_server.sessions.errors import AgentRefused
from jupyter_mlsvc_server.sessions.session import Session
from jupyter_mlsvc_server.snapshots.errors import InvalidArchive, OtherRuntime
from jupyter_mlsvc_server.storage.machine_faults import DiskFails, DiskFull

from .conftest import Server, run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("needs_r"),
]

WORKSPACE = """
fit <- lm(mpg ~ wt, mtcars)
scale <- 10
scaled <- function(x) x * scale
counter <- local({ n <- 0; list(up = function() n <<- n + 1, read = function() n) })
invisible(counter$up())
setClass('Point', representation(x = 'numeric', y = 'numeric'))
setGeneric('size', function(p) standardGeneric('size'))
setMethod('size', 'Point', function(p) sqrt(p@x^2 + p@y^2))
p <- new('Point', x = 3, y = 4)
Account <- setRefClass('Account', fields = list(total = 'numeric'),
  methods = list(add = function(x) { total <<- total + x; invisible(.self) }))
account <- Account$new(total = 1)
.hidden <- 'kept'
con <- file('open.txt', 'w')
held <- list(a = 1, b = list(con = con))
read_it <- function() readLines(con)
big <- runif(1e5)
set.seed(1)
writeLines('a,b', 'data.csv')
dir.create('deep')
writeLines('x', 'deep/er.txt')
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session(server: Server, ann: Principal, needs_r: None) -> Session:
    return await server.session(ann, WORKSPACE, "R")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def snapshot_id(server: Server, ann: Principal, session: Session) -> str:
    return (await server.snapshots.create(ann, session, "Cars")).snapshot_id


async def manifest_of(server: Server, ann: Principal, snapshot_id: str) -> Manifest:
    record = await server.snapshots.get(ann, snapshot_id)
    return (await server.snapshots.content(record.content_id)).manifest


async def archive_of(server: Server, ann: Principal, snapshot_id: str) -> io.BytesIO:
    pieces = await server.snapshots.zip_stream(ann, snapshot_id)
    return io.BytesIO(b"".join([piece async for piece in pieces]))


async def test_a_snapshot_of_r_says_what_it_holds_and_what_not(
    server: Server, ann: Principal, snapshot_id: str
) -> None:
    manifest = await manifest_of(server, ann, snapshot_id)
    assert (manifest.runtime_type, manifest.workspace.python_version) == ("R", "")
    assert manifest.workspace.r_version.count(".") == 2
    assert "IRkernel" in manifest.workspace.packages
    assert "base" not in manifest.workspace.packages
    rows = {row.name: row for row in manifest.workspace.objects}
    assert (rows["fit"].type, rows["fit"].kept) == ("lm", True)
    assert rows["big"].size >= 800_000
    assert {".hidden", ".__C__Point", "p"} <= rows.keys()
    assert not {".Random.seed", ".pbd_env", ".mlsvc"} & rows.keys()
    assert rows["scaled"].uses == ("scale",)
    (listed,) = await server.snapshots.list(ann)
    assert listed.runtime_type == "R"
    skipped = {each.name: each.reason for each in listed.skipped or []}
    assert skipped["con"].startswith("con is a connection, which belongs to this process")
    assert skipped["held"].startswith("held$b$con is a connection")
    assert set(skipped) == {"con", "held"}
    assert [file.path for file in manifest.files] == ["data.csv", "deep/er.txt", "open.txt"]


CHECK = """
predicted <- unname(predict(fit, data.frame(wt = 3)))
scale <- 100
tripled <- scaled(3)
invisible(counter$up())
count <- counter$read()
length_of_p <- size(p)
account$add(5)
account$add(1)
total <- account$total
another <- Account$new(total = 2)$total
text <- c(.hidden, readLines('deep/er.txt'))
random <- exists('.Random.seed')
"""


async def test_a_new_session_starts_from_it(
    server: Server, ann: Principal, snapshot_id: str
) -> None:
    request = CreateSessionRequest(snapshot_id=snapshot_id, runtime_type="R")
    other = await server.sessions.create(ann, request)
    names = ["predicted", "tripled", "count", "length_of_p", "total", "another", "text", "random"]
    values = await run(other, CHECK, *names)
    assert round(values.pop("predicted"), 3) == 21.252
    assert values == {
        "tripled": 300,
        "count": 2,
        "length_of_p": 5,
        "total": 7,
        "another": 2,
        "text": ["kept", "x"],
        "random": False,
    }
    await server.sessions.close(ann, other.id)


async def test_loading_into_a_live_session_overwrites_and_removes_nothing(
    server: Server, ann: Principal, snapshot_id: str
) -> None:
    other = await server.session(ann, "scale <- 'changed'; mine <- 1; cat('', file = 'f')", "R")
    sentence = await server.snapshots.load(ann, snapshot_id, other)
    assert sentence.startswith("Loaded ")
    assert "and 3 files." in sentence
    values = await run(other, "files <- list.files()", "scale", "mine", "files")
    assert values == {
        "scale": 10,
        "mine": 1,
        "files": ["data.csv", "deep", "f", "open.txt"],
    }
    await server.sessions.close(ann, other.id)


async def test_a_downloaded_snapshot_is_for_any_r_and_can_be_sent_back(
    server: Server, ann: Principal, ben: Principal, snapshot_id: str, tmp_path: Path
) -> None:
    archive = await archive_of(server, ann, snapshot_id)
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist()[:2] == ["manifest.json", "workspace.RData"]
        opened.extract("workspace.RData", tmp_path)
    code = f"load('{tmp_path}/workspace.RData'); cat(scaled(4))"
    rscript = shutil.which("Rscript")
    assert rscript is not None
    assert subprocess.check_output([rscript, "-e", code], text=True) == "40"  # noqa: ASYNC221

    created = await server.snapshots.upload(ben, archive, "moved")
    request = CreateSessionRequest(snapshot_id=created.snapshot_id, runtime_type="R")
    other = await server.sessions.create(ben, request)
    assert await run(other, "y <- scaled(4)", "y") == {"y": 40}
    await server.sessions.close(ben, other.id)
    await server.snapshots.delete(ben, created.snapshot_id)


async def test_an_empty_workspace_is_a_snapshot_too(server: Server, ben: Principal) -> None:
    session = await server.session(ben, "", "R")
    created = await server.snapshots.create(ben, session)
    assert created.skipped == []
    assert (await server.snapshots.load(ben, created.snapshot_id, session)).startswith(
        "Loaded 0 objects and 0 files."
    )
    await server.sessions.close(ben, session.id)
    await server.snapshots.delete(ben, created.snapshot_id)


async def test_snapshots_fit_sessions_of_their_own_language_only(
    server: Server, ann: Principal, session: Session, snapshot_id: str
) -> None:
    with pytest.raises(OtherRuntime, match="one of R and the session runs Python"):
        await server.sessions.create(ann, CreateSessionRequest(snapshot_id=snapshot_id))
    python = await server.session(ann, "x = 1")
    of_python = (await server.snapshots.create(ann, python)).snapshot_id
    with pytest.raises(OtherRuntime, match="one of Python and the session runs R"):
        await server.snapshots.load(ann, of_python, session)
    await server.sessions.close(ann, python.id)
    await server.snapshots.delete(ann, of_python)


async def test_restore_lists_other_versions_and_refuses_a_newer_r(
    server: Server, ann: Principal, session: Session, snapshot_id: str
) -> None:
    manifest = await manifest_of(server, ann, snapshot_id)

    async def check(version: str) -> list[str]:
        workspace = msgspec.structs.replace(
            manifest.workspace, r_version=version, packages={"IRkernel": "0.1", "nowhere": "2.0"}
        )
        request = {"workspace": msgspec.to_builtins(workspace)}
        answer = await session.call_agent("check", request)
        warnings: list[str] = answer["warnings"]
        return warnings

    told = " ".join(await check("3.6.1"))
    assert "R was 3.6.1 then" in told
    assert "IRkernel was 0.1 then" in told
    assert "nowhere 2.0 was loaded then and is not installed here" in told
    with pytest.raises(AgentRefused, match=r"taken with R 99\.1\.0 and this is R"):
        await check("99.1.0")


async def test_restore_lists_no_equal_versions(
    server: Server, ann: Principal, session: Session, snapshot_id: str
) -> None:
    manifest = await manifest_of(server, ann, snapshot_id)
    workspace = msgspec.to_builtins(manifest.workspace)
    # R writes 0.1-3, the version that the authors of many packages give, as 0.1.3.
    assert any("-" in version for version in workspace["packages"].values())
    answer = await session.call_agent("check", {"workspace": workspace})
    assert answer["warnings"] == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    {
        "version": ({"r_version": "four"}, "'four' is no version of R"),
        "language": ({"r_version": "", "python_version": "3.11.2"}, "'' is no version of R"),
    }.values(),
)
async def test_a_manifest_that_no_server_wrote_is_refused(
    server: Server, ann: Principal, snapshot_id: str, changes: dict[str, Any], reason: str
) -> None:
    archive = zipfile.ZipFile(await archive_of(server, ann, snapshot_id))
    manifest = await manifest_of(server, ann, snapshot_id)
    changed = msgspec.structs.replace(
        manifest, workspace=msgspec.structs.replace(manifest.workspace, **changes)
    )
    sent = io.BytesIO()
    with zipfile.ZipFile(sent, "w") as other:
        other.writestr("manifest.json", msgspec.json.encode(changed))
        for name in archive.namelist()[1:]:
            other.writestr(name, archive.read(name))
    with pytest.raises(InvalidArchive, match=reason):
        await server.snapshots.upload(ann, sent)


POINTERS = """
pointer <- stats:::C_rnorm$address
table_like <- structure(list(a = 1), class = 'data.frame', row.names = 1L,
  .internal.selfref = pointer)
document <- structure(list(node = pointer), class = 'xml_document')
inside <- local({ hidden <- pointer; environment() })
attribute <- structure(1, handle = pointer)
long <- c(as.list(1:20000), pointer)
"""


async def test_pointers_are_skipped_where_the_object_is_worth_nothing_without(
    server: Server, ben: Principal
) -> None:
    session = await server.session(ben, POINTERS, "R")
    created = await server.snapshots.create(ben, session)
    skipped = {each.name: each.reason for each in created.skipped}
    assert set(skipped) == {"pointer", "document", "attribute", "long"}
    assert skipped["document"].startswith("document$node is a pointer to memory outside of R")
    assert skipped["attribute"].startswith("attribute@handle is a pointer")
    await server.sessions.close(ben, session.id)
    await server.snapshots.delete(ben, created.snapshot_id)


UNREADABLE = """
good <- 1
for (nothing in formals(function(a) 1)) {}
makeActiveBinding('bad', function() stop('not now'), globalenv())
"""


async def test_what_cannot_be_read_is_left_out_with_the_reason(
    server: Server, ben: Principal
) -> None:
    session = await server.session(ben, UNREADABLE, "R")
    created = await server.snapshots.create(ben, session)
    skipped = {each.name: each.reason for each in created.skipped}
    assert set(skipped) == {"nothing", "bad"}
    assert skipped["bad"] == "bad cannot be read: not now."
    contents = await server.snapshots.contents(ben, created.snapshot_id)
    assert [each.name for each in contents.objects if each.kept] == ["good"]
    await server.sessions.close(ben, session.id)
    await server.snapshots.delete(ben, created.snapshot_id)


async def test_a_disk_that_fills_under_r_is_no_mistake_of_the_caller(
    server: Server,
    ann: Principal,
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R says no number of an error, and of the last few bytes no error at all."""
    await run(
        session,
        "helper <- environment(.mlsvc)\n"
        "write_whole <- helper$write_whole\n"
        "helper$write_whole <- function(path, write) write_whole('/dev/full', write)",
    )

    def is_full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", is_full)
    with pytest.raises(DiskFull):
        await server.snapshots.create(ann, session)
    with pytest.raises(DiskFull):
        await session.get_object("scale")
    monkeypatch.undo()
    # There is room by now.
    with pytest.raises(DiskFails):
        await session.get_object("scale")
    await run(session, "helper$write_whole <- write_whole; rm(helper, write_whole)")
    assert "scale" in await session.objects()
