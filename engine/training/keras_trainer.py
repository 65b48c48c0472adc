"""The Keras trainer: `model.fit` on TensorFlow, in a worker of its own kind with the same events and the same files.

It is for configurations that no other trainer supports, and for comparison with the reference. It trains one run at a
time. The order of the images follows from the seed and the epoch, so that resuming changes no result.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.core.compilation import batches_of, held_in
from engine.core.data_shape import DataShape
from engine.core.results import EpochRow, History, Provenance
from engine.core.spec import RunSpec
from engine.data.images import Images
from engine.machine import backends
from engine.machine.system import version
from engine.storage.checkpoint import Snapshot
from engine.training import models
from engine.training.metrics import Activity, recall_of, rows_of
from engine.training.shuffling import order_of
from engine.training.trainer import never

EVALUATION_BATCH = 500


class KerasFitTrainer:
    """Trains by `fit`; groups share the images as it expects them: float32 pixels and one-hot labels."""

    name = "keras-fit"

    def __init__(self) -> None:
        backends.settle_tensorflow()
        self._data: tuple[str, tuple[NDArray[np.float32], ...]] = ("", ())

    @property
    def device(self) -> str:
        """The device that trains: `cpu` or `gpu`."""
        import tensorflow as tf

        return "gpu" if tf.config.list_physical_devices("GPU") else "cpu"

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the libraries on which the numbers and the file depend."""
        return {name: version(name) for name in ("keras", "tensorflow", "numpy")}

    @property
    def reserved_bytes(self) -> int:
        """Most bytes of its GPU's memory that this process has reserved; 0 on the CPU."""
        import tensorflow as tf

        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"]) if self.device == "gpu" else 0

    def group(self, specs: Sequence[RunSpec], images: Images, snapshots: Sequence[Snapshot | None]) -> "KerasFitGroup":
        """Begin or resume one run.

        Raises:
            ValueError: there are several; TensorFlow trains one at a time here.
        """
        if len(specs) != 1:
            raise ValueError("keras-fit trains one run at a time.")
        if self._data[0] != specs[0].data:
            self._data = (specs[0].data, _for_fit(images))
        return KerasFitGroup(self, specs[0], images, self._data[1], snapshots[0])


