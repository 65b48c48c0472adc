"""A recorded run is neither an answer nor evidence nor part of an export, whatever it looks like."""

import csv
import io
from pathlib import Path

import msgspec

from engine.core.limits import recording_problem
from engine.core.spec import Configuration, RecordedModel, Recording, RunSpec, Training
from svhn_tui.analysis.progress import other_runs, progress_of
from svhn_tui.analysis.usage import uses_of
from svhn_tui.assignment.answers import all_answers
from svhn_tui.assignment.evidence import facts_of
from svhn_tui.export.export import runs_table
from tests.assignment.test_answers import BOOK, DATA, finished, runs, state_of

MODEL = RecordedModel("linear", 30_730, (("optimizer", "adam"), ("learning_rate", "1e-05")))


def spec_of(data: str = "", seed: int = 0) -> RunSpec:
    recording = Recording("0123456789abcdef", 1.0)
    return RunSpec(Configuration(training=Training(), recorded=MODEL), seed, data, recording=recording)


def test_it_changes_no_answer_and_no_evidence():
    ours = [finished(spec, 0.5) for spec in (*runs("Q2"), *runs("Q7"), *runs("Q9"))]
    # even one that says it is on the data in use, as no recorder does
    recorded = [
        msgspec.structs.replace(finished(spec_of(data), 0.99), diverged=False) for data in ("", DATA.fingerprint)
    ]
    for some in (ours, []):
        before, after = state_of(*some), state_of(*some, *recorded)
        assert all_answers(BOOK, after) == all_answers(BOOK, before)
        for question in BOOK.questions:
            assert facts_of(question, BOOK, after) == facts_of(question, BOOK, before)
            assert progress_of(question, BOOK, after) == progress_of(question, BOOK, before)
    sweep = BOOK.sweep(BOOK.question("Q2"), DATA.fingerprint)
    assert other_runs(sweep, state_of(*recorded)) is None
    assert uses_of(recorded[0].spec, BOOK, state_of(*recorded)) == ()


def test_the_table_of_an_export_has_the_runs_on_its_data_alone():
    (spec,) = runs("Q2")
    state = state_of(finished(spec, 0.4), finished(spec_of(), 0.9))
    assert [row["run_id"] for row in csv.DictReader(io.StringIO(runs_table(state)))] == [spec.run_id]


def test_a_choice_of_it_hands_nothing_in(tmp_path: Path):
    recorded = finished(spec_of(DATA.fingerprint), 0.9)
    state = state_of(recorded, choices={"Q2": recorded.run_id})
    assert all(recorded.run_id not in answer.runs for answer in all_answers(BOOK, state))


def test_what_is_no_honest_recording_is_refused():
    assert recording_problem(spec_of()) == ""
    assert "token, data or time" in recording_problem(spec_of("data"))
    honest = spec_of()
    for model, word in (
        (msgspec.structs.replace(MODEL, name=" "), "name"),
        (msgspec.structs.replace(MODEL, name="\x1b]52;c;x\x07"), "control"),
        (msgspec.structs.replace(MODEL, settings=(("x" * 501, "y"),)), "each as long"),
        (msgspec.structs.replace(MODEL, trainable_parameters=-1), "parameters"),
    ):
        spec = msgspec.structs.replace(honest, configuration=Configuration(recorded=model))
        assert word in recording_problem(spec), model
    relu = runs("Q7")[0].configuration
    mixed = Configuration(relu.network, relu.training, MODEL)
    assert "network" in recording_problem(msgspec.structs.replace(honest, configuration=mixed))
    assert "no recorded" not in recording_problem(honest)
    assert "not a recorded" in recording_problem(runs("Q2")[0])
