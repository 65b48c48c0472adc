"""A `.keras` file from outside, read as text against an allow-list before Keras may load it."""

import io
import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import h5py

MAX_FILE_BYTES = 2**28
"""The largest network of the assignment takes 41 MB with its optimizer's state."""
MAX_RATIO = 20
"""Keras stores without compression; what unpacks to more than this times the file is a bomb."""
MAX_CONFIG_BYTES = 2**20
MAX_DEPTH = 64
MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
LAYERS = {
    "InputLayer", "Flatten", "Dense", "Dropout", "BatchNormalization", "Conv2D", "MaxPooling2D", "Permute",
    "Rescaling", "Activation", "Reshape", "Sequential", "Functional",
}  # fmt: skip
MODULES = {
    "keras", "keras.layers", "keras.initializers", "keras.optimizers", "keras.losses", "keras.metrics",
    "keras.regularizers", "keras.constraints", "keras.models", "builtins",
}  # fmt: skip
NEWER_KEYS = {"quantization_config"}
"""Written by Keras after 3.11, which refuses them."""
PLAIN_CLASSES = {"DTypePolicy"}


class KerasFileError(ValueError):
    """The file cannot be handed in or loaded; the message is one sentence: what, where, what to do."""


def check(path: Path) -> dict[str, Any]:
    """Look through a file without loading it; return its configuration.

    Raises:
        KerasFileError: it is no `.keras` file, or holds something that is not on the allow-list.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise KerasFileError(f"{path} is not a regular file.")
        if status.st_size > MAX_FILE_BYTES:
            raise KerasFileError(f"{path} is larger than {MAX_FILE_BYTES // 2**20} MiB.")
        with zipfile.ZipFile(path) as archive:
            return _check_archive(archive, path)
    except FileNotFoundError:
        raise KerasFileError(f"{path} is not there.") from None
    except zipfile.BadZipFile as error:
        raise KerasFileError(f"{path} is no .keras file ({error}); save the model with model.save.") from error
    except OSError as error:
        raise KerasFileError(f"{path} cannot be read: {error.strerror or error}.") from error


def _check_archive(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    names = archive.namelist()
    if len(set(names)) < len(names) or not set(names) >= MEMBERS:
        raise KerasFileError(f"{path} has not exactly one of {', '.join(sorted(MEMBERS))}; save it with model.save.")
    unknown = sorted(name for name in set(names) - MEMBERS if not name.endswith("/"))
    if unknown:
        raise KerasFileError(f"{path} holds {unknown[0][:60]!r}, which a .keras file of this assignment does not.")
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > min(MAX_FILE_BYTES, MAX_RATIO * path.stat().st_size + MAX_CONFIG_BYTES):
        raise KerasFileError(f"{path} unpacks to {unpacked / 2**20:,.0f} MiB, more than such a file holds.")
    config = _json(archive, "config.json", path)
    _json(archive, "metadata.json", path)
    _check_config(config, path)
    try:
        with h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r") as weights:
            _check_links(weights, path)
    except (OSError, zipfile.BadZipFile, RuntimeError) as error:
        raise KerasFileError(f"{path}: model.weights.h5 is damaged ({error}); save or copy it again.") from error
    return config


def _json(archive: zipfile.ZipFile, member: str, path: Path) -> dict[str, Any]:
    if archive.getinfo(member).file_size > MAX_CONFIG_BYTES:
        raise KerasFileError(f"{path}: {member} is larger than {MAX_CONFIG_BYTES // 2**20} MiB.")
    try:
        found = json.loads(archive.read(member))
    except (ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise KerasFileError(f"{path}: {member} is no readable JSON; save the model again.") from error
    if not isinstance(found, dict):
        raise KerasFileError(f"{path}: {member} is no JSON object; save the model again.")
    return found


def _check_config(node: object, path: Path, depth: int = 0) -> None:
    """Refuse every class, module and key that plain dense and convolutional networks do not need."""
    if depth > MAX_DEPTH:
        raise KerasFileError(f"{path}: config.json is nested too deep.")
    if isinstance(node, list):
        for item in node:
            _check_config(item, path, depth + 1)
    if not isinstance(node, dict):
        return
    newer = NEWER_KEYS & node.keys()
    if newer:
        key = min(newer)
        raise KerasFileError(f"{path} has {key!r}: it was saved by a newer Keras; the grader's 3.11 cannot load it.")
    name, module = node.get("class_name"), node.get("module")
    if name is not None:
        if not isinstance(name, str) or module not in MODULES:
            raise KerasFileError(f"{path} names {name!r} of {module!r}, which is not plain Keras; it is not loaded.")
        if module in ("keras", "keras.layers", "keras.models") and name not in LAYERS | PLAIN_CLASSES:
            raise KerasFileError(f"{path} has a {name} layer, which could run code; it is not loaded.")
        if module == "builtins":
            raise KerasFileError(f"{path} names the builtin {name!r}; it is not loaded.")
        if node.get("registered_name") not in (None, name):
            raise KerasFileError(f"{path} registers {name} by another name, as code of its own does; it is not loaded.")
    for value in node.values():
        _check_config(value, path, depth + 1)


def _check_links(group: h5py.Group, path: Path, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise KerasFileError(f"{path}: model.weights.h5 is nested too deep.")
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise KerasFileError(f"{path}: model.weights.h5 links to another place ({name!r}); it is not loaded.")
        item = group[name]
        if isinstance(item, h5py.Group):
            _check_links(item, path, depth + 1)
        elif item.external:
            raise KerasFileError(f"{path}: model.weights.h5 keeps {name!r} in another file; it is not loaded.")
