"""The Jupyter server extension: host of the server."""

from __future__ import annotations

import getpass
import os
from collections.abc import MutableMapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from traitlets import Bool, TraitError, Unicode, default, validate
from traitlets.config import Config

from jupyter_mlsvc.wire.addresses import is_this_machine
from jupyter_mlsvc_server import __version__
from jupyter_mlsvc_server.extension.child_config import OF_EXTENSION, child_config
from jupyter_mlsvc_server.extension.kernel_environment import Connection, KernelEnvironment
from jupyter_mlsvc_server.extension.proxy import ProxyHandler
from jupyter_mlsvc_server.extension.supervisor import COMMAND, NEVER_WITH_CHILDREN, Supervisor
from jupyter_mlsvc_server.extension.upstream import (
    HostClient,
    PersonClient,
    TcpUpstream,
    UnixUpstream,
    Upstream,
)
from jupyter_mlsvc_server.formats.environment_block import hide_from_others
from jupyter_mlsvc_server.formats.host import HostStatus, data_dir_path, socket_path

_NAME: Final = "mlsvc"


class MlsvcExtension(ExtensionApp):
    """Runs the server of jupyter-mlsvc, and has its API below ``{base_url}mlsvc``."""

    name = _NAME
    app_name = "jupyter-mlsvc"
    description = "Host sessions, snapshots and services in a Jupyter server."
    version = __version__
    extension_url = "/mlsvc/health/ready"
    load_other_extensions = False
    serverapp_config: dict[str, Any] = {"open_browser": False}  # noqa: RUF012 - as its base has it
    flags: dict[str, Any] = {  # noqa: RUF012 - traitlets declares it so
        **ExtensionApp.flags,
        "as-ml-server": (
            {"MlsvcApp": {"as_ml_server": True}},
            "Take the defaults of Microsoft ML Server, as 'jupyter mlsvc serve' does.",
        ),
    }
    server_command: ClassVar[Sequence[str]] = COMMAND

    server_url = Unicode(
        help="Address of a server that runs apart: http://HOST:PORT, https://HOST:PORT, or the "
        "path of its Unix socket. Empty runs one for this Jupyter server."
    ).tag(config=True)
    host_secret_file = Unicode(
        help="File with the secret that the server at server_url knows this Jupyter server by "
        "(MlsvcApp.hosts_file there). A Unix socket needs none. Under JupyterHub, without such a "
        "file, the server is shown the hub's token of the person (HubAuthenticator there)."
    ).tag(config=True)
    jupyter_user = Unicode(
        help="Name under which the person at the keyboard of this Jupyter server owns things. "
        "Default: the name of the JupyterHub user or of the operating system's user."
    ).tag(config=True)
    autoload_magics = Bool(
        True,
        help="Whether notebooks of this Jupyter server have the magics without %load_ext. They "
        "are imported when one is first used.",
    ).tag(config=True)

    @default("jupyter_user")
    def _default_jupyter_user(self) -> str:
        return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()

    @validate("server_url")
    def _check_server_url(self, proposal: dict[str, Any]) -> str:
        url: str = proposal["value"]
        parts = urlsplit(url)
        if url and not url.startswith("/") and not (parts.scheme in _SCHEMES and parts.hostname):
            raise TraitError(
                f"server_url is {url!r}; it has to be http://HOST:PORT, https://HOST:PORT or the "
                "path of a Unix socket."
            )
        return url.rstrip("/")

    @classmethod
    def make_serverapp(cls, **kwargs: Any) -> ServerApp:
        """Make the Jupyter server, which reads the command line and has to know our flag."""
        serverapp = super().make_serverapp(**kwargs)
        serverapp.flags = {**serverapp.flags, "as-ml-server": cls.flags["as-ml-server"]}
        return serverapp

    # --- building ----------------------------------------------------------------------------

    def initialize_settings(self) -> None:
        """Get ready to look after a server; nothing is started yet."""
        self._take_settings_of_server()
        # Sessions are processes below this one, and of the same account.
        hide_from_others(lambda name: name in {*_SECRETS, *NEVER_WITH_CHILDREN})
        # Kernels and terminals of Jupyter inherit its environment.
        self._secrets = {name: os.environ.pop(name) for name in _SECRETS if name in os.environ}
        self._data_dir = data_dir_path(str(self.config.get("MlsvcApp", {}).get("data_dir", "")))
        self._times: MutableMapping[str, datetime] = {}
        self._status: HostStatus | None = None
        self._kernels = KernelEnvironment()
        self._hub_token = self._token_for_server()
        upstream = self._upstream()
        self.supervisor = Supervisor(
            upstream=upstream,
            config=None if self.server_url else self._child_config,
            host=self,
            log=self.log,
            client=PersonClient(upstream, self._hub_token) if self._hub_token else None,
            command=self.server_command,
        )

    def _take_settings_of_server(self) -> None:
        """Let settings count that were the server's."""
        given = self.config.get("MlsvcApp", {})
        own = self.config.get("MlsvcExtension", {})
        moved = {name: given[name] for name in OF_EXTENSION if name in given and name not in own}
        if moved:
            self.update_config(Config({"MlsvcExtension": moved}))

    def _upstream(self) -> Upstream:
        if not self.server_url:
            return UnixUpstream(socket_path(self._data_dir))
        if self.server_url.startswith("/"):
            return UnixUpstream(Path(self.server_url))
        parts = urlsplit(self.server_url)
        if parts.scheme == "http" and not is_this_machine(parts.hostname or ""):
            self.log.warning(
                "jupyter-mlsvc: %s is plain HTTP: whoever listens on the way to it can read this "
                "Jupyter server's secret. Use an https address.",
                self.server_url,
            )
        return TcpUpstream(self.server_url, self._host_secret(), self._hub_token)

    def _token_for_server(self) -> str:
        """Return the person's token of JupyterHub where the server is to know them by it."""
        is_elsewhere = self.server_url.startswith("http") and not self.host_secret_file
        return os.environ.get("JUPYTERHUB_API_TOKEN", "") if is_elsewhere else ""

    def _host_secret(self) -> str:
        if not self.host_secret_file:
            return ""
        try:
            return Path(self.host_secret_file).expanduser().read_text().strip()
        except OSError as error:
            raise TraitError(
                f"host_secret_file {self.host_secret_file} cannot be read: {error.strerror}."
            ) from error

    def _child_config(self) -> bytes:
        return child_config(self.config, str(self._data_dir), self.log, self._secrets)

    def initialize_handlers(self) -> None:
        """Mount the proxy."""
        assert self.serverapp is not None
        prefix = url_path_join(self.serverapp.web_app.settings["base_url"], _NAME)
        given = {
            "server": self.supervisor,
            "prefix": prefix,
            "jupyter_user": self.jupyter_user,
            "own_token": self._hub_token,
        }
        self.handlers.append((r"/mlsvc(?:/.*)?", ProxyHandler, given))

    # --- life --------------------------------------------------------------------------------

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        if not self._was_built():
            return
        self._times = serverapp.web_app.settings["last_activity_times"]
        self._kernels.open(autoload=self.autoload_magics)
        self.supervisor.start()

    async def stop_extension(self) -> None:
        """Leave the server; where this is its last host, wait until it ended."""
        if not self._was_built():
            return
        await self.supervisor.stop()
        self._kernels.close()

    def _was_built(self) -> bool:
        # Jupyter starts and stops extensions that it could not load, too; it said why.
        return hasattr(self, "supervisor")

    # --- what the supervisor tells -------------------------------------------------------------

    async def attached(self, client: HostClient, status: HostStatus) -> None:
        """Let kernels know of the server that serves now."""
        token = await client.token(self.jupyter_user)
        self.log.info("jupyter-mlsvc: attached to the server of %s", self._where)
        if status.server_version != __version__:
            self.log.warning(
                "jupyter-mlsvc: the server runs version %s, this Jupyter server has %s. Restart "
                "all Jupyter servers that use it.",
                status.server_version,
                __version__,
            )
        if status.problem:
            self.log.warning("jupyter-mlsvc: %s", status.problem)
        # What the server calls itself may be an address that only its own machine has.
        is_elsewhere = self.server_url.startswith("http")
        public_url = self.server_url if is_elsewhere else status.public_url
        url = self._url_for_kernels(public_url)
        self._write_connection(Connection(url=url, token=token, public_url=public_url))

    def failed(self, problem: str) -> None:
        """Let kernels say at once why there is no server."""
        self._write_connection(Connection(problem=problem))

    def _write_connection(self, connection: Connection) -> None:
        try:
            self._kernels.write(connection)
        except OSError as error:
            self.log.warning(
                "jupyter-mlsvc: kernels do not find the server, as %s cannot be written (%s).",
                self._kernels.path,
                error.strerror,
            )

    def reported(self, status: HostStatus) -> None:
        """Let Jupyter, which ends servers that nobody uses, know what goes on."""
        self._status = status
        if status.last_activity is not None:
            self._times[_NAME] = datetime.fromisoformat(status.last_activity)

    def current_activity(self) -> dict[str, Any] | None:
        """Tell Jupyter what would be lost by stopping now.

        Only what there is has an entry. Sessions count as Jupyter's kernels do; they have a lease
        of their own.
        """
        status: HostStatus | None = getattr(self, "_status", None)
        if status is None:
            return None
        counts = {"sessions": status.sessions, "batches": status.batches}
        return {name: count for name, count in counts.items() if count}

    @property
    def _where(self) -> str:
        return self.server_url or str(self._data_dir)

    def _url_for_kernels(self, public_url: str) -> str:
        """Return the address that needs no certificate of ours to be known."""
        if public_url.startswith("http:"):
            return public_url
        serverapp = self.serverapp
        if serverapp is None or serverapp.sock:
            return public_url
        scheme = "https" if serverapp.certfile else "http"
        ip = serverapp.ip if serverapp.ip not in {"", "0.0.0.0", "::"} else "localhost"  # noqa: S104
        host = f"[{ip}]" if ":" in ip else ip
        mounted = url_path_join(f"{scheme}://{host}:{serverapp.port}", serverapp.base_url, _NAME)
        return mounted.rstrip("/")


_SECRETS: Final = ("MLSVC_ADMIN_PASSWORD",)
"""Environment variables that are for the server only."""
_SCHEMES: Final = frozenset({"http", "https"})
