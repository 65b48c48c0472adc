"""The host's workers: which exist, what each trains, and how each ends."""

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from engine import protocol as p
from engine.core.spec import RunSpec
from engine.host.launcher import Launcher, Publish
from engine.machine import card
from engine.scheduling.slot import Occupant, Slot
from engine.workers.process import Worker, WorkerEnd
from engine.workers.slurm_jobs import Allocations


class WorkerPool:
    """All workers that have started and not ended; it follows each of them.

    Args:
        workspace: the root of the workspace.
        publish: sends an event to all clients.
        is_available: is called when a worker has started, or may be started again after a failure.
        changed: is called with a worker that reported a new state of its own.
        reported: is called with a worker, an event of its runs, and the event's line.
        ended: is called with a worker that has ended, and how; it still has its runs.
    """

    def __init__(
        self,
        workspace: Path,
        publish: Publish,
        *,
        is_available: Callable[[], None],
        changed: Callable[[Worker], None],
        reported: Callable[[Worker, p.AnyEvent, bytes], None],
        ended: Callable[[Worker, WorkerEnd], None],
    ) -> None:
        self.is_leaving = False
        """The host ends: no worker is started any more."""
        self._publish = publish
        self._is_available, self._changed, self._reported, self._ended = is_available, changed, reported, ended
        self._workers: dict[Slot, Worker] = {}
        self._unoccupied: dict[Worker, None] = {}
        """The workers that train nothing, so that an event goes through these few and not through a thousand."""
        self._following: set[asyncio.Task[None]] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._allocations = Allocations(workspace, self._workers.values, self._change, self._retire)
        self.launcher = Launcher(workspace, publish, started=self.add, may_try_again=is_available)

    # --- which workers there are -------------------------------------------------------------------------------------

    @property
    def workers(self) -> Mapping[Slot, Worker]:
        """All workers, by the slots that they are in."""
        return self._workers

    def worker_for(self, slot: Slot) -> Worker | None:
        """Return the worker of a slot, or an idle one on another seat of its card."""
        own = self._workers.get(slot)
        if own is not None or slot.gpu is None:
            return own
        beside = (worker for other, worker in self._workers.items()
                  if (other.gpu, other.trainer) == (slot.gpu, slot.trainer))  # fmt: skip
        return next((worker for worker in beside if not worker.training and not worker.is_leaving), None)

    @property
    def unoccupied(self) -> tuple[Worker, ...]:
        """Workers that train nothing at present; one of them may still write the files of its last group."""
        return tuple(self._unoccupied)

    @property
    def own_processes(self) -> frozenset[int]:
        """Process ids of the workers on this machine: a GPU that they compute on is not used by others."""
        return frozenset(worker.pid for slot, worker in self._workers.items() if not slot.is_elsewhere)

    @property
    def own_cores(self) -> Mapping[int, tuple[int, ...]]:
        """The cores of each worker on this machine, by process id."""
        return {worker.pid: slot.cores for slot, worker in self._workers.items() if not slot.is_elsewhere}

    # --- assignments -------------------------------------------------------------------------------------------------

    def assign(self, worker: Worker, specs: Sequence[RunSpec]) -> None:
        """Record that a worker trains these runs as a group."""
        worker.runs |= {spec.run_id: spec for spec in specs}
        worker.training |= {spec.run_id for spec in specs}
        worker.occupant = Occupant(specs[0].configuration, len(specs))
        self._unoccupied.pop(worker, None)

    def unassign(self, worker: Worker, runs: Collection[str]) -> None:
        """Record that a worker trains these runs no longer."""
        worker.training.difference_update(runs)
        if not worker.training:
            self._unoccupied[worker] = None

    # --- starting and ending -----------------------------------------------------------------------------------------

    def start(self, slot: Slot, files: Sequence[str] = ()) -> None:
        """Start the worker of a slot in the background, unless that is under way.

        Args:
            slot: where.
            files: what a worker on another machine must be able to read.
        """
        job_name = self._allocations.new_name() if slot.slurm is not None else ""
        self.launcher.start(slot, files, job_name)

    def add(self, worker: Worker) -> None:
        """Follow a worker that has started."""
        self._workers[worker.slot] = worker
        self._unoccupied[worker] = None
        self._following.add(task := asyncio.create_task(self._follow(worker)))
        task.add_done_callback(self._following.discard)
        if worker.slot.is_elsewhere:
            self._publish(worker.changed, None)
        if worker.job_name:
            self._allocations.wake()
        self._is_available()

    async def _follow(self, worker: Worker) -> None:
        """Handle a worker's events until it ends, then report its end."""
        end = await worker.follow(self._receive)
        self._unoccupied.pop(worker, None)
        if worker.job_name:
            with logged():
                end = await self._allocations.end_of(worker, end)
        slot = worker.slot
        if self._workers.get(slot) is worker:
            del self._workers[slot]
        if slot.gpu is not None and worker.changed.device:
            self._note_company(slot.gpu)
        has_failed = not worker.has_reported or end.status in card.REASONS
        if slot.is_elsewhere and has_failed and not worker.is_leaving:
            outcome = "lost a worker" if worker.has_reported else "took no worker"
            self.launcher.refuse(slot, f"{slot.where} {outcome}: {(worker.refusal or end.reason).rstrip('.')}")
        text = worker.stop_reason or worker.refusal or end.reason
        self._change(worker, msgspec.structs.replace(worker.changed, state="ended", text=text, expected_at=None))
        self._ended(worker, end)

    def _note_company(self, gpu: str) -> None:
        """Record of each worker that is starting on a GPU that one which computed there has ended."""
        for slot, worker in self._workers.items():
            if slot.gpu == gpu and not worker.changed.device:
                worker.had_company = True

    def dismiss(self, worker: Worker) -> None:
        """Let a worker end that is not needed."""
        worker.is_leaving = True
        worker.stop_reason = worker.stop_reason or "Nothing is left for it."
        self._leaving.add(task := asyncio.create_task(worker.leave()))
        task.add_done_callback(self._leaving.discard)

    def _retire(self, worker: Worker) -> None:
        """Ask a worker whose time is nearly over for its runs, and let it end after that."""
        worker.retire("Its time was nearly over.")
        if not worker.runs:
            self.dismiss(worker)

    def kill(self) -> None:
        """End every worker at once, without a checkpoint."""
        self.is_leaving = True
        for worker in self._workers.values():
            worker.kill()

    async def close(self) -> None:
        """Let every worker write its checkpoints and end."""
        self.is_leaving = True
        self._allocations.close()
        await self.launcher.close()
        leaving = [worker.leave() for worker in list(self._workers.values())]
        for outcome in (
            *await asyncio.gather(*leaving, return_exceptions=True),
            *await asyncio.gather(*self._following, *self._leaving, return_exceptions=True),
        ):
            if isinstance(outcome, Exception):
                traceback.print_exception(outcome)
        await self._allocations.cancel_left()

    # --- what they report --------------------------------------------------------------------------------------------

    def _receive(self, worker: Worker, event: p.AnyEvent, line: bytes) -> None:
        """Handle a worker's event; an error in one does not prevent the next ones from being handled."""
        with logged():
            if isinstance(event, p.WorkerChanged):
                self._update(worker, event)
            else:
                self._reported(worker, event, line)

    def _update(self, worker: Worker, event: p.WorkerChanged) -> None:
        """Publish the state that a worker reports; the dates that Slurm gave stay in it."""
        if event.state == "ended":
            worker.refusal = event.text
            return  # `_follow` publishes it, with the reason
        known = worker.changed
        merged = msgspec.structs.replace(event, worker=worker.slot.name, where=known.where,
                                         job=event.job or known.job, ends_at=known.ends_at)  # fmt: skip
        self._change(worker, merged)
        self.launcher.accept(worker.slot)
        if worker.job_name:
            self._allocations.wake()
        self._changed(worker)

    def _change(self, worker: Worker, changed: p.WorkerChanged) -> None:
        worker.changed = changed
        self._publish(changed, None)


@contextlib.contextmanager
def logged() -> Iterator[None]:
    """Print an exception inside into host.log and continue after the block."""
    try:
        yield
    except Exception:  # noqa: BLE001  a defect in one thing must not stop all others
        traceback.print_exc()
