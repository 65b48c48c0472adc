"""The arguments of Keras's `compile` for a configuration: optimizer, schedule, loss and metrics. Pure.

Each is a call of a Keras class, from which models are made (engine/training/models.py) and code is written
(svhn_tui/assignment/keras_code.py). Arguments at Keras's defaults are left out.
"""

import math
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from engine.core.layers import LOSS, METRIC, OPTIMIZERS
from engine.core.options import TRAINING, KerasPart
from engine.core.spec import Training

Argument: TypeAlias = "str | int | float | bool | Call | None"


class Call(msgspec.Struct, frozen=True):
    """A call of a class in a module of Keras, such as `optimizers` and `Adam`."""

    module: str
    kind: str
    arguments: Mapping[str, Argument]


def batches_of(training: Training, train_images: int) -> int:
    """Return how many batches an epoch has; images that validation holds out are in none."""
    return math.ceil(held_in(train_images, training.validation_split) / training.batch_size)


def held_in(images: int, validation_split: float) -> int:
    """Return how many of the images Keras trains on: the last ones are held out."""
    return int(images * (1 - validation_split))


def optimizer_of(training: Training, batches: int = 0) -> Call:
    """Return the optimizer.

    Args:
        training: its settings.
        batches: of an epoch; a schedule counts in batches.

    Raises:
        ValueError: there is a schedule, and the number of batches is not known.
    """
    rate = schedule_of(training, batches) if has_schedule(training) else training.learning_rate
    arguments: dict[str, Argument] = {"learning_rate": rate, **_settings(training, "optimizer")}
    return Call("optimizers", OPTIMIZERS[training.optimizer], arguments)


def has_schedule(training: Training) -> bool:
    """Say whether the learning rate changes from batch to batch."""
    return training.schedule != "constant" or training.warmup_epochs > 0


def schedule_of(training: Training, batches: int) -> Call:
    """Return the learning rate as a schedule of Keras, for epochs of so many batches.

    A constant rate after a warm-up is a polynomial of power 1 that ends at the rate and keeps it.

    Raises:
        ValueError: the number of batches is not known.
    """
    if batches < 1:
        raise ValueError("a learning-rate schedule needs the number of batches of an epoch")
    rate, warmup = training.learning_rate, training.warmup_epochs * batches
    if training.schedule == "constant":
        return _schedule("PolynomialDecay", initial_learning_rate=0.0, decay_steps=warmup, end_learning_rate=rate,
                         power=1.0)  # fmt: skip
    if training.schedule != "cosine":
        return _schedule("ExponentialDecay", initial_learning_rate=rate, decay_steps=training.decay_epochs * batches,
                         decay_rate=training.decay_rate, staircase=training.schedule == "step")  # fmt: skip
    left = (training.epochs - training.warmup_epochs) * batches
    if not warmup:
        return _schedule("CosineDecay", initial_learning_rate=rate, decay_steps=left, alpha=training.alpha)
    return _schedule("CosineDecay", initial_learning_rate=0.0, decay_steps=left, alpha=training.alpha,
                     warmup_target=rate, warmup_steps=warmup)  # fmt: skip


def _schedule(kind: str, **arguments: float | bool) -> Call:
    return Call("optimizers.schedules", kind, arguments)


def loss_of(training: Training) -> str | Call:
    """Return the loss: by its name where nothing is set for it."""
    settings = _settings(training, "loss")
    return Call("losses", "CategoricalCrossentropy", settings) if settings else LOSS


def metrics_of(training: Training) -> tuple[str, ...]:
    """Return the metrics by Keras's names."""
    return (METRIC, *training.metrics)


def data_problem(training: Training, train_images: int, classes: int) -> str:
    """Return why a training does not suit data of so many images and classes, in a sentence; empty when it does."""
    left = held_in(train_images, training.validation_split)
    if not left:
        return f"validation_split holds out all {train_images:,} images; none is left to train on."
    if training.patience and left == train_images:
        return f"validation_split holds out none of {train_images:,} images; early stopping needs some."
    weights = len(training.class_weight)
    if weights in (0, classes):
        return ""
    return f"class_weight has {weights:,} weights and the data {classes:,} classes: give one for each, in label order."


def _settings(training: Training, use: KerasPart) -> dict[str, Argument]:
    """Return the options of a part that are not at their defaults, which are Keras's too."""
    options = (option for option in TRAINING if option.use == use)
    return {option.name: value for option in options if (value := getattr(training, option.name)) != option.default}
