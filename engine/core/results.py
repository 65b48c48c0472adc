"""Data sets, curves and results of runs: the values that every part of the program exchanges."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Self

import msgspec

from engine.core.data_shape import DataShape, Shape
from engine.core.spec import RunSpec

Number = float | None

MAX_COUNT = 10**12
"""More than any count or time of a run."""
MAX_LOGGED = 50
"""Further metrics of an epoch."""


class DataSet(msgspec.Struct, frozen=True, gc=False):
    """What was found in the files of a data set. Sizes in images."""

    fingerprint: str
    name: str
    train_path: str
    test_path: str
    train_images: int
    test_images: int
    input_shape: Shape
    """(channels, height, width), or (features,)."""
    train_counts: tuple[int, ...]
    """Images of each class, in label order."""
    test_counts: tuple[int, ...]
    labels: tuple[str, ...]
    """The names of the classes, in the order of a network's outputs."""
    is_demo: bool = False
    dtype: str = "uint8"
    """Type of a pixel or a feature: uint8 or float32."""
    layout: str = ""
    """The order of the axes in the files, such as `NHWC`, where the user had to say it."""
    other_names: tuple[str, ...] = ()
    """What the same images were called when they were opened from other files, or under another name."""
    doubts: tuple[str, ...] = ()
    """Why its test accuracy says less than it seems, a sentence each."""

    def __post_init__(self) -> None:
        """Refuse what is neither images nor rows of features."""
        if len(self.input_shape) not in (1, 3) or min(self.input_shape) < 1:
            raise ValueError("an image has (channels, height, width), a row (features,)")

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the train and the test file, or of the one file that holds both."""
        return tuple(dict.fromkeys((self.train_path, self.test_path)))

    @property
    def shape(self) -> DataShape:
        """What a network is built for."""
        return DataShape(self.input_shape, len(self.labels), self.dtype)


def is_count(correct: int | None, images: int) -> bool:
    """Say whether so many of the images can be right."""
    return correct is None or (0 <= correct <= images and 0 < images < MAX_COUNT)


class EpochRow(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What one epoch of one run measured. Losses are means in nats, `accuracy` is a share of the training images.

    How many test images are right stays a count, of which `test_accuracy` is worked out where it is shown.
    """

    loss: Number
    accuracy: Number
    test_loss: Number
    test_correct: int | None
    test_images: int
    seconds: Number
    """Wall time of the epoch, its evaluation included; the runs of a group share it."""
    recorded_test_accuracy: Number = msgspec.field(default=None, name="test_accuracy")
    """Of an epoch of which a share is known and no count: of another program's training (`svhn_tui.keras`), and of one
    that version 2 of the protocol recorded."""
    val_loss: Number = None
    """Of the validation images, where some are held out."""
    val_accuracy: Number = None
    test_top_k_accuracy: Number = None
    """The share of the test images whose class is among the five most probable, where that is asked for."""
    logged: tuple[tuple[str, Number], ...] = ()
    """What else another program's training measured, by the names of Keras's logs."""

    def __post_init__(self) -> None:
        """Refuse what cannot be counted."""
        if len(self.logged) > MAX_LOGGED:
            raise ValueError(f"an epoch has at most {MAX_LOGGED} further metrics")
        if not is_count(self.test_correct, self.test_images):
            raise ValueError("of the test images, from none to all are right")

    @property
    def test_accuracy(self) -> Number:
        """The share of the test images that is right; None of an epoch that was missed."""
        return self.recorded_test_accuracy if self.test_correct is None else self.test_correct / self.test_images

    @property
    def is_diverged(self) -> bool:
        """A loss is not a number. An epoch that was missed has no accuracy either; a network that diverged has one."""
        if self.loss is not None and self.test_loss is not None:
            return False
        return (self.loss is None and self.accuracy is not None) or self.test_accuracy is not None


MISSED = EpochRow(loss=None, accuracy=None, test_loss=None, test_correct=None, test_images=0, seconds=None)
"""An epoch that nothing is known of."""


