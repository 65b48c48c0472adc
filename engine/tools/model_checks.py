"""A loaded model against what a question asks: every layer, every setting, and how it was compiled and fitted.

What is asked is built by the same Keras and compared field by field: unforeseen settings count too.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import msgspec
import numpy as np

from engine.core.data_shape import DataShape
from engine.core.layers import LOSS, METRIC, class_name
from engine.core.spec import Configuration
from engine.tools.comparison import Check, differences, plain, text_of
from engine.training import models

SHOWN = ("units", "filters", "rate", "scale", "activation")
"""Settings that a list of layers shows beside each layer's class."""
ACTIVATIONS: Mapping[str, Mapping[str, Any]] = {
    "ReLU": {"activation": "relu", "max_value": None, "negative_slope": 0.0, "threshold": 0.0},
    "Softmax": {"activation": "softmax", "axis": -1},
    "ELU": {"activation": "elu", "alpha": 1.0},
}
"""Layers that are an activation and nothing else, with the settings at which they are."""
SAME_METRIC = {METRIC, "CategoricalAccuracy", "accuracy", "acc"}
"""What Keras treats as categorical accuracy with one-hot labels."""

LayerConfig = dict[str, Any]


class _ComparedLayer(msgspec.Struct, frozen=True):
    kind: str
    settings: LayerConfig

    @property
    def label(self) -> str:
        given = [self.settings[name] for name in SHOWN if self.settings.get(name) not in (None, "linear")]
        shown = [text_of(value) for value in given if not isinstance(value, bool)]
        return f"{self.kind}({', '.join(shown)})" if shown else self.kind


def model_checks(model: Any, configuration: Configuration, shape: DataShape, batches: int = 0) -> list[Check]:
    """Compare a loaded model with a configuration for data of this shape and so many batches an epoch."""
    asked = models.build(configuration.network, shape, softmax=True, seed=0)
    models.compile_as_asked(asked, configuration.training, batches)
    count, wanted = (sum(int(np.prod(v.shape)) for v in some.trainable_variables) for some in (model, asked))
    text = f"{count:,}" + ("" if count == wanted else f" instead of {wanted:,}")
    return [
        *_layer_checks(model, asked),
        Check("trainable parameters", text, count == wanted),
        *_compile_checks(model, asked),
    ]


def weights_check(model: Any) -> Check:
    """Check that every weight is finite: a network that diverged is not handed in."""
    broken = _broken(model.weights)
    return Check("weights", f"{broken:,} are not finite numbers" if broken else "all finite", not broken)


def optimizer_checks(model: Any, iterations: int | None) -> Iterator[Check]:
    """Yield what is wrong with the state of the optimizer: Keras ignores one that does not fit.

    Args:
        model: loaded, with its optimizer.
        iterations: batches that were counted, as the file has them; None where it holds no state.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or iterations is None:
        return
    counted = getattr(optimizer, "inner_optimizer", optimizer).variables[0]
    if int(counted) != iterations:
        yield Check("optimizer state", "does not fit this network: Keras begins with an empty one", ok=False)
    elif broken := _broken(optimizer.variables):
        yield Check("optimizer state", f"{broken:,} are not finite numbers", ok=False)


def _broken(variables: Iterable[Any]) -> int:
    """Count what is not a finite number."""
    arrays = (np.asarray(variable).astype(np.float32) for variable in variables)  # bfloat16 is not a float to NumPy
    return sum(int(np.count_nonzero(~np.isfinite(array))) for array in arrays)


def _layer_checks(model: Any, asked: Any) -> Iterator[Check]:
    alone, wanted = list(_layers(model)), list(_layers(asked))
    merged = _merged(alone)
    kinds, wanted_kinds = [layer.kind for layer in merged], [layer.kind for layer in wanted]
    is_list = kinds == wanted_kinds
    yield Check("layers", _listed(merged) if is_list else f"{_listed(merged)} instead of {_listed(wanted)}", is_list)
    wrong = []
    for block in difflib.SequenceMatcher(None, kinds, wanted_kinds, autojunk=False).get_matching_blocks():
        for one, other in zip(merged[block.a :][: block.size], wanted[block.b :][: block.size], strict=True):
            wrong += [f"{one.label}: {difference}" for difference in differences(one.settings, other.settings)]
    yield from (Check("setting", difference, ok=False) for difference in wrong)
    form = _form(model, has_merged=len(merged) < len(alone))
    if form and is_list and not wrong and type(asked).__name__ == "Sequential":
        yield Check("form", f"{form}; it computes what the Sequential that is asked for computes")


def _listed(layers: Sequence[_ComparedLayer]) -> str:
    return ", ".join(layer.label for layer in layers if layer.kind != "InputLayer")


def _form(model: Any, *, has_merged: bool) -> str:
    """Return how a model differs from one Sequential in form; empty where it does not."""
    forms = [] if type(model).__name__ == "Sequential" else [f"a {type(model).__name__} model"]
    forms += ["a model inside it"] if any(hasattr(layer, "layers") for layer in model.layers) else []
    forms += ["activations as layers of their own"] if has_merged else []
    return ", ".join(forms)


def _layers(model: Any, *, inside: bool = False) -> Iterator[_ComparedLayer]:
    """Yield a model's input and layers, nested models replaced by their layers."""
    if not inside:
        for tensor in model.inputs:
            yield _ComparedLayer("InputLayer", {"dtype": tensor.dtype, "sparse": tensor.sparse})
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer, inside=True)
        elif type(layer).__name__ != "InputLayer":
            settings = plain(layer.get_config())
            if isinstance(own := settings.get("activation"), dict):  # a layer replaces it
                settings["activation"] = _activation_of(_ComparedLayer(own["class"], own)) or own
            yield _ComparedLayer(type(layer).__name__, settings)


