"""The process that restores a snapshot once; workers of services with it are forked from it.

What differs between services of one snapshot comes with the message that asks for a worker: their
code is compiled in the worker. So one template serves all versions with the same content that may
reach the same (see ``scoring.shared_templates``). Where it serves more than one, each has a folder
of its own, and its workers can reach neither the files nor the processes of the others.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import importlib
import os
import shutil
import socket
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from jupyter_mlsvc.wire.model_file import EXPECTED
from jupyter_mlsvc.wire.models import Isolation
from jupyter_mlsvc.wire.sources import let_inspect_find_classes
from jupyter_mlsvc_server.formats import packages, sandbox
from jupyter_mlsvc_server.formats.blobs import DamagedBlob
from jupyter_mlsvc_server.formats.confine import Policy, confine, join_cgroup, narrow
from jupyter_mlsvc_server.formats.files import write_files
from jupyter_mlsvc_server.formats.guard import (
    OOM_TEMPLATE,
    OOM_WORKER,
    OomScores,
    die_with,
    stand_for,
)
from jupyter_mlsvc_server.formats.problems import CodeProblem, SnapshotProblem, refuse_missing
from jupyter_mlsvc_server.formats.process_tree import Control, Parent
from jupyter_mlsvc_server.formats.protocol import (
    OWN_FOLDER,
    TEMPORARY_FOLDER,
    Fork,
    Prepare,
    Prepared,
    Refused,
    Service,
)
from jupyter_mlsvc_server.formats.r_code import RUNTIME as R
from jupyter_mlsvc_server.formats.realtime import MODEL
from jupyter_mlsvc_server.formats.realtime import RUNTIME as REALTIME
from jupyter_mlsvc_server.formats.reply_buffer import reply_buffer_path
from jupyter_mlsvc_server.formats.restore import IncompatibleWorkspace, restore
from jupyter_mlsvc_server.formats.threads import lasting_threads, threads, use_threads
from jupyter_mlsvc_server.worker import host, realtime, trial, worker
from jupyter_mlsvc_server.worker.isolated import NO_THREADS, ForkingProgram, SharingProgram
from jupyter_mlsvc_server.worker.micro_batching import MicroBatchingProgram, RealtimeProgram
from jupyter_mlsvc_server.worker.model import Model
from jupyter_mlsvc_server.worker.program import (
    Program,
    SnapshotCode,
    compile_service,
    is_below,
    modules_imported,
    modules_since,
    newest_module,
)
from jupyter_mlsvc_server.worker.r_program import prepare as prepare_r
from jupyter_mlsvc_server.worker.scratch import ScratchDir, set_up_directory
from jupyter_mlsvc_server.worker.temporary import temporary_directory
from jupyter_mlsvc_server.worker.traceback_text import last_line

_SCRATCH: Final = "template"
_PACKAGES: Final = "packages"
"""Folders of what has been restored, below the one for working directories."""

Restored = Callable[[Service], Any]
"""Makes the program of a service from what was restored."""

_PROGRAMS: Final[dict[Isolation, type[Program]]] = {
    "worker": Program,
    "call": ForkingProgram,
    "none": SharingProgram,
}


def main(link: socket.socket) -> None:
    """Prepare what the first message says, then fork workers until the server is gone."""
    control = Control(link)
    message = control.receive_one()
    if not isinstance(message, Prepare):
        return
    service = message.service
    os.environ.update(service.environment)
    try:
        policy = Policy.decoded(service.policy) if service.policy else None
        if policy is not None:
            _enter_groups(policy)
        oom_scores = OomScores(OOM_WORKER if service.is_host else OOM_TEMPLATE, OOM_WORKER)
        if policy is not None:
            _confine(policy)
        if service.is_host:
            use_threads(service.threads)
            host.serve(control, service)
            return
        before = threads()
        restored, lost = _prepared(service)
        has_threads = bool(lasting_threads(before))
    except CodeProblem as problem:
        control.send(Refused("code", str(problem)))
        return
    except SnapshotProblem as problem:
        control.send(Refused("snapshot", str(problem), _errno(problem.__cause__)))
        return
    except OSError as error:
        control.send(Refused("machine", "Its files cannot be made.", _errno(error)))
        return
    gc.collect()
    # Workers share what is here now: a collection in one of them would copy every page it visits.
    gc.freeze()
    control.send(Prepared(lost, has_threads))
    forget = partial(_remove_scratch, Path(service.work))

    def serve(link: socket.socket, fork: Fork) -> None:
        worker.serve(partial(_program, service, restored, fork), link)

    def try_once(link: socket.socket, fork: Fork) -> None:
        trial.serve(partial(_program, service, restored, fork), link)

    Parent(control, serve, trial=try_once, buried=forget, oom_scores=oom_scores).run()


def _program(service: Service, restored: Restored, fork: Fork) -> Any:
    """Make the program of a revision, in its worker.

    Raises
    ------
    CodeProblem
        The code is no Python, or needs something that the snapshot does not hold.
    """
    assert fork.spec is not None
    own = msgspec.structs.replace(service, spec=fork.spec)
    if service.is_shared:
        own = _keep_apart(own, fork.folder)
    if own.spec.isolation != "call":
        use_threads(own.threads)
    return restored(own)


def _enter_groups(policy: Policy) -> None:
    """Join a control group, and go on as the first process of a sandbox where there is one."""
    join_cgroup(policy)
    if policy.sandboxed:
        parent = os.getppid()
        sandbox.leave_processes(as_root=bool(policy.user))
        die_with(parent)  # other rights, and the system has forgotten it
        if pid := os.fork():
            stand_for(pid)
        die_with(os.getppid())
        sandbox.enter(policy)


def _confine(policy: Policy) -> None:
    parent = os.getppid()
    confine(policy)
    if policy.user:
        die_with(parent)  # another user, and the system has forgotten it


def _keep_apart(service: Service, folder: str) -> Service:
    """Have this worker be where those of other revisions with the template are not."""
    template, work = Path(service.work), Path(service.work) / folder
    (work / TEMPORARY_FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (work / OWN_FOLDER).exists():
        shutil.copytree(template / OWN_FOLDER, work / OWN_FOLDER, dirs_exist_ok=True)
    places = {
        name: f"{work}{value.removeprefix(service.work)}"
        for name, value in service.environment.items()
        if value.startswith(f"{service.work}/")
    }
    os.environ.update(places)
    if service.policy:
        restored = (template / each for each in (OWN_FOLDER, _SCRATCH, _PACKAGES))
        instead = [*(("read", str(each)) for each in restored), ("write", str(work))]
        narrow(Policy.decoded(service.policy), service.work, instead)
    return msgspec.structs.replace(service, work=str(work))


def _prepared(service: Service) -> tuple[Restored, dict[str, str]]:
    if service.spec.runtime_type == R:
        return _restore_r(service)
    if service.restores_in_workers:
        return _restore_in_worker, {}
    return restore_content(service)


def _restore_in_worker(service: Service) -> Program:
    """Restore the snapshot, and make the program of a service, in a worker."""
    if service.spec.isolation == "call":
        raise CodeProblem(f"Restoring the snapshot starts threads. {NO_THREADS}")
    try:
        restored, _ = restore_content(service, f"-{os.getpid()}")
    except SnapshotProblem as problem:
        # It could be restored when the version was published.
        raise CodeProblem(str(problem)) from problem
    gc.collect()
    gc.freeze()
    program: Program = restored(service)
    return program


def restore_content(service: Service, suffix: str = "") -> tuple[Restored, dict[str, str]]:
    """Restore the snapshot into a fresh ``__main__``.

    Parameters
    ----------
    service
        One with this content.
    suffix
        Of the names of folders that are made.

    Returns
    -------
    tuple
        What makes the program of a service with this content, and the names that were lost, with
        the reasons.

    Raises
    ------
    SnapshotProblem
        The snapshot can't be restored.
    """
    newest = newest_module()
    main_module = types.ModuleType("__main__")
    vars(main_module)["__builtins__"] = builtins
    sys.modules["__main__"] = main_module
    namespace = vars(main_module)
    sys.argv = [""]
    let_inspect_find_classes()
    lost: dict[str, str] = {}
    if service.manifest is not None:
        try:
            lost = _restore(service, namespace, modules_imported(service.spec), suffix)
        except DamagedBlob as damage:
            raise SnapshotProblem(str(damage)) from damage
        if lost and service.manifest.runtime_type == REALTIME:
            raise SnapshotProblem(
                f"The model can't be served. {' '.join(lost.values())} A realtime service needs "
                f"{EXPECTED}."
            )
    modules = [module for _, module in modules_since(newest) if is_below(module, service.work)]
    return partial(_make, namespace, SnapshotCode.of(namespace, modules), lost), lost


def _make(
    namespace: dict[str, object], code: SnapshotCode, lost: dict[str, str], service: Service
) -> Program:
    """Compile the code of a service.

    Raises
    ------
    CodeProblem
        The code is no Python, or needs something that the snapshot does not hold.
    """
    compiled = compile_service(service)
    if service.manifest is not None:
        refuse_missing(service, lost, compiled.needed)
        if service.manifest.runtime_type == REALTIME:
            model = namespace[MODEL]
            assert isinstance(model, Model)
            kind = MicroBatchingProgram if model.is_row_wise else RealtimeProgram
            return kind(service, compiled, namespace, model)
    program = _PROGRAMS[service.spec.isolation]
    if compiled.is_awaiting or service.spec.concurrency > 1:
        # Only such services pay for asyncio.
        from jupyter_mlsvc_server.worker.concurrent import ConcurrentProgram

        program = ConcurrentProgram
    return program(service, compiled, namespace, code)


def _restore_r(service: Service) -> tuple[Restored, dict[str, str]]:
    """Try whether R can serve this; see :func:`.r_program.prepare`."""
    program, lost = prepare_r(service)
    return lambda _: program, lost


def _restore(
    service: Service, namespace: dict[str, object], modules: frozenset[str], suffix: str
) -> dict[str, str]:
    manifest = service.manifest
    assert manifest is not None
    path = worker.blob_path(service)
    files, installed = packages.split(manifest.files)
    scratch = ScratchDir(Path(service.work) / f"{_SCRATCH}{suffix}", files, path)
    scratch.create()
    if installed:
        # Once for all workers, which neither copy them nor look after each request at them.
        folder = Path(service.work) / f"{_PACKAGES}{suffix}"
        folder.mkdir(mode=0o700)
        write_files(installed, path, folder)
        packages.use(folder / packages.FOLDER)
    sys.path.insert(0, str(scratch.directory))
    sys.dont_write_bytecode = True  # no __pycache__ among the user's files
    if manifest.runtime_type == REALTIME:
        sys.modules[realtime.FORMER_NAME] = realtime
    standard_output, sys.stdout = sys.stdout, sys.stderr
    try:
        lost = restore(manifest, path, namespace).lost
        _import_own(scratch.directory, modules)
    except DamagedBlob:
        raise
    except IncompatibleWorkspace as problem:
        raise SnapshotProblem(str(problem)) from problem
    except Exception as error:
        raise SnapshotProblem(f"The snapshot could not be restored: {last_line(error)}") from error
    finally:
        sys.stdout = standard_output
        sys.path.remove(str(scratch.directory))
    return lost


def _import_own(directory: Path, modules: frozenset[str]) -> None:
    """Import modules among the files once, for all workers."""
    for name in sorted(modules):
        top = name.partition(".")[0]
        if (directory / f"{top}.py").is_file() or (directory / top).is_dir():
            with contextlib.suppress(Exception):  # the code will meet it, and its caller see it
                importlib.import_module(name)


def _errno(error: BaseException | None) -> int:
    return (error.errno or 0) if isinstance(error, OSError) else 0


def _remove_scratch(template: Path, pid: int, folder: str) -> None:
    work = template / folder
    # A file that can't be removed, as on a disk that fails, ends nobody.
    with contextlib.suppress(OSError):
        reply_buffer_path(work, pid).unlink(missing_ok=True)
    scratch = worker.scratch_directory(work, pid)
    own = (work / f"{_SCRATCH}-{pid}", work / f"{_PACKAGES}-{pid}")
    for each in (scratch, set_up_directory(scratch), temporary_directory(work, pid), *own):
        shutil.rmtree(each, ignore_errors=True)
