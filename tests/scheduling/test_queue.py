"""The queue is told by what changes in it: whoever folds the changes has the very queue, and pays for changes alone."""

import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine import protocol as p
from engine.core.machine import Machine
from engine.core.spec import RunSpec
from engine.core.sweep import FinalistRule, Sweep
from engine.host.dispatcher import Dispatcher
from engine.scheduling.queue import Queue
from engine.scheduling.slot import Slot
from engine.scheduling.waiting_list import WaitingList
from engine.storage.workspace import Workspace
from engine.workers.process import Worker
from svhn_tui.client.reducer import apply
from svhn_tui.client.state import State
from tests.support.epochs import epoch_ended
from tests.support.scenes import DATA, relu, result

CONFIGURATIONS = (relu(16), relu(64), relu(256))


class Follower:
    """A queue, and a client that knows it by the events alone."""

    def __init__(self) -> None:
        self.events: list[p.AnyEvent] = []
        self.state = State()
        self.queue = Queue(self._hear, data={DATA.fingerprint: DATA})

    def _hear(self, event: p.AnyEvent) -> None:
        self.events.append(event)
        self.state = apply(self.state, event)

    def train(self, places: tuple[p.WaitingRun, ...]) -> None:
        """As a worker does with a group: take, start, end an epoch, finish."""
        specs, runs = tuple(run.spec for run in places), tuple(run.run_id for run in places)
        values = (0.5,) * len(runs)
        self.queue.assign(places)
        self._happen(p.RunStarted(group="g", runs=runs, specs=specs, worker="w", device="d"))
        self._happen(epoch_ended(group="g", runs=runs, epoch=1, loss=values, accuracy=values, test_loss=values,
                                  test_accuracy=values, seconds=1.0, images_per_second=1.0))  # fmt: skip
        for spec in specs:
            self._happen(p.RunFinished(result=result(spec, 0.5)))

    def _happen(self, event: p.AnyEvent) -> None:
        self.queue.fold(event)
        self._hear(event)

    def next_group(self, lanes: int) -> tuple[p.WaitingRun, ...]:
        head = self.queue.waiting.head
        return self.queue.waiting.alike(head, lanes) if head else ()


def sweep(seeds: int, *, first: int = 0, rule: FinalistRule | None = None) -> Sweep:
    return Sweep("grid", DATA.fingerprint, CONFIGURATIONS, tuple(range(first, first + seeds)), rule)


def test_whatever_is_done_to_the_queue_who_follows_its_events_has_the_same_queue():
    dice, follower = random.Random(7), Follower()
    queue, taken = follower.queue, []
    queue.want(sweep(40))
    for step in range(600):
        some = tuple(run.run_id for run in queue.waiting if dice.random() < 0.1)
        match dice.randrange(8):
            case 0:
                queue.move(some, dice.randrange(60))
            case 1:
                queue.hold(some, "paused")
            case 2:
                queue.hold(some[:2], "cancelled")
            case 3:
                queue.resume(some)
            case 4:
                queue.want(sweep(3, first=step))
            case 5 if group := follower.next_group(dice.randrange(1, 4)):
                queue.assign(group)
                taken += group
            case 6 if taken:
                run = taken.pop(dice.randrange(len(taken)))
                follower.queue.fold(p.RunInterrupted(run_id=run.run_id, reason="its worker died"))
            case _:
                follower.train(follower.next_group(2))
        assert follower.state.queue == tuple(queue.waiting), step
        ready = [run for run in queue.waiting if not run.paused]
        assert queue.waiting.head == (ready[0] if ready else None)
        if ready:
            kind = ready[0].spec.configuration
            assert follower.next_group(3) == tuple(run for run in ready if run.spec.configuration == kind)[:3]
    assert len(follower.state.results) > 100


@pytest.mark.parametrize("rule", [None, FinalistRule(tuple(range(10_000)))], ids=["one stage", "two stages"])
def test_a_finished_run_costs_as_many_bytes_behind_ten_thousand_as_behind_ten(rule: FinalistRule | None):
    costs = []
    for seeds in (10, 4_000):
        follower = Follower()
        follower.queue.want(sweep(seeds, rule=rule))
        before = len(follower.events)
        follower.train(follower.next_group(1))
        costs.append(sum(len(p.encode(event)) for event in follower.events[before:]))
    assert costs[0] == costs[1] < 2_000


