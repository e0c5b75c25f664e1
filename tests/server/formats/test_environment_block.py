"""What other processes are shown of a process's environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows it at /proc"),
]

PROGRAM = """
import json, os, subprocess
from jupyter_mlsvc_server.formats.environment_block import hide_from_others
hide_from_others(lambda name: name != "PATH" and name != "KEPT")
with open("/proc/self/environ", "rb") as file:
    shown = file.read().decode("utf-8", "surrogateescape")
child = subprocess.run(["env"], capture_output=True).stdout.decode("utf-8", "surrogateescape")
print(json.dumps([shown, dict(os.environ), child]))
"""


def test_hidden_variables_are_there_for_the_program_and_for_nobody_else() -> None:
    given = {
        "PATH": os.environ["PATH"],
        "PASSWORD": "sesame",
        "EMPTY": "",
        "KEPT": "seen PASSWORD=no",
        "URL": "postgresql://user:open\udcff=@host/\u00e9",
    }
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=given, stdout=subprocess.PIPE, timeout=60, check=True
    )
    shown, own, child = json.loads(ended.stdout)
    assert {entry for entry in shown.split("\0") if entry} == {
        f"PATH={given['PATH']}",
        "KEPT=seen PASSWORD=no",
    }
    assert {name: own[name] for name in given} == given
    assert set(child.splitlines()) >= {f"{name}={value}" for name, value in given.items()}


def test_the_server_shows_what_sessions_may_see(tmp_path: Path) -> None:
    program = """
import os, sys
from jupyter_mlsvc_server import cli, server
shown = lambda name: open(f"/proc/self/{name}").read().replace(chr(0), "\\n")
server.main = lambda: print(shown("environ"), shown("cmdline"), sys.argv[-1])
sys.argv[1:1] = ["serve"]
cli.main()
"""
    given = os.environ | {
        "MLSVC_ADMIN_PASSWORD": "sesame",
        "JUPYTER_TOKEN": "sesame",
        "AWS_SECRET_ACCESS_KEY": "sesame",
        "DATABASE": "postgresql://user:sesame@host",
        "TZ": "UTC",
    }
    ended = subprocess.run(
        [sys.executable, "-c", program, "--Database.url=postgresql://me:open,sesame@host/db"],
        env=given,
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    *shown, argument = ended.stdout.split()
    assert not [each for each in shown if b"sesame" in each]
    assert b"TZ=UTC" in shown
    assert b"--Database.url=postgresql://me:xxxxxxxxxxx@host/db" in shown
    assert argument == b"--Database.url=postgresql://me:open,sesame@host/db"
