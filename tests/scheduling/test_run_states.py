"""Whatever is asked for in whatever order, each run stands in one place, and is nobody's or one worker's."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine import protocol as p
from engine.core.curve import Curve
from engine.core.spec import RunSpec
from engine.core.sweep import FinalistRule, Sweep
from engine.scheduling.queue import Queue
from engine.scheduling.run_states import Assigned, Finished, Held, Waiting
from svhn_tui.client.reducer import apply
from svhn_tui.client.state import State
from tests.support.epochs import epoch_ended
from tests.support.scenes import DATA, relu, result

SEEDS = 3
SWEEPS = (
    Sweep("one", DATA.fingerprint, (relu(16),), tuple(range(SEEDS))),
    Sweep("two", DATA.fingerprint, (relu(16), relu(64)), (0, 1), FinalistRule(tuple(range(SEEDS)), at_most=1)),
    Sweep("two", DATA.fingerprint, (relu(16), relu(64)), (0, 1), FinalistRule(tuple(range(SEEDS)), chosen=(1,))),
)
SPECS = {
    spec.run_id: spec
    for spec in (RunSpec(some, seed, DATA.fingerprint) for some in (relu(16), relu(64)) for seed in range(SEEDS))
}
RUNS = st.sampled_from(sorted(SPECS))
SOME = st.lists(RUNS, max_size=4, unique=True)


class Transitions(RuleBasedStateMachine):
    """A queue, its workers as sets of runs, a disk, and a client that follows the events."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.queue = Queue(self.hear, data={DATA.fingerprint: DATA})
        self.given: dict[str, int] = {}
        """The runs that workers have, and how often they were begun."""
        self.disk: set[str] = set()
        """Runs with a result there."""

    def hear(self, event: p.AnyEvent) -> None:
        self.state = apply(self.state, event)

    def tell(self, event: p.AnyEvent) -> bool:
        counts = self.queue.fold(event)
        if counts:
            self.hear(event)
        return counts

    @rule(sweep=st.sampled_from(SWEEPS), again=st.booleans(), paused=st.booleans())
    def want(self, sweep: Sweep, again: bool, paused: bool) -> None:
        self.queue.supersede(sweep)
        lacking = self.queue.want(sweep, again=again, paused=paused and not again)
        assert not set(lacking) & self.disk
        if again:
            assert not any(isinstance(self.queue.runs[run_id], Held) for run_id in lacking)

    @rule(runs=SOME, why=st.sampled_from(["paused", "cancelled"]))
    def hold(self, runs: list[str], why: str) -> None:
        self.queue.hold(runs, why)

    @rule(runs=SOME)
    def resume(self, runs: list[str]) -> None:
        self.queue.resume(runs)

    @rule(runs=SOME, index=st.integers(0, 6))
    def move(self, runs: list[str], index: int) -> None:
        self.queue.move(runs, index)

    @rule(most=st.integers(1, 3))
    def assign(self, most: int) -> None:
        if head := self.queue.waiting.head:
            group = self.queue.waiting.alike(head, most)
            runs = {run.run_id for run in group}
            assert not runs & set(self.given), "a run that a worker has is given to no other"
            assert not runs & self.disk, "what is finished is not trained again"
            self.queue.assign(group, "w")
            self.given |= dict.fromkeys(runs, 0)

    @rule(run_id=RUNS)
    def begin(self, run_id: str) -> None:
        if run_id in self.given:
            self.given[run_id] += 1
            runs, specs, values = (run_id,), (SPECS[run_id],), (0.5,)
            self.tell(p.RunStarted(group="g", runs=runs, specs=specs, worker="w", device="d"))
            self.tell(epoch_ended(group="g", runs=runs, epoch=1, loss=values, accuracy=values, test_loss=values,
                                   test_accuracy=values, seconds=1.0, images_per_second=1.0))  # fmt: skip

    @rule(run_id=RUNS, times=st.integers(1, 2))
    def finish(self, run_id: str, times: int) -> None:
        """A worker that has it, or one that lost it to another attempt, says that it is done; once or twice."""
        counts = [self.tell(p.RunFinished(result=result(SPECS[run_id], 0.5))) for _ in range(times)]
        assert counts == [run_id in self.given, False][:times]
        if self.given.pop(run_id, None) is not None:
            self.disk.add(run_id)

    @rule(run_id=RUNS, kind=st.sampled_from([p.RunFailed, p.RunInterrupted]))
    def end(self, run_id: str, kind: type[p.RunFailed] | type[p.RunInterrupted]) -> None:
        has_it = self.given.pop(run_id, None) is not None
        assert self.tell(kind(run_id=run_id, reason="died")) == has_it

    @rule(run_id=RUNS)
    def delete(self, run_id: str) -> None:
        if run_id in self.given:
            with pytest.raises(ValueError, match="in training cannot be deleted"):
                self.queue.forget(run_id)
            return
        self.queue.forget(run_id)
        self.disk.discard(run_id)
        self.hear(p.RunDeleted(run_id=run_id))

    @rule(run_id=RUNS)
    def import_(self, run_id: str) -> None:
        is_news = run_id not in self.given and run_id not in self.disk
        outcome = result(SPECS[run_id], 0.6)
        assert self.queue.add_finished(outcome) == is_news
        if is_news:
            self.disk.add(run_id)
            self.hear(p.RunFinished(result=outcome))

    @precondition(lambda self: not self.given)
    @rule()
    def start_again(self) -> None:
        """A host that ends, and one that begins with what is on disk."""
        order, sweeps = self.queue.order, self.queue.sweeps
        waiting = list(self.queue.waiting)
        results = {run.run_id: run for run in self.queue.runs.results}
        self.state = State()
        for run in results.values():
            self.hear(p.RunFinished(result=run))
        self.queue = Queue(self.hear, results=results, data=self.queue.data, stored=order)
        for sweep in sweeps.values():
            self.queue.want(sweep)
        self.queue.arrange(order)
        assert [(run.run_id, run.paused) for run in self.queue.waiting] == [(run.run_id, run.paused) for run in waiting]
        self.state = apply(State(), p.RunsQueued(waiting=tuple(self.queue.waiting)))
        for run in results.values():
            self.hear(p.RunFinished(result=run))

    @invariant()
    def each_run_stands_in_one_place(self) -> None:
        runs = self.queue.runs
        of = {kind: {run_id for run_id, record in runs.items() if isinstance(record, kind)}
              for kind in (Waiting, Assigned, Finished, Held)}  # fmt: skip
        assert of[Waiting] == {run.run_id for run in self.queue.waiting}
        assert of[Assigned] == set(runs.training) == set(self.given)
        assert of[Finished] == set(runs.accuracies) == self.disk
        assert len(self.queue.waiting) == len(of[Waiting]), "none waits twice"

    @invariant()
    def who_follows_the_events_knows_the_same(self) -> None:
        assert self.state.queue == tuple(self.queue.waiting)
        assert set(self.state.results) == self.disk


