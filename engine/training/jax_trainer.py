"""The JAX trainer: groups of runs of one configuration, trained side by side by a compiled epoch on JAX."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.compilation import held_in
from engine.core.data_shape import DataShape
from engine.core.results import EpochRow, History, Provenance
from engine.core.spec import Configuration, RunSpec
from engine.data.images import Images
from engine.machine import backends, card, gpus
from engine.machine.system import version
from engine.storage.checkpoint import Snapshot
from engine.training import models
from engine.training.compiled_epoch import DeviceImages, Lane, Program, on_gpu
from engine.training.metrics import Activity, rows_of
from engine.training.shuffling import order_of
from engine.training.trainer import never
from engine.training.unit_activity import activity_of


class FastTrainer:
    """Trains on JAX; groups share the data on the device and the compiled programs."""

    name = "jax"

    def __init__(self) -> None:
        backends.settle_jax()
        _hold_the_gpu()
        self._programs: dict[tuple[Configuration, DataShape, int], Program] = {}
        self._pixels: dict[str, DeviceImages] = {}

    @property
    def device(self) -> str:
        """The device that trains: `cpu`, or `gpu` and its name."""
        device = jax.devices()[0]
        return "cpu" if device.platform == "cpu" else f"gpu {device.device_kind}"

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the libraries on which the numbers and the file depend."""
        return {name: version(name) for name in ("keras", "jax", "numpy")}

    @property
    def reserved_bytes(self) -> int:
        """Bytes of its GPU's memory that this process has reserved; 0 where that is not known."""
        return int((jax.devices()[0].memory_stats() or {}).get("pool_bytes", 0))

    def group(self, specs: Sequence[RunSpec], images: Images, snapshots: Sequence[Snapshot | None]) -> "FastGroup":
        """Begin or resume runs of one configuration that have trained the same number of epochs."""
        spec = specs[0]
        if spec.data not in self._pixels:
            self._pixels = {spec.data: _on_device(images)}  # one data set at a time, since it needs the most memory
            self._programs = {}  # compiled for the sizes of the data before
        shape = images.shape
        program = self._program(spec.configuration, shape, len(specs), self._pixels[spec.data].train.shape[0])
        lanes = [
            program.fresh(spec.seed, shape) if snapshot is None else _lane_of(snapshot)
            for spec, snapshot in zip(specs, snapshots, strict=True)
        ]
        epoch = snapshots[0].epoch if snapshots[0] else 0
        best = [snapshot.best if snapshot else [] for snapshot in snapshots]
        return FastGroup(self, program, lanes, best, [spec.seed for spec in specs], self._pixels[spec.data], epoch)

    def _program(self, configuration: Configuration, shape: DataShape, lanes: int, train_images: int) -> Program:
        training = configuration.training
        if training.schedule != "cosine":  # it alone depends on the number of epochs
            training = msgspec.structs.replace(training, epochs=1)
        key = (msgspec.structs.replace(configuration, training=training), shape, lanes)
        if key not in self._programs:
            self._programs[key] = Program(configuration, shape, lanes, train_images=train_images)
        return self._programs[key]


