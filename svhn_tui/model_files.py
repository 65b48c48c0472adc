"""Model files that `experiments.json` names: they are read as text and hashed, never run. Pure except for reading."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine.core.limits import MAX_SOURCE_BYTES
from engine.core.spec import Network, OwnModel, Param


class ReadModel(NamedTuple):
    """A model, and the file that defines it."""

    model: OwnModel
    path: Path
    text: str


def read(given: Mapping[str, Any], folder: Path) -> ReadModel:
    """Read a network of `experiments.json` that names a model file in this folder.

    Raises:
        ValueError: it is invalid; the message begins with the field's name.
    """
    if unknown := sorted(given.keys() - {"file", "build", "params"}):
        raise ValueError(f"{unknown[0][:40]}: a network with a model file has `file`, `build` and `params` alone.")
    name, build, params = given.get("file"), given.get("build"), given.get("params", {})
    if not isinstance(name, str) or not name.endswith(".py") or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError("file: a .py file in the folder of this file, or in one below it.")
    if not isinstance(build, str) or not isinstance(params, dict):
        raise ValueError("build: the name of a function in the file; `params` is an object with its parameters.")
    path = folder / name
    try:
        text = text_of(path)
    except ValueError as error:
        raise ValueError(f"file: {error}") from error
    return ReadModel(OwnModel(hashlib.sha256(text.encode()).hexdigest(), build, _params(params)), path, text)


def text_of(path: Path) -> str:
    """Return the text of a model file.

    Raises:
        ValueError: it cannot be a model file; one sentence says why.
    """
    try:
        if path.exists() and not path.is_file():  # reading a pipe, for example, would never end
            raise ValueError(f"{path} is not a file.")
        with path.open("rb") as file:
            content = file.read(MAX_SOURCE_BYTES + 1)
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}).") from error
    if len(content) > MAX_SOURCE_BYTES:
        raise ValueError(f"{path} is larger than {MAX_SOURCE_BYTES // 1024} KiB.")
    return text


def is_text_of(path: Path, text: str) -> bool:
    """Say whether a model file still has the content that was read."""
    try:
        return text_of(path) == text
    except ValueError:
        return False


def varied(network: Network, grid: Mapping[str, Sequence[Any]]) -> tuple[Network, ...]:
    """Return the network with every combination of the parameters `params.NAME` of a grid."""
    if network.model is None or not grid:
        return (network,)
    model, names = network.model, [name.removeprefix("params.") for name in grid]
    models = []
    for values in product(*grid.values()):
        params = _params({**dict(model.params), **dict(zip(names, values, strict=True))})
        models.append(Network(model=msgspec.structs.replace(model, params=params)))
    return tuple(models)


def _params(given: Mapping[str, Any]) -> tuple[tuple[str, Param], ...]:
    """Return parameters in the order of their names.

    Raises:
        ValueError: a value is not a number, text, truth value or list of these.
    """
    try:
        return msgspec.convert(sorted(given.items()), tuple[tuple[str, Param], ...])
    except msgspec.ValidationError as error:
        raise ValueError("params: numbers, text, true, false, null, and lists of these.") from error
