"""Model files in `experiments.json`: read and hashed, never run; trusted by the user's word alone."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from engine.core.data_shape import ASSIGNMENT
from engine.core.spec import Configuration, Network, RunSpec
from engine.storage import approvals
from svhn_tui import preset_file, presets
from svhn_tui.assignment import sweep_draft
from svhn_tui.assignment.keras_code import code_of
from svhn_tui.assignment.sweep_draft import Draft
from tests.support.own_models import SOURCE


def written(folder: Path, network: dict[str, Any], grid: dict[str, Any] | None = None) -> Path:
    question = {"id": "A1", "kind": "training", "title": "t", "text": "t", "networks": ["mine"], "seeds": [0],
                "grid": grid or {}}  # fmt: skip
    path = folder / "experiments.json"
    book = {"format": 1, "title": "own", "networks": {"mine": network}, "questions": [question]}
    path.write_text(json.dumps(book))
    return path


def configurations(folder: Path, network: dict[str, Any], grid: dict[str, Any] | None = None) -> list[Configuration]:
    book = preset_file.load(written(folder, network, grid))
    return list(book.configurations(book.questions[0]))


MINE = {"file": "models.py", "build": "residual", "params": {"width": 8}}


def test_a_run_is_known_by_the_files_content_and_the_parameters(tmp_path: Path):
    file = tmp_path / "models.py"
    file.write_text(SOURCE)
    (one,) = configurations(tmp_path, MINE)
    file.rename(tmp_path / "other.py")
    (renamed,) = configurations(tmp_path, {**MINE, "file": "other.py"})
    assert renamed == one
    assert one.label.startswith("residual width 8 #")
    (wider,) = configurations(tmp_path, {**MINE, "file": "other.py", "params": {"width": 16}})
    file.write_text(SOURCE + "\n")
    (edited,) = configurations(tmp_path, MINE)
    ids = {RunSpec(some, 0, "data").run_id for some in (one, wider, edited)}
    assert len(ids) == 3
    assert RunSpec(Configuration(Network((64,), "relu")), 0, "data").run_id == "c91f3759de9e", "as ever"


def test_a_grid_varies_parameters(tmp_path: Path):
    (tmp_path / "models.py").write_text(SOURCE)
    grid = {"params.width": [8, 16], "params.depth": [1, 2], "learning_rate": [1e-3, 1e-4]}
    actual = configurations(tmp_path, MINE, grid)
    assert len({some.label for some in actual}) == len(actual) == 8
    assert actual[0].network.model.params == (("depth", 1), ("width", 8))


def test_equal_parameters_of_different_types_are_two_configurations_and_the_same_one_twice_is_refused(tmp_path: Path):
    (tmp_path / "models.py").write_text(SOURCE)
    assert len(configurations(tmp_path, MINE, {"params.width": [1, True]})) == 2
    with pytest.raises(presets.PresetError, match=r"it asks for 'residual width 8 #.*' twice"):
        configurations(tmp_path, MINE, {"params.width": [8, 8]})


@pytest.mark.parametrize("grid", [False, True])
def test_a_number_that_no_file_of_a_run_can_hold_is_refused(tmp_path: Path, grid: bool):
    """JSON has no infinity: the model would be built with another value than the one in the run's name."""
    (tmp_path / "models.py").write_text(SOURCE)
    network = {**MINE, "params": {"width": 8 if grid else [1.5, math.inf]}}
    path = written(tmp_path, network, {"params.width": [8, math.inf]} if grid else {})
    path.write_text(path.read_text().replace("Infinity", "1e999"))
    where = r"questions\[0\] \(A1\)\.grid" if grid else r"networks\['mine'\]"
    with pytest.raises(presets.PresetError, match=rf"{where}\.params: numbers are finite"):
        preset_file.load(path)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({**MINE, "file": "../models.py"}, "file: a .py file in the folder"),
        ({**MINE, "file": "gone.py"}, "cannot be read"),
        ({**MINE, "hidden": [3]}, "hidden: a network with a model file"),
        ({**MINE, "build": "os.system"}, "build: the name of a function"),
        ({**MINE, "params": {"width": {"a": 1}}}, "params: numbers, text"),
        ({"model": {"sha256": "0" * 64, "build": "f"}}, "name a model file in `file`"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, network: dict[str, Any], message: str):
    (tmp_path / "models.py").write_text(SOURCE)
    with pytest.raises(presets.PresetError, match=r"networks\['mine'\]") as error:
        configurations(tmp_path, network)
    assert message in str(error.value)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "models.py")
    with pytest.raises(presets.PresetError, match="is not a file"):
        configurations(tmp_path, MINE)


def test_a_file_runs_by_the_users_word_and_is_asked_about_again_when_it_was_changed(tmp_path: Path):
    (tmp_path / "models.py").write_text(SOURCE)
    book = preset_file.load(written(tmp_path, MINE))
    sweep = book.sweep(book.questions[0], "data")
    assert sweep is not None
    ((sha256, file),) = book.unapproved(sweep.configurations).items()
    assert book.submit(sweep).sources == ()
    approvals.approve(file.text)
    assert (book.unapproved(sweep.configurations), book.submit(sweep).sources) == ({}, (SOURCE,))
    assert book.changed_files() == ()
    (tmp_path / "models.py").write_text(SOURCE + "\n")
    assert book.changed_files() == ("models.py",)
    assert unapproved(preset_file.load(tmp_path / "experiments.json")) == 1
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "models.py").write_text(SOURCE)
    assert unapproved(preset_file.load(written(elsewhere, MINE))) == 0
    assert approvals.refusal(sha256) == ""
    assert "svhn-tui trust 0000" in approvals.refusal("0" * 64)


def unapproved(book: presets.Presets) -> int:
    return len(book.unapproved(book.configurations(book.questions[0])))


def test_the_sweep_form_varies_the_parameters_of_a_model(tmp_path: Path):
    (tmp_path / "models.py").write_text(SOURCE)
    written(tmp_path, MINE)
    question = sweep_draft.save(Draft(model="mine width=8,16 depth=1..2", learning_rate="1e-3 1e-4"), tmp_path)
    actual = preset_file.load(tmp_path / "experiments.json").configurations(question)
    assert sorted({some.network.model.params for some in actual}) == [
        (("depth", depth), ("width", width)) for depth in (1, 2) for width in (8, 16)
    ]
    for wrong, message in (("nobody", "not a network with a model file"), ("mine width", "name=value")):
        with pytest.raises(sweep_draft.DraftError, match=message):
            sweep_draft.save(Draft(model=wrong), tmp_path)


def test_code_is_the_file_and_the_call(tmp_path: Path):
    (tmp_path / "models.py").write_text(SOURCE)
    book = preset_file.load(written(tmp_path, MINE))
    code = code_of(book.questions[0], book, ASSIGNMENT)
    assert code.startswith(SOURCE.rstrip())
    assert "model = residual((3, 32, 32), 10, width=8)\nmodel.compile(" in code
