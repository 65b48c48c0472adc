"""What tests of training share."""

import pytest

from engine.training.native import build
from engine.training.native.library import Library


@pytest.fixture(scope="session")
def library() -> Library:
    """The native trainer as it was built for this machine."""
    built = build.library()
    assert built.path is not None, built.problem
    return Library(built.path)
