"""When early stopping ends a run, and with which epoch's weights: as `keras.callbacks.EarlyStopping` does. Pure.

Everything follows from the run's rows, so that a run resumed from a checkpoint stops where it would have.
"""

from collections.abc import Sequence
from typing import NamedTuple

from engine.core.results import EpochRow
from engine.core.spec import Training


class StoppingState(NamedTuple):
    """The state of early stopping after an epoch."""

    best_epoch: int = 0
    """From 1 on; 0 before the first epoch that counts."""
    is_over: bool = False


def stopping_state(training: Training, rows: Sequence[EpochRow]) -> StoppingState:
    """Return the state after these epochs. NaN is no improvement, but the first epoch counts as the best until then."""
    best: float | None = None
    best_epoch = wait = 0
    for epoch in range(training.start_from_epoch + 1, len(rows) + 1):
        value = _monitored(training, rows[epoch - 1])
        wait += 1
        best_epoch = best_epoch or epoch
        if best is None or value - training.min_delta > best:
            best, best_epoch, wait = value, epoch, 0
        elif wait >= training.patience:
            return StoppingState(best_epoch, is_over=True)
    return StoppingState(best_epoch)


def is_over(training: Training, rows: Sequence[EpochRow]) -> bool:
    """Say whether nothing is left to train."""
    return len(rows) >= training.epochs or (training.patience > 0 and stopping_state(training, rows).is_over)


def epoch_of_weights(training: Training, rows: Sequence[EpochRow]) -> int:
    """Return the epoch, from 1 on, whose weights are the run's: the last one, or the best one where it is restored."""
    best_epoch = stopping_state(training, rows).best_epoch if training.patience and training.restore_best_weights else 0
    return best_epoch or len(rows)


def _monitored(training: Training, row: EpochRow) -> float:
    """Return the monitored value of an epoch, with its sign chosen so that more is better."""
    value = row.val_loss if training.monitor == "val_loss" else row.val_accuracy
    if value is None:
        return float("nan")
    return -value if training.monitor == "val_loss" else value
