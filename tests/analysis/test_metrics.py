"""One table of metrics: what is added there is charted, compared, listed, looked for and exported."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from engine import protocol as p
from engine.training.metrics import recall_of
from svhn_tui.analysis.comparison import sides_of_runs
from svhn_tui.analysis.metrics import METRICS, drawn_of, panels
from svhn_tui.analysis.paper_table import markdown
from svhn_tui.analysis.run_filter import FilterError, completions
from svhn_tui.analysis.run_table import COLUMNS, SortOrder, cells_of, columns_of, lines_of
from svhn_tui.charts.curves import mean_band
from svhn_tui.cli import run_tables
from svhn_tui.client.reducer import fold
from svhn_tui.pages.compare_text import sides_table
from svhn_tui.pages.run_text import facts_of
from svhn_tui.themes import DARK
from tests.support.epochs import curve_of, row_of
from tests.support.scenes import BOOK, DATA, attached, relu, result, specs_of

ADDED = """
from svhn_tui.analysis.metrics import METRICS, Metric

METRICS["error"] = Metric("error", "test error", "error", "share", "lower", lambda one: 1 - one.test_accuracy)

from engine import protocol as p
from svhn_tui.analysis import run_filter, run_table
from svhn_tui.analysis.comparison import sides_of_runs
from svhn_tui.charts.curves import mean_band
from svhn_tui.client.reducer import fold
from svhn_tui.export.export import runs_table
from svhn_tui.export.figures import curves
from svhn_tui.pages import compare_text
from svhn_tui.pages.compare import ComparePage
from tests.support.epochs import curve_of
from tests.support.scenes import BOOK, DATA, attached, relu, result, specs_of

curve = curve_of(test_accuracy=(0.25, 0.5))
assert mean_band("x", [curve], "error", "").values == (0.75, 0.5)
assert "test error, mean" in curves([("x", [curve])], "error")
assert ComparePage(BOOK).charts._metrics[-1] == "error"

runs = [result(spec, 0.5 + seed / 4) for seed, spec in enumerate(specs_of(relu(64), 2))]
state = fold((*attached(), *(p.RunFinished(result=run) for run in runs)))
(side,) = sides_of_runs([run.run_id for run in runs], state)
assert side.mean("error") == 0.375
assert "test error" in compare_text.COLUMNS

lines = run_table.lines_of(runs, run_table.SortOrder("error", descending=False))
assert [run_table.cells_of(line, ["error"]) for line in lines] == [("0.2500",), ("0.5000",)]
(group,) = run_table.lines_of(runs, run_table.SortOrder("error"), grouped=True)
assert run_table.cells_of(group, ["error"]) == ("0.3750",)
assert [run_filter.parse("error<0.4")(run, None) for run in runs] == [False, True]
print(runs_table(state))
"""


@pytest.fixture(scope="module")
def table() -> list[dict[str, str]]:
    """What is exported of two runs by a program whose table has one metric more."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", ADDED], capture_output=True, text=True, cwd=root, check=False)
    assert not done.returncode, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def test_a_metric_that_is_added_to_the_table_is_everywhere(table: list[dict[str, str]]):
    assert [row["error"] for row in table if row["error"]] == ["0.5", "0.25"]


def test_a_row_and_a_result_are_read_alike():
    run, row = result(specs_of(relu(64), 1)[0], 0.5), row_of(1.2, 0.55, 1.5, 0.5, 1.0)
    assert (
        {name: metric.text(metric.read(run)) for name, metric in METRICS.items()}
        == {name: metric.text(metric.read(row)) for name, metric in METRICS.items()}
        == {"test_accuracy": "0.5000", "accuracy": "0.5500", "test_loss": "1.500", "loss": "1.200", "gap": "0.0500"}
    )


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_the_best_come_first_and_what_is_no_number_last(metric):
    runs = [result(spec, accuracy) for spec, accuracy in zip(specs_of(relu(64), 3), (0.2, 0.4, 0.3), strict=True)]
    runs = [msgspec.structs.replace(run, loss=3 - run.accuracy, test_loss=3 - run.accuracy) for run in runs]
    ill = msgspec.structs.replace(result(specs_of(relu(32), 1)[0], 0.0), loss=None, test_loss=None, accuracy=None)
    column = metric.key
    (first, *_, last) = lines_of([ill, *runs], SortOrder(column, descending=COLUMNS[column].descends))
    if metric.name != "gap":
        assert first.runs == (runs[1],)
    assert last.runs == (ill,)