TestTransitions = Transitions.TestCase
TestTransitions.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_run_that_goes_on_has_its_whole_curve_once_its_journal_was_read():
    """What it does meanwhile is kept, and a client is told of one curve without a gap."""
    run_id, spec = next(iter(SPECS.items()))
    epochs = [
        epoch_ended(runs=(run_id,), epoch=epoch, loss=(float(epoch),), accuracy=(0.5,), test_loss=(1.0,),
                    test_accuracy=(0.5,), seconds=1.0, images_per_second=1.0)
        for epoch in range(1, 7)
    ]  # fmt: skip
    rows = [event.rows[0] for event in epochs]
    training = Assigned(p.WaitingRun(run_id, spec, "sweep", "title"), "w0")
    training.begin(p.RunStarted(group="g", runs=(run_id,), specs=(spec,), worker="w0", device="cpu", epoch=3))
    for event in epochs[3:5]:
        training.end_epoch(event, 0)
    assert training.curve is None
    assert list(training.join(Curve.of(rows[:3])).rows) == rows[:5]
    training.end_epoch(epochs[5], 0)
    assert list(training.curve.rows) == rows


def test_finalists_wait_no_longer_when_a_run_that_decides_them_is_deleted():
    """As after a restart, which knows of no finalists; they are chosen again once the first stage is complete."""
    sweep, queue = SWEEPS[1], Queue(lambda event: None, data={DATA.fingerprint: DATA})
    first = [result(spec, 0.5) for spec in SPECS.values() if spec.seed in sweep.seeds]
    for outcome in first:
        queue.add_finished(outcome)
    (finalist,) = queue.want(sweep)
    queue.forget(first[0].run_id)
    assert not queue.waiting
    queue.add_finished(first[0])
    assert [run.run_id for run in queue.waiting] == [finalist]

    queue.assign(tuple(queue.waiting), "w")
    queue.forget(first[0].run_id)
    queue.fold(p.RunInterrupted(run_id=finalist, reason="died"))
    assert not queue.waiting
