"""Runs as a table for a paper: a line a configuration, the best in bold, and the conditions of training. Pure."""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, stdev

import msgspec

from engine.core.spec import Configuration
from engine.protocol import DataSet, RunResult
from svhn_tui import words
from svhn_tui.analysis.comparison import data_names, full_names_of, shared_settings
from svhn_tui.analysis.metrics import METRICS, Metric, known_in
from svhn_tui.analysis.queue_entries import seeds_text

LATEX = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
         "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}  # fmt: skip
MARKDOWN = frozenset("\\`*_{}[]<>|#~&")
"""Characters with a meaning in Markdown anywhere in a cell."""
SHOWN = tuple(METRICS[name] for name in ("test_accuracy", "accuracy", "test_loss"))
"""Metrics that always have a column; others have one if a run has them."""


class PaperRow(msgspec.Struct, frozen=True):
    """A configuration on one data set: its name, parameters, number of runs, and their metrics."""

    label: str
    data: str
    parameters: int
    runs: int
    values: tuple[tuple[float, ...], ...]
    """The known values of each metric that is shown."""


def shown_of(results: Sequence[RunResult]) -> tuple[Metric, ...]:
    """Return the metrics that have a column."""
    return (*SHOWN, *known_in(results))


def rows_of(results: Iterable[RunResult], shown: Sequence[Metric] = SHOWN) -> tuple[PaperRow, ...]:
    """Group runs by data set and configuration, by their names."""
    groups: dict[tuple[str, Configuration], list[RunResult]] = {}
    for run in results:
        groups.setdefault((run.spec.data, run.spec.configuration), []).append(run)
    called = data_names(run for runs in groups.values() for run in runs)
    own = _own({configuration for _, configuration in groups})
    names = dict(zip(own, full_names_of(own), strict=True))
    rows = [
        PaperRow(
            words.clean(names.get(configuration, configuration.label)),
            words.clean(called[data]),
            runs[0].trainable_parameters,
            len(runs),
            tuple(tuple(v for run in runs if (v := metric.read(run)) is not None) for metric in shown),
        )
        for (data, configuration), runs in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: (row.data, words.in_order(row.label))))


def _own(configurations: Iterable[Configuration]) -> list[Configuration]:
    """Return the runs that were not recorded: all of their settings are known."""
    own = [configuration for configuration in configurations if configuration.recorded is None]
    return sorted(own, key=lambda configuration: configuration.label)


def latex(results: Sequence[RunResult], data: DataSet | None) -> str:
    """Return a `tabular` for LaTeX; the conditions of training follow as comments."""
    head, *lines = _cells(results, _latex, lambda text: rf"\textbf{{{text}}}", r" $\pm$ ")
    columns = "l" + "r" * (len(head) - 1)
    body = [" & ".join(cells) + r" \\" for cells in lines]
    rules = [rf"\begin{{tabular}}{{{columns}}}", r"\hline", " & ".join(head) + r" \\", r"\hline", *body, r"\hline",
             r"\end{tabular}"]  # fmt: skip
    return "\n".join([*rules, *(f"% {line}" for line in citation(results, data)), ""])


def markdown(results: Sequence[RunResult], data: DataSet | None) -> str:
    """Return a table for Markdown, and below it the conditions of training."""
    head, *lines = _cells(results, _markdown, lambda text: f"**{text}**", " ± ")
    rule = ["---", *["---:"] * (len(head) - 1)]
    table = [f"| {' | '.join(cells)} |" for cells in (head, rule, *lines)]
    return "\n".join([*table, "", *map(_markdown, citation(results, data)), ""])


def citation(results: Sequence[RunResult], data: DataSet | None) -> tuple[str, ...]:
    """Return the conditions for reproducing the runs: versions, devices, seeds and data, a line each."""
    versions = sorted({f"{name} {version}" for run in results for name, version in run.versions.items()})
    devices = sorted({run.device for run in results if run.device})
    trainers = sorted({run.trained_by for run in results})
    sets = sorted({run.spec.data for run in results if run.spec.data})
    called = ({data.fingerprint: data.name} if data else {}) | {
        name: text for name, text in data_names(results).items() if text != name
    }
    names = [f"{called[name]}, fingerprint {name}" if name in called else name for name in sets]
    seeds = sorted({run.spec.seed for run in results})
    shared = shared_settings(_own({run.spec.configuration for run in results}))
    deviation = "± is the standard deviation of a run; n the number of runs; bold the best mean."
    lines = (
        deviation,
        f"All with {', '.join(shared)}." if shared else "",
        f"Trained with {', '.join(versions)}." if versions else "",
        f"On {', '.join(devices)} ({', '.join(trainers)})." if devices else "",
        f"{seeds_text(seeds).capitalize()}." if seeds else "",
        f"Data: {'; '.join(names)}." if names else "",
        "Demo data among it: drawn digits, not the assignment's." if any(run.demo_data for run in results) else "",
    )
    return tuple(words.clean(line) for line in lines if line)


def _cells(
    results: Sequence[RunResult], escape: Callable[[str], str], bold: Callable[[str], str], between: str
) -> list[list[str]]:
    """Return the head and a line a configuration as formatted cells."""
    shown = shown_of(results)
    rows = rows_of(results, shown)
    has_sets = len({row.data for row in rows}) > 1
    head = [
        "configuration",
        *(["data"] if has_sets else []),
        "parameters",
        "n",
        *(metric.title for metric in shown),
    ]
    columns = [_column(rows, index, metric, bold, between) for index, metric in enumerate(shown)]
    lines = [
        [escape(row.label), *([escape(row.data or "–")] if has_sets else []), str(row.parameters), str(row.runs),
         *(column[index] for column in columns)]
        for index, row in enumerate(rows)
    ]  # fmt: skip
    return [head, *lines]


def _column(
    rows: Sequence[PaperRow], index: int, metric: Metric, bold: Callable[[str], str], between: str
) -> list[str]:
    """Return a metric's cells; the best mean on a data set is bold if there are several."""
    means = [f"{fmean(row.values[index]):.4f}" if row.values[index] else "" for row in rows]
    best = {"higher": max, "lower": min}[metric.better]
    written: dict[str, list[str]] = {}
    for row, mean in zip(rows, means, strict=True):
        written.setdefault(row.data, []).extend([mean] if mean else [])
    winners = {data: best(some, key=float) for data, some in written.items() if len(some) > 1}
    cells = []
    for row, mean in zip(rows, means, strict=True):
        values = row.values[index]
        text = f"{mean}{between}{stdev(values):.4f}" if len(values) > 1 else mean or "–"
        cells.append(bold(text) if mean and mean == winners.get(row.data) else text)
    return cells


def _latex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text)


def _markdown(text: str) -> str:
    return "".join(f"\\{sign}" if sign in MARKDOWN else sign for sign in text)
