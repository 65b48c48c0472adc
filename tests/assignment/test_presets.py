"""experiments.json: what is shipped is the assignment, and a wrong file is told where and why."""

import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.data_shape import ASSIGNMENT
from engine.core.layers import trainable_parameters
from engine.core.spec import Configuration, RunSpec
from engine.core.sweep import FinalistRule, asked
from svhn_tui import preset_file, presets


def shipped() -> presets.Presets:
    return preset_file.load(preset_file.find(Path("nowhere")))


def shipped_text() -> dict[str, object]:
    text: dict[str, object] = json.loads(preset_file.find(Path("nowhere")).read_text())
    return text


def complaint(change: dict[str, object] | bytes) -> str:
    text = change if isinstance(change, bytes) else json.dumps({**shipped_text(), **change}).encode()
    with pytest.raises(presets.PresetError) as caught:
        preset_file.parse(text, "experiments.json")
    return str(caught.value)


def test_all_eleven_questions_are_there():
    assert [question.id for question in shipped().questions] == [f"Q{number}" for number in range(1, 12)]


def test_the_whole_assignment_shares_runs():
    """1 + 10 + 10 + 10 + 10 + 8x3 runs before the finalists, as the assignment counts them."""
    book = shipped()
    sweeps = (book.sweep(question, "data") for question in book.questions)
    runs = {spec.run_id for sweep in sweeps if sweep for spec in asked(sweep, {})}
    assert len(runs) == 1 + 10 + 10 + 10 + 10 + 8 * 3


@pytest.mark.parametrize(
    ("network", "parameters"), [("linear", 30_730), ("tanh 256", 789_258), ("relu (256, 64)", 803_786)]
)
def test_parameters_are_counted(network: str, parameters: int):
    assert trainable_parameters(shipped().networks[network], ASSIGNMENT) == parameters


def test_equal_runs_have_equal_names_whether_parsed_or_built():
    parsed = asked(shipped().sweep(shipped().question("Q2"), "data"), {})[0]
    built = RunSpec(Configuration(), 0, "data")
    assert built == parsed
    assert built.run_id == parsed.run_id == msgspec.json.decode(msgspec.json.encode(built), type=RunSpec).run_id
    assert built.run_id != RunSpec(Configuration(), 1, "data").run_id


def test_a_question_about_a_file_needs_that_files_run():
    book = shipped()
    assert book.sweep(book.question("Q3"), "data") == book.sweep(book.question("q2"), "data")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (b"{", "line 1, column 2"),
        (b'{"format": 1, "format": 1}', "the key 'format' stands twice"),
        (b'{"format": NaN}', "NaN is not a number that JSON knows"),
        (b"[" * 100_000, "nested more than 32 levels"),
        (b" " * (preset_file.MAX_BYTES + 1) + b"{", "experiments.json"),
        (b"\xff", "not UTF-8 text"),
        (b" \n", "the file is empty"),
        (b'{\n  // mine\n  "format": 1}', "line 2, column 3: JSON has no comments"),
        (b'{"format": 1,\n}', "line 2, column 1: a comma stands before the '}'; remove it"),
        (b"{'format': 1}", "JSON has double quotes"),
        (b'{"format": True}', "line 1, column 12: JSON has true, false and null, in small letters"),
        (b'{"format": 1}\n{}', "line 2, column 1: something stands behind the end of the one object"),
        ({"training": {"metrics": ["top_k_categorical_accuracy"] * 2}}, "training.metrics: each once."),
        (b'{"format": 1, "title": "\\ud800"}', "half a character"),
        ({"networks": {"linear": {"hiden": [3]}}}, "did you mean `hidden`?"),
        ({"networks": {"linear": {"hidden": [0]}}}, "networks['linear'].hidden: each layer has 1 to 65,536 units"),
        ({"networks": {"linear": {"activation": "relu"}}}, "a network without hidden layers has none"),
        ({"networks": {}}, "questions[0] (Q1).networks: no network 'linear'"),
        ({"training": {"epochs": 0}}, "training.epochs: 1 to 100,000"),
        ({"training": {"optimizer": "adamm"}}, "training.optimizer: invalid enum value 'adamm'"),
        ({"training": {"schedule": "steps"}}, "'steps'; there are constant, cosine, step, exponential."),
        (
            {"training": {"metrics": ["auc"]}},
            "metrics[0]: invalid enum value 'auc'; there are top_k_categorical_accuracy.",
        ),
        (
            {"training": {"momentum": 0.9}},
            "(Q1).training.momentum: it belongs to the optimizer sgd or rmsprop; here that is adam.",
        ),
        ({"training": {"optimizer": "sgd", "momentun": 0.9}}, "did you mean `momentum`?"),
        ({"format": 2}, "format: invalid enum value 2; this version knows 1."),
        (b'{"format": 1', "line 1, column 13: the file ends before its last bracket or quotation mark is closed"),
        (b"<<<<<<< HEAD\n{}", "git left the marks of a conflict"),
        (b'{\xc2\xa0"format": 1}', "column 2: the character U+00A0 (no-break space) stands outside of a text"),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"format": 1}', "the character U+FEFF"),
        (b'{"format": 01}', "column 13: numbers are written like"),
        (b'{"format": 1, "training": {"learning_rate": .5}}', "numbers are written like"),
        (b'{"title": "a\tb"}', "holds a tab"),
        (b"format: 1\n", "a file holds one JSON object"),
        ({"networks": {"": {}}}, "networks['']: a name has 1 to 1,000 printable characters"),
        ({"networks": {"\u202eraenil": {}}}, r"networks['\u202eraenil']: a name has 1 to 1,000 printable"),
    ],
)
def test_a_wrong_file_gets_one_sentence(change: dict[str, object] | bytes, message: str):
    assert message in complaint(change)


