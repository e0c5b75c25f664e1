"""What the policies of confined code hold, and when a server without any does not start."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from traitlets.config import Config

from jupyter_mlsvc_server import confinement
from jupyter_mlsvc_server.confinement import CannotConfine, Confinement
from jupyter_mlsvc_server.formats.confine import Policy


def make(data_dir: Path, **settings: object) -> Confinement:
    return Confinement(data_dir=data_dir, **{"level": "basic", **settings})


def of(data_dir: Path, **settings: object) -> Policy:
    policy = make(data_dir, **settings).policy()
    assert policy is not None
    return policy


def test_a_policy_is_read_as_it_was_written() -> None:
    policy = Policy(
        files=(("read", "/a folder/with spaces"), ("write", "/b")),
        limits=(("files", 4096), ("core", 0)),
        network=False,
    )
    assert Policy.decoded(policy.encoded()) == policy


def test_a_path_that_can_not_be_written_down_allows_nothing() -> None:
    policy = Policy(files=(("read", "/a\nwrite /"), ("read", "/b")))
    assert Policy.decoded(policy.encoded()).files == (("read", "/b"),)


def test_limits_are_those_of_the_settings(tmp_path: Path) -> None:
    limits = dict(of(tmp_path, max_open_files=100, max_file_bytes=2**20).limits)
    assert (limits["files"], limits["file_bytes"], limits["core"]) == (100, 2**20, 0)


def test_folders_may_be_opened_besides_but_never_the_servers(tmp_path: Path) -> None:
    (data := tmp_path / "data").mkdir()
    (other := tmp_path / "other").mkdir()
    policy = of(data, readable_paths=[str(tmp_path)], writable_paths=[str(other)])
    assert ("write", str(other)) in policy.files
    assert ("read", str(other)) in policy.files
    names = {path for _, path in policy.files}
    assert not names & {str(tmp_path), str(data)}


def test_a_path_inside_the_data_folder_stays_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (inside := tmp_path / "data" / "inside").mkdir(parents=True)
    (link := tmp_path / "link").symlink_to(inside)
    (around := tmp_path / "around").symlink_to(tmp_path)
    monkeypatch.syspath_prepend(inside)
    for name in ("readable_paths", "writable_paths"):
        for path in (inside, link, around):
            policy = of(tmp_path / "data", level="sandbox", **{name: [str(path)]})
            shown = {Path(each) for _, each in policy.files}
            assert not shown & {link, around, *inside.parents}, (name, path)
            assert not [each for each in shown if each.is_relative_to(tmp_path / "data")]


def test_files_with_secrets_are_closed_in_a_folder_that_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (opened := tmp_path / "opened").mkdir()
    for name, mode in {"key": 0o600, "password": 0o600, "ca.pem": 0o644, "library": 0o644}.items():
        (opened / name).touch(mode)
    config = Config({"MlsvcApp": {"public_keyfile": str(opened / "key")}})
    config.OidcAuthenticator.ca_file = str(opened / "ca.pem")
    monkeypatch.setenv("MLSVC_ADMIN_PASSWORD_FILE", str(opened / "password"))
    policy = of(tmp_path / "data", readable_paths=[str(opened)], config=config)
    seen = {Path(path).name for _, path in policy.files if Path(path).parent == opened}
    assert seen == {"ca.pem", "library"}


def test_a_server_of_several_accounts_does_not_start_unconfined(tmp_path: Path) -> None:
    open_to_all = make(tmp_path, level="none")
    open_to_all.require(1)
    assert (open_to_all.policy(), open_to_all.process_limit) == (None, 0)
    with pytest.raises(CannotConfine, match=r"Confinement\.allow_unconfined"):
        open_to_all.require(2)
    with pytest.raises(CannotConfine, match="providers of identities"):
        open_to_all.require(1, lets_others_in=True)
    make(tmp_path, level="none", allow_unconfined=True).require(2, lets_others_in=True)


def test_a_level_that_the_system_does_not_have_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confinement, "landlock_abi", lambda: 0)
    assert Confinement(data_dir=tmp_path).level == "none"
    with pytest.raises(CannotConfine, match=r"Linux 5\.13"):
        make(tmp_path).require(1)


def test_what_a_version_asks_for_is_refused_where_it_can_not_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all = make(tmp_path, level="none")
    assert open_to_all.refusal(network=True, read_only=False) == ""
    assert "Confinement.level is none" in open_to_all.refusal(network=False, read_only=False)
    assert "Confinement.level is none" in open_to_all.refusal(network=True, read_only=True)
    monkeypatch.setattr(confinement, "landlock_abi", lambda: 2)
    monkeypatch.setattr(confinement, "can_close_network", lambda: False)
    old = make(tmp_path)
    assert "seccomp" in old.refusal(network=False, read_only=False)
    assert "Linux 6.2" in old.refusal(network=True, read_only=True)
    with pytest.raises(CannotConfine, match=r"Confinement\.network"):
        make(tmp_path, network=False).require(1)


def test_a_version_gets_what_it_asks_for_and_never_less(tmp_path: Path) -> None:
    (opened := tmp_path / "opened").mkdir()
    (own := tmp_path / "own").mkdir()
    confined = make(tmp_path / "data", network=False, writable_paths=[str(opened)])
    policy = confined.policy(write=[own], network=True, read_only=True)
    assert policy is not None
    assert not policy.network
    written = {path for access, path in policy.files if access in {"write", "shared"}}
    assert written == {str(own)}
    assert ("read", str(opened)) in policy.files


def test_users_need_a_range_that_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CannotConfine, match=r"Confinement\.uids=2000000-2065535"):
        make(tmp_path, level="user").require(1)
    monkeypatch.setattr(confinement, "why_no_users", lambda _: "nobody may")
    monkeypatch.setattr(confinement, "closed_to_others", lambda _: "/closed")
    with pytest.raises(CannotConfine, match="nobody may, or set the level to basic"):
        make(tmp_path, level="user", uids="2000000-2000099").require(1)
    monkeypatch.setattr(confinement, "why_no_users", lambda _: "")
    with pytest.raises(CannotConfine, match="/closed"):
        make(tmp_path, level="user", uids="2000000-2000099").require(1)


async def test_code_of_a_person_has_a_user_and_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: dict[str, float] = {}

    class Groups:
        controllers = ("memory", "cpu")

        def open(self, name: str, limits: dict[str, float]) -> Path:
            opened.update(limits)
            return tmp_path / name

    monkeypatch.setattr(confinement, "why_no_users", lambda _: "")
    monkeypatch.setattr(confinement, "closed_to_others", lambda _: "")
    monkeypatch.setattr(confinement, "Cgroups", Groups)
    monkeypatch.setattr(confinement, "why_no_sandbox", lambda *, as_root: "" if as_root else "no")
    apart = make(
        tmp_path,
        level="user",
        uids="2000000-2000099",
        max_total_memory_bytes=2**30,
        max_processors=1.5,
        max_processes=100,
    )
    apart.require(2)
    apart.take_users(lambda account: asyncio.sleep(0, {"ann": 2_000_001}[account]))
    user, cgroup = await apart.user_of("ann"), apart.open_cgroup("one")
    policy = apart.policy(user=user, cgroup=cgroup)
    assert policy is not None
    assert (policy.user, policy.group, policy.cgroup) == (2_000_001, 2_000_000, cgroup)
    assert policy.sandboxed
    assert Policy.decoded(policy.encoded()) == policy
    assert opened == {"memory": 2**30, "cpu": 1.5, "pids": 100}
    assert apart.described() == {
        "confinement": "user",
        "namespaces": "own",
        "sharedLimits": "memory, cpu",
    }
    assert await make(tmp_path).user_of("ann") == 0


def test_users_are_apart_without_namespaces_too_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("why_no_users", "closed_to_others"):
        monkeypatch.setattr(confinement, name, lambda _: "")
    monkeypatch.setattr(confinement, "why_no_sandbox", lambda **_: "Operation not permitted")
    apart = make(tmp_path, level="user", uids="2000000-2000099")
    apart.require(2)
    policy = apart.policy(user=2_000_001)
    assert policy is not None
    assert (policy.sandboxed, apart.hides_processes) == (False, False)
    assert apart.described()["namespaces"] == "none: Operation not permitted"
    assert "Operation not permitted" in caplog.text


def test_a_library_folder_above_the_servers_data_is_listed_and_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a checkout, where the package is beside the data of the demonstration."""
    for name in ("data", "package"):
        (tmp_path / name).mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    files = of(tmp_path / "data").files
    assert [access for access, path in files if path == str(tmp_path)] == ["list"]
    assert ("read", str(tmp_path / "package")) in files
    assert str(tmp_path / "data") not in {path for _, path in files}
