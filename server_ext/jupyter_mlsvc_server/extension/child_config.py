"""What the server gets of Jupyter's: configuration of its own classes, and its secrets, as JSON.

Command lines and configuration files of the Jupyter server configure the server too. Of the rest,
which has Jupyter's own secrets in it, the server learns nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from traitlets.config import Config
from traitlets.config.loader import DeferredConfigList, DeferredConfigString, LazyConfigValue

from jupyter_mlsvc_server.formats.config_sections import known_sections
from jupyter_mlsvc_server.formats.host import ChildInput

OF_EXTENSION: Final = ("jupyter_user", "autoload_magics")
"""Settings of the extension that may be given as the server's."""


def child_config(
    config: Config, data_dir: str, log: logging.Logger, secrets: Mapping[str, str]
) -> bytes:
    """Return what a server reads from its standard input.

    Parameters
    ----------
    config
        Configuration of the Jupyter server.
    data_dir
        Data folder, which the extension found already.
    secrets
        Variables for the server alone, which no environment of a process shows this way.
    """
    sections = {
        name: {key: value for key, value in config[name].items() if key not in OF_EXTENSION}
        for name in sorted(known_sections(config))
        if name in config
    }
    sections.setdefault("MlsvcApp", {})["data_dir"] = data_dir
    plain = {
        name: {key: _plain(value, f"{name}.{key}", log) for key, value in section.items()}
        for name, section in sections.items()
    }
    return msgspec.json.encode(ChildInput(plain, dict(secrets)))


def _plain(value: object, name: str, log: logging.Logger) -> object:
    if isinstance(value, DeferredConfigString):
        return {"$text": str(value)}
    if isinstance(value, DeferredConfigList):
        return {"$texts": [str(item) for item in value]}
    if isinstance(value, LazyConfigValue):
        changes: Mapping[str, Any] = value.to_dict()
        return {"$changes": {key: _plain(change, name, log) for key, change in changes.items()}}
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, dict):
        return {str(key): _plain(item, name, log) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return {"$set": [_plain(item, name, log) for item in value]}
    if isinstance(value, list | tuple):
        return [_plain(item, name, log) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    log.warning("%s is no text, number, list or dict; the server gets it as text.", name)
    return str(value)
