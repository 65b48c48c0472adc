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
import numpy as np
import pytest

from engine import protocol as p
from engine.core.data_shape import ASSIGNMENT
from engine.core.sweep import missing
from engine.protocol import RunResult
from svhn_tui import preset_file
from svhn_tui.assignment.keras_code import code_for
from svhn_tui.export.export import export
from tests.assignment.test_answers import BOOK, finished, runs, state_of
from tests.support.patience import PATIENCE


def placed(workspace: Path, result: RunResult, text: str = "") -> RunResult:
    """Put a file into the run's folder, so that it can be copied."""
    content = (text or result.run_id).encode()
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


def test_every_answer_of_the_whole_assignment_follows_from_runs_csv_alone(tmp_path: Path):
    """What a grader would do with NumPy and the exported table; Q10 in two stages, with a tie among the eight."""
    first = {spec.run_id: spec for name in ("Q2", "Q5", "Q7", "Q9", "Q10") for spec in runs(name)}
    skill = {spec.configuration: 0.3 + index / 50 for index, spec in enumerate(runs("Q10")[::3])}
    networks = list(skill)
    skill[networks[6]] = skill[networks[7]]
    results = [finished(spec, skill.get(spec.configuration, 0.4) + spec.seed / 999) for spec in first.values()]
    sweep = BOOK.sweep(BOOK.question("Q10"), "data")
    more = missing(sweep, {run.run_id: run.test_accuracy for run in results})
    assert {spec.configuration for spec in more} == {networks[6], networks[7]}
    results += [finished(spec, skill[spec.configuration] + spec.seed / 999) for spec in more]
    placed_runs = [placed(tmp_path / "w", result) for result in results]
    statement = p.Statement("Deeper *always* wins.", "false", ("Depth",))
    state = state_of(*placed_runs, workspace=str(tmp_path / "w"), statements={"Q11": (statement,)})
    export(tmp_path / "out", BOOK, state)
    answers = json.loads((tmp_path / "out" / "answers.json").read_text())
    table = list(csv.DictReader((tmp_path / "out" / "runs.csv").open()))

    def accuracies(hidden: str, activation: str) -> np.ndarray:
        chosen = [run for run in table if (run["hidden"], run["activation"]) == (hidden, activation)]
        return np.array([float(run["test_accuracy"]) for run in sorted(chosen, key=lambda run: int(run["seed"]))])

    def parameters(hidden: str) -> str:
        return next(run["trainable_parameters"] for run in table if run["hidden"] == hidden)

    assert answers["Q3"]["answer"] == f"30730, {accuracies('', 'linear')[0]:.4f}"
    assert answers["Q6"]["answer"] == f"{parameters('256')}, {accuracies('256', 'tanh')[0]:.4f}"
    assert answers["Q7"]["answer"] == ", ".join(f"{accuracies('256', name).mean():.4f}" for name in ("tanh", "relu"))
    assert answers["Q9"]["answer"] == ", ".join(
        f"{accuracies(size, 'relu').mean():.4f}" for size in ["64", "256", "1024"]
    )
    deep = ["64 64", "64 256", "256 64", "256 256", "1024 256", "256 1024", "64 64 64", "256 256 256"]
    counts = np.array([len(accuracies(hidden, "relu")) for hidden in deep])
    means = np.where(counts == counts.max(), [accuracies(hidden, "relu").mean() for hidden in deep], 0)
    best = int(np.argmax(means))
    assert (best, list(counts)) == (6, [3, 3, 3, 3, 3, 3, 10, 10])
    assert answers["Q10"]["answer"] == f"{best}, {means[best]:.4f}, {parameters(deep[best])}"
    assert answers["Q11"]["statements"] == [{"text": statement.text, "verdict": "false", "facts": ["Depth"]}]
    for page in ("answers.md", "report.html"):
        assert "Deeper *always* wins." in (tmp_path / "out" / page).read_text()


HOSTILE = ("=HYPERLINK(1)", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1")


def test_no_cell_of_the_table_is_calculated_and_numbers_stay_numbers(tmp_path: Path):
    """With every setting, the date, the note and the tags of each run."""
    results = [finished(spec, 0.4) for spec in runs("Q7")[: len(HOSTILE)]]
    results[0] = msgspec.structs.replace(results[0], test_loss=-1.5)
    notes = {run.run_id: p.Note(run.run_id, text, (text, "b")) for run, text in zip(results, HOSTILE, strict=True)}
    export(tmp_path, BOOK, state_of(*results, workspace=str(tmp_path / "w"), notes=notes))
    with (tmp_path / "runs.csv").open(newline="") as file:
        table = {row["run_id"]: row for row in csv.DictReader(file)}
    for run, text in zip(results, HOSTILE, strict=True):
        row = table[run.run_id]
        shown = text.replace("\r", "�")
        assert (row["note"], row["tags"]) == (f"'{shown}", f"'{shown} b")
        assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in row.values())
        assert (row["optimizer"], row["kernel_initializer"], row["dropout"]) == ("adam", "random_normal", "0.0")
        assert row["finished"].endswith("Z")
    assert float(table[results[0].run_id]["test_loss"]) == -1.5


