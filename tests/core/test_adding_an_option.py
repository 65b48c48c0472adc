"""An optimizer's field is added in two files; form, limits, columns, filter, export, code and verify follow."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ADDED = {
    "engine/core/spec.py": (
        "    centered: bool = False\n",
        "    initial_accumulator_value: float = 0.1\n",
    ),
    "engine/core/options.py": (
        '    Option("weight_decay"',
        '    Option("initial_accumulator_value", "0.1 0.5", SHARE, "optimizer", Owners("optimizer", ("adagrad",))),\n',
    ),
}
"""By file: what stands next to the new line, and the line."""
CHECKS = """
import json
from engine.machine import backends
backends.prepare_jax()
from engine.core.data_shape import ASSIGNMENT
from engine.core.spec import Configuration, Training
from engine.tools.model_checks import model_checks
from engine.training import models
from svhn_tui import preset_file, presets
from svhn_tui.analysis import run_filter, run_row, run_table
from svhn_tui.assignment.keras_code import code_for
from svhn_tui.assignment.sweep_draft import Draft, with_draft
from svhn_tui.dialogs.sweep_form import HINTS
from tests.support.scenes import result, specs_of

NAME = "initial_accumulator_value"
assert "initial accumulator value 0.1 0.5" == " ".join(HINTS[NAME].split())
text = preset_file.find(__import__("pathlib").Path("nowhere")).read_bytes()
whole, question = with_draft(Draft(hidden="8", optimizer="adagrad", **{NAME: "0.1 0.5"}), text, "experiments.json")
one, two = preset_file.parse(whole, "experiments.json").configurations(question)
assert two.label == "relu 8 · optimizer adagrad · initial accumulator value 0.5", two.label

owned = "it belongs to the optimizer adagrad; here that is adam."
for changed, message in (({NAME: 0.5}, owned), ({NAME: 2}, "from 0 to 1.")):
    raw = json.loads(text)
    raw["questions"][1]["training"] = changed
    try:
        preset_file.parse(json.dumps(raw).encode(), "experiments.json")
        raise AssertionError(changed)
    except presets.PresetError as error:
        assert f"experiments.json, line 1, questions[1] (Q2).training.{NAME}: " in str(error), error
        assert message in str(error), error

runs = [result(spec, 0.5) for some in (one, two) for spec in specs_of(some, 1)]
assert [run_filter.parse(f"{NAME}>0.2")(run, None) for run in runs] == [False, True]
assert [run_table.COLUMNS[NAME].text(run) for run in runs] == ["0.1", "0.5"]
assert [run_row.cells_of(run, None)[run_row.COLUMNS.index(NAME)] for run in runs] == [0.1, 0.5]

names = {}
exec(code_for(two, ASSIGNMENT).replace("from tensorflow import", "import", 1), names)
assert names["model"].optimizer.initial_accumulator_value == 0.5
assert all(check.ok for check in model_checks(names["model"], two, ASSIGNMENT))
wrong = [check for check in model_checks(names["model"], one, ASSIGNMENT) if not check.ok]
assert [check.text for check in wrong] == ["initial_accumulator_value 0.5 instead of 0.1"], wrong
"""


def test_adding_an_optimizers_field_touches_two_files(tmp_path: Path):
    for folder in ("engine", "svhn_tui", "tests/support"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "experiments.json", tmp_path)
    (tmp_path / "tests/__init__.py").touch()
    assert len(ADDED) <= 3
    for name, (beside, line) in ADDED.items():
        text = (tmp_path / name).read_text()
        assert text.count(beside) == 1
        (tmp_path / name).write_text(text.replace(beside, line + beside))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", CHECKS], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert not done.returncode, done.stderr
