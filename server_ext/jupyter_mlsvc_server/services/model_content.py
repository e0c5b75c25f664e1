"""Content of realtime services: a model without code of its user, called with columns.

It is like that of a snapshot with one object. The stream says only how to load the model; the
model's file is a buffer of it, so that the server stores bytes which it never looks into, and a
worker loads them on restoring.
"""

from __future__ import annotations

import io
import pickle
import platform
from collections.abc import Callable

from jupyter_mlsvc_server.formats.manifest import ObjectEntry, Workspace
from jupyter_mlsvc_server.formats.realtime import MODEL
from jupyter_mlsvc_server.worker.model import Model
from jupyter_mlsvc_server.worker.realtime import load_model


def workspace(size: int) -> Workspace:
    """Describe the content of a model's file of so many bytes."""
    return Workspace(
        python_version=platform.python_version(),
        objects=(ObjectEntry(name=MODEL, type="model", size=size),),
    )


def stream(model_file: memoryview) -> bytes:
    """Write the stream whose only buffer is the model's file."""
    with io.BytesIO() as file:
        pickler = pickle.Pickler(file, protocol=5, buffer_callback=lambda _: None)
        pickler.dump(None)  # in the place of the namespace, which a model does not refer to
        pickler.dump([MODEL, _Stored(model_file)])
        return file.getvalue()


class _Stored:
    """Is the loaded model when it is read."""

    def __init__(self, model_file: memoryview) -> None:
        self._buffer = pickle.PickleBuffer(model_file)

    def __reduce__(self) -> tuple[Callable[[memoryview], Model], tuple[pickle.PickleBuffer]]:
        return load_model, (self._buffer,)
