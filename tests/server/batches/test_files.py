"""The files of a batch: a bit that has turned never makes another record or result."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pyarrow
import pytest

from jupyter_mlsvc_server.batches.errors import BatchesTooLarge
from jupyter_mlsvc_server.batches.files import (
    CHECKSUMS,
    INDEX,
    OFFSETS,
    RECORDS,
    RESULTS,
    Records,
    Result,
    Results,
    read_results,
)
from jupyter_mlsvc_server.batches.record_parser import Upload

COUNT = 6
BODIES = [msgspec.json.encode({"n": number * 1000}) for number in range(COUNT)]


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """The folder of a batch that has all its results."""
    upload = Upload(tmp_path)
    await upload.write(b"[" + b",".join(BODIES) + b"]")
    assert await upload.split(COUNT) == COUNT
    results = Results(tmp_path)
    results.append([Result(number, BODIES[number], number == 2) for number in (3, 0, 1, 2, 5, 4)])
    results.close()
    return tmp_path


async def test_records_are_not_written_beyond_what_there_is_room_for(tmp_path: Path) -> None:
    # The text is in the body once, and in each record.
    schema = pyarrow.schema(
        [("n", pyarrow.int64())], {"mlsvc.inputs": '{"t": "%s"}' % ("x" * 2**20)}
    )
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, schema) as writer:
        writer.write_table(pyarrow.table({"n": range(1000)}, schema))
    upload = Upload(tmp_path, is_arrow=True)
    await upload.write(sink.getvalue().to_pybytes())
    sizes = []

    def watch(size: int) -> None:
        sizes.append(size)
        if size > 2**25:
            raise BatchesTooLarge(size, 2**25)

    with pytest.raises(BatchesTooLarge):
        await upload.split(1000, watch=watch)
    assert len(sizes) == 3
    assert (tmp_path / RECORDS).stat().st_size < sizes[-1] < 2**26


def records(folder: Path) -> list[bytes | None]:
    opened = Records(folder)
    found: dict[int, bytes | None] = {}
    try:
        while left := [number for number in range(COUNT) if number not in found]:
            found |= dict(opened.read(left))
    finally:
        opened.close()
    return [found[number] for number in range(COUNT)]


def results(folder: Path) -> list[bytes | None]:
    return list(read_results(folder, 0, COUNT))


def damaged(path: Path) -> Iterator[bytes]:
    """All contents of a file that differ in a bit, and some that are cut."""
    whole = path.read_bytes()
    for at, bit in itertools.product(range(len(whole)), range(8)):
        yield whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
    for end in range(0, len(whole), 5):
        yield whole[:end]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (RECORDS, records),
        (OFFSETS, records),
        (CHECKSUMS, records),
        (RESULTS, results),
        (INDEX, results),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_a_turned_bit_is_seen(
    folder: Path, name: str, read: Callable[[Path], list[bytes | None]]
) -> None:
    path = folder / name
    whole = path.read_bytes()
    assert read(folder) == BODIES
    unseen = []
    for content in damaged(path):
        path.write_bytes(content)
        found = read(folder)
        assert len(found) == COUNT
        wrong = [body for body, right in zip(found, BODIES, strict=True) if body != right]
        assert not any(wrong)
        if not wrong:
            unseen.append(content)
    # What an entry of the index says of a failure is for counting only.
    assert len(unseen) == (COUNT if name == INDEX else 0)
    path.write_bytes(whole)
    assert read(folder) == BODIES


async def test_records_of_before_there_were_checksums_are_read(folder: Path) -> None:
    (folder / CHECKSUMS).unlink()
    assert records(folder) == BODIES
