"""The example course from an empty folder to a hand-in folder, and what the check of a course says."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from svhn_tui import preset_file
from tests.cli.test_program import as_json, svhn_tui
from tests.support.patience import PATIENCE
from tests.support.terminal import PROGRAM


def course(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [*PROGRAM, "course", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_several_mistakes_are_told_at_once():
    question = {"id": "A", "kind": "answer", "title": "t", "text": "t"}
    wrong = {
        "format": 1, "title": "t", "networks": {"a": {"hidden": "x"}, "b": {"hiden": [1]}},
        "questions": [question, {**question, "id": 3}],
    }  # fmt: skip
    told = preset_file.mistakes(json.dumps(wrong).encode(), "f.json")
    assert [name for name in ("['a']", "['b']", "questions[1]") if any(name in some for some in told)] == [
        "['a']", "['b']", "questions[1]",
    ]  # fmt: skip
    wrong = {**wrong, "networks": {}, "questions": [{**question, "networks": ["no"], "points": -1}, question]}
    told = preset_file.mistakes(json.dumps(wrong).encode(), "f.json")
    assert sum("stands twice" in some for some in told) == 2
    assert any("no network 'no'" in some for some in told)
    assert any("points" in some for some in told)


@pytest.mark.slow
def test_from_an_empty_folder_to_verified_files(tmp_path: Path):
    workspace = tmp_path / "w"
    trusting = f"svhn-tui trust {workspace / 'models.py'}"
    assert trusting in course("new", str(workspace))
    assert "nothing is overwritten" in course("new", str(workspace), code=1)
    subprocess.run([*PROGRAM, *trusting.split()[1:], "--yes"], check=True, capture_output=True, timeout=PATIENCE)
    book = workspace / "experiments.json"
    book.write_text(book.read_text().replace('"epochs": 10', '"epochs": 2'))
    checked: dict[str, Any] = json.loads(course("check", str(book), "--json"))
    assert checked["mistakes"] == []
    assert (checked["plan"]["fewest_runs"], checked["plan"]["gpu"]) == (9, None)
    assert {file["file"]: file["parameters"] for file in checked["plan"]["files"]} == {
        "C2.keras": 5_958, "C3.keras": 27_430,
    }  # fmt: skip
    svhn_tui("run", "all", workspace=workspace)
    answers = as_json("answers", workspace=workspace)
    assert {part["n"] for part in answers["C4"]["parts"]} == {3}
    exported = as_json("export", str(tmp_path / "out"), workspace=workspace)
    said = {thing["name"]: thing["said"] for thing in exported}
    for name in ("C2.keras", "C3.keras"):
        assert "verified, " in said[name] and "NOT" not in said[name], said
    assert "shape=(1, 28, 28)" in (tmp_path / "out" / "C1.py").read_text()
    svhn_tui("stop", workspace=workspace)
