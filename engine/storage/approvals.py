"""Which model files may run: the user's own word, kept among the user's settings and never in a workspace.

A file is approved by its SHA-256. One of the user's own, beside the `experiments.json` in use, is approved by its path
too: what the user then writes into it needs no second word.
"""

import hashlib
import os
from pathlib import Path

import msgspec

from engine.machine import ownership
from engine.machine.files import make_folder, write_atomically
from engine.machine.user_folders import config_folder
from engine.protocol import UNREADABLE

NAME = "model-files.json"


class Approved(msgspec.Struct, frozen=True):
    """What the user approved."""

    sha256: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


def is_approved(sha256: str, path: Path | None = None) -> bool:
    """Say whether a model file may run; `path` is where the user's own stands."""
    known = _read()
    return sha256 in known.sha256 or (path is not None and str(path.resolve()) in known.paths and _is_ours(path))


def approve(text: str, path: Path | None = None) -> None:
    """Keep the user's word that a model file may run.

    Raises:
        OSError: it cannot be written.
    """
    known, sha256 = _read(), hashlib.sha256(text.encode()).hexdigest()
    own = (str(path.resolve()),) if path is not None else ()
    wanted = Approved(tuple(dict.fromkeys((*known.sha256, sha256))), tuple(dict.fromkeys((*known.paths, *own))))
    if wanted != known:
        make_folder(config_folder())
        write_atomically(config_folder() / NAME, msgspec.json.encode(wanted) + b"\n")


def refusal(sha256: str) -> str:
    """Say why a model file does not run, and what to do; empty when it may."""
    if is_approved(sha256):
        return ""
    return f"Its model file came from elsewhere and was not approved; look at it with: svhn-tui trust {sha256[:12]}"


def _is_ours(path: Path) -> bool:
    """Say whether the user alone can write a file; what others write into it is not the user's word."""
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_uid == os.geteuid() and not status.st_mode & ownership.OTHERS_WRITE


def _read() -> Approved:
    """Read what was approved; a file that is not the user's alone, or damaged, approves nothing."""
    try:
        with os.fdopen(ownership.open_ours(config_folder() / NAME, os.O_RDONLY), "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                return Approved()
            return msgspec.json.decode(file.read(), type=Approved)
    except (OSError, *UNREADABLE):
        return Approved()
