"""A `.keras` file from elsewhere is read as text before Keras may load it; what could run code is refused."""

import io
import json
import os
import re
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import pytest

from engine.core.data_shape import ASSIGNMENT
from engine.core.spec import Configuration, Convolution, Network, Training
from engine.tools.keras_file import KerasFileError, check
from engine.training.models import build, compile_as_asked

Config = dict[str, Any]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as training leaves it."""
    path = tmp_path_factory.mktemp("good") / "model.keras"
    configuration = Configuration(Network((4,), "relu"))
    model = build(configuration.network, ASSIGNMENT, softmax=True, seed=0)
    compile_as_asked(model, configuration.training)
    model.save(path)
    return path


def forged(good: Path, target: Path, change: Callable[[Config], None] | None = None, **members: bytes) -> Path:
    """Write the file again with a changed configuration or other members; dots in their names are written `__`."""
    with zipfile.ZipFile(good) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    if change is not None:
        config = json.loads(content["config.json"])
        change(config)
        content["config.json"] = json.dumps(config).encode()
    content |= {name.replace("__", "."): text for name, text in members.items()}
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return target


def layer(**sentence: object) -> Callable[[Config], None]:
    """Replace a layer by this."""

    def change(config: Config) -> None:
        layers = config["config"]["layers"]
        layers[-1] = {"module": "keras.layers", "config": {"name": "x"}, "registered_name": None, **sentence}

    return change


def setting(name: str, value: object) -> Callable[[Config], None]:
    """Give the last layer this setting."""

    def change(config: Config) -> None:
        config["config"]["layers"][-1]["config"][name] = value

    return change


def compiled(name: str, value: object) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        config["compile_config"][name] = value

    return change


def deep(config: Config) -> None:
    node = config
    for _ in range(200):
        node["x"] = {}
        node = node["x"]


FUNCTION = {"module": "builtins", "class_name": "function", "config": "system", "registered_name": "function"}
LAMBDA = {"class_name": "__lambda__", "config": {"code": "4wAAAA==", "defaults": None, "closure": None}}
HOSTILE = {
    "a Lambda layer": layer(class_name="Lambda", config={"function": LAMBDA}),
    "a Lambda layer that names no module": layer(class_name="Lambda", module=None),
    "a layer that loads a TensorFlow program": layer(class_name="TFSMLayer", config={"filepath": "/tmp/x"}),
    "a layer that loads a Torch program": layer(class_name="TorchModuleWrapper"),
    "a layer that wraps another": layer(class_name="TimeDistributed"),
    "a class of the standard library": layer(class_name="Popen", module="subprocess"),
    "a class of a module next to the file": layer(class_name="Layer", module="evil"),
    "a registered class": layer(class_name="Dense", registered_name="evil>Dense"),
    "a class without a module": layer(class_name="Evil", module=None),
    "a class name that is no text": layer(class_name=["Dense"]),
    "a function as activation": setting("activation", FUNCTION),
    "bytecode as activation": setting("activation", LAMBDA),
    "a function as loss": compiled("loss", FUNCTION),
    "a function inside a metric": compiled("metrics", [[{"class_name": "Mean", "f": FUNCTION}]]),
    "an optimizer from elsewhere": compiled("optimizer", {"class_name": "Adam", "module": "evil.optimizers"}),
    "a configuration nested deep": deep,
    "a newer Keras": setting("quantization_config", None),
}  # fmt: skip


def in_a_dictionary(config: Config) -> None:
    config["class_name"] = "Functional"
    config["config"] |= {"input_layers": {"pixels": ["pixels", 0, 0]}, "output_layers": [["dense", 0, 0]]}
    for before, layer in pairwise([None, *config["config"]["layers"]]):
        layer["name"] = layer["config"]["name"]
        tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": [before and before["name"], 0, 0]}}
        layer["inbound_nodes"] = [{"args": [tensor], "kwargs": {}}] if before else []


OWN: dict[str, Callable[[Config], None]] = {
    "has a function of its own as activation, which is a program": setting("activation", {"value": ["4wEAAA", None]}),
    "has a function of its own, 'mine', which is a program": setting(
        "activation", FUNCTION | {"config": "Custom>mine"}
    ),
    "is made of a class of its own, 'Net', which is a program": lambda config: config.update(
        module=None, class_name="Net", registered_name="Custom>Net"
    ),
    "is made of a class of its own, 'Sub', which is a program": lambda config: config.update(
        module=None, class_name="Sub", registered_name="Sub"
    ),
    "has an Add layer, which no network of this assignment has": layer(class_name="Add"),
    "has its input or its output in a dictionary; give keras.Model the tensors themselves": in_a_dictionary,
}  # fmt: skip


@pytest.mark.parametrize("reason", OWN)
def test_what_people_write_beyond_a_chain_of_layers_is_refused_with_the_true_reason(
    good: Path, tmp_path: Path, reason: str
):
    with pytest.raises(KerasFileError, match=re.escape(reason)):
        check(forged(good, tmp_path / "own.keras", OWN[reason]))


def test_a_file_of_keras_2_is_called_so(good: Path, tmp_path: Path):
    file = forged(good, tmp_path / "old.keras", metadata__json=b'{"keras_version": "2.15.0"}')
    with pytest.raises(KerasFileError, match=r"saved by Keras 2\.15\.0"):
        check(file)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_configuration_that_could_run_code_is_refused_in_one_sentence(good: Path, tmp_path: Path, what: str):
    file = forged(good, tmp_path / "evil.keras", HOSTILE[what])
    with pytest.raises(KerasFileError) as refused:
        check(file)
    assert str(refused.value).startswith(str(file))
    assert str(refused.value).count("\n") == 0


def weights(make: Callable[[h5py.File], None]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        make(file)
    return buffer.getvalue()


def external_link(file: h5py.File) -> None:
    file["layers"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file: h5py.File) -> None:
    file["layers"] = h5py.SoftLink("/elsewhere")


def external_data(file: h5py.File) -> None:
    file.create_dataset("kernel", (4,), "u1", external=[("/etc/passwd", 0, 4)])


MEMBERS: dict[str, dict[str, bytes]] = {
    "no JSON": {"config__json": b"{"},
    "JSON, but no object": {"config__json": b"[]"},
    "JSON of great depth": {"config__json": b"[" * 100_000},
    "a large configuration": {"config__json": b" " * (2**20 + 1)},
    "damaged metadata": {"metadata__json": b"\xff"},
    "no weights": {"model__weights__h5": b"none"},
    "weights in another file": {"model__weights__h5": weights(external_data)},
    "a link to another file": {"model__weights__h5": weights(external_link)},
    "a link inside": {"model__weights__h5": weights(soft_link)},
    "assets": {"assets/x__txt": b"x"},
    "a path out of the folder": {"../evil": b"x"},
}


@pytest.mark.parametrize("what", MEMBERS)
def test_members_that_do_not_belong_are_refused(good: Path, tmp_path: Path, what: str):
    file = forged(good, tmp_path / "evil.keras", **MEMBERS[what])
    with pytest.raises(KerasFileError):
        check(file)


def test_bombs_twice_the_same_member_and_damage_are_refused(good: Path, tmp_path: Path):
    bomb = tmp_path / "bomb.keras"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("config.json", "metadata.json"):
            archive.writestr(name, "{}")
        archive.writestr("model.weights.h5", bytes(50 * 2**20))
    with pytest.raises(KerasFileError, match="more than such a file holds"):
        check(bomb)
    twice = tmp_path / "twice.keras"
    twice.write_bytes(good.read_bytes())
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", "{}")
    with pytest.raises(KerasFileError, match="not exactly one of"):
        check(twice)
    whole = bytearray(good.read_bytes())
    for change in (lambda: whole[: len(whole) // 2], lambda: whole[:4_000] + b"\0" * 400 + whole[4_400:]):
        (tmp_path / "damaged.keras").write_bytes(change())
        with pytest.raises(KerasFileError):
            check(tmp_path / "damaged.keras")


KINDS = {
    b"": "it is empty",
    b"\x89HDF\r\n\x1a\n" + bytes(90): "it is an HDF5 file",
    b"\x80\x04\x95" + bytes(90): "it is a Python pickle",
    b"<html><body>404": "it is a web page",
    b"PK\3\4" + bytes(90): "it was cut off",
    b"something" + bytes(90): "it does not end like a zip",
}


@pytest.mark.parametrize("content", KINDS)
def test_another_kind_of_file_is_called_what_it_is(tmp_path: Path, content: bytes):
    (tmp_path / "other.keras").write_bytes(content)
    with pytest.raises(KerasFileError, match=rf"{KINDS[content]}.*save the model with model\.save\('NAME\.keras'\)"):
        check(tmp_path / "other.keras")


def test_what_is_no_file_is_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.keras")
    for path in (tmp_path / "pipe.keras", tmp_path, tmp_path / "missing.keras"):
        with pytest.raises(KerasFileError):
            check(path)


def test_a_file_as_it_is_handed_in_passes(good: Path, tmp_path: Path):
    assert check(good)["class_name"] == "Sequential"
    assert check(forged(good, tmp_path / "again.keras"))["class_name"] == "Sequential"


def test_every_kind_of_layer_that_own_experiments_may_have_passes(tmp_path: Path):
    network = Network((8, 4), "tanh", convolutions=(Convolution(4),), batch_normalization=True, dropout=0.2)
    for optimizer in ("adam", "adamw", "sgd", "rmsprop"):
        model = build(network, ASSIGNMENT, softmax=True, seed=0)
        compile_as_asked(model, Training(optimizer=optimizer))
        model.save(tmp_path / "model.keras")
        check(tmp_path / "model.keras")
