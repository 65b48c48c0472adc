"""What others use of the cores is what is busy, less what our own processes used."""

import os
import subprocess
import sys
import time

import pytest

from engine.core.machine import Machine
from engine.host.local_machine import LocalMachine
from engine.machine import core_load
from engine.machine.core_load import CoreTimes, sample, share_of_others


def times(at: float, busy: dict[int, float], own: float = 0.0, pinned: dict[int, float] | None = None) -> CoreTimes:
    return CoreTimes(at, busy, own, pinned or {})


@pytest.mark.parametrize(
    ("own", "pinned", "expected"),
    [
        (0.0, {}, {0: 1.0, 1: 0.25, 2: 0.0}),
        (9.0, {0: 9.0}, {0: 0.1, 1: 0.25, 2: 0.0}),
        (5.0, {}, {0: 0.6, 1: 0.15, 2: 0.0}),
        (12.5, {0: 10.0}, {0: 0.0, 1: 0.0, 2: 0.0}),
        (99.0, {0: 10.0, 1: 2.0}, {0: 0.0, 1: 0.0, 2: 0.0}),
    ],
    ids=["all is theirs", "a worker of ours on core 0", "ours, who knows where", "all is ours", "ours, counted late"],
)
def test_what_is_ours_is_not_counted(own: float, pinned: dict[int, float], expected: dict[int, float]):
    before = times(100, {0: 50, 1: 50, 2: 50}, own=7, pinned=dict.fromkeys(pinned, 3.0))
    now = times(110, {0: 60, 1: 52.5, 2: 50}, 7 + own, {core: 3 + seconds for core, seconds in pinned.items()})
    load = share_of_others(before, now)
    assert load == pytest.approx(expected)


def test_without_a_time_between_or_with_counters_that_went_back_nothing_is_claimed():
    assert share_of_others(times(1, {0: 1}), times(1, {0: 2})) == {}
    assert share_of_others(times(1, {0: 5}), times(9, {0: 2})) == {}
    assert share_of_others(times(1, {}), times(9, {0: 2})) == {}, "a core that has come since"


def test_the_kernels_counters_are_read_also_of_a_process_that_has_ended():
    child = subprocess.Popen([sys.executable, "-c", "sum(range(10**6)); input()"], stdin=subprocess.PIPE)
    try:
        alive = sample((0,), {child.pid: (0,)})
        child.communicate(b"\n")
        ended = sample((0,), {child.pid: (0,)})
    finally:
        child.kill()
    assert alive.busy[0] <= ended.busy[0]
    assert ended.own >= alive.own > 0, "what it used is counted once it is waited for"
    assert ended.pinned == {0: 0.0}


def test_placement_is_told_what_others_use(monkeypatch: pytest.MonkeyPatch):
    now = time.monotonic()
    samples = [times(now - 10, {0: 0, 1: 0}), times(now, {0: 9, 1: 10}, 9, {0: 9})]
    monkeypatch.setattr(core_load, "sample", lambda cores, own: samples.pop(0))
    machine = LocalMachine(Machine((0, 1), 2**34), lambda event, line: None, lambda: None)
    assert machine.available((), {os.getpid(): (0,)}).load == pytest.approx({0: 0, 1: 1})
    assert machine.available((), {}).load == pytest.approx({0: 0, 1: 1}), "it is not looked at again at once"
