"""The magics: one a file, registered together by ``%load_ext jupyter_mlsvc``."""

from __future__ import annotations

from typing import Final

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Configurable

from jupyter_mlsvc.magics.base import MlsvcMagics
from jupyter_mlsvc.magics.batch import BatchMagics
from jupyter_mlsvc.magics.completion import Completer
from jupyter_mlsvc.magics.connection import MlsvcConnection, connection_of
from jupyter_mlsvc.magics.consume import ConsumeMagics
from jupyter_mlsvc.magics.mlsvc import MlsvcCommandMagics
from jupyter_mlsvc.magics.publish import PublishMagics
from jupyter_mlsvc.magics.remote_exec import RemoteExecMagics

_CLASSES: Final[tuple[type[MlsvcMagics], ...]] = (
    RemoteExecMagics,
    MlsvcCommandMagics,
    PublishMagics,
    ConsumeMagics,
    BatchMagics,
)
_MATCHER: Final = "jupyter_mlsvc"


def load(shell: InteractiveShell) -> None:
    """Register the magics and their completion; does nothing where they are registered."""
    if all(kind.__name__ in shell.magics_manager.registry for kind in _CLASSES):
        return
    connection = connection_of(shell)
    parsers = {}
    for kind in _CLASSES:
        magics = kind(shell, connection=connection)
        shell.register_magics(magics)
        for names in kind.magics.values():
            parsers.update({name: getattr(magics, name).parser for name in names})
    shell.Completer.custom_matchers.append(Completer(connection, parsers).matcher())


def _configurables(shell: InteractiveShell) -> list[Configurable]:
    """Objects that ``%config`` knows."""
    found: list[Configurable] = shell.configurables  # type: ignore[assignment]  # typed too narrowly
    return found


def unload(shell: InteractiveShell) -> None:
    """Take everything away that :func:`load` brought; sessions on the server stay."""
    registry = shell.magics_manager.registry
    tables = shell.magics_manager.magics
    for kind in _CLASSES:
        registry.pop(kind.__name__, None)
        for names in kind.magics.values():
            for name in names:
                shell.magics_manager.lazy_magics.pop(name, None)
                for table in tables.values():
                    table.pop(name, None)
    for item in shell.configurables:
        if isinstance(item, MlsvcConnection):
            item.disconnect()
    _configurables(shell)[:] = [
        item for item in shell.configurables if not isinstance(item, MlsvcConnection | MlsvcMagics)
    ]
    matchers = shell.Completer.custom_matchers
    matchers[:] = [item for item in matchers if getattr(item, "matcher_identifier", "") != _MATCHER]
