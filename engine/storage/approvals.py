"""Which model files the user approved: stored among the user's settings, never in a workspace.

A file is approved by its SHA-256: after any change, by the user or with a newer version of a course, it has to be
approved again.
"""

import hashlib

import msgspec

from engine.machine import json_file, ownership
from engine.machine.files import make_folder
from engine.machine.user_folders import config_folder
from engine.protocol import UNREADABLE

NAME = "model-files.json"


class Approved(msgspec.Struct, frozen=True):
    """Hashes of the model files that the user approved."""

    sha256: tuple[str, ...] = ()


def is_approved(sha256: str) -> bool:
    """Say whether a model file may run."""
    return sha256 in _read().sha256


def approve(text: str) -> None:
    """Record that the user approves a model file.

    Raises:
        OSError: it cannot be written.
    """
    known, sha256 = _read(), hashlib.sha256(text.encode()).hexdigest()
    if sha256 not in known.sha256:
        make_folder(config_folder())
        json_file.write(config_folder() / NAME, Approved((*known.sha256, sha256)))


def refusal(sha256: str) -> str:
    """Return why a model file may not run, and what to do; empty where it may."""
    if is_approved(sha256):
        return ""
    return f"Its model file came from elsewhere and was not approved; look at it with: svhn-tui trust {sha256[:12]}"


def _read() -> Approved:
    """Read the approvals; a file that is damaged, or that others can access, approves nothing."""
    try:
        return msgspec.json.decode(ownership.read_private(config_folder() / NAME), type=Approved)
    except (OSError, *UNREADABLE):
        return Approved()
