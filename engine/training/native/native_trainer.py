"""The native trainer: dense networks on processors, one run at a time, in compiled C on all cores it may use.

Initial weights, the images' order, checkpoints and files are those of the JAX trainer; what it trains differs from that
one's by rounding, and not at all with the number of threads.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core import compilation
from engine.core.data_shape import DataShape
from engine.core.results import EpochRow, Provenance
from engine.core.spec import Configuration, RunSpec, Training
from engine.data.images import Images
from engine.machine import system
from engine.protocol import History
from engine.storage.checkpoint import Snapshot
from engine.training import models
from engine.training.compiled_epoch import is_carried_transposed
from engine.training.metrics import Activity, recall_of, rows_of
from engine.training.native.library import Floats, Labelled, LayerArrays, Library
from engine.training.shuffling import order_of
from engine.training.trainer import never

POLL_SECONDS = 0.05
"""How often an epoch looks whether it is to stop."""
ACTIVITY_CHUNK = 500
"""Test images whose hidden units are looked at together."""
SATURATED = 0.99
"""As on JAX: a tanh unit beyond this has a gradient below 2 % of its largest."""
ACTIVATED: Mapping[str, Callable[[Floats], Floats]] = {
    "linear": lambda product: product,
    "relu": lambda product: np.maximum(product, 0),
    "tanh": np.tanh,
}


class NativeTrainer:
    """Holds the library and the thread that waits in it."""

    name = "native"
    device = "cpu"

    def __init__(self, library: Library, threads: int = 0) -> None:
        """Train with this library; 0 threads are as many as this process has cores."""
        self.library = library
        self.threads = threads or len(system.usable_cores())
        self.waiting = ThreadPoolExecutor(1, thread_name_prefix="epoch")

    @property
    def versions(self) -> dict[str, str]:
        """Of what decides the numbers and the file; the instruction set does, the number of threads does not."""
        versions = {name: system.version(name) for name in ("keras", "jax", "numpy")}
        threads = f"{self.threads} thread" + ("s" if self.threads > 1 else "")
        return {**versions, "native": f"{self.library.instructions}, {threads}"}

    @property
    def reserved_bytes(self) -> int:
        """Nothing: it trains on the processor."""
        return 0

    def group(self, specs: Sequence[RunSpec], images: Images, snapshots: Sequence[Snapshot | None]) -> "NativeGroup":
        """Begin or resume one run.

        Raises:
            ValueError: there are several.
        """
        if len(specs) != 1:
            raise ValueError("The native trainer trains one run at a time.")
        return NativeGroup(self, specs[0], images, snapshots[0])


class NativeState(msgspec.Struct, frozen=True):
    """What training changes, in Keras's layout.

    Of Adam's variables, `optimizer` holds those before the moments: its count of updates and, without a schedule, its
    learning rate.
    """

    layers: list[LayerArrays]
    optimizer: list[NDArray[np.generic]]

    def copy(self) -> "NativeState":
        """Return one that shares nothing with this."""
        return _lane([array.copy() for array in self.parameters], [array.copy() for array in self.variables])

    @property
    def parameters(self) -> list[Floats]:
        """Kernel and bias of each layer."""
        return [array for layer in self.layers for array in layer[:2]]

    @property
    def variables(self) -> list[NDArray[np.generic]]:
        """The optimizer's, in Keras's order: first and second moment of each kernel and bias."""
        moments = (array for _, _, mk, mb, vk, vb in self.layers for array in (mk, vk, mb, vb))
        return [*self.optimizer, *moments]


class NativeGroup:
    """A run in training; `epoch` epochs are done."""

    def __init__(self, trainer: NativeTrainer, spec: RunSpec, images: Images, snapshot: Snapshot | None) -> None:
        self.trainer = trainer
        self.remark = ""
        self.epoch = snapshot.epoch if snapshot else 0
        training = spec.configuration.training
        self.training_images = compilation.held_in(len(images.train_labels), training.validation_split)
        self._spec = spec
        self._train = Labelled(np.ascontiguousarray(images.train_images), images.train_labels.astype(np.int32))
        self._test = Labelled(np.ascontiguousarray(images.test_images), images.test_labels.astype(np.int32))
        held_out = slice(self.training_images, None)
        self._held_out = Labelled(self._train.pixels[held_out], self._train.labels[held_out])
        self._steps = compilation.batches_of(training, len(images.train_labels))
        self._rates = rates_of(training, self._steps)
        self._lane = _resumed(snapshot) if snapshot else _fresh(spec, images.shape, self._steps)

    def train_epoch(self, is_stopped: Callable[[], bool] = never) -> tuple[EpochRow, ...] | None:
        """Train one epoch and evaluate it, in a thread that can be stopped; then nothing has changed."""
        began = time.perf_counter()
        stop = np.zeros(1, np.int32)
        future = self.trainer.waiting.submit(self._epoch, stop)
        while True:
            try:
                measured = future.result(POLL_SECONDS)
                break
            except TimeoutError:
                if is_stopped():
                    stop[0] = 1
        if measured is None:
            return None
        self.epoch += 1
        return rows_of(
            {name: [value] for name, value in measured.items()}, len(self._test.labels), time.perf_counter() - began
        )

    def _epoch(self, stop: NDArray[np.int32]) -> dict[str, float] | None:
        training, step = self._spec.configuration.training, self.epoch * self._steps
        library, threads = self.trainer.library, self.trainer.threads
        activation = self._spec.configuration.network.activation
        metrics = library.epoch(
            self._lane.layers,
            activation,
            self._train,
            order_of(self._spec.seed, self.epoch, self.training_images),
            self._test,
            step=step,
            learning_rate=self._rates(step),
            beta_1=training.beta_1,
            beta_2=training.beta_2,
            epsilon=training.epsilon,
            batch_size=training.batch_size,
            threads=threads,
            stop=stop,
        )
        if metrics is None:
            return None
        if not (held_out := len(self._held_out.labels)):
            return metrics._asdict()
        loss, correct = library.evaluate(self._lane.layers, activation, self._held_out, threads=threads)
        return {**metrics._asdict(), "val_loss": loss, "val_accuracy": correct / held_out}

    def snapshot(self, lane: int, history: History) -> Snapshot:
        """Copy the lane into the layout of the JAX trainer."""
        self._lane.optimizer[0][...] = self.epoch * self._steps
        copied = self._lane.copy()
        parameters, optimizer = _carried(copied.parameters), _carried(copied.variables)
        return Snapshot(self.epoch, history, parameters, [], optimizer, self.trainer.name)

    def copy_best(self, lane: int) -> None:
        """Never asked for: JAX trains what stops early (`trainer_choice`)."""
        raise NotImplementedError

    def finish(self, lane: int) -> "NativeLane":
        """Return the lane as it is: nothing trains it any more."""
        self._lane.optimizer[0][...] = self.epoch * self._steps
        return NativeLane(self._spec.configuration, self._lane, self._test, self._steps)


class NativeLane:
    """A trained lane that is no longer changed."""

    def __init__(self, configuration: Configuration, lane: NativeState, test: Labelled, steps: int) -> None:
        self._configuration = configuration
        self._lane = lane
        self._test = test
        self._steps = steps
        """Batches of an epoch."""

    def save(self, path: Path, shape: DataShape) -> int:
        """Write the `.keras` file, as `models.save` does."""
        lane = self._lane
        return models.save(self._configuration, shape, path, lane.parameters, [], lane.variables, self._steps)

    def weights(self) -> list[Floats]:
        """Return the trainable weights as Keras lays them out."""
        return self._lane.parameters

    @property
    def provenance(self) -> Provenance:
        """Alone, in float32."""
        return Provenance(precision="float32")

    def activity(self) -> Activity:
        """Run the test images through it."""
        network, pixels = self._configuration.network, self._test.pixels
        predicted: list[NDArray[np.intp]] = []
        alive = [np.zeros(units, bool) for units in network.hidden]
        saturated = 0
        for start in range(0, len(pixels), ACTIVITY_CHUNK):
            chunk = pixels[start : start + ACTIVITY_CHUNK]
            outputs = chunk.reshape(len(chunk), -1).astype(np.float32)
            for units, (kernel, bias, *_) in zip(alive, self._lane.layers[:-1], strict=True):
                product = outputs @ kernel + bias
                outputs = ACTIVATED[network.activation](product)
                units |= (outputs > 0).any(axis=0)
                saturated += int((np.abs(outputs) > SATURATED).sum())
            kernel, bias, *_ = self._lane.layers[-1]
            predicted.append((outputs @ kernel + bias).argmax(axis=1))
        recall = recall_of(np.concatenate(predicted), self._test.labels, len(self._lane.layers[-1][1]))
        total = sum(network.hidden)
        if not total or network.activation == "linear":
            return Activity(recall=recall)
        if network.activation == "relu":
            return Activity(dead=1 - sum(int(units.sum()) for units in alive) / total, recall=recall)
        return Activity(saturated=saturated / (total * len(pixels)), recall=recall)


def rates_of(training: Training, batches: int) -> Callable[[int], float | Floats]:
    """Return what gives the learning rate of each batch of an epoch from the number of batches before it.

    Each is computed alone, as it is on JAX in the middle of training: many at once are rounded otherwise.
    """
    if not compilation.has_schedule(training):
        return lambda first: training.learning_rate
    schedule = models.made(compilation.schedule_of(training, batches))
    rates = jax.jit(lambda first: jax.lax.map(schedule, first + jnp.arange(batches)))
    return lambda first: np.asarray(rates(first))


def _fresh(spec: RunSpec, shape: DataShape, steps: int) -> NativeState:
    """Return what training with this seed begins from, the same as on JAX."""
    model = models.build(spec.configuration.network, shape, softmax=False, seed=spec.seed)
    optimizer = models.optimizer_of(spec.configuration.training, steps)
    optimizer.build(model.trainable_variables)
    variables, parameters = ([np.array(v) for v in some] for some in (optimizer.variables, model.trainable_variables))
    return _lane(parameters, variables)


def _resumed(snapshot: Snapshot) -> NativeState:
    """Return the lane of a checkpoint, whichever trainer wrote it; it holds narrow kernels transposed."""
    parameters, optimizer = snapshot.parameters, snapshot.optimizer
    kernels, units = parameters[::2], [len(bias) for bias in parameters[1::2]]
    turned = [k.shape[0] == out and is_carried_transposed(k.T.shape) for k, out in zip(kernels, units, strict=True)]
    parameters = [_turned(array) if turned[index // 2] else array for index, array in enumerate(parameters)]
    head, moments = _apart(parameters, optimizer)
    moments = [_turned(array) if turned[index // 4] else array for index, array in enumerate(moments)]
    return _lane(parameters, [*head, *moments]).copy()


def _lane(parameters: Sequence[NDArray[Any]], optimizer: Sequence[NDArray[Any]]) -> NativeState:
    """Put together what Keras lists: kernel and bias of each layer; of each of these first and second moment."""
    head, moments = _apart(parameters, optimizer)
    layers = [
        (kernel, bias, mk, mb, vk, vb)
        for kernel, bias, mk, vk, mb, vb in zip(
            parameters[::2], parameters[1::2], *(moments[index::4] for index in range(4)), strict=True
        )
    ]
    return NativeState(layers, head)


def _apart(
    parameters: Sequence[Any], optimizer: Sequence[NDArray[Any]]
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Return the variables before the moments, and the moments, two for each parameter."""
    head = len(optimizer) - 2 * len(parameters)
    return list(optimizer[:head]), list(optimizer[head:])


def _carried(arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    return [_turned(array) if is_carried_transposed(array.shape) else array for array in arrays]


def _turned(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array.T)  # of a bias: itself
