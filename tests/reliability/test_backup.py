"""A backup of a server that is in use, restored elsewhere, where a service is called."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door, sign_in
from tests.reliability.test_damaged_files import PASSWORD, call, publish, take
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

OPTIONS = ["--KernelFactory.preload_at_start=false"]
SOURCE = "import numpy as np\nmodel = np.arange(50_000.0)"
RECORDS = [{"n": number} for number in range(2000)]


def command(name: str, folder: Path, data_dir: Path) -> str:
    """Run a command on a data folder; gives what it said."""
    done = subprocess.run(
        [Path(sys.executable).with_name("jupyter-mlsvc"), name, folder],
        env={**os.environ, "MLSVC_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def results_of(door: Door, path: str) -> list[Any]:
    """Wait for a batch to end; gives its results."""
    wait_until(lambda: door.get(f"{path}?count=0").json()["state"] == "Complete")
    results = door.get(path).json()["batchExecutionResults"]
    return [each["outputParameters"]["y"] for each in results]


def test_a_backup_of_a_busy_server_serves_elsewhere(tmp_path: Path) -> None:
    first, second, copy = tmp_path / "first", tmp_path / "second", tmp_path / "copy"
    with ServerProcess(data_dir=first, admin_password=PASSWORD, options=OPTIONS) as server:
        door = sign_in(server.public_url, "admin", PASSWORD)
        snapshot_id = take(door, SOURCE)
        publish(door, "before", snapshot_id, "y = float(model[n])")
        assert "Backed up 2 blobs (2 new" in command("backup", copy, first)
        publish(door, "after", snapshot_id, "y = float(model[n]) + 1")
        batch = door.post("/api/before/1.0/batch", json=RECORDS).json()["batchExecutionId"]
        is_over = threading.Event()
        answers: list[float] = []

        def keep_calling() -> None:
            while not is_over.is_set():
                answers.append(call(door, "before").json()["outputParameters"]["y"])

        caller = threading.Thread(target=keep_calling)
        caller.start()
        said = command("backup", copy, first)
        is_over.set()
        caller.join()
        assert "Backed up 2 blobs (0 new, 0 bytes) and 1 batches" in said
        assert answers
        assert set(answers) == {7.0}
    assert "Restored 2 blobs and 1 batches" in command("restore", copy, second)
    with ServerProcess(data_dir=second, admin_password=PASSWORD, options=OPTIONS) as server:
        door = sign_in(server.public_url, "admin", PASSWORD)
        assert call(door, "before").json()["outputParameters"] == {"y": 7.0}
        assert call(door, "after").json()["outputParameters"] == {"y": 8.0}
        assert door.get(f"/snapshots/{snapshot_id}").status_code == 200
        # What ran at the time of the backup goes on from there.
        assert results_of(door, f"/api/before/1.0/batch/{batch}") == [
            float(number) for number in range(2000)
        ]
