"""The curve of a run: adding an epoch takes the same time however many there are. Pure.

A curve is a value: one that was returned never changes. Adding an epoch makes a new curve that shares
the values before it, instead of a copy of all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, Self, TypeVar, overload

import msgspec

from engine.core.results import MISSED, EpochRow

Item = TypeVar("Item")


class Prefix(Sequence[Item], Generic[Item]):
    """The first N values of a list that only grows at its end; equal to any sequence of the same values."""

    __slots__ = ("_length", "_values")

    def __init__(self, values: Iterable[Item] = ()) -> None:
        self._values = list(values)
        self._length = len(self._values)

    def and_then(self, value: Item) -> "Prefix[Item]":
        """Return the sequence with one more value; it is copied only where another value was appended already."""
        grown: Prefix[Item] = Prefix.__new__(Prefix)
        grown._values = self._values if len(self._values) == self._length else self._values[: self._length]
        grown._values.append(value)
        grown._length = self._length + 1
        return grown

    def __len__(self) -> int:
        """Count the values."""
        return self._length

    def __iter__(self) -> Iterator[Item]:
        """Go through the values."""
        return islice(iter(self._values), self._length)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        """Return a value, or a tuple of some."""
        if isinstance(index, slice):
            start, stop, step = index.indices(self._length)
            return tuple(self._values[at] for at in range(start, stop, step))
        return self._values[range(self._length)[index]]

    def __eq__(self, other: object) -> bool:
        """Compare the values."""
        if isinstance(other, Prefix) and other._values is self._values:
            return other._length == self._length
        return isinstance(other, Prefix | tuple | list) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # it would take all of them

    def __repr__(self) -> str:
        """Show the values."""
        return f"Prefix({list(self)!r})"


class Curve(msgspec.Struct, frozen=True):
    """The rows of a run's epochs, in order."""

    rows: Prefix[EpochRow]
    diverged_at: int | None = None
    """The first epoch since which the loss is not finite; None while it is finite, or no epoch is known."""

    @classmethod
    def of(cls, rows: Iterable[EpochRow]) -> Self:
        """Make a curve of these rows."""
        column = Prefix(rows)
        first = len(column)
        while first and column[first - 1].is_diverged:
            first -= 1
        return cls(column, first + 1 if first < len(column) else None)

    @property
    def epochs(self) -> int:
        """Number of epochs that are known."""
        return len(self.rows)

    def values(self, read: Callable[[EpochRow], Item]) -> tuple[Item, ...]:
        """Return what is read from the row of each epoch."""
        return tuple(map(read, self.rows))

    def and_then(self, row: EpochRow) -> "Curve":
        """Return the curve with one more epoch."""
        return Curve(self.rows.and_then(row), (self.diverged_at or self.epochs + 1) if row.is_diverged else None)

    def cut(self, epochs: int) -> "Curve":
        """Return the curve up to this epoch; a shorter one is padded with missed epochs, so that indices stay right."""
        if self.epochs == epochs:
            return self
        return Curve.of([*self.rows[:epochs], *[MISSED] * (epochs - self.epochs)])


EMPTY = Curve.of(())
