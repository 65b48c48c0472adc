"""Chooses which group trains next, and on which slot. Pure.

On CPUs a small network gains nothing from a second thread, so as many runs as there are cores train side by side, each
on a core of its own; a large one is bound by memory and takes all cores. Where it was measured on this machine, each
run takes as many cores as proved best. On GPUs seeds of one configuration train as lanes of one group.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

from engine.core.data_shape import DataShape
from engine.core.layers import trainable_parameters
from engine.core.machine import Card, Machine
from engine.core.spec import Configuration
from engine.protocol import WaitingRun
from engine.scheduling.waiting_list import WaitingList

LARGE = 2_000_000
"""Trainable parameters from which a run takes all cores: between 256 and 1,024 hidden units (`svhn-tui bench`)."""
CARD_BYTES = 1_200_000_000
"""Of a card's memory: CUDA itself, its libraries, and the data."""
LANE_BYTES_A_PARAMETER = 24
"""Weights, gradient, Adam's two moments, and a copy of them meanwhile: 17 to 20 by what an H100's compiler says."""
WORTH_SHARING = 5
"""Seeds from which a group is cut in two for two cards."""
WORKER_BYTES = 1_500_000_000
"""What a worker may need: JAX, the data, and the largest network of the assignment."""


SMALL, HUGE = 2**18, 2**24
"""Trainable parameters between which the cores a run takes are worth a measurement."""


class Slot(NamedTuple):
    """Where a worker runs: a GPU or CPU cores of this machine, Slurm, or another box."""

    name: str
    cores: tuple[int, ...] = ()
    gpu: str | None = None
    """UUID of the card, or of the slice of one."""
    trainer: str = "fast"
    slurm: tuple[str, ...] | None = None
    """Options of `srun` for it; None: it is not in Slurm's queue."""
    box: str = ""
    """Reached over ssh."""
    python: str = ""
    """The Python of the box that has svhn-tui; else the host's own path is tried there."""
    share: tuple[int, int] = (0, 1)
    """(index, count) of this worker among those on the same box: they divide its GPUs or cores."""

    @property
    def is_elsewhere(self) -> bool:
        """Slurm or another machine gives it its cores and GPUs."""
        return self.slurm is not None or bool(self.box)

    @property
    def where(self) -> str:
        """`Slurm`, or the box that is reached over ssh; empty for the host's own machine."""
        return "Slurm" if self.slurm is not None else self.box


def size_class(parameters: int) -> int:
    """Return the class of networks of about this many trainable parameters: twice as many are the next one."""
    return parameters.bit_length()


def cores_of(configuration: Configuration, machine: Machine, shape: DataShape) -> int:
    """Return how many cores a run takes."""
    parameters = trainable_parameters(configuration.network, shape)
    known = machine.measured.get(size_class(parameters), 0)
    return min(known, len(machine.cores)) if known else usual_cores(parameters, machine)


def usual_cores(parameters: int, machine: Machine) -> int:
    """Return the same as long as nothing was measured."""
    return 1 if parameters < LARGE else len(machine.cores)


def slot_for(configuration: Configuration, machine: Machine, shape: DataShape, index: int) -> Slot:
    """Return the `index`-th slot of the kind that suits the configuration."""
    trainer = configuration.training.worker
    if trainer != "fast":
        gpu = machine.gpus[index].uuid if machine.gpus else None
        return Slot(trainer, machine.cores, gpu, trainer=trainer)
    if machine.gpus:
        return Slot(machine.gpus[index].label, gpu=machine.gpus[index].uuid)
    count = cores_of(configuration, machine, shape)
    if count >= len(machine.cores):
        return Slot("cpu", machine.cores)
    cores = machine.cores[index * count : (index + 1) * count]
    return Slot(f"core{cores[0]}" if count == 1 else f"cores{cores[0]}-{cores[-1]}", cores)


def slots(configuration: Configuration, machine: Machine, shape: DataShape) -> tuple[Slot, ...]:
    """Return every slot that may train this configuration at a time."""
    first = slot_for(configuration, machine, shape, 0)
    if first.gpu is not None:
        count = len(machine.gpus)
    elif first.trainer != "fast":
        count = 1
    else:
        count = max(1, min(len(machine.cores) // max(1, len(first.cores)), machine.memory // WORKER_BYTES))
    return tuple(slot_for(configuration, machine, shape, index) for index in range(count))


def next_group(
    queue: WaitingList,
    machine: Machine,
    shape: DataShape,
    busy: Collection[Slot],
    fitting: Mapping[Configuration, int] = MappingProxyType({}),
) -> tuple[Slot, tuple[WaitingRun, ...]] | None:
    """Return the group to start now and its slot, or None while the head of the queue has to wait.

    The queue's order is kept: what is behind never overtakes the head. Slots that share cores are never busy together.
    `fitting` says how many runs of a configuration fit side by side, where that is less than the machine's lanes.
    """
    head = queue.head
    if head is None:
        return None
    configuration = head.spec.configuration
    used = {core for slot in busy for core in slot.cores}
    taken = {slot.gpu for slot in busy if slot.gpu is not None}
    if configuration.training.trainer != "fast" and any(slot.trainer != "fast" for slot in busy):
        return None  # one of its kind at a time
    free = [slot for slot in slots(configuration, machine, shape)
            if slot not in busy and not used & set(slot.cores) and slot.gpu not in taken]  # fmt: skip
    if not free:
        return None
    slot = free[0]
    if slot.gpu is None or slot.trainer != "fast":
        return slot, queue.alike(head, 1)
    card = next(card for card in machine.gpus if card.uuid == slot.gpu)
    lanes = min(lanes_on(card, machine, configuration, shape), fitting.get(configuration, machine.lanes))
    return slot, queue.alike(head, _share(queue, lanes, len(free)))


def lanes_on(card: Card, machine: Machine, configuration: Configuration, shape: DataShape) -> int:
    """Return how many seeds of a configuration a card trains side by side at most: as many as its memory holds."""
    if card.memory is None:
        return machine.lanes
    lane = LANE_BYTES_A_PARAMETER * trainable_parameters(configuration.network, shape)
    return max(1, min(machine.lanes, (card.memory - CARD_BYTES) // lane))


def _share(queue: WaitingList, lanes: int, cards: int) -> int:
    """Return how many seeds of the head's configuration to train on one of these free cards.

    Where nothing else waits, several cards share the seeds; few seeds train as fast on one card as on two.
    """
    head = queue.head
    if head is None or cards < 2:
        return lanes
    alike = len(queue.alike(head, lanes * cards))
    groups = sum(queue.groups(lanes, cards).values())
    return lanes if groups >= cards else max(min(lanes, WORTH_SHARING), min(lanes, -(-alike // cards)))
