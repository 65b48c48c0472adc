"""The compiled epoch as a GPU gets it: the same weights, bit for bit; products of float32; weights drawn on the CPU."""

import os
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from engine.core.data_shape import DataShape
from engine.core.spec import Configuration, Network, Training
from engine.machine import backends
from engine.training import compiled_epoch, models
from engine.training.compiled_epoch import DeviceImages, Lane, Metrics, Program
from engine.training.executable_digest import digest_of
from engine.training.keras_trainer import KerasFitTrainer

SHAPE = DataShape((3, 8, 8), 10)
NETWORKS = [Network(), Network((24,), "relu"), Network((24, 16), "tanh")]
IMAGES = 4 * 32 + 16


@pytest.fixture(autouse=True)
def settled():
    backends.settle_jax()


def pixels() -> DeviceImages:
    random = np.random.default_rng(5)
    images, labels = (
        random.integers(0, 256, (IMAGES, *SHAPE.inputs), np.uint8),
        random.integers(0, 10, IMAGES, np.int32),
    )
    return DeviceImages(*(jax.numpy.array(values) for values in (images, labels, images[:60], labels[:60])))


def trained(network: Network, *, sums: bool, precision: str | None = None) -> tuple[Lane, Metrics]:
    program = Program(Configuration(network, Training(epochs=1)), SHAPE, 1, sums_metrics=sums)
    order = np.random.default_rng(1).permutation(IMAGES).astype(np.int32)
    lane = program.fresh(3, SHAPE)
    with jax.default_matmul_precision(precision or backends.MATMUL_PRECISION):
        return program.compile(lane, pixels(), order)(lane, pixels(), order)


def bits(lane: Lane) -> list[bytes]:
    return [np.asarray(array).tobytes() for group in lane for array in group]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.label)
def test_metrics_that_are_summed_on_the_way_leave_the_weights_as_they_are(network: Network):
    stacked, ours = trained(network, sums=False)
    summed, theirs = trained(network, sums=True)
    assert bits(stacked) == bits(summed)
    assert ours.accuracy == theirs.accuracy
    assert float(ours.loss) == pytest.approx(float(theirs.loss), rel=1e-5)
    assert (ours.test_loss, ours.test_correct) == (theirs.test_loss, theirs.test_correct)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.label)
def test_products_of_float32_change_no_bit_on_a_cpu(network: Network):
    assert jax.config.jax_default_matmul_precision == "float32"
    (before, its), (after, our) = (trained(network, sums=False, precision=name) for name in ("default", "float32"))
    assert bits(before) == bits(after)
    assert [float(value) for value in jax.tree.leaves(its)] == [float(value) for value in jax.tree.leaves(our)]


def test_a_gpu_begins_from_the_weights_of_the_cpu(monkeypatch: pytest.MonkeyPatch):
    program = Program(Configuration(NETWORKS[1]), SHAPE, 1)
    on_the_cpu = program.fresh(3, SHAPE)
    drawn_on, build = [], models.build

    def noted(*given, **named):
        drawn_on.append(jax.config.jax_default_device)
        return build(*given, **named)

    monkeypatch.setattr(models, "build", noted)
    monkeypatch.setattr(compiled_epoch, "on_gpu", lambda: True)
    assert bits(program.fresh(3, SHAPE)) == bits(on_the_cpu)
    assert [device.platform for device in drawn_on] == ["cpu"], "else it is drawn where JAX computes"


def test_keras_fit_on_a_card_has_products_of_float32_and_as_much_memory_as_it_needs(monkeypatch: pytest.MonkeyPatch):
    cards, rounded = ["GPU:0"], list[bool]()
    experimental = SimpleNamespace(
        enable_tensor_float_32_execution=rounded.append, get_memory_info=lambda name: {"current": 3, "peak": 7}
    )
    config = SimpleNamespace(experimental=experimental, list_physical_devices=lambda kind: cards)
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    os.environ.pop("TF_FORCE_GPU_ALLOW_GROWTH", None)
    backends.prepare_tensorflow()
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    trainer = KerasFitTrainer()
    assert rounded == [False], "TF32 is off"
    assert (trainer.device, trainer.reserved_bytes) == ("gpu", 7)
    cards.clear()
    assert (trainer.device, trainer.reserved_bytes) == ("cpu", 0)


def test_what_was_compiled_has_a_digest():
    program = Program(Configuration(NETWORKS[0]), SHAPE, 1)
    assert not program.digest
    lane = program.fresh(0, SHAPE)
    program.compile(lane, pixels(), np.arange(IMAGES, dtype=np.int32))
    assert len(program.digest) == 16


FRESH = """HloModule jit__epoch

FileNames
1 "/home/a/engine/training/compiled_epoch.py"

StackFrames
1 {file_location_id=1 parent_frame_id=1}

%main (x: f32[2]) -> f32[2] {
  ROOT %y = f32[2] add(%x, %x), metadata={op_name="epoch/{x}" stack_frame_id=1}, backend_config={"b":"1"}
}
"""
CACHED = """HloModule jit__epoch

FileNames

%main (x: f32[2]) -> f32[2] {
  ROOT %y = f32[2] add(%x, %x), metadata={op_name="epoch/{x}"}, backend_config={"b":"1"}
}
"""


def test_a_digest_depends_on_what_is_computed_and_not_on_folders_or_the_cache():
    assert digest_of(FRESH) == digest_of(CACHED)
    assert digest_of(FRESH) != digest_of(FRESH.replace('"b":"1"', '"b":"2"')), "another kernel was chosen"
    assert digest_of(FRESH) != digest_of(FRESH.replace("add(", "multiply("))
