"""`.keras` files from elsewhere that hold code, contradict themselves or ask for more than they hold: refused."""

import io
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np

from engine.data.dataset import describe
from tests.support import zips
from tests.support.probe import probed
from tests.support.terminal import PROGRAM
from tests.tools.test_keras_file import forged, good, weights  # noqa: F401  `good` is a fixture

# Zips whose records are too many, or contradict each other: zipfile would read something else than what was checked.


def spoilt(source: Path, target: Path, change: Callable[[bytearray], bytes]) -> Path:
    target.write_bytes(change(bytearray(source.read_bytes())))
    return target


def moved_locator(content: bytearray) -> bytes:
    """Sixty thousand members behind a locator that points at a record of three; zipfile reads the one before it."""
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(70_000):
            archive.writestr(f"{number:x}", b"")
    text = many.getvalue()
    at = text.rindex(b"PK\6\6")
    directory = bytearray(text[at : at + 56])
    struct.pack_into("<4Q", directory, 24, 3, 3, 200, 0)
    return bytes(directory) + text[: at + 56] + struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1) + text[at + 76 :]


def other_local_name(content: bytearray) -> bytes:
    content[30:34] = b"evil"
    return content


def prefixed(source: Path, target: Path) -> Path:
    """A zip behind something else, its offsets counted from the file's start."""
    target.write_bytes(b"#!/bin/sh\n")
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "a") as copy:
        for name in archive.namelist():
            copy.writestr(name, archive.read(name))
    return target


