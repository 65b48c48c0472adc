"""What a Keras layer makes of a shape, and how many weights it has, from its configuration alone. Pure.

The one formula for both: the layers that we build (`engine/core/layers.py`) and those of a file from outside
(`engine/tools/layer_shapes.py`).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from engine.core.data_shape import Shape

Config = Mapping[str, Any]
"""The arguments of a layer; what is left out is at Keras's default."""


class Sized(NamedTuple):
    """The shape of a layer's output for one image, and the layer's numbers of weights."""

    shape: Shape
    trainable: int = 0
    fixed: int = 0
    """Weights that training does not change by gradients."""


class SizeError(ValueError):
    """A number is not a valid size."""


def sized(kind: str, config: Config, shape: Shape) -> Sized:
    """Return what a layer makes of a shape.

    Raises:
        SizeError: one of its sizes is not a whole number above 0.
        KeyError, TypeError, ValueError, IndexError: it does not accept this shape, or its configuration is invalid.
    """
    return RULES[kind](config, shape) if kind in RULES else Sized(shape)


def numbers(sides: Iterable[Any]) -> Shape:
    """Return whole numbers above 0.

    Raises:
        SizeError: they are not.
    """
    lengths = tuple(sides)
    if not all(type(side) is int and side >= 1 for side in lengths):
        raise SizeError(f"{lengths!r:.60}")
    return lengths


def _pair(config: Config, name: str, default: int = 1) -> tuple[int, int]:
    given = config.get(name, default)
    high, wide = numbers(given if isinstance(given, list) else [given, given])
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


def _dense(config: Config, shape: Shape) -> Sized:
    (units,) = numbers([config["units"]])
    return Sized((*shape[:-1], units), units * (shape[-1] + bool(config.get("use_bias", True))))


def _convolution(config: Config, shape: Shape) -> Sized:
    filters, groups = numbers([config["filters"], config.get("groups", 1)])
    kernel, (channels, sides) = _pair(config, "kernel_size"), _planes(config, shape)
    sides_after = _strided(config, sides, kernel, _pair(config, "strides"))
    weights = filters * (channels // groups * math.prod(kernel) + bool(config.get("use_bias", True)))
    return Sized(_picture(config, filters, sides_after), weights)


def _pooling(config: Config, shape: Shape) -> Sized:
    window, (channels, sides) = _pair(config, "pool_size", 2), _planes(config, shape)
    strides = _pair(config, "strides") if config.get("strides") is not None else window
    return Sized(_picture(config, channels, _strided(config, sides, window, strides)))


def _pooled(config: Config, shape: Shape) -> Sized:
    channels, _ = _planes(config, shape)
    return Sized(_picture(config, channels, (1, 1)) if config.get("keepdims") else (channels,))


def _batch_normalization(config: Config, shape: Shape) -> Sized:
    units = _normalized(config, shape)
    return Sized(shape, units * _learned(config), 2 * units)  # a moving mean and variance


def _layer_normalization(config: Config, shape: Shape) -> Sized:
    return Sized(shape, _normalized(config, shape) * _learned(config))


def _normalized(config: Config, shape: Shape) -> int:
    axes = config.get("axis", -1)
    return math.prod((1, *shape)[axis] for axis in (axes if isinstance(axes, list) else [axes]))


def _learned(config: Config) -> int:
    return bool(config.get("center", True)) + bool(config.get("scale", True))


def _flat(config: Config, shape: Shape) -> Sized:
    return Sized((math.prod(shape),))


def _permuted(config: Config, shape: Shape) -> Sized:
    return Sized(tuple(shape[axis - 1] for axis in numbers(config["dims"])))


def _reshaped(config: Config, shape: Shape) -> Sized:
    sides = numbers(side if side != -1 else 1 for side in config["target_shape"])
    rest = math.prod(shape) // math.prod(sides)
    return Sized(
        tuple(rest if given == -1 else side for given, side in zip(config["target_shape"], sides, strict=True))
    )


RULES: Mapping[str, Callable[[Config, Shape], Sized]] = {
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
"""Rules by the layer's class; other layers change no shape and have no weights."""
