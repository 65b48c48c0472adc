"""One epoch as one compiled program: exactly what `model.fit` computes, without its overhead.

- The loss is computed from logits. Keras on JAX would clip the probabilities of a softmax head at 1e-7, where
  TensorFlow uses the logits behind them; with raw pixels the softmax saturates and the two train different networks.
- Kernels with few outputs are carried transposed between the batches: XLA's CPU code is three times as fast on
  (10, 3072) as on (3072, 10). The optimizer works on the carried shapes; nothing but the layout changes.
- On a GPU the metrics of the batches are summed during training: XLA can then launch the whole loop as one CUDA
  graph. On a CPU the logits are stacked and evaluated together, which is faster there; sums round differently.
- Shapes: N images, B a batch, C classes; pixels stay uint8 (N, channels, height, width) and are cast batch by batch.
"""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
from jax.typing import ArrayLike

from engine.core.compilation import batches_of
from engine.core.data_shape import DataShape
from engine.core.spec import Configuration
from engine.training import models
from engine.training.compiled_layers import KINDS, NARROW
from engine.training.executable_digest import digest_of

EVALUATION_CHUNK = 250
"""Test images that are cast to float32 at a time (3 MB of pixels, which the caches hold): fastest of 100 to 2,500."""
TOP_K = 5
"""Keras's default for top-k accuracy."""

Array = jax.Array


class Lane(NamedTuple):
    """The variables that training changes: carried parameters, the model's other variables, the optimizer's."""

    parameters: list[Array]
    others: list[Array]
    optimizer: list[Array]


class DeviceImages(NamedTuple):
    """A data set on the device: uint8 (N, channels, height, width) and int32 (N,), train then test."""

    train: Array
    train_labels: Array
    test: Array
    test_labels: Array


class Metrics(NamedTuple):
    """Metrics of one epoch: means over the training images, at the weights before each batch's update; exact counts."""

    loss: Array
    accuracy: Array
    test_loss: Array
    test_correct: Array
    test_top_k_accuracy: Array | None = None
    val_loss: Array | None = None
    val_accuracy: Array | None = None
    """None where no image is held out; any metric that the configuration does not ask for is None."""


def is_carried_transposed(shape: tuple[int, ...]) -> bool:
    """Say whether a parameter of this shape is held transposed, in training and in checkpoints."""
    return len(shape) == 2 and shape[1] <= NARROW < shape[0]


