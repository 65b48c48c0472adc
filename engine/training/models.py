"""Keras models from configurations. Works on whichever backend Keras was started with."""

import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from engine.core.data_shape import DataShape
from engine.core.layers import LOSS, METRIC, OPTIMIZERS, layers_of
from engine.core.spec import Configuration, Network, Training
from engine.training import own_models

__all__ = ["LOSS", "METRIC", "build", "compile_as_asked", "optimizer_of"]

_building = threading.Lock()
"""Keras seeds its initializers from Python's one global generator: only one thread may build at a time."""


def build(
    network: Network,
    shape: DataShape,
    *,
    softmax: bool,
    seed: int,
    dense: type[layers.Dense] = layers.Dense,
) -> keras.Model:
    """Return the network with fresh weights that depend on the seed alone.

    Args:
        network: what to build.
        shape: of the data.
        softmax: whether the output is probabilities, as handed in, or logits, from which the loss must be computed.
        seed: of the initial weights and of dropout.
        dense: the kind of dense layer; one that computes the same in another way.

    Raises:
        ModelError: an own model cannot be built.
    """
    kinds = {"Dense": dense}
    if network.model is not None:
        with _building:
            own = own_models.build(network.model, shape, seed)
            random.seed()
        return own if softmax else own_models.with_logits(own)
    with _building:
        random.seed(seed)  # keras.utils.set_random_seed would import TensorFlow
        chain = [
            (kinds.get(layer.kind) or getattr(layers, layer.kind))(**layer.settings)
            for layer in layers_of(network, shape.classes, softmax=softmax)
        ]
        model = keras.Sequential([keras.Input(shape.inputs), *chain])
        random.seed()  # whoever draws next is not to repeat these numbers
    return model


def compile_as_asked(model: keras.Model, training: Training) -> None:
    """Compile with the assignment's loss and metric and the configuration's optimizer."""
    model.compile(loss=LOSS, metrics=[METRIC], optimizer=optimizer_of(training), run_eagerly=model.run_eagerly)


def optimizer_of(training: Training) -> keras.Optimizer:
    """Return a fresh optimizer of the configuration."""
    kind: type[keras.Optimizer] = getattr(keras.optimizers, OPTIMIZERS[training.optimizer])
    return kind(learning_rate=training.learning_rate)


def save(
    configuration: Configuration,
    shape: DataShape,
    path: Path,
    parameters: Sequence[Any],
    others: Sequence[Any],
    optimizer: Sequence[Any],
) -> int:
    """Write the `.keras` file: softmax head, compiled, with its optimizer; return the trainable parameters.

    Args:
        configuration: what was trained.
        shape: of the data.
        path: of the file.
        parameters: the trainable variables' arrays, in Keras's layout and order.
        others: those of the variables that are not trained.
        optimizer: those of the optimizer.

    Raises:
        OSError: it could not be written; what is half there is the caller's to drop.
    """
    model = build(configuration.network, shape, softmax=True, seed=0)
    compile_as_asked(model, configuration.training)
    model.optimizer.build(model.trainable_variables)
    held = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    for variables, values in zip(held, (parameters, others, optimizer), strict=True):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    model.save(path)
    return int(model.count_params() - sum(int(np.prod(v.shape)) for v in model.non_trainable_variables))
