"""What is exported is what was trained, and every answer follows from the exported runs alone."""

import csv
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest

from engine.protocol import RunResult
from svhn_tui import presets
from svhn_tui.export import export
from svhn_tui.snippet import code_for
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
    names = {"Q1.py", "Q2.keras", "Q4.py", "Q5.keras", "answers.json", "answers.md", "report.html", "runs.csv"}
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


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_file_that_cannot_be_handed_in_is_said_and_not_copied(tmp_path: Path, damage: str):
    result = placed(tmp_path / "w", finished(runs("Q2")[0], 0.3))
    file = tmp_path / "w" / "runs" / result.run_id / "model.keras"
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"other")
    done = export(tmp_path / "out", BOOK, state_of(result, workspace=str(tmp_path / "w")))
    said = next(thing for thing in done if thing.name == "Q2.keras")
    assert not said.ok
    assert {"changed": "changed since", "gone": "is gone"}[damage] in said.said
    assert not (tmp_path / "out" / "Q2.keras").exists()


@pytest.mark.slow
def test_a_file_above_the_limit_goes_without_its_optimizer_and_loads_in_tensorflow(demo_folder: Path, tmp_path: Path):
    from tests.test_program import as_json, svhn_tui

    workspace, limited = tmp_path / "w", json.loads(presets.find(Path("nowhere")).read_text())
    svhn_tui("run", "Q2", "--data", str(demo_folder), "--epochs", "2", workspace=workspace)
    limited["questions"][1]["upload"]["limit_mib"] = 0.2
    (workspace / "experiments.json").write_text(json.dumps(limited))
    done = svhn_tui("export", str(tmp_path / "out"), workspace=workspace, code=1)  # Q5 has no run
    assert "without the optimizer's state" in " ".join(done.stdout.split())
    assert "verified" in done.stdout
    (run,) = as_json("runs", workspace=workspace)
    assert (tmp_path / "out" / "Q2.keras").stat().st_size < 0.2 * 2**20 < run["model_bytes"]


@pytest.mark.slow
@pytest.mark.parametrize("question", ["Q1", "Q4"])
def test_the_code_defines_the_network_that_is_trained(tmp_path: Path, question: str):
    """Run under plain TensorFlow Keras, the code makes what the checks of the file's question ask for."""
    configuration = BOOK.configurations(BOOK.question(question))[0]
    code = code_for(configuration, (3, 32, 32)) + f"model.save({str(tmp_path / 'coded.keras')!r})\n"
    trained = (
        "from engine.spec import *\nfrom engine import models\nimport msgspec\n"
        f"configuration = msgspec.json.decode({msgspec.json.encode(configuration)!r}, type=Configuration)\n"
        "model = models.build(configuration.network, (3, 32, 32), softmax=True, seed=0)\n"
        "models.compile_as_asked(model, configuration.training)\n"
        f"model.save({str(tmp_path / 'trained.keras')!r})\n"
    )
    for text in (code, trained):
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([sys.executable, "-c", text], check=True, env=environment, timeout=120)
    coded, ours = (described(tmp_path / f"{name}.keras") for name in ("coded", "trained"))
    assert coded == ours


def settings(config: dict) -> dict:
    """A layer's settings; its name and the seed of an initializer are no part of the network."""
    kept = {key: value for key, value in config.items() if key not in ("name", "dtype")}
    for key, value in kept.items():
        if key.endswith("_initializer"):
            kept[key] = (value["class_name"], {name: of for name, of in value["config"].items() if name != "seed"})
    return kept


def described(path: Path) -> dict:
    """What a file says of layers, initializers, loss, metrics and optimizer, without the names of layers."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    layers = [(layer["class_name"], settings(layer["config"])) for layer in config["config"]["layers"]]
    compiled = config["compile_config"]
    optimizer = compiled["optimizer"]["config"]
    return {
        "layers": layers,
        "loss": compiled["loss"],
        "metrics": compiled["metrics"],
        "optimizer": (compiled["optimizer"]["class_name"], optimizer["learning_rate"]),
    }
