"""Own models for tests: the model file in this folder, and calls of its functions."""

import hashlib
from pathlib import Path

from engine.core.spec import Network, OwnModel, Param

FILE = Path(__file__).parent / "model_file.py"
SOURCE = FILE.read_text()


def own(build: str, **params: Param) -> Network:
    """Return the network that a function of the file builds."""
    sha256 = hashlib.sha256(SOURCE.encode()).hexdigest()
    return Network(model=OwnModel(sha256, build, tuple(sorted(params.items()))))
