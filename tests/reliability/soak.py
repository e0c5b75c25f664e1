"""Use a server for long, below its capacity, and see whether it grows."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from jupyter_mlsvc_server.launch import ServerProcess
from tests.contract.doors import Door
from tests.reliability.mixed_load import Counts, MixedLoad

SHARE: Final = 0.7
"""Calls of a soak, as a share of those that are answered without a pause."""
_MAX_LOOKS: Final = 120
_LOOK_SECONDS: Final = 5.0
_WARM_UP: Final = 0.25
"""Share of the time in which caches and pools fill, which does not count."""


@dataclass(frozen=True)
class Sample:
    """What a server takes at a moment."""

    minutes: float
    server_mb: float
    all_mb: float
    descriptors: int
    processes: int
    disk_mb: float


ROWS: Final = {
    "memory of the server, MB": "server_mb",
    "memory of all its processes, MB": "all_mb",
    "descriptors of the server": "descriptors",
    "processes": "processes",
    "data folder, MB": "disk_mb",
}


@dataclass
class Growth:
    """Samples of a soak, the calls a second that it had, and of how many, where that is known."""

    rate: float
    capacity: float | None
    samples: list[Sample]

    def lines(self) -> Iterator[str]:
        """Write a table in Markdown."""
        share = "" if self.capacity is None else f", {SHARE:.0%} of capacity"
        yield f"{self.rate:,.0f} calls of services a second{share}."
        yield ""
        yield "| | at first | at the end | slope a minute |"
        yield "| --- | --- | --- | --- |"
        for name, attribute in ROWS.items():
            values = self.values(attribute)
            slope = self.slope(attribute)
            yield f"| {name} | {values[0]:,.1f} | {values[-1]:,.1f} | {slope:+,.2f} |"

    def values(self, attribute: str) -> list[float]:
        """Return one figure of each sample."""
        return [float(getattr(each, attribute)) for each in self.samples]

    def slope(self, attribute: str) -> float:
        """Return by how much a figure grows in a minute, warming up left out."""
        counted = self.samples[int(len(self.samples) * _WARM_UP) :]
        if len(counted) < 2:
            return 0.0
        times = [each.minutes for each in counted]
        values = [float(getattr(each, attribute)) for each in counted]
        return statistics.linear_regression(times, values).slope


async def use_for_long(
    server: ServerProcess,
    door: Door,
    *,
    seconds: float,
    seed: int,
    progress: Callable[[str], None],
    rate: float | None = None,
) -> tuple[Growth, Counts]:
    """Use everything at once for so long, and take samples.

    Calls come at the rate, or where there is none, at a share of what the server answers.
    """
    # Each look reads the memory maps of all processes.
    looks = max(2, min(_MAX_LOOKS, int(seconds / _LOOK_SECONDS)))
    load = MixedLoad(door, seed=seed, rate=rate)
    await asyncio.to_thread(load.publish)
    async with load.running():
        capacity = None if rate is not None else await _capacity(load, min(10.0, seconds / 5))
        load.rate = rate or max(1.0, SHARE * (capacity or 0.0))
        growth = Growth(load.rate, capacity, [])
        began = time.monotonic()
        for look in range(1, looks + 1):
            await asyncio.sleep(max(0.0, began + look * seconds / looks - time.monotonic()))
            minutes = (time.monotonic() - began) / 60
            sample = await asyncio.to_thread(_sample, server, minutes)
            growth.samples.append(sample)
            progress(
                f"{minutes:.1f} min: server {sample.server_mb:,.0f} MB, all {sample.all_mb:,.0f} "
                f"MB, {sample.descriptors} descriptors, {sample.processes} processes, "
                f"{sample.disk_mb:,.1f} MB on disk"
            )
    await asyncio.to_thread(load.check_kept)
    return growth, load.counts


async def _capacity(load: MixedLoad, seconds: float) -> float:
    await asyncio.sleep(seconds)
    return sum(n for kind, n in load.counts.right.items() if kind.startswith("call")) / seconds


def _sample(server: ServerProcess, minutes: float) -> Sample:
    own = psutil.Process(server.server_pid)
    family = own.children(recursive=True)
    sizes = [_megabytes(each) for each in family]
    return Sample(
        minutes=minutes,
        server_mb=_megabytes(own),
        all_mb=_megabytes(own) + sum(sizes),
        descriptors=own.num_fds(),
        processes=1 + len(family),
        disk_mb=_disk(server.data_dir) / 1e6,
    )


def _megabytes(process: psutil.Process) -> float:
    """Return the memory of a process; of what it shares with others, its part."""
    try:
        return float(process.memory_full_info().pss) / 1e6
    except (psutil.Error, AttributeError):
        return 0.0


def _disk(folder: Path) -> int:
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += (Path(root) / name).lstat().st_blocks * 512
    return total
