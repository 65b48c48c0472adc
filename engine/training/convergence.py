"""Whether a curve still moves at its end. Pure."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

EPOCHS = 10
"""Number of epochs at the end that count."""


class Slope(NamedTuple):
    """Change of a curve for each epoch, by least squares, and its standard error."""

    value: float
    error: float


def slope_of(values: Sequence[float | None]) -> Slope | None:
    """Fit a straight line to the last epochs; None with fewer than three of them or a gap among them."""
    recent = [value for value in values[-EPOCHS:] if value is not None]
    count = len(recent)
    if count < 3 or count < len(values[-EPOCHS:]):
        return None
    centre, mean = (count - 1) / 2, fmean(recent)
    spread = sum((epoch - centre) ** 2 for epoch in range(count))
    slope = sum((epoch - centre) * (value - mean) for epoch, value in enumerate(recent)) / spread
    residuals = sum((value - mean - slope * (epoch - centre)) ** 2 for epoch, value in enumerate(recent))
    return Slope(slope, math.sqrt(residuals / (count - 2) / spread))
