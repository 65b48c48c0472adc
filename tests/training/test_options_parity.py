"""Every option of training does in the compiled epoch, and in keras-fit, what it does in Keras's own `model.fit`.

The reference is the code that is handed in, run in one process of its own on TensorFlow.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.core import limits
from engine.core.data_shape import DataShape
from engine.core.options import TRAINING
from engine.core.results import EpochRow
from engine.core.spec import Configuration, Network, RunSpec, Training
from engine.data.images import Images
from engine.machine.system import version
from engine.training import jax_trainer, models
from engine.training.early_stopping import epoch_of_weights, is_over
from engine.training.jax_trainer import FastTrainer
from svhn_tui.assignment.keras_code import code_for
from tests.support.early_stopping import arguments_of
from tests.support.patience import PATIENCE
from tests.support.shared import made_once

pytestmark = pytest.mark.skipif(version("tensorflow") == "not installed", reason="TensorFlow is not installed")

REFERENCE = Path(__file__).parents[1] / "support" / "reference_options.py"
SHAPE = DataShape((3, 8, 8), 10)
NETWORK = Network((16,), "tanh", "glorot_uniform", "zeros", input_scaling=1 / 255)
IMAGES = 16 * 12 + 5
WEIGHTS = tuple(0.25 * (1 + label) for label in range(10))
SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "clipnorm": 0.2, "schedule": "cosine",
            "warmup_epochs": 1, "alpha": 0.1, "learning_rate": 0.05},
    "sgd alone": {"optimizer": "sgd", "momentum": 0.5, "weight_decay": 0.01, "schedule": "cosine",
                  "learning_rate": 0.05, "validation_split": 0.3},
    "rmsprop": {"optimizer": "rmsprop", "rho": 0.8, "momentum": 0.5, "centered": True, "epsilon": 1e-3,
                "global_clipnorm": 0.5, "schedule": "step", "decay_epochs": 1, "decay_rate": 0.5},
    "adam": {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-4, "amsgrad": True, "weight_decay": 0.02, "clipvalue": 0.01,
             "warmup_epochs": 2},
    "adamw": {"optimizer": "adamw", "schedule": "exponential", "decay_epochs": 2, "decay_rate": 0.3,
              "label_smoothing": 0.2},
    "nadam": {"optimizer": "nadam", "beta_1": 0.7, "label_smoothing": 0.1, "class_weight": WEIGHTS,
              "metrics": ("top_k_categorical_accuracy",)},
    "adagrad": {"optimizer": "adagrad", "epsilon": 1e-5, "weight_decay": 0.001, "learning_rate": 0.02},
    "stops and restores": {"optimizer": "sgd", "learning_rate": 0.02, "epochs": 12, "validation_split": 0.3,
                           "patience": 2, "min_delta": 0.05, "restore_best_weights": True, "class_weight": WEIGHTS},
    "stops": {"optimizer": "sgd", "learning_rate": 0.02, "epochs": 12, "validation_split": 0.3, "patience": 1,
              "start_from_epoch": 2, "monitor": "val_categorical_accuracy"},
}  # fmt: skip
"""Every option of training that Keras takes, in few runs.

Those that stop early use plain SGD: Adam makes steps of rounding where a gradient is nearly zero, as in `test_parity`.
"""


AS_WORKER = ("nadam", "stops and restores")
"""Those that our own worker on TensorFlow trains too."""
FITTED = ("epochs", "batch_size", "class_weight", "validation_split")


@pytest.fixture(autouse=True)
def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every epoch see the images in their order, as `fit` does with `shuffle=False`."""
    monkeypatch.setattr(jax_trainer, "order_of", lambda seed, epoch, images: np.arange(images, dtype=np.int32))


def training_of(name: str) -> Training:
    training = Training(**{"epochs": 3, "batch_size": 16, "learning_rate": 0.005, **SETTINGS[name]})
    assert not limits.training_problem(training)
    return training


def spec_of(name: str) -> RunSpec:
    return RunSpec(Configuration(NETWORK, training_of(name)), 3, "data")


@pytest.fixture(scope="module")
def images() -> Images:
    random = np.random.default_rng(11)
    labels = random.integers(0, 10, IMAGES + 100, np.int32)
    pixels = (random.integers(0, 200, (len(labels), *SHAPE.inputs)) + 5 * labels[:, None, None, None]).astype(np.uint8)
    classes = tuple(map(str, range(10)))
    return Images(pixels[:IMAGES], labels[:IMAGES], pixels[IMAGES:], labels[IMAGES:], classes)


