"""How large a network is, from its configuration as text: Keras makes room for it before it reads a weight. Pure."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from engine.tools.keras_config import MODELS, ConfigError

Shape = tuple[int, ...]
"""Of one image: without the batch."""
Config = Mapping[str, Any]


class Size(msgspec.Struct, frozen=True):
    """What a network takes."""

    input_shape: Shape
    weights: int
    largest: int
    """Numbers in the largest input or output of a layer, for one image."""


class _Layer(msgspec.Struct, frozen=True):
    """A layer of a chain, as the configuration has it."""

    kind: str
    config: Config
    built: object
    """Input shapes that are given a second time; Keras builds the layer for them before it is called."""


def size_of(model: Config) -> Size:
    """Follow the shapes through a chain of layers.

    Raises:
        ConfigError: it is no chain, a layer's settings cannot be, or two places name different shapes.
    """
    try:
        layers = list(_chain(model))
        shape = first = _input_shape(model, layers)
        weights, largest = 0, math.prod(shape)
        for layer in layers:
            for again in (layer.built, layer.config.get("input_shape"), layer.config.get("batch_input_shape")):
                _agree(layer.kind, again, shape)
            if layer.kind == "InputLayer":
                _agree("InputLayer", _declared(layer.config), shape)
                continue
            shape, own = RULES[layer.kind](layer.config, shape) if layer.kind in RULES else (shape, 0)
            weights, largest = weights + own, max(largest, math.prod(shape))
            if not all(side > 0 for side in shape):
                raise ConfigError(f"has a {layer.kind} layer that leaves nothing of an image; it is not loaded")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError("has a config.json that Keras did not write; save the model again") from error
    return Size(first, weights, largest)


def _chain(model: Config) -> Iterator[_Layer]:
    """Yield the layers in the order in which an image passes them, those of nested models too."""
    inner = model["config"]
    yield from _again(model.get("build_config"), inner.get("build_input_shape"))
    for layer in inner["layers"] if model["class_name"] == "Sequential" else _in_order(inner):
        if layer["class_name"] in MODELS:
            yield from _chain(layer)
        else:
            yield _Layer(layer["class_name"], layer["config"], _built(layer.get("build_config")))


def _again(*said: object) -> Iterator[_Layer]:
    """Yield what a model says of its input as a layer that changes nothing."""
    for shape in (_built(said[0]), said[1]):
        if shape is not None:
            yield _Layer("Identity", {}, shape)


def _built(build_config: object) -> object:
    """Return the input shape that a layer is to be built for."""
    if not build_config:
        return None
    if not isinstance(build_config, dict) or set(build_config) != {"input_shape"}:
        raise ConfigError("has a layer with several inputs, which no network of this assignment has; it is not loaded")
    return build_config["input_shape"]


def _in_order(functional: Config) -> list[Config]:
    """Return a Functional model's layers from its only input to its only output.

    Raises:
        ConfigError: they are no chain.
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
    name, *place = nodes[0]["args"][0]["config"]["keras_history"]
    if place != [0, 0] or any(isinstance(value, dict | list) for value in nodes[0].get("kwargs", {}).values()):
        raise _branched()
    return str(name)


def _only_end(ends: Any) -> str:
    """Return the name in `["input", 0, 0]`, or in the `[["input", 0, 0]]` of earlier versions."""
    one = ends[0] if len(ends) == 1 else ends
    return str(one[0]) if len(one) == 3 else ""


def _branched() -> ConfigError:
    return ConfigError("has branches or shared layers, which no network of this assignment has; it is not loaded")


def _input_shape(model: Config, layers: list[_Layer]) -> Shape:
    """Return the shape of an image: of the input layer, or else what the model or its first layer was built for."""
    for layer in layers:
        config = layer.config
        given: Any = _declared(config) if layer.kind == "InputLayer" else layer.built
        given = given or config.get("batch_input_shape")
        if given:
            return _numbers(given[1:])
        if config.get("input_shape"):
            return _numbers(config["input_shape"])
    raise ConfigError("has no input shape: it was saved before it was built; give it an Input, or fit it first")


def _declared(config: Config) -> Any:
    """Return the shape of an input layer, with its batch in front.

    Raises:
        ConfigError: it is given twice, or as a tensor.
    """
    given = [config.get("batch_shape"), [None, *config["shape"]] if config.get("shape") is not None else None]
    found = [shape for shape in given if shape is not None]
    if len(found) != 1 or config.get("input_tensor") is not None:
        raise ConfigError("has an input layer without one shape; it is not loaded")
    return found[0]


def _agree(kind: str, again: Any, shape: Shape) -> None:
    """See that a shape that is given a second time, with or without its batch, is the one that images have there."""
    if again is None:
        return
    batch = len(again) - len(shape)
    if batch not in (0, 1) or _numbers(again[batch:]) != shape:
        raise ConfigError(f"builds its {kind} for {tuple(again)}, where it gets {shape}; it is not loaded")