def test_outside_text_is_neither_html_nor_a_link_in_markdown_and_html(tmp_path: Path):
    text = "<script>x()</script> [a](javascript:b) ![c](http://d) `e` | f \x1b[31m\nnext"
    statement = p.Statement(text, "true", (text,))
    state = state_of(finished(runs("Q2")[0], 0.4), workspace=str(tmp_path / "w"), statements={"Q11": (statement,)})
    hostile = msgspec.structs.replace(BOOK, title=text)
    export(tmp_path, hostile, state)
    markdown, page = ((tmp_path / name).read_text() for name in ("answers.md", "report.html"))
    for written in (markdown, page):
        assert "<script>" not in written
        assert "\x1b" not in written
    assert "](" not in markdown.replace("\\](", "")
    assert "\nnext" not in markdown


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_file_that_cannot_be_handed_in_is_said_and_not_copied(tmp_path: Path, damage: str):
    result = placed(tmp_path / "w", finished(runs("Q2")[0], 0.3))
    file = tmp_path / "w" / "runs" / result.run_id / "model.keras"
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"other")
    done = export(tmp_path / "out", BOOK, state_of(result, workspace=str(tmp_path / "w")))
    item = next(thing for thing in done if thing.name == "Q2.keras")
    assert not item.ok
    assert {"changed": "changed since", "gone": "is gone"}[damage] in item.text
    assert not (tmp_path / "out" / "Q2.keras").exists()


@pytest.mark.slow
def test_a_file_above_the_limit_goes_without_its_optimizer_and_loads_in_tensorflow(demo_folder: Path, tmp_path: Path):
    from tests.cli.test_program import as_json, svhn_tui

    workspace, limited = tmp_path / "w", json.loads(preset_file.find(Path("nowhere")).read_text())
    svhn_tui("run", "Q2", "--data", str(demo_folder), "--epochs", "2", workspace=workspace)
    limited["questions"][1]["upload"]["limit_mib"] = 0.2
    (workspace / "experiments.json").write_text(json.dumps(limited))
    done = svhn_tui("export", str(tmp_path / "out"), workspace=workspace, code=1)  # Q5 has no run
    assert "without the optimizer's state" in " ".join(done.stdout.split())
    assert "verified" in done.stdout
    (run,) = as_json("runs", workspace=workspace)
    assert (tmp_path / "out" / "Q2.keras").stat().st_size < 0.2 * 2**20 < run["model_bytes"]


@pytest.mark.slow
def test_the_code_defines_the_network_that_is_trained(tmp_path: Path):
    """Run under plain TensorFlow Keras, the code makes what the checks of the file's question ask for."""
    codes = []
    for question in ("Q1", "Q4"):
        configuration = BOOK.configurations(BOOK.question(question))[0]
        codes.append(
            code_for(configuration, ASSIGNMENT) + f"model.save({str(tmp_path / f'{question} coded.keras')!r})\n"
        )
        codes.append(
            "from engine.core.data_shape import *\nfrom engine.core.spec import *\n"
            "from engine.training import models\nimport msgspec\n"
            f"configuration = msgspec.json.decode({msgspec.json.encode(configuration)!r}, type=Configuration)\n"
            "model = models.build(configuration.network, ASSIGNMENT, softmax=True, seed=0)\n"
            "models.compile_as_asked(model, configuration.training)\n"
            f"model.save({str(tmp_path / f'{question} trained.keras')!r})\n"
        )
    one_by_one = f"for code in {codes!r}: exec(code, {{}})"
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", one_by_one], check=True, env=environment, timeout=PATIENCE)
    for question in ("Q1", "Q4"):
        coded, ours = (described(tmp_path / f"{question} {name}.keras") for name in ("coded", "trained"))
        assert coded == ours, question


def settings(config: dict) -> dict:
    """A layer's settings; its name and the seed of an initializer are not part of the network."""
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


def test_what_the_user_wrote_is_not_replaced_unless_asked(tmp_path: Path):
    state = state_of(placed(tmp_path / "w", finished(runs("Q2")[0], 0.3)), workspace=str(tmp_path / "w"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "answers.md").write_text("my own words")
    with pytest.raises(FileExistsError, match="--force replaces it"):
        export(out, BOOK, state)
    assert [path.name for path in out.iterdir()] == ["answers.md"], "nothing was written"
    export(out, BOOK, state, force=True)
    export(out, BOOK, state)  # its own, as it left it
    for name in ("answers.md", "answers.json", "Q2.keras", "runs.csv"):
        before = (out / name).read_bytes()
        (out / name).write_bytes(before + b" ")
        with pytest.raises(FileExistsError) as refused:
            export(out, BOOK, state)
        assert refused.value.filename == str(out / name)
        (out / name).write_bytes(before)


def test_an_export_leads_through_no_link_of_the_workspace(tmp_path: Path):
    state = state_of(placed(tmp_path / "w", finished(runs("Q2")[0], 0.3)), workspace=str(tmp_path / "w"))
    (tmp_path / "victim").mkdir()
    (tmp_path / "w" / "exports").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="links are not followed"):
        export(tmp_path / "w" / "exports" / "now", BOOK, state)
    assert not list((tmp_path / "victim").iterdir())
    (tmp_path / "desk").symlink_to(tmp_path / "victim")
    export(tmp_path / "desk", BOOK, state)  # a folder that the user named is theirs to link
    assert (tmp_path / "victim" / "Q2.keras").exists()
