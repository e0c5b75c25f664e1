"""Ids of users for the code of people, and whether the system lets code have them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jupyter_mlsvc_server.id_range import IdRange, closed_to_others, why_no_users

IDS = IdRange(2_000_000, 2_000_099)


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system where root may do all, and nobody has ids of the range."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    files = {
        "proc/self/status": "CapEff:\t000001fffeffffff\n",
        "proc/self/uid_map": "         0          0 4294967295\n",
        "proc/self/gid_map": "         0          0 4294967295\n",
        "etc/subuid": "ann:100000:65536\n# nobody\n",
    }
    for name, text in files.items():
        (path := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_range_is_read_as_it_is_written() -> None:
    assert IdRange.read(str(IDS)) == IDS
    assert (IDS.group, IDS.users[0], IDS.users[-1]) == (2_000_000, 2_000_001, 2_000_099)


@pytest.mark.parametrize(
    "text", ["", "7", "a-b", "10-2000", "3000-2000", "3000-3000", "3000-99999999999"]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|has to go up"):
        IdRange.read(text)


def test_a_free_range_is_taken(system: Path) -> None:
    assert why_no_users(IDS, system) == ""


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("proc/self/status", "CapEff:\t0000000000000001\n", "CAP_SETUID"),
        ("proc/self/uid_map", "0 100000 65536\n", "/proc/self/uid_map"),
        ("proc/self/gid_map", "0 100000 65536\n", "/proc/self/gid_map"),
        ("etc/subuid", "ann:1999000:65536\n", "/etc/subuid of ann"),
        ("etc/subgid", "ann:2000099:1\n", "/etc/subgid of ann"),
    ],
)
def test_what_keeps_code_from_users_is_named(
    system: Path, name: str, text: str, words: str
) -> None:
    (system / name).write_text(text)
    assert words in why_no_users(IDS, system)


def test_accounts_of_the_system_are_left_alone(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = type("Account", (), {"pw_name": "ann", "pw_uid": 2_000_050})
    monkeypatch.setattr("pwd.getpwall", lambda: [account])
    assert "the user ann" in why_no_users(IDS, system)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root" in why_no_users(IDS, system)


def test_a_folder_that_others_can_not_enter_is_named(tmp_path: Path) -> None:
    (closed := tmp_path / "closed").mkdir(mode=0o700)
    (closed / "python").mkdir()
    tmp_path.chmod(0o711)
    named = closed_to_others([closed / "python"])
    assert Path(named) in {closed, *closed.parents}
