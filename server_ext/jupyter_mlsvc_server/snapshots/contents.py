"""What a manifest lists, as callers see it."""

from __future__ import annotations

from typing import Any

from jupyter_mlsvc.wire import models
from jupyter_mlsvc_server.formats.manifest import Manifest


def members(manifest: Manifest) -> dict[str, Any]:
    """Return the members of a body that describe a content; no value of an object is among them."""
    workspace = manifest.workspace
    return {
        "runtime_type": manifest.runtime_type,
        "runtime_version": workspace.r_version or workspace.python_version,
        "objects": [
            models.SnapshotObject(
                name=entry.name,
                type=entry.type,
                size=entry.size,
                kept=entry.kept,
                reason=entry.reason,
            )
            for entry in workspace.objects
        ],
        "files": [models.SnapshotFile(path=each.path, size=each.size) for each in manifest.files],
        "skipped_files": [
            models.SkippedFile(path=each.path, reason=each.reason)
            for each in manifest.skipped_files
        ],
        "packages": workspace.packages,
    }