@pytest.fixture(scope="module")
def fitted(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What Keras's `fit` makes of each, in one process."""
    return np.load(made_once(tmp_path_factory, "fitted", lambda folder: fit(folder, images)) / "arrays.npz")


def fit(folder: Path, images: Images) -> None:
    arrays = {"train": images.train_images, "labels": images.train_labels}
    arrays |= {"test": images.test_images, "test_labels": images.test_labels}
    runs = {}
    for name in SETTINGS:
        spec, training = spec_of(name), training_of(name)
        model = models.build(NETWORK, SHAPE, softmax=False, seed=spec.seed)
        arrays |= {f"{name}-weight-{index}": np.asarray(value) for index, value in enumerate(model.get_weights())}
        runs[name] = {
            **{field: getattr(training, field) for field in FITTED},
            "code": code_for(spec.configuration, SHAPE, IMAGES),
            "early_stopping": arguments_of(training),
        }
    np.savez(folder / "given.npz", **arrays)
    asked = {"names": images.names, "classes": SHAPE.classes, "runs": runs, "as_worker": AS_WORKER,
             "specs": {name: msgspec.to_builtins(spec_of(name)) for name in AS_WORKER}}  # fmt: skip
    (folder / "asked.json").write_text(json.dumps(asked))
    environment = {
        **os.environ,
        "PYTHONPATH": str(REFERENCE.parents[2]),
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }
    subprocess.run([sys.executable, str(REFERENCE), str(folder)], check=True, env=environment, timeout=PATIENCE)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_compiled_epoch_trains_what_fit_trains(name: str, images: Images, fitted: Any):
    training = training_of(name)
    group = FastTrainer().group([spec_of(name)], images, [None])
    rows: list[EpochRow] = []
    while not is_over(training, rows):
        rows += group.train_epoch()
        if training.restore_best_weights and epoch_of_weights(training, rows) == len(rows):
            group.copy_best(0)
    assert len(rows) == len(fitted[f"{name}-loss"])
    for index, weights in enumerate(group.finish(0).weights()):
        assert np.abs(weights - fitted[f"{name}-weight-{index}"]).max() < 2e-6
    kept = rows[epoch_of_weights(training, rows) - 1]
    for field, of, expected in (
        ("loss", rows, "loss"), ("accuracy", rows, "categorical_accuracy"), ("val_loss", rows, "val_loss"),
        ("val_accuracy", rows, "val_categorical_accuracy"), ("test_loss", [kept], "test-loss"),
        ("test_accuracy", [kept], "test-categorical_accuracy"),
        ("test_top_k_accuracy", [kept], "test-top_k_categorical_accuracy"),
    ):  # fmt: skip
        if f"{name}-{expected}" in fitted:
            actual = np.array([getattr(row, field) for row in of], np.float64)
            np.testing.assert_allclose(actual, np.atleast_1d(fitted[f"{name}-{expected}"]), rtol=1e-5, err_msg=field)
        else:
            assert kept.val_loss is None if field.startswith("val") else getattr(kept, field) is None


@pytest.mark.parametrize("name", AS_WORKER)
def test_keras_fit_trains_what_fit_trains(name: str, fitted: Any):
    weights = [key for key in fitted if key.startswith(f"{name}-weight-")]
    for key in weights:
        np.testing.assert_allclose(fitted[key.replace("weight", "worker")], fitted[key], atol=1e-6)
    rows = msgspec.json.decode(fitted[f"{name}-worker-rows"].tobytes(), type=list[EpochRow])
    assert len(rows) == len(fitted[f"{name}-loss"])
    assert [row.loss for row in rows] == pytest.approx(fitted[f"{name}-loss"].tolist(), rel=1e-5)
    if f"{name}-val_loss" in fitted:
        assert [row.val_loss for row in rows] == pytest.approx(fitted[f"{name}-val_loss"].tolist(), rel=1e-5)
    else:
        assert rows[-1].test_top_k_accuracy == pytest.approx(float(fitted[f"{name}-test-top_k_categorical_accuracy"]))


def test_every_option_is_among_them():
    tried = {option for settings in SETTINGS.values() for option in settings}
    assert {option.name for option in TRAINING} - tried == {"batch_size", "trainer"}


def test_each_of_them_changes_what_is_trained(images: Images, fitted: Any):
    """Otherwise equal weights would show nothing: without one of its options, the first run ends elsewhere."""
    for option in ("nesterov", "clipnorm", "warmup_epochs"):
        spec = spec_of("sgd")
        training = msgspec.structs.replace(training_of("sgd"), **{option: getattr(Training(), option)})
        spec = msgspec.structs.replace(spec, configuration=Configuration(NETWORK, training))
        group = FastTrainer().group([spec], images, [None])
        for _ in range(training.epochs):
            group.train_epoch()
        assert np.abs(group.finish(0).weights()[0] - fitted["sgd-weight-0"]).max() > 1e-4, option
