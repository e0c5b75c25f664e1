"""Which files need not be read again: by their times, by the clock and by who has them open."""

from __future__ import annotations

import mmap
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_mlsvc_server.formats.manifest import SkippedFile
from jupyter_mlsvc_server.snapshots.directory import Identity, walk
from jupyter_mlsvc_server.snapshots.stat_cache import MIN_AGE_NS, ScanTime

_SECOND = 10**9


@pytest.fixture
def file(tmp_path: Path, tells_of_changes: None) -> Path:
    file = tmp_path / "file"
    file.write_bytes(bytes(2 * mmap.PAGESIZE))
    return file


def later(file: Path, ns: int = 2 * MIN_AGE_NS) -> ScanTime:
    """Return the time of a scan so long after the last change of a file."""
    changed_ns = file.stat().st_ctime_ns
    return replace(ScanTime.at(file.parent), now_ns=changed_ns + ns)


def identity_of(file: Path) -> Identity:
    with closing(walk(file.parent)) as found:
        only = next(found)
        assert not isinstance(only, SkippedFile)
        return only.identity


def is_cacheable(file: Path, scan_time: ScanTime) -> bool:
    with closing(walk(file.parent)) as found:
        only = next(found)
        assert not isinstance(only, SkippedFile)
        return scan_time.is_cacheable(only)


def test_a_file_whose_last_change_is_long_ago_is_settled(file: Path) -> None:
    assert is_cacheable(file, later(file))


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (MIN_AGE_NS + 1, True),
        (MIN_AGE_NS, False),
        (0, False),
        (-_SECOND, False),
        (-3600 * _SECOND, False),
    ],
    ids=["older", "just too young", "this moment", "the next second", "an hour ahead"],
)
def test_a_change_near_the_moment_or_after_it_does_not_count(
    file: Path, age: int, expected: bool
) -> None:
    assert is_cacheable(file, later(file, age)) is expected


def test_a_time_that_was_set_does_not_settle_a_file(file: Path) -> None:
    os.utime(file, (1, 1))
    assert not is_cacheable(file, ScanTime.at(file.parent))


def test_a_file_that_is_open_for_writing_is_not_settled(file: Path) -> None:
    with file.open("r+b"):
        assert not is_cacheable(file, later(file))
    with file.open("rb"):
        assert is_cacheable(file, later(file))


def test_a_file_that_is_mapped_for_writing_is_not_settled(file: Path) -> None:
    with file.open("r+b") as opened:
        mapped = mmap.mmap(opened.fileno(), 0)
    assert not is_cacheable(file, later(file))
    mapped.close()
    assert is_cacheable(file, later(file))


def test_whoever_opens_a_file_for_writing_is_not_kept_waiting(file: Path) -> None:
    with closing(walk(file.parent)) as found:
        only = next(found)
        assert not isinstance(only, SkippedFile)
        assert later(file).is_cacheable(only)
        # Fails at once where a lease is held.
        os.close(os.open(file, os.O_RDWR | os.O_NONBLOCK))


def test_a_file_of_another_file_system_is_not_settled(file: Path) -> None:
    scan_time = later(file)
    assert scan_time.device is not None
    assert not is_cacheable(file, replace(scan_time, device=scan_time.device + 1))
    assert not is_cacheable(file, replace(scan_time, device=None))


@pytest.mark.parametrize("directory", ["/proc", "/dev/shm", "/nowhere"])
def test_file_systems_that_tell_too_little_have_no_settled_files(directory: str) -> None:
    assert ScanTime.at(Path(directory)).device is None


def test_a_clock_that_was_set_back_is_noticed(tmp_path: Path) -> None:
    before = ScanTime.at(tmp_path)
    assert ScanTime.at(tmp_path).is_after(before)
    set_back = replace(before, ahead_ns=before.ahead_ns - 2 * _SECOND)
    assert not set_back.is_after(before)
    assert before.is_after(set_back)


def test_no_change_that_a_clock_set_back_unnoticed_could_repeat_counts(file: Path) -> None:
    read = later(file, MIN_AGE_NS + 1)
    back = min(
        ns
        for ns in range(0, 10 * _SECOND, _SECOND // 10)
        if not replace(read, ahead_ns=read.ahead_ns - ns).is_after(read)
    )
    assert file.stat().st_ctime_ns < read.now_ns - back


def test_a_file_is_recognised_by_where_it_is_as_well(file: Path) -> None:
    found = file.stat()
    assert identity_of(file) == (
        *("file", found.st_dev, found.st_ino),
        *(found.st_size, found.st_mtime_ns, found.st_ctime_ns),
    )


@pytest.mark.parametrize("change", ["chmod", "rename", "rewrite", "replace", "grow"])
def test_each_change_shows_though_the_time_of_writing_is_put_back(file: Path, change: str) -> None:
    before, times = identity_of(file), file.stat()
    if change == "chmod":
        file.chmod(0o600 if times.st_mode & 0o777 != 0o600 else 0o640)
    elif change == "rename":
        file.rename(file.with_name("away"))
        file.with_name("away").rename(file)
    elif change == "rewrite":
        file.write_bytes(b"1" * times.st_size)
    elif change == "replace":
        other = file.with_name("other")
        other.write_bytes(file.read_bytes())
        other.replace(file)
    else:
        file.write_bytes(bytes(times.st_size + 1))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = identity_of(file)
    assert after.modified_ns == before.modified_ns
    assert after != before
