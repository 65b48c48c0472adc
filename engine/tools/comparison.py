"""Compares a Keras configuration with the one that is asked for, field by field. Pure."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from engine.core.spec import Training
from engine.tools.keras_config import POLICIES

FREE: Mapping[str, str] = {
    "name": "what a layer, a loss or an optimizer is called",
    "seed": "where the random numbers of an initializer or of dropout begin",
    "batch_shape": "the images' shape is compared with the data's; Keras takes batches of another size all the same",
    "build_config": "shapes that follow from the input",
    "module": "where a version of Keras keeps a class",
    "registered_name": "the same",
    "shared_object_id": "a number that is drawn when the file is written",
}
"""Settings that may differ from what is asked, and why; every other one has to be equal."""
MAX_TEXT = 60
"""Characters of a setting's value in a message."""
FLOAT32 = 1e-7
"""Half the distance of two neighbouring float32 numbers, in which Keras computes, is less."""


class Check(msgspec.Struct, frozen=True):
    """One comparison: its outcome as text, and whether that is as asked; `None` where the file does not show it."""

    name: str
    text: str = msgspec.field(name="found")
    ok: bool | None = True


def fit_check(iterations: int | None, batches: int, training: Training, *, fitted: bool) -> Check:
    """Compare how often the optimizer has changed the weights with how often it is asked to.

    Args:
        iterations: batches that the file's optimizer counted; None where the file holds no state of it.
        batches: of an epoch.
        training: what is asked; early stopping may end it after any epoch.
        fitted: whether the question asks for a fitted network at all.
    """
    if iterations is None:
        text = "not known, the file holds no optimizer state"
        return Check("fitted", text if fitted else f"{text}; the question asks for none", None)
    if not fitted:
        return Check("fitted", "no" if not iterations else f"batches: {iterations:,}; none are asked", not iterations)
    epochs, (trained, left) = training.epochs, divmod(iterations, batches)
    if iterations == epochs * batches:
        return Check("fitted", f"batches: {iterations:,}, as many as {epochs} x {batches:,}")
    if training.patience and not left and training.start_from_epoch + training.patience < trained < epochs:
        return Check("fitted", f"batches: {iterations:,}, {trained} x {batches:,}: stopped early, of {epochs} epochs")
    counted = f"batches: {iterations:,}" if iterations else "never, or compiled again since"
    return Check("fitted", f"{counted}; asked are {epochs} x {batches:,} = {epochs * batches:,}", ok=False)


def differences(given: Any, wanted: Any, where: str = "") -> Iterator[str]:
    """Yield each setting that is not as asked: `stddev 0.01 instead of 0.05`."""
    if isinstance(given, dict) and isinstance(wanted, dict) and given.get("class") == wanted.get("class"):
        for key in sorted({*given, *wanted}):
            yield from differences(given.get(key), wanted.get(key), f"{where}.{key}" if where else key)
    elif not same(given, wanted):
        yield f"{where} {text_of(given)} instead of {text_of(wanted)}".strip()


def plain(value: Any) -> Any:
    """Return a configuration as Keras writes it without what may differ; `class` names the class of an object."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in POLICIES:
        return value["config"]["name"]
    if value.get("class_name") == "function":
        return value["config"]
    if "class_name" in value and isinstance(value.get("config"), dict):
        return {"class": value["class_name"], **plain(value["config"])}
    return {key: plain(item) for key, item in value.items() if key not in FREE}


def same(given: Any, wanted: Any) -> bool:
    """Compare values; numbers to the precision of float32."""
    if isinstance(given, list) and isinstance(wanted, list):
        return len(given) == len(wanted) and all(map(same, given, wanted))
    if type(given) in (int, float) and type(wanted) in (int, float):
        return math.isclose(given, wanted, rel_tol=FLOAT32)
    return bool(given == wanted)


def text_of(value: Any) -> str:
    """Return a setting as text."""
    if isinstance(value, dict):
        inner = ", ".join(f"{key}={text_of(item)}" for key, item in value.items() if key != "class")
        return f"{value.get('class', '')}({inner if len(inner) < MAX_TEXT else '...'})"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)[:MAX_TEXT]
