"""Checks that a `.keras` file describes an own model: its configuration is what the approved model file builds."""

from typing import Any

import keras
import numpy as np

from engine.core.layer_sizes import Config
from engine.core.spec import OwnModel
from engine.tools import keras_config
from engine.tools.keras_config import ConfigError
from engine.tools.keras_file import ConfigCheck
from engine.tools.layer_shapes import Size
from engine.training import own_models

LARGEST = 2**20
"""Numbers that a layer is assumed to give for an image: its chunks stay small."""
LABELS = ("seed", "shared_object_id")


def same_as(model: keras.Model, asked: OwnModel) -> ConfigCheck:
    """Return a check that a configuration is this model's, but for the names of layers, seeds and the compilation.

    Nothing of a configuration is loaded that the model file did not build itself: no other class, no other function.
    """
    wanted = keras.saving.serialize_keras_object(model)

    def check(config: Config) -> Size:
        keras_config.check_config(config.get("compile_config"))
        names = _names(config), _names(wanted)
        difference = _difference(_plain(config), _plain(wanted), names, {})
        if difference:
            label = asked.label
            raise ConfigError(f"is not what {label} builds (its config.json differs at {difference}); it is not loaded")
        weights = sum(int(np.prod(some.shape)) for some in model.weights)
        return Size(tuple(model.input_shape[1:]), weights, LARGEST)

    return check


def custom_objects(model: keras.Model, asked: OwnModel) -> dict[str, Any]:
    """Return the classes and functions that Keras may load beside its own."""
    return dict(own_models.custom_objects(asked, model))


def _plain(config: Config) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "compile_config"}


def _names(node: object) -> set[str]:
    """Return the names of all layers in a configuration."""
    if isinstance(node, list | tuple):
        return set().union(*map(_names, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    own = {node["name"]} if isinstance(node.get("name"), str) else set()
    return own.union(*map(_names, node.values()))


def _difference(one: object, other: object, names: tuple[set[str], set[str]], known: dict[str, str]) -> str:
    """Return the path of the first difference; empty when there is none. Names have to correspond throughout."""
    if isinstance(one, dict) and isinstance(other, dict):
        if not all(isinstance(some.get(label), int | None) for some in (one, other) for label in LABELS):
            return LABELS[0]
        keys = one.keys() - set(LABELS)
        if differing := keys ^ (other.keys() - set(LABELS)):
            return str(min(differing, key=str))[:60]
        for key in sorted(keys, key=str):
            if difference := _difference(one[key], other[key], names, known):
                return f"{key}.{difference}".rstrip(".") if difference != "." else str(key)
        return ""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return "."
        return next(filter(None, (_difference(*pair, names, known) for pair in zip(one, other, strict=True))), "")
    if isinstance(one, str) and isinstance(other, str) and one in names[0] and other in names[1]:
        return "" if known.setdefault(one, other) == other else "."
    return "" if type(one) is type(other) and one == other else "."
