"""Chooses which group trains next, and on which slot. Pure.

On CPUs a small network gains nothing from a second thread, so as many runs as there are cores train side by side, each
on a core of its own; a large one is bound by memory and takes all cores. Where it was measured on this machine, each
run takes as many cores as proved best for the number of runs that there are. No run takes more cores than other people
leave free: the threads of a run wait for each other several times a batch, so the slowest core decides.

On GPUs seeds of one configuration train as lanes of one group, and groups of different configurations share a card
while its memory lasts: one trains while the other compiles or is written.
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
"""Bytes of a card's memory that CUDA, its libraries and the data take."""
LANE_BYTES_A_PARAMETER = 24
"""Weights, gradient, Adam's two moments, and a copy of them meanwhile: 17 to 20 by what an H100's compiler says."""
WORTH_SHARING = 5
"""Number of seeds from which a group is split for two cards."""
WORKER_BYTES = 1_500_000_000
"""Bytes of memory that a worker may need: JAX, the data, and the largest network of the assignment."""
GAIN, ALIKE = 1.1, 1 + 1e-9
"""How many times as fast as the usual arrangement another one must have been before it is chosen; and what is rounding:
it makes no difference which runs come first."""
CROWDED = 0.5
"""Share of a core's time in use by others from which another core is preferred; below it, a warm worker is better."""
FEW = 4
"""Runs for each core beyond which their number makes no difference to what suits them."""
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
    """Name of the box for ssh; empty on this machine and in Slurm."""
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


def cores_of(configuration: Configuration, machine: Machine, shape: DataShape, runs: int | None = None) -> int:
    """Return how many cores a run takes while so many runs train or wait; None: as many as there are cores."""
    parameters, cores = trainable_parameters(configuration.network, shape), len(machine.cores)
    free = max(1, cores - round(sum(machine.load.get(core, 0.0) for core in machine.cores)))
    most = cores if free == cores else 2 ** (free.bit_length() - 1)  # halves and quarters: slots that share no core
    usual = 1 if parameters < LARGE else most
    rates = machine.measured.get(size_class(parameters), {})
    waves = {
        count: Wave(_side_by_side(machine, count), (cores // count) / (rate * (GAIN if count == usual else 1)))
        for count, rate in sorted(rates.items())
        if count <= most
    }
    times = _times(waves, _few(runs or cores, cores))
    least = min(times.values(), default=0.0)
    return next((count for count, seconds in times.items() if seconds <= least * ALIKE), usual)


class Wave(NamedTuple):
    """Runs that train side by side, each on as many cores."""

    runs: int
    seconds: float
    """A batch."""


def _few(runs: int, cores: int) -> int:
    """Return a number of runs, at most a few for each core, for which the same arrangement is best.

    Many more runs are as many more waves of the best kind: what is left for the last ones is what decides.
    """
    most = FEW * cores
    return runs if runs <= most else most - cores + runs % cores


def _times(waves: Mapping[int, Wave], runs: int) -> dict[int, float]:
    """Return how long so many runs take if the first ones have so many cores each, and the others as many as is best.

    All runs are as long as a batch. What is left at the end, fewer runs than cores, is trained on more cores each.
    """
    found: dict[int, float] = {}
    best = [0.0]  # by the number of runs
    for left in range(1, runs + 1):
        found = {count: wave.seconds + best[max(0, left - wave.runs)] for count, wave in waves.items()}
        best.append(min(found.values(), default=0.0))
    return found


def _side_by_side(machine: Machine, count: int) -> int:
    """Return how many runs of so many cores each train at a time."""
    return max(1, min(len(machine.cores) // count, machine.memory // WORKER_BYTES))


def slots(
    configuration: Configuration, machine: Machine, shape: DataShape, runs: int | None = None
) -> tuple[Slot, ...]:
    """Return every slot that may train this configuration at a time, while so many runs train or wait."""
    trainer = configuration.training.worker
    if trainer != "fast":
        cards = machine.gpus if machine.has_tensorflow_gpus else ()
        gpus: list[str | None] = [*(card.uuid for card in cards)] or [None]
        return tuple(Slot(trainer, machine.cores, gpu, trainer=trainer) for gpu in gpus)
    if machine.gpus:
        return tuple(slot for slot, _ in _seats(machine))
    count = cores_of(configuration, machine, shape, runs)
    if count >= len(machine.cores):
        return (Slot("cpu", machine.cores),)
    shares = (machine.cores[index * count :][:count] for index in range(_side_by_side(machine, count)))
    return tuple(Slot(f"core{c[0]}" if count == 1 else f"cores{c[0]}-{c[-1]}", c) for c in shares)


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
    runs = len(busy) + sum(queue.groups(1, len(machine.cores)).values())
    for count in (runs, None):  # where what trains leaves no room for that, as many cores as with many runs
        free = [slot for slot in slots(configuration, machine, shape, count)
                if slot not in busy and not used & set(slot.cores) and slot.gpu not in used_gpus]  # fmt: skip
        if free:
            quiet = min(free, key=lambda slot: sum(machine.load.get(core, 0.0) >= CROWDED for core in slot.cores))
            return quiet, queue.alike(head, 1)
    return None


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
    lanes = lanes_on(left, machine, configuration, shape)
    lanes = min(lanes, fitting.get(configuration, lanes))
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
    """Return how many seeds a card trains side by side at most: as proved fastest, else as usual, or what fits."""
    parameters = trainable_parameters(configuration.network, shape)
    rates = machine.lane_rates.get(card.kind, {}).get(size_class(parameters), {})
    gains = {lanes: rate * (GAIN if lanes == machine.lanes else 1) for lanes, rate in sorted(rates.items())}
    most = max(gains, key=gains.__getitem__, default=machine.lanes)
    if card.memory is None:
        return most
    return max(1, min(most, (card.memory - CARD_BYTES) // (LANE_BYTES_A_PARAMETER * parameters)))


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
