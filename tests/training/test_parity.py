"""JAX and native train what `model.fit` on TensorFlow trains: same weights, same metrics, batch by batch."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from engine.core.spec import Configuration, Network, RunSpec, Training
from engine.data.demo import draw
from engine.data.images import Images
from engine.machine.system import version
from engine.training import models
from engine.training.auto_trainer import AutoTrainer
from engine.training.native.build import find_compiler
from engine.training.shuffling import order_of
from tests.support.patience import PATIENCE
from tests.support.shared import made_once

pytestmark = pytest.mark.xdist_group("parity")  # all of them use what one process of TensorFlow trained

REFERENCE = Path(__file__).parents[1] / "support" / "reference_fit.py"
EPOCHS = 2


@cache
def drawn(train: int, test: int, step: int = 1) -> Images:
    """Draw images, or every so many of their rows and columns."""
    images, digits = draw(train + test, np.random.default_rng(7))
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2)[:, :, ::step, ::step])
    labels = digits.astype(np.int32)
    return Images(pixels[:train], labels[:train], pixels[train:], labels[train:], tuple("0123456789"))


class Case(NamedTuple):
    """A configuration that is trained once for each seed, and on what."""

    configuration: Configuration
    seeds: tuple[int, ...]
    train: int = 2_000
    test: int = 100
    step: int = 1

    @property
    def images(self) -> Images:
        return drawn(self.train, self.test, self.step)


NETWORKS = (Network(), Network((64, 32), "relu"), Network((100,)))
RELU = Configuration(Network((64,), "relu"), Training(epochs=EPOCHS))
BATCHES = Case(RELU, (0, 1, 2, 3, 4), train=250 * 32 + 16, test=500)  # twice 251 batches, the last one smaller
SMALL = {network.label: Case(Configuration(network, Training(epochs=EPOCHS)), (0,)) for network in NETWORKS}
ACCURACIES = {
    name: Case(
        Configuration(Network((256,), name), Training(epochs=6)), tuple(range(10)), train=1_600, test=1_000, step=2
    )
    for name in ("relu", "tanh")
}


def ask(folder: Path, case: Case) -> Path:
    """Write for the reference what it is to train: the images, initial weights and orders of the seeds."""
    images, configuration, seeds = case.images, case.configuration, case.seeds
    epochs = configuration.training.epochs
    asked = {"hidden": configuration.network.hidden, "activation": configuration.network.activation, "epochs": epochs}
    arrays = {"train": images.train_images, "labels": images.train_labels}
    arrays |= {"test": images.test_images, "test_labels": images.test_labels}
    for seed in seeds:
        model = models.build(configuration.network, images.shape, softmax=False, seed=seed)
        arrays |= {f"weight-{seed}-{index}": np.asarray(value) for index, value in enumerate(model.get_weights())}
        arrays |= {f"order-{seed}-{epoch}": order_of(seed, epoch, len(images.train_labels)) for epoch in range(epochs)}
    folder.mkdir()
    np.savez(folder / "given.npz", **arrays)
    (folder / "asked.json").write_text(json.dumps({**asked, "seeds": seeds}))
    return folder


def reference(folder: Path, cases: dict[str, Case], *, backend: str) -> None:
    """Train with plain Keras in a process of its own, from the same weights and in the same order."""
    folders = [str(ask(folder / name, case)) for name, case in cases.items()]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    environment |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")  # the same bits, sooner
    subprocess.run([sys.executable, str(REFERENCE), *folders], check=True, env=environment, timeout=3 * PATIENCE)


def found_in(folder: Path, seeds: Sequence[int]) -> list[dict]:
    """Read what that process made of each seed."""
    arrays = np.load(folder / "arrays.npz")
    return [
        {
            "weights": [arrays[name] for name in arrays if name.startswith(f"weight-{seed}-")],
            "loss": arrays[f"loss-{seed}"],
            "accuracy": arrays[f"accuracy-{seed}"],
            "test_accuracy": float(arrays[f"test-{seed}"]),
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


Fits = dict[str, list[dict]]


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Fits:
    """What TensorFlow makes of all cases, in one process."""
    if version("tensorflow") == "not installed":
        pytest.skip("TensorFlow is not installed")
    cases = {"batches": BATCHES, **SMALL, **ACCURACIES}
    folder = made_once(tmp_path_factory, "fits", lambda folder: reference(folder, cases, backend="tensorflow"))
    return {name: found_in(folder / name, case.seeds) for name, case in cases.items()}


@pytest.mark.parametrize("trainer", TRAINERS)
def test_relu_ends_with_tensorflows_weights(fits: Fits, trainer: str):
    """Rounding may put a unit on the other side of zero for an image (2 of 16 seeds here, plain layouts or ours), and
    Adam makes a step of it: so five seeds, of which four have to end within rounding and the other close by.
    """
    pairs = zip(BATCHES.seeds, fits["batches"], strict=True)
    measured = [differences(fast(BATCHES.images, BATCHES.configuration, seed, trainer), of) for seed, of in pairs]
    assert sum(weights < 1e-6 and metrics < 1e-5 for weights, metrics in measured) >= 4
    assert max(weights for weights, _ in measured) < 1e-4


@pytest.mark.parametrize("name", SMALL)
def test_other_networks_end_with_tensorflows_weights(fits: Fits, name: str):
    """The linear one is carried transposed; two layers, and a hidden one without an activation."""
    for trainer in ["jax", *(["native"] if find_compiler() else [])]:
        weights, metrics = differences(fast(SMALL[name].images, SMALL[name].configuration, 0, trainer), fits[name][0])
        assert weights < 1e-6, trainer
        assert metrics < 1e-5, trainer


def test_the_check_fails_for_a_softmax_head_with_clipped_probabilities(tmp_path: Path):
    """Keras's own `fit` on JAX clips probabilities and trains another network: the trap that logits avoid."""
    case = Case(RELU, (3,))
    reference(tmp_path, {"trapped": case}, backend="jax")
    (trapped,) = found_in(tmp_path / "trapped", case.seeds)
    weights, metrics = differences(fast(case.images, case.configuration, 3), trapped)
    assert weights > 1e-4
    assert metrics > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACCURACIES)
def test_each_trainer_reaches_the_accuracies_of_fit(fits: Fits, activation: str):
    """256 units, ten seeds: saturated units magnify rounding, and Welch's test does not tell any two trainers apart."""
    from scipy.stats import ttest_ind

    case = ACCURACIES[activation]
    accuracies = [[fit["test_accuracy"] for fit in fits[activation]]]
    for trainer in ["jax", *(["native"] if find_compiler() else [])]:
        accuracies.append(
            [fast(case.images, case.configuration, seed, trainer)["test_accuracy"] for seed in case.seeds]
        )
    for one, other in itertools.combinations(accuracies, 2):
        assert ttest_ind(one, other, equal_var=False).pvalue > 0.01
    assert min(map(np.mean, accuracies)) > 0.13, "it learned something, so there was something to compare"
