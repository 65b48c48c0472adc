"""`svhn-tui runs` as tables for other programs."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from engine import protocol as p
from svhn_tui.analysis import run_row
from svhn_tui.cli import run_tables
from svhn_tui.client.state import Results, State
from svhn_tui.keras import Recorder
from tests.support.recorded_fit import begun, logs_of, trained
from tests.support.scenes import DATA, relu, result, specs_of, tanh


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recorded runs of one configuration, and one of another."""
    root = tmp_path_factory.mktemp("tables") / "w"
    for name, seed in (("=cnn", 0), ("=cnn", 1), ("mlp", 0)):
        recorder = begun(Recorder(name, workspace=root, seed=seed, notes="a note", tags=["t1", "t2"]))
        for epoch in range(3):
            trained(recorder, epoch)
        recorder.on_train_end()
        assert recorder.wait()
    return root


def printed(workspace: Path, *options: str) -> str:
    command = [sys.executable, "-m", "svhn_tui", "runs", "-w", str(workspace), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_csv_has_every_setting_of_each_run(workspace: Path):
    rows = list(csv.DictReader(io.StringIO(printed(workspace, "--csv"))))
    assert set(rows[0]) == {*run_row.COLUMNS, "auc", "f1"}
    assert [(row["configuration"], row["seed"]) for row in rows] == [
        ("'=cnn (recorded)", "0"), ("'=cnn (recorded)", "1"), ("mlp (recorded)", "0"),
    ]  # fmt: skip
    assert (rows[0]["learning_rate"], rows[0]["batch_size"], rows[0]["hidden"]) == ("0.001", "", "")
    assert (rows[0]["test_correct"], rows[0]["test_accuracy"]) == ("", str(0.25 + 2 / 64))
    listed = json.loads(printed(workspace, "--json"))[0]
    assert (listed["recorded"]["layers"], listed["optimizer"], listed["activation"]) == ("Dense 10", "optimizer", None)


def test_curves_have_a_line_an_epoch(workspace: Path):
    rows = list(csv.DictReader(io.StringIO(printed(workspace, "--curves", "--filter", "mlp"))))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["loss"]) for row in rows] == [logs_of(epoch)["loss"] for epoch in range(3)]


def test_a_filter_chooses_and_a_paper_has_a_line_a_configuration(workspace: Path):
    lines = printed(workspace, "--markdown").splitlines()
    assert [line.split(" | ")[2] for line in lines[2:4]] == ["2", "1"]
    assert len(printed(workspace, "--filter", "seed=1 is:recorded").splitlines()) == 2
    assert "2 \\\\" not in printed(workspace, "--latex", "--filter", "mlp")


def test_notes_tags_date_and_what_else_was_set_are_in_every_row():
    (spec,) = specs_of(relu(64), 1)
    note = p.Note(spec.run_id, "a note", ("one", "two"))
    row = dict(zip(run_row.COLUMNS, run_row.cells_of(result(spec, 0.5), note), strict=True))
    assert (row["note"], row["tags"], row["finished"]) == ("a note", "one two", "1970-01-01T00:00:42Z")
    assert (row["optimizer"], row["kernel_initializer"], row["dropout"]) == ("adam", "random_normal", 0.0)


def test_parquet_goes_through_pandas_or_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    specs = (*specs_of(relu(64), 1), *specs_of(tanh(64), 1))
    results = tuple(result(spec, 0.5) for spec in specs)
    state = State(data=DATA, results=Results({run.run_id: run for run in results}))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(run_tables.NoTable, match=r"pip install pandas pyarrow"):
        run_tables.write_parquet(results, state, tmp_path / "runs.parquet")

    written = []

    class DataFrame:
        def __init__(self, rows: list[tuple[object, ...]], columns: list[str]) -> None:
            self.rows, self.columns = rows, columns

        def to_parquet(self, file: Path) -> None:
            written.append((file, self.columns, self.rows))

    pandas = ModuleType("pandas")
    pandas.DataFrame = DataFrame
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    run_tables.write_parquet(results, state, tmp_path / "runs.parquet")
    ((file, columns, rows),) = written
    assert (file, columns, len(rows)) == (tmp_path / "runs.parquet", list(run_row.COLUMNS), 2)
