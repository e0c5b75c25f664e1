"""Snapshots, definitions and calls for the tests of scoring."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from jupyter_mlsvc import serialize_model
from jupyter_mlsvc.wire.models import ParameterDefinition
from jupyter_mlsvc.wire.names import ServiceName, Version
from jupyter_mlsvc_server.errors import NotFound
from jupyter_mlsvc_server.formats import realtime
from jupyter_mlsvc_server.formats.blobs import LocalBlobs
from jupyter_mlsvc_server.formats.manifest import BlobEntry, FileEntry, Manifest, Workspace
from jupyter_mlsvc_server.formats.r_code import FOLDER
from jupyter_mlsvc_server.formats.realtime import INPUT, OUTPUT
from jupyter_mlsvc_server.formats.service_spec import ServiceSpec
from jupyter_mlsvc_server.kernel.capture import capture
from jupyter_mlsvc_server.scoring.definition import DefinitionKey, ServiceDefinition
from jupyter_mlsvc_server.scoring.engine import ScoringAnswer
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.scoring.request import PendingRequest
from jupyter_mlsvc_server.scoring.worker_connection import WorkerConnection
from jupyter_mlsvc_server.services import model_content

IRIS = """
from sklearn import svm, datasets
iris = datasets.load_iris()
clf = svm.SVC().fit(iris.data, iris.target)
names = {0: 'I. setosa', 1: 'I. versicolor', 2: 'I. virginica'}
"""
UNTIL_OPEN = "import os, time\nwhile not os.path.exists(door): time.sleep(0.01)\ny = 1"
"""Code of a service that runs until a file is there, whose path is its input ``door``."""

IRIS_CODE = "iris_species = [names[x] for x in clf.predict(flower_data)]"


TAKE_R = """
helper <- new.env(parent = baseenv())
for (part in c('values.R', 'workspace.R')) sys.source(file.path('{code}', part), helper)
invisible(source('{staging}/source.R'))
keep <- helper; rm(helper, part)
report <- local({{ k <- keep; rm(keep, envir = globalenv())
  k$save_workspace(globalenv(), '{staging}/stream') -> r; k$answer_json(r) }}, new.env())
cat(report)
"""


@dataclass(frozen=True)
class StoredContent:
    """What a snapshot holds, and where."""

    manifest: Manifest
    blobs: LocalBlobs


@dataclass
class Snapshots:
    """Takes snapshots of what some code leaves in a namespace."""

    folder: Path
    _number: Any = field(default_factory=itertools.count)

    def take(self, source: str, files: Mapping[str, bytes] | None = None) -> StoredContent:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(source, namespace)
        staging = self.folder / f"staging-{next(self._number)}"
        staging.mkdir(parents=True)
        report = capture(namespace, staging)
        manifest = Manifest(
            runtime_type="Python",
            workspace=report.workspace,
            stream=self._keep(staging / "stream"),
            buffers=tuple(
                self._keep(staging / "buffers" / str(i)) for i in range(len(report.buffer_sizes))
            ),
            files=tuple(self._file(staging, *item) for item in (files or {}).items()),
        )
        return StoredContent(manifest, LocalBlobs(self.folder / "blobs"))

    def take_r(self, source: str, files: Mapping[str, bytes] | None = None) -> StoredContent:
        """Take one of R code, as a session's helper does."""
        staging = self.folder / f"staging-{next(self._number)}"
        staging.mkdir(parents=True)
        (staging / "source.R").write_text(source)
        rscript = shutil.which("Rscript")
        assert rscript is not None
        program = TAKE_R.format(code=FOLDER, staging=staging)
        report = subprocess.check_output([rscript, "-e", program], cwd=staging)
        manifest = Manifest(
            runtime_type="R",
            workspace=msgspec.json.decode(report, type=Workspace),
            stream=self._keep(staging / "stream"),
            files=tuple(self._file(staging, *item) for item in (files or {}).items()),
        )
        return StoredContent(manifest, LocalBlobs(self.folder / "blobs"))

    def take_model(
        self,
        model: object,
        *,
        gather: bool | None = None,
        renamed: tuple[bytes, bytes] = (b"", b""),
    ) -> StoredContent:
        """Store a model as a realtime service has it, some name in its stream replaced."""
        staging = self.folder / f"staging-{next(self._number)}"
        staging.mkdir(parents=True)
        data = serialize_model(model, gather=gather)
        stream = _without_frame(model_content.stream(memoryview(data)))
        (staging / "stream").write_bytes(stream.replace(_text(renamed[0]), _text(renamed[1])))
        (staging / "model").write_bytes(data)
        manifest = Manifest(
            runtime_type=realtime.RUNTIME,
            workspace=model_content.workspace(len(data)),
            stream=self._keep(staging / "stream"),
            buffers=(self._keep(staging / "model"),),
        )
        return StoredContent(manifest, LocalBlobs(self.folder / "blobs"))

    def _file(self, staging: Path, path: str, content: bytes) -> FileEntry:
        (staging / "file").write_bytes(content)
        blob = self._keep(staging / "file")
        return FileEntry(path=path, digest=blob.digest, size=blob.size)

    def _keep(self, path: Path) -> BlobEntry:
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        blob = self.folder / "blobs" / digest[:2] / digest
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        return BlobEntry(digest=digest, size=len(data))


