"""Checks `.keras` files as the grader would: plain TensorFlow Keras, a process of its own, accuracy counted again.

`python -m engine.tools.verify` reads a list of `VerifyTask` from standard input. It writes a line for each to standard
output as soon as it is known: a `VerifyOutcome` as JSON.
"""

import hashlib
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from engine.core.compilation import batches_of
from engine.core.data_shape import DataShape
from engine.core.limits import MAX_SOURCE_BYTES
from engine.core.spec import OwnModel
from engine.machine import backends
from engine.machine.files import Folder
from engine.machine.system import version
from engine.protocol import DataSet
from engine.storage.npz import DataError
from engine.storage.zip_check import first_line, is_machine_error, reason
from engine.tools.comparison import Check, fit_check
from engine.tools.keras_file import Checked, ConfigCheck, KerasFileError, checked, listed
from engine.tools.verification import Requirement, Verification, VerifyOutcome, VerifyTask
from engine.training import model_sources

if TYPE_CHECKING:
    from engine.data.images import Images

REASON = re.compile(r"Exception encountered: |Example error message for object .*:\n")
"""What stands before the reason in Keras's messages."""
MAX_CHUNK = 500
"""Images that the network evaluates at once."""
CHUNK_NUMBERS = 2**26
"""Largest output of a layer for them, in numbers."""


def verify(
    path: Path, source: Sequence[str], asked: Requirement | None, layout: str = "", model_file: Path | None = None
) -> Verification:
    """Load a private copy of the file in TensorFlow Keras, check it, and count its right predictions.

    Args:
        path: the file.
        source: paths of the data, as of `dataset.load_from`.
        asked: the requirements; None: only whether it can be loaded, and its accuracy.
        layout: the order of the images' axes, as of `dataset.load_from`.
        model_file: the model file of an own model, which the user approved.

    Raises:
        ModelError: the model file fails.
        KerasFileError: it cannot be loaded, or is not safe to.
        DataError: the data cannot be used.
    """
    own = asked.configuration.network.model if asked else None
    data = partial(_loaded_data, tuple(source), layout)  # before the file where it decides what the file may hold
    check, known = (listed, {}) if own is None else _own(own, model_file, lambda: data()[1].shape)
    with checked(path, check) as file:
        images, data_set = data()
        model = _loaded(file, path, known)
        from engine.tools.model_checks import optimizer_checks, weights_check

        expected, given = data_set.input_shape, tuple(model.input_shape[1:])
        if given != expected:
            raise KerasFileError(f"{path} takes images of shape {given}; the data has {expected}.")
        if model.output_shape[1:] != (data_set.shape.classes,):
            raise KerasFileError(
                f"{path} gives {model.output_shape[1:]} numbers an image; {data_set.shape.classes} classes are asked."
            )
        correct = _count_right(model, images, file.size.largest)
        return Verification(
            file=str(path),
            sha256=file.sha256,
            bytes=file.bytes,
            trainable_parameters=sum(math.prod(variable.shape) for variable in model.trainable_variables),
            test_correct=correct,
            test_images=data_set.test_images,
            test_accuracy=correct / data_set.test_images,
            has_optimizer_state=bool(file.iterations),
            versions={name: version(name) for name in ("tensorflow", "keras")},
            checks=(
                weights_check(model),
                *optimizer_checks(model, file.iterations),
                *(_checks(path, file, model, asked, data_set) if asked else ()),
            ),
            iterations=file.iterations,
        )


@lru_cache(maxsize=1)
def _loaded_data(source: tuple[str, ...], layout: str) -> "tuple[Images, DataSet]":
    """Load the data once for all files that are verified on it."""
    from engine.data import dataset

    return dataset.load_from(source, layout)