def _merged(layers: list[_ComparedLayer]) -> list[_ComparedLayer]:
    """Put an activation that is a layer of its own into the dense or convolutional layer before it."""
    merged: list[_ComparedLayer] = []
    for layer in layers:
        activation = _activation_of(layer)
        before = merged[-1] if merged else layer
        is_open = before.kind in ("Dense", "Conv2D") and before.settings["activation"] == "linear"
        if activation and is_open and before.settings["dtype"] == layer.settings["dtype"]:
            merged[-1] = _ComparedLayer(before.kind, {**before.settings, "activation": activation})
        else:
            merged.append(layer)
    return merged


def _activation_of(layer: _ComparedLayer) -> str | None:
    """Return the activation that a layer is and nothing else, or None."""
    settings = {key: value for key, value in layer.settings.items() if key not in ("class", "dtype", "trainable")}
    if layer.kind == "Activation" and list(settings) == ["activation"] and isinstance(settings["activation"], str):
        return str(settings["activation"])
    known = ACTIVATIONS.get(layer.kind, {})
    if known and not list(differences({**settings, "activation": known["activation"]}, dict(known))):
        return str(known["activation"])
    return None


def _compile_checks(model: Any, asked: Any) -> Iterator[Check]:
    given = model.get_compile_config() if getattr(model, "compiled", False) else None
    if not given:
        yield Check("compiled", "no: the file names no loss, metric or optimizer", ok=False)
        return
    wished = asked.get_compile_config()
    loss, wanted = _loss(given.get("loss")), _loss(wished["loss"])
    is_kind = isinstance(loss, dict) and loss.get("class") == wanted["class"]
    wrong = list(differences(loss, wanted)) if is_kind else [f"{_name(given.get('loss'))} instead of {LOSS}"]
    if given.get("loss_weights") is not None:
        wrong.append(f"loss weights {text_of(given['loss_weights'])} instead of none")
    yield Check("loss", ", ".join(wrong) or LOSS, not wrong)
    metrics = [_name(metric) for metric in _flat(given.get("metrics"))]
    lacking = [name for name in map(_name, wished["metrics"]) if _same_metrics(name).isdisjoint(metrics)]
    without = "".join(f" without {name}" for name in lacking if name != METRIC)
    yield Check("metric", (", ".join(metrics) or "none") + without, not lacking)
    yield from _optimizer_checks(model.optimizer, asked.optimizer)


def _optimizer_checks(given: Any, asked: Any) -> Iterator[Check]:
    kind, wanted = type(given).__name__, type(asked).__name__
    yield Check("optimizer", kind if kind == wanted else f"{kind} instead of {wanted}", kind == wanted)
    own, other = (plain(optimizer.get_config()) for optimizer in (given, asked))
    for settings in (own, other):
        settings.setdefault("learning_rate", None)
    rate, wanted_rate = own.pop("learning_rate"), other.pop("learning_rate")
    wrong = ", ".join(differences(rate, wanted_rate))
    yield Check("learning rate", wrong or text_of(rate), not wrong)
    if kind == wanted:
        yield from (Check("optimizer", difference, ok=False) for difference in differences(own, other))


def _same_metrics(name: str) -> set[str]:
    """Return what Keras treats as the same metric where labels are one-hot."""
    return SAME_METRIC if name == METRIC else {name, class_name(name)}


def _loss(given: Any) -> Any:
    """Return a loss with all its settings, however it was given."""
    one = _flat(given)[0] if len(_flat(given)) == 1 else given
    if isinstance(plain(one), str) and plain(one) in (LOSS, "CategoricalCrossentropy"):
        one = keras.saving.serialize_keras_object(keras.losses.CategoricalCrossentropy())
    return plain(one)


def _flat(given: Any) -> list[Any]:
    """Return losses or metrics as a list: they are given alone, in lists, or by the output's name."""
    if isinstance(given, dict) and "class_name" not in given:
        given = list(given.values())
    if isinstance(given, list | tuple):
        return [one for item in given for one in _flat(item)]
    return [] if given is None else [given]


def _name(metric: Any) -> str:
    name = plain(metric)
    return str(name["class"]) if isinstance(name, dict) and "class" in name else str(name)
