"""The model files of a workspace, `models/<sha256>.py`: copies from which its runs are built."""

import hashlib
from pathlib import Path

from engine.core.limits import MAX_SOURCE_BYTES
from engine.machine.files import Folder

MODELS = "models"


def store(root: Path, text: str) -> str:
    """Store the text of a model file; return its SHA-256.

    Raises:
        ValueError: it is too long.
        OSError: it cannot be written.
    """
    content = text.encode()
    if len(content) > MAX_SOURCE_BYTES:
        raise ValueError(f"A model file has at most {MAX_SOURCE_BYTES // 1024} KiB.")
    sha256 = hashlib.sha256(content).hexdigest()
    with Folder.at(root, MODELS, make=True) as folder:
        if folder.kind(f"{sha256}.py") != "file":
            folder.write_atomically(f"{sha256}.py", content)
    return sha256


def read(root: Path, sha256: str) -> str:
    """Return the text of a model file.

    Raises:
        OSError: it is not there, cannot be read, or is another one.
    """
    with Folder.at(root, MODELS) as folder:
        content = folder.read(f"{sha256}.py", MAX_SOURCE_BYTES)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise OSError(0, "it is not the file of this name", str(root / MODELS / f"{sha256}.py"))
    return content.decode()


def all_of(root: Path) -> dict[str, str]:
    """Return the text of each model file of a workspace that can be read, by its SHA-256."""
    texts = {}
    try:
        with Folder.at(root, MODELS) as folder:
            names = [name.removesuffix(".py") for name, kind in folder.kinds().items() if kind == "file"]
    except OSError:
        return {}
    for name in names:
        try:
            texts[name] = read(root, name)
        except (OSError, UnicodeDecodeError):
            continue
    return texts
