"""The queue and the workers: what trains next, where, and what becomes of a run whose worker dies."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable

import msgspec

from engine import forecast, launcher, plan
from engine import protocol as p
from engine.launcher import Worker
from engine.placement import Machine, Slot, next_group, slot_for
from engine.plan import Sweep
from engine.spec import Configuration, RunSpec
from engine.workspace import Order, Workspace

ATTEMPTS = 2
"""Times that a run's worker may die without one more epoch done, before the run counts as failed."""


class Dispatch:
    """Owns the queue. `publish` takes every event that clients are to hear, with its line if it came as one."""

    def __init__(
        self, workspace: Workspace, machine: Machine, publish: Callable[[p.AnyEvent, bytes | None], None]
    ) -> None:
        self.results: dict[str, p.RunResult] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.data: dict[str, p.DataSet] = {}
        """Data sets that can be trained on, by fingerprint."""
        self.times: tuple[p.EpochTime, ...] = ()
        self.held: dict[str, str] = {}
        """Runs that are wanted but not to be trained now: `paused`, `cancelled` or `failed`."""
        self.histories: dict[str, p.History] = {}
        """Of the runs that workers have, for clients that attach meanwhile."""
        self.started: dict[str, p.RunStarted] = {}
        self.reasons: dict[str, str] = {}
        self._workspace = workspace
        self._machine = machine
        self._publish = publish
        self._queue: list[p.Place] = []
        self._workers: dict[Slot, Worker] = {}
        self._starting: dict[Slot, asyncio.Task[None]] = {}
        self._following: set[asyncio.Task[None]] = set()
        self._deaths: dict[str, int] = {}
        self._is_leaving = False

    # --- what is known -----------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Nothing trains and nothing waits to."""
        return not self._active() and all(place.paused for place in self._queue)

    @property
    def order(self) -> Order:
        """What is kept of the queue beyond what follows from the sweeps."""
        return Order((*self._active(), *(place.run_id for place in self._queue)), self.held)

    def places(self) -> tuple[p.Place, ...]:
        """Return the queue, each run with its forecast."""
        return tuple(
            msgspec.structs.replace(place, forecast_seconds=self.forecast(place.spec)) for place in self._queue
        )

    def forecast(self, spec: RunSpec) -> float | None:
        """Return the seconds of the whole machine that a run will take."""
        data = self.data.get(spec.data)
        if data is None:
            return None
        return forecast.run_seconds(spec.configuration, data.train_images, data.input_shape, self.times)

    def accuracies(self) -> dict[str, float]:
        """Test accuracy of each finished run."""
        return {run_id: result.test_accuracy for run_id, result in self.results.items()}

    def workers(self) -> Iterable[p.WorkerChanged]:
        """Tell the state of each worker."""
        for slot, worker in self._workers.items():
            yield p.WorkerChanged(worker=slot.name, state="training" if worker.training else "ready", pid=worker.pid)

    # --- what is wanted ----------------------------------------------------------------------------------------------

    def want(self, sweep: Sweep) -> tuple[RunSpec, ...]:
        """Put what a sweep lacks into the queue; return it, what waits or trains already included."""
        self.sweeps[sweep.sweep_id] = sweep
        lacking = plan.missing(sweep, self.accuracies())
        known = {place.run_id for place in self._queue} | self._active()
        for spec in lacking:
            if spec.run_id not in known and self.held.get(spec.run_id) not in ("cancelled", "failed"):
                known.add(spec.run_id)
                self._workspace.write_spec(spec)
                paused = self.held.get(spec.run_id) == "paused"
                self._queue.append(p.Place(spec.run_id, spec, sweep.sweep_id, sweep.title, paused=paused))
        return lacking

    def supersede(self, sweep: Sweep) -> tuple[Sweep, ...]:
        """Drop sweeps that this one replaces by another choice of finalists, and what waits for them alone."""
        old = tuple(some for some in self.sweeps.values() if plan.is_other_choice(some, sweep))
        for some in old:
            del self.sweeps[some.sweep_id]
        if old:
            accuracies = self.accuracies()
            others = (*self.sweeps.values(), sweep)
            asked = {spec.run_id for some in others for spec in plan.asked(some, accuracies)}
            self._queue = [place for place in self._queue if place.run_id in asked]
        return old

    def let_wait(self, sweep: Sweep) -> None:
        """Forget that runs of this sweep were cancelled or failed: they are asked for again."""
        for spec in plan.asked(sweep, self.accuracies()):
            if self.held.get(spec.run_id) in ("cancelled", "failed"):
                self._release(spec.run_id)

    def arrange(self, order: Order) -> None:
        """Bring the queue into a kept order; runs that it does not know stay behind."""
        rank = {run_id: place for place, run_id in enumerate(order.runs)}
        self._queue.sort(key=lambda place: rank.get(place.run_id, len(rank)))

    def hold(self, runs: Iterable[str], why: str) -> None:
        """Pause or cancel runs, whether they wait or train."""
        chosen = set(runs)
        self.held |= dict.fromkeys(chosen & (self._active() | {place.run_id for place in self._queue}), why)
        for worker in self._workers.values():
            stopped = tuple(run_id for run_id in worker.runs if run_id in chosen)
            if stopped:
                worker.send(p.StopRuns(runs=stopped, why="paused" if why == "paused" else "cancelled"))
        if why == "paused":
            self._queue = [
                msgspec.structs.replace(place, paused=place.paused or place.run_id in chosen) for place in self._queue
            ]
        else:
            self._queue = [place for place in self._queue if place.run_id not in chosen]

    def resume(self, runs: Iterable[str]) -> None:
        """Let held runs go on; all that are paused when none is named."""
        chosen = set(runs) or {run_id for run_id, why in self.held.items() if why == "paused"}
        for run_id in chosen:
            self._release(run_id)
        self._queue = [
            msgspec.structs.replace(place, paused=place.paused and place.run_id not in chosen) for place in self._queue
        ]
        for sweep in list(self.sweeps.values()):
            self.want(sweep)

    def move(self, runs: Iterable[str], place: int) -> None:
        """Put waiting runs at a place in the queue, in their order."""
        chosen = list(runs)
        moved = [waiting for waiting in self._queue if waiting.run_id in chosen]
        others = [waiting for waiting in self._queue if waiting.run_id not in chosen]
        place = max(0, min(place, len(others)))
        self._queue = [*others[:place], *moved, *others[place:]]

    def take_in(self, result: p.RunResult) -> None:
        """Know a run that was finished elsewhere; it need not be trained here any more."""
        self._queue = [place for place in self._queue if place.run_id != result.run_id]
        self._fold(p.RunFinished(result=result))

    def forget(self, run_id: str) -> None:
        """Drop a run that was deleted."""
        self.results.pop(run_id, None)
        self.held[run_id] = "cancelled"

    def _release(self, run_id: str) -> None:
        self.held.pop(run_id, None)
        self._deaths.pop(run_id, None)
        self.reasons.pop(run_id, None)

    def _active(self) -> set[str]:
        return {run_id for worker in self._workers.values() for run_id in worker.runs}

    # --- workers -----------------------------------------------------------------------------------------------------

    def warm_up(self, configuration: Configuration | None = None) -> None:
        """Start a worker before it is needed, so that its imports run beside everything else."""
        if not self._workers and not self._starting and not self._is_leaving:
            self._start(slot_for(configuration or Configuration(), self._machine, (3, 32, 32), 0))

    def advance(self) -> None:
        """Give free workers what is next."""
        while not self._is_leaving and self._queue:
            ready = [place for place in self._queue if place.spec.data in self.data and not place.paused]
            if not ready:
                return
            busy = {slot for slot, worker in self._workers.items() if worker.training}
            shape = self.data[ready[0].spec.data].input_shape
            found = next_group(ready, self._machine, shape, busy)
            if found is None:
                return
            slot, places = found
            worker = self._workers.get(slot)
            if worker is None or worker.is_leaving:
                self._start(slot)
                return  # goes on when it has started
            self._send(worker, places)

    def _send(self, worker: Worker, places: tuple[p.Place, ...]) -> None:
        specs = tuple(place.spec for place in places)
        worker.runs |= {spec.run_id: spec for spec in specs}
        worker.training |= {spec.run_id for spec in specs}
        gone = {spec.run_id for spec in specs}
        self._queue = [place for place in self._queue if place.run_id not in gone]
        group = f"{worker.slot.name}-{specs[0].run_id}"
        data = self.data[specs[0].data]
        worker.send(p.Train(group=group, workspace=str(self._workspace.root), specs=specs, data=data))

    def _start(self, slot: Slot) -> None:
        if slot not in self._starting:
            self._starting[slot] = asyncio.create_task(self._started(slot))

    async def _started(self, slot: Slot) -> None:
        try:
            worker = await launcher.start(slot, self._workspace.root / "host.log")
        except OSError as error:
            self._publish(p.Noticed(text=f"No worker can be started: {error}.", severity="error"), None)
            return
        finally:
            self._starting.pop(slot, None)
        self._workers[slot] = worker
        task = asyncio.create_task(self._follow(worker))
        self._following.add(task)
        task.add_done_callback(self._following.discard)
        self.advance()

    async def _follow(self, worker: Worker) -> None:
        status = await worker.follow(self._told)
        if self._workers.get(worker.slot) is worker:
            del self._workers[worker.slot]
        self._publish(p.WorkerChanged(worker=worker.slot.name, state="ended", pid=worker.pid), None)
        for run_id, spec in worker.runs.items():
            self._orphaned(run_id, spec, launcher.death(status))
        self._publish(p.QueueChanged(places=self.places()), None)
        self.advance()

    def _orphaned(self, run_id: str, spec: RunSpec, reason: str) -> None:
        """A worker died with this run: it goes back to the head of the queue, or fails when that happens again."""
        result = self._workspace.result(run_id)
        if result is not None:  # the end was reached and only the word of it was lost
            self._told_end(p.RunFinished(result=result))
            return
        self._deaths[run_id] = self._deaths.get(run_id, 0) + 1
        if self._deaths[run_id] >= ATTEMPTS and not self._is_leaving:
            self._told_end(p.RunFailed(run_id=run_id, reason=reason))
            return
        self._told_end(p.RunInterrupted(run_id=run_id, reason=reason))
        sweep = next((some for some in self.sweeps.values() if spec in plan.asked(some, self.accuracies())), None)
        if sweep is not None and run_id not in self.held:
            self._queue.insert(0, p.Place(run_id, spec, sweep.sweep_id, sweep.title))

    def _told_end(self, event: p.AnyEvent) -> None:
        self._fold(event)
        self._publish(event, None)

    def _told(self, worker: Worker, event: p.AnyEvent, line: bytes) -> None:
        self._note_progress(worker, event)
        self._fold(event)
        self._publish(event, line)
        if isinstance(event, p.RunFinished | p.RunFailed | p.RunPaused | p.RunInterrupted):
            run_id = event.result.run_id if isinstance(event, p.RunFinished) else event.run_id
            spec = worker.runs.pop(run_id, None)
            worker.training.discard(run_id)
            if spec is not None and isinstance(event, p.RunPaused):
                self._requeue_paused(spec)
            self._publish(p.QueueChanged(places=self.places()), None)
        self.advance()

    def _note_progress(self, worker: Worker, event: p.AnyEvent) -> None:
        if not isinstance(event, p.EpochEnded):
            return
        specs = [worker.runs[run_id] for run_id in event.runs if run_id in worker.runs]
        if not specs:
            return
        for run_id in event.runs:
            self._deaths.pop(run_id, None)
        configuration = specs[0].configuration
        if event.epoch == configuration.training.epochs:
            worker.training -= set(event.runs)  # their files are written while the next group trains
        side_by_side = sum(bool(other.training) for other in self._workers.values()) or 1
        data = self.data.get(specs[0].data)
        if data is not None:
            seconds = event.seconds / len(event.runs) / side_by_side
            measured = p.EpochTime(configuration, data.train_images, seconds, worker.slot.name.rstrip("0123456789"))
            self.times = forecast.with_time(self.times, measured)

    def _requeue_paused(self, spec: RunSpec) -> None:
        sweep = next((some for some in self.sweeps.values() if spec in plan.asked(some, self.accuracies())), None)
        if sweep is not None and self.held.get(spec.run_id) == "paused":
            self._queue.insert(0, p.Place(spec.run_id, spec, sweep.sweep_id, sweep.title, paused=True))

    def _fold(self, event: p.AnyEvent) -> None:
        """Keep what clients that attach later have to be told."""
        match event:
            case p.RunStarted():
                for run_id, spec in zip(event.runs, event.specs, strict=True):
                    self.started[run_id] = msgspec.structs.replace(event, runs=(run_id,), specs=(spec,))
                    self.reasons.pop(run_id, None)
            case p.EpochEnded():
                for lane, run_id in enumerate(event.runs):
                    values = (event.loss[lane], event.accuracy[lane], event.test_loss[lane], event.test_accuracy[lane])
                    known = self.histories.get(run_id, p.History())
                    if known.epochs == event.epoch - 1:  # else a client asks for the journal's
                        self.histories[run_id] = p.extended(known, values, event.seconds)
            case p.RunFinished():
                self.results[event.result.run_id] = event.result
                self._end(event.result.run_id)
                self.held.pop(event.result.run_id, None)
                for sweep in list(self.sweeps.values()):  # a stage may be complete now, and the next one known
                    if sweep.finalists is not None:
                        self.want(sweep)
            case p.RunFailed():
                self._end(event.run_id)
                self.held[event.run_id] = "failed"
                self.reasons[event.run_id] = event.reason
            case p.RunInterrupted() | p.RunPaused():
                self._end(event.run_id)
            case _:
                pass

    def _end(self, run_id: str) -> None:
        self.started.pop(run_id, None)
        self.histories.pop(run_id, None)

    async def leave(self) -> None:
        """Let every worker checkpoint and end."""
        self._is_leaving = True
        for task in list(self._starting.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*(worker.leave() for worker in list(self._workers.values())))
        await asyncio.gather(*self._following)
