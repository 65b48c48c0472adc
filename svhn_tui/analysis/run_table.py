"""The lines of the Runs page: its runs and groups, their order and cells. Pure."""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import chain
from statistics import fmean

import msgspec

from engine.core.options import LISTED, Option
from engine.core.spec import Configuration, short_hash
from engine.protocol import RunResult
from svhn_tui import words
from svhn_tui.analysis import run_settings
from svhn_tui.analysis.group_figures import FIGURES, mean_of
from svhn_tui.analysis.metrics import METRICS, OPTIONAL, Metric, logged_in, metric_named
from svhn_tui.client.state import Live, State

Sortable = float | str


class Column(msgspec.Struct, frozen=True):
    """A column: its sort key and its text for a run."""

    title: str
    value: Callable[[RunResult], Sortable]
    text: Callable[[RunResult], str]
    is_number: bool = True
    field: str = ""
    """Its name in the filter, if that is not the column's own."""
    is_lower_better: bool = False

    @property
    def descends(self) -> bool:
        """Whether its first sort order is descending: the best and the latest come first, texts by the alphabet."""
        return self.is_number and not self.is_lower_better


def _of_metric(metric: Metric, title: str = "") -> Column:
    """Return the column of a metric after the last epoch."""
    return Column(
        title or metric.head, metric.rank, lambda run: metric.text(metric.read(run)), field=metric.name,
        is_lower_better=metric.better == "lower",
    )  # fmt: skip


def _of_metrics(*names: str) -> dict[str, Column]:
    return {METRICS[name].key: _of_metric(METRICS[name]) for name in names}


def _of_option(option: Option) -> Column:
    """Return the column of an option."""
    return Column(
        option.head or option.title,
        run_settings.rank_of(option),
        partial(run_settings.text_of, option),
        is_number=option.name not in run_settings.TEXTS,
        field=option.name,
    )


def _of_options(*names: str) -> dict[str, Column]:
    options = [LISTED[name] for name in names]
    return {option.head or option.name: _of_option(option) for option in options}


COLUMNS: dict[str, Column] = {
    "configuration": Column(
        "configuration", lambda run: words.in_order(run.spec.configuration.label), lambda run: _label(run), False
    ),
    "seed": Column("seed", lambda run: run.spec.seed, lambda run: str(run.spec.seed)),
    "n": Column("runs", lambda run: 1.0, lambda run: "1"),
    **_of_metrics("test_accuracy", "accuracy"),
    "best": Column(
        "best",
        lambda run: run.best_test_accuracy or 0.0,
        lambda run: words.accuracy(run.best_test_accuracy),
        field="best_test_accuracy",
    ),
    "least": _of_metric(METRICS["test_accuracy"], "least"),
    "most": _of_metric(METRICS["test_accuracy"], "most"),
    **_of_metrics(*METRICS),  # those that stand above stay where they are
    **{name: _of_metric(metric) for name, metric in OPTIONAL.items()},
    "parameters": Column(
        "parameters", lambda run: run.trainable_parameters, lambda run: words.count(run.trainable_parameters)
    ),
    "time": Column("time", lambda run: run.seconds, lambda run: words.duration(run.seconds), field="seconds"),
    **_of_options("epochs", "learning_rate", "batch_size"),
    "finished": Column("finished", lambda run: run.finished_at, lambda run: words.moment(run.finished_at), False),
    "run": Column("run", lambda run: run.run_id, lambda run: run.run_id, False),
    "data": Column("data", lambda run: _data(run), lambda run: words.clean(_data(run)), False),
    **_of_options(*LISTED),
    "trainer": Column("trainer", lambda run: run.trained_by, lambda run: words.clean(run.trained_by), False),
}


def column_named(name: str) -> Column:
    """Return the column of this name; one that is not in the table is of a metric of recorded runs."""
    return COLUMNS.get(name) or _of_metric(metric_named(name))


def columns_logged_in(results: Iterable[RunResult]) -> tuple[str, ...]:
    """Return the columns of the metrics of recorded runs, except for names that other columns have."""
    return tuple(metric.name for metric in logged_in(results) if metric.name not in COLUMNS)


SHOWN = ("configuration", "seed", "test", "train", "parameters", "time", "finished", "run")
GROUPED = ("configuration", "n", "test", "least", "most", "train", "parameters", "time", "finished")
"""Default columns of runs and of configurations."""
OF_GROUPS = {"n", "least", "most"}
"""Columns that have no meaning for a single run."""


class SortOrder(msgspec.Struct, frozen=True):
    """The order of the list: a column and a direction."""

    column: str = "finished"
    descending: bool = True


class RunLine(msgspec.Struct, frozen=True, gc=False):
    """A finished run, a configuration with its finished runs, or one run that failed."""

    runs: tuple[RunResult, ...]
    is_group: bool = False
    is_inside: bool = False
    """Whether it is a run that is listed below its configuration."""
    failed: Live | None = None
    """The run that failed; it has no result."""

    @property
    def key(self) -> str:
        """The identity of a line while the list changes."""
        if self.failed is not None:
            return f"failed {self.failed.spec.run_id}"
        if not self.is_group:
            return self.runs[0].run_id
        spec, configuration = self.runs[0].spec, self.runs[0].spec.configuration
        known = short_hash(configuration) if configuration.recorded else configuration.label  # names may be the same
        return f"group {known} {spec.data}"