def _own(own: OwnModel, model_file: Path | None, shape: Callable[[], DataShape]) -> tuple[ConfigCheck, dict[str, Any]]:
    """Build an own model; return the check of a file of it, and the classes that its file may name."""
    if model_file is None:
        raise KerasFileError(f"A file of {own.label} is verified with its model file alone.")
    _prepare()
    from engine.tools import own_file
    from engine.training import own_models

    try:
        with Folder.at(model_file.parent) as folder:
            content = folder.read(model_file.name, MAX_SOURCE_BYTES)
    except OSError as error:
        raise KerasFileError(f"{model_file} cannot be read ({error.strerror}).") from error
    if hashlib.sha256(content).hexdigest() != own.sha256:
        raise KerasFileError(f"{model_file} is not the file that builds {own.label}.")
    model_sources.learn(content.decode())
    model = own_models.build(own, shape(), seed=0)
    return own_file.same_as(model, own), own_file.custom_objects(model, own)


def _prepare() -> None:
    """Load TensorFlow as a grader has it."""
    backends.prepare_tensorflow(3)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the grader has none, and training may need it
    backends.settle_tensorflow()


def _loaded(file: Checked, path: Path, known: dict[str, Any]) -> Any:
    """Load the copy that was checked; messages name the file that was given."""
    _prepare()
    import keras

    warnings.simplefilter("ignore")  # a file without an optimizer's state is reported by our own message
    try:
        return keras.saving.load_model(file.path, custom_objects=known, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as error:
        if is_machine_error(error):
            raise KerasFileError(f"{path} cannot be loaded ({reason(error)}).") from error
        problem = (_reason_of(error) or "no reason given").replace(str(file.path), path.name)
        raise KerasFileError(f"{path} does not load in Keras {keras.__version__}: {problem}") from error


def _reason_of(error: Exception) -> str:
    """Return why Keras did not load a file: its message begins with other things, and may quote a whole model."""
    return REASON.split(str(error))[-1].strip().split("\n", 1)[0][:200]


def _count_right(model: Any, images: "Images", largest: int) -> int:
    """Return the number of test images that the model predicts correctly."""
    import numpy as np

    correct, chunk = 0, max(1, min(MAX_CHUNK, CHUNK_NUMBERS // largest))
    for start in range(0, len(images.test_labels), chunk):
        pixels = images.test_images[start : start + chunk].astype(np.float32)
        predicted = np.asarray(model(pixels, training=False)).argmax(axis=-1)
        correct += int((predicted == images.test_labels[start : start + chunk]).sum())
    return correct


def _checks(path: Path, file: Checked, model: Any, asked: Requirement, data: DataSet) -> list[Check]:
    from engine.tools.model_checks import model_checks

    training, limit, size = asked.configuration.training, asked.limit_mib, file.bytes / 2**20
    batches = batches_of(training, data.train_images)
    return [
        Check("extension", path.suffix, path.suffix == ".keras"),
        Check("size", f"{size:.1f} MiB" + (f" of {limit} MiB" if limit else ""), limit is None or size <= limit),
        *model_checks(model, asked.configuration, data.shape, batches),
        fit_check(file.iterations, batches, training, fitted=asked.fitted),
    ]


def outcome_of(task: VerifyTask) -> VerifyOutcome:
    """Verify a file; where that fails, say why."""
    model_file = Path(task.model_file) if task.model_file is not None else None
    try:
        return VerifyOutcome(verify(Path(task.file), task.data, task.asked, task.layout, model_file))
    except (KerasFileError, DataError) as error:
        return VerifyOutcome(problem=str(error))
    except Exception as error:  # noqa: BLE001  a file from outside may make Keras raise anything
        if is_machine_error(error):
            return VerifyOutcome(problem=f"{task.file} cannot be verified here: {reason(error)}.")
        return VerifyOutcome(problem=f"{task.file} cannot be used: {type(error).__name__}: {first_line(error)}.")


def main() -> int:
    """Verify files one after another; what a model file prints is not part of the answer."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    backends.clear_environment()
    for task in msgspec.json.decode(sys.stdin.buffer.read(), type=list[VerifyTask]):
        answer.write(msgspec.json.encode(outcome_of(task)) + b"\n")
        answer.flush()
    answer.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