def test_what_only_some_runs_measure_is_drawn_compared_and_exported_where_it_is_known():
    accuracy = {"accuracy": (0.2, 0.4), "test_accuracy": (0.1, 0.3)}
    plain, watched = curve_of(**accuracy), curve_of(**accuracy, val_loss=(2.0, 1.0), val_accuracy=(0.1, 0.2))
    assert drawn_of([plain]) == tuple(METRICS)
    assert drawn_of([plain, watched]) == (*METRICS, "val_loss", "val_accuracy")
    charts = panels((*drawn_of([plain, watched]), "test_top_k_accuracy"))
    assert [name for name, _ in charts["test_accuracy"].curves] == ["train", "validation", "test"]
    assert "val_accuracy" not in charts and "test_top_k_accuracy" in charts
    assert [name for name, _ in panels(drawn_of([plain]))["test_accuracy"].curves] == ["train", "test"]

    runs = [msgspec.structs.replace(result(spec, 0.5), val_accuracy=0.45) for spec in specs_of(relu(64), 2)]
    state = fold((*attached(), *(p.RunFinished(result=run) for run in runs)))
    sides = sides_of_runs([run.run_id for run in runs], state)
    table = sides_table(sides, ("relu",), None, DARK, width=250)
    heads = [str(column.header) for column in table.columns]
    assert "validation accuracy" in heads and "validation loss" not in heads
    assert "| validation accuracy |" in markdown(runs, DATA).splitlines()[0]
    assert "val_loss,val_accuracy" in run_tables.curves_csv(runs, state)


def test_what_a_program_logged_is_drawn_listed_looked_for_compared_and_exported():
    logged = [(("auc", 0.5), ("val_auc", 0.25), ("seed", 9.0)), (("auc", 0.75), ("val_auc", 0.5), ("seed", 9.0))]
    curve = curve_of(accuracy=(0.2, 0.4), test_accuracy=(0.1, 0.3), logged=logged)
    assert drawn_of([curve]) == (*METRICS, "auc", "val_auc", "seed")
    assert panels(drawn_of([curve]))["auc"].curves == (("train", "auc"), ("validation", "val_auc"))
    assert mean_band("x", [curve], "val_auc", "", "").values == (0.25, 0.5)

    runs = [result(spec, 0.5) for spec in specs_of(relu(64), 2)]
    runs[0] = msgspec.structs.replace(runs[0], logged=logged[1])
    state = fold((*attached(), *(p.RunFinished(result=run) for run in runs)))
    sides = sides_of_runs([run.run_id for run in runs], state)
    heads = [str(column.header) for column in sides_table(sides, ("relu",), None, DARK, width=250).columns]
    assert heads[-3:] == ["auc", "validation auc", "seed"]
    assert "| validation auc |" in markdown(runs, DATA).splitlines()[0]
    columns = columns_of(("configuration", "val_auc", "gone"), runs)
    assert columns == ("configuration", "val_auc")
    listed = lines_of(runs, SortOrder("val_auc"))
    assert [cells_of(line, ["val_auc", "seed"]) for line in listed] == [("0.5000", "0"), ("–", "1")]
    assert completions("val_a", runs) == ("val_accuracy", "val_auc")
    assert [run_tables.chosen(state, text) for text in ("val_auc>0.4", "seed=9")] == [(runs[0],), ()]
    with pytest.raises(FilterError, match="did you mean auc"):
        run_tables.chosen(state, "aux>0.4")
    row = next(csv.DictReader(io.StringIO(run_tables.csv_of(runs, state))))
    assert (row["val_auc"], row["seed"]) == ("0.5", "0")


def test_recall_is_listed_class_by_class_with_the_names_of_the_data():
    assert recall_of(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]), 3) == (2 / 3, 1.0, None)
    (spec,) = specs_of(relu(64), 1)
    run = msgspec.structs.replace(result(spec, 0.5), test_recall=(None, *(0.25,) * 8, 1.0), data_name="=x")
    state = fold((*attached(), p.RunFinished(result=run)))
    rows = list(csv.DictReader(io.StringIO(run_tables.classes_csv([run], state))))
    assert [row["class"] for row in rows] == list(DATA.labels)
    assert (rows[0]["recall"], rows[9]["recall"], rows[9]["test_images"]) == ("", "1.0", str(DATA.test_counts[9]))
    assert rows[0]["data"] == "'=x"
    page = Console(record=True, width=120, file=io.StringIO())
    page.print(facts_of(run.run_id, BOOK, state, DARK))
    text = page.export_text()
    assert f"{DATA.labels[1]} 0.250, " in text and f"{DATA.labels[9]} 1.000" in text
