"""Axes of charts: positions and labels of the ticks. Pure."""

import math
from collections.abc import Sequence
from itertools import pairwise

FACTORS = (1.0, 2.0, 5.0, 10.0)
WHOLE_FACTORS = (1.0, 2.0, 2.5, 5.0, 10.0)
"""Round steps of ten and more, where 25 is one too."""
MANTISSAS = ((1, 2, 5), (1, 3), (1,))
"""Divisions of a decade on a logarithmic axis, the finest first."""


def ticks_between(low: float, high: float, most: int, *, log: bool = False) -> list[float]:
    """Return round numbers between the bounds, about `most` of them; `log` bounds and ticks are exponents of ten."""
    if high - low <= 0:
        return [low]
    return _log_ticks(low, high, most) if log else _linear_ticks(low, high, most)


def labels_of(ticks: Sequence[float], *, log: bool = False) -> list[str]:
    """Format ticks with the fewest digits that distinguish them."""
    values = [10**tick if tick < 300 else math.inf for tick in ticks] if log else list(ticks)
    if log:
        least = min((abs(after - value) for value, after in pairwise(values)), default=0.0)
        texts = [_short(value, _decimals(value)) for value in values]
        is_clear = len({*texts}) == len(texts)
        return texts if is_clear else [_short(value, max(map(_decimals, (value, least)))) for value in values]
    step = abs(values[1] - values[0]) if len(values) > 1 else abs(values[0]) / 10
    largest = max(abs(value) for value in values)
    if largest and (largest < 1e-3 or step < largest * 1e-5):
        return [f"{value:.2g}" for value in values]
    return [_short(value, _decimals(step)) for value in values]


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / max(1, most)
    if not math.isfinite(rough) or rough <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    factors = WHOLE_FACTORS if power >= 10 else FACTORS
    large = next((factor for factor in factors if factor * power >= rough), factors[-1])
    for factor in reversed(factors[: factors.index(large) + 1]):  # smaller steps if large ones miss the bounds
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last > first or factor == factors[0]:
            break
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)] or [low]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(low), math.ceil(high) + 1)
    for mantissas in MANTISSAS:
        ticks = [decade + math.log10(mantissa) for decade in decades for mantissa in mantissas]
        inside = [exponent for exponent in ticks if low <= exponent <= high]
        if 2 <= len(inside) <= most:
            return inside
    if high - low >= most:
        return [exponent for exponent in _linear_ticks(low, high, most) if exponent == round(exponent)] or [low]
    even = _linear_ticks(10**low, 10**high, most) if high < 300 else []
    return [math.log10(value) for value in even if value > 0] or [low]


def _decimals(step: float) -> int:
    """Decimals that a step needs; a quarter of a hundred needs none, like all steps of one and more."""
    if not math.isfinite(step) or step <= 0:
        return 0
    return min(9, max(0, -math.floor(math.log10(step) + 1e-9)))


def _short(value: float, decimals: int) -> str:
    size = abs(value)
    if not math.isfinite(value):
        return "∞"
    if size >= 1e6 or 0 < size < 1e-4:
        return f"{value:.2g}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    if size >= 1e4 and value == round(value, -2):
        return f"{value / 1000:g}k"
    return f"{value:.{decimals}f}"
