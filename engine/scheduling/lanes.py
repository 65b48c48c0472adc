"""Chooses how many seeds of one configuration a card trains side by side, as lanes of one group. Pure."""

from collections.abc import Sequence

from engine.core.data_shape import DataShape
from engine.core.layers import trainable_parameters
from engine.core.machine import Card, Machine
from engine.core.spec import Configuration
from engine.scheduling.rates import GAIN, size_class
from engine.scheduling.slot import Occupant

CARD_BYTES = 1_200_000_000
"""Bytes of a card's memory that CUDA, its libraries and the data take."""
LANE_BYTES_A_PARAMETER = 24
"""Weights, gradient, Adam's two moments, and a copy of them meanwhile: 17 to 20 by what an H100's compiler says."""


def lanes_on(card: Card, machine: Machine, configuration: Configuration, shape: DataShape) -> int:
    """Return how many seeds a card trains side by side at most: as proved fastest, else as usual, or what fits."""
    parameters = trainable_parameters(configuration.network, shape)
    rates = machine.lane_rates.get(card.kind, {}).get(size_class(parameters), {})
    gains = {lanes: rate * (GAIN if lanes == machine.lanes else 1) for lanes, rate in sorted(rates.items())}
    most = max(gains, key=gains.__getitem__, default=machine.lanes)
    if card.memory is None:
        return most
    return max(1, min(most, (card.memory - CARD_BYTES) // (LANE_BYTES_A_PARAMETER * parameters)))


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
    held = sum(group_bytes(other.configuration, other.lanes, shape) for other in known)
    left = card.memory - held
    return left if left >= group_bytes(configuration, 1, shape) else None


def group_bytes(configuration: Configuration, lanes: int, shape: DataShape) -> int:
    """Return what a group needs of a card's memory."""
    parameters = trainable_parameters(configuration.network, shape)
    return CARD_BYTES + lanes * LANE_BYTES_A_PARAMETER * parameters
