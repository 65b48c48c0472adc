"""The resources of the host's own machine that workers can be given now: cores, and the GPUs that can be used."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from engine import protocol as p
from engine.core.data_shape import DataShape
from engine.core.machine import Machine
from engine.core.spec import Configuration
from engine.host.device_watch import DeviceWatch
from engine.host.launcher import Publish
from engine.machine import backends, card
from engine.machine.backends import WITHOUT_GPU
from engine.machine.core_load import CoreLoad
from engine.scheduling.cards import Cards
from engine.scheduling.slot import Slot
from engine.workers.arrangement import Arrangement
from engine.workers.process import Worker, WorkerEnd


class LocalMachine:
    """The machine, the cards that are usable at present, and how many cores suit a run.

    Args:
        machine: its cores, memory, and the GPUs that the user chose.
        publish: sends an event to all clients.
        changed: is called when something may be trained here that could not be before.
    """

    def __init__(
        self,
        machine: Machine,
        publish: Publish,
        changed: Callable[[], None],
    ) -> None:
        self._publish, self._changed = publish, changed
        self._arrangement = Arrangement(machine, changed)
        self._cards = Cards(machine.gpus)
        self._load = CoreLoad(machine.cores)
        self._has_tensorflow_gpus = backends.tensorflow_may_see_cards()
        self._was_said = False
        self.problems: tuple[str, ...] = ()
        """Why GPUs of this machine were not chosen, where runs train on it."""
        self.watch = DeviceWatch(publish)
        """Samples the load of its devices."""

    @property
    def lanes(self) -> int:
        """Largest number of runs that a GPU trains side by side."""
        return self._arrangement.machine.lanes

    @property
    def gpus(self) -> tuple[str, ...]:
        """UUIDs of the GPUs that the user chose."""
        return tuple(card.uuid for card in self._arrangement.machine.gpus)

    @property
    def has_gpus(self) -> bool:
        """Whether there is a GPU that is not set aside, even if others use it at present."""
        return self._cards.has_any()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Why GPUs are not used now, in sentences."""
        return (*self.problems, *self._cards.remarks())

    def use(self, machine: Machine | None) -> None:
        """Reset the state of all GPUs; use those of `machine` if it is given."""
        if machine is not None and machine.gpus != self._arrangement.machine.gpus:
            self._arrangement = Arrangement(machine, self._changed)
        self._cards = Cards(self._arrangement.machine.gpus)

    def available(self, slots: Iterable[Slot], own: Mapping[int, tuple[int, ...]]) -> Machine:
        """Return what may be given to workers now.

        Args:
            slots: those that have a worker already.
            own: cores of the workers on this machine, by process id.
        """
        usable = {card.uuid for card in self._cards.free(time.monotonic())} | {slot.gpu for slot in slots}
        machine = self._arrangement.machine
        gpus = tuple(card for card in machine.gpus if card.uuid in usable and self._cards.has(card.uuid))
        load = self._load.of_others(own)
        has_tensorflow_gpus = self._has_tensorflow_gpus or not self.has_gpus
        return machine._replace(gpus=gpus, load=load, has_tensorflow_gpus=has_tensorflow_gpus)

    def has(self, uuid: str) -> bool:
        """Say whether a GPU is among those chosen, and not set aside."""
        return self._cards.has(uuid)

    def kind_of(self, worker: Worker) -> str:
        """Return the kind of a worker's GPU: on this machine as its `Card` has it, which JAX may name differently."""
        cards = self._arrangement.machine.gpus
        return next((card.kind for card in cards if card.uuid == worker.slot.gpu), worker.kind_of_gpu)

    def is_measuring(self, configuration: Configuration, shape: DataShape) -> bool:
        """Say whether the cores that suit a run are being measured; start the measurement if it is missing."""
        return self._arrangement.is_open(configuration, shape)

    def say_tensorflow_has_no_card(self, reason: str = WITHOUT_GPU) -> None:
        """Report once that `keras-fit` trains on the cores although there are cards."""
        if not self._was_said:
            self._was_said = True
            self._publish(p.Noticed(text=f"{reason} Cards stay free for JAX.", severity="warning"), None)

    def accept(self, uuid: str) -> None:
        """Record that a worker has begun on a GPU."""
        self._cards.works(uuid)

    def judge(self, uuid: str, worker: Worker, end: WorkerEnd) -> None:
        """Decide whether the GPU of a worker that ended by itself is used again, and report why not."""
        label, reason, now = self._cards.label(uuid), worker.refusal or end.reason, time.monotonic()
        match end.status:
            case card.BUSY:
                pause, is_new = self._cards.busy(uuid, reason, now)
                asyncio.get_running_loop().call_later(pause, self._changed)
                if is_new:
                    text = f"{label} is left alone: {reason} It is tried again; --gpus chooses others, or none."
                    self._publish(p.Noticed(text=text, severity="warning"), None)
            case card.UNUSABLE:
                self._cards.set_aside(uuid, reason)
                fallback = "" if self.has_gpus else " It trains on the CPU."
                self._publish(p.Noticed(text=f"{label} is not used: {reason}{fallback}", severity="error"), None)
            case card.UNSEEN:
                self._has_tensorflow_gpus = False
                self.say_tensorflow_has_no_card(reason)
            case card.SICK if self._cards.failed(uuid, reason):
                others = "the other cards" if self.has_gpus else "the CPU"
                text = f"{label} failed twice and is set aside: {reason} Its runs continue on {others}."
                self._publish(p.Noticed(text=text, severity="error"), None)
            case _:
                pass

    async def close(self) -> None:
        """End a measurement, and the process that queries the GPUs' driver."""
        await asyncio.to_thread(self.watch.rest)
        await self._arrangement.close()
