"""Declare the magics to IPython, which imports them when one is first used.

An IPython extension for kernels of a Jupyter server that has ours: registering names costs a
notebook nothing, while the magics bring requests, msgspec and more.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

MAGIC_KINDS: Final = {
    "batch": "line",
    "consume": "line",
    "mlsvc": "line",
    "publish": "line_cell",
    "remote_exec": "line_cell",
}
"""Names of the magics; a test compares them with those that loading registers."""
_EXTENSION: Final = "jupyter_mlsvc"
_LINE: Final = re.compile(rf"(?:^|=)\s*%{{1,2}}(?:{'|'.join(MAGIC_KINDS)})[ \t]")


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register every magic lazily, and what completes their lines."""
    for name, kind in MAGIC_KINDS.items():
        _register_lazily(shell, name, kind)
    shell.Completer.custom_matchers.append(_first_completion(shell))


def _register_lazily(shell: InteractiveShell, name: str, kind: str) -> None:
    register = shell.magics_manager.register_lazy
    try:
        register(name, _EXTENSION, kind)
    except TypeError:
        # IPython 8 takes no kind: such a magic works, and is listed once one was used.
        register(name, _EXTENSION)


def _first_completion(
    shell: InteractiveShell,
) -> Callable[[CompletionContext], SimpleMatcherResult]:
    """Return a matcher that loads the extension with the first of our lines that it sees."""
    from IPython.core.completer import context_matcher

    nothing: SimpleMatcherResult = {"completions": []}

    @context_matcher(identifier="jupyter_mlsvc_autoload")
    def complete_first(context: CompletionContext) -> SimpleMatcherResult:
        manager = shell.extension_manager
        if manager is None or _LINE.search(context.text_until_cursor) is None:
            return nothing
        matchers = shell.Completer.custom_matchers
        if complete_first in matchers:
            matchers.remove(complete_first)
        before = len(matchers)
        manager.load_extension(_EXTENSION)
        found: SimpleMatcherResult = matchers[-1](context) if len(matchers) > before else nothing
        return found

    made: Callable[[CompletionContext], SimpleMatcherResult] = complete_first
    return made
