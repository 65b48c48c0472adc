"""Chooses which group trains next, and on which slot. Pure.

On CPUs runs train side by side, each on cores of its own. On GPUs seeds of one configuration train as lanes of one
group, and groups of different configurations share a card while its memory lasts: one trains while the other compiles
or is written.
"""

from collections.abc import Collection, Mapping
from itertools import islice
from types import MappingProxyType

from engine.core.data_shape import DataShape
from engine.core.machine import Card, Machine
from engine.core.spec import Configuration
from engine.protocol import WaitingRun
from engine.scheduling.cores import WORKER_BYTES, cores_of, side_by_side
from engine.scheduling.lanes import lanes_on, room_on
from engine.scheduling.slot import Occupant, Slot
from engine.scheduling.waiting_list import WaitingList

WORTH_SHARING = 5
"""Number of seeds from which a group is split for two cards."""
CROWDED = 0.5
"""Share of a core's time in use by others from which another core is preferred; below it, a warm worker is better."""


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
    shares = (machine.cores[index * count :][:count] for index in range(side_by_side(machine, count)))
    return tuple(Slot(f"core{c[0]}" if count == 1 else f"cores{c[0]}-{c[-1]}", c) for c in shares)


def _seats(machine: Machine) -> list[tuple[Slot, Card]]:
    """Return a slot for each group that the cards may train at a time, the first of each card first."""
    most = max(len(machine.gpus), machine.memory // WORKER_BYTES)
    pairs = [(seat, card) for seat in range(max(card.seats for card in machine.gpus)) for card in machine.gpus]
    return [(Slot(card.label if seat == 0 else f"{card.label}#{seat + 1}", gpu=card.uuid), card)
            for seat, card in pairs if seat < card.seats][:most]  # fmt: skip


def heads(queue: WaitingList, machine: Machine, busy: Collection[Slot]) -> tuple[WaitingRun, ...]:
    """Return the runs that may begin a group now, in their order: the head, and one that takes nothing from it.

    That is the first run for the other kind of worker, where TensorFlow trains on the cores and JAX on cards, or where
    the head waits for the end of another run of TensorFlow's, which train one at a time.
    """
    if (head := queue.head) is None:
        return ()
    is_fast = queue.trained_as(head).training.worker == "fast"
    waits_for_its_kind = not is_fast and any(slot.trainer != "fast" for slot in busy)
    if machine.has_tensorflow_gpus and not (machine.gpus and waits_for_its_kind):
        return (head,)
    other = queue.first_for("keras-fit" if is_fast else "fast")
    return (head,) if other is None else (head, other)


def next_group(
    queue: WaitingList,
    machine: Machine,
    shape: DataShape,
    busy: Collection[Slot],
    fitting: Mapping[Configuration, int] = MappingProxyType({}),
    occupants: Mapping[Slot, Occupant] = MappingProxyType({}),
    begun: Mapping[str, str] = MappingProxyType({}),
    head: WaitingRun | None = None,
) -> tuple[Slot, tuple[WaitingRun, ...]] | None:
    """Return the group to start now and its slot, or None while its first run has to wait.

    Slots that share cores are never busy together.

    Args:
        queue: the waiting runs.
        machine: its free cores and GPUs.
        shape: of the data's images.
        busy: slots that train.
        fitting: how many runs of a configuration fit side by side, where that is less than the machine's lanes.
        occupants: the groups of busy slots; a card with an unknown one is not shared.
        begun: the group in which a run trained before, by run_id.
        head: its first run, one of `heads`; the head of the queue where none is given.
    """
    head = head or queue.head
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
        card.uuid: room_on(card, [_occupant(slot, occupants) for slot in beside[card.uuid]], configuration, shape)
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
    return slot, together(queue, head, lanes, begun, _share(queue, head, lanes, empty))


def _occupant(slot: Slot, occupants: Mapping[Slot, Occupant]) -> Occupant | None:
    """Return what a slot trains, if others may train beside it: TensorFlow has its card for itself."""
    return occupants.get(slot) if slot.trainer == "fast" else None


def together(
    queue: WaitingList, head: WaitingRun, lanes: int, begun: Mapping[str, str], share: int
) -> tuple[WaitingRun, ...]:
    """Return the runs that train side by side with the head: those that did so before, or its share of new ones.

    The last bits on a GPU depend on their number, so a group continues unchanged where it can.

    Args:
        queue: the waiting runs.
        head: the first of them.
        lanes: runs that fit.
        begun: the group in which a run trained before, by run_id.
        share: of these, how many new runs are wanted.
    """
    group = begun.get(head.run_id)
    alike = (run for run in queue.of_kind(head) if begun.get(run.run_id) == group)
    return tuple(islice(alike, lanes if group else share))


def _share(queue: WaitingList, head: WaitingRun, lanes: int, cards: int) -> int:
    """Return how many seeds of the first run's configuration to train on one of these free cards.

    Where nothing else waits, several cards share the seeds; few seeds train as fast on one card as on two.
    """
    if cards < 2:
        return lanes
    alike = len(queue.alike(head, lanes * cards))
    groups = sum(queue.groups(lanes, cards).values())
    return lanes if groups >= cards else max(min(lanes, WORTH_SHARING), min(lanes, -(-alike // cards)))
