"""Configuration files, which all commands read in the same order."""

from __future__ import annotations

from pathlib import Path

from jupyter_core.application import JupyterApp
from traitlets import TraitError, default


class ConfiguredApp(JupyterApp):
    """A command that reads the server's configuration files.

    Where the server is hosted by a Jupyter server, that one's file counts as well; a person may
    have written the settings there.
    """

    @default("config_file_name")
    def _default_config_file_name(self) -> str:
        return "jupyter_mlsvc_config"

    def load_config_file(  # type: ignore[override]  # as JupyterApp has it
        self, suppress_errors: bool = True
    ) -> None:
        """Read the Jupyter server's configuration file, then the server's own.

        Raises
        ------
        TraitError
            A file that is named is not there; what it says must not be left out without a word.
        """
        if self.config_file and not _is_there(Path(self.config_file)):
            raise TraitError(f"There is no configuration file {self.config_file}.")
        if not self.config_file:
            own, self.config_file_name = self.config_file_name, "jupyter_server_config"
            super().load_config_file(suppress_errors)
            self.config_file_name = own
        super().load_config_file(suppress_errors)


def _is_there(file: Path) -> bool:
    # traitlets looks for both, whatever the ending.
    return any(file.with_suffix(ending).is_file() for ending in (".py", ".json"))
