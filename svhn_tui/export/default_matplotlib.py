"""Matplotlib with its own defaults: neither the current folder's `matplotlibrc` nor the user's changes a figure."""

import contextlib
import os
from collections.abc import Iterator
from types import ModuleType

from engine.machine.child_process import FOLDER
from engine.machine.user_folders import cache_folder


@contextlib.contextmanager
def default_matplotlib() -> Iterator[ModuleType]:
    """Import matplotlib without the current folder's `matplotlibrc`, and draw with its defaults."""
    with contextlib.suppress(OSError):
        os.environ["MPLCONFIGDIR"] = str(cache_folder("matplotlib"))
    with contextlib.chdir(FOLDER):
        import matplotlib
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield matplotlib
