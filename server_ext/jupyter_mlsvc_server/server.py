"""The server: builds its managers, serves the API, and stops in reverse order.

This is the composition root, the only place that knows all parts. It runs in a process of its own,
``jupyter mlsvc serve``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import re
import resource
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from jupyter_core.application import JupyterApp, NoStart
from traitlets import Bool, Enum, Float, Integer, TraitError, Type, Unicode, default, validate
from traitlets.config import Config

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.api.admission import connections_possible
from jupyter_mlsvc_server.api.app import ApiApp
from jupyter_mlsvc_server.api.authentication import Authentication
from jupyter_mlsvc_server.api.batches import BatchRoutes
from jupyter_mlsvc_server.api.body_memory import BodyMemory
from jupyter_mlsvc_server.api.certificate import Certificate
from jupyter_mlsvc_server.api.compute_nodes import ComputeNodeRoutes
from jupyter_mlsvc_server.api.drain import Drain
from jupyter_mlsvc_server.api.events import EventRoutes
from jupyter_mlsvc_server.api.forms import FormUploads
from jupyter_mlsvc_server.api.host import HostRoutes
from jupyter_mlsvc_server.api.http_server import HttpServer
from jupyter_mlsvc_server.api.identity import IdentityRoutes
from jupyter_mlsvc_server.api.keys import KeyRoutes
from jupyter_mlsvc_server.api.lifecycle import Lifecycle, Stage
from jupyter_mlsvc_server.api.listening import is_only_local, listen_at_path, listen_on_port
from jupyter_mlsvc_server.api.login import LoginRoutes
from jupyter_mlsvc_server.api.metrics import (
    MetricsAccess,
    MetricsRoutes,
    NoCalls,
    read_metrics_key,
)
from jupyter_mlsvc_server.api.pages import Pages, installed_bundle
from jupyter_mlsvc_server.api.protocol import Limits
from jupyter_mlsvc_server.api.proxies import TrustedProxies
from jupyter_mlsvc_server.api.request import ApiSettings
from jupyter_mlsvc_server.api.routing import BodySize, Operation, Router, Routes, route
from jupyter_mlsvc_server.api.score import CALL_ROUTE, ScoreEntry
from jupyter_mlsvc_server.api.services import (
    CallRoutes,
    ContentRoutes,
    LogRoutes,
    PoolRoutes,
    ServiceRoutes,
    StatisticsRoutes,
)
from jupyter_mlsvc_server.api.sessions import SessionRoutes, WorkspaceRoutes
from jupyter_mlsvc_server.api.snapshots import SnapshotRoutes
from jupyter_mlsvc_server.api.status import DocumentRoutes, StatusRoutes
from jupyter_mlsvc_server.api.traced_protocol import TracedScoreEntry
from jupyter_mlsvc_server.audit.cli import AuditCommand
from jupyter_mlsvc_server.audit.log import AuditLog
from jupyter_mlsvc_server.auth.accounts import AccountManager
from jupyter_mlsvc_server.auth.authenticators import Authenticators, make_authenticators
from jupyter_mlsvc_server.auth.cli import UserApp
from jupyter_mlsvc_server.auth.group_cli import GroupApp
from jupyter_mlsvc_server.auth.hosts import Hosts
from jupyter_mlsvc_server.auth.jupyterhub import SERVICE_NAME_VARIABLE
from jupyter_mlsvc_server.auth.key_cli import KeyApp
from jupyter_mlsvc_server.auth.key_verifier import KeyVerifier
from jupyter_mlsvc_server.auth.principal import Role
from jupyter_mlsvc_server.auth.signing_key_cli import SigningKeyApp
from jupyter_mlsvc_server.auth.tokens import TokenManager
from jupyter_mlsvc_server.auth.user_ids import UserIds
from jupyter_mlsvc_server.auth.watch import AccountWatch
from jupyter_mlsvc_server.batches.manager import BatchManager
from jupyter_mlsvc_server.confinement import Confinement
from jupyter_mlsvc_server.errors import MlsvcServerError
from jupyter_mlsvc_server.events.hub import EventHub
from jupyter_mlsvc_server.events.record import Change, EventAction
from jupyter_mlsvc_server.formats.confine import hide_memory
from jupyter_mlsvc_server.formats.host import (
    DATA_DIR_IN_USE,
    data_dir_path,
    lock_path,
    secret_path,
    socket_path,
)
from jupyter_mlsvc_server.formats.private_files import private_directory, write_atomic
from jupyter_mlsvc_server.hosting import (
    Leases,
    StartReport,
    notify_service_manager,
    read_host_config,
)
from jupyter_mlsvc_server.id_range import IdRange
from jupyter_mlsvc_server.monitoring.activity import ActivityReporter
from jupyter_mlsvc_server.monitoring.answered import AnsweredRequest, Observer
from jupyter_mlsvc_server.monitoring.audited import AuditObserver
from jupyter_mlsvc_server.monitoring.logs import TEXT, formatter, note_access
from jupyter_mlsvc_server.monitoring.machine import MachineMonitor
from jupyter_mlsvc_server.monitoring.metrics import MetricsReporter, Sources
from jupyter_mlsvc_server.monitoring.status import StatusReporter
from jupyter_mlsvc_server.monitoring.traces import (
    NAMED_BY_ENVIRONMENT,
    Traces,
    TracesNotInstalled,
    start_traces,
)
from jupyter_mlsvc_server.scoring.compute_nodes import ComputeNodes
from jupyter_mlsvc_server.scoring.local import LocalEngine
from jupyter_mlsvc_server.services.call_history import CallRecorder
from jupyter_mlsvc_server.services.contents import ServiceContentReader
from jupyter_mlsvc_server.services.key_manager import KeyManager
from jupyter_mlsvc_server.services.logs import ServiceLogReader
from jupyter_mlsvc_server.services.manager import ServiceManager
from jupyter_mlsvc_server.services.pools import PoolManager
from jupyter_mlsvc_server.services.recent_calls import RecentCallReader
from jupyter_mlsvc_server.services.revision_watch import RevisionWatch
from jupyter_mlsvc_server.services.statistics import ServiceStatisticsReporter
from jupyter_mlsvc_server.services.store import ServiceStore
from jupyter_mlsvc_server.sessions.manager import MlsvcSessionManager
from jupyter_mlsvc_server.shared_state import share_state
from jupyter_mlsvc_server.snapshots.manager import SnapshotManager
from jupyter_mlsvc_server.storage.cli import AdoptCommand, BackupCommand, RestoreCommand
from jupyter_mlsvc_server.storage.config_files import ConfiguredApp
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.disk import DiskSpace
from jupyter_mlsvc_server.storage.errors import UnusableDatabase
from jupyter_mlsvc_server.storage.installation import Installation
from jupyter_mlsvc_server.storage.object_store import UnusableObjectStore
from jupyter_mlsvc_server.storage.shared_blobs import make_blob_store
from jupyter_mlsvc_server.storage.signals import Signals
from jupyter_mlsvc_server.storage.staging import Staging
from jupyter_mlsvc_server.storage.traits import TextList

T = TypeVar("T")

_LAST_PORT: Final = 65535
_SWITCH_SECONDS: Final = 0.0001
"""How long a thread goes on that runs Python while the event loop has something to do.