def dictionary(path: Path) -> Path:
    """A member that asks LZMA for 1.5 GiB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name in ("config.json", "metadata.json", "model.weights.h5"):
            archive.writestr(name, b"{}")
    content = bytearray(path.read_bytes())
    struct.pack_into("<L", content, 30 + len("config.json") + 5, 3 * 2**29)
    path.write_bytes(content)
    return path


def shared(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", b"{}")
        for name in ("metadata.json", "model.weights.h5"):
            zips.share_first(archive, name)
        archive.fp.seek(0, os.SEEK_END)  # type: ignore[union-attr]
        archive._didModify = True
    return path


def behind_a_gigabyte(source: Path, target: Path) -> Path:
    """A zip behind a hole in its file, which takes no room on the disk."""
    with zipfile.ZipFile(source) as archive, target.open("wb") as file:
        file.truncate(2**30)
        file.seek(0, os.SEEK_END)
        with zipfile.ZipFile(file, "a") as copy:
            for name in archive.namelist():
                copy.writestr(name, archive.read(name))
    return target


ZIPS: dict[str, Callable[[Path, Path], Path]] = {
    "its second end record is not where it says": lambda source, to: spoilt(source, to, moved_locator),
    "something stands before its first member": prefixed,
    "its table of contents is not where its": lambda source, to: spoilt(source, to, lambda text: b"x" * 40 + text),
    "contents is not where": lambda source, to: spoilt(source, to, lambda text: text[:-6] + b"\0\0\0\0\0\0"),
    "it does not end like a zip": lambda source, to: spoilt(source, to, lambda text: text + b"behind"),
    "a member is not the one": lambda source, to: spoilt(source, to, other_local_name),
    "packed in a way that is not read here": lambda source, to: dictionary(to),
    "its members overlap": lambda source, to: shared(to),
    "thousands of members": lambda source, to: zips.of_nothing(to, (f"{number:08}" for number in range(60_000))),
    "larger than 256 MiB": behind_a_gigabyte,
}


# Networks that ask for more memory than their file has bytes.

HUGE = 10**8


def input_layer(**settings: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][0]["config"] = {"name": "input", "dtype": "float32", **settings}

    return change


def built_for(index: int | None, shape: list[Any], key: str = "build_config") -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        layer = config if index is None else config["config"]["layers"][index]
        if key == "build_input_shape":
            config["config"][key] = shape
        else:
            layer[key] = {"input_shape": shape}

    return change


def said_once(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """Leave out the shapes that are said a second time."""

    def changed(config: dict[str, Any]) -> None:
        change(config)
        config["config"].pop("build_input_shape")
        for layer in (config, *config["config"]["layers"]):
            layer.pop("build_config", None)

    return changed


def more_layers(*added: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        for layer in added:
            layer.setdefault("module", "keras.layers")
            config["config"]["layers"].insert(1, {"registered_name": None, **layer})

    return change


def in_a_setting(config: dict[str, Any]) -> None:
    """Keras builds whatever object stands for an activation."""
    hidden = {"module": "keras.layers", "class_name": "Dense", "registered_name": None,
              "config": {"units": 10**6}, "build_config": {"input_shape": [None, 10**6]}}  # fmt: skip
    config["config"]["layers"][-1]["config"]["activation"] = hidden


def as_loss(config: dict[str, Any]) -> None:
    layer = {**config["config"]["layers"][-1], "build_config": {"input_shape": [None, HUGE]}}
    config["compile_config"]["loss"] = layer


def metric(**name: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        config["compile_config"]["metrics"] = [{"module": "keras.metrics", "registered_name": None, **name}]

    return change


def eval_as_loss(config: dict[str, Any]) -> None:
    config["compile_config"]["loss"] = {"module": "builtins", "class_name": "function", "config": "eval"}


def wide(config: dict[str, Any]) -> None:
    config["config"]["layers"][-1]["config"]["units"] = 10**9


CONV = {"filters": 4096, "kernel_size": [4096, 4096], "strides": [1, 1], "padding": "same"}
CONFIGS: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "shape": ("more than 67,108,864 weights", said_once(input_layer(shape=[HUGE]))),
    "batch_shape": ("more than 67,108,864 weights", said_once(input_layer(batch_shape=[None, HUGE, 32, 32]))),
    "both shapes": ("without one shape", input_layer(batch_shape=[None, 3, 32, 32], shape=[HUGE])),
    "a negative shape": ("has a size of", input_layer(batch_shape=[None, -3, -32, 32])),
    "a shape of numbers that are none": ("has a size of", input_layer(batch_shape=[None, 1.5, "32", 32])),
    "no shape": ("without one shape", input_layer()),
    "a large number": ("has the number 1000000000000", input_layer(batch_shape=[10**12, 3, 32, 32])),
    "NaN": ("has the number nan", input_layer(batch_shape=[None, 3, 32, 32], sparse=float("nan"))),
    "a layer's build_config": ("builds its Dense for", built_for(2, [None, HUGE])),
    "the model's build_config": ("builds its", built_for(None, [None, HUGE, 3, 3])),
    "build_input_shape": ("builds its", built_for(None, [None, HUGE, 3, 3], "build_input_shape")),
    "more sides": ("builds its Dense for", built_for(2, [HUGE, HUGE, HUGE, 3072])),
    "a wide layer": ("and holds 12,342", said_once(more_layers({"class_name": "Dense", "config": {"units": 10**4}}))),
    "a wide last layer": ("more than 67,108,864 weights", wide),
    "a wide kernel": ("67,108,864 weights", said_once(more_layers({"class_name": "Conv2D", "config": CONV}))),
    "a large picture": (
        "more than 16,777,216 numbers an image",
        said_once(more_layers({"class_name": "GlobalMaxPooling2D", "config": {}},
                              {"class_name": "Conv2D", "config": {"filters": 10**6, "kernel_size": 1}})),
    ),
    "a metric's table": ("names MeanIoU", metric(class_name="MeanIoU", config={"num_classes": 10**6})),
    "a layer as an activation": ("has a Dense layer inside a setting", in_a_setting),
    "a layer as loss": ("has a Dense layer inside a setting", as_loss),
    "a builtin as loss": ("names the builtin 'eval'", eval_as_loss),
    "a layer used twice": (
        "uses a Flatten layer twice", more_layers({"class_name": "Flatten", "config": {}, "shared_object_id": 1})
    ),
}  # fmt: skip


def compressed(file: Any) -> None:
    file.create_dataset("layers/x/vars/0", (10,), "f4", compression="gzip")


def in_pieces(file: Any) -> None:
    file.create_dataset("layers/x/vars/0", (100, 100), "f4", chunks=(100, 100), data=np.zeros((100, 100)))


def texts(file: Any) -> None:
    file.create_dataset("layers/x/vars/0", data=["x"] * 100)


def unwritten(file: Any) -> None:
    file.create_dataset("layers/x/vars/0", (100,), "f4")


def long_attribute(file: Any) -> None:
    file.attrs["name"] = np.bytes_("x" * 40_000)


def named_type(file: Any) -> None:
    file["type"] = np.dtype("f4")


def loop(file: Any) -> None:
    for name in ("a", "b", "c"):
        file[name] = file["/"]


def never_written(file: Any) -> None:
    file.create_dataset("kernel", (10**6, 10**6), "f4", chunks=(1000, 1000))


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("kernel", layout)


WEIGHTS: dict[str, Callable[[Any], None]] = {
    "a compressed array": compressed, "a compressed array ": in_pieces, "other than numbers": texts,
    "declares more than it holds": unwritten, "an attribute of": long_attribute, "other than arrays": named_type,
    "is nested too deep": loop, "declares more than it holds ": never_written, "in another file": virtual,
}  # fmt: skip


def test_keras_files_cost_little_before_they_are_refused(good: Path, tmp_path: Path):  # noqa: F811
    files = {name: make(good, tmp_path / f"zip{number}.keras") for number, (name, make) in enumerate(ZIPS.items())}
    for number, (name, change) in enumerate(CONFIGS.values()):
        files[name + " " * number] = forged(good, tmp_path / f"config{number}.keras", change)
    for number, (name, make) in enumerate(WEIGHTS.items()):
        files[name + "\t" * number] = forged(good, tmp_path / f"h5{number}.keras", model__weights__h5=weights(make))
    outcomes = probed("keras", *files.values())
    for name, path in files.items():
        assert name.strip() in outcomes[path.name], path
        assert "\n" not in outcomes[path.name]


def test_a_layer_with_code_never_runs_whatever_asks_for_the_file(
    good: Path,  # noqa: F811
    demo_folder: Path,
    tmp_path: Path,
):
    canary = tmp_path / "canary"
    code = f"__import__('os').mkdir({str(canary)!r})"

    def change(config: dict[str, Any]) -> None:
        function = {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}
        config["config"]["layers"].insert(0, {"module": "keras.layers", "class_name": "Lambda",
                                              "config": {"function": function}, "registered_name": None})  # fmt: skip

    file = forged(good, tmp_path / "evil.keras", change)
    verify = [*PROGRAM, "verify", str(file), "--data", str(demo_folder)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, "Lambda layer, which could run code" in done.stderr) == (1, True)
    look = msgspec.json.encode({"data": msgspec.to_builtins(describe([demo_folder])), "run_id": "a", "file": str(file)})
    looked = subprocess.run(
        [sys.executable, "-m", "engine.tools.inspect_run"], input=look, capture_output=True, check=False
    )
    assert (looked.returncode, b"Lambda layer, which could run code" in looked.stderr) == (1, True)
    assert not canary.exists()
