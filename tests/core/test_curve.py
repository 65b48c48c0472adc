"""A curve grows by what is new: an epoch costs the same at epoch 10,000 as at epoch 1, and no older state changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import protocol as p
from engine.core.curve import EMPTY, Curve, Prefix
from engine.core.results import ROW_FIELDS
from svhn_tui.client.reducer import apply, fold
from svhn_tui.client.state import State
from tests.client.test_state import SPEC, ended, started
from tests.curve_cost import PARTS
from tests.support.epochs import losses, row_of

NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False))


class Counting(list):
    """A list that counts how many of its values are read or copied."""

    read = 0

    def __getitem__(self, index):
        Counting.read += len(range(*index.indices(len(self)))) if isinstance(index, slice) else 1
        return super().__getitem__(index)

    def __iter__(self):
        Counting.read += len(self)
        return super().__iter__()


def counting(curve: Curve) -> Curve:
    curve.rows._values = Counting(curve.rows._values)
    return curve


@pytest.mark.parametrize("part", PARTS)
def test_an_epoch_costs_the_same_late_as_early(part: str):
    """Counted in values that the worker, the host and the screen look at for one epoch more."""
    times, epochs, curve = {}, PARTS[part](), EMPTY
    for epoch in range(1, 10_002):
        if epoch in (11, 10_001):
            counting(curve)
            Counting.read = 0
        curve = next(epochs)
        if epoch in (11, 10_001):
            times[epoch] = Counting.read
    epochs.close()
    assert curve.epochs == 10_001
    assert times[11] == times[10_001] < 20


@given(st.lists(NUMBERS, max_size=8), st.lists(NUMBERS, min_size=1, max_size=8), st.lists(NUMBERS, max_size=8))
def test_a_column_is_a_value_whatever_is_added_to_whom(first: list, second: list, third: list):
    stem = Prefix(first)
    branches = []
    for added in (second, third, second):
        grown = stem
        for value in added:
            grown = grown.and_then(value)
        branches.append((grown, [*first, *added]))
    assert stem == first
    for grown, values in branches:
        assert (list(grown), len(grown), grown[-2:]) == (values, len(values), tuple(values[-2:]))
        assert grown == tuple(values) and [grown[index] for index in range(len(grown))] == values
    assert branches[0][0] == branches[2][0]


@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.none() | st.floats(0, 1)), max_size=12))
def test_a_curve_that_grew_is_the_one_that_was_read(rows: list):
    grown = EMPTY
    for loss, test_loss, accuracy in rows:
        grown = grown.and_then(row_of(loss, 0.5, test_loss, accuracy, 1.0))
    history = p.History.of(grown.rows)
    assert history.rows == tuple(grown.rows)
    assert Curve.of(history.rows) == grown


def test_a_row_has_a_column_for_each_of_its_fields():
    assert set(ROW_FIELDS) == set(p.History.__struct_fields__)


def test_a_state_that_was_kept_keeps_its_curve():
    kept = fold((started(SPEC), ended(1, 3.0)), State())
    one, other = apply(kept, ended(2, 2.0)), apply(kept, ended(2, 9.0))
    assert [losses(state.history(SPEC.run_id)) for state in (kept, one, other)] == [
        (3.0,),
        (3.0, 2.0),
        (3.0, 9.0),
    ]
