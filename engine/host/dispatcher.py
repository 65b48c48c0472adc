"""Gives groups of runs to workers, and decides what happens to the runs of a worker that dies."""

import asyncio
import contextlib
import secrets
import time
import traceback
from collections.abc import Callable, Iterable, Iterator

import msgspec

from engine import protocol as p
from engine.core.data_shape import ASSIGNMENT
from engine.core.machine import Machine
from engine.core.spec import Configuration
from engine.machine import card
from engine.scheduling.backoff import Backoff
from engine.scheduling.cards import Cards
from engine.scheduling.placement import Occupant, Slot, next_group, slot_for, together
from engine.scheduling.queue import Queue
from engine.scheduling.run_states import Hold
from engine.storage import claims
from engine.storage.workspace import Workspace
from engine.training.preflight import Preflight, issue_token, versions
from engine.workers import fleet as fleets
from engine.workers import process, slurm
from engine.workers.arrangement import Arrangement
from engine.workers.process import Death, Worker
from engine.workers.slurm_jobs import NO_EPOCH, Allocations

STARTS_AT_ONCE = 10
"""Workers elsewhere that are started side by side: a thousand at once would keep the host from all else for seconds,
and Slurm's controller busy for longer."""


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
        self.has_begun = False
        """A client wanted training since the host started."""
        self._workspace = workspace
        self._arrangement = Arrangement(machine, self.advance)
        self._cards = Cards(machine.gpus)
        self._queue = queue
        self._publish = publish
        self._workers: dict[Slot, Worker] = {}
        self._unoccupied: dict[Worker, None] = {}
        """Those of them that train nothing at present: after an event these few are looked at, and not a thousand."""
        self._starting: dict[Slot, asyncio.Task[None]] = {}
        self._following: set[asyncio.Task[None]] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._allocations = Allocations(workspace.root, self._workers.values, self._change, self._retire)
        self._backoff = Backoff()
        self._token = ""
        """By which workers elsewhere know the workspace."""
        self._name = secrets.token_hex(8)
        """By which its workers know each other on a GPU."""
        self._is_leaving = self._is_closed = False

    def begin(self) -> None:
        """Train the runs that wait, from now on: a client asked for training."""
        self.has_begun = True
        self.advance()

    @contextlib.contextmanager
    def giving_out_nothing(self) -> Iterator[None]:
        """Give no waiting run to a worker inside this block; what trains continues."""
        self._is_closed = True
        try:
            yield
        finally:
            self._is_closed = False
            self.advance()

    @property
    def _machine(self) -> Machine:
        return self._arrangement.machine

    def workers(self) -> Iterable[p.WorkerChanged]:
        """Yield the state of each worker."""
        for worker in self._workers.values():
            yield worker.changed

    def use(self, fleet: p.Fleet, machine: Machine | None = None) -> None:
        """Train with this fleet from now on; workers that are no part of it end what they have.

        Args:
            machine: what there is here for it, where that is not as before.
        """
        self.fleet = fleet
        self._backoff = Backoff()
        if machine is not None and machine.gpus != self._machine.gpus:
            self._arrangement = Arrangement(machine, self.advance)
        self._cards = Cards(self._machine.gpus)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Why GPUs of this machine are not used now, in sentences."""
        return self._cards.remarks()

    @property
    def own_processes(self) -> frozenset[int]:
        """Workers on this machine, for which a GPU that they compute on is nobody else's."""
        return frozenset(worker.pid for slot, worker in self._workers.items() if not slot.is_elsewhere)

    @property
    def gpus(self) -> tuple[str, ...]:
        """UUIDs of the GPUs that may be used."""
        return tuple(card.uuid for card in self._machine.gpus)

    def _here(self) -> Machine:
        """Return what may be given to workers on this machine now."""
        held = {slot.gpu for slot in (*self._workers, *self._starting) if slot.gpu is not None}
        free = {card.uuid for card in self._cards.free(time.monotonic())} | held
        return self._machine._replace(
            gpus=tuple(c for c in self._machine.gpus if c.uuid in free and self._cards.has(c.uuid))
        )

    def hold(self, runs: Iterable[str], why: Hold) -> None:
        """Pause or cancel runs, whether they wait or train."""
        chosen = set(runs)
        self._queue.hold(chosen, why)
        for worker in self._workers.values():
            stopped = tuple(run_id for run_id in worker.runs if run_id in chosen)
            if stopped:
                worker.send(p.StopRuns(runs=stopped, why=why))

    def warm_up(self, configuration: Configuration | None = None) -> None:
        """Start a worker before it is needed, so that its imports overlap with everything else.

        None is started on a GPU, which others may want while nothing trains.
        """
        is_idle = not self._workers and not self._starting and not self._is_leaving
        if self.fleet.is_local and is_idle and not self._cards.has_any():
            self._start(slot_for(configuration or Configuration(), self._here(), ASSIGNMENT, 0))

    def advance(self) -> None:
        """Give free workers what is next, start those that are lacking, and end those that are not needed."""
        if self._is_leaving or self._is_closed or not self.has_begun:
            return
        if self.fleet.is_local:
            self._advance_here()
        else:
            self._advance_elsewhere()
        for worker in tuple(self._unoccupied):
            if not worker.runs and not worker.is_leaving and not self._is_needed(worker):
                self._let_leave(worker)

    def _advance_here(self) -> None:
        while head := self._queue.places.head:
            busy = {slot: worker.occupant for slot, worker in self._workers.items() if worker.training}
            shape = self._queue.data[head.spec.data].shape
            machine = self._here()
            if self._cards.has_any() and not machine.gpus:
                return  # others have them all; those who want the CPU say so with --gpus none
            if not busy and not machine.gpus and self._arrangement.is_open(head.spec.configuration, shape):
                return  # goes on when it is measured
            queue = self._queue
            found = next_group(queue.places, machine, shape, busy, queue.setbacks.lanes,
                               {slot: some for slot, some in busy.items() if some}, queue.groups)  # fmt: skip
            if found is None:
                return
            slot, places = found
            worker = self._worker_for(slot)
            if worker is None or worker.is_leaving:
                if self._makes_room(slot):
                    return  # goes on when the card is free again
                if self._backoff.resting(time.monotonic()).isdisjoint((slot.where, slot.name)):
                    self._start(slot)
                return  # goes on when it has started
            self._send(worker, places)

    def _worker_for(self, slot: Slot) -> Worker | None:
        """Return the worker of a slot, or an idle one on another seat of its card."""
        found = self._workers.get(slot)
        if found is not None or slot.gpu is None:
            return found
        beside = (worker for other, worker in self._workers.items()
                  if (other.gpu, other.trainer) == (slot.gpu, slot.trainer))  # fmt: skip
        return next((worker for worker in beside if not worker.training and not worker.is_leaving), None)

    def _makes_room(self, slot: Slot) -> bool:
        """Let idle workers of another kind leave the card that a slot is on; return whether there are any."""
        holding = [worker for other, worker in self._workers.items()
                   if slot.gpu is not None and other.gpu == slot.gpu
                   and (other.trainer, slot.trainer) != ("fast", "fast")]  # fmt: skip
        for worker in holding:
            if not worker.is_leaving and not worker.runs:
                self._let_leave(worker)
        return bool(holding)

    def _advance_elsewhere(self) -> None:
        """Workers elsewhere may come late: each is given something only once it says that it is ready."""
        places = self._queue.places
        for worker in tuple(self._unoccupied):
            has_time = worker.is_free and slurm.has_time(worker.job, worker.epoch_seconds)
            if has_time and (first := places.first_for(worker.slot.trainer)):
                lanes = self._lanes(worker, first)
                self._send(worker, together(places, first, lanes, self._queue.groups, lanes))
        size = fleets.size(self.fleet)
        is_full = len(self._workers) + len(self._starting) >= size
        room = STARTS_AT_ONCE - len(self._starting)
        if is_full or room <= 0 or places.head is None:
            return
        taken = {slot.name for slot in (*self._workers, *self._starting)}
        if resting := self._backoff.resting(time.monotonic()):
            taken |= {slot.name for slot in fleets.slots(self.fleet) if slot.where in resting}
        coming = [slot for slot, worker in self._workers.items() if not worker.was_ready] + list(self._starting)
        lanes = self._machine.lanes if fleets.asks_for_gpu(self.fleet) else 1
        for slot in fleets.lacking(self.fleet, places.groups(lanes, size), coming, taken, room):
            self._start(slot)

    def _lanes(self, worker: Worker, place: p.Place) -> int:
        """Return how many runs a worker elsewhere trains side by side: on a GPU as many as on one here."""
        if not worker.has_gpu or worker.slot.trainer != "fast":
            return 1
        return min(self._machine.lanes, self._queue.setbacks.lanes.get(place.spec.configuration, self._machine.lanes))

    def _is_needed(self, worker: Worker) -> bool:
        """Say whether a worker that has nothing is to stay: on cores and boxes it is warm, GPUs and Slurm cost."""
        slot = worker.slot
        if not slot.is_elsewhere:
            is_wanted = slot.gpu is None or (self._cards.has(slot.gpu) and self._queue.places.head is not None)
            return self.fleet.is_local and is_wanted
        if not fleets.has(self.fleet, slot):
            return False
        if slot.slurm is None:
            return True
        return not worker.was_ready and self._queue.places.first_for(slot.trainer) is not None

    def _let_leave(self, worker: Worker) -> None:
        worker.is_leaving = True
        worker.farewell = worker.farewell or "Nothing is left for it."
        self._leaving.add(task := asyncio.create_task(worker.leave()))
        task.add_done_callback(self._leaving.discard)

    def _retire(self, worker: Worker) -> None:
        """Its time is nearly over: what it has goes back to the queue, then it leaves."""
        worker.retire("Its time was nearly over.")
        if not worker.runs:
            self._let_leave(worker)

    def _send(self, worker: Worker, places: tuple[p.Place, ...]) -> None:
        specs = tuple(place.spec for place in places)
        worker.runs |= {place.run_id: place.spec for place in places}
        worker.training |= {place.run_id for place in places}
        self._unoccupied.pop(worker, None)
        worker.occupant = Occupant(specs[0].configuration, len(specs))
        self._queue.take(places, worker.slot.name)
        group = f"{worker.slot.name}-{places[0].run_id}"
        data = self._queue.data[specs[0].data]
        root = str(self._workspace.root)
        attempt = claims.new_attempt(*(self._workspace.run_folder(spec.run_id) for spec in specs))
        worker.send(p.Train(group=group, workspace=root, specs=specs, data=data, attempt=attempt))

    def _start(self, slot: Slot) -> None:
        if slot not in self._starting:
            self._starting[slot] = asyncio.create_task(self._started(slot))

    async def _started(self, slot: Slot) -> None:
        name = self._allocations.new_name() if slot.slurm is not None else ""
        try:
            preflight = self._preflight(slot) if slot.is_elsewhere else None
            log = self._workspace.root / "host.log"
            worker = await process.start(slot, log, preflight=preflight, job_name=name, host=self._name)
        except Exception as error:  # noqa: BLE001  whatever keeps it from starting is told, and it is tried again
            reason = str(error).rstrip(".") if isinstance(error, OSError) else "host.log says why"
            if not isinstance(error, OSError):
                traceback.print_exc()
            self._rest(slot, f"No worker can be started: {reason}")
            return
        finally:
            self._starting.pop(slot, None)
        self._workers[slot] = worker
        self._unoccupied[worker] = None
        task = asyncio.create_task(self._follow(worker))
        self._following.add(task)
        task.add_done_callback(self._following.discard)
        if slot.is_elsewhere:
            self._publish(worker.changed, None)
        if worker.job_name:
            self._allocations.wake()
        self.advance()

    def _preflight(self, slot: Slot) -> Preflight:
        """Return what a worker elsewhere is to find on its machine.

        Raises:
            OSError: the workspace cannot be written.
        """
        self._token = self._token or issue_token(self._workspace.root)
        head = self._queue.places.head
        data = self._queue.data.get(head.spec.data) if head else None
        files = (data.train_path, data.test_path) if data else ()
        index, count = slot.share
        return Preflight(str(self._workspace.root), self._token, files, versions(slot.trainer), index, count,
                         is_slurms=slot.slurm is not None)  # fmt: skip

    async def _follow(self, worker: Worker) -> None:
        """Hear a worker until it ends, and see to it that its runs go on elsewhere, whatever goes wrong here."""
        death = await worker.follow(self._hear_out)
        self._unoccupied.pop(worker, None)
        if worker.job_name:
            with _logged():
                death = await self._allocations.death_of(worker, death)
        if self._workers.get(worker.slot) is worker:
            del self._workers[worker.slot]
        if worker.slot.gpu is not None and not worker.is_leaving:
            self._judge_card(worker.slot.gpu, worker, death)
        has_failed = not worker.was_heard or death.status in card.REASONS
        if worker.slot.is_elsewhere and has_failed and not worker.is_leaving:
            said = worker.last_words.removeprefix("srun: error: ") or "no reason was given"
            reason = worker.refusal or (death.reason if worker.slot.box or worker.was_heard else said)
            became = "lost a worker" if worker.was_heard else "took no worker"
            self._rest(worker.slot, f"{worker.slot.where} {became}: {reason.rstrip('.')}")
        ended = msgspec.structs.replace(worker.changed, state="ended",
                                        text=worker.farewell or worker.refusal or death.reason,
                                        expected_at=None)  # fmt: skip
        self._change(worker, ended)
        blamed = worker.training or set(worker.runs)  # those whose files are being written while others train are not
        for run_id in reversed(worker.runs):  # each goes to the head of the queue
            with _logged():
                result = self._result(run_id)
                if result is not None:  # the end was reached and only the word of it was lost
                    self._pass_on(p.RunFinished(result=result))
                elif run_id in blamed and death.is_own_fault:
                    self._pass_on(self._set_back(worker, run_id, death))
                else:
                    self._pass_on(p.RunInterrupted(run_id=run_id, reason=death.reason))
        worker.runs.clear()
        self.advance()

    def _judge_card(self, uuid: str, worker: Worker, death: Death) -> None:
        """Say what becomes of the card of a worker that ended by itself, and why."""
        label, reason, now = self._cards.label(uuid), worker.refusal or death.reason, time.monotonic()
        match death.status:
            case card.BUSY | card.UNUSABLE if any(slot.gpu == uuid for slot in self._workers):
                pause, _ = self._backoff.refuse(worker.slot.name, reason, now)  # beside another of ours
                asyncio.get_running_loop().call_later(pause, self.advance)
            case card.BUSY:
                self._queue.setbacks.make_room()
                pause, is_news = self._cards.others_have(uuid, reason, now)
                asyncio.get_running_loop().call_later(pause, self.advance)
                if is_news:
                    text = f"{label} is left alone: {reason} It is tried again; --gpus chooses others, or none."
                    self._publish(p.Noticed(text=text, severity="warning"), None)
            case card.UNUSABLE:
                self._cards.set_aside(uuid, reason)
                goes_on = "" if self._cards.has_any() else " It trains on the CPU."
                self._publish(p.Noticed(text=f"{label} is not used: {reason}{goes_on}", severity="error"), None)
            case card.SICK if self._cards.failed(uuid, reason):
                goes_on = "the other cards" if self._cards.has_any() else "the CPU"
                text = f"{label} failed twice and is set aside: {reason} What it had goes on on {goes_on}."
                self._publish(p.Noticed(text=text, severity="error"), None)
            case _:
                pass

    def _hear_out(self, worker: Worker, event: p.AnyEvent, line: bytes) -> None:
        """Handle a worker's event; an error in one does not keep the next ones from being handled."""
        with _logged():
            self._told(worker, event, line)

    def _result(self, run_id: str) -> p.RunResult | None:
        """Read the result of a run whose worker is gone; None also where the disk cannot be read."""
        try:
            return self._workspace.result(run_id)
        except OSError:
            return None

    def _rest(self, slot: Slot, why: str) -> None:
        """No worker came of it: say why, once, and try again there, more and more rarely."""
        pause, is_news = self._backoff.refuse(slot.where, why, time.monotonic())
        asyncio.get_running_loop().call_later(pause, self.advance)
        if is_news:
            text = f"{why}. It is tried again in {pause:.0f} s, then more rarely."
            self._publish(p.Noticed(text=text, severity="error"), None)

    def _set_back(self, worker: Worker, run_id: str, death: Death) -> p.RunFailed | p.RunInterrupted:
        return self._queue.set_back(
            run_id, death.reason, worker.lanes, out_of_memory=death.out_of_memory, is_leaving=self._is_leaving
        )

    def _told(self, worker: Worker, event: p.AnyEvent, line: bytes | None) -> None:
        if isinstance(event, p.WorkerChanged):
            self._hear(worker, event)
            return
        was_occupied = bool(worker.training)
        self._note_progress(worker, event)
        if not isinstance(event, p.RunFinished | p.RunFailed | p.RunPaused | p.RunInterrupted):
            self._pass_on(event, line)
            if was_occupied and not worker.training:
                self.advance()
            return
        run_id = event.result.run_id if isinstance(event, p.RunFinished) else event.run_id
        if worker.runs.pop(run_id, None) is None:
            return  # it was let go before: an outcome counts once
        if isinstance(event, p.RunFailed) and event.out_of_memory:
            event, line = self._set_back(worker, run_id, Death(event.reason, out_of_memory=True)), None
        elif isinstance(event, p.RunInterrupted) and worker.is_retired and not worker.epoch_seconds:
            event, line = self._set_back(worker, run_id, Death(NO_EPOCH)), None
        self._let_go(worker, {run_id})
        self._pass_on(event, line)
        if worker.is_retired and not worker.runs:
            self._let_leave(worker)
        self.advance()

    def _hear(self, worker: Worker, event: p.WorkerChanged) -> None:
        """Take a worker's own account of its state; what Slurm reported is kept."""
        if event.state == "ended":
            worker.refusal = event.text
            return  # `_follow` tells it, with the reason
        known = worker.changed
        merged = msgspec.structs.replace(event, worker=worker.slot.name, where=known.where,
                                         job=event.job or known.job, ends_at=known.ends_at)  # fmt: skip
        self._change(worker, merged)
        self._backoff.accept(worker.slot.where)
        if worker.job_name:
            self._allocations.wake()
        if worker.is_free:
            self.advance()

    def _change(self, worker: Worker, changed: p.WorkerChanged) -> None:
        worker.changed = changed
        self._publish(changed, None)

    def _pass_on(self, event: p.AnyEvent, line: bytes | None = None) -> None:
        if self._queue.fold(event):
            self._publish(event, line)

    def _note_progress(self, worker: Worker, event: p.AnyEvent) -> None:
        if not isinstance(event, p.EpochEnded):
            return
        specs = [worker.runs[run_id] for run_id in event.runs if run_id in worker.runs]
        if not specs:
            return
        for run_id in event.runs:
            self._queue.setbacks.got_to(run_id, event.epoch)
        if worker.slot.gpu is not None:
            self._cards.works(worker.slot.gpu)
            self._backoff.accept(worker.slot.name)
        worker.epoch_seconds = max(worker.epoch_seconds, event.seconds)
        configuration = specs[0].configuration
        side_by_side = max(1, len(self._workers) - len(self._unoccupied))
        if event.epoch == configuration.training.epochs:
            self._let_go(worker, set(event.runs))  # their files are written while the next group trains
        data = self._queue.data.get(specs[0].data)
        if data is not None:
            seconds = event.seconds / len(event.runs) / side_by_side
            device = worker.changed.device if worker.has_gpu else worker.slot.name.rstrip("0123456789")
            measured = p.EpochTime(configuration, data.train_images, seconds, device, len(event.runs))
            self._queue.times.add(measured)

    def _let_go(self, worker: Worker, runs: set[str]) -> None:
        worker.training -= runs
        if not worker.training:
            self._unoccupied[worker] = None

    def kill(self) -> None:
        """End every worker at once, without a checkpoint: there is no place to write one."""
        self._is_leaving = True
        for worker in self._workers.values():
            worker.kill()

    async def leave(self) -> None:
        """Let every worker checkpoint and end."""
        self._is_leaving = True
        await self._arrangement.close()
        self._allocations.close()
        for task in list(self._starting.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        leaving = [worker.leave() for worker in list(self._workers.values())]
        for outcome in (
            *await asyncio.gather(*leaving, return_exceptions=True),
            *await asyncio.gather(*self._following, *self._leaving, return_exceptions=True),
        ):
            if isinstance(outcome, Exception):
                traceback.print_exception(outcome)


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """Put what goes wrong inside into host.log, and go on."""
    try:
        yield
    except Exception:  # noqa: BLE001  a defect in one thing must not take all others along
        traceback.print_exc()
