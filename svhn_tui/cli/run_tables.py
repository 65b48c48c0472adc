"""The finished runs as tables for other programs, on stdout or in a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import protocol as p
from svhn_tui.analysis import paper_table, run_row
from svhn_tui.analysis.metrics import METRICS, OPTIONAL, drawn_of, metric_named
from svhn_tui.analysis.run_filter import matching
from svhn_tui.client.state import State

CLASS_COLUMNS = ("run_id", "configuration", "seed", "data", "class", "test_images", "recall")
CURVE_COLUMNS = ("run_id", "configuration", "seed", "epoch", *METRICS, *OPTIONAL, "seconds")
"""Columns of the table of curves; those of recorded runs' metrics follow."""


class NoTable(Exception):
    """A table cannot be made; one sentence says why, and what to do."""


def chosen(state: State, filter_text: str) -> tuple[p.RunResult, ...]:
    """Return the finished runs that match a filter, the newest last.

    Raises:
        FilterError: the filter cannot be understood.
    """
    return tuple(sorted(matching(filter_text, state.results, state.notes), key=lambda run: run.finished_at))


def csv_of(results: Sequence[p.RunResult], state: State) -> str:
    """Return a line a run, with every setting, as the export folder's `runs.csv` has them."""
    return run_row.as_csv(*run_row.table_of(results, state.notes))


def curves_csv(results: Sequence[p.RunResult], state: State) -> str:
    """Return a line an epoch of each run; unknown values are empty."""
    drawn = drawn_of(state.history(run.run_id) for run in results)
    logged = [metric_named(name) for name in drawn if name not in CURVE_COLUMNS]
    rows = (
        (run.run_id, run_row.harmless(run.spec.configuration.label), run.spec.seed, epoch,
         *(metric.read(row) for metric in (*METRICS.values(), *OPTIONAL.values())), row.seconds,
         *(metric.read(row) for metric in logged))
        for run in results
        for epoch, row in enumerate(state.history(run.run_id).rows, start=1)
    )  # fmt: skip
    return run_row.as_csv((*CURVE_COLUMNS, *(metric.name for metric in logged)), rows)


def classes_csv(results: Sequence[p.RunResult], state: State) -> str:
    """Return a line a class of each run; a class has only its number if the data set is not known here."""
    rows = (
        (run.run_id, run_row.harmless(run.spec.configuration.label), run.spec.seed, run_row.harmless(run.data_name),
         run_row.harmless(label), images, recall)
        for run in results
        for recall, (label, images) in zip(run.test_recall, _classes(run, state), strict=True)
    )  # fmt: skip
    return run_row.as_csv(CLASS_COLUMNS, rows)


def _classes(run: p.RunResult, state: State) -> Sequence[tuple[str, int | None]]:
    """Return the name of each class and the number of its test images."""
    data = state.known.get(run.spec.data)
    if data is None or len(data.labels) != len(run.test_recall):
        return [(str(index), None) for index in range(len(run.test_recall))]
    return list(zip(data.labels, data.test_counts, strict=True))


def latex(results: Sequence[p.RunResult], state: State) -> str:
    """Return a table for LaTeX."""
    return paper_table.latex(results, state.data)


def markdown(results: Sequence[p.RunResult], state: State) -> str:
    """Return a table for Markdown."""
    return paper_table.markdown(results, state.data)


def write_parquet(results: Sequence[p.RunResult], state: State, file: Path) -> None:
    """Write the runs as Parquet, through pandas.

    Raises:
        NoTable: pandas, or its Parquet writer, is not installed.
        OSError: the file cannot be written.
    """
    try:
        pandas: Any = __import__("pandas")
        columns, rows = run_row.table_of(results, state.notes)
        pandas.DataFrame(rows, columns=list(columns)).to_parquet(file)
    except ImportError as error:
        missing = error.name or "pyarrow"
        raise NoTable(f"Parquet is written by pandas, and {missing} is not installed: `pip install pandas pyarrow`, "
                      "or --csv.") from None  # fmt: skip
