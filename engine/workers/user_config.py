"""Stores where a workspace's runs are trained: in the user's settings, never in the workspace.

A workspace may come from anybody, so its own files never decide which machines or commands are used.
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
    """The content of a settings file: a workspace's folder, and where it trains."""

    workspace: str
    fleet: Fleet


def read_fleet(workspace: Path) -> tuple[Fleet, str]:
    """Return where this workspace trains by the user's settings, and a sentence on what is wrong with them."""
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
    """Store where this workspace trains; the default is stored by removing the file.

    Raises:
        OSError: the file cannot be written.
    """
    file = _file(workspace)
    if fleet == Fleet():
        file.unlink(missing_ok=True)
        return
    make_folder(file.parent)
    json_file.write(file, Chosen(str(workspace.resolve()), fleet))


def is_not_used(fleet: Fleet) -> str:
    """Return the sentence for a fleet in a workspace's own file, which older versions stored there."""
    asked = "Slurm" if fleet.slurm is not None else ", ".join(fleet.ssh)[:100]
    return f"The workspace's host.json says to train on {asked}. Only your own settings decide that, so {AGAIN}"


def _file(workspace: Path) -> Path:
    name = hashlib.sha256(os.fsencode(workspace.resolve())).hexdigest()[:16]
    return config_folder() / "fleets" / f"{name}.json"
