"""Reads and checks `experiments.json`.

A file is read as text of bounded size and depth, then checked whole; every message names the file, the place inside
it, what is allowed, and the nearest name where one was misspelt.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from engine.core.data_source import DataSource
from engine.core.spec import Network, Value
from engine.machine import os_errors
from svhn_tui import json_text, model_files
from svhn_tui.json_text import located
from svhn_tui.preset_checks import explained, value_problems
from svhn_tui.presets import ModelFile, PresetError, Presets, Question

NAME = "experiments.json"
MISNAMED = {NAME, f"{NAME}.txt"}
"""Names, in small letters, of a file that is meant to be read and is not: some editors hide the `.txt` they add."""
MAX_BYTES = 2**20

PARTS: tuple[tuple[str, type[Value], dict[str, Any] | list[Any]], ...] = (
    ("networks", Network, {}), ("data", DataSource, {}), ("questions", Question, []),
)  # fmt: skip
"""The file's collections: field, type of an entry, and the empty value."""


def find(workspace: Path) -> Path:
    """Return the path of the presets: the workspace's own file, or else the shipped one.

    Whatever stands under the name of the own one, or under nearly that name, is returned: `load` says what is wrong.
    """
    own = workspace / NAME
    if os.path.lexists(own):
        return own
    try:
        if misnamed := sorted(name for name in os.listdir(workspace) if name.lower() in MISNAMED):  # noqa: PTH208
            return workspace / misnamed[0]
    except PermissionError:
        return own
    except OSError:
        pass  # a workspace that is not there yet
    here = Path(__file__).parent
    shipped = here / NAME  # inside the wheel
    return shipped if shipped.is_file() else here.parent / NAME


def load(path: Path) -> Presets:
    """Read and check a presets file.

    Raises:
        PresetError: it cannot be read or is not valid; one sentence says where and what is allowed.
    """
    if path.name != NAME and path.name.lower() in MISNAMED:
        raise PresetError(f"{path} is not read under this name; rename it to {NAME}.")
    try:
        if path.exists() and not path.is_file():  # reading a pipe, for example, would never end
            raise PresetError(f"{path} is not a file; put your {NAME} there, or remove it.")
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PresetError(
            os_errors.sentence_of(error, path) or f"{path}: cannot be read ({error.strerror})."
        ) from error
    if len(text) > MAX_BYTES:
        raise PresetError(f"{path}: larger than {MAX_BYTES // 2**20} MiB; presets are a few kB.")
    return parse(text, str(path))


def parse(text: bytes, name: str) -> Presets:
    """Check the text of a presets file called `name`.

    Raises:
        PresetError: as `load`.
    """
    raw = _raw(text, name)
    sources: dict[str, ModelFile] = {}
    for problem in _untyped(raw, name, sources):
        raise PresetError(located(problem, text, name))
    presets = _typed(raw, sources)
    for problem in value_problems(presets, name):
        raise PresetError(located(problem, text, name))
    return presets


def mistakes(text: bytes, name: str) -> tuple[str, ...]:
    """Return all errors of a presets file that can be detected in one pass; empty if there are none.

    References between entries are checked only if every entry is well formed.
    """
    sources: dict[str, ModelFile] = {}
    try:
        raw = _raw(text, name)
    except PresetError as error:
        return (str(error),)
    problems = tuple(_untyped(raw, name, sources)) or tuple(value_problems(_typed(raw, sources), name))
    return tuple(located(problem, text, name) for problem in problems)


def _raw(text: bytes, name: str) -> Any:
    """Parse the text as JSON.

    Raises:
        PresetError: it is not valid.
    """
    try:
        return json_text.parse(text, name)
    except json_text.NotJSON as error:
        raise PresetError(str(error)) from error


def _typed(raw: Any, sources: dict[str, ModelFile]) -> Presets:
    return msgspec.structs.replace(msgspec.convert(raw, Presets), sources=sources)


def _untyped(raw: Any, name: str, sources: dict[str, ModelFile]) -> Iterator[str]:
    """Yield the errors of form. In `raw`, a network with a model file is replaced by one with the file's SHA-256,
    and the file is added to `sources`."""
    if isinstance(raw, dict) and "sources" in raw:
        yield f"{name}: sources: it follows from the networks; leave it out."
        return
    whole = dict(raw) if isinstance(raw, dict) else raw
    if isinstance(raw, dict):
        for field, kind, none in PARTS:
            given: Any = raw.get(field)
            if type(given) is not type(none):
                continue
            whole[field] = none
            parts: Iterable[tuple[Any, Any]] = given.items() if isinstance(given, dict) else enumerate(given)
            for key, part in tuple(parts):
                try:
                    if kind is Network and isinstance(part, dict):
                        given[key] = part = _network(part, name, key, sources)
                    msgspec.convert(part, kind)
                except PresetError as error:
                    yield str(error)
                except msgspec.ValidationError as error:
                    yield f"{name}: {explained(error, f'{field}[{key!r:.60}]')}"
    try:
        msgspec.convert(whole, Presets)
    except msgspec.ValidationError as error:
        yield f"{name}: {explained(error)}"


def _network(given: dict[str, Any], name: str, label: str, sources: dict[str, ModelFile]) -> dict[str, Any]:
    if "file" in given:
        return _own_network(given, name, label, sources)
    if "model" in given:
        raise PresetError(f"{name}, networks[{label!r}].model: name a model file in `file`.")
    return given


def _own_network(given: dict[str, Any], name: str, label: str, sources: dict[str, ModelFile]) -> dict[str, Any]:
    """Return a network with the model file's SHA-256 in place of its name; the file is added to `sources`."""
    try:
        models = model_files.read(given, Path(name).parent)
    except ValueError as error:
        raise PresetError(f"{name}, networks[{label!r}].{error}") from error
    sources[models.model.sha256] = ModelFile(str(models.path), models.text)
    return {"model": msgspec.to_builtins(models.model)}
