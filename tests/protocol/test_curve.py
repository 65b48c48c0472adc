"""A curve grows by what is new: an epoch costs the same at epoch 10,000 as at epoch 1, and no older state changes."""

from hypothesis import given
from hypothesis import strategies as st

from engine import protocol as p
from engine.protocol.curve import EMPTY, Column, Curve
from engine.scheduling.queue import Queue
from svhn_tui.client.reducer import apply, fold
from svhn_tui.client.state import State
from tests.client.test_state import SPEC, ended, started
from tests.support.scenes import DATA

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
    for name in (*p.METRICS, "seconds"):
        column = getattr(curve, name)
        column._values = Counting(column._values)
    return curve


def looks(epochs: int) -> int:
    """Count the values that the screen's state looks at for one epoch more, and for what is left."""
    state = fold((started(SPEC), ended(1, 1.0)))
    for epoch in range(2, epochs + 1):
        state = apply(state, ended(epoch, 1.0))
    counting(state.history(SPEC.run_id))
    Counting.read = 0
    state = apply(state, ended(epochs + 1, 0.5))
    assert state.live[SPEC.run_id].seconds_left is not None
    return Counting.read


def test_an_epoch_costs_the_screen_the_same_late_as_early():
    assert looks(10) == looks(10_000) < 20


def test_an_epoch_costs_the_host_the_same_late_as_early():
    spec = p.RunStarted(group="g", runs=(SPEC.run_id,), specs=(SPEC,), worker="w", device="d")
    queue = Queue(lambda event: None, data={DATA.fingerprint: DATA})
    place = p.Place(SPEC.run_id, SPEC, "s", "t")
    queue.places.join(place)
    queue.take([place])
    queue.fold(spec)
    found = []
    for epoch in range(1, 10_002):
        if epoch in (10, 10_001):
            counting(queue.runs.training[SPEC.run_id].curve)
            Counting.read = 0
        queue.fold(ended(epoch, 1.0))
        if epoch in (10, 10_001):
            found.append(Counting.read)
    assert found[0] == found[1] < 20
    assert queue.runs.training[SPEC.run_id].curve.history.epochs == 10_001


@given(st.lists(NUMBERS, max_size=8), st.lists(NUMBERS, min_size=1, max_size=8), st.lists(NUMBERS, max_size=8))
def test_a_column_is_a_value_whatever_is_added_to_whom(first: list, second: list, third: list):
    stem = Column(first)
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


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=12))
def test_a_curve_that_grew_is_the_one_that_was_read(rows: list):
    grown = EMPTY
    for epoch, (loss, test_loss, accuracy) in enumerate(rows, start=1):
        ended = p.EpochEnded(group="g", runs=("r",), epoch=epoch, loss=(loss,), accuracy=(0.5,), test_loss=(test_loss,),
                             test_accuracy=(accuracy,), seconds=1.0, images_per_second=1.0)  # fmt: skip
        grown = grown.and_then(ended, 0)
    assert Curve.of(grown.history) == grown
    assert grown.diverged_at == grown.history.diverged_at


def test_a_state_that_was_kept_keeps_its_curve():
    kept = fold((started(SPEC), ended(1, 3.0)), State())
    one, other = apply(kept, ended(2, 2.0)), apply(kept, ended(2, 9.0))
    assert [state.history(SPEC.run_id).loss for state in (kept, one, other)] == [(3.0,), (3.0, 2.0), (3.0, 9.0)]
