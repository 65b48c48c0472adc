"""The native epoch is the one that NumPy computes, whatever the sizes and the threads."""

import sys
import threading

import numpy as np
import pytest

from engine.training.native import build, reference
from engine.training.native.library import EpochMetrics, Library
from engine.training.native.trial import TOLERANCE, Case, difference
from tests import native_speed
from tests.training.native_epochs import NEEDS_COMPILER, is_same, trained

pytestmark = NEEDS_COMPILER


SIZES = [
    *(Case((40, 12, classes)) for classes in (2, 3, 9, 11, 16, 17, 31, 64, 100, 1_000)),
    *(Case((70, classes), "linear") for classes in (2, 10, 100)),
    *(Case((40, 12, 10), batch_size=size, images=130) for size in (1, 2, 7, 31, 33, 64, 100, 130, 1000)),
    *(Case((units, units, 5), images=40) for units in (1, 2, 3, 15, 17, 31, 33, 65, 127)),
    *(Case((33, units, 20, 10), images=40) for units in (255, 257, 300, 520)),
    *(Case((33, 20, units, 10), images=40) for units in (1, 96, 257, 520)),
    *(Case((inputs, units, 5)) for inputs in (96, 416) for units in (64, 160, 300)),  # images are read in place
    *(Case((30, *[9] * hidden, 10)) for hidden in range(16)),
    *(Case((20, 10), "linear", tests=tests) for tests in (1, 63, 64, 65, 128)),
    *(Case((40, 24, 10), "tanh", tests=tests) for tests in (1, 65)),
    *(Case((40, 24, 10), adam=adam) for adam in ((0, 0, 1e-3), (0.5, 0.9, 1e-8), (0.95, 0.99, 1e-5))),
]


@pytest.mark.parametrize("case", SIZES, ids=str)
def test_sizes_of_every_kind_are_trained_as_numpy_trains_them(library: Library, case: Case):
    for threads in (1, 3):
        assert difference(library, case, threads) < TOLERANCE


def test_last_batches_of_every_size(library: Library):
    for left in range(1, 33):
        assert difference(library, Case((20, 8, 4), images=32 + left)) < TOLERANCE


@pytest.mark.parametrize(
    "case",
    [Case((96, 10), "linear"), Case((200, 64, 10)), Case((96, 300, 70, 17), "tanh", 20), Case((50, *[24] * 14, 3))],
    ids=str,
)
def test_threads_and_alignment_change_no_bit(library: Library, case: Case):
    alone = trained(library, case)
    for threads in (1, 2, 3, 7):
        for shift in (0, 4, 36):
            assert is_same(alone, trained(library, case, threads=threads, shift=shift))


def test_two_networks_train_at_once_in_one_process(library: Library):
    cases = (Case((200, 64, 10), images=3_000), Case((64, 32, 16, 5), "tanh", images=3_000))
    alone = [trained(library, case, threads=2) for case in cases]
    together: dict[int, tuple[list, EpochMetrics | None]] = {}

    def train(index: int) -> None:
        together[index] = trained(library, cases[index], threads=2)

    threads = [threading.Thread(target=train, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(is_same(alone[index], together[index]) for index in (0, 1))


@pytest.mark.parametrize(
    "case", [Case((40, 10), "linear", tests=65), Case((40, 24, 16, 5), "tanh", tests=130)], ids=str
)
def test_images_are_evaluated_alone_as_they_are_after_an_epoch(library: Library, case: Case):
    layers, _ = trained(library, case)
    generator = np.random.default_rng(2)
    images = reference.drawn_images(case.tests, case.sizes[0], case.sizes[-1], generator)
    before = reference.copied(layers)
    order = np.zeros(1, np.int32)
    for threads in (1, 3):
        evaluated = library.evaluate(layers, case.activation, images, threads=threads)
        assert is_same((layers, None), (before, None))
    metrics = library.epoch(layers, case.activation, images, order, images, step=0, learning_rate=0.0)
    assert metrics is not None
    assert evaluated == (metrics.test_loss, metrics.test_correct)


def test_what_c_cannot_be_given_is_refused(library: Library):
    generator = np.random.default_rng(1)
    layers, images = reference.drawn_layers((40, 12, 10), generator), reference.drawn_images(50, 40, 10, generator)
    order = np.arange(50, dtype=np.int32)
    good = {"layers": layers, "train": images, "order": order, "test": images, "batch_size": 32, "learning_rate": 1e-3}
    kernel, *others = layers[0]
    read_only = kernel.copy()
    read_only.flags.writeable = False
    labels = images.labels
    bad = {
        "an index that is not there": {"order": np.array([50], np.int32)},
        "a negative index": {"order": np.array([-1], np.int32)},
        "no image": {"order": order[:0]},
        "an order of another type": {"order": order.astype(np.int64)},
        "a label too many": {"train": images._replace(labels=labels + 10)},
        "a label below 0": {"test": images._replace(labels=labels - 10)},
        "a label too few": {"train": images._replace(labels=labels[:-1])},
        "labels of another type": {"train": images._replace(labels=labels.astype(np.int64))},
        "pixels that are floats": {"train": images._replace(pixels=images.pixels.astype(np.float32))},
        "pixels with gaps": {"train": images._replace(pixels=np.zeros((50, 80), np.uint8)[:, ::2])},
        "test images of another size": {"test": images._replace(pixels=images.pixels[:, :39].copy())},
        "a kernel of another shape": {"layers": [(kernel[:, :11].copy(), *others), layers[1]]},
        "a transposed kernel": {"layers": [(np.ones((12, 40), np.float32).T, *others), layers[1]]},
        "float64": {"layers": [(kernel.astype(np.float64), *others), layers[1]]},
        "what must not be written": {"layers": [(read_only, *others), layers[1]]},
        "no batch": {"batch_size": 0},
        "a rate too many": {"learning_rate": np.ones(3, np.float32)},
        "too many classes": {"layers": reference.drawn_layers((40, 1_001), generator)},
        "too many layers": {"layers": reference.drawn_layers((40, *[9] * 16, 10), generator)},
    }
    for name, changed in bad.items():
        given = good | changed
        with pytest.raises(ValueError):
            library.epoch(
                given["layers"], "relu", given["train"], given["order"], given["test"], step=0,
                learning_rate=given["learning_rate"], batch_size=given["batch_size"],
            )  # fmt: skip
            pytest.fail(name)


def test_what_is_not_a_number_stays_so(library: Library):
    case = Case((40, 12, 10))
    layers = reference.drawn_layers(case.sizes, np.random.default_rng(1))
    layers[0][0][3, 4] = np.nan
    images = reference.drawn_images(64, 40, 10, np.random.default_rng(2))
    order = np.arange(64, dtype=np.int32)
    metrics = library.epoch(layers, "relu", images, order, images, step=0, learning_rate=1e-3)
    assert metrics is not None
    assert np.isnan(metrics.loss) and np.isnan(metrics.test_loss)
    assert np.isnan(layers[1][0]).all(), "as it spreads on JAX"


def test_make_native_times_it_beside_another_version_and_compares_bits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    options = ["linear", "--images", "640", "--rounds", "1", "--beside", str(build.SOURCE.parent)]
    monkeypatch.setattr(sys, "argv", ["native_speed", *options])
    assert native_speed.main() == 0
    _, _, now, beside = capsys.readouterr().out.splitlines()
    assert now.startswith("linear") and beside.endswith("the same bits")
