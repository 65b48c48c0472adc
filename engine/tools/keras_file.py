"""A `.keras` file from outside: copied to a private folder and checked there before Keras may load the copy."""

import contextlib
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from engine.core.limits import MAX_MODEL_BYTES
from engine.storage import zip_check
from engine.tools import keras_config, layer_shapes, weights_file
from engine.tools.keras_config import ConfigError
from engine.tools.layer_shapes import Size

MAX_RATIO = 20
"""Keras stores without compression; what unpacks to more than this times the file is a bomb."""
MAX_CONFIG_BYTES = 2**20
MAX_DIRECTORY_BYTES = 2**14
MAX_PARAMETERS = MAX_MODEL_BYTES // 4
"""Most members; more would not fit into the largest file."""
MAX_ACTIVATIONS = 2**24
"""Largest output of a layer for one image, in numbers."""
SAVE_AGAIN = "save the model with model.save('NAME.keras'), or copy that file again"
MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
WEIGHTS = "model.weights.h5"


ConfigCheck = Callable[[dict[str, Any]], Size]
"""Refuses a configuration that may not be loaded with a ConfigError; returns how large its network is."""


class KerasFileError(ValueError):
    """The file cannot be handed in or loaded; the message is one sentence: what, where, what to do."""


class Checked(msgspec.Struct, frozen=True):
    """A `.keras` file that may be loaded."""

    path: Path
    """The private copy that was checked; it is deleted when the block of `checked` ends."""
    bytes: int
    sha256: str
    config: dict[str, Any]
    size: Size
    iterations: int | None
    """Batches that its optimizer counted; None where the file holds no state of it."""


def check(path: Path) -> dict[str, Any]:
    """Check a file without loading it; return its configuration.

    Raises:
        KerasFileError: it is not a `.keras` file, or holds something that is not on the allow-list.
    """
    with checked(path) as model:
        return model.config


def listed(config: dict[str, Any]) -> Size:
    """Check a configuration against the allow-list; return how large its network is.

    Raises:
        ConfigError: something in it is not on the list.
    """
    keras_config.check_config(config, is_layer=True)
    if config.get("class_name") not in keras_config.MODELS:
        raise ConfigError("holds no network; save the model with model.save")
    return layer_shapes.size_of(config)


def unread(config: dict[str, Any]) -> Size:
    """Accept any configuration: of a file that nothing loads."""
    return Size((), 0, 0)


@contextlib.contextmanager
def checked(path: Path, check_config: ConfigCheck = listed) -> Iterator[Checked]:
    """Copy a file to a private folder and check the copy; what is loaded in the block is what was checked.

    Args:
        path: the file.
        check_config: refuses a configuration that may not be loaded with a ConfigError.

    Raises:
        KerasFileError: as `check`, or the machine has no room for the copy.
    """
    with contextlib.ExitStack() as stack:
        try:
            with zip_check.machine_errors(f"cannot be copied to {_temporary()}"):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            copy = folder / "model.keras"
            content = zip_check.copy_private(path, copy, most=MAX_MODEL_BYTES)
            with zip_check.open_zip(copy, ".keras", most=MAX_DIRECTORY_BYTES) as archive:
                model = _looked_through(archive, copy, content, check_config)
        except FileNotFoundError:
            raise KerasFileError(f"{path} is not there.") from None
        except zip_check.MachineError as error:
            raise KerasFileError(f"{path} {error}.") from error
        except zip_check.ArchiveError as error:
            raise KerasFileError(f"{path} {error}; {SAVE_AGAIN}.") from error
        except ValueError as error:
            raise KerasFileError(f"{path} {error}.") from error
        yield model


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return "a temporary folder"