class Program:
    """The compiled epoch of a configuration, for one lane or for several side by side."""

    def __init__(
        self,
        configuration: Configuration,
        shape: DataShape,
        lanes: int,
        *,
        sums_metrics: bool | None = None,
        train_images: int = 0,
    ) -> None:
        """Build the model and the functions that are compiled later.

        Args:
            configuration: what is trained.
            shape: of the data.
            lanes: number of runs side by side.
            sums_metrics: sum loss and accuracy batch by batch; None: where JAX computes on a GPU.
            train_images: of the data set, validation images included; a learning-rate schedule counts their batches.
        """
        self.configuration = configuration
        self.lanes = lanes
        self.digest = ""
        """Hash of the compiled epoch."""
        self._train = (
            self._train_summing if (on_gpu() if sums_metrics is None else sums_metrics) else self._train_stacking
        )
        self.model = models.build(configuration.network, shape, softmax=False, seed=0, kinds=KINDS)
        kernels = [tuple(variable.shape) for variable in self.model.trainable_variables]
        self.is_turned = [is_carried_transposed(shape) for shape in kernels]
        shadows = [
            keras.Variable(jnp.zeros(shape[::-1] if turned else shape), name=f"carried_{index}")
            for index, (shape, turned) in enumerate(zip(kernels, self.is_turned, strict=True))
        ]
        self.batches = batches_of(configuration.training, train_images)
        self._optimizer = models.optimizer_of(configuration.training, self.batches)
        self._optimizer.build(shadows)
        self._fresh = [jnp.array(variable.value, copy=True) for variable in self._optimizer.variables]
        self._optimizer_turned = _turned_slots(self._optimizer, shadows, self.is_turned)
        epoch: Callable[..., Any] = self._epoch
        if lanes > 1:
            epoch = jax.vmap(epoch, in_axes=(0, None, 0))
        self._epochs = jax.jit(epoch, donate_argnums=0)
        self.predict = jax.jit(self._predict)
        """The class (N,) that a lane gives each test image."""
        self._compiled: Callable[..., tuple[Lane, Metrics]] | None = None

    def compile(self, lanes: Lane, pixels: DeviceImages, order: ArrayLike) -> Callable[..., tuple[Lane, Metrics]]:
        """Return the epoch, (lanes, pixels, order) to (lanes, metrics), compiled for arguments like these."""
        if self._compiled is None:
            self._compiled = compiled = self._epochs.lower(lanes, pixels, order).compile()
            self.digest = digest_of(compiled.as_text() or "")
        return self._compiled

    def fresh(self, seed: int, shape: DataShape) -> Lane:
        """Return the lane that training with this seed begins from, the same on every device: drawn on the CPU."""
        with _on_cpu():
            model = models.build(self.configuration.network, shape, softmax=False, seed=seed)
            parameters = [variable.value for variable in model.trainable_variables]
            others = [variable.value for variable in model.non_trainable_variables]
        if on_gpu():
            parameters, others = jax.device_put((parameters, others), jax.devices()[0])
        return self.carried(parameters, others, self._fresh)

    def carried(self, parameters: list[Array], others: list[Array], optimizer: list[Array]) -> Lane:
        """Return the lane of these variables; the optimizer's are in the carried layout already."""
        return Lane(
            _turn(parameters, self.is_turned), [jnp.array(v) for v in others], [jnp.array(v) for v in optimizer]
        )

    def as_keras(self, lane: Lane) -> Lane:
        """Return the lane's variables in the layout of Keras, ready to be put into a model and its optimizer."""
        return Lane(_turn(lane.parameters, self.is_turned), lane.others, _turn(lane.optimizer, self._optimizer_turned))

    def logits(self, lane: Lane, pixels: Array) -> Array:
        """Return float32 (B, C) for uint8 (B, channels, height, width), as in use, not in training."""
        parameters = _turn(lane.parameters, self.is_turned)
        outputs: Array
        outputs, _ = self.model.stateless_call(parameters, lane.others, pixels.astype(jnp.float32), training=False)
        return outputs

    def _epoch(self, lane: Lane, pixels: DeviceImages, order: Array) -> tuple[Lane, Metrics]:
        """Train on the images in this order (images,), then evaluate the test images."""
        lane, loss, correct = self._train(lane, pixels, order)
        images, training = order.shape[0], self.configuration.training
        metrics = Metrics(loss / images, correct / images, *self._evaluate(lane, pixels.test, pixels.test_labels))
        if "top_k_categorical_accuracy" in training.metrics:
            metrics = metrics._replace(test_top_k_accuracy=self._top_k_accuracy(lane, pixels))
        if images < pixels.train.shape[0]:
            held_out = pixels.train[images:], pixels.train_labels[images:]
            loss, correct = self._evaluate(lane, *held_out)
            metrics = metrics._replace(val_loss=loss, val_accuracy=correct / held_out[1].shape[0])
        return lane, metrics

    def _train_summing(self, lane: Lane, pixels: DeviceImages, order: Array) -> tuple[Lane, Array, Array]:
        """Return the trained lane, the sum of the images' losses, and how many were right."""

        def step(carry: tuple[Lane, Array, Array], chosen: Array) -> tuple[tuple[Lane, Array, Array], None]:
            lane, loss, correct = carry
            labels = pixels.train_labels[chosen]
            lane, logits = self._step(lane, pixels.train[chosen], labels)
            loss += self._training_losses(logits, labels).sum()
            return (lane, loss, correct + _count_correct(logits, labels)), None

        batches, last = self._batches(order)
        carry, _ = jax.lax.scan(step, (lane, jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)), batches)
        return step(carry, last)[0] if last.size else carry

    def _train_stacking(self, lane: Lane, pixels: DeviceImages, order: Array) -> tuple[Lane, Array, Array]:
        """Return the same as `_train_summing`, from the logits of all batches."""

        def step(lane: Lane, chosen: Array) -> tuple[Lane, Array]:
            return self._step(lane, pixels.train[chosen], pixels.train_labels[chosen])

        batches, last = self._batches(order)
        lane, logits = jax.lax.scan(step, lane, batches)
        logits = logits.reshape(-1, logits.shape[-1])
        if last.size:
            lane, of_last = step(lane, last)
            logits = jnp.concatenate([logits, of_last])
        labels = pixels.train_labels[order]
        return lane, self._training_losses(logits, labels).sum(), _count_correct(logits, labels)

    def _batches(self, order: Array) -> tuple[Array, Array]:
        """Return the whole batches (batches, size), and the remaining indices for a smaller one."""
        size = self.configuration.training.batch_size
        batches = order.shape[0] // size
        return order[: batches * size].reshape(batches, size), order[batches * size :]

    def _step(self, lane: Lane, pixels: Array, labels: Array) -> tuple[Lane, Array]:
        """Train on one batch; return the lane after it and the logits (B, C) before it.

        The gradient of the mean cross-entropy with respect to the logits is written out, softmax minus one-hot, so
        that the batches' losses and accuracies can be worked out together when the epoch is over.
        """

        def logits_of(parameters: list[Array]) -> tuple[Array, list[Array]]:
            turned = _turn(parameters, self.is_turned)
            outputs: tuple[Array, list[Array]]
            outputs = self.model.stateless_call(turned, lane.others, pixels.astype(jnp.float32), training=True)
            return outputs

        logits, backwards, others = jax.vjp(logits_of, lane.parameters, has_aux=True)
        delta = (jax.nn.softmax(logits) - self._targets(logits, labels)) / len(labels)
        if self.configuration.training.class_weight:
            delta *= self._weights_of(labels)[:, None]
        (gradients,) = backwards(delta)
        parameters, optimizer = self._optimizer.stateless_apply(lane.optimizer, gradients, lane.parameters)
        return Lane(parameters, others, optimizer), logits

    def _targets(self, logits: Array, labels: Array) -> Array:
        """Return the target probabilities (B, C): one-hot, or smoothed as Keras does."""
        classes, smoothing = logits.shape[-1], self.configuration.training.label_smoothing
        hot = jax.nn.one_hot(labels, classes)
        return hot * (1 - smoothing) + smoothing / classes if smoothing else hot

    def _weights_of(self, labels: Array) -> Array:
        """Return the weight of each image in training, (B,)."""
        return jnp.asarray(self.configuration.training.class_weight, jnp.float32)[labels]

    def _losses(self, logits: Array, labels: Array) -> Array:
        """Categorical cross-entropy in nats (B,), from logits (B, C)."""
        return -jnp.sum(self._targets(logits, labels) * jax.nn.log_softmax(logits), axis=-1)

    def _training_losses(self, logits: Array, labels: Array) -> Array:
        """Return the losses (B,) times the class weights; as in Keras, their mean is over images, not over weights."""
        losses = self._losses(logits, labels)
        return losses * self._weights_of(labels) if self.configuration.training.class_weight else losses

    def _top_k_accuracy(self, lane: Lane, pixels: DeviceImages) -> Array:
        """Return the share of the test images whose label is among the most probable; equal probabilities count."""
        logits = self._test_logits(lane, pixels.test)
        return jnp.mean(keras.ops.in_top_k(pixels.test_labels, jax.nn.softmax(logits), k=min(TOP_K, logits.shape[-1])))

    def _predict(self, lane: Lane, pixels: Array) -> Array:
        return jnp.argmax(jax.nn.softmax(self._test_logits(lane, pixels)), axis=-1)

    def _test_logits(self, lane: Lane, pixels: Array) -> Array:
        """Return the logits (N, C) of any number of images."""
        logits: Array = jax.lax.map(
            lambda image: self.logits(lane, image[None])[0], pixels, batch_size=EVALUATION_CHUNK
        )
        return logits

    def _evaluate(self, lane: Lane, pixels: Array, labels: Array) -> tuple[Array, Array]:
        """Return the mean loss over images, not in training, and the number of right ones."""
        images = pixels.shape[0]
        chunks, left = divmod(images, EVALUATION_CHUNK)
        whole = chunks * EVALUATION_CHUNK

        def add(sums: tuple[Array, Array], chunk: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
            logits = self.logits(lane, chunk[0])
            loss, correct = self._losses(logits, chunk[1]).sum(), _count_correct(logits, chunk[1])
            return (sums[0] + loss, sums[1] + correct), None

        sums = (jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32))
        if chunks:
            shape = (chunks, EVALUATION_CHUNK, *pixels.shape[1:])
            sums, _ = jax.lax.scan(add, sums, (pixels[:whole].reshape(shape), labels[:whole].reshape(chunks, -1)))
        if left:
            sums, _ = add(sums, (pixels[whole:], labels[whole:]))
        return sums[0] / images, sums[1]


def on_gpu() -> bool:
    """Say whether JAX computes on a GPU."""
    return bool(jax.devices()[0].platform == "gpu")


def _on_cpu() -> AbstractContextManager[object]:
    """Within it, arrays are made on the CPU, where random numbers round alike on every machine."""
    return jax.default_device(jax.local_devices(backend="cpu")[0]) if on_gpu() else contextlib.nullcontext()


def _count_correct(logits: Array, labels: Array) -> Array:
    """Count as Keras does on the softmax of the file: the first of equal probabilities is the prediction."""
    return jnp.sum(jnp.argmax(jax.nn.softmax(logits), axis=-1) == labels, dtype=jnp.int32)


def _turn(arrays: list[Array], is_turned: list[bool]) -> list[Array]:
    return [array.T if turned else array for array, turned in zip(arrays, is_turned, strict=True)]


def _turned_slots(optimizer: keras.Optimizer, shadows: list[keras.Variable], is_turned: list[bool]) -> list[bool]:
    """Say which of the optimizer's variables belong to a parameter that is carried transposed."""
    turned = {shadow.name for shadow, is_it in zip(shadows, is_turned, strict=True) if is_it}
    return [any(variable.name.startswith(f"{name}_") for name in turned) for variable in optimizer.variables]
