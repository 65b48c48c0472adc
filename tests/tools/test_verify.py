"""What `verify` says of files as people make them: right, or in what they are not as asked, never a false reason."""

import errno
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import msgspec
import numpy as np
import pytest

from engine.storage import zip_check
from engine.tools import strip_optimizer, verify
from engine.tools.keras_file import KerasFileError, checked
from engine.tools.model_checks import optimizer_checks, weights_check
from engine.tools.verification import Requirement
from tests.tools.networks import ASKED, BATCHES, RIGHT, SMALL, WRONG, Model, chain, compiled, functional
from tests.tools.test_keras_file import forged

FORM = "it computes what the Sequential that is asked for computes"


def looked_at(path: Path, asked: Requirement = ASKED) -> list[Any]:
    with checked(path) as file:
        model = keras.saving.load_model(file.path)
        state = optimizer_checks(model, file.iterations)
        return [weights_check(model), *state, *verify._checks(path, file, model, asked, SMALL)]


def complaints(path: Path, asked: Requirement = ASKED) -> list[str]:
    return [f"{check.name}: {check.text}" for check in looked_at(path, asked) if check.ok is False]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("way", RIGHT)
def test_the_network_that_is_asked_for_is_right_however_it_was_written(tmp_path: Path, way: str):
    RIGHT[way](tmp_path).save(tmp_path / "model.keras")
    verification = looked_at(tmp_path / "model.keras")
    assert [check for check in verification if check.ok is not True] == []
    other = any(word in way for word in ("Functional", "Sequential in", "as a layer", "as layers"))
    assert [FORM in check.text for check in verification if check.name == "form"] == [True] * other


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_as_asked_is_named_and_nothing_else(tmp_path: Path, what: str):
    build, expected = WRONG[what]
    build().save(tmp_path / "model.keras")
    assert sorted(complaints(tmp_path / "model.keras")) == sorted(expected)


def of_another_shape(content: bytes) -> bytes:
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = np.zeros((3072, 9), np.float32)
    return buffer.getvalue()


def test_why_keras_does_not_load_a_file_is_said(tmp_path: Path):
    """Its messages begin with advice to who writes layers, or with how many objects fail; the reason comes last."""
    good = saved(tmp_path, compiled(chain()))
    with zipfile.ZipFile(good) as archive:
        weights = of_another_shape(archive.read("model.weights.h5"))
    files = {
        "Could not interpret activation function identifier: sharp": forged(
            good,
            tmp_path / "a.keras",
            lambda config: config["config"]["layers"][-1]["config"].update(activation="sharp"),
        ),
        "The shape of the target variable": forged(good, tmp_path / "b.keras", model__weights__h5=weights),
    }
    for name, path in files.items():
        with checked(path) as file, pytest.raises((ValueError, TypeError)) as failed:
            keras.saving.load_model(file.path)
        assert verify._reason_of(failed.value).startswith(name)


def saved(tmp_path: Path, model: Model) -> Path:
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def as_3_0(config: Any) -> Any:
    """Write a configuration as Keras 3.0 did: plain dtypes, no shared objects, fewer settings, another list of ends."""
    if isinstance(config, list):
        return [as_3_0(item) for item in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return config["config"]["name"]
    later = {"shared_object_id", "loss_scale_factor", "gradient_accumulation_steps", "build_input_shape"}
    kept = {key: as_3_0(value) for key, value in config.items() if key not in later}
    for ends in ("input_layers", "output_layers"):
        if ends in kept:
            kept[ends] = [kept[ends]]
    return kept


@pytest.mark.parametrize("build", [chain, functional], ids=["Sequential", "Functional"])
def test_files_of_earlier_versions_are_read(tmp_path: Path, build: Callable[[], Model]):
    new = saved(tmp_path, compiled(build()))

    def change(config: dict[str, Any]) -> None:
        old = as_3_0(config)
        config.clear()
        config.update(old)

    old = forged(new, tmp_path / "old.keras", change)
    with zipfile.ZipFile(old) as archive:
        assert b"DTypePolicy" not in archive.read("config.json")
    assert complaints(old) == []


def test_without_the_optimizers_state_nothing_is_said_of_fitting(tmp_path: Path):
    path = saved(tmp_path, compiled(chain(), batches=BATCHES))
    path.write_bytes(strip_optimizer.stripped(path))
    verification = looked_at(path)
    assert [check.text for check in verification if check.ok is None] == [
        "not known, the file holds no optimizer state"
    ]
    assert [check for check in verification if check.ok is False] == []


def test_a_question_that_asks_for_no_fitting_refuses_a_fitted_network(tmp_path: Path):
    asked = msgspec.structs.replace(ASKED, fitted=False)
    assert complaints(saved(tmp_path, compiled(chain(), batches=0)), asked) == []
    assert complaints(saved(tmp_path, compiled(chain())), asked) == ["fitted: batches: 4; none are asked"]


def test_a_network_that_diverged_is_never_right(tmp_path: Path):
    model = compiled(chain())
    model.layers[-1].bias.assign(np.full(10, np.nan, np.float32))
    assert complaints(saved(tmp_path, model)) == ["weights: 10 are not finite numbers"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_state_of_the_optimizer_that_keras_leaves_out_or_that_diverged_is_not_right(tmp_path: Path):
    model = compiled(chain())
    model.optimizer.variables[2].assign(np.full(model.optimizer.variables[2].shape, np.inf, np.float32))
    numbers = int(np.prod(model.optimizer.variables[2].shape))
    path = saved(tmp_path, model)
    assert complaints(path) == [f"optimizer state: {numbers:,} are not finite numbers"]
    with zipfile.ZipFile(path) as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(weights, "r+") as file:
        del file["optimizer/vars/3"]
    forged(path, path, model__weights__h5=weights.getvalue())
    assert complaints(path) == ["optimizer state: does not fit this network: Keras begins with an empty one"]


def test_what_is_loaded_is_what_was_checked(tmp_path: Path):
    path = saved(tmp_path, compiled(chain()))
    content = path.read_bytes()
    with checked(path) as file:
        path.write_bytes(b"exchanged")
        assert file.path.read_bytes() == content
        assert (file.path.stat().st_mode & 0o777, file.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert keras.saving.load_model(file.path).count_params() == 24_674
        private = file.path
    assert not private.parent.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.ENOMEM, errno.EDQUOT])
def test_errors_of_the_machine_are_not_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    path = saved(tmp_path, compiled(chain()))

    def fail(file: object, chunk: bytes) -> None:
        raise OSError(number, errno.errorcode[number])

    monkeypatch.setattr(zip_check, "write_whole", fail)
    with pytest.raises(KerasFileError, match=rf"cannot be copied to .* \({errno.errorcode[number]}\)\.$") as refused:
        checked(path).__enter__()
    assert "damaged" not in str(refused.value)


def test_a_temporary_folder_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = saved(tmp_path, compiled(chain()))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(KerasFileError, match=r"cannot be copied to .*missing"):
        checked(path).__enter__()
