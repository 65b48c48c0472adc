"""Checks a `.keras` file as the grader would: plain TensorFlow Keras, a process of its own, accuracy counted again."""

import argparse
import hashlib
import math
import os
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from engine.core.compilation import batches_of
from engine.core.data_shape import DataShape
from engine.core.limits import MAX_SOURCE_BYTES
from engine.core.spec import Configuration, OwnModel
from engine.machine import backends
from engine.machine.files import Folder
from engine.machine.system import version
from engine.protocol import DataSet
from engine.storage.npz import DataError
from engine.storage.zip_check import first_line, is_machine_error, reason
from engine.tools.comparison import Check, fit_check
from engine.tools.keras_file import Checked, ConfigCheck, KerasFileError, checked, listed
from engine.training import model_sources

if TYPE_CHECKING:
    from engine.data.dataset import Images

MAX_CHUNK = 500
"""Images that pass the network at once."""
MARKS = {True: "ok ", False: "NOT", None: "?  "}
CHUNK_NUMBERS = 2**26
"""Most numbers that a layer may give for them."""


class Requirement(msgspec.Struct, frozen=True):
    """What a question wants the file to be."""

    configuration: Configuration
    limit_mib: float | None = None
    fitted: bool = True


class Verification(msgspec.Struct, frozen=True):
    """What a file is."""

    file: str
    sha256: str
    bytes: int
    trainable_parameters: int
    test_correct: int
    test_images: int
    test_accuracy: float
    has_optimizer_state: bool
    versions: dict[str, str]
    checks: tuple[Check, ...]
    iterations: int | None = None
    """Batches that its optimizer counted; None where the file holds no state of it."""

    @property
    def ok(self) -> bool:
        """Nothing is other than asked."""
        return all(check.ok is not False for check in self.checks)


def verify(
    path: Path, source: list[str], asked: Requirement | None, layout: str = "", model_file: Path | None = None
) -> Verification:
    """Load a private copy of the file in TensorFlow Keras and look at it.

    Args:
        path: the file.
        source: the data's.
        asked: what it is to be.
        model_file: of an own model, which the user approved.

    Raises:
        ModelError: the model file fails.
        KerasFileError: it cannot be loaded, or is not safe to.
        DataError: the data cannot be used.
    """
    from engine.data import dataset

    own = asked.configuration.network.model if asked else None
    data = cache(lambda: dataset.load_from(source, layout))  # before the file where it decides what the file may hold
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

    warnings.simplefilter("ignore")  # a file without an optimizer's state is reported in our own words
    try:
        return keras.saving.load_model(file.path, custom_objects=known, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as error:
        if is_machine_error(error):
            raise KerasFileError(f"{path} cannot be loaded ({reason(error)}).") from error
        problem = (first_line(error) or "no reason given").replace(str(file.path), path.name)
        raise KerasFileError(f"{path} does not load in Keras {keras.__version__}: {problem}") from error


def _count_right(model: Any, images: "Images", largest: int) -> int:
    """Return how many test images the model has right."""
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


def main() -> int:
    """Verify a file; exit code 0 when all is as asked, 1 when not, 2 for wrong use."""
    parser = argparse.ArgumentParser(prog="python -m engine.tools.verify")
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--layout", default="", help="the order of the images' axes, such as NHWC")
    parser.add_argument("--question", default="", help="what is asked, as JSON")
    parser.add_argument("--model-file", type=Path, help="of an own model; it is run")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    backends.clear_environment()
    try:
        asked = msgspec.json.decode(given.question, type=Requirement) if given.question else None
        verification = verify(given.file, given.data, asked, given.layout, given.model_file)
    except (KerasFileError, DataError) as error:
        print(f"svhn-tui: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001  a file from outside may make Keras raise anything
        if is_machine_error(error):
            print(f"svhn-tui: {given.file} cannot be verified here: {reason(error)}.", file=sys.stderr)
            return 1
        print(f"svhn-tui: {given.file} cannot be used: {type(error).__name__}: {first_line(error)}.", file=sys.stderr)
        return 1
    print(msgspec.json.encode(verification).decode() if given.json else _page(verification))
    return 0 if verification.ok else 1


def _page(verification: Verification) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in verification.versions.items())
    accuracy = (
        f"{verification.test_accuracy:.4f} ({verification.test_correct:,} of {verification.test_images:,} images)"
    )
    lines = [
        f"{verification.file}",
        f"  loaded in             {versions}",
        f"  trainable parameters  {verification.trainable_parameters}",
        f"  test accuracy         {accuracy}",
        f"  optimizer state       {'yes' if verification.has_optimizer_state else 'no'}",
        f"  size                  {verification.bytes:,} bytes",
        f"  sha256                {verification.sha256}",
        *(f"  {MARKS[check.ok]} {check.name:<20} {check.text}" for check in verification.checks),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
