"""The workers: who trains what is next, and what becomes of a run whose worker dies."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from engine import launcher
from engine import protocol as p
from engine.launcher import Death, Worker
from engine.placement import Machine, Slot, next_group, slot_for
from engine.queue import Queue
from engine.spec import Configuration, RunSpec
from engine.workspace import Workspace


class Dispatch:
    """Hands the queue to workers. `publish` takes every event that clients are to hear, with its line if it has one."""

    def __init__(
        self,
        workspace: Workspace,
        machine: Machine,
        queue: Queue,
        publish: Callable[[p.AnyEvent, bytes | None], None],
    ) -> None:
        self.fleet = p.Fleet()
        """Where workers run."""
        self._workspace = workspace
        self._machine = machine
        self._queue = queue
        self._publish = publish
        self._workers: dict[Slot, Worker] = {}
        self._starting: dict[Slot, asyncio.Task[None]] = {}
        self._following: set[asyncio.Task[None]] = set()
        self._is_leaving = False

    def workers(self) -> Iterable[p.WorkerChanged]:
        """Tell the state of each worker."""
        for slot, worker in self._workers.items():
            yield p.WorkerChanged(worker=slot.name, state="training" if worker.training else "ready", pid=worker.pid)

    def hold(self, runs: Iterable[str], why: str) -> None:
        """Pause or cancel runs, whether they wait or train."""
        chosen = set(runs)
        self._queue.hold(chosen, why)
        for worker in self._workers.values():
            stopped = tuple(run_id for run_id in worker.runs if run_id in chosen)
            if stopped:
                worker.send(p.StopRuns(runs=stopped, why="paused" if why == "paused" else "cancelled"))

    def warm_up(self, configuration: Configuration | None = None) -> None:
        """Start a worker before it is needed, so that its imports run beside everything else."""
        if not self._workers and not self._starting and not self._is_leaving:
            self._start(slot_for(configuration or Configuration(), self._machine, (3, 32, 32), 0))

    def advance(self) -> None:
        """Give free workers what is next."""
        while not self._is_leaving and (head := self._queue.places.head):
            busy = {slot for slot, worker in self._workers.items() if worker.training}
            shape = self._queue.data[head.spec.data].input_shape
            found = next_group(self._queue.places, self._machine, shape, busy, self._queue.setbacks.lanes)
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
        worker.lanes = len(specs)
        self._queue.take(places)
        group = f"{worker.slot.name}-{specs[0].run_id}"
        data = self._queue.data[specs[0].data]
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
        death = await worker.follow(self._told)
        if self._workers.get(worker.slot) is worker:
            del self._workers[worker.slot]
        self._publish(p.WorkerChanged(worker=worker.slot.name, state="ended", pid=worker.pid), None)
        blamed = worker.training or set(worker.runs)  # those whose files are being written while others train are not
        for run_id, spec in reversed(worker.runs.items()):  # each goes to the head of the queue
            self._queue.let_go(run_id)
            result = self._workspace.result(run_id)
            if result is not None:  # the end was reached and only the word of it was lost
                self._pass_on(p.RunFinished(result=result))
            elif run_id in blamed:
                self._pass_on(self._set_back(worker, spec, death))
            else:
                self._queue.put_back(spec)
                self._pass_on(p.RunInterrupted(run_id=run_id, reason=death.reason))
        self.advance()

    def _set_back(self, worker: Worker, spec: RunSpec, death: Death) -> p.RunFailed | p.RunInterrupted:
        """A run came back without a result: it is tried again, or fails when that happens again and again."""
        setbacks, reason = self._queue.setbacks, death.reason
        again = setbacks.is_tried_again(spec.run_id, out_of_memory=death.out_of_memory) or self._is_leaving
        if death.out_of_memory:
            fewer = setbacks.ran_out(spec.configuration, worker.lanes)
            beside = f", {fewer} at a time instead of {worker.lanes}" if worker.lanes > 1 else ""
            reason += f" It is tried once more{beside}." if again else " It was tried again in vain; free some memory."
        if not again:
            return p.RunFailed(run_id=spec.run_id, reason=reason, out_of_memory=death.out_of_memory)
        self._queue.put_back(spec)
        return p.RunInterrupted(run_id=spec.run_id, reason=reason)

    def _told(self, worker: Worker, event: p.AnyEvent, line: bytes) -> None:
        self._note_progress(worker, event)
        if not isinstance(event, p.RunFinished | p.RunFailed | p.RunPaused | p.RunInterrupted):
            self._pass_on(event, line)
            self.advance()
            return
        run_id = event.result.run_id if isinstance(event, p.RunFinished) else event.run_id
        spec = worker.runs.pop(run_id, None)
        self._queue.let_go(run_id)
        if isinstance(event, p.RunFailed) and event.out_of_memory and spec is not None:
            event = self._set_back(worker, spec, Death(event.reason, out_of_memory=True))
            line = p.encode(event)
        elif isinstance(event, p.RunPaused | p.RunInterrupted) and spec is not None:
            self._queue.put_back(spec)  # it may have been resumed, or asked for again, before it was let go
        worker.training.discard(run_id)
        self._pass_on(event, line)
        self.advance()

    def _pass_on(self, event: p.AnyEvent, line: bytes | None = None) -> None:
        self._queue.fold(event)
        self._publish(event, line)

    def _note_progress(self, worker: Worker, event: p.AnyEvent) -> None:
        if not isinstance(event, p.EpochEnded):
            return
        specs = [worker.runs[run_id] for run_id in event.runs if run_id in worker.runs]
        if not specs:
            return
        for run_id in event.runs:
            self._queue.setbacks.got_to(run_id, event.epoch)
        configuration = specs[0].configuration
        if event.epoch == configuration.training.epochs:
            worker.training -= set(event.runs)  # their files are written while the next group trains
        side_by_side = sum(bool(other.training) for other in self._workers.values()) or 1
        data = self._queue.data.get(specs[0].data)
        if data is not None:
            seconds = event.seconds / len(event.runs) / side_by_side
            measured = p.EpochTime(configuration, data.train_images, seconds, worker.slot.name.rstrip("0123456789"))
            self._queue.times.add(measured)

    def kill(self) -> None:
        """End every worker at once, without a checkpoint: there is no place to write one."""
        self._is_leaving = True
        for worker in self._workers.values():
            worker.kill()

    async def leave(self) -> None:
        """Let every worker checkpoint and end."""
        self._is_leaving = True
        for task in list(self._starting.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*(worker.leave() for worker in list(self._workers.values())))
        await asyncio.gather(*self._following)
