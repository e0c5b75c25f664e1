"""What a check found, and what checks are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec
from traitlets.config import Config


class State(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    INFO = "info"
    """Good to know; nothing is wrong."""
    WARN = "warn"
    """It works, and may not for long, or not for all."""
    FAIL = "fail"
    """Something does not work."""


class Finding(msgspec.Struct, frozen=True):
    """Result of a check.

    Attributes
    ----------
    check : str
        What was looked at.
    state : State
        How bad it is.
    message : str
        What was found, in a sentence.
    mend : str
        What to do about it; empty where there is nothing to do.
    """

    check: str
    state: State
    message: str
    mend: str = ""


class Setup(msgspec.Struct, frozen=True):
    """The server that is looked at.

    Attributes
    ----------
    data_dir : Path
        Its data folder, which need not exist.
    config : Config
        What the configuration files and the command line say.
    public_ip, public_port, public_enabled
        Address of its public API.
    allow_plain_http : bool
        Whether other machines may reach it without TLS.
    certfile, keyfile : str
        Files of TLS; empty where there are none.
    """

    data_dir: Path
    config: Config = msgspec.field(default_factory=Config)
    public_ip: str = "127.0.0.1"
    public_port: int = 12800
    public_enabled: bool = True
    allow_plain_http: bool = False
    certfile: str = ""
    keyfile: str = ""


Check = Callable[[Setup], Iterable[Finding]]
"""Looks at one thing."""

_ORDER: Final = list(State)


def worst(findings: Sequence[Finding]) -> State:
    """Return the state of the worst finding."""
    return max((each.state for each in findings), key=_ORDER.index, default=State.OK)


def run_check(name: str, check: Check, setup: Setup) -> list[Finding]:
    """Run a check; one that breaks is a finding, too."""
    try:
        return list(check(setup))
    except Exception as error:  # noqa: BLE001  # the others are to run all the same
        reason = f"{type(error).__name__}: {error}"
        return [Finding(name, State.FAIL, f"This could not be looked at ({reason}).")]
