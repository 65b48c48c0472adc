"""Chooses how many seeds of one configuration a card trains side by side, as lanes of one group. Pure.

Ten are usual. Where twice as many of one configuration wait for each card, and ten of it trained on this kind of card,
the next group has twice as many lanes, and later one four times as many. Such a group trains as any other; by what its
epochs take, the number of lanes is chosen that trains most seeds a second.
"""

from collections.abc import Mapping, Sequence

from engine.core.data_shape import DataShape
from engine.core.layers import trainable_parameters
from engine.core.machine import Card, Machine
from engine.core.spec import Configuration
from engine.scheduling.rates import GAIN
from engine.scheduling.slot import Occupant

CARD_BYTES = 1_200_000_000
"""Bytes of a card's memory that CUDA, its libraries and the data take."""
LANE_BYTES_A_PARAMETER = 24
"""Weights, gradient, Adam's two moments, and a copy of them meanwhile: 17 to 20 by what an H100's compiler says."""
MOST_TIMES = 4
"""How many times as many lanes as usual are tried at most, each time twice as many as before."""

LaneRates = Mapping[int, float]
"""Seeds a second by lanes, with the usual number of lanes as 1; 0 is what did not fit."""


def fastest(rates: LaneRates, usual: int) -> int:
    """Return the number of lanes that trains most seeds a second; the usual one where another gains little."""
    gains = {lanes: rate * (GAIN if lanes == usual else 1) for lanes, rate in sorted(rates.items())}
    return max(gains, key=gains.__getitem__, default=usual)


def next_lanes(rates: LaneRates, own: LaneRates, usual: int, waiting: int) -> int:
    """Return how many lanes the next group has: as many as proved fastest, or twice as many, to compare them.

    Args:
        rates: what is known of networks of this size on this kind of card.
        own: what this very configuration was measured with, since only its own numbers are compared.
        usual: lanes where nothing was measured.
        waiting: runs of the configuration that wait for each card.
    """
    best = fastest(rates, usual)
    more = 2 * best
    is_new = more not in rates and more <= MOST_TIMES * usual
    return more if is_new and best in own and waiting >= more else best


def compared(rates: LaneRates, own: LaneRates, usual: int) -> dict[int, float]:
    """Return the rates of networks of a size, with what one configuration gained by twice as many lanes."""
    known = {usual: 1.0, **rates}
    lanes = usual
    while (more := 2 * lanes) <= MOST_TIMES * usual:
        if lanes in known and own.get(lanes) and own.get(more):
            known[more] = known[lanes] * own[more] / own[lanes]
        lanes = more
    return known


def lanes_on(card: Card, machine: Machine, configuration: Configuration, shape: DataShape) -> int:
    """Return how many seeds a card trains side by side at most: as many as are wanted, or as many of them as fit."""
    wanted = machine.wanted_lanes.get(card.kind, machine.lanes)
    parameters = trainable_parameters(configuration.network, shape)
    if card.memory is None or not parameters:
        return wanted  # memory runs out, or does not
    fit = (card.memory - CARD_BYTES) // (LANE_BYTES_A_PARAMETER * parameters)
    while wanted > max(fit, machine.lanes):
        wanted //= 2
    return max(1, min(wanted, fit))


def room_on(
    card: Card, others: Sequence[Occupant | None], configuration: Configuration, shape: DataShape
) -> int | None:
    """Return the bytes of a card that are left for a group beside others; None where it has no room for it."""
    if not others:
        return card.memory or 0
    known = [other for other in others if other is not None]
    if card.memory is None or len(others) >= card.seats or len(known) < len(others):
        return None
    if any(other.configuration == configuration for other in known):
        return None  # more seeds of it would only share the time
    held = [group_bytes(other.configuration, other.lanes, shape) for other in known]
    needed = group_bytes(configuration, 1, shape)
    if needed is None or None in held:
        return None
    left = card.memory - sum(some for some in held if some is not None)
    return left if left >= needed else None


def group_bytes(configuration: Configuration, lanes: int, shape: DataShape) -> int | None:
    """Return what a group needs of a card's memory; None for an own model, of which that is not known."""
    parameters = trainable_parameters(configuration.network, shape)
    return CARD_BYTES + lanes * LANE_BYTES_A_PARAMETER * parameters if parameters else None
