"""Decides which worker trains which group of runs, and which workers are started and dismissed for that."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping

from engine import protocol as p
from engine.core.data_shape import ASSIGNMENT
from engine.core.machine import Machine
from engine.core.spec import Configuration
from engine.host.lane_choice import LaneChoice
from engine.host.launcher import Publish
from engine.host.local_machine import LocalMachine
from engine.host.model_trials import ModelTrials
from engine.host.worker_pool import WorkerPool
from engine.host.worker_reports import WorkerReports
from engine.machine import card
from engine.scheduling.placement import heads, next_group, slots, together
from engine.scheduling.queue import Queue
from engine.scheduling.run_states import Hold
from engine.scheduling.slot import Occupant, Slot
from engine.storage import claims
from engine.storage.workspace import Workspace
from engine.workers import fleet as fleets
from engine.workers import slurm
from engine.workers.process import Worker, WorkerEnd

STARTS_AT_ONCE = 10
"""Number of workers elsewhere that are started at a time: a thousand would block the host for seconds, and Slurm's
controller for longer."""


class Dispatcher:
    """Gives queued runs to workers. `publish` sends an event to all clients, with its line if it is encoded."""

    def __init__(
        self,
        workspace: Workspace,
        machine: Machine,
        queue: Queue,
        publish: Publish,
    ) -> None:
        self.fleet = p.Fleet()
        """Where workers run."""
        self.has_begun = False
        """A client has asked for training since the host started."""
        self.machine = LocalMachine(machine, publish, self.advance)
        self.pool = WorkerPool(
            workspace.root,
            publish,
            is_available=self.advance,
            changed=self._worker_changed,
            reported=self._worker_reported,
            ended=self._worker_ended,
        )
        self._workspace = workspace
        self._queue = queue
        self._trials = ModelTrials(workspace.root, queue, lambda event: publish(event, None), self.advance)
        self._lanes = LaneChoice(queue, machine.lanes)
        self._reports = WorkerReports(workspace, queue, self.pool, publish, self._lanes.speeds, self.machine.kind_of)
        self._is_suspended = False

    def begin(self) -> None:
        """Begin to train the waiting runs: a client asked for training."""
        self.has_begun = True
        self.advance()

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Give no waiting run to a worker inside this block; runs in training continue."""
        self._is_suspended = True
        try:
            yield
        finally:
            self._is_suspended = False
            self.advance()

    def use(self, fleet: p.Fleet, machine: Machine | None = None) -> None:
        """Use this fleet from now on; workers that are not part of it finish their group and end.

        Args:
            fleet: where workers run.
            machine: the host's own machine with the GPUs of this fleet, if they changed.
        """
        self.fleet = fleet
        self.pool.launcher.forget_failures()
        self.machine.use(machine)

    def hold(self, runs: Iterable[str], why: Hold) -> None:
        """Pause or cancel runs, whether they wait or train."""
        chosen = set(runs)
        self._queue.hold(chosen, why)
        for worker in self.pool.workers.values():
            stopped = tuple(run_id for run_id in worker.runs if run_id in chosen)
            if stopped:
                worker.send(p.StopRuns(runs=stopped, why=why))

    def warm_up(self) -> None:
        """Start a worker before it is needed, so that its imports overlap with everything else.

        None is started on a GPU, which others may want while nothing trains.
        """
        is_idle = not self._slots and not self.pool.is_leaving
        if self.fleet.is_local and is_idle and not self.machine.has_gpus:
            self.pool.start(slots(Configuration(), self.machine.available((), {}), ASSIGNMENT)[0])

    # --- what is next ------------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Give free workers the next groups, start workers that are missing, and end those that are not needed."""
        if self.pool.is_leaving or self._is_suspended or not self.has_begun:
            return
        self._trials.begin()
        if self.fleet.is_local:
            self._advance_here()
        else:
            self._advance_elsewhere()
        for worker in self.pool.unoccupied:
            if not worker.runs and not worker.is_leaving and not self._is_needed(worker):
                self.pool.dismiss(worker)

    def _advance_here(self) -> None:
        while True:
            busy = {slot: worker.occupant for slot, worker in self.pool.workers.items() if worker.training}
            machine = self.machine.available(self._slots, self.pool.own_cores)
            if not any(self._begin_here(head, machine, busy) for head in heads(self._queue.waiting, machine, busy)):
                return

    def _begin_here(self, head: p.WaitingRun, machine: Machine, busy: Mapping[Slot, Occupant | None]) -> bool:
        """Give the group that begins with this run to its worker, or start that; return whether a worker got it."""
        queue, shape = self._queue, self._queue.data[head.spec.data].shape
        is_apart = not machine.has_tensorflow_gpus and queue.waiting.trained_as(head).training.worker != "fast"
        if self.machine.has_gpus and not machine.gpus and not is_apart:
            return False  # others use them all; with --gpus none the CPU trains
        if not busy and self.machine.is_measuring(head.spec.configuration, shape):
            return False  # `advance` is called when it is measured
        machine = machine._replace(wanted_lanes=self._lanes.on_cards(head, machine.gpus))
        occupants = {slot: some for slot, some in busy.items() if some}
        group = next_group(queue.waiting, machine, shape, busy, queue.retries.lanes, occupants, queue.groups, head)
        if group is None:
            return False
        slot, runs = group
        worker = self.pool.worker_for(slot)
        if worker is None or worker.is_leaving:
            if not self._makes_room(slot) and self.pool.launcher.resting().isdisjoint((slot.where, slot.name)):
                self.pool.start(slot)
            return False  # `advance` is called when it has started, or the card's last worker has ended
        if is_apart:
            self.machine.say_tensorflow_has_no_card()
        self._send(worker, runs)
        return True

    def _makes_room(self, slot: Slot) -> bool:
        """Dismiss idle workers of another kind from the card of a slot; return whether it has any of another kind."""
        on_card = [worker for other, worker in self.pool.workers.items()
                   if slot.gpu and other.gpu == slot.gpu
                   and (other.trainer, slot.trainer) != ("fast", "fast")]  # fmt: skip
        for worker in on_card:
            if not worker.is_leaving and not worker.runs:
                self.pool.dismiss(worker)
        return bool(on_card)

    def _advance_elsewhere(self) -> None:
        """Give each worker on another machine a group once it has reported that it is ready, and start missing ones."""
        waiting, size = self._queue.waiting, fleets.size(self.fleet)
        for worker in self.pool.unoccupied:
            has_time = worker.is_free and slurm.has_time(worker.job, worker.epoch_seconds)
            if has_time and (first := waiting.first_for(worker.slot.trainer)):
                training = len(self.pool.workers) - len(self.pool.unoccupied)
                lanes, share = self._lanes.elsewhere(worker, first, size, training)
                self._send(worker, together(waiting, first, lanes, self._queue.groups, share))
        starting = self.pool.launcher.starting
        room = STARTS_AT_ONCE - len(starting)
        if len(self._slots) >= size or room <= 0 or waiting.head is None:
            return
        unavailable = {slot.name for slot in self._slots}
        if resting := self.pool.launcher.resting():
            unavailable |= {slot.name for slot in fleets.slots(self.fleet) if slot.where in resting}
        coming = [slot for slot, worker in self.pool.workers.items() if not worker.was_ready] + list(starting)
        lanes = self.machine.lanes if fleets.asks_for_gpu(self.fleet) else 1
        data = self._queue.data.get(waiting.head.spec.data)
        files = data.paths if data else ()
        for slot in fleets.lacking(self.fleet, waiting.groups(lanes, size), coming, unavailable, room):
            self.pool.start(slot, files)

    @property
    def _slots(self) -> tuple[Slot, ...]:
        """Slots that have a worker, or get one now."""
        return (*self.pool.workers, *self.pool.launcher.starting)

    def _is_needed(self, worker: Worker) -> bool:
        """Say whether an idle worker keeps running: on cores and boxes it does, a GPU or Slurm job is released."""
        slot = worker.slot
        if not slot.is_elsewhere:
            is_wanted = slot.gpu is None or (self.machine.has(slot.gpu) and self._queue.waiting.head is not None)
            return self.fleet.is_local and is_wanted
        if not fleets.has(self.fleet, slot):
            return False
        if slot.slurm is None:
            return True
        return not worker.was_ready and self._queue.waiting.first_for(slot.trainer) is not None

    def _send(self, worker: Worker, runs: tuple[p.WaitingRun, ...]) -> None:
        specs = tuple(run.spec for run in runs)
        source, name, remark = self._trials.handed_over(specs[0])
        if not source and specs[0].configuration.network.model is not None:
            return  # they have failed
        self.pool.assign(worker, specs)
        self._queue.assign(runs, worker.slot.name)
        group = f"{worker.slot.name}-{runs[0].run_id}"
        data = self._queue.data[specs[0].data]
        root = str(self._workspace.root)
        attempt = claims.new_attempt(*(self._workspace.run_folder(spec.run_id) for spec in specs))
        worker.send(p.Train(group=group, workspace=root, specs=specs, data=data, attempt=attempt, source=source,
                            source_name=name, remark=remark))  # fmt: skip

    # --- what workers report -----------------------------------------------------------------------------------------

    def _worker_changed(self, worker: Worker) -> None:
        if worker.is_free:
            self.advance()

    def _worker_reported(self, worker: Worker, event: p.AnyEvent, line: bytes | None) -> None:
        if worker.slot.gpu is not None and isinstance(event, p.EpochEnded):
            self.machine.accept(worker.slot.gpu)
            self.pool.launcher.accept_seat(worker.slot)
        if self._reports.enter(worker, event, line):
            self.advance()

    def _worker_ended(self, worker: Worker, end: WorkerEnd) -> None:
        if worker.slot.gpu is not None and not worker.is_leaving:
            self._judge_card(worker.slot.gpu, worker, end)
        self._reports.recover(worker, end)
        self.advance()

    def _judge_card(self, uuid: str, worker: Worker, end: WorkerEnd) -> None:
        """Decide whether the card of a worker that ended by itself is used again."""
        has_company = worker.had_company or any(slot.gpu == uuid for slot in self.pool.workers)
        if end.status in (card.BUSY, card.UNUSABLE) and has_company:
            self.pool.launcher.refuse_seat(worker.slot, worker.refusal or end.reason)
            return
        if end.status == card.BUSY:
            self._queue.retries.make_room()
        self.machine.judge(uuid, worker, end)

    # --- the end -----------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """End every worker at once, without a checkpoint: the workspace cannot be written."""
        self.pool.kill()

    async def leave(self) -> None:
        """Let every worker write its checkpoints and end."""
        await self._trials.close()
        await self.pool.close()
        await self.machine.close()