def test_what_happens_for_every_run_looks_at_that_run_alone():
    looked: list[str] = []
    specs = [RunSpec(some, seed, "data") for some in CONFIGURATIONS for seed in range(1_000)]
    row = WaitingList(can_train=lambda run: bool(looked.append(run.run_id)) or True)
    for spec in specs:
        row.join(p.WaitingRun(spec.run_id, spec, "s", "t"))
    assert len(looked) == 3_000
    for _ in range(500):
        group = row.alike(row.head, 2)
        row.leave(run.run_id for run in group)
        row.put_back(group[1])
    assert len(looked) == 3_500
    assert len(row) == 2_500


def test_a_run_that_came_back_stands_behind_earlier_seeds_of_its_kind():
    row = WaitingList(
        p.WaitingRun(spec.run_id, spec, "s", "t") for spec in (RunSpec(relu(64), seed, "d") for seed in range(6))
    )
    first, second, third, *_ = row
    row.leave((first.run_id, second.run_id, third.run_id))
    assert [row.put_back(run) for run in (second, first, third)] == [0, 0, 2]
    assert [run.spec.seed for run in row] == [0, 1, 2, 3, 4, 5]


def test_who_trained_side_by_side_is_kept_until_they_are_finished():
    follower = Follower()
    queue = follower.queue
    queue.want(sweep(3))
    places = follower.next_group(3)
    specs, runs = tuple(run.spec for run in places), tuple(run.run_id for run in places)
    queue.assign(places)
    queue.fold(p.RunStarted(group="gpu0-a", runs=runs, specs=specs, worker="gpu0", device="d"))
    for run_id in runs[:2]:
        queue.fold(p.RunInterrupted(run_id=run_id, reason="the host ends"))
    queue.fold(p.RunFinished(result=result(specs[2], 0.5)))
    assert queue.order.groups == dict.fromkeys(runs[:2], "gpu0-a")
    finished = result(specs[0], 0.5)
    again = Queue(lambda event: None, results={finished.run_id: finished}, stored=queue.order)
    assert again.groups == {runs[1]: "gpu0-a"}
    queue.forget(runs[0])
    assert runs[0] not in queue.groups


def test_the_second_stage_is_worked_out_when_the_first_is_complete_and_not_before():
    follower = Follower()
    first = sweep(2, rule=FinalistRule((0, 1, 2), at_least=1, at_most=1))
    assert len(follower.queue.want(first)) == 6
    while group := follower.next_group(2):
        follower.train(group)
    seeds = sorted((run.spec.configuration.network.hidden, run.spec.seed) for run in follower.state.results.values())
    assert seeds == [((16,), 0), ((16,), 1), ((16,), 2), ((64,), 0), ((64,), 1), ((256,), 0), ((256,), 1)]


def test_an_epoch_in_the_middle_looks_at_no_other_worker_and_not_at_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    follower, looked = Follower(), []
    follower.queue.want(sweep(2))
    dispatch = Dispatcher(Workspace(tmp_path), Machine((0,), 2**34), follower.queue, lambda event, line: None)
    monkeypatch.setattr(dispatch, "advance", lambda: looked.append(worker.training))
    worker = Worker(Slot("slurm0", slurm=()), SimpleNamespace(pid=1, stdin=None), tmp_path / "log", "a job")
    (run,) = follower.next_group(1)
    dispatch._send(worker, (run,))
    for epoch in range(1, 101):
        ended = epoch_ended(group="g", runs=(run.run_id,), epoch=epoch, loss=(1.0,), accuracy=(0.5,),
                             test_loss=(1.0,), test_accuracy=(0.5,), seconds=1.0, images_per_second=1.0)  # fmt: skip
        dispatch._worker_reported(worker, ended, p.encode(ended))
    assert looked == [set()], "only when its last epoch is done is there something to give out"
