"""Configuration files, which all commands read in the same order."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from jupyter_core.application import JupyterApp
from traitlets import TraitError, default
from traitlets.config import Config, catch_config_error
from traitlets.config.loader import (
    ConfigFileNotFound,
    FileConfigLoader,
    JSONFileConfigLoader,
    KVArgParseConfigLoader,
    PyFileConfigLoader,
)

from jupyter_mlsvc_server.formats.config_sections import known_sections


class InvalidConfigFile(TraitError):
    """A configuration file cannot be read; the message says where and why."""

    def __init__(self, file: str, error: Exception) -> None:
        where = f"line {line} of {file}" if (line := _line_of(file, error)) else file
        super().__init__(f"{where} cannot be read. {type(error).__name__}: {error}")


class UnknownOption(TraitError):
    """A command line has an option that means nothing here."""

    def __init__(self, option: str, known: Iterable[str]) -> None:
        first, dot, rest = option.partition(".")
        near = get_close_matches(first, known, n=1)
        meant = f" Did you mean --{near[0]}{dot}{rest}?" if near else ""
        super().__init__(f"There is no option --{option}.{meant} --help and --help-all list all.")


class _CommandLine(KVArgParseConfigLoader):
    def _handle_unrecognized_alias(self, arg: str) -> NoReturn:
        # A server without what it was told to do would do something else.
        raise UnknownOption(arg, self.aliases)


class _PyLoader(PyFileConfigLoader):
    def load_config(self) -> Config:
        return _loaded(self, super().load_config)


class _JsonLoader(JSONFileConfigLoader):
    def load_config(self) -> Config:
        return _loaded(self, super().load_config)


class ConfiguredApp(JupyterApp):
    """A command that reads the server's configuration files.

    Where the server is hosted by a Jupyter server, that one's file counts as well; a person may
    have written the settings there.
    """

    raise_config_file_errors = True
    python_config_loader_class = _PyLoader
    json_config_loader_class = _JsonLoader

    @default("config_file_name")
    def _default_config_file_name(self) -> str:
        return "jupyter_mlsvc_config"

    @catch_config_error
    def initialize(self, argv: Sequence[str] | None = None) -> None:
        """Read command line and configuration files; an unknown setting has one warning.

        Raises
        ------
        SystemExit
            Something cannot be read, or the command line has an option that means nothing.
        """
        once = _Once()
        self.log.addFilter(once)
        super().initialize(argv)
        self.log.removeFilter(once)
        self._require_known_options()

    def _require_known_options(self) -> None:
        # Files may have settings of other programs; the command line is for this one alone.
        own = {kind.__name__ for kind in self._classes_inc_parents()}
        known = own | known_sections(self.config)
        for section, settings in self.cli_config.items():
            if section not in known:
                raise UnknownOption(f"{section}.{next(iter(settings), '')}", known)

    def _create_loader(
        self, argv: Any, aliases: Any, flags: Any, classes: Any
    ) -> KVArgParseConfigLoader:
        return _CommandLine(
            argv, aliases, flags, classes=classes, log=self.log, subcommands=self.subcommands
        )

    def load_config_file(  # type: ignore[override]  # as JupyterApp has it
        self, suppress_errors: bool = True
    ) -> None:
        """Read the Jupyter server's configuration file, then the server's own.

        Raises
        ------
        TraitError
            A file that is named is not there, or one cannot be read; what it says must not be
            left out without a word.
        """
        if self.config_file and not _is_there(Path(self.config_file)):
            raise TraitError(f"There is no configuration file {self.config_file}.")
        if not self.config_file:
            own, self.config_file_name = self.config_file_name, "jupyter_server_config"
            super().load_config_file(suppress_errors)
            self.config_file_name = own
        super().load_config_file(suppress_errors)


class _Once(logging.Filter):
    """Leaves out what was logged already: each file is loaded together with the command line."""

    def __init__(self) -> None:
        super().__init__()
        self._messages: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        is_new = record.levelno != logging.WARNING or message not in self._messages
        self._messages.add(message)
        return is_new


def _loaded(loader: FileConfigLoader, load: Any) -> Config:
    try:
        config: Config = load()
    except ConfigFileNotFound:
        raise
    except Exception as error:
        raise InvalidConfigFile(loader.full_filename, error) from error
    return config


def _line_of(file: str, error: Exception) -> int | None:
    """Return the line of a file that an error comes from."""
    if isinstance(error, SyntaxError):
        return error.lineno
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file
    ]
    return lines[-1] if lines else None


def _is_there(file: Path) -> bool:
    # traitlets looks for both, whatever the ending.
    return any(file.with_suffix(ending).is_file() for ending in (".py", ".json"))
