"""Several data sets: a question sees its own, comparison and table keep them apart, the filter knows their names."""

import json

import msgspec
import pytest

from engine import protocol as p
from engine.core.data_shape import DataShape
from engine.core.epoch_time import EpochTime
from engine.core.forecast import Forecast
from engine.core.spec import Configuration, Network, RunSpec
from svhn_tui import preset_file, presets
from svhn_tui.analysis import run_filter
from svhn_tui.analysis.comparison import names_of_sides, sides_of_question, sides_of_runs
from svhn_tui.analysis.launches import Launch
from svhn_tui.analysis.openings import openings_of
from svhn_tui.analysis.progress import progress_of
from svhn_tui.analysis.run_table import SortOrder, columns_of, lines_of
from svhn_tui.analysis.usage import uses_of
from svhn_tui.assignment.answers import answer_of
from svhn_tui.assignment.evidence import facts_of
from svhn_tui.client.reducer import fold
from svhn_tui.presets import Question
from tests.cli.test_data_sets import BOOK, PARAMETERS
from tests.support.scenes import DATA, attached

PARSED = preset_file.parse(json.dumps(BOOK).encode(), "experiments.json")
SVHN = msgspec.structs.replace(DATA, fingerprint="aaaa", name="svhn")
DIGITS = msgspec.structs.replace(DATA, fingerprint="bbbb", name="digits", input_shape=(1, 28, 28), train_images=600)


def result(data: p.DataSet, accuracy: float, seed: int = 0) -> p.RunResult:
    spec = RunSpec(PARSED.configurations(PARSED.question("A1"))[0], seed, data.fingerprint)
    return p.RunResult(
        run_id=spec.run_id, spec=spec, trainable_parameters=PARAMETERS[data.name], test_correct=int(accuracy * 100),
        test_images=100, test_accuracy=accuracy, test_loss=1.0, accuracy=0.5, loss=1.0, best_test_accuracy=accuracy,
        best_epoch=1, seconds=1.0, started_at=1.0, finished_at=2.0, model_sha256="", model_bytes=1, device="cpu",
        versions={}, data_name=data.name,
    )  # fmt: skip


OF_SVHN, OF_DIGITS = result(SVHN, 0.25), result(DIGITS, 0.75)
STATE = fold(
    (
        p.DataOpened(data=SVHN),
        p.DataOpened(data=DIGITS, is_beside=True),
        p.RunFinished(result=OF_SVHN),
        p.RunFinished(result=OF_DIGITS),
    )
)


def test_a_question_sees_its_own_data_and_the_others_the_one_in_use():
    assert STATE.data == SVHN
    assert [answer_of(PARSED.question(name), PARSED, STATE).runs for name in ("A2", "B2")] == [
        (OF_SVHN.run_id,),
        (OF_DIGITS.run_id,),
    ]
    for name, data in (("A1", SVHN), ("B1", DIGITS)):
        (row,) = progress_of(PARSED.question(name), PARSED, STATE).rows
        assert (row.parameters, row.done) == (PARAMETERS[data.name], 1)
        (side,) = sides_of_question(PARSED.question(name), PARSED, STATE)
        assert (side.parameters, side.data) == (PARAMETERS[data.name], data.fingerprint)
    uses = {use.question.id: use.other for use in uses_of(OF_SVHN.spec, PARSED, STATE)}
    assert (uses["A1"], uses["B1"]) == ("", "it is about digits")


def test_a_question_waits_until_its_data_is_open():
    without = fold((p.DataOpened(data=SVHN),))
    assert Launch(PARSED.question("B1")).needs_data(PARSED, without)
    assert not Launch(PARSED.question("A1")).needs_data(PARSED, without)
    assert not Launch(PARSED.question("B1")).needs_data(PARSED, STATE)
    command, _ = Launch(PARSED.question("B3")).command(PARSED, STATE)
    assert command is not None and command.sweep.data == DIGITS.fingerprint


def test_the_same_images_under_two_names_are_one_data_set_that_both_find():
    again = msgspec.structs.replace(DATA, name="copy", other_names=(DATA.name,))
    state = fold((*attached(), p.DataOpened(data=again, is_beside=True)))
    assert state.on("copy").data == state.on(DATA.name).data == again


