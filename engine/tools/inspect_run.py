"""Predicts the test images with a finished run's network, and draws images; a process of its own, with Keras on JAX.

`python -m engine.tools.inspect_run` reads an `InspectionTask` from stdin and writes an `Inspected` to stdout.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from engine import protocol as p
from engine.core.data_shape import Shape
from engine.core.spec import OwnModel
from engine.data import dataset as datasets
from engine.data.images import Images
from engine.machine import backends
from engine.storage.npz import DataError
from engine.storage.zip_check import first_line
from engine.tools.keras_file import ConfigCheck, KerasFileError, checked, listed
from engine.training import model_sources

SAMPLES = 3
"""Training images shown of each class."""
MISTAKES = 24
CHUNK = 500


class InspectionTask(msgspec.Struct, frozen=True):
    """What to inspect: a data set, and the file of a run, if one is named."""

    data: p.DataSet
    run_id: str = ""
    asked: str = ""
    """The fingerprint of the data set, where it was asked for by that."""
    file: str = ""
    model: OwnModel | None = None
    source: str = ""
    """The text of an own model's file, which the user approved."""


def inspect(task: InspectionTask) -> p.Inspected:
    """Return the predictions and images of a task.

    Raises:
        DataError: the data cannot be used.
        KerasFileError: the run's file cannot be loaded, or not safely.
    """
    images = datasets.load(task.data)
    show = partial(_pixels, scale=_scale_of(images.test_images))
    if not task.file:
        return p.Inspected(run_id="", data=task.asked, pictures=_samples(images, show))
    probabilities, kernel = _predicted(task, images.test_images)
    predicted, true = probabilities.argmax(axis=1), images.test_labels.astype(np.int64)
    classes = probabilities.shape[1]
    confusion = np.bincount(true * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    wrong = np.flatnonzero(predicted != true)
    surest = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:MISTAKES]
    mistakes = tuple(
        p.Picture(int(true[index]), show(images.test_images[index]), int(predicted[index]),
                  float(probabilities[index, predicted[index]]))
        for index in surest
    )  # fmt: skip
    return p.Inspected(
        run_id=task.run_id,
        confusion=tuple(tuple(map(int, row)) for row in confusion),
        pictures=mistakes,
        templates=_templates(kernel, task.data.input_shape)
        if kernel is not None and len(images.shape.inputs) == 3
        else (),
    )


def _samples(images: Images, show: Callable[[np.ndarray], bytes]) -> tuple[p.Picture, ...]:
    if len(images.shape.inputs) != 3:
        return ()
    pictures = []
    for label in np.unique(images.train_labels):
        for index in np.flatnonzero(images.train_labels == label)[:SAMPLES]:
            pictures.append(p.Picture(int(label), show(images.train_images[index])))
    return tuple(pictures)


def _predicted(task: InspectionTask, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the probabilities, (images, classes), and the kernel, (inputs, classes), where it is the only one."""
    backends.prepare_jax()
    import keras

    backends.settle_jax()
    check: ConfigCheck = listed
    known: dict[str, object] = {}
    if task.model is not None:
        from engine.tools import own_file
        from engine.training import own_models

        model_sources.learn(task.source)
        built = own_models.build(task.model, task.data.shape, seed=0)
        check, known = own_file.same_as(built, task.model), own_file.custom_objects(built, task.model)
    with checked(Path(task.file), check) as safe:  # it may have come with an import
        model = keras.saving.load_model(safe.path, custom_objects=known, compile=False, safe_mode=True)
    parts = [np.asarray(model(images[start : start + CHUNK].astype(np.float32), training=False))
             for start in range(0, len(images), CHUNK)]  # fmt: skip
    weights = model.get_weights()
    return np.concatenate(parts), weights[0] if len(weights) == 2 else None


def _scale_of(images: np.ndarray) -> tuple[float, float]:
    """Return the values that are shown as black and as white: of bytes 0 and 255, of floats as they are used."""
    if images.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(images.min()), float(images.max())
    return (0.0, 1.0 if high <= 1 else max(255.0, high)) if low >= 0 else (low, high)


def _pixels(image: np.ndarray, scale: tuple[float, float] = (0.0, 255.0)) -> bytes:
    """Turn (channels, height, width) into red, green and blue bytes, row by row; nothing for a row of features."""
    if image.ndim != 3:
        return b""
    if scale != (0.0, 255.0):
        image = np.clip((image - scale[0]) * (255 / ((scale[1] - scale[0]) or 1)), 0, 255)
    rows = np.moveaxis(image, 0, -1)
    return (rows if rows.shape[-1] == 3 else np.repeat(rows[..., :1], 3, axis=-1)).astype(np.uint8).tobytes()


def _templates(kernel: np.ndarray, shape: Shape) -> tuple[bytes, ...]:
    """Draw the weights of each class of a linear network: grey is no weight, bright and dark are the largest ones."""
    largest = np.abs(kernel).max(axis=0, keepdims=True)
    scaled = np.round(127.5 + 127.5 * kernel / np.where(largest > 0, largest, 1))
    return tuple(_pixels(scaled[:, label].reshape(shape)) for label in range(kernel.shape[1]))


def main() -> int:
    """Read a task, and write the result."""
    backends.clear_environment()
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=InspectionTask)
    try:
        inspected = inspect(task)
    except (DataError, KerasFileError) as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001  an imported file may make Keras raise anything
        print(f"{task.file or task.data.train_path}: {type(error).__name__}: {first_line(error)}.", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(p.encode(inspected))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
