"""The workers' reports on their runs: progress and outcomes, and the recovery of the runs of a worker that ended."""

from collections.abc import Callable

from engine import protocol as p
from engine.host.launcher import Publish
from engine.host.worker_pool import WorkerPool, logged
from engine.scheduling.queue import Queue
from engine.storage.workspace import Workspace
from engine.workers.lane_speeds import LaneSpeeds
from engine.workers.process import Worker, WorkerEnd
from engine.workers.slurm_jobs import NO_EPOCH


class WorkerReports:
    """Enters reports into queue and pool, and publishes those that count."""

    def __init__(
        self,
        workspace: Workspace,
        queue: Queue,
        pool: WorkerPool,
        publish: Publish,
        speeds: LaneSpeeds,
        kind_of: Callable[[Worker], str],
    ) -> None:
        self._workspace, self._queue, self._pool, self._publish = workspace, queue, pool, publish
        self._speeds, self._kind_of = speeds, kind_of

    def enter(self, worker: Worker, event: p.AnyEvent, line: bytes | None) -> bool:
        """Enter an event of a worker's runs; return whether another group may be trained after it."""
        was_occupied = bool(worker.training)
        if isinstance(event, p.EpochEnded):
            self._enter_progress(worker, event)
        if not isinstance(event, p.Ended):
            self._pass_on(event, line)
            return was_occupied and not worker.training
        run_id = event.result.run_id if isinstance(event, p.RunFinished) else event.run_id
        if worker.runs.pop(run_id, None) is None:
            return False  # its outcome is known already: it counts once
        if isinstance(event, p.RunFailed) and event.out_of_memory:
            event, line = self._after_loss(worker, run_id, WorkerEnd(event.reason, out_of_memory=True)), None
        elif isinstance(event, p.RunInterrupted) and worker.is_retired and not worker.epoch_seconds:
            event, line = self._after_loss(worker, run_id, WorkerEnd(NO_EPOCH)), None
        self._pool.unassign(worker, {run_id})
        self._pass_on(event, line)
        if worker.is_retired and not worker.runs:
            self._pool.dismiss(worker)
        return True

    def recover(self, worker: Worker, end: WorkerEnd) -> None:
        """Put the runs of a worker that ended back into the queue, and fail those that were lost too often."""
        suspects = worker.training or set(worker.runs)  # not those whose files are written while others train
        for run_id in reversed(worker.runs):  # each goes to the head of the queue
            with logged():
                result = self._result(run_id)
                if result is not None:  # it was finished, and only the report of it was lost
                    self._pass_on(p.RunFinished(result=result))
                elif run_id in suspects and end.run_may_be_cause:
                    self._pass_on(self._after_loss(worker, run_id, end))
                else:
                    self._pass_on(p.RunInterrupted(run_id=run_id, reason=end.reason))
        worker.runs.clear()

    def _enter_progress(self, worker: Worker, event: p.EpochEnded) -> None:
        specs = [worker.runs[run_id] for run_id in event.runs if run_id in worker.runs]
        if not specs:
            return
        for run_id in event.runs:
            self._queue.retries.record_progress(run_id, event.epoch)
        worker.epoch_seconds = max(worker.epoch_seconds, event.seconds)
        configuration, data = specs[0].configuration, self._queue.data.get(specs[0].data)
        side_by_side = max(1, len(self._pool.workers) - len(self._pool.unoccupied))
        if event.epoch == configuration.training.epochs:
            self._pool.unassign(worker, event.runs)  # their files are written while the next group trains
        if data is not None:
            seconds = event.seconds / len(event.runs) / side_by_side
            device = worker.changed.device if worker.has_gpu else worker.slot.name.rstrip("0123456789")
            time = p.EpochTime(configuration, data.train_images, seconds, device, data.input_shape, len(event.runs))
            self._queue.times.add(time)
            if len(event.runs) == worker.lanes and not self._shares_its_card(worker):
                self._speeds.add(self._kind_of(worker), configuration, data, worker.lanes, event.seconds)

    def _shares_its_card(self, worker: Worker) -> bool:
        """Say whether another worker trains on its card: both are slower than alone."""
        card = worker.slot.gpu
        if card is None:
            return False
        return any(other.training for slot, other in self._pool.workers.items() if slot.gpu == card and other != worker)

    def _after_loss(self, worker: Worker, run_id: str, end: WorkerEnd) -> p.RunFailed | p.RunInterrupted:
        return self._queue.after_loss(
            run_id, end.reason, worker.lanes, out_of_memory=end.out_of_memory, is_leaving=self._pool.is_leaving
        )

    def _result(self, run_id: str) -> p.RunResult | None:
        """Read the result of a run whose worker has ended; None also where the disk cannot be read."""
        try:
            return self._workspace.result(run_id)
        except OSError:
            return None

    def _pass_on(self, event: p.AnyEvent, line: bytes | None = None) -> None:
        if self._queue.fold(event):
            self._publish(event, line)
