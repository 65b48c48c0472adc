"""Series for charts, from the histories of runs. Pure."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, zip_longest
from operator import attrgetter
from statistics import fmean

import msgspec

from engine.core.curve import Curve
from engine.core.results import Number
from svhn_tui.analysis.metrics import metric_named
from svhn_tui.charts.plot import Series


def metric_of(history: Curve, metric: str) -> tuple[Number, ...]:
    """Return a metric of each epoch."""
    return history.values(metric_named(metric).read)


def mean_band(
    name: str, histories: Sequence[Curve], metric: str, color: str, mark: str = "", *, by_seconds: bool = False
) -> Series:
    """Return the mean over runs with a band of one standard deviation on either side.

    Only finite values count. `by_seconds` puts each epoch at the mean time at which the runs ended it.
    """
    columns = [metric_of(history, metric) for history in histories]
    means: list[Number] = []
    low: list[Number] = []
    high: list[Number] = []
    for epoch in range(max((len(column) for column in columns), default=0)):
        values = [value for column in columns if epoch < len(column) and _is_finite(value := column[epoch])]
        known = [value for value in values if value is not None]
        mean = fmean(known) if known else None
        reach = _deviation(known, mean) if mean is not None and len(known) > 1 else None
        means.append(mean)
        low.append(None if mean is None or reach is None else mean - reach)
        high.append(None if mean is None or reach is None else mean + reach)
    x = elapsed(histories) if by_seconds else ()
    return Series(name, tuple(means), color, tuple(low), tuple(high), x=x, mark=mark)


def divergence_of(named: Iterable[tuple[str, Curve]]) -> str:
    """Say which curves end in a loss that is not finite, and since when: `diverged at epoch 3`; empty if none."""
    since: dict[str, int] = {}
    for name, history in named:
        if epoch := history.diverged_at:
            since[name] = min(epoch, since.get(name, epoch))
    if len(since) == 1:
        return f"diverged at epoch {next(iter(since.values()))}"
    return f"diverged: {', '.join(f'{name} at epoch {epoch}' for name, epoch in since.items())}" if since else ""


def _deviation(values: Sequence[float], mean: float) -> float:
    """Return the standard deviation; `statistics.stdev` is exact, and too slow for every epoch of every frame."""
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def trace(name: str, history: Curve, metric: str, color: str, mark: str = "", *, by_seconds: bool = False) -> Series:
    """Return the curve of one run."""
    x = elapsed([history]) if by_seconds else ()
    return Series(name, metric_of(history, metric), color, x=x, mark=mark)


def elapsed(histories: Sequence[Curve]) -> tuple[float, ...]:
    """Return the mean seconds after which the runs ended each epoch; an epoch without a time counts as zero seconds."""
    columns = [history.values(attrgetter("seconds")) for history in histories]
    seconds = []
    for values in zip_longest(*columns):
        known = [value for value in values if _is_finite(value)]
        seconds.append(fmean(known) if known else 0.0)
    return tuple(accumulate(seconds))


def smoothed(values: Sequence[Number], weight: float) -> tuple[Number, ...]:
    """Return the exponential moving average with the bias of its start corrected (Kingma and Ba, 2015, section 3).

    A value that is missing or not finite leaves a gap and does not count.
    """
    average, known = 0.0, 0.0
    smooth: list[Number] = []
    for value in values:
        if value is None or not math.isfinite(value):
            smooth.append(None)
            continue
        average = weight * average + (1 - weight) * value
        known = weight * known + (1 - weight)
        smooth.append(average / known)
    return tuple(smooth)


def with_smoothing(series: Sequence[Series], weight: float) -> tuple[Series, ...]:
    """Return each series smoothed, with the raw trace faint behind it."""
    if not weight:
        return tuple(series)
    change = msgspec.structs.replace
    raw = (change(line, low=(), high=(), mark="", faint=True) for line in series)
    return (*raw, *(change(line, values=smoothed(line.values, weight)) for line in series))


def _is_finite(value: Number) -> bool:
    return value is not None and math.isfinite(value)
