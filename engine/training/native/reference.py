"""What `epoch.c` computes, in NumPy and float64: the measure of the compiled one, on networks small enough for it."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine.training.native.library import (
    BETA_1,
    BETA_2,
    EPSILON,
    EpochMetrics,
    Floats,
    Labelled,
    LayerArrays,
    untrained,
)

Wide = NDArray[np.float64]


def drawn_layers(sizes: Sequence[int], generator: np.random.Generator) -> list[LayerArrays]:
    """Draw weights as the assignment does (normal, 0.05) and no moments, for inputs and units of each layer."""
    layers = []
    for below, above in pairwise(sizes):
        kernel = generator.normal(0, 0.05, (below, above)).astype(np.float32)
        layers.append(untrained(kernel, generator.normal(0, 0.05, above).astype(np.float32)))
    return layers


def drawn_images(count: int, inputs: int, classes: int, generator: np.random.Generator) -> Labelled:
    """Draw images of noise with labels of every class."""
    pixels = generator.integers(0, 256, (count, inputs), dtype=np.uint8)
    return Labelled(pixels, generator.integers(0, classes, count).astype(np.int32))


def copied(layers: Sequence[LayerArrays]) -> list[LayerArrays]:
    """Return layers that share nothing with these."""
    return [(k.copy(), b.copy(), mk.copy(), mb.copy(), vk.copy(), vb.copy()) for k, b, mk, mb, vk, vb in layers]


def epoch(
    layers: Sequence[LayerArrays],
    activation: str,
    train: Labelled,
    order: NDArray[np.int32],
    test: Labelled,
    *,
    step: int,
    learning_rate: float | Floats,
    beta_1: float = BETA_1,
    beta_2: float = BETA_2,
    epsilon: float = EPSILON,
    batch_size: int = 32,
) -> tuple[list[list[Wide]], EpochMetrics]:
    """Return the layers after the epoch, and what it measured; arguments as those of `Library.epoch`."""
    state = [[array.astype(np.float64) for array in layer] for layer in layers]
    loss = correct = 0.0
    rates = np.full(-(-len(order) // batch_size), learning_rate, np.float64)
    for start, rate in zip(range(0, len(order), batch_size), rates, strict=True):
        batch = order[start : start + batch_size]
        step += 1
        outputs = _outputs(state, activation, train.pixels[batch])
        losses, probabilities = _judged(outputs[-1], train.labels[batch])
        loss += losses.sum()
        correct += (probabilities.argmax(axis=1) == train.labels[batch]).sum()
        delta = (probabilities - np.eye(probabilities.shape[1])[train.labels[batch]]) / len(batch)
        for index in reversed(range(len(state))):
            kernel, below = state[index][0].copy(), outputs[index]
            _apply_adam(state[index], below.T @ delta, delta.sum(axis=0), step, rate, beta_1, beta_2, epsilon)
            delta = delta @ kernel.T * _slope(activation, below)
    losses, probabilities = _judged(_outputs(state, activation, test.pixels)[-1], test.labels)
    right = int((probabilities.argmax(axis=1) == test.labels).sum())
    return state, EpochMetrics(loss / len(order), correct / len(order), float(losses.mean()), right)


def _outputs(state: Sequence[Sequence[Wide]], activation: str, pixels: NDArray[np.uint8]) -> list[Wide]:
    """Return the inputs, each hidden layer's outputs, and the logits: (B, units)."""
    outputs = [pixels.reshape(len(pixels), -1).astype(np.float64)]
    for index, layer in enumerate(state):
        product = outputs[-1] @ layer[0] + layer[1]
        is_last = index == len(state) - 1
        if not is_last and activation == "relu":
            product = np.maximum(product, 0)
        if not is_last and activation == "tanh":
            product = np.tanh(product)
        outputs.append(product)
    return outputs


def _slope(activation: str, outputs: Wide) -> Wide | float:
    if activation == "relu":
        return (outputs > 0).astype(np.float64)
    return 1 - outputs**2 if activation == "tanh" else 1.0


def _judged(logits: Wide, labels: NDArray[np.int32]) -> tuple[Wide, Wide]:
    """Return the cross-entropy (B,) and the probabilities (B, C)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    sums = np.exp(shifted).sum(axis=1, keepdims=True)
    losses: Wide = np.log(sums[:, 0]) - shifted[np.arange(len(labels)), labels]
    return losses, np.exp(shifted) / sums


def _apply_adam(
    layer: list[Wide], kernel: Wide, bias: Wide, step: int, rate: float, beta_1: float, beta_2: float, epsilon: float
) -> None:
    rate *= np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    for index, gradient in enumerate((kernel, bias)):
        layer[2 + index] += (gradient - layer[2 + index]) * (1 - beta_1)
        layer[4 + index] += (gradient**2 - layer[4 + index]) * (1 - beta_2)
        layer[index] -= rate * layer[2 + index] / (np.sqrt(layer[4 + index]) + epsilon)
