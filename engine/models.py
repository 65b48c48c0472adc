"""Keras models from configurations. Works on whichever backend Keras was started with."""

import random
import secrets
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from engine import files
from engine.spec import CLASSES, Configuration, Network, Optimizer, Training

LOSS = "categorical_crossentropy"
METRIC = "categorical_accuracy"

_building = threading.Lock()
"""Keras seeds its initializers from Python's one global generator: only one thread may build at a time."""


def build(
    network: Network,
    input_shape: tuple[int, int, int],
    *,
    softmax: bool,
    seed: int,
    dense: type[layers.Dense] = layers.Dense,
) -> keras.Sequential:
    """Return the network with fresh weights that depend on the seed alone.

    Args:
        network: what to build.
        input_shape: (channels, height, width) of an image.
        softmax: whether the output is probabilities, as handed in, or logits, from which the loss must be computed.
        seed: of the initial weights and of dropout.
        dense: the kind of dense layer; one that computes the same in another way.
    """
    with _building:
        random.seed(seed)  # keras.utils.set_random_seed would import TensorFlow
        model = keras.Sequential(
            [
                keras.Input(input_shape),
                *([layers.Rescaling(network.input_scaling)] if network.input_scaling != 1 else []),
                *_convolutions(network),
                layers.Flatten(),
                *_hidden(network, dense),
                _dense(dense, network, CLASSES, "softmax" if softmax else "linear"),
            ]
        )
        random.seed()  # whoever draws next is not to repeat these numbers
    return model


def compile_as_asked(model: keras.Model, training: Training) -> None:
    """Compile with the assignment's loss and metric and the configuration's optimizer."""
    model.compile(loss=LOSS, metrics=[METRIC], optimizer=optimizer_of(training))


def optimizer_of(training: Training) -> keras.Optimizer:
    """Return a fresh optimizer of the configuration."""
    kinds: dict[Optimizer, type[keras.Optimizer]] = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": keras.optimizers.SGD,
        "rmsprop": keras.optimizers.RMSprop,
        "adagrad": keras.optimizers.Adagrad,
        "nadam": keras.optimizers.Nadam,
    }
    return kinds[training.optimizer](learning_rate=training.learning_rate)


def save(
    configuration: Configuration,
    input_shape: tuple[int, int, int],
    path: Path,
    parameters: Sequence[Any],
    others: Sequence[Any],
    optimizer: Sequence[Any],
) -> int:
    """Write the `.keras` file: softmax head, compiled, with its optimizer; return the trainable parameters.

    Args:
        configuration: what was trained.
        input_shape: (channels, height, width) of an image.
        path: of the file.
        parameters: the trainable variables' arrays, in Keras's layout and order.
        others: those of the variables that are not trained.
        optimizer: those of the optimizer.

    Raises:
        OSError: it could not be written; nothing is left behind.
    """
    model = build(configuration.network, input_shape, softmax=True, seed=0)
    compile_as_asked(model, configuration.training)
    model.optimizer.build(model.trainable_variables)
    held = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    for variables, values in zip(held, (parameters, others, optimizer), strict=True):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.keras")
    try:
        model.save(temporary)
        files.publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return int(model.count_params() - sum(int(np.prod(v.shape)) for v in model.non_trainable_variables))


def _hidden(network: Network, dense: type[layers.Dense]) -> list[keras.Layer]:
    found: list[keras.Layer] = []
    for units in network.hidden:
        found.append(_dense(dense, network, units, network.activation))
        found += [layers.BatchNormalization()] if network.batch_normalization else []
        found += [layers.Dropout(network.dropout)] if network.dropout else []
    return found


def _convolutions(network: Network) -> list[keras.Layer]:
    if not network.convolutions:
        return []
    found: list[keras.Layer] = [layers.Permute((2, 3, 1))]  # the files give channels first
    for layer in network.convolutions:
        found.append(
            layers.Conv2D(
                layer.filters,
                layer.kernel_size,
                strides=layer.strides,
                padding=layer.padding,
                activation=network.activation,
                kernel_initializer=network.kernel_initializer,
                bias_initializer=network.bias_initializer,
            )
        )
        found += [layers.BatchNormalization()] if network.batch_normalization else []
        found += [layers.MaxPooling2D(layer.pool)] if layer.pool > 1 else []
    return found


def _dense(kind: type[layers.Dense], network: Network, units: int, activation: str) -> keras.Layer:
    return kind(
        units,
        activation=activation,
        kernel_initializer=network.kernel_initializer,
        bias_initializer=network.bias_initializer,
    )
