"""Keras models from configurations. Works on whichever backend Keras was started with."""

import random
import threading
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from engine.core import compilation
from engine.core.compilation import Argument, Call
from engine.core.data_shape import DataShape
from engine.core.layers import LOSS, METRIC, layers_of
from engine.core.spec import Configuration, Network, Training
from engine.training import own_models

__all__ = ["LOSS", "METRIC", "build", "compile_as_asked", "made", "optimizer_of"]

_building = threading.Lock()
"""Keras seeds its initializers from Python's one global generator: only one thread may build at a time."""


def build(
    network: Network,
    shape: DataShape,
    *,
    softmax: bool,
    seed: int,
    kinds: Mapping[str, type[layers.Layer]] = {},
) -> keras.Model:
    """Return the network with fresh weights that depend on the seed alone.

    Args:
        network: what to build.
        shape: of the data.
        softmax: the output is probabilities, as in files, or else logits, from which the loss must be computed.
        seed: of the initial weights and of dropout.
        kinds: layers that compute the same as Keras's of these names in another way.

    Raises:
        ModelError: an own model cannot be built.
    """
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
        random.seed()  # the next user of the global generator must not repeat these numbers
    return model


def compile_as_asked(model: keras.Model, training: Training, batches: int = 0) -> None:
    """Compile with the configuration's loss, metrics and optimizer; a schedule needs the batches of an epoch."""
    model.compile(
        loss=made(compilation.loss_of(training)),
        metrics=list(compilation.metrics_of(training)),
        optimizer=optimizer_of(training, batches),
        run_eagerly=model.run_eagerly,
    )


def optimizer_of(training: Training, batches: int = 0) -> keras.Optimizer:
    """Return a fresh optimizer of the configuration, as `compile_as_asked` does."""
    optimizer: keras.Optimizer = made(compilation.optimizer_of(training, batches))
    return optimizer


def made(argument: Argument) -> Any:
    """Return the Keras object that a call makes; any other argument is returned as it is."""
    if not isinstance(argument, Call):
        return argument
    kind = attrgetter(f"{argument.module}.{argument.kind}")(keras)
    return kind(**{name: made(value) for name, value in argument.arguments.items()})


def save(
    configuration: Configuration,
    shape: DataShape,
    path: Path,
    parameters: Sequence[Any],
    others: Sequence[Any],
    optimizer: Sequence[Any],
    batches: int = 0,
) -> int:
    """Write the `.keras` file: softmax head, compiled, with its optimizer; return the trainable parameters.

    Args:
        configuration: what was trained.
        shape: of the data.
        path: of the file.
        parameters: the trainable variables' arrays, in Keras's layout and order.
        others: those of the variables that are not trained.
        optimizer: those of the optimizer.
        batches: of an epoch, in which a learning-rate schedule counts.

    Raises:
        OSError: it could not be written; the caller removes a partial file.
    """
    model = build(configuration.network, shape, softmax=True, seed=0)
    compile_as_asked(model, configuration.training, batches)
    model.optimizer.build(model.trainable_variables)
    held = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
    for variables, values in zip(held, (parameters, others, optimizer), strict=True):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    model.save(path)
    return int(model.count_params() - sum(int(np.prod(v.shape)) for v in model.non_trainable_variables))