def test_runs_of_two_data_sets_are_never_one_group():
    runs = (OF_SVHN, OF_DIGITS)
    sides = sides_of_runs([run.run_id for run in runs], STATE)
    assert names_of_sides(sides) == ("linear on svhn", "linear on digits")
    groups = lines_of(runs, SortOrder("test", descending=False), grouped=True)
    assert [line.runs for line in groups] == [(OF_SVHN,), (OF_DIGITS,)]
    assert columns_of(("configuration", "seed"), runs) == ("configuration", "data", "seed")
    assert columns_of(("configuration", "seed"), runs[:1]) == ("configuration", "seed")
    for text, expected in (("data:digits", OF_DIGITS), ("data:aaaa", OF_SVHN), ("data:SVHN", OF_SVHN)):
        assert [run for run in runs if run_filter.parse(text)(run, None)] == [expected]
    assert run_filter.completions("data:d", runs) == ("data:digits",)


def test_evidence_is_of_one_data_set_and_says_which():
    one = Question(id="C1", kind="choice", title="both", text="Which?", evidence=("A2", "B2"))
    for question, of, others in (
        (one, "svhn", "digits"),
        (msgspec.structs.replace(one, data="digits"), "digits", "svhn"),
    ):
        about, accuracy, *_ = facts_of(question, PARSED, STATE)
        assert about.sentences[0].startswith(f"All of this is about {of}; the runs on {others} that C1 is about too")
        (figures,) = accuracy.figures
        assert f"{PARAMETERS[of]:,} parameters" in figures[1]
    (accuracy, *_) = facts_of(msgspec.structs.replace(one, evidence=("A2",)), PARSED, STATE)
    assert accuracy.title == "Accuracy against parameters"


def test_what_is_opened_follows_from_the_file_and_the_command_line():
    svhn = p.OpenData(source=("svhn",), name="svhn")
    digits = p.OpenData(source=("mnist.npz",), name="digits", is_beside=True)
    assert openings_of(PARSED, ()) == (svhn, digits)
    assert openings_of(PARSED, (), only={""}) == (svhn,)
    given = openings_of(PARSED, ("/d",), "NHWC")
    assert given == (p.OpenData(source=("/d",), layout="NHWC"), msgspec.structs.replace(svhn, is_beside=True), digits)
    plain = preset_file.parse(json.dumps({**BOOK, "data": {}, "questions": BOOK["questions"][:2]}).encode(), "e.json")
    assert openings_of(plain, ()) == (p.OpenData(),)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"svhn": {"folder": "a", "file": "b"}}, "data['svhn']: give `folder`, `file`, or both"),
        ({"svhn": {"train": "a"}}, "data['svhn']: give `folder`, `file`, or both"),
        ({"svhn": {"file": "a", "layout": "NWHC"}}, "data['svhn'].layout: no order 'NWHC' of axes; there are HWCN"),
        ({"svhn": {"fil": "a"}}, "did you mean `file`?"),
        ({"\x1b[2J": {"file": "a"}}, "a name has letters"),
        ({"digit": {"file": "a"}}, "questions[2] (B1).data: no data set 'digits'; did you mean 'digit'?"),
        ({}, "no data set 'digits'; the file names none"),
    ],
)
def test_a_wrong_data_set_is_refused_with_its_place(data: dict[str, object], message: str):
    with pytest.raises(presets.PresetError) as caught:
        preset_file.parse(json.dumps({**BOOK, "data": data}).encode(), "experiments.json")
    assert message in str(caught.value)


def test_epochs_of_other_images_forecast_nothing():
    network = Configuration(Network((8,), "relu"))
    shape = DataShape((3, 32, 32), 10)
    slow = EpochTime(network, 1_000, 100.0, inputs=(1, 28, 28))
    assert Forecast((slow,), 1_000, shape).epoch_seconds(network) == Forecast((), 1_000, shape).epoch_seconds(network)
    known = msgspec.structs.replace(slow, inputs=())
    assert Forecast((known,), 1_000, shape).epoch_seconds(network) == 100.0