class History(msgspec.Struct, frozen=True, gc=False):
    """The rows of a run's epochs, from epoch 1 on, as they are sent and as checkpoints hold them: a column a field.

    A column may be left out, as version 2 of the protocol did with counts.
    """

    loss: tuple[Number, ...] = ()
    accuracy: tuple[Number, ...] = ()
    test_loss: tuple[Number, ...] = ()
    test_accuracy: tuple[Number, ...] = ()
    seconds: tuple[Number, ...] = ()
    test_correct: tuple[int | None, ...] = ()
    test_images: tuple[int, ...] = ()
    val_loss: tuple[Number, ...] = ()
    val_accuracy: tuple[Number, ...] = ()
    test_top_k_accuracy: tuple[Number, ...] = ()
    logged: tuple[tuple[tuple[str, Number], ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuse columns that are not rows."""
        if len({len(column) for column in msgspec.structs.astuple(self)} - {0}) > 1:
            raise ValueError("the columns of a history have one value for each of its epochs")
        if not all(map(is_count, self.test_correct, self.test_images or repeat(0))):
            raise ValueError("of the test images, from none to all are right")

    @classmethod
    def of(cls, rows: Sequence[EpochRow]) -> Self:
        """Lay rows out in columns; what was not measured has none."""
        measured = {name: attrgetter(field) for name, field in ROW_FIELDS.items()}
        for name in OPTIONAL:
            if all(value in (None, ()) for value in map(measured[name], rows)):
                del measured[name]
        return cls(**{name: tuple(map(field, rows)) for name, field in measured.items()})

    @property
    def rows(self) -> tuple[EpochRow, ...]:
        """The rows again."""
        nothing = [repeat(getattr(MISSED, field), self.epochs) for field in ROW_FIELDS.values()]
        columns = [getattr(self, name) or none for name, none in zip(ROW_FIELDS, nothing, strict=True)]
        return tuple(map(EpochRow, *columns))

    @property
    def epochs(self) -> int:
        """Epochs that are known."""
        return max(map(len, msgspec.structs.astuple(self)))


ROW_FIELDS = {field.encode_name: field.name for field in msgspec.structs.fields(EpochRow)}
"""The fields of a row, in their order, by their columns' names."""
OPTIONAL = ("val_loss", "val_accuracy", "test_top_k_accuracy", "logged")
"""Fields that only some runs measure."""


class Provenance(msgspec.Struct, frozen=True, gc=False):
    """What may decide the last bits of a result, beside its spec: equal ones give equal bits on the same card."""

    lanes: int = 1
    """Runs that were trained side by side."""
    precision: str = ""
    """Precision of matrix products, as JAX names it."""
    driver: str = ""
    """Version of the GPU's."""
    executable: str = ""
    """Digest of the compiled epoch, the choices included that were made by timing on a GPU."""
    flags: str = ""
    """XLA's, on a GPU."""


class RunResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What `result.json` holds: the outcome of a finished run."""

    run_id: str
    spec: RunSpec
    trainable_parameters: int
    test_correct: int
    test_images: int
    test_accuracy: Number
    """After the last epoch: `test_correct / test_images`. A recorded run has no counts; it has the share that its
    program measured on its validation data, or None."""
    test_loss: Number
    accuracy: Number
    loss: Number
    best_test_accuracy: Number
    best_epoch: int
    val_loss: Number = None
    val_accuracy: Number = None
    test_top_k_accuracy: Number = None
    logged: tuple[tuple[str, Number], ...] = ()
    """What the program of a recorded run measured besides, after the last epoch."""
    epochs_trained: int | None = None
    """Where early stopping, or the program that trained it, ended the run before its last epoch: after so many."""
    restored_epoch: int | None = None
    """The epoch whose weights and metrics these are, where the best weights were restored; else the last one's."""
    slope: Number = None
    """Test accuracy gained an epoch over the last ten, by least squares."""
    slope_error: Number = None
    """Standard error of `slope`."""
    dead_units: Number = None
    """Share of hidden ReLU units that no test image activates."""
    saturated_units: Number = None
    """Share of hidden tanh activations beyond 0.99 in size, over the test images."""
    test_recall: tuple[Number, ...] = ()
    """Of each class, in label order: the share of its test images that is right; None of a class that has none. Empty
    where an earlier version or another program trained the run."""
    diverged: bool = False
    interrupted: bool = False
    """The program of a recorded run ended, or left its fit, before the fit came to its own end."""
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
    data_name: str = ""
    """What the data set was called; its fingerprint is in the spec."""
    trained_by: str = "fast"
    provenance: Provenance = Provenance()

    @property
    def is_recorded(self) -> bool:
        """Another program trained it: it has a curve, and no file that could be handed in."""
        return self.spec.recording is not None

    @property
    def accuracy_or_nan(self) -> float:
        """The test accuracy, which only a recorded run may lack."""
        return float("nan") if self.test_accuracy is None else self.test_accuracy


FINAL = tuple(sorted({*EpochRow.__struct_fields__} & {*RunResult.__struct_fields__} - {"seconds"}))
"""What a result takes from the row of the last epoch."""


def finite(values: Iterable[float]) -> tuple[Number, ...]:
    """Replace what JSON cannot carry by None."""
    return tuple(value if value - value == 0 else None for value in values)
