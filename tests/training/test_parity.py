"""JAX and native train what `model.fit` on TensorFlow trains: same weights, same metrics, batch by batch."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.core.data_shape import ASSIGNMENT
from engine.core.spec import Configuration, Network, RunSpec, Training
from engine.data.dataset import Images
from engine.data.demo import draw
from engine.machine.system import version
from engine.training import models
from engine.training.auto_trainer import AutoTrainer
from engine.training.native.build import find_compiler
from engine.training.shuffling import order_of
from tests.support.patience import PATIENCE
from tests.support.shared import made_once

REFERENCE = Path(__file__).parents[1] / "support" / "reference_fit.py"
IMAGES = 250 * 32 + 16  # twice 251 batches, the last one smaller
EPOCHS = 2
SHAPE = ASSIGNMENT


def drawn(train: int, test: int) -> Images:
    images, digits = draw(train + test, np.random.default_rng(7))
    pixels, labels = np.ascontiguousarray(images.transpose(0, 3, 1, 2)), digits.astype(np.int32)
    return Images(pixels[:train], labels[:train], pixels[train:], labels[train:], tuple("0123456789"))


def reference(
    folder: Path, images: Images, configuration: Configuration, *, backend: str, seeds: list[int]
) -> list[dict]:
    """Train with plain Keras in a process of its own, from the same weights and in the same order."""
    if backend == "tensorflow" and version("tensorflow") == "not installed":
        pytest.skip("TensorFlow is not installed")
    epochs = configuration.training.epochs
    asked = {"hidden": configuration.network.hidden, "activation": configuration.network.activation, "epochs": epochs}
    arrays = {"train": images.train_images, "labels": images.train_labels}
    arrays |= {"test": images.test_images, "test_labels": images.test_labels}
    for seed in seeds:
        model = models.build(configuration.network, SHAPE, softmax=False, seed=seed)
        arrays |= {f"weight-{seed}-{index}": np.asarray(value) for index, value in enumerate(model.get_weights())}
        arrays |= {f"order-{seed}-{epoch}": order_of(seed, epoch, len(images.train_labels)) for epoch in range(epochs)}
    np.savez(folder / "given.npz", **arrays)
    (folder / "asked.json").write_text(json.dumps({**asked, "seeds": seeds}))
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, str(REFERENCE), str(folder)], check=True, env=environment, timeout=PATIENCE)
    return found_in(folder, seeds)


def found_in(folder: Path, seeds: list[int]) -> list[dict]:
    """Read what that process made of each seed."""
    found = np.load(folder / "found.npz")
    return [
        {
            "weights": [found[name] for name in found if name.startswith(f"weight-{seed}-")],
            "loss": found[f"loss-{seed}"],
            "accuracy": found[f"accuracy-{seed}"],
            "test_accuracy": float(found[f"test-{seed}"]),
        }
        for seed in seeds
    ]


TRAINERS = ["jax", pytest.param("native", marks=pytest.mark.skipif(not find_compiler(), reason="no C compiler"))]


def fast(images: Images, configuration: Configuration, seed: int, trainer: str = "jax") -> dict:
    """Train on the fast path."""
    training = msgspec.structs.replace(configuration.training, trainer=trainer)
    configuration = msgspec.structs.replace(configuration, training=training)
    group = AutoTrainer().group([RunSpec(configuration, seed, "data")], images, [None])
    assert group.trainer.name == trainer
    rows = [group.train_epoch()[0] for _ in range(configuration.training.epochs)]
    return {
        "weights": group.finish(0).weights(),
        "loss": np.array([row.loss for row in rows]),
        "accuracy": np.array([row.accuracy for row in rows]),
        "test_accuracy": rows[-1].test_accuracy,
    }


def differences(one: dict, other: dict) -> tuple[float, float]:
    """Return the largest difference of a weight, and the largest relative one of an epoch's loss or accuracy."""
    weights = max(float(np.abs(a - b).max()) for a, b in zip(one["weights"], other["weights"], strict=True))
    metrics = max(float((np.abs(one[name] - other[name]) / np.abs(other[name])).max()) for name in ("loss", "accuracy"))
    return weights, metrics


