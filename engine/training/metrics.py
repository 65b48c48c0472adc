"""What is measured of networks in training. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engine.core.results import EpochRow, finite


def rows_of(measured: Mapping[str, Sequence[float]], test_images: int, seconds: float) -> tuple[EpochRow, ...]:
    """Return the row of each lane of an epoch.

    Args:
        measured: a value a lane of each field of a row that was measured: `loss`, `test_correct` and so on.
        test_images: how many there are.
        seconds: wall time of all lanes together.
    """
    lanes: Sequence[tuple[Any, ...]] = list(zip(*map(finite, measured.values()), strict=True))
    return tuple(
        EpochRow(**dict(zip(measured, lane, strict=True)), test_images=test_images, seconds=seconds) for lane in lanes
    )


class Activity(NamedTuple):
    """Shares 0..1 over the hidden dense layers; None where the network has no units of the kind."""

    dead: float | None = None
    """Of ReLU units: those that no test image activates."""
    saturated: float | None = None
    """Of tanh activations: those beyond 0.99 in size."""
