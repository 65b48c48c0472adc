"""A run's metrics as they grow: one epoch is added in the same time however many there are. Pure.

A curve is a value like any other: what was handed out stays what it is. Adding an epoch makes a new curve that shares
the values before it, instead of a copy of all of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, Self, TypeVar, overload

import msgspec

from engine.protocol import EpochEnded, History, Number

Value = TypeVar("Value")


class Column(Sequence[Value], Generic[Value]):
    """The first so many values of a list that only ever grows at its end; equal to any sequence of the same values."""

    __slots__ = ("_length", "_values")

    def __init__(self, values: Iterable[Value] = ()) -> None:
        self._values = list(values)
        self._length = len(self._values)

    def and_then(self, value: Value) -> "Column[Value]":
        """Return the column with one more value. Only where another value followed already is it copied."""
        grown: Column[Value] = Column.__new__(Column)
        grown._values = self._values if len(self._values) == self._length else self._values[: self._length]
        grown._values.append(value)
        grown._length = self._length + 1
        return grown

    def __len__(self) -> int:
        """Count the values."""
        return self._length

    def __iter__(self) -> Iterator[Value]:
        """Go through the values."""
        return islice(iter(self._values), self._length)

    @overload
    def __getitem__(self, index: int) -> Value: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Value, ...]: ...
    def __getitem__(self, index: int | slice) -> Value | tuple[Value, ...]:
        """Return a value, or a tuple of some."""
        if isinstance(index, slice):
            start, stop, step = index.indices(self._length)
            return tuple(self._values[place] for place in range(start, stop, step))
        return self._values[range(self._length)[index]]

    def __eq__(self, other: object) -> bool:
        """Compare the values."""
        if isinstance(other, Column) and other._values is self._values:
            return other._length == self._length
        return isinstance(other, Column | tuple | list) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # it would take all of them

    def __repr__(self) -> str:
        """Show the values."""
        return f"Column({list(self)!r})"


class Curve(msgspec.Struct, frozen=True):
    """What `History` holds, to be added to."""

    loss: Column[Number]
    accuracy: Column[Number]
    test_loss: Column[Number]
    test_accuracy: Column[Number]
    seconds: Column[float]
    diverged_at: int | None = None
    """As of `History`."""

    @classmethod
    def of(cls, history: History) -> Self:
        """Make a curve of a history that was read."""
        return cls(
            Column(history.loss),
            Column(history.accuracy),
            Column(history.test_loss),
            Column(history.test_accuracy),
            Column(history.seconds),
            history.diverged_at,
        )

    @property
    def epochs(self) -> int:
        """Epochs that are known."""
        return len(self.loss)

    @property
    def history(self) -> History:
        """A copy, as it crosses the pipe."""
        return History(
            tuple(self.loss),
            tuple(self.accuracy),
            tuple(self.test_loss),
            tuple(self.test_accuracy),
            tuple(self.seconds),
        )

    def and_then(self, event: EpochEnded, lane: int) -> "Curve":
        """Return the curve with what an event says about one of its runs."""
        loss, test_loss, test_accuracy = event.loss[lane], event.test_loss[lane], event.test_accuracy[lane]
        has_no_loss = test_accuracy is not None and (loss is None or test_loss is None)
        return Curve(
            self.loss.and_then(loss),
            self.accuracy.and_then(event.accuracy[lane]),
            self.test_loss.and_then(test_loss),
            self.test_accuracy.and_then(test_accuracy),
            self.seconds.and_then(event.seconds),
            (self.diverged_at or self.epochs + 1) if has_no_loss else None,
        )


EMPTY = Curve.of(History())
