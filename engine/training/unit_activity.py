"""The activity of a trained network on the test images: recall by class, shares of dead and saturated hidden units."""

import jax
import jax.numpy as jnp
import keras
import numpy as np

from engine.training.compiled_epoch import EVALUATION_CHUNK, DeviceImages, Lane, Program
from engine.training.metrics import Activity, recall_of

SATURATED = 0.99
"""A tanh unit with a larger output, in size, has a gradient below 2 % of its largest."""


def activity_of(program: Program, lane: Lane, pixels: DeviceImages) -> Activity:
    """Return the activity of a trained network on the test images."""
    predicted, labels = np.asarray(program.predict(lane, pixels.test)), np.asarray(pixels.test_labels)
    recall = recall_of(predicted, labels, program.model.output_shape[-1])
    return _hidden_activity(program, lane, pixels.test)._replace(recall=recall)


def _hidden_activity(program: Program, lane: Lane, test_images: jax.Array) -> Activity:
    """Return the activity of the hidden dense layers for uint8 images (N, channels, height, width)."""
    network = program.configuration.network
    if not network.hidden or network.activation not in ("relu", "tanh"):
        return Activity()
    hidden = [layer for layer in program.model.layers if isinstance(layer, keras.layers.Dense)][:-1]
    probe = keras.Model(program.model.inputs, [layer.output for layer in hidden])
    held = program.as_keras(lane)
    parameters = held.parameters[: len(probe.trainable_variables)]
    others = held.others[: len(probe.non_trainable_variables)]

    @jax.jit
    def observe(pixels: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        output, _ = probe.stateless_call(parameters, others, pixels.astype(jnp.float32), training=False)
        outputs = list(output) if isinstance(output, list | tuple) else [output]
        beyond = jnp.stack([(jnp.abs(output) > SATURATED).sum() for output in outputs]).sum()
        return [(output > 0).any(axis=0) for output in outputs], beyond

    alive = [jnp.zeros(units, bool) for units in network.hidden]
    beyond = 0
    for start in range(0, len(test_images), EVALUATION_CHUNK):
        active, saturated = observe(test_images[start : start + EVALUATION_CHUNK])
        alive = [known | now for known, now in zip(alive, active, strict=True)]
        beyond += int(saturated)
    units = sum(network.hidden)
    if network.activation == "relu":
        return Activity(dead=1 - sum(int(layer.sum()) for layer in alive) / units)
    return Activity(saturated=beyond / (units * len(test_images)))
