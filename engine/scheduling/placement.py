"""Chooses which group trains next, and on which slot. Pure.

On CPUs a small network gains nothing from a second thread, so as many runs as there are cores train side by side, each
on a core of its own; a large one is bound by memory and takes all cores. Where it was measured on this machine, each
run takes as many cores as proved best. On GPUs seeds of one configuration train as lanes of one group, and groups of
different configurations share a card while its memory lasts: one trains while the other compiles or is written.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
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


class Occupant(NamedTuple):
    """What a slot trains now."""

    configuration: Configuration
    lanes: int


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
    if first.gpu is not None and first.trainer == "fast":
        return tuple(slot for slot, _ in _seats(machine))
    if first.gpu is not None:
        count = len(machine.gpus)
    elif first.trainer != "fast":
        count = 1
    else:
        count = max(1, min(len(machine.cores) // max(1, len(first.cores)), machine.memory // WORKER_BYTES))
    return tuple(slot_for(configuration, machine, shape, index) for index in range(count))


def _seats(machine: Machine) -> list[tuple[Slot, Card]]:
    """Return a slot for each group that the cards may train at a time, the first of each card first."""
    most = max(len(machine.gpus), machine.memory // WORKER_BYTES)
    pairs = [(seat, card) for seat in range(max(card.seats for card in machine.gpus)) for card in machine.gpus]
    return [(Slot(card.label if seat == 0 else f"{card.label}#{seat + 1}", gpu=card.uuid), card)
            for seat, card in pairs if seat < card.seats][:most]  # fmt: skip


def next_group(
    queue: WaitingList,
    machine: Machine,
    shape: DataShape,
    busy: Collection[Slot],
    fitting: Mapping[Configuration, int] = MappingProxyType({}),
    occupants: Mapping[Slot, Occupant] = MappingProxyType({}),
    begun: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Slot, tuple[WaitingRun, ...]] | None:
    """Return the group to start now and its slot, or None while the head of the queue has to wait.

    The queue's order is kept: what is behind never overtakes the head. Slots that share cores are never busy together.

    Args:
        queue: what waits.
        machine: what there is to train on.
        shape: of the data's images.
        busy: slots that train.
        fitting: how many runs of a configuration fit side by side, where that is less than the machine's lanes.
        occupants: what busy slots train; a card of which that is not known is not shared.
        begun: the group in which a run trained before, by run_id.
    """
    head = queue.head
    if head is None:
        return None
    configuration = queue.trained_as(head)
    if machine.gpus and configuration.training.worker == "fast":
        return _next_on_card(queue, head, machine, shape, busy, fitting, occupants, begun)
    used = {core for slot in busy for core in slot.cores}
    used_gpus = {slot.gpu for slot in busy if slot.gpu is not None}
    if configuration.training.trainer != "fast" and any(slot.trainer != "fast" for slot in busy):
        return None  # one of its kind at a time
    free = [slot for slot in slots(configuration, machine, shape)
            if slot not in busy and not used & set(slot.cores) and slot.gpu not in used_gpus]  # fmt: skip
    return (free[0], queue.alike(head, 1)) if free else None


def _next_on_card(
    queue: WaitingList,
    head: WaitingRun,
    machine: Machine,
    shape: DataShape,
    busy: Collection[Slot],
    fitting: Mapping[Configuration, int],
    occupants: Mapping[Slot, Occupant],
    begun: Mapping[str, str],
) -> tuple[Slot, tuple[WaitingRun, ...]] | None:
    """Return the same for a card: the emptiest that has room, with as many lanes as its memory holds."""
    configuration = head.spec.configuration
    beside = {card.uuid: [slot for slot in busy if slot.gpu == card.uuid] for card in machine.gpus}
    room = {
        card.uuid: _room(card, [_occupant(slot, occupants) for slot in beside[card.uuid]], configuration, shape)
        for card in machine.gpus
    }
    free = [(slot, card) for slot, card in _seats(machine) if slot not in busy and room[card.uuid] is not None]
    if not free:
        return None
    slot, card = min(free, key=lambda some: len(beside[some[1].uuid]))
    left = card._replace(memory=room[card.uuid]) if beside[card.uuid] else card
    lanes = min(lanes_on(left, machine, configuration, shape), fitting.get(configuration, machine.lanes))
    empty = sum(not others for others in beside.values())
    return slot, together(queue, head, lanes, begun, _share(queue, lanes, empty))


def _room(card: Card, others: Sequence[Occupant | None], configuration: Configuration, shape: DataShape) -> int | None:
    """Return the bytes of a card that are left for a group beside others; None where it has no room for it."""
    if not others:
        return card.memory or 0
    known = [other for other in others if other is not None]
    if card.memory is None or len(others) >= card.seats or len(known) < len(others):
        return None
    if any(other.configuration == configuration for other in known):
        return None  # more seeds of it would only share the time
    held = sum(_bytes(other.configuration, other.lanes, shape) for other in known)
    left = card.memory - held
    return left if left >= _bytes(configuration, 1, shape) else None


def _occupant(slot: Slot, occupants: Mapping[Slot, Occupant]) -> Occupant | None:
    """Return what a slot trains, if others may train beside it: TensorFlow has its card for itself."""
    return occupants.get(slot) if slot.trainer == "fast" else None


def _bytes(configuration: Configuration, lanes: int, shape: DataShape) -> int:
    """Return what a group needs of a card's memory."""
    parameters = trainable_parameters(configuration.network, shape)
    return CARD_BYTES + lanes * LANE_BYTES_A_PARAMETER * parameters


def together(
    queue: WaitingList, head: WaitingRun, lanes: int, begun: Mapping[str, str], share: int
) -> tuple[WaitingRun, ...]:
    """Return the runs that train side by side with the head: those that did so before, or its share of new ones.

    How many there are decides the last bits on a GPU, so a group goes on as it was where it can.

    Args:
        queue: what waits.
        head: the first of them.
        lanes: runs that fit.
        begun: the group in which a run trained before, by run_id.
        share: of these, how many new runs are wanted.
    """
    group = begun.get(head.run_id)
    alike = (run for run in queue.of_kind(head) if begun.get(run.run_id) == group)
    return tuple(islice(alike, lanes if group else share))


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
