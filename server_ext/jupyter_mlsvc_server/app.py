"""The server extension: builds the parts, opens both doors, and stops in reverse order."""

from __future__ import annotations

import asyncio
import gc
import getpass
import os
import socket
import ssl
from pathlib import Path
from typing import Any, Final

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from traitlets import Bool, Integer, List, TraitError, Type, Unicode, default, validate
from traitlets.config import Config

from jupyter_mlsvc_server import __version__
from jupyter_mlsvc_server.activity import ActivityReporter
from jupyter_mlsvc_server.auth import handlers as auth_handlers
from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.cli import UserApp
from jupyter_mlsvc_server.auth.principal import Principal, Role
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.batches import handlers as batch_handlers
from jupyter_mlsvc_server.batches.manager import BatchManager
from jupyter_mlsvc_server.compute_nodes import ComputeNodes
from jupyter_mlsvc_server.compute_nodes import routes as compute_node_routes
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.events import handlers as event_handlers
from jupyter_mlsvc_server.events.hub import EventHub
from jupyter_mlsvc_server.front.door import FrontDoor
from jupyter_mlsvc_server.parts import Parts
from jupyter_mlsvc_server.scoring.engine import ScoringEngine
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.services import handlers as service_handlers
from jupyter_mlsvc_server.services.manager import ServiceManager
from jupyter_mlsvc_server.services.pools import PoolManager
from jupyter_mlsvc_server.services.statistics import ServiceStatisticsReporter
from jupyter_mlsvc_server.services.store import ServiceStore
from jupyter_mlsvc_server.sessions import handlers as session_handlers
from jupyter_mlsvc_server.sessions.manager import SessionManager
from jupyter_mlsvc_server.snapshots import handlers as snapshot_handlers
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.status import StatusReporter
from jupyter_mlsvc_server.status import routes as status_routes
from jupyter_mlsvc_server.storage.blobs import BlobStore
from jupyter_mlsvc_server.storage.database import Database, UnusableDatabase
from jupyter_mlsvc_server.storage.files import private_directory
from jupyter_mlsvc_server.storage.staging import Staging
from jupyter_mlsvc_server.web import (
    PARTS,
    WEB_SETTINGS,
    JupyterEndpoint,
    PublicEndpoint,
    Routes,
    UnknownPath,
    WebSettings,
    all_routes,
    mount,
)

_LAST_PORT: Final = 65535
_BACKLOG: Final = 2048
"""Connections that wait to be taken, such as while the process of the public door restarts."""

_ML_SERVER: Final = {
    "MlsvcApp": {"lenient_json": True, "any_case_paths": True},
    "ServiceManager": {"default_runtime": "R"},
    "SessionManager": {"default_runtime": "R"},
    "BatchManager": {"state_spelling": "complete"},
}
"""Settings of ``MlsvcApp.as_ml_server``."""

ROUTES: Routes = all_routes(
    (
        auth_handlers.routes,
        service_handlers.routes,
        batch_handlers.routes,
        session_handlers.routes,
        snapshot_handlers.routes,
        event_handlers.routes,
        compute_node_routes,
        status_routes,
        [(r"/.*", UnknownPath)],
    )
)


