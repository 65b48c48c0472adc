"""While no run is as a question asks, its table, curves, comparison and answer show the same other runs, and say so."""

import msgspec
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, RunSpec
from svhn_tui.analysis.comparison import most_complete, sides_of_question
from svhn_tui.analysis.progress import progress_of, shown_of
from svhn_tui.assignment.answers import answer_of
from svhn_tui.client.reducer import fold
from svhn_tui.client.state import State
from svhn_tui.pages.compare import ComparePage
from svhn_tui.pages.questions import QuestionsPage
from tests.support.scenes import BOOK, DATA, Stage, attached, history, result, waiting

Q7 = BOOK.question("Q7")
ASKED = BOOK.sweep(Q7, DATA.fingerprint)
SHORT = tuple(
    Configuration(some.network, msgspec.structs.replace(some.training, epochs=8)) for some in ASKED.configurations
)


def trained(configuration: Configuration, seeds: int, top: float) -> list[p.AnyEvent]:
    specs = [RunSpec(configuration, seed, DATA.fingerprint) for seed in range(seeds)]
    known = history(configuration.training.epochs, top, 1)
    return [
        event
        for spec in specs
        for event in (p.RunFinished(result=result(spec, top)), p.HistoryRead(run_id=spec.run_id, history=known))
    ]


OTHERS = fold((*attached(), *trained(SHORT[0], 4, 0.1752), *trained(SHORT[1], 4, 0.1464)))


def names(state: State) -> dict[str, set[str]]:
    """The runs behind each of the four."""
    shown = shown_of(progress_of(Q7, BOOK, state), state)
    return {
        "table": {run_id for row in shown.rows for run_id in row.runs if run_id in state.results},
        "comparison": {run.run_id for side in sides_of_question(Q7, BOOK, state) for run in side.results},
        "answer": set(answer_of(Q7, BOOK, state).runs),
    }


def test_all_four_show_the_same_runs_and_the_first_as_asked_takes_their_place():
    assert set(map(frozenset, names(OTHERS).values())) == {frozenset(OTHERS.results)}
    assert shown_of(progress_of(Q7, BOOK, OTHERS), OTHERS).other == "epochs 8 instead of 100"
    assert [row.done for row in shown_of(progress_of(Q7, BOOK, OTHERS), OTHERS).rows] == [4, 4]
    assert len(progress_of(Q7, BOOK, OTHERS).missing) == 20, "what is missing is what is asked for"
    assert most_complete([BOOK.question("Q9"), Q7], BOOK, OTHERS) == Q7
    state = fold(trained(ASKED.configurations[0], 1, 0.5), OTHERS)
    (asked,) = set(state.results) - set(OTHERS.results)
    assert set(map(frozenset, names(state).values())) == {frozenset([asked])}
    assert not shown_of(progress_of(Q7, BOOK, state), state).other


def test_what_waits_as_asked_is_shown_while_it_waits():
    queued = p.RunsQueued(waiting=waiting("Q7", (RunSpec(ASKED.configurations[0], 0, DATA.fingerprint),)))
    state = fold((queued,), OTHERS)
    assert [row.needed for row in shown_of(progress_of(Q7, BOOK, state), state).rows] == [10, 10]


def test_other_runs_in_training_are_shown_too():
    spec = RunSpec(SHORT[0], 0, DATA.fingerprint)
    started = p.RunStarted(group="g", runs=(spec.run_id,), specs=(spec,), worker="w", device="cpu")
    state = fold((*attached(), started))
    rows = shown_of(progress_of(Q7, BOOK, state), state).rows
    assert [(row.runs, row.running) for row in rows] == [((spec.run_id,), 1), ((), 0)]
    assert answer_of(Q7, BOOK, state).state == "missing"


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_questions_page_shows_them_and_the_reason_is_read_to_its_end(size: tuple[int, int]):
    app = Stage(QuestionsPage(BOOK, "Q7"), OTHERS)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        text = " ".join(app.text.split())
        for expected in ("4/4", "0.1752", "0.1464", "not-as-asked"):
            assert expected in text, expected
        assert ("Not as asked: epochs 8 instead of 100" in text) == (size[1] > 30)
        assert "nothing to draw yet" not in text and "Runs wi…" not in text
        assert "asks for others." in text, app.text


async def test_the_compare_page_shows_them_and_says_so():
    app = Stage(ComparePage(BOOK), OTHERS)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert "not as asked: epochs 8 instead of 100" in app.text
        assert "No run to compare yet" not in app.text
