"""What is exported is what was trained, and every answer follows from the exported runs alone."""

import csv
import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from engine.protocol import RunResult
from svhn_tui.export import export
from tests.test_answers import BOOK, finished, runs, state_of


def placed(workspace: Path, result: RunResult) -> RunResult:
    """Put a file into the run's folder, so that it can be copied."""
    content = result.run_id.encode()
    folder = workspace / "runs" / result.run_id
    folder.mkdir(parents=True)
    (folder / "model.keras").write_bytes(content)
    return msgspec.structs.replace(result, model_sha256=hashlib.sha256(content).hexdigest(), model_bytes=len(content))


def test_everything_handed_in_is_there_and_the_answers_follow_from_the_runs(tmp_path: Path):
    specs = (*runs("Q2"), *runs("Q7"))
    results = [placed(tmp_path / "w", finished(spec, 0.4 + index / 100)) for index, spec in enumerate(specs)]
    out = tmp_path / "out"
    done = export(out, BOOK, state_of(*results, workspace=str(tmp_path / "w")))
    assert all(thing.ok for thing in done)
    names = {"Q1.py", "Q2.keras", "Q4.py", "Q5.keras", "answers.json", "answers.md", "runs.csv"}
    assert {path.name for path in out.iterdir()} == names
    assert (out / "Q5.keras").read_bytes() == runs("Q5")[0].run_id.encode()

    table = list(csv.DictReader((out / "runs.csv").open()))
    answers = json.loads((out / "answers.json").read_text())

    def mean(activation: str) -> float:
        values = [float(run["test_accuracy"]) for run in table if run["activation"] == activation]
        return sum(values) / len(values)

    linear = next(run for run in table if run["hidden"] == "")
    assert answers["Q3"]["answer"] == f"{linear['trainable_parameters']}, {float(linear['test_accuracy']):.4f}"
    assert answers["Q7"]["answer"] == f"{mean('tanh'):.4f}, {mean('relu'):.4f}"


@pytest.mark.parametrize("damage", ["changed", "gone", "large"])
def test_a_file_that_cannot_be_handed_in_is_said_and_not_copied(tmp_path: Path, damage: str):
    result = placed(tmp_path / "w", finished(runs("Q2")[0], 0.3))
    file = tmp_path / "w" / "runs" / result.run_id / "model.keras"
    if damage == "large":
        result = msgspec.structs.replace(result, model_bytes=5 * 2**20)
    elif damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"other")
    done = export(tmp_path / "out", BOOK, state_of(result, workspace=str(tmp_path / "w")))
    said = next(thing for thing in done if thing.name == "Q2.keras")
    assert not said.ok
    assert {"changed": "changed since", "gone": "is gone", "large": "above the limit of 4.8 MiB"}[damage] in said.said
    assert not (tmp_path / "out" / "Q2.keras").exists()
