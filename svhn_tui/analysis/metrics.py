"""The metrics of an epoch: one table, from which charts, comparison, columns, filter and export are made. Pure.

A new one is a line here; its value is a field of `EpochRow`, `History` and `RunResult` (engine/core/results.py), which
the trainers measure (engine/training/compiled_epoch.py, native/library.py). Other metrics of recorded runs need no
line: they have Keras's names.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from statistics import fmean
from typing import Literal, Protocol

import msgspec

from engine.core.curve import Curve
from engine.core.results import Number
from svhn_tui import words


class HasMetrics(Protocol):
    """An epoch of a run, or the outcome of a finished run."""

    @property
    def loss(self) -> Number: ...
    @property
    def accuracy(self) -> Number: ...
    @property
    def test_loss(self) -> Number: ...
    @property
    def test_accuracy(self) -> Number: ...
    @property
    def test_top_k_accuracy(self) -> Number: ...
    @property
    def val_loss(self) -> Number: ...
    @property
    def val_accuracy(self) -> Number: ...
    @property
    def logged(self) -> tuple[tuple[str, Number], ...]: ...


Unit = Literal["share", "nats", "number"]
WRITTEN: dict[Unit, Callable[[Number], str]] = {
    "share": words.accuracy, "nats": words.number, "number": words.number
}  # fmt: skip
VALIDATION = "val_"
"""Keras's prefix of a metric of the validation images."""
LOWER_IS_BETTER = ("loss", "error", "entropy", "divergence", "hinge", "poisson", "logcosh", "false")
"""Parts of the names of Keras's metrics of which lower values are better."""


class Metric(msgspec.Struct, frozen=True):
    """A metric: its attribute, its names, and which way is better."""

    name: str
    title: str
    head: str
    """Short title of its column on the Runs page."""
    unit: Unit
    better: Literal["higher", "lower"]
    read: Callable[[HasMetrics], Number]
    column: str = ""
    """The name of its column in settings and on the Runs page, if it is not its own name."""
    train: str = ""
    """The same metric of the training images, which is drawn in the same chart for runs in training."""
    validation: str = ""
    """The same metric of the validation images, which is drawn there too if it is measured."""
    quantity: str = ""
    """The title of that chart."""

    @property
    def key(self) -> str:
        """Key of its column on the Runs page."""
        return self.column or self.name

    def text(self, value: Number) -> str:
        """Format a value."""
        return WRITTEN[self.unit](value)

    def mean(self, of: Iterable[HasMetrics]) -> Number:
        """Return the mean of the values that are known."""
        known = [value for one in of if (value := self.read(one)) is not None]
        return fmean(known) if known else None

    def rank(self, one: HasMetrics) -> float:
        """Return the sort key: the value, or the worst possible one if there is none."""
        value = self.read(one)
        if value is not None:
            return value
        return float("inf") if self.better == "lower" else 0.0


def _gap(one: HasMetrics) -> Number:
    """Return train minus test accuracy, the generalisation gap."""
    train, test = one.accuracy, one.test_accuracy
    return None if train is None or test is None else train - test


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("test_accuracy", "test accuracy", "test acc", "share", "higher", lambda one: one.test_accuracy, "test",
               train="accuracy", validation="val_accuracy", quantity="accuracy"),
        Metric("accuracy", "train accuracy", "train acc", "share", "higher", lambda one: one.accuracy, "train"),
        Metric("test_loss", "test loss", "test loss", "nats", "lower", lambda one: one.test_loss, "loss",
               train="loss", validation="val_loss", quantity="loss"),
        Metric("loss", "train loss", "train loss", "nats", "lower", lambda one: one.loss, "train_loss"),
        Metric("gap", "train − test accuracy", "gap", "share", "lower", _gap),
    )
}  # fmt: skip
OPTIONAL: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("val_loss", "validation loss", "val loss", "nats", "lower", lambda one: one.val_loss),
        Metric("val_accuracy", "validation accuracy", "val acc", "share", "higher", lambda one: one.val_accuracy),
        Metric("test_top_k_accuracy", "test top-5 accuracy", "top 5", "share", "higher",
               lambda one: one.test_top_k_accuracy),
    )
}  # fmt: skip
"""Metrics of runs with certain options only; charts and tables show them if they are known."""


@cache
def _logged(name: str) -> Metric:
    """Return the metric of this name in the logs of recorded runs."""
    short = words.clean(name.replace("_", " "))
    title = f"validation {short.removeprefix('val ')}" if name.startswith(VALIDATION) else short
    better: Literal["higher", "lower"] = "lower" if any(part in name for part in LOWER_IS_BETTER) else "higher"
    return Metric(name, title, short, "number", better, lambda one: dict(one.logged).get(name))


def metric_named(name: str) -> Metric:
    """Return the metric of this name; one that is in no table is one of recorded runs."""
    return METRICS.get(name) or OPTIONAL.get(name) or _logged(name)


def logged_in(measured: Iterable[HasMetrics]) -> tuple[Metric, ...]:
    """Return the metrics that only these recorded runs, or these epochs of them, have."""
    names = dict.fromkeys(name for one in measured for name, _ in one.logged)
    return tuple(_logged(name) for name in names if name not in METRICS and name not in OPTIONAL)


def known_in(measured: Iterable[HasMetrics]) -> tuple[Metric, ...]:
    """Return the metrics that not all runs have, and that some of these runs or epochs do."""
    known = tuple(measured)
    wished = (metric for metric in OPTIONAL.values() if any(metric.read(one) is not None for one in known))
    return (*wished, *logged_in(known))


def drawn_of(curves: Iterable[Curve]) -> tuple[str, ...]:
    """Return the metrics that charts of these curves offer: those that all runs have, and what else is known."""
    ends = (row for curve in curves if curve.epochs for row in (curve.rows[0], curve.rows[-1]))
    return (*METRICS, *(metric.name for metric in known_in(ends)))


class Panel(msgspec.Struct, frozen=True):
    """A chart of related metrics for runs in training."""

    title: str
    curves: tuple[tuple[str, str], ...]
    """(name of the curve, metric) of each; the last one matters most."""


def panels(drawn: Sequence[str]) -> dict[str, Panel]:
    """Return the charts of these metrics, the most important metric of each first; a metric's training, validation and
    test values are in one chart."""
    metrics = [metric_named(name) for name in drawn]
    joined = {name for metric in metrics for name in (metric.train, metric.validation)}
    joined |= {f"{VALIDATION}{name}" for name in drawn}
    alone = (metric for metric in metrics if metric.name not in joined)
    return {metric.name: _panel(metric, drawn) for metric in sorted(alone, key=lambda metric: metric.unit != "share")}


def _panel(metric: Metric, drawn: Sequence[str]) -> Panel:
    if metric.train:
        curves = (("train", metric.train), ("validation", metric.validation), ("test", metric.name))
        return Panel(metric.quantity, tuple((name, of) for name, of in curves if of in drawn))
    validation = f"{VALIDATION}{metric.name}"
    if validation not in drawn:
        return Panel(metric.title, ((metric.head, metric.name),))
    return Panel(metric.title, (("train", metric.name), ("validation", validation)))
