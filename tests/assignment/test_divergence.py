"""A run whose loss is not a number any more is a state: seen at once, found again, and never handed in by mistake."""

import csv
import io
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from engine import protocol as p
from engine.core.curve import Curve
from engine.core.spec import RunSpec
from engine.machine import tool_process
from engine.tools.verification import Verification, VerifyOutcome
from svhn_tui.analysis.notices import divergences
from svhn_tui.analysis.progress import progress_of
from svhn_tui.analysis.run_filter import FilterError, completions, parse
from svhn_tui.analysis.run_table import RunLine, cells_of
from svhn_tui.assignment.answers import answer_of, as_json, file_run, is_unfit
from svhn_tui.assignment.submission import handed_in
from svhn_tui.client.reducer import fold
from svhn_tui.client.state import State
from svhn_tui.export import export as exporting
from svhn_tui.export import file_checks
from svhn_tui.export.export import Exported, runs_table
from svhn_tui.export.export_folder import opened
from svhn_tui.pages.live import LivePage
from svhn_tui.pages.questions import QuestionsPage
from tests.support.epochs import epoch_ended
from tests.support.scenes import BOOK, DATA, Stage, attached, result, specs_of, tanh

NAN = None
FILE = BOOK.sweep(BOOK.question("Q5"), DATA.fingerprint)
SPEC = RunSpec(FILE.configurations[0], 0, DATA.fingerprint)
OTHER = RunSpec(FILE.configurations[0], 1, DATA.fingerprint)


def diverged(spec: RunSpec) -> p.RunResult:
    return msgspec.structs.replace(result(spec, 0.0977), diverged=True, loss=None, test_loss=None, model_sha256="00")


def state_of(*results: p.RunResult) -> State:
    return fold((*attached(), *(p.RunFinished(result=some) for some in results)))


def epoch(number: int, loss: float | None, spec: RunSpec = SPEC, test_loss: float | None = 1.0) -> p.EpochEnded:
    return epoch_ended(group="g", runs=(spec.run_id,), epoch=number, loss=(loss,), accuracy=(0.1,),
                        test_loss=(test_loss if loss is not None else None,), test_accuracy=(0.1,), seconds=0.3,
                        images_per_second=1e5)  # fmt: skip


def begun(spec: RunSpec = SPEC) -> p.RunStarted:
    return p.RunStarted(group="g", runs=(spec.run_id,), specs=(spec,), worker="w", device="cpu")


def test_an_epoch_that_was_missed_is_no_divergence_and_one_that_recovered_is_none_either():
    def history(*losses: float | None, accuracies: tuple[float | None, ...] | None = None) -> Curve:
        known = accuracies or (0.1,) * len(losses)
        return Curve.of(p.History(losses, known, losses, known, (1.0,) * len(losses)).rows)

    assert history().diverged_at is None
    assert history(2.0, 1.0).diverged_at is None
    assert history(2.0, NAN, NAN).diverged_at == 2
    assert history(NAN, NAN).diverged_at == 1
    assert history(2.0, NAN, 1.0).diverged_at is None
    assert history(NAN, NAN, NAN, accuracies=(None, None, 0.1)).diverged_at == 3
    assert fold((begun(), epoch(3, 1.0))).history(SPEC.run_id).diverged_at is None
    assert fold((begun(), epoch(1, 1.0, test_loss=None))).history(SPEC.run_id).diverged_at == 1


@pytest.mark.parametrize("is_at_once", [True, False], ids=["all in one batch", "one by one"])
def test_it_is_told_once_when_it_happens(is_at_once: bool):
    events = [begun(), epoch(1, 2.0), epoch(2, NAN), epoch(3, NAN), p.RunFinished(result=diverged(SPEC))]
    state, notices = fold(attached()), []
    for batch in [events] if is_at_once else [[event] for event in events]:
        state = fold(batch, state)
        notices += divergences(batch, state)
    (notice,) = notices
    assert notice.text == "tanh 256, seed 0: its loss is not a number any more, at epoch 2. S on Live (2) stops it."


def test_a_question_whose_file_diverged_hands_in_nothing_but_what_is_chosen_by_name():
    question, state = BOOK.question("Q5"), state_of(diverged(SPEC))
    actual = answer_of(BOOK.question("Q6"), BOOK, state)
    assert (actual.state, as_json([actual])["Q6"]["state"]) == ("diverged", "diverged")
    assert actual.reason.startswith("1 of 1 run diverged (tanh 256: seed 0)")
    file = handed_in(question, BOOK, state)
    assert (file.state, file.copied) == ("diverged", None)
    assert progress_of(question, BOOK, state).status == "diverged"
    assert is_unfit(file_run(question, BOOK, state), question, state)
    named = msgspec.structs.replace(state, choices={"Q5": SPEC.run_id})
    file = handed_in(question, BOOK, named)
    assert (file.state, file.copied) == ("diverged", f"w/runs/{SPEC.run_id}/model.keras"), "never ready all the same"
    good = fold((p.RunFinished(result=result(OTHER, 0.5)), p.ChoiceChanged(question="Q5", run_id=OTHER.run_id)), state)
    assert handed_in(question, BOOK, good).state == "ready"


