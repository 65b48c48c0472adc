"""Facts about a training that are read from a Keras model, its optimizer and its logs, without importing Keras."""

import contextlib
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine.core.limits import MAX_SETTINGS, MAX_TITLE
from engine.core.recording import LEARNING_RATE
from engine.core.results import MAX_LOGGED, EpochRow, Number

ACCURACIES = ("accuracy", "acc", "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy")
"""Keras's names of accuracy, by the loss and by the user's choice."""
MAX_LAYERS_SHOWN = 400
"""Greatest length of the list of layers, in characters."""


def text_of(value: object) -> str:
    """Return a value as a short text without control characters."""
    return "".join(sign if sign.isprintable() else " " for sign in str(value)).strip()[:MAX_TITLE]


def settings_of(model: Any, given: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Return the settings of a training; those from the user come first and replace those from the model."""
    known = {**dict(_facts(model)), **{text_of(name): text_of(value) for name, value in given.items()}}
    first = {text_of(name): known[text_of(name)] for name in given}
    return tuple({**first, **known}.items())[: MAX_SETTINGS - 10]


def parameters_of(model: Any) -> int:
    """Count the trainable parameters; 0 if they cannot be read."""
    with contextlib.suppress(Exception):
        return sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return 0


def summary_of(model: Any) -> str:
    """Return the model's own summary; empty if it has none."""
    lines: list[str] = []
    with contextlib.suppress(Exception):
        model.summary(print_fn=lambda line, *_, **__: lines.append(str(line)))
    return "\n".join(lines)


def versions() -> tuple[tuple[str, str], ...]:
    """Return the versions of Keras, its backend and NumPy, if they are loaded."""
    names = ("keras", *_backend(), "numpy")
    versions = ((name, text_of(getattr(sys.modules.get(name), "__version__", ""))) for name in names)
    return tuple((name, version) for name, version in versions if version)


def device() -> str:
    """Return the name of the device: `Keras on jax`."""
    return " on ".join(("Keras", *_backend()))


def follows_schedule(model: Any) -> bool:
    """Say whether the optimizer's learning rate is a schedule, which no callback logs."""
    with contextlib.suppress(Exception):
        return not isinstance(model.optimizer.get_config()[LEARNING_RATE], int | float)
    return False


def learning_rate_of(model: Any) -> float:
    """Return the optimizer's learning rate now."""
    return float(model.optimizer.learning_rate)


def row_of(logs: Mapping[str, object], seconds: float) -> tuple[EpochRow, tuple[str, ...]]:
    """Return the row of an epoch's logs, and the names of logs that are not numbers, or are too many.

    An accuracy is used only beside its loss: without one, a missing loss could not be distinguished from NaN.
    """
    used = {name: name for name in ("loss", "val_loss") if name in logs}
    for kind, loss in (("", "loss"), ("val_", "val_loss")):
        names = [kind + name for name in ACCURACIES if kind + name in logs and loss in logs]
        if names and 0 <= (_number(logs[names[0]]) or 0.0) <= 1:
            used[f"{kind}accuracy"] = names[0]

    def value(field: str) -> Number:
        return _number(logs[used[field]]) if field in used else None

    others = [name for name in logs if name not in used.values()]
    logged: dict[str, Number] = {}
    for name in others[:MAX_LOGGED]:
        with contextlib.suppress(TypeError, ValueError):
            logged[text_of(name)] = _number(logs[name])
    row = EpochRow(
        loss=value("loss"),
        accuracy=value("accuracy"),
        test_loss=value("val_loss"),
        test_correct=None,
        test_images=0,
        seconds=seconds,
        recorded_test_accuracy=value("val_accuracy"),
        logged=tuple(logged.items()),
    )
    return row, tuple(name for name in others if text_of(name) not in logged)


def _number(value: Any) -> Number:
    """Return a logged value; of an array, such as the F1 score of each class, the mean, which Keras shows too.

    Raises:
        TypeError, ValueError: it holds something else than numbers, or nothing.
    """
    try:
        number = float(value)
    except TypeError:
        import numpy as np  # it is there wherever Keras is

        if not (values := np.asarray(value)).size:
            raise
        number = float(values.mean())
    return number if math.isfinite(number) else None


def _backend() -> Iterable[str]:
    with contextlib.suppress(Exception):
        return (text_of(sys.modules["keras"].backend.backend()),)
    return ()


def _facts(model: Any) -> Iterator[tuple[str, str]]:
    """Yield the settings that can be read from the model."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        yield "optimizer", text_of(type(optimizer).__name__.lower())
        with contextlib.suppress(Exception):
            yield "learning_rate", f"{float(optimizer.learning_rate):.6g}"
    loss = getattr(model, "loss", None)
    if loss is not None:
        yield "loss_function", text_of(loss if isinstance(loss, str) else getattr(loss, "name", type(loss).__name__))
    with contextlib.suppress(Exception):
        if layers := ", ".join(map(_layer, model.layers)):
            yield "layers", text_of(layers)[:MAX_LAYERS_SHOWN]


def _layer(layer: Any) -> str:
    size = next((size for name in ("units", "filters", "rate") if (size := getattr(layer, name, None)) is not None), "")
    return f"{type(layer).__name__} {size}".strip()
