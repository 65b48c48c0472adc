"""The queue: which runs are to be trained, in which order, and the state of each. Independent of workers.

Whole because every change of a run's state is made and published here, and nowhere else.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

import msgspec

from engine import protocol as p
from engine.core.forecast import EpochTimes
from engine.core.own_model import ModelFacts
from engine.core.spec import OwnModel
from engine.core.sweep import Sweep
from engine.scheduling.asked_sweeps import AskedSweeps
from engine.scheduling.known_models import Key, KnownModels
from engine.scheduling.retries import Retries
from engine.scheduling.run_states import WAITING, WHYS, Assigned, Finished, Held, Hold, Record, RunStates, Waiting
from engine.scheduling.waiting_list import WaitingList
from engine.storage.workspace import QueueOrder

RUNS_AT_ONCE = 500
"""Runs in one event."""
NOTHING_STORED = QueueOrder()


class Queue:
    """The runs that wait and those that workers have. `publish` sends an event to all clients.

    Whole because every change of a run's state is made and published here, and nowhere else.
    """

    def __init__(
        self,
        publish: Callable[[p.AnyEvent], None],
        *,
        results: Mapping[str, p.RunResult] = {},
        data: Mapping[str, p.DataSet] = {},
        stored: QueueOrder = NOTHING_STORED,
    ) -> None:
        """Begin without sweeps; of what is `stored`, the order is for `arrange`, once they are there."""
        self.data = dict(data)
        """Data sets that can be trained on, by fingerprint."""
        self.times = EpochTimes(())
        self.retries = Retries()
        self.models = KnownModels(stored.model_names)
        self.waiting = WaitingList(
            can_train=lambda run: run.spec.data in self.data and self.models.is_ready(run.spec),
            trained_as=self.models.trained_as,
        )
        self._publish = publish
        reasons = {run_id: reason for reason, runs in stored.reasons.items() for run_id in runs}
        records: dict[str, Record] = {run_id: Held(why, reasons.get(run_id, ""))
                                      for run_id, word in stored.held.items() if (why := WHYS.get(word))}  # fmt: skip
        records |= {run_id: Finished(result) for run_id, result in results.items()}
        self.runs = RunStates(records)
        """The state of each run. Others read it; only this class changes it."""
        self.sweeps = AskedSweeps(self.runs.accuracies)
        self.groups = {run_id: group for run_id, group in stored.groups.items() if run_id not in results}
        """The group in which each run without a result trained side by side with others, by run_id."""

    # --- what is known -----------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Nothing trains and nothing waits to."""
        return not self.runs.training and self.waiting.head is None and not self.models.wanted

    @property
    def order(self) -> QueueOrder:
        """The part of the queue that does not follow from the sweeps, to be stored."""
        held: dict[str, str] = {**self.runs.held}
        held |= {run.run_id: "paused" for run in self.waiting if run.paused}
        held |= {run_id: training.stop for run_id, training in self.runs.training.items() if training.stop}
        runs = (*self.runs.training, *(run.run_id for run in self.waiting))
        return QueueOrder(runs, held, self.runs.reasons, dict(self.groups), dict(self.models.names))

    def events(self) -> Iterator[p.AnyEvent]:
        """Return the whole queue as events, and the runs that failed, of which a client learns as of waiting ones."""
        failed = self.runs.failed
        yield from _queued([p.WaitingRun(run_id, spec, "", "") for run_id, (spec, _) in failed.items()])
        yield from (p.RunFailed(run_id=run_id, reason=reason) for run_id, (_, reason) in failed.items())
        if failed:
            yield p.RunsUnqueued(runs=tuple(failed))
        yield from _queued(tuple(self.waiting))

    def result(self, run_id: str) -> p.RunResult | None:
        """Return the outcome of a run, if it is finished."""
        record = self.runs.get(run_id)
        return record.result if isinstance(record, Finished) else None

    # --- what is wanted ----------------------------------------------------------------------------------------------

    def want(self, sweep: Sweep, *, again: bool = False, paused: bool = False) -> tuple[str, ...]:
        """Put a sweep's missing runs into the queue; return all missing runs, waiting and running ones included.

        Args:
            sweep: what is asked for.
            again: the user asks for it, so runs that were paused, cancelled or failed are released.
            paused: the user has not asked for it yet: new runs wait until that happens.
        """
        sweep_id, missing = self.sweeps.add(sweep)
        if again:
            self.release(missing)
        self.runs.name_failed(missing)
        new = [
            p.WaitingRun(run_id, spec, sweep_id, sweep.title, paused=paused or record is not None)
            for run_id, spec in missing.items()
            if (record := self.runs.get(run_id)) is None or (isinstance(record, Held) and record.why == "paused")
        ]
        for run in new:
            self.runs.put(run.run_id, WAITING)
            self.waiting.join(run)
        self._publish_all(_queued(new))
        return tuple(missing)

    def supersede(self, sweep: Sweep) -> tuple[Sweep, ...]:
        """Remove sweeps that this one replaces by another choice of finalists, and runs that wait for those alone."""
        if old := self.sweeps.remove_replaced(sweep):
            self._keep(self.sweeps.missing(sweep))
        return old

    def open(self, data: p.DataSet) -> None:
        """Train on this data from now on."""
        self.data[data.fingerprint] = data
        self.waiting.refresh()

    def learn(self, key: Key, facts: ModelFacts) -> None:
        """Record the outcome of a trial; if the model cannot be trained, all its waiting runs fail."""
        self.models.learn(key, facts)
        if facts.problem:
            mine = {run.run_id: run.spec for run in self.waiting if _model_of(run) == key}
            for run_id in mine:
                self._publish(p.RunFailed(run_id=run_id, reason=facts.problem))
            self._leave_list(mine, Held("failed", facts.problem))
            self.runs.name_failed(mine)
        else:
            self.waiting.refresh()

    def needs_trial(self, key: Key) -> bool:
        """Say whether a run waits, not paused, for the outcome of a model's trial; if none does, it is not wanted."""
        if any(_model_of(run) == key and not run.paused for run in self.waiting):
            return True
        self.models.wanted.pop(key, None)
        return False

    def arrange(self, order: QueueOrder) -> None:
        """Sort the queue by a stored order; runs that are not in it come last."""
        self.waiting.arrange({run_id: rank for rank, run_id in enumerate(order.runs)})

    def hold(self, runs: Iterable[str], why: Hold) -> None:
        """Pause or cancel runs; those that workers have are theirs to stop."""
        waiting = []
        for run_id in runs:
            match self.runs.get(run_id):
                case Assigned() as training if training.run.spec.recording is None:
                    training.stop = why
                case Waiting():
                    waiting.append(run_id)
                case _:
                    pass
        if why == "paused":
            self._pause(waiting, paused=True)
        else:
            self._cancel(waiting)

    def resume(self, runs: Iterable[str]) -> None:
        """Release held runs; all that are paused when none is named."""
        paused = (run_id for run_id, why in self.order.held.items() if why == "paused")
        self.release(tuple(runs) or tuple(paused))
        for sweep in list(self.sweeps.values()):
            self.want(sweep)

    def move(self, runs: Sequence[str], index: int) -> None:
        """Move waiting runs to an index of the queue, in their order."""
        index, moved = self.waiting.move(runs, index)
        if moved:
            self._publish(p.RunsUnqueued(runs=tuple(run.run_id for run in moved)))
            self._publish_all(_queued(moved, index))

    def add_finished(self, result: p.RunResult) -> bool:
        """Record the result of a run that was finished elsewhere and is not trained here any more.

        Return whether it was not known; a run that a worker has is finished by that worker alone.
        """
        if isinstance(self.runs.get(result.run_id), Assigned | Finished):
            return False
        self._leave_list([result.run_id], None)
        self._finish(result)
        return True

    def adopt(self, run: p.WaitingRun) -> None:
        """Record that another program trains and records a run from now on."""
        self.runs.put(run.run_id, Assigned(run, "recorder"))

    def forget(self, run_id: str) -> None:
        """Forget a deleted run; it is trained again only when it is asked for, and so are finalists that it decides.

        Raises:
            ValueError: a worker has it.
        """
        self.runs.refuse_training([run_id], "deleted")
        self._leave_list([run_id], None)
        self.groups.pop(run_id, None)
        was_finished = isinstance(self.runs.get(run_id), Finished)
        self.runs.put(run_id, Held("cancelled"))
        if was_finished and self.sweeps.reopen(run_id):
            self._keep(self.sweeps.missing())

    def release(self, runs: Iterable[str]) -> None:
        """Release held runs; they are trained when a sweep asks for them."""
        waiting = []
        self.models.forget_problems()
        for run_id in runs:
            match self.runs.get(run_id):
                case Held():
                    self.runs.put(run_id, None)
                case Assigned() as training:
                    training.stop = None
                case Waiting():
                    waiting.append(run_id)
                    continue
                case _:
                    continue
            self.retries.forget(run_id)
        self._pause(waiting, paused=False)

    def _pause(self, runs: Sequence[str], *, paused: bool) -> None:
        if new := self.waiting.hold(runs, paused=paused):
            self._publish(p.RunsHeld(runs=new, paused=paused))

    def _keep(self, wanted: Set[str]) -> None:
        """Remove all other runs from the waiting list."""
        self._leave_list([run.run_id for run in self.waiting if run.run_id not in wanted], None)

    def _leave_list(self, runs: Iterable[str], record: Held | None) -> None:
        """Remove runs from the waiting list, where they are in it, and set their record."""
        if left := self.waiting.leave(runs):
            for run_id in left:
                self.runs.put(run_id, record)
            self._publish(p.RunsUnqueued(runs=left))

    def _cancel(self, waiting: Sequence[str]) -> None:
        self._leave_list(waiting, Held("cancelled"))
        if waiting:
            self._publish(p.RunsCancelled(runs=tuple(waiting)))

    def _publish_all(self, events: Iterable[p.AnyEvent]) -> None:
        for event in events:
            self._publish(event)

    # --- assigning and releasing --------------------------------------------------------------------------------------

    def assign(self, runs: Iterable[p.WaitingRun], worker: str = "") -> None:
        """Record that a worker has these runs, which leave the waiting list."""
        assigned = {run.run_id: run for run in runs}
        if left := self.waiting.leave(assigned):
            for run_id in left:
                self.runs.put(run_id, Assigned(assigned[run_id], worker))
            self._publish(p.RunsUnqueued(runs=left, worker=worker))

    def after_loss(
        self, run_id: str, reason: str, lanes: int, *, out_of_memory: bool, is_leaving: bool
    ) -> p.RunFailed | p.RunInterrupted:
        """Return what happens to a run that a worker lost; for the arguments see `Retries.after_loss`."""
        training = self.runs.training[run_id]
        if training.stop == "cancelled":
            return p.RunInterrupted(run_id=run_id, reason=reason)
        return self.retries.after_loss(training.run, reason, lanes, out_of_memory=out_of_memory, is_leaving=is_leaving)

    def fold(self, event: p.AnyEvent) -> bool:
        """Apply a worker's event; return False where it comes too late."""
        match event:
            case p.RunStarted():
                if len(event.runs) > 1:
                    self.groups |= dict.fromkeys(event.runs, event.group)
                for run_id, spec in zip(event.runs, event.specs, strict=True):
                    if training := self.runs.training.get(run_id):
                        training.begin(msgspec.structs.replace(event, runs=(run_id,), specs=(spec,)))
            case p.EpochEnded():
                for lane, run_id in enumerate(event.runs):
                    if training := self.runs.training.get(run_id):
                        training.end_epoch(event, lane)
            case p.RunFinished():
                if event.result.run_id not in self.runs.training:
                    return False
                self._finish(event.result)
            case p.RunFailed() | p.RunInterrupted() | p.RunPaused():
                training = self.runs.training.get(event.run_id)
                if training is None:
                    return False
                if isinstance(event, p.RunFailed):
                    self.runs.put(event.run_id, Held("failed", event.reason, training.run.spec))
                else:
                    self._put_back(training)
            case _:
                pass
        return True

    def _put_back(self, training: Assigned) -> None:
        """Insert a released run at the head, behind lower seeds of its kind, if a sweep still asks for it."""
        run = training.run
        if training.stop == "cancelled":
            self.runs.put(run.run_id, Held("cancelled"))
            self._publish(p.RunsCancelled(runs=(run.run_id,)))
            return
        sweep = self.sweeps.asking_for(run)
        self.runs.put(run.run_id, None)
        if sweep is not None:
            run = p.WaitingRun(run.run_id, run.spec, sweep.sweep_id, sweep.title, paused=training.stop == "paused")
            self.runs.put(run.run_id, WAITING)
            self._publish_all(_queued([run], self.waiting.put_back(run)))

    def _finish(self, result: p.RunResult) -> None:
        run_id = result.run_id
        self.groups.pop(run_id, None)
        self.runs.put(run_id, Finished(result))
        for sweep in self.sweeps.finish(run_id):
            self.want(sweep)


def _model_of(run: p.WaitingRun) -> tuple[OwnModel | None, str]:
    return run.spec.configuration.network.model, run.spec.data


def _queued(runs: Sequence[p.WaitingRun], index: int | None = None) -> Iterator[p.RunsQueued]:
    """Report that these runs follow each other, at the end of the waiting list or from an index on."""
    for start in range(0, len(runs), RUNS_AT_ONCE):
        some = tuple(runs[start : start + RUNS_AT_ONCE])
        yield p.RunsQueued(waiting=some, index=None if index is None else index + start)