def define(
    code: str,
    content: StoredContent | None = None,
    inputs: str = "",
    outputs: str = "y:any",
    name: str = "Test",
    revision: str = "r1",
    **others: Any,
) -> ServiceDefinition:
    """Write a definition in short: ``inputs="x:vector n:integer"``."""
    return ServiceDefinition(
        spec=ServiceSpec(
            name=ServiceName(name),
            version=Version("V1.0"),
            revision_id=revision,
            code=code,
            inputs=_parameters(inputs),
            outputs=_parameters(outputs),
            **others,
        ),
        content=content,
    )


def _parameters(text: str) -> tuple[ParameterDefinition, ...]:
    pairs = [item.split(":") for item in text.split()]
    return tuple(ParameterDefinition(name=name, type=kind) for name, kind in pairs)


@dataclass
class Service:
    """A definition that is served, called as an application would."""

    engine: LocalEngine
    key: DefinitionKey

    async def raw(self, body: bytes) -> ScoringAnswer:
        return await self.engine.consume(*self.key, body)

    async def call(self, **inputs: Any) -> dict[str, Any]:
        answer = await self.raw(msgspec.json.encode(inputs))
        assert answer.status == 200, answer.body
        result: dict[str, Any] = msgspec.json.decode(bytes(answer.body))
        assert result["success"] is answer.success
        return result

    async def outputs(self, **inputs: Any) -> dict[str, Any]:
        result = await self.call(**inputs)
        assert result["success"], result
        outputs: dict[str, Any] = result["outputParameters"]
        return outputs

    async def problem_of(self, body: bytes) -> str:
        answer = await self.raw(body)
        assert answer.status == 400
        assert not answer.success
        problem = msgspec.json.decode(bytes(answer.body))
        assert problem["exceptionType"] == "BadRequestException"
        message: str = problem["message"]
        return message


async def no_definition(name: str, version: str) -> ServiceDefinition:
    """Find nothing."""
    raise NotFound(f"No service {name}/{version}.")


async def serve_model(engine: LocalEngine, content: StoredContent, name: str = "Test") -> Service:
    """Serve a model."""
    definition = define(
        realtime.CODE,
        content,
        name=name,
        inputs=f"{INPUT}:data.frame",
        outputs=f"{OUTPUT}:data.frame",
        runtime_type=realtime.RUNTIME,
    )
    await engine.put(definition)
    return Service(engine, definition.key)


async def serve_by(engine: LocalEngine, code: str, *args: Any, **kwargs: Any) -> Service:
    """Define and serve in one."""
    definition = define(code, *args, **kwargs)
    await engine.put(definition)
    return Service(engine, definition.key)


async def until_queued(engine: LocalEngine, service: Service, count: int) -> None:
    """Wait until so many requests wait for a worker."""
    async with asyncio.timeout(60):
        while (await engine.figures(*service.key)).waiting != count:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)


def _text(value: bytes) -> bytes:
    """Write a short text as pickles have it."""
    return b"\x8c%c%b" % (len(value), value)


def _without_frame(stream: bytes) -> bytes:
    """Take the frames out of pickles, which tell lengths."""
    return re.sub(rb"\x95.{8}", b"", stream, flags=re.DOTALL)


def give(connection: WorkerConnection, *bodies: bytes) -> None:
    """Give a worker requests, as a scheduler does."""
    worker = connection.worker
    for body in bodies:
        request = PendingRequest(DefinitionKey("Test", "V1.0"), body, lambda _: None)
        worker.sent += 1
        request.number = worker.sent
        worker.requests.append(request)
        connection.send(request)