The loop waits for that at each event, of which one turn has many. Python's own 5 ms made the p99 of
calls at 8 connections ten times as long beside one such thread.
"""
_MISUSED: Final = 2

_MOST_DESCRIPTORS: Final = 2**20
"""Linux lets no process have more unless it was told to."""

_STOP_SECONDS: Final = 30.0
_HOSTED_STOP_SECONDS: Final = 3.0
"""Somebody waits in front of a terminal, or JupyterHub does, which waits for ten seconds."""

_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # it is not opened here
"""What stands for all addresses of a machine, and one of them that programs there reach."""

_BASE_PATH: Final = re.compile(r"(/[\w.~@%-]+)+", re.ASCII)

_ML_SERVER: Final = {
    "MlsvcApp": {"lenient_json": True, "any_case_paths": True},
    "ServiceManager": {"default_runtime": "R"},
    "MlsvcSessionManager": {"default_runtime": "R"},
    "BatchManager": {"state_spelling": "complete"},
}
"""Settings of ``MlsvcApp.as_ml_server``."""

_OF_JUPYTER: Final = "Of no effect here; taken because commands for a Jupyter server have it."


class CannotStart(RuntimeError):
    """The server does not start; the message is a sentence for who starts it."""

    exit_code: ClassVar[int] = 1


class DataFolderInUse(CannotStart):
    """Another server runs on the data folder."""

    exit_code = DATA_DIR_IN_USE

    def __init__(self, data_dir: Path) -> None:
        super().__init__(f"another server uses the data folder {data_dir}.")


class UnusableDataFolder(CannotStart):
    """The data folder cannot be made or entered."""

    def __init__(self, data_dir: Path, error: OSError) -> None:
        super().__init__(f"data_dir {data_dir} cannot be used: {error.strerror}.")


class PortInUse(CannotStart):
    """The public port cannot be opened; the message says what to do."""

    def __init__(self, place: str, error: OSError) -> None:
        super().__init__(
            f"The public API cannot be served at {place} ({os.strerror(error.errno or 0)}). Choose "
            "another port with MLSVC_PORT or --MlsvcApp.public_port, or stop what uses it."
        )


class PlainHttpRefused(CannotStart):
    """Other machines would send passwords in the open; the message says what to do."""

    def __init__(self, place: str) -> None:
        super().__init__(
            f"The public API is not served at {place} without TLS: other machines would send "
            "passwords and tokens in the open. Set MlsvcApp.public_certfile and public_keyfile. "
            "Or set MlsvcApp.allow_plain_http=True where only a proxy with TLS, or a network that "
            "you trust, reaches this address."
        )


class UnusableCertificate(CannotStart):
    """The certificate or its key cannot be used."""

    def __init__(self, certfile: str, error: OSError) -> None:
        super().__init__(
            f"public_certfile {certfile} cannot be used with public_keyfile: "
            f"{error.strerror or error}."
        )


class MetricsPortInUse(CannotStart):
    """The port of the metrics cannot be opened; the message says what to do."""

    def __init__(self, place: str, error: OSError) -> None:
        super().__init__(
            f"The metrics cannot be served at {place} ({os.strerror(error.errno or 0)}). Choose "
            "another port with --MlsvcApp.metrics_port, or stop what uses it."
        )


class MlsvcApp(ConfiguredApp):
    """Turns what runs in a notebook into versioned web services."""

    name = "mlsvc"
    description = """Serve sessions, snapshots and services.

    Runs the server in the foreground; 'jupyter mlsvc serve' is the same."""
    version = __version__
    aliases: dict[str, Any] = {  # noqa: RUF012 - traitlets declares it so
        **JupyterApp.aliases,
        "data-dir": "MlsvcApp.data_dir",
        "ip": "MlsvcApp.public_ip",
        "port": "MlsvcApp.public_port",
    }
    flags: dict[str, Any] = {  # noqa: RUF012 - traitlets declares it so
        **JupyterApp.flags,
        "as-ml-server": (
            {"MlsvcApp": {"as_ml_server": True}},
            "Take the defaults of Microsoft ML Server: R, its spelling of states, lenient JSON, "
            "and paths in any case.",
        ),
        "no-browser": ({}, _OF_JUPYTER),
        "allow-root": ({}, _OF_JUPYTER),
    }
    subcommands: dict[str, Any] = {  # noqa: RUF012 - traitlets declares it so
        "serve": ("jupyter_mlsvc_server.server.MlsvcApp", "Run the server in the foreground."),
        "user": (UserApp, "Add, change, list and remove local accounts."),
        "group": (GroupApp, "Add, list and remove members of groups."),
        "key": (KeyApp, "Make, list and revoke keys of applications."),
        "signing-key": (SigningKeyApp, "Change and list the keys that sign access tokens."),
        "adopt": (AdoptCommand, "Let a database take over a data folder of another one."),
        "backup": (BackupCommand, "Copy all that is kept, also while the server runs."),
        "restore": (RestoreCommand, "Copy a backup into an empty data folder."),
        "state": (
            "jupyter_mlsvc_server.storage.state_cli.StateApp",
            "Copy what is kept into a database that servers share.",
        ),
        "audit": (AuditCommand, "Show who did what."),
        "doctor": (
            "jupyter_mlsvc_server.doctor.app.DoctorApp",
            "Look for what keeps a server from working.",
        ),
    }

    public_enabled = Bool(True, help="Whether the port of the public API is opened.").tag(
        config=True
    )
    public_ip = Unicode(
        help="Address of the public API. Default: MLSVC_IP, else 127.0.0.1, which only programs "
        "on this machine reach."
    ).tag(config=True)
    public_port = Integer(
        help="Port of the public API; 0 takes a free one. Default: MLSVC_PORT, else 12800."
    ).tag(config=True)
    public_url = Unicode(
        help="Address at which programs find the public API, where that is a proxy's. Default: "
        "JUPYTERHUB_PUBLIC_URL for a service of JupyterHub, else where the server listens."
    ).tag(config=True)
    base_path = Unicode(
        help="Path that a proxy leaves before those of the API, such as /services/mlsvc; they are "
        "answered without it as well. Default: JUPYTERHUB_SERVICE_PREFIX for a service of "
        "JupyterHub, else none."
    ).tag(config=True)
    public_certfile = Unicode(
        "", help="Certificate chain (PEM) of the public API; empty serves plain HTTP."
    ).tag(config=True)
    public_keyfile = Unicode("", help="Private key (PEM) of the public API.").tag(config=True)
    allow_plain_http = Bool(
        False,
        help="Whether the public API may be served without TLS at an address that other machines "
        "reach. Passwords and tokens travel in the open there, so let only a proxy with TLS, or a "
        "network that you trust, reach it.",
    ).tag(config=True)
    metrics_ip = Unicode(
        "127.0.0.1",
        help="Address at which metrics are served without a token, once metrics_port is set.",
    ).tag(config=True)
    metrics_port = Integer(
        None,
        allow_none=True,
        min=0,
        max=_LAST_PORT,
        help="Port at which metrics are served without a token; 0 takes a free one, None serves "
        "them on the API only.",
    ).tag(config=True)
    metrics_key_file = Unicode(
        help="File of mode 0600 with the bearer token, of 24 characters or more, that lets a "
        "monitor read the metrics on the API. Without one only owners may.",
    ).tag(config=True)
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
    cors_origins = TextList(
        help="Origins whose pages may call the public API from a browser. Empty allows none.",
    ).tag(config=True)
    docs_public = Bool(
        False,
        help="Whether anybody may read what services there are, with their inputs, outputs and "
        "documents, without a token. Their code and their calls stay for those who have one.",
    ).tag(config=True)
    contact = Unicode(
        help="Whom the pages for callers name as the one to ask for access: a name, a team, an "
        "address. Anybody reads it.",
    ).tag(config=True)
    trusted_proxies = TextList(
        help="Addresses or networks of proxies before the public API whose X-Forwarded-For is "
        "believed. Without them all who come through a proxy have its address: they share limits "
        "by address, and the log names the proxy.",
    ).tag(config=True)
    max_connections = Integer(
        10_000,
        min=1,
        help="How many connections the public API takes, but no more than three quarters of the "
        "files that the server may have open. Further ones get 503; those on which nobody has "
        "shown who they are, and nothing is asked, end first.",
    ).tag(config=True)
    max_connections_of_address = Integer(
        1000,
        min=1,
        help="How many connections one address (of IPv6: one /64) may have. This machine and "
        "trusted_proxies may have three quarters of max_connections.",
    ).tag(config=True)
    max_body_bytes = Integer(
        64 * 2**20,
        help="Largest body of a call, a publish or an execution, in bytes. Uploads may be larger; "
        "all other requests need less, and may have 1 MiB, without credentials 8 KiB.",
    ).tag(config=True)
    max_upload_bytes = Integer(
        2 * 2**30, help="Largest upload of a file or workspace object, in bytes."
    ).tag(config=True)
    max_held_bytes = Integer(
        512 * 2**20,
        min=2**20,
        help="Bytes of bodies that are held in memory until their requests have been answered, of "
        "all callers together. More is answered with 503; who holds half of it by himself gets "
        "429.",
    ).tag(config=True)
    data_dir = Unicode(
        help="Folder of the database, the snapshots and the signing key. Default: MLSVC_DATA_DIR, "
        "else 'mlsvc' in Jupyter's data folder."
    ).tag(config=True)
    scoring_engine_class = Type(
        LocalEngine, klass=object, help="What runs the code of services."
    ).tag(config=True)
    hosts_file = Unicode(
        help="File with a line NAME:SECRET for each Jupyter server that may use this server over "
        "the network in a user's name (MlsvcExtension.server_url, host_secret_file); * lets it "
        "name anybody. Mode 0600. Empty lets none."
    ).tag(config=True)
    hosts_role = Enum(
        [role.value for role in Role],
        Role.CONTRIBUTOR.value,
        help="What users may do for whom Jupyter servers of hosts_file ask.",
    ).tag(config=True)
    authenticators = TextList(
        help="Who is asked for people without a local account, in order: oidc (OidcAuthenticator), "
        "ldap (LdapAuthenticator), jupyterhub (HubAuthenticator), or module and class of an "
        "authenticator of your own. Empty asks nobody; local accounts always work."
    ).tag(config=True)
    notebook_role = Enum(
        [role.value for role in Role],
        Role.CONTRIBUTOR.value,
        help="What notebooks and terminals of a Jupyter server may do in the name of its person. "
        "The person may do as much as an owner in the side panel all the same.",
    ).tag(config=True)
    drain_seconds = Float(
        0.0,
        min=0,
        help="Seconds between the signal to end and the stop, in which the server says that it is "
        "not ready, and still answers. A load balancer that probes GET /health/ready sends nobody "
        "here then: take longer than its probes need to find out.",
    ).tag(config=True)
    stop_seconds = Float(
        min=0,
        help="Seconds that calls, executions of sessions, uploads and downloads get to end when "
        "the server stops; new ones are answered with 503 meanwhile. Default: 30; 3 for a server "
        "that a Jupyter server started. A second signal ends the wait.",
    ).tag(config=True)
    hosted = Bool(
        False,
        help="Whether a Jupyter server started this one as its child: configuration comes through "
        "standard input, and the server ends with its last host. The extension sets it.",
    ).tag(config=True)

    log_format = Unicode(
        TEXT,
        help="How lines of the log are written: text, json (an object a line), or a template of "
        "Python's logging.",
    ).tag(config=True)
    access_log = Enum(
        ["off", "requests", "all"],
        "off",
        help="What is logged of requests that were answered: nothing, a line for each but calls "
        "of services, or one for each.",
    ).tag(config=True)

    traces_endpoint = Unicode(
        "",
        help="Where OpenTelemetry traces go, by OTLP over HTTP, such as "
        "http://localhost:4318/v1/traces. Needs the extra jupyter-mlsvc[traces]. Default: what "
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT says; where that is "
        "not set either, there are no traces.",
    ).tag(config=True)

    _report: StartReport | None = None

    def get_default_logging_config(self) -> dict[str, Any]:
        """Describe the log: ``log_format`` is a name, or a template of Python's ``logging``."""
        config: dict[str, Any] = super().get_default_logging_config()
        config["formatters"]["console"] = formatter(self.log_format, self.log_datefmt)
        return config

    @default("public_ip")
    def _default_public_ip(self) -> str:
        return os.environ.get("MLSVC_IP", "127.0.0.1")

    @default("public_port")
    def _default_public_port(self) -> int:
        text = os.environ.get("MLSVC_PORT", "12800")
        if not (text.isascii() and text.isdigit() and int(text) <= _LAST_PORT):
            raise TraitError(f"MLSVC_PORT is {text!r}; it has to be a port number, 0 to 65535.")
        return int(text)

    @default("public_url")
    def _default_public_url(self) -> str:
        return _of_hub_service("JUPYTERHUB_PUBLIC_URL")

    @default("base_path")
    def _default_base_path(self) -> str:
        return _of_hub_service("JUPYTERHUB_SERVICE_PREFIX")

    @default("stop_seconds")
    def _default_stop_seconds(self) -> float:
        return _HOSTED_STOP_SECONDS if self.hosted else _STOP_SECONDS

    @default("data_dir")
    def _default_data_dir(self) -> str:
        return str(data_dir_path())

    @validate("trusted_proxies")
    def _check_proxies(self, proposal: dict[str, Any]) -> list[str]:
        proxies: list[str] = proposal["value"]
        try:
            TrustedProxies(proxies)
        except ValueError as error:
            raise TraitError(f"trusted_proxies: {error}.") from None
        return proxies

    @validate("base_path")
    def _check_base_path(self, proposal: dict[str, Any]) -> str:
        path: str = proposal["value"].rstrip("/")
        if path and not _BASE_PATH.fullmatch(path):
            raise TraitError(f"base_path is {path!r}; it has to be a path such as /services/mlsvc.")
        return path

    @validate("public_url")
    def _check_public_url(self, proposal: dict[str, Any]) -> str:
        url: str = proposal["value"].rstrip("/")
        if url and not url.startswith(("http://", "https://")):
            raise TraitError(f"public_url is {url!r}; it has to begin with http:// or https://.")
        return url

    @validate("public_port")
    def _check_port(self, proposal: dict[str, Any]) -> int:
        port: int = proposal["value"]
        if not 0 <= port <= _LAST_PORT:
            raise TraitError(f"public_port is {port}; it has to be 0 to {_LAST_PORT}.")
        return port

    # --- the command -------------------------------------------------------------------------

    def initialize(self, argv: Sequence[str] | None = None) -> None:
        """Read command line and configuration files."""
        arguments = list(sys.argv[1:] if argv is None else argv)
        if arguments[:1] == ["serve"]:
            del arguments[0]
        super().initialize(arguments)
        self._take_renamed_section()
        self._tell_of_removed_section()
        if self.as_ml_server:
            config = Config(_ML_SERVER)
            config.merge(self.config)
            self.update_config(config)

    def _tell_of_removed_section(self) -> None:
        if self.config.pop("WarmKernels", None) is not None:
            self.log.warning(
                "WarmKernels has no settings any more, as no kernels are kept for later: Python "
                "sessions are forked from a process that has their libraries "
                "(KernelFactory.preload_at_start). Leave them out."
            )

    def _take_renamed_section(self) -> None:
        """Take our settings of ``SessionManager``, which is the name of a class of Jupyter's."""
        traits = MlsvcSessionManager.class_trait_names(config=True)
        section = self.config.pop("SessionManager", {})
        if own := {name: value for name, value in section.items() if name in traits}:
            self.log.warning(
                "Write MlsvcSessionManager instead of SessionManager for %s: Jupyter has a "
                "SessionManager of its own. The old name still counts.",
                " and ".join(sorted(own)),
            )
            config = Config({MlsvcSessionManager.__name__: own})
            config.merge(self.config)
            self.update_config(config)

    def load_config_file(  # type: ignore[override]  # as JupyterApp has it
        self, suppress_errors: bool = True
    ) -> None:
        """Read the configuration files; a hosted server gets all that its host read instead."""
        if not self.hosted:
            super().load_config_file(suppress_errors)
            return
        report = self._report = StartReport()
        self.log.addHandler(report)
        self.update_config(read_host_config())
        # A change of the log's settings makes its handlers anew.
        self.log.addHandler(report)

    def start(self) -> None:
        """Serve until a signal ends it; exits with a code where it can't."""
        super().start()
        if words := [word for word in self.extra_args if not word.startswith("-")]:
            self.log.critical("jupyter mlsvc has no command %r; see jupyter mlsvc --help.", *words)
            self.exit(_MISUSED)
        self._attach_loggers()
        raise_descriptor_limit()
        hide_memory()
        self.exit(run_loop(self._serve()))

    def _attach_loggers(self) -> None:
        """Have what our modules and libraries log written as the command's own lines are."""
        for name in ("jupyter_mlsvc_server", "uvicorn"):
            logger = self.log.manager.getLogger(name)
            logger.parent = self.log
            logger.setLevel(self.log.level)

    async def _serve(self) -> int:
        ending, hurry = asyncio.Event(), asyncio.Event()

        def end() -> None:
            (hurry if ending.is_set() else ending).set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end)
        try:
            leases = Leases(ending.set if self.hosted else None)
            server = Server(self, leases)
            await server.start()
        except (
            CannotStart,
            MlsvcServerError,
            UnusableDatabase,
            UnusableObjectStore,
            TraitError,
            OSError,
        ) as error:
            if self.hosted and isinstance(error, DataFolderInUse):
                # Another host was quicker; this one joins its server.
                self.log.info("jupyter-mlsvc does not start: %s", error)
            else:
                self.log.critical("jupyter-mlsvc does not start: %s", error)
            return getattr(error, "exit_code", CannotStart.exit_code)
        if self._report is not None:
            self._report.close()
        leases.start()
        notifying = asyncio.create_task(server.notify_when_ready())
        await ending.wait()
        notifying.cancel()
        notify_service_manager("STOPPING=1")
        leases.stop()
        await server.drain(hurry)
        self.log.info("jupyter-mlsvc stops: sessions and workers end")
        await server.stop()
        return 0