def test_one_diverged_run_of_many_makes_the_answer_diverged_and_is_named():
    specs = specs_of(tanh(256), 10)
    state = state_of(*(result(spec, 0.5) for spec in specs[:9]), diverged(specs[9]))
    actual = answer_of(BOOK.question("Q7"), BOOK, state)
    assert actual.state == "diverged"
    assert "1 of 10 runs diverged (tanh 256: seed 9)" in actual.reason


def test_the_export_leaves_it_out_and_never_calls_it_verified(tmp_path: Path):
    folder = tmp_path / "runs" / SPEC.run_id
    folder.mkdir(parents=True)
    (folder / "model.keras").write_bytes(b"weights")
    sha = sha256(b"weights").hexdigest()
    run = msgspec.structs.replace(diverged(SPEC), model_sha256=sha, model_bytes=7)
    state = msgspec.structs.replace(state_of(run), workspace=str(tmp_path))
    with opened(tmp_path, tmp_path) as target:
        (left_out,) = exporting._uploads(BOOK.question("Q5"), target, BOOK, state)
    assert not left_out.ok and "seed 0 diverged" in left_out.text and "choose Q5 RUN" in left_out.text
    assert not (tmp_path / "Q5.keras").exists()
    named = msgspec.structs.replace(state, choices={"Q5": SPEC.run_id})
    with opened(tmp_path, tmp_path) as target:
        (thing,) = exporting._uploads(BOOK.question("Q5"), target, BOOK, named)
    assert thing.run == run and (tmp_path / "Q5.keras").exists()


def test_the_count_of_a_diverged_file_may_be_as_recorded_and_is_no_verification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    outcome = VerifyOutcome(Verification("", "", 7, 0, 977, 10_000, 0.0977, False, {}, ()))
    answer = msgspec.json.encode(outcome) + b"\n"
    monkeypatch.setattr(tool_process, "run", lambda command, given: tool_process.Outcome(0, answer, ""))
    run = msgspec.structs.replace(diverged(SPEC), test_correct=977)
    (thing,) = file_checks.verified([Exported("Q5.keras", "7 B", run=run)], tmp_path, BOOK, state_of(run), print)
    shown = thing.text
    assert "diverged" in shown and "verified" not in shown


def test_it_is_found_by_the_filter_and_stands_first_in_its_row_and_in_the_table():
    bad, good = diverged(SPEC), result(OTHER, 0.5)
    is_match = parse("is:diverged activation=tanh")
    assert [is_match(run, None) for run in (bad, good)] == [True, False]
    assert completions("is") == ("is:diverged", "is:failed", "is:recorded", "is:interrupted")
    with pytest.raises(FilterError, match="is:diverged"):
        parse("is:odd")
    assert cells_of(RunLine((bad,)), ("configuration",)) == ("✗ diverged  tanh 256",)
    assert cells_of(RunLine((good, bad), True), ("configuration",)) == ("✗ 1 diverged  tanh 256",)
    rows = list(csv.DictReader(io.StringIO(runs_table(state_of(bad, good)))))
    assert [row["diverged"] for row in rows] == ["True", "False"]


async def test_live_says_it_the_moment_it_happens_with_the_key_that_stops_it():
    state = fold((*attached(), begun(), epoch(1, NAN), epoch(2, NAN)))
    app = Stage(LivePage(BOOK), state)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "diverged at epoch 1, S stops it" in app.text
        await pilot.press("m", "m")
        await pilot.pause()
        assert "nothing to draw yet" not in app.text


async def test_the_questions_page_says_it_where_the_answer_stands():
    state = fold((*attached(), begun(), epoch(1, NAN), epoch(2, NAN), p.RunFinished(result=diverged(SPEC))))
    app = Stage(QuestionsPage(BOOK, "Q5"), state)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "✗" in app.text and "diverged" in app.text
        assert "Diverged, the loss is not a number any more" in app.text
        await pilot.press("m", "m")
        await pilot.pause()
        assert "diverged at epoch 1" in app.text
        assert "nothing to draw yet" not in app.text
