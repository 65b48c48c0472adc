"""Epochs that were never trained, from the accuracies that they are to have."""

from collections.abc import Sequence

from engine import protocol as p
from engine.core.curve import Curve
from engine.core.results import MISSED, Number

IMAGES = 10_000
"""Test images of which the right ones are counted."""


def row_of(loss: Number, accuracy: Number, test_loss: Number, test_accuracy: Number, seconds: float) -> p.EpochRow:
    """Return an epoch's row; one without a test accuracy was missed."""
    if test_accuracy is None:
        return MISSED
    return p.EpochRow(loss=loss, accuracy=accuracy, test_loss=test_loss, test_correct=round(test_accuracy * IMAGES),
                      test_images=IMAGES, seconds=seconds)  # fmt: skip


def epoch_ended(
    *,
    runs: tuple[str, ...],
    epoch: int,
    loss: Sequence[Number],
    accuracy: Sequence[Number],
    test_loss: Sequence[Number],
    test_accuracy: Sequence[Number],
    seconds: float,
    images_per_second: float,
    group: str = "g",
) -> p.EpochEnded:
    """Return an epoch of every lane of a group, each measured number given as one value a lane."""
    lanes = zip(loss, accuracy, test_loss, test_accuracy, strict=True)
    rows = tuple(row_of(*lane, seconds) for lane in lanes)
    return p.EpochEnded(group=group, runs=runs, epoch=epoch, rows=rows, images_per_second=images_per_second)


def curve_of(**columns: Sequence[object]) -> Curve:
    """Return a curve of which these columns are known."""
    return Curve.of(p.History(**columns).rows)  # type: ignore[arg-type]


def losses(curve: Curve) -> tuple[Number, ...]:
    """Return the loss of each epoch."""
    return curve.values(lambda row: row.loss)