def test_a_wrong_question_is_named():
    questions = shipped_text()["questions"]
    assert isinstance(questions, list)
    questions[1]["upload"]["file"] = "../Q2.keras"
    assert "questions[1] (Q2).upload.file: a plain file name" in complaint({"questions": questions})
    with pytest.raises(presets.PresetError, match=r"no question 'Q12': did you mean 'Q\d+'\?$"):
        shipped().question("Q12")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": ["linear", "linear"]}, "(Q2): it asks for 'linear' twice; leave one out"),
        ({"networks": ["linear", "Linear"]}, "(Q2): it asks for 'linear' twice"),
        ({"grid": {"epochs": [3, 3]}}, "(Q2): it asks for 'linear · epochs 3' twice"),
        ({"grid": {"learning_rate": [1, 1.0]}}, "(Q2): it asks for 'linear · learning rate 1' twice"),
        ({"seeds": [0, 0]}, "(Q2).seeds: a seed stands twice"),
        ({"finalists": {"seeds": [1, 1]}}, "(Q2).finalists.seeds: a seed stands twice"),
        ({"finalists": {"seeds": [1], "chosen": [0, 0]}}, "(Q2).finalists.chosen: a configuration stands twice"),
        ({"id": "Q" * 41}, "letters and digits only, at most 40"),
        ({"upload": {"file": "q5.KERAS"}}, "two questions hand in 'q5.KERAS'"),
        (
            {"upload": {"file": "Q2.h5"}},
            "(Q2).upload.file: a trained network is handed in as a file whose name ends in",
        ),
        ({"kind": "code", "upload": {"file": "Answers.md"}}, "an export writes a page of its own under this name"),
        ({"upload": {"file": "Q2.keras "}}, "a plain file name"),
    ],
)
def test_what_would_be_counted_twice_or_written_over_is_refused(changes: dict[str, object], message: str):
    """One run that counts as two has no spread; an export that writes one file over another hands in one of them."""
    text = shipped_text()
    questions, networks = text["questions"], text["networks"]
    assert isinstance(questions, list) and isinstance(networks, dict)
    questions[1] |= changes
    assert message in complaint({"questions": questions, "networks": {**networks, "Linear": {}}})


def test_a_sweep_of_too_many_runs_is_refused():
    questions = shipped_text()["questions"]
    assert isinstance(questions, list)
    questions[1]["seeds"] = list(range(200_001))
    assert "more than 100,000 runs" in complaint({"questions": questions})


def test_the_workspaces_own_file_wins(tmp_path: Path):
    own = tmp_path / "experiments.json"
    own.write_text("{}")
    assert preset_file.find(tmp_path) == own


def damaged(path: Path, kind: str) -> Path:
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "broken link":
            path.symlink_to("nowhere")
        case "link to itself":
            path.symlink_to(path.name)
        case _:
            path.with_name(kind).write_bytes(preset_file.find(Path("nowhere")).read_bytes())
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("folder", "experiments.json is not a file; put your experiments.json there, or remove it."),
        ("pipe", "experiments.json is not a file"),
        ("broken link", "experiments.json: cannot be read (No such file or directory)"),
        ("link to itself", "experiments.json: cannot be read (Too many levels of symbolic links)"),
        ("Experiments.JSON", "Experiments.JSON is not read under this name; rename it to experiments.json."),
        ("experiments.json.txt", "experiments.json.txt is not read under this name"),
    ],
)
def test_the_assignment_never_replaces_an_own_file_that_cannot_be_read(tmp_path: Path, kind: str, message: str):
    damaged(tmp_path / "experiments.json", kind)
    with pytest.raises(presets.PresetError) as caught:
        preset_file.load(preset_file.find(tmp_path))
    assert message in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(["format", "title", "networks", "questions", "training"])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.dictionaries(fields, json_values).map(lambda value: json.dumps(value).encode()))
def test_nothing_but_a_preset_error_ever_leaves_the_parser(text: bytes):
    try:
        preset_file.parse(text, "experiments.json")
    except presets.PresetError as error:
        assert "experiments.json" in str(error)


DESCRIBED = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text()


def test_every_field_of_a_question_is_described():
    rows = DESCRIBED.partition("\n## Questions\n")[2].partition("\n## ")[0].splitlines()
    named = {word for row in rows if row.startswith("| `") for word in row.split("|")[1].split("`")[1::2]}
    assert named == set(presets.Question.__struct_fields__)
    text = "\n".join(rows)
    nested = (presets.AnswerFormat, presets.Upload, FinalistRule)
    assert all(f"`{field}`" in text for kind in nested for field in kind.__struct_fields__)


def test_the_file_that_the_documents_begin_with_can_be_used():
    text = DESCRIBED.partition("```json\n")[2].partition("```")[0]
    book = preset_file.parse(text.encode(), "experiments.json")
    (question,) = book.questions
    assert len(book.configurations(question)) * len(question.seeds) == 20
