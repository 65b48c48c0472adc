"""The lines of the queue, and the group that ended last."""

import pytest

from engine import protocol as p
from engine.core.spec import RunSpec
from svhn_tui.analysis.queue_entries import entries_of, last_group_of, moved, seeds_text, title_of
from svhn_tui.client.reducer import fold
from tests.support.scenes import BOOK, DATA, asked_by, attached, group_of, relu, result, specs_of, tanh, waiting


def test_a_run_is_named_after_the_question_that_asks_for_its_seed():
    """Q5 asks for one seed of tanh 256, Q7 for ten: whichever was submitted first."""
    book = [BOOK.sweep(BOOK.question(name), DATA.fingerprint) for name in ("Q5", "Q7", "Q10")]
    state = fold((*attached(), *(p.SweepSubmitted(sweep=sweep, missing=()) for sweep in book)))
    named = [title_of(RunSpec(asked_by("Q5"), seed, DATA.fingerprint), state) for seed in (0, 1, 9, 70)]
    assert named == ["Q5", "Q7", "Q7", "Q5"]
    (first, *_) = book[2].configurations
    assert title_of(RunSpec(first, 9, DATA.fingerprint), state) == "Q10", "a seed of the finalists"
    assert title_of(RunSpec(asked_by("Q5"), 0, "other data"), state) == ""


def test_neighbours_in_the_queue_are_one_line_and_move_as_one():
    a, b = specs_of(relu(64), 3), specs_of(relu(1024), 2)
    places = waiting("Q9", a) + waiting("Q9", b, paused=True)
    times = (p.EpochTime(relu(64), 50_000, 0.01), p.EpochTime(relu(1024), 50_000, 0.05))
    state = fold((*attached(), p.RunsQueued(waiting=places), p.Timed(times=times)))
    entries = entries_of(state)
    assert [(entry.status, entry.seeds, entry.seconds) for entry in entries] == [
        ("waiting", (0, 1, 2), 3 * (1 + 100 * 0.01)),
        ("paused", (0, 1), 2 * (1 + 100 * 0.05)),
    ]
    assert state.seconds_waiting == entries[0].seconds, "what is paused is not waited for"
    assert moved(entries, 0, 1) == p.Reprioritise(runs=entries[0].runs, index=2)
    assert moved(entries, 1, -1) == p.Reprioritise(runs=entries[1].runs, index=0)
    assert moved(entries, 0, -1) is None and moved(entries, 1, 1) is None and moved((), 0, 1) is None


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ((3,), "seed 3"),
        ((2, 0, 1), "seeds 0 to 2"),
        ((4, 3), "seeds 3, 4"),
        ((0, 2, 5), "seeds 0, 2, 5"),
        (range(0, 80, 2), "40 seeds"),
    ],
)
def test_seeds_are_said_shortly(seeds: tuple[int, ...], message: str):
    assert seeds_text(seeds) == message


def test_a_group_is_over_when_its_last_lane_is():
    one, two = specs_of(relu(64), 2), specs_of(tanh(256), 2)
    state = fold((*attached(), *group_of("a", one, 5, 0.4), *group_of("b", two, 9, 0.5)))
    ids = [spec.run_id for spec in (*one, *two)]
    ended = fold((p.RunPaused(run_id=ids[0]),), state)
    assert ended.last_group == ()
    ended = fold((p.RunFinished(result=result(two[0], 0.5)), p.RunFinished(result=result(one[1], 0.5))), ended)
    assert ended.last_group == tuple(ids[:2])
    ended = fold((p.RunFailed(run_id=ids[3], reason="x"),), ended)
    assert ended.last_group == tuple(ids[2:])
    assert [live.status for live in last_group_of(ended).values()] == ["finished", "failed"]
