"""The Keras layers and the optimizer of a configuration, by name, to build models and to write code. Pure."""

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from engine.core.data_shape import DataShape
from engine.core.layer_sizes import sized
from engine.core.spec import Network, Optimizer

LOSS = "categorical_crossentropy"
METRIC = "categorical_accuracy"
OPTIMIZERS: Mapping[Optimizer, str] = {
    "adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop", "adagrad": "Adagrad", "nadam": "Nadam",
}  # fmt: skip
"""The class in `keras.optimizers`."""

Setting = str | int | float | tuple[int, ...]


class Layer(msgspec.Struct, frozen=True):
    """A layer of `keras.layers`: its class, and the arguments that are not at their defaults."""

    kind: str
    settings: Mapping[str, Setting] = {}


def layers_of(network: Network, classes: int, *, softmax: bool = True) -> tuple[Layer, ...]:
    """Return the network's layers, from raw pixels (channels, height, width) or features to one output a class.

    Args:
        network: the network.
        classes: how many outputs there are.
        softmax: whether the output is probabilities, as handed in, or logits.
    """
    scaling = (Layer("Rescaling", {"scale": network.input_scaling}),) if network.input_scaling != 1 else ()
    return (
        *scaling,
        *_convolutions(network),
        Layer("Flatten"),
        *_hidden(network),
        _dense(network, classes, "softmax" if softmax else "linear"),
    )


@lru_cache(10_000)
def trainable_parameters(network: Network, shape: DataShape) -> int:
    """Count the weights that training changes; 0 for a network that cannot be built for this data, and for an own
    model, of which only the built one knows."""
    return 0 if network.model is not None or shape_problem(network, shape) else _followed(network, shape)[0]


def shape_problem(network: Network, shape: DataShape) -> str:
    """Say why a network cannot be built for this data, the field's name first; empty when it can, or may."""
    if network.model is not None:
        return ""
    if network.convolutions and len(shape.inputs) != 3:
        return f"convolutions: they need images, and the data has rows of {shape.inputs[0]} features; leave them out."
    _, smallest = _followed(network, shape)
    if smallest < 1:
        sides = " x ".join(map(str, shape.inputs[1:]))
        return f"convolutions: nothing is left of an image of {sides} pixels; take fewer, smaller kernels or less pool."
    return ""


def _followed(network: Network, shape: DataShape) -> tuple[int, int]:
    """Return the trainable weights, and the smallest side of any layer's output."""
    sides, total, smallest = shape.inputs, 0, 1
    for layer in layers_of(network, shape.classes):
        output = sized(layer.kind, layer.settings, sides)
        sides, total, smallest = output.shape, total + output.trainable, min(smallest, *output.shape)
    return total, smallest


def class_name(initializer: str) -> str:
    """Return the class in `keras.initializers` of an initializer's name: `random_normal` is `RandomNormal`."""
    return "".join(word.title() for word in initializer.split("_"))


def _convolutions(network: Network) -> list[Layer]:
    if not network.convolutions:
        return []
    layers = [Layer("Permute", {"dims": (2, 3, 1)})]  # the files give channels first
    for layer in network.convolutions:
        layers.append(
            Layer(
                "Conv2D",
                {
                    "filters": layer.filters,
                    "kernel_size": layer.kernel_size,
                    "strides": layer.strides,
                    "padding": layer.padding,
                    "activation": network.activation,
                    **_initializers(network),
                },
            )
        )
        layers += [Layer("BatchNormalization")] if network.batch_normalization else []
        layers += [Layer("MaxPooling2D", {"pool_size": layer.pool})] if layer.pool > 1 else []
    return layers


def _hidden(network: Network) -> list[Layer]:
    layers: list[Layer] = []
    for units in network.hidden:
        layers.append(_dense(network, units, network.activation))
        layers += [Layer("BatchNormalization")] if network.batch_normalization else []
        layers += [Layer("Dropout", {"rate": network.dropout})] if network.dropout else []
    return layers


def _dense(network: Network, units: int, activation: str) -> Layer:
    return Layer("Dense", {"units": units, "activation": activation, **_initializers(network)})


def _initializers(network: Network) -> dict[str, Setting]:
    return {"kernel_initializer": network.kernel_initializer, "bias_initializer": network.bias_initializer}
