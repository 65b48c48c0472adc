"""What the user is called for: a question that is complete, each once, all of them together, what failed."""

from engine import protocol as p
from svhn_tui.analysis.notices import Milestones, call_text, notice_of
from svhn_tui.client.reducer import fold
from svhn_tui.client.state import State
from tests.support.scenes import BOOK, DATA, asked_by, attached, group_of, relu, result, specs_of, tanh, waiting

NAMED = [BOOK.question(name) for name in ("Q2", "Q5")]


def done(state: State, spec: object) -> tuple[list[p.AnyEvent], State]:
    events: list[p.AnyEvent] = [p.RunFinished(result=result(spec, 0.5))]
    return events, fold(events, state)


def test_a_question_is_told_once_when_its_last_run_is_done_and_all_of_them_together():
    milestones, state = Milestones(NAMED, BOOK), fold(attached())
    assert not list(milestones.reached(attached(), state)), "what is there from the start is not news"
    (one,) = specs_of(asked_by("Q2"), 1)
    batch, state = done(state, one)
    (notice,) = milestones.reached(batch, state)
    assert notice.text == "Q2: every run is trained." and notice.calls
    assert not list(milestones.reached(batch, state))
    (other,) = specs_of(tanh(256), 1)
    batch, state = done(state, other)
    assert [notice.text for notice in milestones.reached(batch, state)] == ["All is trained: Q2, Q5."]
    batch = [p.RunDeleted(run_id=other.run_id)]
    state = fold(batch, state)
    assert not list(milestones.reached(batch, state))
    batch, state = done(state, other)
    assert len(list(milestones.reached(batch, state))) == 1, "trained again, told again"


def test_what_was_complete_before_or_on_other_data_is_no_news():
    (one,) = specs_of(asked_by("Q2"), 1)
    _, state = done(fold(attached(data=None)), one)
    milestones = Milestones(NAMED, BOOK)
    assert not list(milestones.reached((), state))
    opened = [p.DataOpened(data=DATA)]
    state = fold(opened, state)
    assert not list(milestones.reached(opened, state))


def test_runs_that_no_question_asks_for_are_told_when_nothing_is_left_to_train():
    milestones, specs = Milestones(NAMED, BOOK), specs_of(relu(64, epochs=8), 2)
    state = fold((*attached(), *group_of("g", specs, 3, 0.5)))
    assert not list(milestones.reached((), state))
    batch, state = done(state, specs[0])
    assert not list(milestones.reached(batch, state))
    batch, state = done(state, specs[1])
    assert [notice.text for notice in milestones.reached(batch, state)] == ["Nothing is left to train."]


def test_a_run_that_a_worker_has_not_begun_is_still_to_come_and_may_fail_at_once():
    """Between two runs a worker reads data and builds networks: nothing trains then, and not all is trained."""
    milestones, (one, other) = Milestones(NAMED, BOOK), specs_of(relu(64, epochs=8), 2)
    given = (p.RunsQueued(waiting=waiting("S1", (other,))), p.RunsUnqueued(runs=(other.run_id,), worker="w"))
    state = fold((*attached(), *group_of("g", (one,), 3, 0.5), *given))
    assert not list(milestones.reached((), state))
    batch, state = done(state, one)
    assert (list(milestones.reached(batch, state)), [*state.assigned]) == ([], [other.run_id])
    assert not fold(group_of("h", (other,), 1, 0.5), state).assigned
    state = fold([p.RunFailed(run_id=other.run_id, reason="no data")], state)
    assert (state.live[other.run_id].status, state.live[other.run_id].reason) == ("failed", "no data")
    assert [notice.text for notice in milestones.reached(batch, state)] == ["Nothing is left to train."]


def test_many_calls_are_one_sentence():
    assert call_text([]) == ""
    failed = [notice_of(p.RunFailed(run_id="x", reason=f"no memory {index}"), is_news=True) for index in range(3)]
    assert call_text(filter(None, failed)) == "A run failed: no memory 0 And 2 more notices."
    assert call_text(filter(None, [notice_of(p.Noticed(text="a disk is full"), is_news=True)])) == ""
