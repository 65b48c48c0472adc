"""Cards that others have, that cannot be used, or that fail: every run is trained all the same, and it is said why."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from engine import protocol as p
from engine.core.machine import Card, Machine
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep
from engine.data import dataset
from engine.host.dispatcher import Dispatcher
from engine.scheduling.queue import Queue
from engine.storage.workspace import Workspace

TWO = Machine((0, 1), 24 * 2**30, gpus=(Card("GPU-a", "gpu0"), Card("GPU-b", "gpu1")), lanes=2)
TINY = tuple(Configuration(Network((units,), "relu"), Training(epochs=2)) for units in (4, 6, 8))


class EventLog(list[p.AnyEvent]):
    """What the host told, and a way to wait for something in it."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    def publish(self, event: p.AnyEvent, line: bytes | None = None) -> None:
        self.append(event)
        self.changed.set()

    def of(self, kind: type) -> list:
        return [event for event in self if isinstance(event, kind)]

    @property
    def notices(self) -> str:
        return "\n".join(event.text for event in self.of(p.Noticed))

    async def until(self, condition) -> None:
        async with asyncio.timeout(240):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Return a function that says how the cards are."""
    monkeypatch.setenv("SVHN_TUI_WORKER", f"{sys.executable} -m tests.support.gpu_worker")
    monkeypatch.setenv("SVHN_TUI_LOCKS", str(tmp_path))
    monkeypatch.setenv("SVHN_TUI_TEST_FREE", str(tmp_path / "free"))
    monkeypatch.setattr("engine.scheduling.backoff.FIRST_SECONDS", 0.5)
    return lambda **cards: monkeypatch.setenv(
        "SVHN_TUI_TEST_CARDS", json.dumps({f"GPU-{name}": how for name, how in cards.items()})
    )


def begin(tmp_path: Path, folder: Path, machine: Machine = TWO) -> tuple[Dispatcher, EventLog]:
    events = EventLog()
    queue = Queue(events.publish)
    dispatch = Dispatcher(Workspace(tmp_path / "w"), machine, queue, events.publish)
    data = dataset.describe([folder])
    queue.open(data)
    queue.want(Sweep("cards", data.fingerprint, TINY, (0, 1)))
    dispatch.begin()
    return dispatch, events


def workers(events: EventLog) -> set[str]:
    """Return the workers that trained something to its end."""
    began = {run: event.worker for event in events.of(p.RunStarted) for run in event.runs}
    return {began[event.result.run_id] for event in events.of(p.RunFinished)}


def is_over(events: EventLog) -> bool:
    """Say whether every worker that was ready has ended."""
    changed = events.of(p.WorkerChanged)
    return {e.worker for e in changed if e.state == "ready"} == {e.worker for e in changed if e.state == "ended"}


async def test_two_cards_train_and_each_worker_tells_its_own(demo_folder: Path, tmp_path: Path, made_up):
    made_up(a="jax", b="jax")
    dispatch, events = begin(tmp_path, demo_folder)
    await events.until(lambda: len(events.of(p.RunFinished)) == 6 and is_over(events))
    await dispatch.leave()
    assert workers(events) <= {"gpu0", "gpu1"}
    ready = {event.worker: event for event in events.of(p.WorkerChanged) if event.state == "ready"}
    assert {worker.uuid for worker in ready.values()} <= {"GPU-a", "GPU-b"}
    assert {worker.pci for worker in ready.values()} == {"0000:1B:00.0"}
    assert {len(event.runs) for event in events.of(p.RunStarted)} == {2}
    ended = {event.worker for event in events.of(p.WorkerChanged) if event.state == "ended"}
    assert ended == set(ready), "where nothing waits, the cards are free for others"
    assert {event.result.provenance.lanes for event in events.of(p.RunFinished)} == {2}
    assert {event.result.provenance.precision for event in events.of(p.RunFinished)} == {"float32"}
    assert not events.notices


SHARED = TWO._replace(gpus=(Card("GPU-a", "gpu0", memory=16 * 2**30, seats=2),))


async def test_groups_of_different_configurations_share_a_card(demo_folder: Path, tmp_path: Path, made_up):
    made_up(a="held")
    dispatch, events = begin(tmp_path, demo_folder, SHARED)
    await events.until(lambda: {event.worker for event in events.of(p.RunStarted)} == {"gpu0", "gpu0#2"})
    (tmp_path / "free").touch()
    await events.until(lambda: len(events.of(p.RunFinished)) == 6 and is_over(events))
    await dispatch.leave()
    assert workers(events) == {"gpu0", "gpu0#2"}
    ready = {event.worker: event.uuid for event in events.of(p.WorkerChanged) if event.state == "ready"}
    assert ready == {"gpu0": "GPU-a", "gpu0#2": "GPU-a"}
    assert not events.notices


async def test_a_card_that_takes_no_second_worker_trains_with_one(demo_folder: Path, tmp_path: Path, made_up):
    made_up(a="single")
    dispatch, events = begin(tmp_path, demo_folder, SHARED)
    await events.until(lambda: len(events.of(p.RunFinished)) == 6)
    await dispatch.leave()
    assert workers(events) <= {"gpu0", "gpu0#2"}, "whichever was there first"
    assert not events.of(p.RunFailed) and not events.notices, "it trains: nobody has to do anything"


async def test_a_busy_card_is_left_alone_and_taken_once_it_is_free(demo_folder: Path, tmp_path: Path, made_up):
    made_up(a="busy", b="busy")
    dispatch, events = begin(tmp_path, demo_folder)
    await events.until(lambda: "gpu0 is left alone" in events.notices and "gpu1 is left alone" in events.notices)
    assert "memory is full" in events.notices
    assert not events.of(p.RunStarted), "nothing trains on the CPU without being asked to"
    (tmp_path / "free").touch()
    await events.until(lambda: len(events.of(p.RunFinished)) == 6)
    await dispatch.leave()
    assert workers(events) <= {"gpu0", "gpu1"}


async def test_a_card_that_cannot_be_used_is_told_and_the_other_trains(demo_folder: Path, tmp_path: Path, made_up):
    made_up(a="broken", b="held", c="cpu")
    dispatch, events = begin(tmp_path, demo_folder, TWO._replace(gpus=(*TWO.gpus, Card("GPU-c", "gpu2"))))
    await events.until(lambda: "gpu0 is not used" in events.notices and "gpu2 is not used" in events.notices)
    (tmp_path / "free").touch()
    await events.until(lambda: len(events.of(p.RunFinished)) == 6)
    await dispatch.leave()
    assert workers(events) == {"gpu1"}
    assert "gpu0 is not used: NVIDIA's driver and its libraries have different versions" in events.notices
    assert "gpu2 is not used: JAX computes on the CPU although this worker was given a GPU" in events.notices


async def test_where_no_card_can_be_used_it_is_said_before_the_cpu_trains(demo_folder: Path, tmp_path: Path, made_up):
    made_up(a="broken", b="broken")
    dispatch, events = begin(tmp_path, demo_folder)
    await events.until(lambda: len(events.of(p.RunFinished)) == 6)
    await dispatch.leave()
    notices = [index for index, event in enumerate(events) if isinstance(event, p.Noticed)]
    started = [index for index, event in enumerate(events) if isinstance(event, p.RunStarted)]
    assert max(notices) < min(started)
    assert "It trains on the CPU." in events.notices
    assert workers(events) <= {"core0", "core1"}


async def test_a_sick_card_is_set_aside_after_two_failures(demo_folder: Path, tmp_path: Path, made_up):
    made_up(a="sick", b="held")
    dispatch, events = begin(tmp_path, demo_folder)
    await events.until(lambda: "gpu0 failed twice" in events.notices)
    (tmp_path / "free").touch()
    await events.until(lambda: len(events.of(p.RunFinished)) == 6)
    await dispatch.leave()
    assert workers(events) == {"gpu1"}
    assert not events.of(p.RunFailed), "it is the card's fault and not the run's"
    ended = [event for event in events.of(p.WorkerChanged) if event.worker == "gpu0" and event.state == "ended"]
    assert ended[0].text == "The GPU failed (CUDA_ERROR_ECC_UNCORRECTABLE)."
    assert len(ended) <= 2


async def test_a_card_whose_error_ends_the_process_is_set_aside_too(demo_folder: Path, tmp_path: Path, made_up):
    made_up(a="aborted", b="held")
    dispatch, events = begin(tmp_path, demo_folder)
    await events.until(lambda: "gpu0 failed twice" in events.notices)
    (tmp_path / "free").touch()
    await events.until(lambda: len(events.of(p.RunFinished)) == 6)
    await dispatch.leave()
    assert workers(events) == {"gpu1"}
    assert not events.of(p.RunFailed)
    assert "gpu0 failed twice and is set aside: The GPU failed (CUDA_ERROR_ILLEGAL_ADDRESS)." in events.notices


async def test_memory_that_others_took_is_tried_with_fewer_and_then_waited_for(
    demo_folder: Path, tmp_path: Path, made_up
):
    made_up(a="filled", b="broken")
    dispatch, events = begin(tmp_path, demo_folder)
    await events.until(lambda: "gpu0 is left alone: The card's memory is full: " in events.notices)
    assert "1 at a time instead of 2" in "".join(event.reason for event in events.of(p.RunInterrupted))
    assert not events.of(p.RunFailed) and not events.of(p.RunStarted)
    (tmp_path / "free").touch()
    await events.until(lambda: len(events.of(p.RunFinished)) == 6)
    await dispatch.leave()
    assert not events.of(p.RunFailed), "nothing was wrong with the runs"
    assert {len(event.runs) for event in events.of(p.RunStarted)} == {2}, "with the memory back as many as before"


async def test_of_two_hosts_one_has_the_card(demo_folder: Path, tmp_path: Path, made_up):
    made_up(a="held", b="broken")
    (first, told_first), (second, told_second) = (begin(tmp_path / name, demo_folder) for name in ("one", "two"))
    both = [told_first, told_second]
    await asyncio.gather(
        *(
            events.until(lambda t=events: t.of(p.RunStarted) or "gpu0 is left alone: Another svhn-tui" in t.notices)
            for events in both
        )
    )
    began = [bool(events.of(p.RunStarted)) for events in both]
    assert sorted(began) == [False, True]
    await (first if began[0] else second).leave()
    (tmp_path / "free").touch()
    waiting = both[began.index(False)]
    await waiting.until(lambda: len(waiting.of(p.RunFinished)) == 6)
    await (second if began[0] else first).leave()
    assert workers(waiting) == {"gpu0"}
