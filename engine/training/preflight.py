"""What a worker on another machine checks before it trains anything: that it sees the same files and computes the same.

The host issues a token into the workspace; a machine that does not find it there sees another folder of that name.
"""

import importlib.metadata
import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine.core.spec import NUMERICS_VERSION
from engine.machine.files import write_atomically

TOKEN = "host.token"
"""Of the host that runs now, in the workspace."""
LIBRARIES = {"fast": ("keras", "jax", "numpy"), "keras-fit": ("keras", "tensorflow", "numpy")}
"""What has to be the same everywhere, by trainer, for equal runs to be equal and files to be those asked for."""


class Preflight(msgspec.Struct, frozen=True):
    """What a worker is to find on its machine."""

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
    """Slurm says which GPU it has."""
    asks_for_gpu: bool = False
    """Slurm was asked for one."""


def issue_token(workspace: Path) -> str:
    """Write a new token into the workspace and return it.

    Raises:
        OSError: it could not be written.
    """
    token = secrets.token_hex(8)
    write_atomically(workspace / TOKEN, token.encode())
    return token


def versions(trainer: str) -> dict[str, str]:
    """Return what has to be the same on every machine that a trainer of this kind trains on."""
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
    if not _has_token(preflight) or not _all_there(preflight.files):
        hidden = next((path for path in preflight.files if not _all_there([path])), preflight.workspace)
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

    A single worker is given no GPU: JAX uses the first that it sees.
    """
    if count == 1 or gpus:
        return cores, index % gpus if count > 1 else None
    return cores[index * len(cores) // count : (index + 1) * len(cores) // count] or cores, None


def _has_token(preflight: Preflight) -> bool:
    try:
        return (Path(preflight.workspace) / TOKEN).read_text() == preflight.token
    except (OSError, UnicodeDecodeError):
        return False


def _all_there(files: Sequence[str]) -> bool:
    return all(Path(path).is_file() for path in files)
