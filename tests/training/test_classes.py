"""As many classes as the data has, images of any size: each trainer, the files and their checks."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine import protocol as p
from engine.core.layers import trainable_parameters
from engine.core.spec import Configuration, Network, RunSpec, TrainerName, Training
from engine.data import dataset
from engine.training.training_loop import Attempts
from tests.support.data_files import write_cifar, write_mnist, write_svhn
from tests.training.test_training import EventLog, train

RANDOM = np.random.default_rng(7)
NETWORK = Network((8,), "relu")


def write_pair(folder: Path, classes: int, shape: tuple[int, int, int] = (12, 10, 1)) -> Path:
    """Write images of one grey each, which says their class but for some noise."""
    folder.mkdir()
    for name, count in (("train.npz", 4 * classes + 60), ("test.npz", 2 * classes + 30)):
        labels = np.arange(count) % classes
        noise = RANDOM.integers(0, 20, (*shape, count))
        images = (labels * (230 // classes) + noise).astype(np.uint8)
        np.savez(folder / name, images=images, labels=labels.astype(str))
    return folder


def configured(trainer: TrainerName) -> Configuration:
    return Configuration(NETWORK, Training(epochs=2, batch_size=16, learning_rate=1e-3, trainer=trainer))


WITH_TENSORFLOW = """
import sys
from pathlib import Path
import msgspec
from engine.machine import backends
backends.clear_environment()
backends.prepare_tensorflow(3)
from engine.tools.verification import Requirement
from engine.tools.verify import verify
from engine.core.spec import Configuration
from tests.training.test_classes import fit
cases = [(Path(workspace), folder, msgspec.json.decode(configuration, type=Configuration))
         for workspace, folder, configuration in zip(*[iter(sys.argv[1:])] * 3)]
for workspace, folder, configuration in cases:
    file = next(workspace.glob("runs/*/model.keras"), None) or fit(workspace, folder, configuration)
    sys.stdout.buffer.write(msgspec.json.encode(verify(file, [folder], Requirement(configuration))) + b"\\n")
"""


def fit(workspace: Path, folder: str, configuration: Configuration) -> Path:
    """Train on TensorFlow, in a process that has it; return the file."""
    from engine.training.keras_trainer import KerasFitTrainer

    data, log = dataset.describe([folder]), EventLog()
    (workspace / "runs").mkdir(parents=True)
    spec = RunSpec(configuration, 0, data.fingerprint)
    with Attempts("w0", KerasFitTrainer(), log, log.stop_of) as attempts:
        attempts.train(p.Train(group="g", workspace=str(workspace), specs=(spec,), data=data))
    (finished,) = log.of(p.RunFinished)
    return workspace / "runs" / finished.result.run_id / "model.keras"


def verified(*cases: tuple[Path, Path, Configuration]) -> list[dict[str, Any]]:
    """Verify the file of each workspace under TensorFlow, trained there where there is none yet."""
    words = [word for workspace, folder, configuration in cases
             for word in (str(workspace), str(folder), msgspec.json.encode(configuration).decode())]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", WITH_TENSORFLOW, *words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return [msgspec.json.decode(line) for line in done.stdout.splitlines()]


def data_sets(folder: Path) -> dict[str, Path]:
    """Write data sets of every kind: how many classes, in which files, of what."""
    sets = {f"{classes} classes": write_pair(folder / f"data{classes}", classes) for classes in (2, 26, 100)}
    sets |= {"mnist": write_mnist(folder / "mnist.npz"), "cifar": write_cifar(folder / "cifar10.npz")}
    sets["svhn"] = write_svhn(folder / "svhn")
    table = {f"x_{half}": RANDOM.normal(size=(count, 13)) for half, count in (("train", 90), ("test", 40))}
    labels = {f"y_{half}": np.arange(len(table[f"x_{half}"])) % 3 for half in ("train", "test")}
    np.savez(folder / "table.npz", **table, **labels)
    return {**sets, "table": folder / "table.npz"}


TRAINERS: dict[str, tuple[TrainerName, ...]] = {"mnist": ("fast",), "cifar": ("fast",), "svhn": ("fast",)}


@pytest.mark.slow
def test_data_of_every_kind_trains_on_each_trainer_and_verifies_under_tensorflow(tmp_path: Path):
    cases, results = [], {}
    for name, folder in data_sets(tmp_path).items():
        shape = dataset.describe([folder]).shape
        for trainer in TRAINERS.get(
            name, ("jax", "native", "keras-fit") if "classes" in name else ("fast", "keras-fit")
        ):
            workspace, configuration = tmp_path / f"{name} {trainer}", configured(trainer)
            cases.append((workspace, folder, configuration))
            if trainer != "keras-fit":
                train(workspace, folder, configuration, [0], log := EventLog())
                (finished,) = log.of(p.RunFinished)
                assert finished.result.trainable_parameters == trainable_parameters(NETWORK, shape)
                results[workspace] = finished.result
    for (workspace, folder, _), verification in zip(cases, verified(*cases), strict=True):
        assert [check for check in verification["checks"] if check["ok"] is False] == [], workspace
        assert verification["trainable_parameters"] == trainable_parameters(NETWORK, dataset.describe([folder]).shape)
        assert workspace not in results or verification["test_correct"] == results[workspace].test_correct
        if workspace in results:
            recall, counts = results[workspace].test_recall, dataset.describe([folder]).test_counts
            right = sum(share * count for share, count in zip(recall, counts, strict=True) if share is not None)
            assert right == pytest.approx(verification["test_correct"])
    for classes in (2, 26, 100):
        jax, native = (results[tmp_path / f"{classes} classes {trainer}"] for trainer in ("jax", "native"))
        assert abs(jax.loss - native.loss) < 1e-3 * jax.loss
    assert results[tmp_path / "table fast"].trained_by == "jax", "the native trainer takes bytes"
