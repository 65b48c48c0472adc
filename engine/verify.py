"""Checks a `.keras` file as the grader would: plain TensorFlow Keras, a process of its own, accuracy counted again."""

import argparse
import hashlib
import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from engine import backends
from engine.archives import first_line
from engine.keras_file import KerasFileError, check
from engine.npz import DataError
from engine.spec import Configuration, trainable_parameters

CHUNK = 500


class Asked(msgspec.Struct, frozen=True):
    """What a question wants the file to be."""

    configuration: Configuration
    limit_mib: float | None = None


class Check(msgspec.Struct, frozen=True):
    """One thing looked at: what was found, and whether that is as asked."""

    name: str
    found: str
    ok: bool = True


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

    @property
    def ok(self) -> bool:
        """Everything is as asked."""
        return all(check.ok for check in self.checks)


def verify(path: Path, source: list[str], asked: Asked | None) -> Verification:
    """Load the file in TensorFlow Keras and look at it.

    Raises:
        KerasFileError: it cannot be loaded, or is not safe to.
        DataError: the data cannot be used.
    """
    check(path)
    from engine import data

    images, found = data.load_from(source)
    backends.prepare_tensorflow(3)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the grader has none, and training may need it
    import keras
    import numpy as np

    backends.settle_keras()
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as error:
        first = (str(error).splitlines() or ["no reason given"])[0][:200]
        raise KerasFileError(f"{path} does not load in Keras {keras.__version__}: {first}") from error
    expected, given = (None, *found.input_shape), tuple(model.input_shape)
    if given != expected:
        raise KerasFileError(f"{path} takes images of shape {given[1:]}; the data has {expected[1:]}.")
    correct = 0
    for start in range(0, found.test_images, CHUNK):
        pixels = images.test_images[start : start + CHUNK].astype(np.float32)
        said = np.asarray(model(pixels, training=False)).argmax(axis=-1)
        correct += int((said == images.test_labels[start : start + CHUNK]).sum())
    parameters = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    return Verification(
        file=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        bytes=path.stat().st_size,
        trainable_parameters=parameters,
        test_correct=correct,
        test_images=found.test_images,
        test_accuracy=correct / found.test_images,
        has_optimizer_state=_has_state(model),
        versions={name: importlib.metadata.version(name) for name in ("tensorflow", "keras")},
        checks=_checks(path, model, parameters, asked, found.input_shape) if asked else (),
    )


def _has_state(model: Any) -> bool:
    optimizer = getattr(model, "optimizer", None)
    return optimizer is not None and bool(optimizer.built) and int(optimizer.iterations) > 0


def _checks(path: Path, model: Any, parameters: int, asked: Asked, shape: tuple[int, int, int]) -> tuple[Check, ...]:
    network, training = asked.configuration.network, asked.configuration.training
    size, limit = path.stat().st_size / 2**20, asked.limit_mib
    dense = [layer for layer in model.layers if type(layer).__name__ == "Dense"]
    units = tuple(layer.units for layer in dense)
    activations = [layer.activation.__name__ for layer in dense]
    kinds = {type(part).__name__ for layer in dense for part in (layer.kernel_initializer, layer.bias_initializer)}
    wanted_kinds = {
        "".join(word.title() for word in name.split("_"))
        for name in (network.kernel_initializer, network.bias_initializer)
    }
    optimizer = getattr(model, "optimizer", None)
    rate = float(optimizer.learning_rate) if optimizer is not None else float("nan")
    loss = model.loss if isinstance(model.loss, str) else getattr(model.loss, "name", str(model.loss))
    metrics = _metrics_of(model)
    expected = trainable_parameters(network, shape)
    return (
        Check("extension", path.suffix, path.suffix == ".keras"),
        Check("size", f"{size:.1f} MiB" + (f" of {limit} MiB" if limit else ""), limit is None or size <= limit),
        Check("dense layers", str(units), units == (*network.hidden, 10)),
        Check(
            "activations",
            ", ".join(activations),
            activations == [network.activation] * len(network.hidden) + ["softmax"],
        ),
        Check("initializers", ", ".join(sorted(kinds)), kinds == wanted_kinds),
        Check("loss", str(loss), loss == "categorical_crossentropy"),
        Check("metric", ", ".join(metrics), "categorical_accuracy" in metrics),
        Check("optimizer", type(optimizer).__name__, type(optimizer).__name__.lower() == training.optimizer),
        Check("learning rate", f"{rate:g}", abs(rate - training.learning_rate) <= 1e-6 * training.learning_rate),
        Check("trainable parameters", f"{parameters:,}", parameters == expected),
    )


def _metrics_of(model: Any) -> list[str]:
    compiled = model.get_compile_config() or {}
    return [metric if isinstance(metric, str) else str(metric) for metric in compiled.get("metrics") or []]


def main() -> int:
    """Verify a file; exit code 0 when all is as asked, 1 when not, 2 for wrong use."""
    parser = argparse.ArgumentParser(prog="python -m engine.verify")
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--question", default="", help="what is asked, as JSON")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    backends.clear_environment()
    try:
        asked = msgspec.json.decode(given.question, type=Asked) if given.question else None
        found = verify(given.file, given.data, asked)
    except (KerasFileError, DataError) as error:
        print(f"svhn-tui: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001  a file from outside may make Keras raise anything
        print(f"svhn-tui: {given.file} cannot be used: {type(error).__name__}: {first_line(error)}.", file=sys.stderr)
        return 1
    print(msgspec.json.encode(found).decode() if given.json else _page(found))
    return 0 if found.ok else 1


def _page(found: Verification) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    accuracy = f"{found.test_accuracy:.4f} ({found.test_correct:,} of {found.test_images:,} images)"
    lines = [
        f"{found.file}",
        f"  loaded in             {versions}",
        f"  trainable parameters  {found.trainable_parameters}",
        f"  test accuracy         {accuracy}",
        f"  optimizer state       {'yes' if found.has_optimizer_state else 'no'}",
        f"  size                  {found.bytes:,} bytes",
        f"  sha256                {found.sha256}",
        *(f"  {'ok ' if check.ok else 'NOT'} {check.name:<17} {check.found}" for check in found.checks),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