class Server:
    """The managers and the API of a server.

    Parameters
    ----------
    app
        Its settings.
    leases
        Counts the hosts.
    """

    def __init__(self, app: MlsvcApp, leases: Leases) -> None:
        self._app = app
        self._leases = leases
        self._log = app.log
        self._data_dir = Path(app.data_dir).expanduser().resolve()
        self._lifecycle = Lifecycle()
        self._socket_secret = secrets.token_urlsafe()
        self._closing = contextlib.AsyncExitStack()
        self._listens_at = ""
        self._build()
        self._share_state()

    def _build(self) -> None:
        app, data_dir = self._app, self._data_dir
        self._disk = DiskSpace(data_dir=data_dir, parent=app)
        self._confinement = Confinement(data_dir=data_dir, parent=app)
        self._database = Database(data_dir=data_dir, make_room=self._disk.make_room, parent=app)
        self._staging = Staging(data_dir, require_room=self._disk.require_room)
        self._accounts = AccountManager(database=self._database, parent=app)
        self._authenticators = Authenticators(
            self._accounts, make_authenticators(app.authenticators, parent=app)
        )
        self._key_verifier = KeyVerifier(database=self._database, parent=app)
        self._tokens = TokenManager(
            database=self._database,
            accounts=self._accounts,
            data_dir=data_dir,
            keys=self._key_verifier,
            authenticators=self._authenticators,
            parent=app,
        )
        self._events = EventHub(parent=app)
        self._blobs = blobs = make_blob_store(
            data_dir=data_dir, is_disk_short=lambda: self._disk.is_short, parent=app
        )
        publish_event = self._events.publish_event
        self._snapshots = SnapshotManager(
            database=self._database,
            blobs=blobs,
            data_dir=data_dir,
            require_room=self._disk.require_room,
            publish_event=publish_event,
            parent=app,
        )
        self._sessions = MlsvcSessionManager(
            data_dir=data_dir,
            snapshots=self._snapshots,
            confinement=self._confinement,
            publish_event=self._publish_session_event,
            parent=app,
        )
        self._traces = _traces(app)
        tracing = {} if self._traces is None else {"is_traced": True}
        self._scoring = app.scoring_engine_class(
            data_dir=data_dir, confinement=self._confinement, parent=app, **tracing
        )
        store = ServiceStore(database=self._database)
        self._services = ServiceManager(
            store=store,
            snapshots=self._snapshots,
            scoring=self._scoring,
            publish_event=publish_event,
            parent=app,
        )
        self._scoring.definitions = self._services.definition
        self._scoring.answered = self._services.note_answered
        self._revision_watch = RevisionWatch(
            database=self._database,
            store=store,
            services=self._services,
            scoring=self._scoring,
            parent=app,
        )
        self._calls = CallRecorder(database=self._database, scoring=self._scoring, parent=app)
        self._pools = PoolManager(
            store=store,
            services=self._services,
            scoring=self._scoring,
            publish_event=publish_event,
            parent=app,
        )
        self._batches = BatchManager(
            database=self._database,
            services=self._services,
            scoring=self._scoring,
            data_dir=data_dir,
            require_room=self._disk.require_room,
            publish_event=publish_event,
            trace=None if self._traces is None else self._traces.note_record,
            parent=app,
        )
        self._keys = KeyManager(
            database=self._database,
            verifier=self._key_verifier,
            tokens=self._tokens,
            publish_event=publish_event,
            parent=app,
        )
        self._account_watch = AccountWatch(
            accounts=self._accounts,
            tokens=self._tokens,
            holders=[self._sessions, self._batches],
            parent=app,
        )
        self._metrics = MetricsReporter(
            sources=Sources(
                accounts=self._accounts,
                batches=self._batches,
                blobs=blobs,
                connections=lambda: len(self._http.connections),
                data_dir=data_dir,
                events=self._events,
                scoring=self._scoring,
                sessions=self._sessions,
            ),
            parent=app,
        )
        self._body_memory = BodyMemory(app.max_held_bytes, largest=app.max_body_bytes)
        make_score: Callable[..., ScoreEntry] = ScoreEntry
        if self._traces is not None:
            make_score = partial(TracedScoreEntry, traces=self._traces)
        self._score = make_score(
            tokens=self._tokens,
            engine=self._scoring,
            max_body_bytes=app.max_body_bytes,
            memory=self._body_memory,
            cors_origins=app.cors_origins,
            any_case_paths=app.any_case_paths,
            base_path=app.base_path,
        )
        self._authentication = Authentication(
            self._tokens, self._hosts(), socket_secret=self._socket_secret
        )
        self._audit = AuditLog(data_dir=data_dir, parent=app)
        audited = AuditObserver(self._audit).note
        self._observers: list[Observer] = [self._metrics.note, audited]
        of_calls: list[Observer] = []
        if app.access_log == "all":
            of_calls.append(note_access)
        if self._audit.calls:
            of_calls.append(audited)
        if app.access_log != "off":
            with_calls = app.access_log == "all"
            self._observers.append(note_access if with_calls else _note_access_but_of_calls)
        if self._traces is not None:
            self._observers.append(self._traces.note)
        self._http = HttpServer(
            app=self._build_api(self._routes(), self._pages()),
            score=self._score,
            limits=Limits(
                connections=connections_possible(app.max_connections),
                connections_of_address=app.max_connections_of_address,
                proxies=TrustedProxies(app.trusted_proxies),
            ),
            log=self._log,
            observers=self._observers,
            call_observers=of_calls,
            traces=self._traces,
        )
        open_to_all = MetricsRoutes(metrics=self._metrics, access=None)
        self._metrics_http = HttpServer(
            app=self._build_api([open_to_all.table()]),
            score=NoCalls(),
            limits=Limits(),
            log=self._log,
        )

    def _share_state(self) -> None:
        self._signals = Signals(database=self._database, parent=self._app)
        share_state(
            self._signals,
            accounts=self._accounts,
            tokens=self._tokens,
            events=self._events,
            revision_watch=self._revision_watch,
        )

    def _publish_session_event(self, change: Change) -> None:
        self._events.publish_event(change)
        if change.action is EventAction.CHANGED:
            # Who works in a session may publish what comes of it.
            self._scoring.expect_publish()

    def _hosts(self) -> Hosts | None:
        app = self._app
        if not app.hosts_file:
            return None
        return Hosts.read(Path(app.hosts_file).expanduser(), Role(app.hosts_role))

    def _build_api(self, tables: list[Routes], pages: Pages | None = None) -> ApiApp:
        app = self._app
        return ApiApp(
            router=Router(tables, any_case=app.any_case_paths, base_path=app.base_path),
            authentication=self._authentication,
            lifecycle=self._lifecycle,
            settings=ApiSettings(
                max_body_bytes=app.max_body_bytes,
                max_upload_bytes=app.max_upload_bytes,
                memory=self._body_memory,
                cors_origins=frozenset(app.cors_origins),
                lenient_json=app.lenient_json,
                docs_public=app.docs_public,
                trusted_proxies=TrustedProxies(app.trusted_proxies),
            ),
            observers=self._observers,
            knows_origin=self._key_verifier.allows_origin,
            pages=pages,
        )

    def _pages(self) -> Pages | None:
        app = self._app
        bundle = installed_bundle()
        if bundle is None:
            self._log.info("There are no pages for callers: nobody has built them (make install).")
            return None
        return Pages(
            bundle,
            contact=app.contact,
            is_open=app.docs_public,
            any_case_paths=app.any_case_paths,
            base_path=app.base_path,
        )

    def _routes(self) -> list[Routes]:
        forms = FormUploads(self._staging)
        compute_nodes = ComputeNodes(parent=self._app)
        status = StatusReporter(
            database=self._database,
            sessions=self._sessions,
            scoring=self._scoring,
            compute_nodes=compute_nodes,
            machine=MachineMonitor(
                database=self._database,
                disk=self._disk,
                probe_blobs=self._blobs.probe,
                parent=self._app,
            ),
            disk=self._disk,
            object_store=self._blobs.url,
            outage_seconds=self._tokens.outage_seconds,
            confinement=self._confinement.described,
            oidc=self._authenticators.oidc,
            parent=self._app,
        )
        statistics = ServiceStatisticsReporter(
            services=self._services,
            scoring=self._scoring,
            calls_by_key=self._key_verifier.calls_of,
            calls=self._calls,
            parent=self._app,
        )
        return [
            LoginRoutes(
                tokens=self._tokens,
                lifecycle=self._lifecycle,
                confinement=self._confinement.level,
            ).table(),
            IdentityRoutes(authenticators=self._authenticators, lifecycle=self._lifecycle).table(),
            ServiceRoutes(services=self._services, batches=self._batches, forms=forms).table(),
            PoolRoutes(
                services=self._services, pools=self._pools, compute_nodes=compute_nodes
            ).table(),
            StatisticsRoutes(statistics=statistics).table(),
            LogRoutes(
                logs=ServiceLogReader(services=self._services, scoring=self._scoring)
            ).table(),
            ContentRoutes(
                contents=ServiceContentReader(services=self._services, snapshots=self._snapshots)
            ).table(),
            CallRoutes(
                calls=RecentCallReader(
                    services=self._services,
                    scoring=self._scoring,
                    request_id=self._request_id,
                )
            ).table(),
            [
                route(
                    CALL_ROUTE,
                    post=Operation(self._score.consume, body=BodySize.LARGE, checks_body=False),
                ),
            ],
            KeyRoutes(keys=self._keys).table(),
            BatchRoutes(batches=self._batches).table(),
            SessionRoutes(sessions=self._sessions, forms=forms).table(),
            WorkspaceRoutes(sessions=self._sessions, forms=forms).table(),
            SnapshotRoutes(snapshots=self._snapshots, sessions=self._sessions, forms=forms).table(),
            EventRoutes(events=self._events).table(),
            ComputeNodeRoutes(compute_nodes=compute_nodes).table(),
            StatusRoutes(status=status, lifecycle=self._lifecycle).table(),
            DocumentRoutes(services=self._services).table(),
            MetricsRoutes(metrics=self._metrics, access=self._metrics_access()).table(),
            self._host_routes().table(),
        ]

    def _request_id(self, number: int) -> str:
        # The routes are made before the server that counts requests.
        return self._http.id_of(number)

    def _metrics_access(self) -> MetricsAccess:
        path = self._app.metrics_key_file
        key = read_metrics_key(Path(path).expanduser()) if path else ""
        return MetricsAccess(self._authentication, key)

    def _host_routes(self) -> HostRoutes:
        activity = ActivityReporter(
            sessions=self._sessions, scoring=self._scoring, batches=self._batches
        )
        return HostRoutes(
            leases=self._leases,
            tokens=self._tokens,
            activity=activity,
            lifecycle=self._lifecycle,
            authentication=self._authentication,
            account_watch=self._account_watch,
            notebook_role=Role(self._app.notebook_role),
        )

    # --- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start all managers, then serve; where one fails, the others are stopped again.

        Raises
        ------
        DataFolderInUse
            Another server runs on the data folder.
        PortInUse
            The public port is not free.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        started = self._closing.push_async_callback
        self._lock_data_dir()
        has_made_room = await asyncio.to_thread(self._disk.make_room_to_start)
        certificate = self._certificate()
        public = self._listen_publicly()
        metrics = self._listen_for_monitors()
        path = socket_path(self._data_dir)
        write_atomic(secret_path(path), self._socket_secret.encode())
        self._closing.callback(secret_path(path).unlink, missing_ok=True)
        host = listen_at_path(path)
        # The lock is still held then: it is no other server's.
        self._closing.callback(path.unlink, missing_ok=True)
        self._closing.callback(host.close)
        started(self._database.stop)
        await self._database.start()
        if has_made_room:
            await self._database.take_room()
        installation = Installation(
            database=self._database, data_dir=self._data_dir, is_cache=bool(self._blobs.url)
        )
        await installation.require()
        started(asyncio.to_thread, self._staging.close)
        await asyncio.to_thread(self._staging.open)
        await asyncio.to_thread(self._disk.keep_spare)
        started(asyncio.to_thread, self._audit.stop)
        self._audit.start()
        self._closing.callback(self._accounts.close)
        started(self._authenticators.close)
        await self._accounts.ensure_admin()
        await self._require_confinement()
        for manager in (
            self._signals,
            self._tokens,
            self._snapshots,
            self._scoring,
            self._calls,
            self._pools,
            self._revision_watch,
            self._sessions,
            self._batches,
            self._key_verifier,
            self._account_watch,
        ):
            if hasattr(manager, "stop"):
                started(manager.stop)
            await manager.start()
        self._lifecycle.stage = Stage.SERVING
        if self._traces is not None:
            started(self._traces.stop)
        started(self._http.close)
        started(self._metrics_http.close)
        started(self._events.stop)
        tls = None if certificate is None else certificate.context
        for listening in public:
            await self._http.open(listening, tls=tls)
        if certificate is not None:
            started(certificate.stop)
            certificate.start(self._log)
        await self._http.open(host)
        for listening in metrics:
            await self._metrics_http.open(listening)
        self._say_where(public, metrics)
        # What is there now stays; looking through it again would only make callers wait.
        gc.collect()
        gc.freeze()
        self._closing.callback(gc.unfreeze)

    async def _require_confinement(self) -> None:
        confinement = self._confinement
        confinement.require(
            len(await self._accounts.list()), lets_others_in=bool(self._app.authenticators)
        )
        # Others may be added while the server runs.
        self._accounts.must_be_alone = confinement.must_be_alone
        if confinement.group is not None:
            users = UserIds(self._database, IdRange.read(confinement.uids))
            await users.require()
            confinement.take_users(users.of)
        await self._blobs.share_with(confinement.group)

    def _say_where(self, public: Sequence[socket.socket], metrics: Sequence[socket.socket]) -> None:
        """Log where the server is reached."""
        if public:
            others = " and all other addresses of this machine"
            at_proxy = self._app.public_url
            self._log.info(
                "jupyter-mlsvc serves programs at %s%s%s",
                self._listens_at,
                others if self._lifecycle.is_at_any_address else "",
                f", for which they go to {at_proxy}" if at_proxy else "",
            )
        if metrics:
            self._log.info("jupyter-mlsvc serves metrics at %s", self._lifecycle.metrics_url)

    async def notify_when_ready(self) -> None:
        """Tell whoever started the server that calls are answered without waiting for a start."""
        await self._scoring.until_warm()
        notify_service_manager("READY=1")

    async def stop(self) -> None:
        """Serve no more, then stop the managers in the reverse of their order; may be repeated."""
        self._lifecycle.stop()
        await self._closing.aclose()

    async def drain(self, hurry: asyncio.Event) -> None:
        """Let clients go elsewhere, then let what runs end, each for the time that is set.

        Parameters
        ----------
        hurry
            Ends the wait when it is set.
        """
        await Drain(
            lifecycle=self._lifecycle,
            connections=self._http,
            end_waits=self._events.stop,
            is_busy=lambda: self._http.is_busy or self._sessions.is_executing,
            drain_seconds=self._app.drain_seconds,
            stop_seconds=self._app.stop_seconds,
        ).run(hurry)

    def _lock_data_dir(self) -> None:
        """Keep the data folder for this server; the lock goes with the process at the latest."""
        try:
            private_directory(self._data_dir)
        except OSError as error:
            raise UnusableDataFolder(self._data_dir, error) from error
        lock = os.open(lock_path(self._data_dir), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._closing.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderInUse(self._data_dir) from None

    def _listen_publicly(self) -> list[socket.socket]:
        """Take the public port; who connects before the server is ready waits."""
        app = self._app
        if not app.public_enabled:
            return []
        try:
            listening = listen_on_port(app.public_ip, app.public_port)
        except OSError as error:
            self._go_without_port(PortInUse(f"{app.public_ip}:{app.public_port}", error))
            return []
        for each in listening:
            self._closing.callback(each.close)
        if not (app.public_certfile or app.allow_plain_http or is_only_local(listening)):
            for each in listening:
                each.close()
            self._go_without_port(PlainHttpRefused(f"{app.public_ip or '*'}:{app.public_port}"))
            return []
        scheme = "https" if app.public_certfile else "http"
        host, port = listening[0].getsockname()[:2]
        self._lifecycle.is_at_any_address = host in _ANY_ADDRESS and not app.public_url
        self._listens_at = _url(scheme, _ANY_ADDRESS.get(host, host), port)
        self._lifecycle.public_url = app.public_url or self._listens_at
        return listening

    def _go_without_port(self, problem: CannotStart) -> None:
        """Refuse to start, where the port is not all that the server is for."""
        if not self._app.hosted:
            raise problem
        self._lifecycle.problem = f"{problem} Notebooks work all the same."
        self._log.warning("%s", self._lifecycle.problem)

    def _listen_for_monitors(self) -> list[socket.socket]:
        """Take the port of the metrics, where they have one of their own."""
        app = self._app
        if app.metrics_port is None:
            return []
        try:
            listening = listen_on_port(app.metrics_ip, app.metrics_port)
        except OSError as error:
            raise MetricsPortInUse(f"{app.metrics_ip}:{app.metrics_port}", error) from error
        for each in listening:
            self._closing.callback(each.close)
        address = _url("http", *listening[0].getsockname()[:2])
        self._lifecycle.metrics_url = f"{address}/metrics"
        return listening

    def _certificate(self) -> Certificate | None:
        certfile, keyfile = self._app.public_certfile, self._app.public_keyfile
        if not certfile:
            return None
        try:
            return Certificate(Path(certfile), Path(keyfile) if keyfile else None)
        except OSError as error:
            raise UnusableCertificate(certfile, error) from error


def raise_descriptor_limit() -> None:
    """Let this process open as many files as it may: each version that is loaded takes some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run the work of a server in the fastest event loop that is there, before its threads."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    sys.setswitchinterval(_SWITCH_SECONDS)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def main() -> None:
    """Run ``jupyter mlsvc``."""
    app = MlsvcApp.instance()
    app.initialize()
    with contextlib.suppress(NoStart):
        app.start()


def _traces(app: MlsvcApp) -> Traces | None:
    """Return what makes traces, where they are wanted.

    Raises
    ------
    CannotStart
        The setting asks for them and OpenTelemetry is not installed.
    """
    if not app.traces_endpoint and not any(map(os.environ.get, NAMED_BY_ENVIRONMENT)):
        return None
    try:
        return start_traces(app.traces_endpoint)
    except TracesNotInstalled as problem:
        if app.traces_endpoint:
            raise CannotStart(str(problem)) from None
        # The variable may be meant for other programs.
        app.log.warning("%s", problem)
        return None


def _of_hub_service(variable: str) -> str:
    """Return the address or path that JupyterHub gives its service, without a slash at the end.

    A person's server has such variables as well, with what is its own.
    """
    is_service = SERVICE_NAME_VARIABLE in os.environ
    return os.environ.get(variable, "").rstrip("/") if is_service else ""


def _note_access_but_of_calls(request: AnsweredRequest) -> None:
    if request.route != CALL_ROUTE:
        note_access(request)


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
