"""The command."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from traitlets import Bool

from jupyter_mlsvc._version import __version__
from jupyter_mlsvc_server.doctor import data, installation, languages, machine, network, stored
from jupyter_mlsvc_server.doctor.findings import Check, Finding, Setup, State, run_check, worst
from jupyter_mlsvc_server.formats.host import data_dir_path
from jupyter_mlsvc_server.server import MlsvcApp
from jupyter_mlsvc_server.storage.config_files import ConfiguredApp

CHECKS: Final[dict[str, Check]] = {
    "packages": installation.check_versions,
    "Jupyter extension": installation.check_extension,
    "Lab extension": installation.check_side_panel,
    "pages for callers": installation.check_pages,
    "data folder": data.check_data_folder,
    "disk": data.check_disk,
    "database": data.check_database,
    "object store": data.check_object_store,
    "server": network.check_server,
    "public port": network.check_port,
    "TLS": network.check_tls,
    "connection files": network.check_connection_files,
    "descriptors": machine.check_descriptors,
    "confinement": machine.check_confinement,
}
"""Checks that start nothing."""

SLOW_CHECKS: Final[dict[str, Check]] = {
    "kernels": languages.check_kernels,
    "R packages": languages.check_r_packages,
}
"""Checks that start kernels and R."""

LONG_CHECKS: Final[dict[str, Check]] = {"stored data": stored.check_stored_data}
"""Checks that read all that is stored."""

_WRONG: Final = 1


class DoctorApp(ConfiguredApp):
    """Look for what keeps a server from working, and say what mends it."""

    name = "jupyter-mlsvc-doctor"
    description = __doc__
    version = __version__
    examples = "jupyter mlsvc doctor\njupyter mlsvc doctor --json"
    classes = [MlsvcApp]  # noqa: RUF012 - as the base class has it

    as_json = Bool(False, help="Whether the findings are written as JSON.").tag(config=True)
    verify = Bool(
        False, help="Whether all that is stored is read and compared with its digests."
    ).tag(config=True)
    quick = Bool(False, help="Whether no kernels are started.").tag(config=True)

    flags = {  # noqa: RUF012
        "json": ({"DoctorApp": {"as_json": True}}, "Write the findings as JSON."),
        "verify": (
            {"DoctorApp": {"verify": True}},
            "Read all that is stored and compare it with its digests.",
        ),
        "quick": ({"DoctorApp": {"quick": True}}, "Start no kernels."),
        "debug": ({"Application": {"log_level": logging.DEBUG}}, "Log everything."),
    }
    aliases = {  # noqa: RUF012
        "data-dir": "MlsvcApp.data_dir",
        "config": "JupyterApp.config_file",
    }

    def _log_level_default(self) -> int:
        return logging.WARNING

    def start(self) -> None:
        """Run all checks and write what they found; exits with 1 where something is wrong."""
        super().start()
        setup = self._setup()
        checks = CHECKS if self.quick else CHECKS | SLOW_CHECKS
        if self.verify:
            checks = checks | LONG_CHECKS
        findings = [
            finding for name, check in checks.items() for finding in run_check(name, check, setup)
        ]
        write = as_json if self.as_json else as_text
        print(write(findings))  # noqa: T201
        self.exit(_WRONG if worst(findings) is State.FAIL else 0)

    def _setup(self) -> Setup:
        app = MlsvcApp(config=self.config)
        return Setup(
            data_dir=data_dir_path(app.data_dir),
            config=self.config,
            public_ip=app.public_ip,
            public_port=app.public_port,
            public_enabled=app.public_enabled,
            allow_plain_http=app.allow_plain_http,
            certfile=_path(app.public_certfile),
            keyfile=_path(app.public_keyfile),
        )


def as_json(findings: Sequence[Finding]) -> str:
    """Write the findings for a program."""
    report: dict[str, Any] = {
        "version": __version__,
        "state": worst(findings),
        "findings": findings,
    }
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def as_text(findings: Sequence[Finding]) -> str:
    """Write the findings for people, a line each, with what to do below those that need it."""
    width = max(len(each.check) for each in findings)
    lines = []
    for each in findings:
        lines.append(f"{each.state:<4}  {each.check:<{width}}  {each.message}")
        if each.mend and each.state is not State.OK:
            lines.append(f"{'':<4}  {'':<{width}}  -> {each.mend}")
    count = sum(each.state is State.FAIL for each in findings)
    last = f"Wrong: {count} of {len(findings)}." if count else "Nothing is wrong."
    return "\n".join([*lines, "", last])


def _path(text: str) -> str:
    return str(Path(text).expanduser()) if text else ""
