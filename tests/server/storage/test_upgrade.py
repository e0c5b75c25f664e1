"""A folder of the first release is served by this one.

``first_release`` has what a server of the first schema wrote: an account, a service, and one with a
snapshot. It was never written by hand, and is not to be.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from jupyter_mlsvc_server.launch import ServerProcess
from jupyter_mlsvc_server.storage.database import Database
from jupyter_mlsvc_server.storage.schema import tokens
from tests.contract.doors import sign_in

FIRST_RELEASE = Path(__file__).parent / "first_release"


def data_dir_of_first_release(folder: Path) -> Path:
    """Make the data folder again, as if the Python that runs here had written it."""
    data_dir = folder / "data"
    shutil.copytree(FIRST_RELEASE / "blobs", data_dir / "blobs")
    with closing(sqlite3.connect(data_dir / "mlsvc.db")) as database:
        written = (FIRST_RELEASE / "mlsvc.sql").read_text()
        database.executescript(written.replace("3.11.7", platform.python_version()))
    return data_dir


@pytest.mark.kernel
def test_what_the_first_release_wrote_is_served(tmp_path: Path) -> None:
    options = ["--KernelFactory.preload_at_start=false", "--LocalEngine.preload=[]"]
    with ServerProcess(data_dir=data_dir_of_first_release(tmp_path), options=options) as server:
        door = sign_in(server.public_url, "admin", "correct horse")
        area = door.post("/api/Area/V1.0", json={"width": 2, "height": 3})
        assert area.json()["outputParameters"] == {"area": 6}
        triple = door.post("/api/Triple/V1.0", json={"x": 2})
        assert triple.json()["outputParameters"] == {"y": 6}
        assert [each["name"] for each in door.get("/snapshots").json()] == ["factor"]
        described = door.get("/services/Area/V1.0").json()[0]
        assert described["description"] == "Area of a rectangle, again"
        # Its pool, its isolation and its check are those of a version that knew none of them.
        replaced = door.patch("/services/Area/V1.0", json={"code": "area = 2 * width * height"})
        assert replaced.status_code == 200, replaced.text
        area = door.post("/api/Area/V1.0", json={"width": 2, "height": 3})
        assert area.json()["outputParameters"] == {"area": 12}


async def test_ids_of_tokens_that_the_first_release_wrote_become_digests(tmp_path: Path) -> None:
    database = Database(data_dir=data_dir_of_first_release(tmp_path))
    await database.start()
    query = sa.select(tokens.c.id, tokens.c.family_id)
    row = await database.read(lambda connection: connection.execute(query).one())
    await database.stop()
    digest = hashlib.sha256(b"48d84809-b80a-47f9-bff4-47b228deec9c").hexdigest()
    assert tuple(row) == (digest, digest)


async def test_names_that_owned_things_become_accounts(tmp_path: Path) -> None:
    data_dir = data_dir_of_first_release(tmp_path)
    with closing(sqlite3.connect(data_dir / "mlsvc.db")) as file, file:
        # As whoever sat at a Jupyter server, who was no user.
        file.execute("UPDATE snapshots SET owner = 'maria'")
        token = ("t1", "t1", "admin", "", "2024", "9999", "9999")
        file.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", token)
        gone = ("t2", "t2", "gone", "", "2024", "9999", "9999")
        file.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", gone)
    database = Database(data_dir=data_dir)
    await database.start()
    await database.stop()
    with closing(sqlite3.connect(data_dir / "mlsvc.db")) as file:
        rows = file.execute("SELECT name, kind, subject, role, id FROM accounts").fetchall()
        ids = {row[0]: row[4] for row in rows}
        assert {row[:4] for row in rows} == {
            ("admin", "local", "admin", "owner"),
            ("maria", "jupyter", "maria", "owner"),
        }
        services = file.execute("SELECT DISTINCT owner_id FROM services").fetchall()
        snapshots = file.execute("SELECT DISTINCT owner_id FROM snapshots").fetchall()
        held = file.execute("SELECT account_id FROM tokens").fetchall()
    assert services == [(ids["admin"],)]
    assert snapshots == [(ids["maria"],)]
    assert held == [(ids["admin"],)] * 2


@pytest.mark.kernel
def test_a_database_of_a_newer_release_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    data_dir = data_dir_of_first_release(tmp_path)
    with closing(sqlite3.connect(data_dir / "mlsvc.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "jupyter_mlsvc_server", "serve"),
            *(f"--MlsvcApp.data_dir={data_dir}", "--MlsvcApp.public_port=0"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    said = ended.stderr.splitlines()[-1]
    assert "it belongs to a newer version of jupyter-mlsvc; install that version" in said
    assert "Traceback" not in ended.stderr
