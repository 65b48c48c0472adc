"""What takes long to make is made once, by the first of the tests' processes that wants it."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that `make` filled, in this process or in another one of the same run of pytest-xdist."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        folder = factory.mktemp(name)
        make(folder)
        return folder
    folder = factory.getbasetemp().parent / name
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            partial = folder.parent / f"{name} partial {os.environ['PYTEST_XDIST_WORKER']}"
            partial.mkdir()
            make(partial)
            partial.rename(folder)
    return folder
