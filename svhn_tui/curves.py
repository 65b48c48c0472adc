"""Series for charts, from the histories of runs. Pure."""

from collections.abc import Sequence
from statistics import fmean, stdev

from engine.protocol import History
from svhn_tui.plot import Series, Value

METRICS = {
    "test_accuracy": "test accuracy",
    "accuracy": "train accuracy",
    "test_loss": "test loss",
    "loss": "train loss",
    "gap": "train − test accuracy",
}
"""What can be drawn of a history, and how it is called."""


def metric_of(history: History, metric: str) -> tuple[Value, ...]:
    """Return a metric of each epoch; `gap` is train minus test accuracy, the generalisation gap."""
    if metric != "gap":
        values: tuple[Value, ...] = getattr(history, metric)
        return values
    pairs = zip(history.accuracy, history.test_accuracy, strict=True)
    return tuple(None if train is None or test is None else train - test for train, test in pairs)


def mean_band(name: str, histories: Sequence[History], metric: str, color: str) -> Series:
    """Return the mean over runs with a band of one standard deviation either side, as far as there are values."""
    columns = [metric_of(history, metric) for history in histories]
    means: list[Value] = []
    low: list[Value] = []
    high: list[Value] = []
    for epoch in range(max((len(column) for column in columns), default=0)):
        values = [value for column in columns if epoch < len(column) and (value := column[epoch]) is not None]
        mean = fmean(values) if values else None
        reach = stdev(values) if len(values) > 1 else None
        means.append(mean)
        low.append(None if mean is None or reach is None else mean - reach)
        high.append(None if mean is None or reach is None else mean + reach)
    return Series(name, tuple(means), color, tuple(low), tuple(high))


def smoothed(values: Sequence[Value], weight: float) -> tuple[Value, ...]:
    """Return the exponential moving average with the bias of its start corrected (Kingma and Ba, 2015, section 3)."""
    average, known = 0.0, 0.0
    found: list[Value] = []
    for value in values:
        if value is not None:
            average = weight * average + (1 - weight) * value
            known = weight * known + (1 - weight)
        found.append(average / known if value is not None and known else None)
    return tuple(found)


def with_smoothing(series: Sequence[Series], weight: float) -> tuple[Series, ...]:
    """Return each series smoothed, with the raw trace faint behind it."""
    if not weight:
        return tuple(series)
    lines = [Series(line.name, smoothed(line.values, weight), line.color, line.low, line.high) for line in series]
    return (*(Series(line.name, line.values, line.color, faint=True) for line in series), *lines)