class Table(msgspec.Struct, frozen=True, gc=False):
    """The content of the list as it was drawn last."""

    lines: tuple[RunLine, ...] = ()
    columns: tuple[str, ...] = ()
    runs: int = 0
    """Number of listed runs, those in groups included."""
    failed: int = 0
    """Number of lines of runs that failed."""


def lines_of(
    results: Iterable[RunResult],
    order: SortOrder,
    *,
    grouped: bool = False,
    opened: Collection[str] = (),
    pinned: Collection[str] = (),
) -> tuple[RunLine, ...]:
    """Return the lines, pinned ones first.

    Args:
        results: the runs that are listed.
        order: of the lines.
        grouped: a line a configuration; those whose key is in `opened` show their runs below.
        opened: keys of groups.
        pinned: keys of lines that stay on top.
    """
    value = column_named(order.column).value
    lines: list[RunLine] = []
    if not grouped:
        ranked = sorted(results, key=value, reverse=order.descending)
        lines = [RunLine((run,)) for run in ranked]
    else:
        groups: dict[tuple[Configuration, str], list[RunResult]] = {}
        for run in results:
            groups.setdefault((run.spec.configuration, run.spec.data), []).append(run)
        lines = [RunLine(tuple(sorted(runs, key=lambda run: run.spec.seed)), True) for runs in groups.values()]
        lines.sort(key=lambda line: _group_value(line, order.column), reverse=order.descending)
    if pinned:
        lines.sort(key=lambda line: line.key not in pinned)
    if not grouped:
        return tuple(lines)
    return tuple(
        line
        for group in lines
        for line in (group, *(RunLine((run,), is_inside=True) for run in (group.runs if group.key in opened else ())))
    )


def index_of(key: str, lines: Sequence[RunLine], near: int) -> int:
    """Return the index of the line with this key, searched from `near` on; `near` if there is none."""
    places = chain(range(near, len(lines)), range(min(near, len(lines))))
    return next((index for index in places if lines[index].key == key), near)


def failed_of(state: State) -> tuple[RunLine, ...]:
    """Return the runs that failed, by their configurations."""
    failed = [live for live in state.live.values() if live.status == "failed"]
    failed.sort(key=lambda live: (words.in_order(live.spec.configuration.label), live.spec.seed))
    return tuple(RunLine((), failed=live) for live in failed)


def cells_of(line: RunLine, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the texts of a line."""
    if line.failed is not None:
        spec = line.failed.spec
        texts = {"configuration": spec.configuration.label, "seed": str(spec.seed), "test": "failed"}
        return tuple({**texts, "run": spec.run_id}.get(name, "") for name in columns)
    if not line.is_group:
        (run,) = line.runs
        cells = [column_named(name).text(run) for name in columns]
        if line.is_inside:
            inside = {"configuration": f"  {_mark(run)}seed {run.spec.seed}", "n": "", "least": "", "most": "",
                      "test": words.aligned_spread(run.test_accuracy, None)}  # fmt: skip
            return tuple(inside.get(name, cell) for name, cell in zip(columns, cells, strict=True))
        return tuple(cells)
    return tuple(_group_text(name, line.runs) for name in columns)


def _group_text(name: str, runs: Sequence[RunResult]) -> str:
    """Return a column's text for the runs of a configuration: a figure, or the value that they share."""
    if name in FIGURES:
        return FIGURES[name](runs)
    return COLUMNS[name].text(runs[0]) if name in COLUMNS else mean_of(metric_named(name))(runs)


def _group_value(line: RunLine, column: str) -> tuple[Sortable, str]:
    """Return the sort key of a group: the mean of numbers, the number of runs, or the largest text."""
    values = [column_named(column).value(run) for run in line.runs]
    numbers = [number for number in values if isinstance(number, int | float)]
    if not numbers:
        return max(map(str, values)), line.key
    match column:
        case "n":
            return len(numbers), line.key
        case "least":
            return min(numbers), line.key
        case "most":
            return max(numbers), line.key
        case _:
            return fmean(numbers), line.key


def columns_of(chosen: Sequence[str], results: Collection[RunResult]) -> tuple[str, ...]:
    """Return the chosen columns that exist, with that of the data set if the runs have several."""
    logged = columns_logged_in(results) if any(name not in COLUMNS for name in chosen) else ()
    columns = tuple(name for name in chosen if name in COLUMNS or name in logged) or SHOWN
    if "data" in columns or len({run.spec.data for run in results}) < 2:
        return columns
    return (*columns[:1], "data", *columns[1:])


def _data(run: RunResult) -> str:
    return run.data_name or run.spec.data


def _label(run: RunResult) -> str:
    return _mark(run) + run.spec.configuration.label


def _mark(run: RunResult) -> str:
    """Return the mark of a run that diverged or was interrupted."""
    return "✗ diverged  " if run.diverged else "· interrupted  " if run.interrupted else ""