@pytest.fixture(scope="module")
def relu_fit(tmp_path_factory: pytest.TempPathFactory) -> tuple[Images, Configuration, list[int], list[dict]]:
    """What TensorFlow makes of 64 ReLU units, for five seeds."""
    images, configuration = drawn(IMAGES, 500), Configuration(Network((64,), "relu"), Training(epochs=EPOCHS))
    seeds = [0, 1, 2, 3, 4]

    def fit(folder: Path) -> None:
        reference(folder, images, configuration, backend="tensorflow", seeds=seeds)

    return images, configuration, seeds, found_in(made_once(tmp_path_factory, "relu", fit), seeds)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_relu_ends_with_tensorflows_weights(
    relu_fit: tuple[Images, Configuration, list[int], list[dict]], trainer: str
):
    """Rounding may put a unit on the other side of zero for an image (2 of 16 seeds here, plain layouts or ours), and
    Adam makes a step of it: so five seeds, of which four have to end within rounding and the other close by.
    """
    images, configuration, seeds, expected = relu_fit
    pairs = zip(seeds, expected, strict=True)
    found = [differences(fast(images, configuration, seed, trainer), of) for seed, of in pairs]
    assert sum(weights < 1e-6 and metrics < 1e-5 for weights, metrics in found) >= 4
    assert max(weights for weights, _ in found) < 1e-4


@pytest.mark.parametrize("network", [Network(), Network((64, 32), "relu"), Network((100,))], ids=lambda n: n.label)
def test_other_networks_end_with_tensorflows_weights(tmp_path: Path, network: Network):
    """The linear one is carried transposed; two layers, and a hidden one without an activation."""
    images, configuration = drawn(2_000, 100), Configuration(network, Training(epochs=EPOCHS))
    (expected,) = reference(tmp_path, images, configuration, backend="tensorflow", seeds=[0])
    for trainer in ["jax", *(["native"] if find_compiler() else [])]:
        weights, metrics = differences(fast(images, configuration, 0, trainer), expected)
        assert weights < 1e-6, trainer
        assert metrics < 1e-5, trainer


def test_the_check_fails_for_a_softmax_head_with_clipped_probabilities(tmp_path: Path):
    """Keras's own `fit` on JAX clips probabilities and trains another network: the trap that logits avoid."""
    images, configuration = drawn(2_000, 100), Configuration(Network((64,), "relu"), Training(epochs=EPOCHS))
    (trapped,) = reference(tmp_path, images, configuration, backend="jax", seeds=[3])
    weights, metrics = differences(fast(images, configuration, 3), trapped)
    assert weights > 1e-4
    assert metrics > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_each_trainer_reaches_the_accuracies_of_fit(tmp_path: Path, activation: str):
    """256 units, ten seeds: saturated units magnify rounding, and Welch's test does not tell any two trainers apart."""
    from scipy.stats import ttest_ind

    images, configuration = drawn(1_600, 1_000), Configuration(Network((256,), activation), Training(epochs=6))
    seeds = list(range(10))
    fits = reference(tmp_path, images, configuration, backend="tensorflow", seeds=seeds)
    accuracies = [[fit["test_accuracy"] for fit in fits]]
    for trainer in ["jax", *(["native"] if find_compiler() else [])]:
        accuracies.append([fast(images, configuration, seed, trainer)["test_accuracy"] for seed in seeds])
    for one, other in itertools.combinations(accuracies, 2):
        assert ttest_ind(one, other, equal_var=False).pvalue > 0.01
    assert min(map(np.mean, accuracies)) > 0.13, "it learned something, so there was something to compare"
