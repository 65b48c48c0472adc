"""The figures of one configuration's runs on the Runs page: number, means and spread. Pure."""

from collections.abc import Callable, Sequence
from statistics import fmean, stdev

from engine.protocol import RunResult
from svhn_tui import words
from svhn_tui.analysis.metrics import METRICS, OPTIONAL, Metric
from svhn_tui.analysis.queue_entries import seeds_text


def _label(runs: Sequence[RunResult]) -> str:
    bad, left = sum(run.diverged for run in runs), sum(run.interrupted for run in runs)
    marks = (f"✗ {bad} diverged  " if bad else "", f"· {left} interrupted  " if left else "")
    return "".join(marks) + runs[0].spec.configuration.label


def _accuracies(runs: Sequence[RunResult]) -> list[float]:
    return [run.test_accuracy for run in runs if run.test_accuracy is not None]


def _spread(runs: Sequence[RunResult]) -> str:
    known = _accuracies(runs)
    return words.aligned_spread(fmean(known) if known else None, stdev(known) if len(known) > 1 else None)


def _best(runs: Sequence[RunResult]) -> str:
    bests = [run.best_test_accuracy for run in runs if run.best_test_accuracy is not None]
    return words.accuracy(fmean(bests) if bests else None)


def mean_of(metric: Metric) -> Callable[[Sequence[RunResult]], str]:
    """Return the function that formats the mean of a metric."""
    return lambda runs: metric.text(metric.mean(runs))


FIGURES: dict[str, Callable[[Sequence[RunResult]], str]] = {
    **{metric.key: mean_of(metric) for metric in (*METRICS.values(), *OPTIONAL.values())},
    "configuration": _label,
    "n": lambda runs: words.count(len(runs)),
    "seed": lambda runs: seeds_text([run.spec.seed for run in runs]).partition(" ")[2],
    "test": _spread,
    "least": lambda runs: words.accuracy(min(_accuracies(runs), default=None)),
    "most": lambda runs: words.accuracy(max(_accuracies(runs), default=None)),
    "best": _best,
    "time": lambda runs: words.duration(fmean(run.seconds for run in runs)),
    "run": lambda runs: "",
    "finished": lambda runs: words.moment(max(run.finished_at for run in runs)),
}
"""Functions that format a column's figure for the runs of a configuration."""