def _looked_through(
    archive: zipfile.ZipFile,
    copy: Path,
    content: zip_check.Content,
    check_config: ConfigCheck,
) -> Checked:
    """Check a file's members, its configuration and its weights.

    Raises:
        MachineError: the machine failed.
        ValueError: it is not loaded; the message says why, after the file's name.
    """
    _check_members(archive, content.bytes)
    config = _json(archive, "config.json")
    _refuse_keras_2(_json(archive, "metadata.json"))
    size = check_config(config)
    if size.weights > MAX_PARAMETERS:
        raise ConfigError(f"describes a network of more than {MAX_PARAMETERS:,} weights; it is not loaded")
    if size.largest > MAX_ACTIVATIONS:
        raise ConfigError(f"has a layer of more than {MAX_ACTIVATIONS:,} numbers an image; it is not loaded")
    held, iterations = _weights(archive)
    if size.weights > held:
        raise ConfigError(f"describes {size.weights:,} weights and holds {held:,}; it is not loaded")
    return Checked(copy, content.bytes, content.sha256, config, size, iterations)


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    names = archive.namelist()
    if len(set(names)) < len(names) or not set(names) >= MEMBERS:
        raise ValueError(f"has not exactly one of {', '.join(sorted(MEMBERS))}; save it with model.save")
    if unknown := sorted(name for name in set(names) - MEMBERS if not name.endswith("/")):
        raise ValueError(f"holds {unknown[0][:60]!r}, which a .keras file of this assignment does not")
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > min(MAX_MODEL_BYTES, MAX_RATIO * size + MAX_CONFIG_BYTES):
        raise ValueError(f"unpacks to {unpacked / 2**20:,.0f} MiB, more than such a file holds")


def _refuse_keras_2(metadata: dict[str, Any]) -> None:
    """Refuse a file that Keras 3 cannot load.

    Raises:
        ValueError: it is of Keras 2.
    """
    written_by = str(metadata.get("keras_version", ""))
    if written_by.startswith("2."):
        raise ValueError(
            f"was saved by Keras {written_by[:20]}, as TensorFlow before 2.16 and tf_keras have it; the grader's "
            "Keras 3 cannot load it: train and save it with Keras 3"
        )


def _json(archive: zipfile.ZipFile, member: str) -> dict[str, Any]:
    if archive.getinfo(member).file_size > MAX_CONFIG_BYTES:
        raise ValueError(f"has a {member} larger than {MAX_CONFIG_BYTES // 2**20} MiB")
    try:
        value = json.loads(archive.read(member))
    except (*zip_check.UNREADABLE, RecursionError) as error:
        _machine_first(error)
        raise ValueError(f"has a {member} that is not readable JSON; save the model again") from error
    if not isinstance(value, dict):
        raise ValueError(f"has a {member} that is not a JSON object; save the model again")
    return value


def _weights(archive: zipfile.ZipFile) -> tuple[int, int | None]:
    """Return how many numbers the layers' arrays hold, and how many batches the optimizer counted."""
    with contextlib.ExitStack() as stack:
        with zip_check.machine_errors(f"cannot be unpacked to {_temporary()}"):
            unpacked = stack.enter_context(tempfile.TemporaryFile(buffering=0))  # not in memory: it may be large
        try:
            _unpack(archive, unpacked)
            return weights_file.numbers_in(unpacked)
        except weights_file.WeightsError as error:
            raise ValueError(f"has a {WEIGHTS} that {error}; it is not loaded") from error
        except (*zip_check.UNREADABLE, KeyError, TypeError) as error:
            _machine_first(error)
            problem = zip_check.first_line(error)
            raise ValueError(f"has a damaged {WEIGHTS} ({problem}); save or copy it again") from error


def _unpack(archive: zipfile.ZipFile, target: BinaryIO) -> None:
    with archive.open(WEIGHTS) as packed:
        while chunk := packed.read(zip_check.CHUNK):
            with zip_check.machine_errors(f"cannot be unpacked to {_temporary()}"):
                zip_check.write_whole(target, chunk)


def _machine_first(error: Exception) -> None:
    """Raise a MachineError for an error that is the machine's.

    Raises:
        MachineError: it is.
    """
    if isinstance(error, zip_check.MachineError):
        raise error
    if zip_check.is_machine_error(error):
        raise zip_check.MachineError(f"cannot be read ({zip_check.reason(error)})") from error
