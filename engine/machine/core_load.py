"""How much of each core other people's processes use: its busy time, less that of this program's own processes."""

import os
import time
from collections.abc import Mapping
from typing import NamedTuple

import psutil

SAMPLE_SECONDS = 2.0
"""Least time between two samples: the kernel counts in hundredths of a second, too coarsely for a shorter one."""
BUSY = ("user", "nice", "system", "irq", "softirq", "steal")


class CoreTimes(NamedTuple):
    """Processor seconds since the machine, or a process, started."""

    at: float
    busy: Mapping[int, float]
    """By core, of all processes."""
    own: float
    """Of this process and of those that it started, including those that have ended."""
    pinned: Mapping[int, float]
    """By core, of our own processes that are restricted to it."""


class CoreLoad:
    """The load of some cores, sampled again when it is read."""

    def __init__(self, cores: tuple[int, ...]) -> None:
        self._cores = cores
        self._before = sample(cores, {})
        self._load: Mapping[int, float] = {}

    def of_others(self, own: Mapping[int, tuple[int, ...]]) -> Mapping[int, float]:
        """Return by core the share of its time, 0..1, that others used between the last two samples.

        Args:
            own: cores of each of our own processes, by process id.
        """
        if time.monotonic() >= self._before.at + SAMPLE_SECONDS:
            now = sample(self._cores, own)
            self._load, self._before = share_of_others(self._before, now), now
        return self._load


def sample(cores: tuple[int, ...], own: Mapping[int, tuple[int, ...]]) -> CoreTimes:
    """Read the kernel's counters of these cores, and of our own processes, whose cores are given by process id."""
    at, times = time.monotonic(), psutil.cpu_times(percpu=True)
    busy = {core: sum(getattr(times[core], name, 0.0) for name in BUSY) for core in cores if core < len(times)}
    pinned = dict.fromkeys(cores, 0.0)
    for pid, pinned_to in own.items():
        for core in pinned_to:
            pinned[core] = pinned.get(core, 0.0) + _seconds_of(pid) / len(pinned_to)
    return CoreTimes(at, busy, sum(os.times()[:4]) + sum(map(_seconds_of, own)), pinned)


def share_of_others(before: CoreTimes, now: CoreTimes) -> dict[int, float]:
    """Return by core the share of the time between two samples, 0..1, that others used. Pure.

    Our own processes that are restricted to no core are subtracted from all cores alike.
    """
    spent = {core: max(0.0, seconds - before.busy.get(core, seconds)) for core, seconds in now.busy.items()}
    theirs = {
        core: max(0.0, seconds - max(0.0, now.pinned.get(core, 0.0) - before.pinned.get(core, 0.0)))
        for core, seconds in spent.items()
    }
    total = sum(theirs.values())
    if not total or now.at <= before.at:
        return {}
    scale = min(1.0, max(0.0, sum(spent.values()) - max(0.0, now.own - before.own)) / total)
    return {core: min(1.0, seconds * scale / (now.at - before.at)) for core, seconds in theirs.items()}


def _seconds_of(pid: int) -> float:
    """Return the processor time of a process and of those that it waited for; 0 where it has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
