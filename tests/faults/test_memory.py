"""Memory runs out in a worker: the run is tried once more with fewer beside it, and the others are trained anyway."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import protocol as p
from engine.core.machine import Card, Machine
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep
from engine.data import dataset
from engine.host.dispatcher import Dispatcher
from engine.scheduling.queue import Queue
from engine.scheduling.retries import Retries
from engine.storage.workspace import Workspace
from tests.faults.conftest import Tally
from tests.faults.hungry_worker import LIMIT_BYTES

GPU = Machine((0, 1), 24 * 2**30, gpus=(Card("GPU-a", "gpu0"),), lanes=4)
"""Groups of four: what is on it in truth is the CPU."""
TINY, HUGE, LAST = (Configuration(Network((units,), "relu"), Training(epochs=2)) for units in (8, 48, 16))
WANTED = {TINY: 4, HUGE: 2, LAST: 2}
GROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def limited() -> Iterator[Path]:
    """A control group whose processes the kernel kills when they take too much."""
    folder = (GROUPS / "memory" if (GROUPS / "memory").is_dir() else GROUPS) / f"svhn-tui-test-{os.getpid()}"
    limit = "memory.limit_in_bytes" if (GROUPS / "memory").is_dir() else "memory.max"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(LIMIT_BYTES))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield folder
    folder.rmdir()


async def outcome(workspace: Path, folder: Path) -> list[p.AnyEvent]:
    """Train four seeds of a small network, two of one that never fits and two of another; return what was told."""
    events: list[p.AnyEvent] = []
    ended = asyncio.Event()
    data = dataset.describe([folder])

    def publish(event: p.AnyEvent, line: bytes | None = None) -> None:
        events.append(event)
        if isinstance(event, p.RunFinished | p.RunFailed) and queue.is_idle:
            ended.set()

    queue = Queue(publish)
    dispatch = Dispatcher(Workspace(workspace), GPU, queue, publish)
    queue.open(data)
    for configuration, seeds in WANTED.items():
        queue.want(Sweep("hungry", data.fingerprint, (configuration,), tuple(range(seeds))))
    dispatch.begin()
    await asyncio.wait_for(ended.wait(), 240)
    await dispatch.leave()
    return events


def of(events: list[p.AnyEvent], kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


def holds(events: list[p.AnyEvent], tally: Tally, fault: str, words: str) -> None:
    """What must come of it, whoever noticed that the memory is full."""
    again, failed = of(events, p.RunInterrupted), of(events, p.RunFailed)
    finished = [event.result.spec for event in of(events, p.RunFinished)]
    assert f"{words} It is tried once more, 2 at a time instead of 4." in {event.reason for event in again}
    assert {event.reason for event in failed} == {f"{words} Another try failed too; free some memory."}
    assert all(event.out_of_memory for event in failed)
    groups = [(event.specs[0].configuration, len(event.runs)) for event in of(events, p.RunStarted)]
    assert {(TINY, 2), (LAST, 2)} <= set(groups), "with half as many it fits"
    assert {some for some, _ in groups} == {TINY, LAST}
    assert max(lanes for _, lanes in groups) == 2  # one of two is alone where the other's files were written already
    row = tally(fault)
    row.injected += Path(os.environ["SVHN_TUI_TEST_MEALS"]).stat().st_size
    wanted = {(some, seed) for some in (TINY, LAST) for seed in range(WANTED[some])}
    got = [(spec.configuration, spec.seed) for spec in finished]
    row.expect_none(
        lost=len(wanted - set(got)), doubled=len(got) - len(set(got)), wrong=abs(len(failed) - WANTED[HUGE])
    )


@pytest.fixture
def hungry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.setenv("SVHN_TUI_TEST_MEALS", str(tmp_path / "meals"))
    monkeypatch.setenv("SVHN_TUI_WORKER", f"{sys.executable} -m tests.faults.hungry_worker")
    return monkeypatch


async def test_what_xla_cannot_allocate_is_tried_with_fewer(
    demo_folder: Path, tmp_path: Path, hungry: pytest.MonkeyPatch, tally: Tally
):
    hungry.setenv("SVHN_TUI_TEST_HUNGER", "xla")
    events = await outcome(tmp_path / "w", demo_folder)
    holds(events, tally, "device memory exhausted (XLA)", "The device's memory is full.")


async def test_what_the_kernel_kills_for_memory_is_tried_with_fewer(
    demo_folder: Path, tmp_path: Path, hungry: pytest.MonkeyPatch, tally: Tally, limited: Path
):
    hungry.setenv("SVHN_TUI_TEST_HUNGER", str(limited))
    events = await outcome(tmp_path / "w", demo_folder)
    killed = "The machine ran out of memory and its kernel killed the worker."
    holds(events, tally, "worker killed by the kernel for memory", killed)


def test_a_run_that_gets_no_further_is_given_up_and_one_that_does_is_not():
    retries = Retries()
    retries.record_progress("a", 10)
    assert [retries.is_tried_again("a", out_of_memory=False) for _ in range(3)] == [True, True, False]
    retries.record_progress("a", 10)
    assert not retries.is_tried_again("a", out_of_memory=False), "the same ten epochs again are no progress"
    retries.record_progress("a", 11)
    assert [retries.is_tried_again("a", out_of_memory=True) for _ in range(2)] == [True, False]
    assert [retries.ran_out(TINY, lanes) for lanes in (10, 5, 1)] == [5, 2, 1]
