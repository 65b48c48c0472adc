"""The program with a `sitecustomize` of a test's own in each of its processes."""

import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def customise(monkeypatch: pytest.MonkeyPatch, folder: Path, hook: str) -> None:
    """Run this code at the start of every Python that the test starts, and of those that these start.

    The program is found in the same folder, so that its children search there too: of PYTHONPATH they keep no more.
    """
    folder.mkdir()
    for name in ("engine", "svhn_tui", "tests", "experiments.json"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "sitecustomize.py").write_text(textwrap.dedent(hook))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.chdir(folder)  # before any other that holds the program