def _numbers(sides: Any, low: int = 1) -> Shape:
    found = tuple(sides)
    if not all(type(side) is int and low <= side for side in found):
        raise ConfigError(f"has a size of {found!r:.60} in its config.json; it is not loaded")
    return found


def _pair(config: Config, name: str, default: int = 1) -> tuple[int, int]:
    given = config.get(name, default)
    high, wide = _numbers(given if isinstance(given, list) else [given, given])
    return high, wide


def _planes(config: Config, shape: Shape) -> tuple[int, tuple[int, int]]:
    """Return the channels and the sides of a picture."""
    one, other, third = shape
    return (one, (other, third)) if config.get("data_format") == "channels_first" else (third, (one, other))


def _picture(config: Config, channels: int, sides: tuple[int, ...]) -> Shape:
    return (channels, *sides) if config.get("data_format") == "channels_first" else (*sides, channels)


def _strided(config: Config, sides: tuple[int, int], window: tuple[int, int], strides: tuple[int, int]) -> Shape:
    dilation = _pair(config, "dilation_rate")
    reaches = sides
    if config.get("padding", "valid") != "same":
        high, wide = (side - rate * (width - 1) for side, width, rate in zip(sides, window, dilation, strict=True))
        reaches = (high, wide)
    return tuple(-(-reach // stride) for reach, stride in zip(reaches, strides, strict=True))


def _dense(config: Config, shape: Shape) -> tuple[Shape, int]:
    if config.get("lora_rank") is not None:
        raise ConfigError("has a Dense layer with `lora_rank`, which no network of this assignment has")
    (units,) = _numbers([config["units"]])
    return (*shape[:-1], units), units * (shape[-1] + bool(config.get("use_bias", True)))


def _convolution(config: Config, shape: Shape) -> tuple[Shape, int]:
    if config.get("lora_rank") is not None:
        raise ConfigError("has a Conv2D layer with `lora_rank`, which no network of this assignment has")
    filters, groups = _numbers([config["filters"], config.get("groups", 1)])
    kernel, (channels, sides) = _pair(config, "kernel_size"), _planes(config, shape)
    sides_after = _strided(config, sides, kernel, _pair(config, "strides"))
    weights = filters * (channels // groups * math.prod(kernel) + bool(config.get("use_bias", True)))
    return _picture(config, filters, sides_after), weights


def _pooling(config: Config, shape: Shape) -> tuple[Shape, int]:
    window, (channels, sides) = _pair(config, "pool_size", 2), _planes(config, shape)
    strides = _pair(config, "strides") if config.get("strides") is not None else window
    return _picture(config, channels, _strided(config, sides, window, strides)), 0


def _pooled(config: Config, shape: Shape) -> tuple[Shape, int]:
    channels, _ = _planes(config, shape)
    return (_picture(config, channels, (1, 1)) if config.get("keepdims") else (channels,)), 0


def _batch_normalization(config: Config, shape: Shape) -> tuple[Shape, int]:
    return shape, _normalized(config, shape) * (2 + _learned(config))  # a moving mean and variance


def _layer_normalization(config: Config, shape: Shape) -> tuple[Shape, int]:
    return shape, _normalized(config, shape) * _learned(config)


def _normalized(config: Config, shape: Shape) -> int:
    axes = config.get("axis", -1)
    return math.prod((1, *shape)[axis] for axis in (axes if isinstance(axes, list) else [axes]))


def _learned(config: Config) -> int:
    return bool(config.get("center", True)) + bool(config.get("scale", True))


def _flat(config: Config, shape: Shape) -> tuple[Shape, int]:
    return (math.prod(shape),), 0


def _permuted(config: Config, shape: Shape) -> tuple[Shape, int]:
    return tuple(shape[place - 1] for place in _numbers(config["dims"])), 0


def _reshaped(config: Config, shape: Shape) -> tuple[Shape, int]:
    sides = _numbers((side if side != -1 else 1 for side in config["target_shape"]), low=1)
    rest = math.prod(shape) // math.prod(sides)
    return tuple(rest if given == -1 else side for given, side in zip(config["target_shape"], sides, strict=True)), 0


RULES: Mapping[str, Callable[[Config, Shape], tuple[Shape, int]]] = {
    "Dense": _dense,
    "Conv2D": _convolution,
    "MaxPooling2D": _pooling,
    "AveragePooling2D": _pooling,
    "GlobalMaxPooling2D": _pooled,
    "GlobalAveragePooling2D": _pooled,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "Flatten": _flat,
    "Permute": _permuted,
    "Reshape": _reshaped,
}
"""A layer's output shape and number of weights, from its settings and its input; others change neither."""
