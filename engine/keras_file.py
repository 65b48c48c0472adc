"""A `.keras` file from outside, read as text against an allow-list before Keras may load it."""

import json
import math
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py

from engine import archives, limits
from engine.limits import MAX_MODEL_BYTES

MAX_RATIO = 20
"""Keras stores without compression; what unpacks to more than this times the file is a bomb."""
MAX_CONFIG_BYTES = 2**20
MAX_DIRECTORY_BYTES = 2**14
MAX_DEPTH = 64
MAX_ITEMS = 10_000
"""Groups and arrays of the weights; a network of 64 layers with its optimizer has some hundred."""
MAX_PARAMETERS = MAX_MODEL_BYTES // 4
"""More would not fit into the largest file. Keras makes room for a network before it reads its weights."""
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
        with archives.open_zip(path, ".keras", most=MAX_DIRECTORY_BYTES) as archive:
            if path.stat().st_size > MAX_MODEL_BYTES:
                raise KerasFileError(f"{path} is larger than {MAX_MODEL_BYTES // 2**20} MiB.")
            return _check_archive(archive, path)
    except FileNotFoundError:
        raise KerasFileError(f"{path} is not there.") from None
    except archives.ArchiveError as error:
        raise KerasFileError(f"{path} {error}; save the model with model.save.") from error
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
    if unpacked > min(MAX_MODEL_BYTES, MAX_RATIO * path.stat().st_size + MAX_CONFIG_BYTES):
        raise KerasFileError(f"{path} unpacks to {unpacked / 2**20:,.0f} MiB, more than such a file holds.")
    config = _json(archive, "config.json", path)
    _json(archive, "metadata.json", path)
    _check_config(config, path)
    _check_sizes(config, path)
    try:
        with tempfile.TemporaryFile() as copy:  # not in memory: it may be large, and is not trusted yet
            with archive.open("model.weights.h5") as packed:
                shutil.copyfileobj(packed, copy)
            size = copy.tell()
            with h5py.File(copy, "r") as weights:
                _Weights(path, size).check(weights)
    except (*archives.UNREADABLE, KeyError, TypeError) as error:
        if isinstance(error, KerasFileError):
            raise
        problem = archives.first_line(error)
        raise KerasFileError(f"{path}: model.weights.h5 is damaged ({problem}); save or copy it again.") from error
    return config


def _json(archive: zipfile.ZipFile, member: str, path: Path) -> dict[str, Any]:
    if archive.getinfo(member).file_size > MAX_CONFIG_BYTES:
        raise KerasFileError(f"{path}: {member} is larger than {MAX_CONFIG_BYTES // 2**20} MiB.")
    try:
        found = json.loads(archive.read(member))
    except (*archives.UNREADABLE, RecursionError) as error:
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


def _check_sizes(config: dict[str, Any], path: Path) -> None:
    """Refuse a network that is larger than its file can be: merely making it would take the machine's memory."""
    widths = list(_widths(config))
    total = sum(one * other for one, other in pairwise(widths))
    if any(not 0 < width <= limits.MAX_UNITS * 64 for width in widths) or total > MAX_PARAMETERS:
        raise KerasFileError(f"{path} describes a network of more than {MAX_PARAMETERS:,} weights; it is not loaded.")


def _widths(node: object) -> Iterator[int]:
    """Yield how wide each layer says it is, in order: inputs, units, or filters times what a kernel spans."""
    if isinstance(node, list):
        for item in node:
            yield from _widths(item)
    if not isinstance(node, dict):
        return
    for name in ("batch_shape", "input_shape", "units", "filters"):
        sizes = node.get(name)
        numbers = [size for size in (sizes if isinstance(sizes, list) else [sizes]) if isinstance(size, int)]
        if numbers:
            span = node.get("kernel_size") if name == "filters" else None
            yield math.prod([*numbers, *(side for side in span or () if isinstance(side, int))])
    for value in node.values():
        yield from _widths(value)


class _Weights:
    """What was seen of a weights file, which may be built to be walked forever or to unpack to terabytes."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._room = size
        """Bytes of the file that no array has claimed yet."""
        self._items = 0

    def check(self, group: h5py.Group, depth: int = 0) -> None:
        """Refuse links, arrays in other files, and more arrays than the file has bytes for."""
        if depth > MAX_DEPTH:
            self._refuse("is nested too deep")
        for name in group:
            self._items += 1
            if self._items > MAX_ITEMS:
                self._refuse(f"holds more than {MAX_ITEMS:,} things")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                self._refuse(f"links to another place ({name[:60]!r})")
            item = group[name]
            if isinstance(item, h5py.Group):
                self.check(item, depth + 1)
            elif isinstance(item, h5py.Dataset):
                self._check_array(name, item)

    def _check_array(self, name: str, item: h5py.Dataset) -> None:
        if item.external or item.is_virtual:
            self._refuse(f"keeps {name[:60]!r} in another file")
        self._room -= item.size * item.dtype.itemsize
        if self._room < 0:
            self._refuse(f"declares more than it holds ({name[:60]!r})")

    def _refuse(self, problem: str) -> None:
        raise KerasFileError(f"{self._path}: model.weights.h5 {problem}; it is not loaded.")
