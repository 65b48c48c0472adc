"""Data sets, curves and results of runs: the values that every part of the program exchanges."""

from collections.abc import Iterable

import msgspec

from engine.core.spec import RunSpec

Number = float | None


METRICS = ("loss", "accuracy", "test_loss", "test_accuracy")
"""What an epoch measures, by field."""


class DataSet(msgspec.Struct, frozen=True, gc=False):
    """What was found in the two files of a data set. Sizes in images; `input_shape` is (channels, height, width)."""

    fingerprint: str
    name: str
    train_path: str
    test_path: str
    train_images: int
    test_images: int
    input_shape: tuple[int, int, int]
    train_counts: tuple[int, ...]
    """Images of each class, in label order."""
    test_counts: tuple[int, ...]
    labels: tuple[str, ...]
    is_demo: bool = False


class History(msgspec.Struct, frozen=True, gc=False):
    """The metrics of a run, one value an epoch, from epoch 1 on. Losses in nats, accuracies 0..1."""

    loss: tuple[Number, ...] = ()
    accuracy: tuple[Number, ...] = ()
    test_loss: tuple[Number, ...] = ()
    test_accuracy: tuple[Number, ...] = ()
    seconds: tuple[float, ...] = ()
    """Wall time of each epoch, its evaluation included."""

    @property
    def epochs(self) -> int:
        """Epochs that are known."""
        return len(self.loss)

    @property
    def diverged_at(self) -> int | None:
        """The epoch from which on the loss is no number; None while it is one, or nothing is known.

        An epoch that was missed has no accuracy either; a network that diverged still has one.
        """
        first = self.epochs
        while first and _has_no_loss(self, first - 1):
            first -= 1
        return first + 1 if first < self.epochs else None


def _has_no_loss(history: History, index: int) -> bool:
    is_known = history.test_accuracy[index] is not None
    return is_known and (history.loss[index] is None or history.test_loss[index] is None)


def extended(history: History, values: tuple[Number, Number, Number, Number], seconds: float) -> History:
    """Return the history with one more epoch: loss, accuracy, test loss and test accuracy."""
    loss, accuracy, test_loss, test_accuracy = values
    return History(
        (*history.loss, loss),
        (*history.accuracy, accuracy),
        (*history.test_loss, test_loss),
        (*history.test_accuracy, test_accuracy),
        (*history.seconds, seconds),
    )


class RunResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What `result.json` holds: the outcome of a finished run."""

    run_id: str
    spec: RunSpec
    trainable_parameters: int
    test_correct: int
    test_images: int
    test_accuracy: float
    """`test_correct / test_images` after the last epoch."""
    test_loss: Number
    accuracy: Number
    loss: Number
    best_test_accuracy: float
    best_epoch: int
    slope: Number = None
    """Test accuracy gained an epoch over the last ten, by least squares."""
    slope_error: Number = None
    """Standard error of `slope`."""
    dead_units: Number = None
    """Share of hidden ReLU units that no test image activates."""
    saturated_units: Number = None
    """Share of hidden tanh activations beyond 0.99 in size, over the test images."""
    diverged: bool = False
    seconds: float
    """Training and evaluation, without start-up and compilation."""
    started_at: float
    finished_at: float
    """Seconds since 1970."""
    model_sha256: str
    model_bytes: int
    device: str
    versions: dict[str, str]
    demo_data: bool = False
    trained_by: str = "fast"


def finite(values: Iterable[float]) -> tuple[Number, ...]:
    """Replace what JSON cannot carry by None."""
    return tuple(value if value - value == 0 else None for value in values)
