"""What a session's kernel is told to do otherwise."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from jupyter_mlsvc_server.kernel.startup import _end_without_waiting


class Counted(io.StringIO):
    """A stream that counts how often it was flushed."""

    flushed = 0

    def flush(self) -> None:
        """Count."""
        self.flushed += 1


def test_a_kernel_that_is_told_to_end_flushes_once_more_and_then_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, err = Counted(), Counted()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    kernel = SimpleNamespace(do_shutdown=lambda restart: {"restart": restart})
    _end_without_waiting(kernel)
    out.flush()
    assert kernel.do_shutdown(restart=False) == {"restart": False}
    out.flush()
    err.flush()
    assert (out.flushed, err.flushed) == (2, 1)