class MlsvcApp(ExtensionApp):
    """Turns what runs in a notebook into versioned web services."""

    name = "mlsvc"
    app_name = "jupyter-mlsvc"
    description = """Host sessions, snapshots and services.

    Without a subcommand it starts a Jupyter server with this extension and no front end."""
    version = __version__
    extension_url = "/mlsvc/health/ready"
    load_other_extensions = False
    # A server that is there for this alone does not start without it.
    serverapp_config: dict[str, Any] = {  # noqa: RUF012 - of jupyter_server, which declares it so
        "reraise_server_extension_failures": True,
        "open_browser": False,
    }
    flags: dict[str, Any] = {  # noqa: RUF012 - traitlets declares it so
        **ExtensionApp.flags,
        "as-ml-server": (
            {"MlsvcApp": {"as_ml_server": True}},
            "Take the defaults of Microsoft ML Server: R, its spelling of states, lenient JSON, "
            "and paths in any case.",
        ),
    }
    subcommands: dict[str, Any] = {  # noqa: RUF012 - traitlets declares it so
        "user": (UserApp, "Add, change, list and remove local accounts."),
    }

    public_enabled = Bool(True, help="Whether the public door is opened.").tag(config=True)
    public_ip = Unicode(
        help="Address of the public door. Default: MLSVC_IP, else 127.0.0.1, which only programs "
        "on this machine reach."
    ).tag(config=True)
    public_port = Integer(
        help="Port of the public door; 0 takes a free one. Default: MLSVC_PORT, else 12800."
    ).tag(config=True)
    public_certfile = Unicode(
        "", help="Certificate chain (PEM) of the public door; empty serves plain HTTP."
    ).tag(config=True)
    public_keyfile = Unicode("", help="Private key (PEM) of the public door.").tag(config=True)
    as_ml_server = Bool(
        False,
        help="Whether defaults are those of the original: R where a runtime is left out, states of "
        "batches as its documents spell them, lenient JSON, and paths in any case. Settings made "
        "elsewhere count for more. The flag --as-ml-server of 'jupyter mlsvc' sets it.",
    ).tag(config=True)
    lenient_json = Bool(
        True,
        help="Whether a body that is no strict JSON is read leniently, up to 64 KiB: single "
        "quotes, names without quotes, comments, a comma after the last item; and whether members "
        "of requests may be spelled in another case, or with underscores.",
    ).tag(config=True)
    any_case_paths = Bool(
        False,
        help="Whether paths may be written in any case, but for the names of things in them.",
    ).tag(config=True)
    cors_origins = List(
        Unicode(),
        help="Origins whose pages may call the public door from a browser. Empty allows none.",
    ).tag(config=True)
    max_body_bytes = Integer(
        64 * 2**20, help="Largest body of a request, in bytes, other than an upload."
    ).tag(config=True)
    max_upload_bytes = Integer(
        2 * 2**30, help="Largest upload of a file or workspace object, in bytes."
    ).tag(config=True)
    public_process = Bool(
        True,
        help="Whether the public door and the workers of services run below a process of their "
        "own, which answers calls several times as fast and does not wait for a busy Jupyter "
        "server. It runs LocalEngine only; other engines are called from the server's own process.",
    ).tag(config=True)
    data_dir = Unicode(
        help="Folder of the database, the snapshots and the signing key. Default: MLSVC_DATA_DIR, "
        "else 'mlsvc' in Jupyter's data folder."
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
    scoring_engine_class = Type(
        LocalEngine, klass=object, help="What runs the code of services."
    ).tag(config=True)

    @default("public_ip")
    def _default_public_ip(self) -> str:
        return os.environ.get("MLSVC_IP", "127.0.0.1")

    @default("public_port")
    def _default_public_port(self) -> int:
        text = os.environ.get("MLSVC_PORT", "12800")
        if not (text.isascii() and text.isdigit() and int(text) <= _LAST_PORT):
            raise TraitError(f"MLSVC_PORT is {text!r}; it has to be a port number, 0 to 65535.")
        return int(text)

    @default("data_dir")
    def _default_data_dir(self) -> str:
        return os.environ.get("MLSVC_DATA_DIR") or str(Path(jupyter_data_dir()) / "mlsvc")

    @default("jupyter_user")
    def _default_jupyter_user(self) -> str:
        return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()

    @validate("public_port")
    def _check_port(self, proposal: dict[str, Any]) -> int:
        port: int = proposal["value"]
        if not 0 <= port <= _LAST_PORT:
            raise TraitError(f"public_port is {port}; it has to be 0 to {_LAST_PORT}.")
        return port

    @classmethod
    def make_serverapp(cls, **kwargs: Any) -> ServerApp:
        """Make the Jupyter server, which reads the command line and has to know our flag."""
        serverapp = super().make_serverapp(**kwargs)
        serverapp.flags = {**serverapp.flags, "as-ml-server": cls.flags["as-ml-server"]}
        return serverapp

    # --- building ----------------------------------------------------------------------------

    def initialize_settings(self) -> None:
        """Build the parts and hand them to both doors' endpoints."""
        if self.as_ml_server:
            config = Config(_ML_SERVER)
            config.merge(self.config)
            self.update_config(config)
        data_dir = Path(self.data_dir).expanduser().resolve()
        try:
            private_directory(data_dir)
        except OSError as error:
            # Where this server is there for this alone, traitlets tells it in a line and exits.
            raise TraitError(f"data_dir {data_dir} cannot be used: {error.strerror}.") from error
        self._front: FrontDoor | None = None
        self.parts = self._build(data_dir)
        self._sockets: list[socket.socket] = []
        self._closed_door: OSError | None = None
        self._activity = ActivityReporter(
            sessions=self.parts.sessions, scoring=self.parts.scoring, batches=self.parts.batches
        )
        self._door: HTTPServer | None = None
        self.public_url = ""
        self._kernel_environment: dict[str, str] = {}
        self._web_settings: dict[str, Any] = {
            PARTS: self.parts,
            WEB_SETTINGS: WebSettings(
                max_body_bytes=self.max_body_bytes,
                max_upload_bytes=self.max_upload_bytes,
                cors_origins=frozenset(self.cors_origins),
                jupyter_user=self.jupyter_user,
                lenient_json=self.lenient_json,
            ),
        }
        self.settings.update(self._web_settings)

    def initialize_handlers(self) -> None:
        """Mount the routes at the Jupyter door."""
        self.handlers.extend(mount(ROUTES, JupyterEndpoint, "/mlsvc", any_case=self.any_case_paths))

    def _build(self, data_dir: Path) -> Parts:
        self._database = Database(data_dir=data_dir, parent=self)
        accounts = AccountManager(database=self._database, parent=self)
        events = EventHub(parent=self)
        blobs = BlobStore(data_dir=data_dir, parent=self)
        snapshots = SnapshotManager(
            database=self._database,
            blobs=blobs,
            data_dir=data_dir,
            announce=events.announce,
            parent=self,
        )
        sessions = SessionManager(
            data_dir=data_dir, snapshots=snapshots, announce=events.announce, parent=self
        )
        scoring = self._build_engine(data_dir)
        store = ServiceStore(database=self._database)
        services = ServiceManager(
            store=store,
            snapshots=snapshots,
            scoring=scoring,
            announce=events.announce,
            parent=self,
        )
        scoring.definitions = services.definition
        scoring.answered = services.note_answered
        tokens = TokenManager(
            database=self._database, accounts=accounts, data_dir=data_dir, parent=self
        )
        if self._front is not None:
            self._front.trust(tokens)
        compute_nodes = ComputeNodes(parent=self)
        return Parts(
            accounts=accounts,
            tokens=tokens,
            events=events,
            sessions=sessions,
            snapshots=snapshots,
            scoring=scoring,
            services=services,
            batches=BatchManager(
                database=self._database,
                services=services,
                scoring=scoring,
                data_dir=data_dir,
                announce=events.announce,
                parent=self,
            ),
            pools=PoolManager(
                store=store,
                services=services,
                scoring=scoring,
                announce=events.announce,
                parent=self,
            ),
            statistics=ServiceStatisticsReporter(services=services, scoring=scoring, parent=self),
            compute_nodes=compute_nodes,
            status=StatusReporter(
                database=self._database,
                sessions=sessions,
                scoring=scoring,
                compute_nodes=compute_nodes,
                parent=self,
            ),
            staging=Staging(data_dir),
        )

    def _build_engine(self, data_dir: Path) -> ScoringEngine:
        engine: ScoringEngine = self.scoring_engine_class(data_dir=data_dir, parent=self)
        wants_front = self.public_enabled and self.public_process
        # A cluster's engine needs no process of ours beside it.
        if not wants_front or type(engine) is not LocalEngine:
            return engine
        self._front = FrontDoor(
            settings=engine,
            data_dir=str(data_dir),
            max_body_bytes=self.max_body_bytes,
            cors_origins=self.cors_origins,
            any_case_paths=self.any_case_paths,
            certfile=self.public_certfile,
            keyfile=self.public_keyfile,
            log=self.log,
        )
        return self._front.engine

    # --- life --------------------------------------------------------------------------------

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        if not self._was_built():
            return
        try:
            await self._start_parts()
        except (MlsvcServerError, UnusableDatabase, ssl.SSLError, OSError) as error:
            await self._give_up(f"jupyter-mlsvc does not start: {error}")
            return
        if self._closed_door is not None:
            await self._explain_closed_door(self._closed_door)
        elif self.public_enabled:
            await self._open_public_door()
        self._tell_kernels()
        self._activity.start(serverapp.web_app.settings["last_activity_times"])
        # What is there now stays; looking through it again would only make callers wait.
        gc.collect()
        gc.freeze()

    async def _start_parts(self) -> None:
        parts = self.parts
        self._tls = self._tls_context()
        self._bind_public_door()
        await self._database.start()
        await asyncio.to_thread(parts.staging.open)
        await parts.accounts.ensure_admin()
        await parts.tokens.start()
        await parts.snapshots.start()
        await parts.scoring.start()
        await parts.pools.start()
        await parts.sessions.start()
        await parts.batches.start()
        parts.ready = True

    def current_activity(self) -> dict[str, Any] | None:
        """Tell Jupyter, which ends servers that nobody uses, what goes on."""
        return self._activity.current() if self._was_built() else None

    async def stop_extension(self) -> None:
        """Close the doors, then stop the parts in the reverse of their order."""
        if not self._was_built():
            return
        parts = self.parts
        parts.ready = False
        parts.stopping = True
        gc.unfreeze()
        for name in self._kernel_environment:
            os.environ.pop(name, None)
        await self._activity.stop()
        await parts.events.stop()
        await self._close_public_door()
        await parts.batches.stop()
        await parts.sessions.stop()
        await parts.scoring.stop()
        await parts.snapshots.stop()
        await parts.tokens.stop()
        await asyncio.to_thread(parts.staging.close)
        await self._database.stop()

    def _was_built(self) -> bool:
        # Jupyter starts and stops extensions that it could not load, too; it said why.
        return hasattr(self, "parts")

    def _bind_public_door(self) -> None:
        """Take the port; who connects before the door is open waits."""
        if not self.public_enabled:
            return
        try:
            self._sockets = bind_sockets(self.public_port, self.public_ip, backlog=_BACKLOG)
        except OSError as error:
            self._closed_door = error
        if self._front is not None:
            self._front.bind(self._sockets)

    async def _open_public_door(self) -> None:
        application = Application(
            mount(ROUTES, PublicEndpoint, any_case=self.any_case_paths),
            log_function=_log_nothing,
            **self._web_settings,
        )
        scheme = "https" if self._tls else "http"
        self.public_url = _url(scheme, *self._sockets[0].getsockname()[:2])
        self.parts.public_url = self.public_url
        if self._front is not None:
            await self._front.open(application, scheme)
        else:
            self._door = HTTPServer(application, ssl_options=self._tls, idle_connection_timeout=300)
            self._door.add_sockets(self._sockets)
        self.log.info("jupyter-mlsvc serves programs at %s", self.public_url)

    async def _close_public_door(self) -> None:
        if self._front is not None:
            await self._front.close()
        if self._door is not None:
            self._door.stop()
            await self._door.close_all_connections()
            self._door = None
        for each in self._sockets:
            each.close()
        self._sockets = []

    def _tls_context(self) -> ssl.SSLContext | None:
        if not self.public_certfile:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.public_certfile, self.public_keyfile or None)
        return context

    async def _explain_closed_door(self, error: OSError) -> None:
        sentence = (
            f"The public door cannot be opened at {self.public_ip}:{self.public_port} "
            f"({os.strerror(error.errno or 0)}). Choose another port with MLSVC_PORT or "
            "--MlsvcApp.public_port, or stop what uses it."
        )
        if self._serves_programs_only:
            await self._give_up(sentence)
        else:
            self.log.warning("%s Notebooks of this server work all the same.", sentence)

    @property
    def _serves_programs_only(self) -> bool:
        return self.serverapp is not None and self.serverapp.starter_app is self

    async def _give_up(self, sentence: str) -> None:
        """Leave nothing running; a server that is there for this alone ends."""
        self.log.critical("%s", sentence)
        await self.stop_extension()
        if self._serves_programs_only:
            # Raising here would only be logged by Jupyter as one more extension's failure.
            os._exit(1)

    def _tell_kernels(self) -> None:
        """Let kernels and terminals that Jupyter starts find the server without set-up."""
        principal = Principal(name=self.jupyter_user, role=Role.OWNER)
        self._kernel_environment = {
            "MLSVC_URL": self._notebook_url(),
            "MLSVC_TOKEN": self.parts.tokens.local_token(principal),
            "MLSVC_PUBLIC_URL": self.public_url,
            "MLSVC_AUTOLOAD": "1" if self.autoload_magics else "0",
        }
        os.environ.update(self._kernel_environment)

    def _notebook_url(self) -> str:
        serverapp = self.serverapp
        if serverapp is None or serverapp.sock:
            return self.public_url
        scheme = "https" if serverapp.certfile else "http"
        ip = serverapp.ip if serverapp.ip not in {"", "0.0.0.0", "::"} else "localhost"  # noqa: S104
        door = url_path_join(_url(scheme, ip, serverapp.port), serverapp.base_url, "mlsvc")
        return door.rstrip("/")


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _log_nothing(_handler: object) -> None:
    """Endpoints log what an operator needs; a line for every scoring call would bury it."""


def main() -> None:
    """Run ``jupyter mlsvc``."""
    MlsvcApp.launch_instance()  # type: ignore[no-untyped-call]  # of traitlets