class FastGroup:
    """Runs in training; `epoch` epochs of each lane are done."""

    def __init__(
        self,
        trainer: FastTrainer,
        program: Program,
        lanes: list[Lane],
        best: Sequence[list[NDArray[np.generic]]],
        seeds: list[int],
        pixels: DeviceImages,
        epoch: int,
    ) -> None:
        self.trainer = trainer
        self.remark = ""
        self.epoch = epoch
        self._has_trained = False
        self._program = program
        self._pixels = pixels
        self._is_single = len(lanes) == 1
        self._lanes = lanes[0] if self._is_single else jax.tree.map(lambda *values: jnp.stack(values), *lanes)
        self._best = dict(enumerate(best))
        """By lane, the parameters and others of its best epoch; empty while none is to be restored."""
        self._seeds = seeds
        self.training_images = held_in(pixels.train.shape[0], program.configuration.training.validation_split)
        self._epoch = program.compile(self._lanes, pixels, self._order())  # the time of the first epoch excludes it

    def _order(self) -> NDArray[np.int32]:
        """Return the images' order in the next epoch: (images,), or (lanes, images) for several lanes."""
        orders = [order_of(seed, self.epoch, self.training_images) for seed in self._seeds]
        return orders[0] if self._is_single else np.stack(orders)

    def train_epoch(self, is_stopped: Callable[[], bool] = never) -> tuple[EpochRow, ...]:
        """Train every lane for one epoch and evaluate it, with one transfer from the device; it is never stopped."""
        began = time.perf_counter()
        limit = card.first_epoch_seconds(self._program.configuration.network)
        with contextlib.nullcontext() if self._has_trained else card.watched(limit):
            self._lanes, on_device = self._epoch(self._lanes, self._pixels, self._order())
            metrics = jax.device_get(on_device)
        self._has_trained = True
        self.epoch += 1
        measured = {
            name: np.atleast_1d(values).tolist() for name, values in metrics._asdict().items() if values is not None
        }
        return rows_of(measured, len(self._pixels.test_labels), time.perf_counter() - began)

    def snapshot(self, lane: int, history: History) -> Snapshot:
        """Copy a lane out of the device's memory."""
        held = jax.device_get(self._lane(lane))
        parameters, others, optimizer = ([np.asarray(array) for array in group] for group in held)
        return Snapshot(self.epoch, history, parameters, others, optimizer, self.trainer.name, self._best[lane])

    def copy_best(self, lane: int) -> None:
        """Copy a lane's weights out of the device's memory."""
        held = self._lane(lane)
        self._best[lane] = [np.asarray(array) for array in jax.device_get([*held.parameters, *held.others])]

    def finish(self, lane: int) -> "JaxLane":
        """Return a lane, with its best weights where they were copied, to be written while others train."""
        held = jax.tree.map(jnp.array, self._lane(lane))
        if best := [jnp.array(array) for array in self._best[lane]]:
            count = len(held.parameters)
            held = held._replace(parameters=best[:count], others=best[count:])
        return JaxLane(self._program, held, self._pixels)

    def _lane(self, lane: int) -> Lane:
        return self._lanes if self._is_single else jax.tree.map(lambda values: values[lane], self._lanes)


class JaxLane:
    """A trained lane that is no longer changed."""

    def __init__(self, program: Program, lane: Lane, pixels: DeviceImages) -> None:
        self._program = program
        self._lane = lane
        self._pixels = pixels

    def save(self, path: Path, shape: DataShape) -> int:
        """Write the `.keras` file, as `models.save` does."""
        program = self._program
        return models.save(program.configuration, shape, path, *program.as_keras(self._lane), program.batches)

    @property
    def provenance(self) -> Provenance:
        """All on which its last bits may depend."""
        driver, flags = (gpus.driver(), os.environ.get("XLA_FLAGS", "")) if on_gpu() else ("", "")
        return Provenance(self._program.lanes, backends.MATMUL_PRECISION, driver, self._program.digest, flags)

    def weights(self) -> list[NDArray[np.generic]]:
        """Return the trainable weights as Keras lays them out."""
        return [np.asarray(array) for array in self._program.as_keras(self._lane).parameters]

    def activity(self) -> Activity:
        """Evaluate the activity of its units on the test images."""
        return activity_of(self._program, self._lane, self._pixels)


def _hold_the_gpu() -> None:
    """Check that JAX computes on the GPU of this process, if it has one, and let it draw weights on the CPU.

    Raises:
        CardRefused: JAX computes on the CPU instead.
    """
    if jax.config.jax_platforms != "cuda":  # type: ignore[attr-defined]
        return
    jax.config.update("jax_platforms", "cuda,cpu")  # type: ignore[no-untyped-call]
    if not on_gpu():
        raise card.CardRefused(
            card.UNUSABLE, "JAX computes on the CPU although this worker was given a GPU; `svhn-tui doctor` says why."
        )


def _lane_of(snapshot: Snapshot) -> Lane:
    return Lane(*([jnp.array(array) for array in getattr(snapshot, group)] for group in Lane._fields))


def _on_device(images: Images) -> DeviceImages:
    arrays: tuple[NDArray[np.generic], ...] = (
        images.train_images, images.train_labels, images.test_images, images.test_labels
    )  # fmt: skip
    return DeviceImages(*(jnp.array(array) for array in arrays))