class KerasFitGroup:
    """A run in training; `epoch` epochs are done."""

    def __init__(
        self,
        trainer: KerasFitTrainer,
        spec: RunSpec,
        images: Images,
        data: tuple[NDArray[np.float32], ...],
        snapshot: Snapshot | None,
    ) -> None:
        self.trainer = trainer
        self.remark = ""
        self.epoch = snapshot.epoch if snapshot else 0
        configuration = spec.configuration
        self.training_images = held_in(len(images.train_labels), configuration.training.validation_split)
        self._spec, self._data = spec, data
        self._test_labels = images.test_labels
        self._model = models.build(configuration.network, images.shape, softmax=True, seed=spec.seed)
        self._best: list[NDArray[np.generic]] = snapshot.best if snapshot else []
        batches = batches_of(configuration.training, len(images.train_labels))
        models.compile_as_asked(self._model, configuration.training, batches)
        self._model.optimizer.build(self._model.trainable_variables)
        if snapshot is not None:
            for variables, values in zip(self._variables(), _values(snapshot), strict=True):
                for variable, value in zip(variables, values, strict=True):
                    variable.assign(value)

    def train_epoch(self, is_stopped: Callable[[], bool] = never) -> tuple[EpochRow, ...]:
        """Fit one epoch in the run's own order, then evaluate the test images."""
        began = time.perf_counter()
        training = self._spec.configuration.training
        order = order_of(self._spec.seed, self.epoch, self.training_images)
        pixels, labels, test_pixels, test_labels = self._data
        held_out = pixels[self.training_images :], labels[self.training_images :]
        is_validated = len(held_out[0]) > 0
        fitted = self._model.fit(
            pixels[order],
            labels[order],
            batch_size=training.batch_size,
            initial_epoch=self.epoch,
            epochs=self.epoch + 1,
            shuffle=False,
            verbose=0,
            validation_data=held_out if is_validated else None,
            validation_batch_size=EVALUATION_BATCH,
            class_weight=dict(enumerate(training.class_weight)) or None,
        ).history
        predicted = self._model.predict(test_pixels, batch_size=EVALUATION_BATCH, verbose=0)
        tested = self._model.evaluate(
            test_pixels, test_labels, batch_size=EVALUATION_BATCH, verbose=0, return_dict=True
        )
        correct = int((predicted.argmax(axis=-1) == self._test_labels).sum())
        self.epoch += 1
        seconds = time.perf_counter() - began
        measured = {"loss": fitted["loss"], "accuracy": fitted[models.METRIC], "test_loss": [float(tested["loss"])],
                    "test_correct": [correct]}  # fmt: skip
        if is_validated:
            measured |= {"val_loss": fitted["val_loss"], "val_accuracy": fitted[f"val_{models.METRIC}"]}
        if "top_k_categorical_accuracy" in training.metrics:
            measured["test_top_k_accuracy"] = [float(tested["top_k_categorical_accuracy"])]
        return rows_of(measured, len(self._test_labels), seconds)

    def snapshot(self, lane: int, history: History) -> Snapshot:
        """Copy the model and its optimizer."""
        parameters, others, optimizer = ([np.asarray(v) for v in variables] for variables in self._variables())
        return Snapshot(self.epoch, history, parameters, others, optimizer, self.trainer.name, self._best)

    def copy_best(self, lane: int) -> None:
        """Copy the model's weights."""
        parameters, others, _ = self._variables()
        self._best = [np.asarray(variable) for variable in (*parameters, *others)]

    def finish(self, lane: int) -> "KerasFitLane":
        """Return the model, with its best weights where they were copied; it trains no more."""
        parameters, others, _ = self._variables()
        for variable, value in zip((*parameters, *others) if self._best else (), self._best, strict=True):
            variable.assign(value)
        return KerasFitLane(self._model, self._data[2], self._test_labels)

    def _variables(self) -> tuple[list[Any], list[Any], list[Any]]:
        model = self._model
        return model.trainable_variables, model.non_trainable_variables, model.optimizer.variables


class KerasFitLane:
    """A trained model."""

    def __init__(self, model: Any, test_pixels: NDArray[np.float32], test_labels: NDArray[np.int32]) -> None:
        self._model, self._test_pixels, self._test_labels = model, test_pixels, test_labels

    def save(self, path: Path, shape: DataShape) -> int:
        """Write the `.keras` file; return the trainable parameters.

        Raises:
            OSError: it could not be written; the caller removes a partial file.
        """
        self._model.save(path)
        return sum(int(np.prod(variable.shape)) for variable in self._model.trainable_variables)

    @property
    def provenance(self) -> Provenance:
        """All on which its last bits may depend: it trained alone, with products of float32."""
        return Provenance(precision=backends.MATMUL_PRECISION)

    def activity(self) -> Activity:
        """Return the recall alone; the activity of units is not measured."""
        predicted = self._model.predict(self._test_pixels, batch_size=EVALUATION_BATCH, verbose=0)
        return Activity(recall=recall_of(predicted.argmax(axis=-1), self._test_labels, predicted.shape[-1]))


def _values(snapshot: Snapshot) -> tuple[list[NDArray[np.generic]], ...]:
    return snapshot.parameters, snapshot.others, snapshot.optimizer


def _for_fit(images: Images) -> tuple[NDArray[np.float32], ...]:
    hot = np.eye(images.shape.classes, dtype=np.float32)
    train, test = images.train_images.astype(np.float32), images.test_images.astype(np.float32)
    return train, hot[images.train_labels], test, hot[images.test_labels]
