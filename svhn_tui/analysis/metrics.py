"""The metrics of an epoch: one table, from which charts, comparison, columns, filter and export are made. Pure.

A new one is a line here; what is to be measured for it is a field of `EpochRow`, `History` and `RunResult`
(engine/core/results.py) and of what trainers measure (engine/training/compiled_epoch.py, native/library.py). What else
programs logged whose training was recorded needs none: it is called as Keras calls it.
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
    """An epoch of a run, or what a finished run ended with."""

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
"""What Keras puts before the name of a metric of the validation images."""
LOWER_IS_BETTER = ("loss", "error", "entropy", "divergence", "hinge", "poisson", "logcosh", "false")
"""Parts of the names of Keras's metrics that are the better the lower they are."""


class Metric(msgspec.Struct, frozen=True):
    """What is measured, how it is called, and which way is better."""

    name: str
    title: str
    head: str
    """Short title of its column on the Runs page."""
    unit: Unit
    better: Literal["higher", "lower"]
    read: Callable[[HasMetrics], Number]
    column: str = ""
    """What settings and the Runs page call its column, where that is not its own name."""
    train: str = ""
    """The same metric of the training images, which is drawn in one chart with it where runs are watched."""
    validation: str = ""
    """The same metric of the validation images, which is drawn there too where it is measured."""
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
        """Return what it is sorted by: the value, or the worst where there is none."""
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
"""Those that only runs with certain options have: charts and tables show them where they are known."""


@cache
def _logged(name: str) -> Metric:
    """Return the metric of this name in the logs of a program whose training was recorded."""
    short = words.clean(name.replace("_", " "))
    title = f"validation {short.removeprefix('val ')}" if name.startswith(VALIDATION) else short
    better: Literal["higher", "lower"] = "lower" if any(part in name for part in LOWER_IS_BETTER) else "higher"
    return Metric(name, title, short, "number", better, lambda one: dict(one.logged).get(name))


def metric_named(name: str) -> Metric:
    """Return the metric of this name; one that no table has is one that programs logged."""
    return METRICS.get(name) or OPTIONAL.get(name) or _logged(name)


def logged_in(measured: Iterable[HasMetrics]) -> tuple[Metric, ...]:
    """Return the metrics that only the programs of these recorded runs know, or epochs of theirs."""
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
    """A chart of the metrics of runs that are watched."""

    title: str
    curves: tuple[tuple[str, str], ...]
    """(name of the curve, metric) of each; the last one matters most."""


def panels(drawn: Sequence[str]) -> dict[str, Panel]:
    """Return the charts of these metrics by the most important of each, shares first: what is measured of the training,
    the validation and the test images is in one chart."""
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
