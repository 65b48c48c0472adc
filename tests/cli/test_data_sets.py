"""Several data sets in one workspace: each question is trained, answered, exported and verified on its own."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_program import as_json, svhn_tui
from tests.support.data_files import write_mnist, write_svhn
from tests.support.patience import PATIENCE
from tests.support.terminal import PROGRAM

BOOK = {
    "format": 1,
    "title": "Two data sets",
    "training": {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3},
    "data": {"svhn": {"folder": "svhn"}, "digits": {"file": "mnist.npz"}},
    "networks": {"linear": {}, "small": {"hidden": [8], "activation": "relu"}},
    "questions": [
        {"id": "A1", "kind": "training", "title": "of svhn", "text": "Fit it.", "networks": ["linear"], "seeds": [0],
         "upload": {"file": "A1.keras"}},
        {"id": "A2", "kind": "answer", "title": "its accuracy", "text": "How good?",
         "answer": {"format": "file", "of": "A1"}},
        {"id": "B1", "kind": "training", "title": "of digits", "text": "Fit it.", "networks": ["linear"], "seeds": [0],
         "upload": {"file": "B1.keras"}, "data": "digits"},
        {"id": "B2", "kind": "answer", "title": "its accuracy", "text": "How good?",
         "answer": {"format": "file", "of": "B1"}},
        {"id": "B3", "kind": "answer", "title": "both", "text": "How good?", "networks": ["linear", "small"],
         "seeds": [0, 1], "data": "digits", "answer": {"format": "means"}},
        {"id": "B4", "kind": "code", "title": "code", "text": "Write it.", "networks": ["linear"], "data": "digits",
         "upload": {"file": "B4.py"}},
    ],
}  # fmt: skip
PARAMETERS = {"svhn": 3 * 32 * 32 * 10 + 10, "digits": 28 * 28 * 10 + 10}


@pytest.mark.slow
def test_each_question_is_trained_answered_exported_and_verified_on_its_own_data(tmp_path: Path):
    workspace = tmp_path / "w"
    workspace.mkdir()
    write_svhn(workspace / "svhn")
    write_mnist(workspace / "mnist.npz")
    (workspace / "experiments.json").write_text(json.dumps(BOOK))
    svhn_tui("run", "all", workspace=workspace)
    runs = as_json("runs", workspace=workspace)
    assert sorted((run["data_name"], run["hidden"], run["seed"]) for run in runs) == [
        ("digits", [], 0), ("digits", [], 1), ("digits", [8], 0), ("digits", [8], 1), ("svhn", [], 0),
    ]  # fmt: skip
    listed = svhn_tui("runs", workspace=workspace).stdout.splitlines()
    assert listed[0].split("\t")[:2] == ["run", "data"] and {line.split("\t")[1] for line in listed[1:]} == {
        "svhn",
        "digits",
    }
    linear = {run["data_name"]: run for run in runs if not run["hidden"] and run["seed"] == 0}
    assert {name: run["trainable_parameters"] for name, run in linear.items()} == PARAMETERS
    answers = as_json("answers", workspace=workspace)
    for question, name in (("A2", "svhn"), ("B2", "digits")):
        assert answers[question]["runs"] == [linear[name]["run_id"]]
        assert answers[question]["answer"].startswith(f"{PARAMETERS[name]}, ")
    assert {part["n"] for part in answers["B3"]["parts"]} == {2}
    done = [*PROGRAM, "export", str(tmp_path / "out"), "--json", "--workspace", str(workspace)]
    output = subprocess.run(done, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    texts = {thing["name"]: thing["said"] for thing in json.loads(output)}
    for file in ("A1.keras", "B1.keras"):
        assert "verified, " in texts[file] and "of 40 right in TensorFlow" in texts[file]
    assert "shape=(1, 28, 28)" in (tmp_path / "out" / "B4.py").read_text()
    svhn_tui("stop", workspace=workspace)
