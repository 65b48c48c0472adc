"""The example course from an empty folder to a hand-in folder, and what the check of a course says."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from svhn_tui import json_text, preset_file
from svhn_tui.analysis import course_plan
from tests.cli.test_program import as_json, svhn_tui
from tests.support import scenes
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
    mistakes = preset_file.mistakes(json.dumps(wrong).encode(), "f.json")
    assert [name for name in ("['a']", "['b']", "questions[1]") if any(name in some for some in mistakes)] == [
        "['a']", "['b']", "questions[1]",
    ]  # fmt: skip
    wrong = {**wrong, "networks": {}, "questions": [{**question, "networks": ["no"], "points": -1}, question]}
    mistakes = preset_file.mistakes(json.dumps(wrong).encode(), "f.json")
    assert sum("stands twice" in some for some in mistakes) == 2
    assert any("no network 'no'" in some for some in mistakes)
    assert any("points" in some for some in mistakes)


BOOK = """{
  "format": 1,
  "title": "t",
  "data": {"mine": {"file": "gone.npz"}},
  "networks": {
    "a": {"hidden": [3], "hiden": 3},
    "it's b": {"convolutions": [{"filters": 8, "pool": 9}, {"filters": 8, "pool": 9}]}
  },
  "questions": [
    {"id": "A", "kind": "training", "title": "t", "networks": ["a"], "seeds": [0]},
    {
      "id": "B", "kind": "training", "title": "t", "text": "t", "networks": ["it's b"], "seeds": [0],
      "upload": {"file": "B.keras", "limit_mib": "1"}
    },
    {"id": "C", "kind": "answer", "title": "t", "text": "t", "networks": ["a"], "seeds": [0]},
    {"id": "D", "kind": "answer", "title": "t", "text": "t", "networks": ["it's b"], "seeds": [0],
     "answer": {"format": "mean"}}
  ]
}"""
RIGHT = {
    ', "hiden": 3': "",
    '"t", "networks": ["a"]': '"t", "text": "t", "networks": ["a"]',
    '"1"': "1",
    "mean": "means",
}
"""What stands there in the place of each mistake."""


def mended() -> str:
    text = BOOK
    for wrong, right in RIGHT.items():
        assert text.count(wrong) == 1 or wrong.startswith('"t"')
        text = text.replace(wrong, right, 1)
    return text


def test_each_mistake_names_its_file_line_and_field():
    assert preset_file.mistakes(BOOK.encode(), "f.json") == (
        "f.json, line 6, networks['a'].hiden: object contains unknown field `hiden`; did you mean `hidden`?",
        "f.json, line 10, questions[0]: object missing required field `text`.",
        "f.json, line 13, questions[1].upload.limit_mib: expected `float | null`, got `str`.",
        "f.json, line 17, questions[3].answer.format: invalid enum value 'mean'; there are file, means, best.",
    )
    twice = BOOK.replace('"a": {', '"a": {},\n    "a": {').encode()
    assert preset_file.mistakes(twice, "f.json") == ("f.json, line 7: the key 'a' stands twice in one object.",)
    assert preset_file.mistakes(mended().encode(), "f.json") == ()
    code = mended().replace(
        '"kind": "training", "title": "t", "text": "t", "networks": ["a"]', '"kind": "code", "title": "t", "text": "t"'
    )
    (mistake,) = preset_file.mistakes(code.encode(), "f.json")
    assert mistake == "f.json, line 10, questions[0] (A).networks: a code question is about a network; name it."


def test_what_does_not_go_with_the_data_is_told_with_its_line(tmp_path: Path):
    file = tmp_path / "f.json"
    text = mended().replace('"limit_mib": 1', '"limit_mib": 0.0001').replace('"pool": 9', '"pool": 1')
    file.write_text(text)
    printed = course("check", str(file), "--json", code=1)
    (missing, answer) = json.loads(printed)["mistakes"]
    assert missing == f"{file}, line 4, data['mine']: {tmp_path / 'gone.npz'} is not there, and A, B, C, D train on it."
    assert answer == f"{file}, line 15, questions[2] (C).answer: missing; `format` says how the answer is written."
    for some, line, message in (
        (mended(), 7, 'networks["it\'s b"].convolutions: nothing is left of an image of 32 x 32 pixels'),
        (text, 13, "questions[1] (B).upload.limit_mib: the weights of "),
    ):
        data = {"": scenes.DATA, "mine": scenes.DATA}
        problems = course_plan.problems(preset_file.parse(some.encode(), "f"), course_plan.CourseFacts(data), "f")
        assert f"f, line {line}, {message}" in "\n".join(
            json_text.located(problem, some.encode(), "f") for problem in problems
        )


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
    texts = {thing["name"]: thing["said"] for thing in exported}
    for name in ("C2.keras", "C3.keras"):
        assert "verified, " in texts[name] and "NOT" not in texts[name], texts
    assert "shape=(1, 28, 28)" in (tmp_path / "out" / "C1.py").read_text()
    svhn_tui("stop", workspace=workspace)
