"""Where a workspace's runs are trained is the user's choice: stored in the user's settings, never in the workspace.

A workspace may come from anybody; what its own files say is started by nobody.
"""

import hashlib
import os
from pathlib import Path

import msgspec

from engine.machine import json_file, ownership
from engine.machine.files import make_folder
from engine.machine.user_folders import config_folder
from engine.protocol import UNREADABLE, Fleet
from engine.workers import fleet as fleets

AGAIN = "it trains on this machine. Give --slurm or --worker-ssh again, or press W on the screen."


class Chosen(msgspec.Struct, frozen=True):
    """A workspace's folder, and where it trains."""

    workspace: str
    fleet: Fleet


def read_fleet(workspace: Path) -> tuple[Fleet, str]:
    """Return where the user lets this workspace train, and what is wrong with that setting, or nothing."""
    try:
        file = _file(workspace)
    except OSError:
        return Fleet(), ""  # nothing can be stored without a home
    try:
        chosen = msgspec.json.decode(ownership.read_private(file), type=Chosen)
        if chosen.workspace == str(workspace.resolve()):
            fleets.check(chosen.fleet, on_command_line=True)
            return chosen.fleet, ""
    except FileNotFoundError:
        return Fleet(), ""
    except OSError as error:
        return Fleet(), f"{file} is not used ({error.strerror}): {AGAIN}"
    except (ValueError, *UNREADABLE) as error:
        return Fleet(), f"{file} is not used ({str(error).rstrip('.')}): {AGAIN}"
    return Fleet(), ""


def save_fleet(workspace: Path, fleet: Fleet) -> None:
    """Remember where this workspace trains.

    Raises:
        OSError: that cannot be written.
    """
    file = _file(workspace)
    if fleet == Fleet():
        file.unlink(missing_ok=True)
        return
    make_folder(file.parent)
    json_file.write(file, Chosen(str(workspace.resolve()), fleet))


def is_not_used(fleet: Fleet) -> str:
    """Say that where to train, as a workspace's own file says, counts no longer."""
    asked = "Slurm" if fleet.slurm is not None else ", ".join(fleet.ssh)[:100]
    return f"The workspace's host.json says to train on {asked}. Only your own settings decide that, so {AGAIN}"


def _file(workspace: Path) -> Path:
    name = hashlib.sha256(os.fsencode(workspace.resolve())).hexdigest()[:16]
    return config_folder() / "fleets" / f"{name}.json"
