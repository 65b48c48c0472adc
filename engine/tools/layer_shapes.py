"""The size of a network, from its configuration as text: Keras allocates it before it reads a weight. Pure."""

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from engine.core.data_shape import Shape
from engine.core.layer_sizes import Config, SizeError, numbers, sized
from engine.tools.keras_config import MODELS, ConfigError


class Size(msgspec.Struct, frozen=True):
    """The size of a network."""

    input_shape: Shape
    weights: int
    largest: int
    """Numbers in the largest input or output of a layer, for one image."""


class _ChainLayer(msgspec.Struct, frozen=True):
    """A layer of a chain, as the configuration has it."""

    kind: str
    config: Config
    built: object
    """Input shapes that are given a second time; Keras builds the layer for them before it is called."""


def size_of(model: Config) -> Size:
    """Follow the shapes through a chain of layers.

    Raises:
        ConfigError: it is not a chain, a layer's settings cannot be, or two layers declare different shapes.
    """
    try:
        layers = list(_chain(model))
        shape = first = _input_shape(layers)
        weights, largest = 0, math.prod(shape)
        for layer in layers:
            for again in (layer.built, layer.config.get("input_shape"), layer.config.get("batch_input_shape")):
                _agree(layer.kind, again, shape)
            if layer.kind == "InputLayer":
                _agree("InputLayer", _declared(layer.config), shape)
                continue
            if layer.config.get("lora_rank") is not None:
                raise ConfigError(f"has a {layer.kind} layer with `lora_rank`, which no network of this assignment has")
            output = sized(layer.kind, layer.config, shape)
            shape, weights = output.shape, weights + output.trainable + output.fixed
            largest = max(largest, math.prod(shape))
            if not all(side > 0 for side in shape):
                raise ConfigError(f"has a {layer.kind} layer that leaves nothing of an image; it is not loaded")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        if isinstance(error, SizeError):
            raise ConfigError(f"has a size of {error} in its config.json; it is not loaded") from error
        raise ConfigError("has a config.json that Keras did not write; save the model again") from error
    return Size(first, weights, largest)


def _chain(model: Config) -> Iterator[_ChainLayer]:
    """Yield the layers in the order in which an image passes them, those of nested models too."""
    inner = model["config"]
    yield from _again(model.get("build_config"), inner.get("build_input_shape"))
    for layer in inner["layers"] if model["class_name"] == "Sequential" else _in_order(inner):
        if layer["class_name"] in MODELS:
            yield from _chain(layer)
        else:
            yield _ChainLayer(layer["class_name"], layer["config"], _built(layer.get("build_config")))


def _again(*arguments: object) -> Iterator[_ChainLayer]:
    """Yield a model's declared input as a layer that changes nothing."""
    for shape in (_built(arguments[0]), arguments[1]):
        if shape is not None:
            yield _ChainLayer("Identity", {}, shape)


def _built(build_config: object) -> object:
    """Return the input shape that a layer is to be built for."""
    if not build_config or build_config == {"shapes_dict": {}}:  # `model.build()`, which adds nothing
        return None
    if not isinstance(build_config, dict) or set(build_config) != {"input_shape"}:
        raise ConfigError("has a layer with several inputs, which no network of this assignment has; it is not loaded")
    return build_config["input_shape"]


def _in_order(functional: Config) -> list[Config]:
    """Return a Functional model's layers from its only input to its only output.

    Raises:
        ConfigError: they are not a chain.
    """
    follower: dict[str | None, Config] = {}
    for layer in functional["layers"]:
        before = _before(layer)
        if before in follower:
            raise _branched()
        follower[before] = layer
    ordered: list[Config] = []
    name: str | None = None
    while (layer := follower.pop(name, {})) and len(ordered) < len(functional["layers"]):
        ordered.append(layer)
        name = layer["name"]
    ends = [_only_end(functional[key]) for key in ("input_layers", "output_layers")]
    if follower or ends != [ordered[0]["name"], name]:
        raise _branched()
    return ordered


def _before(layer: Config) -> str | None:
    """Return the name of the layer that this one is called on; None for an input."""
    nodes = layer.get("inbound_nodes") or []
    if not nodes and layer["class_name"] == "InputLayer":
        return None
    if len(nodes) != 1 or len(nodes[0]["args"]) != 1 or not isinstance(nodes[0]["args"][0], dict):
        raise _branched()
    name, *indices = nodes[0]["args"][0]["config"]["keras_history"]
    if indices != [0, 0] or any(isinstance(value, dict | list) for value in nodes[0].get("kwargs", {}).values()):
        raise _branched()
    return str(name)


def _only_end(ends: Any) -> str:
    """Return the name in `["input", 0, 0]`, or in the `[["input", 0, 0]]` of earlier versions.

    Raises:
        ConfigError: it is in a dictionary.
    """
    if isinstance(ends, dict):
        raise ConfigError("has its input or its output in a dictionary; give keras.Model the tensors themselves")
    one = ends[0] if len(ends) == 1 else ends
    return str(one[0]) if len(one) == 3 else ""


def _branched() -> ConfigError:
    return ConfigError("has branches or shared layers, which no network of this assignment has; it is not loaded")


def _input_shape(layers: list[_ChainLayer]) -> Shape:
    """Return the shape of an image: of the input layer, or else what the model or its first layer was built for."""
    for layer in layers:
        config = layer.config
        given: Any = _declared(config) if layer.kind == "InputLayer" else layer.built
        given = given or config.get("batch_input_shape")
        if given:
            return numbers(given[1:])
        if config.get("input_shape"):
            return numbers(config["input_shape"])
    raise ConfigError("has no input shape: it was saved before it was built; give it an Input, or fit it first")


def _declared(config: Config) -> Any:
    """Return the shape of an input layer, with its batch in front.

    Raises:
        ConfigError: it is given twice, or as a tensor.
    """
    given = [config.get("batch_shape"), [None, *config["shape"]] if config.get("shape") is not None else None]
    shapes = [shape for shape in given if shape is not None]
    if len(shapes) != 1 or config.get("input_tensor") is not None:
        raise ConfigError("has an input layer without one shape; it is not loaded")
    return shapes[0]


def _agree(kind: str, again: Any, shape: Shape) -> None:
    """Check that a shape that is given a second time, with or without its batch, is the shape of images there."""
    if again is None:
        return
    batch = len(again) - len(shape)
    if batch not in (0, 1) or numbers(again[batch:]) != shape:
        raise ConfigError(f"builds its {kind} for {tuple(again)}, where it gets {shape}; it is not loaded")
