"""What a template does when the machine fails it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from jupyter_mlsvc_server.formats.protocol import Refused
from jupyter_mlsvc_server.scoring.definition import DefinitionKey
from jupyter_mlsvc_server.scoring.errors import (
    ServiceUnavailable,
    UnservableCode,
    UnservableSnapshot,
)
from jupyter_mlsvc_server.scoring.template_process import TemplateProcess
from jupyter_mlsvc_server.storage.machine_faults import DiskFull, ResourcesExhausted
from jupyter_mlsvc_server.worker.template import _remove_scratch


def test_a_file_that_cannot_be_removed_ends_no_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", fail)
    _remove_scratch(tmp_path, 12345, "")


@pytest.mark.parametrize(
    ("refused", "kind"),
    [
        (Refused("code", "It is no Python."), UnservableCode),
        (Refused("snapshot", "A blob is missing.", errno.ENOENT), UnservableSnapshot),
        (Refused("snapshot", "OSError: /a/path", errno.ENOSPC), DiskFull),
        (Refused("machine", "Its files cannot be made.", errno.EMFILE), ResourcesExhausted),
        (Refused("machine", "Its files cannot be made.", errno.ENOENT), ServiceUnavailable),
    ],
    ids=["code", "blob", "disk in a restore", "descriptors", "other"],
)
def test_a_refusal_is_the_publishers_fault_only_where_it_is(
    refused: Refused, kind: type[Exception]
) -> None:
    template = TemplateProcess.__new__(TemplateProcess)
    template.key = DefinitionKey("a", "1")
    error = template._refusal(refused)
    assert type(error) is kind
    assert "/a/path" not in error.message
