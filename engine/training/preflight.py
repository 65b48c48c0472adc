"""Checks of a worker on another machine before it trains: that it sees the same files and computes the same numbers.

The host writes a token into the workspace; a machine without it there sees another folder of that name.
"""

import importlib.metadata
import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine.core.spec import NUMERICS_VERSION
from engine.machine.files import write_atomically

TOKEN = "host.token"
"""File in the workspace with the token of the running host."""
LIBRARIES = {"fast": ("keras", "jax", "numpy"), "keras-fit": ("keras", "tensorflow", "numpy")}
"""By trainer, libraries whose versions must be the same on all machines: results and files depend on them."""


class Preflight(msgspec.Struct, frozen=True):
    """What a worker must find on its machine."""

    workspace: str
    token: str
    files: tuple[str, ...]
    """Paths of the data that is in use."""
    versions: dict[str, str]
    index: int = 0
    """Position of this worker among those of the user on the same machine."""
    count: int = 1
    """How many those are: they divide its GPUs, or else its cores."""
    is_slurms: bool = False
    """It is a job in Slurm, which selects its GPU."""
    asks_for_gpu: bool = False
    """The options of `srun` ask for a GPU."""


def issue_token(workspace: Path) -> str:
    """Write a new token into the workspace and return it.

    Raises:
        OSError: it could not be written.
    """
    token = secrets.token_hex(8)
    write_atomically(workspace / TOKEN, token.encode())
    return token


def versions(trainer: str) -> dict[str, str]:
    """Return the versions that have to be the same on all machines with a trainer of this kind."""
    versions = {"svhn-tui's numerics": str(NUMERICS_VERSION)}
    for name in LIBRARIES[trainer]:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "none"
    return versions


def problem(preflight: Preflight, here: dict[str, str]) -> str:
    """Return why this machine cannot train for that workspace, in a sentence; empty when it can.

    Args:
        preflight: what the host asks for.
        here: `versions` of this machine.
    """
    if not _has_token(preflight) or not _exist(preflight.files):
        hidden = next((path for path in preflight.files if not _exist([path])), preflight.workspace)
        hidden = hidden if _has_token(preflight) else preflight.workspace
        return (
            f"It does not see {hidden} as the host does. Workers need folders that both machines share; without "
            "them, open svhn-tui there with --host, or carry runs over with `svhn-tui pack` and `svhn-tui import`."
        )
    others = [f"{name} {here.get(name, 'none')} instead of {wanted}"
              for name, wanted in preflight.versions.items() if here.get(name) != wanted]  # fmt: skip
    return f"It has {', '.join(others)}; install the same svhn-tui there as here." if others else ""


def portion(cores: tuple[int, ...], gpus: int, index: int, count: int) -> tuple[tuple[int, ...], int | None]:
    """Return the cores and the GPU of one of `count` workers of a machine: they divide its GPUs, or else its cores.

    For a single worker the GPU is None: JAX uses the first that it sees.
    """
    if count == 1 or gpus:
        return cores, index % gpus if count > 1 else None
    return cores[index * len(cores) // count : (index + 1) * len(cores) // count] or cores, None


def _has_token(preflight: Preflight) -> bool:
    try:
        return (Path(preflight.workspace) / TOKEN).read_text() == preflight.token
    except (OSError, UnicodeDecodeError):
        return False


def _exist(files: Sequence[str]) -> bool:
    return all(Path(path).is_file() for path in files)
