"""The compiled epoch as a GPU gets it: the same weights, bit for bit; products of float32; weights drawn on the CPU."""

import jax
import numpy as np
import pytest

from engine.core.data_shape import DataShape
from engine.core.spec import Configuration, Network, Training
from engine.machine import backends
from engine.training import compiled_epoch
from engine.training.compiled_epoch import DeviceImages, Lane, Metrics, Program

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
    monkeypatch.setattr(compiled_epoch, "on_gpu", lambda: True)
    assert bits(program.fresh(3, SHAPE)) == bits(on_the_cpu)


def test_what_was_compiled_has_a_digest():
    program = Program(Configuration(NETWORKS[0]), SHAPE, 1)
    assert not program.digest
    lane = program.fresh(0, SHAPE)
    program.compile(lane, pixels(), np.arange(IMAGES, dtype=np.int32))
    assert len(program.digest) == 16
