"""The texts of model files that this process was given, by SHA-256, and their names in messages; without Keras."""

import hashlib

from engine.core.spec import OwnModel

FILE = "model.py"
"""Name of a model file's copy in a run's folder, and in messages where its own name is not known."""

_sources: dict[str, str] = {}
_names: dict[str, str] = {}


class ModelError(Exception):
    """A model file, or the model that it builds, cannot be used; a line on what is wrong and where, then the calls."""


class TooSlow(BaseException):
    """Building a model takes too long. No `Exception`, which the file itself may catch."""


def learn(source: str, name: str = "") -> None:
    """Register the text of a model file, so that its models can be built, and its name for messages about it."""
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    _sources[sha256], _names[sha256] = source, name or FILE


def source_of(sha256: str) -> str:
    """Return the text of a model file that was registered."""
    return _sources[sha256]


def name_of(asked: OwnModel) -> str:
    """Return the user's name for the file of a model."""
    return _names.get(asked.sha256, FILE)
