"""What all tests share: JAX as in a worker, private folders, and a way to wait for events."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.training.worker import prepare_jax

prepare_jax()
os.environ["TEXTUAL_COLOR_SYSTEM"] = "truecolor"  # pages without a terminal are drawn as in a good one
os.environ["JAX_PLATFORMS"] = "cpu"  # the suite's figures are those of CPUs; GPUs are simulated where they matter
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of a thousand processes compiles the program anew
sys.dont_write_bytecode = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests come first, so that several processes end together; what many need is `made_once` for all of them."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def private_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sockets and workspaces of a test are its own; the compile cache is shared by all of them."""
    runtime = tmp_path_factory.mktemp("run")
    runtime.chmod(0o700)
    if len(str(runtime)) < 70:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.delenv("SVHN_TUI_WORKSPACE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(runtime))
    yield


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in the assignment's layout: what an epoch costs is then what the program does around it."""
    from engine.data import demo

    folder = tmp_path_factory.mktemp("demo")
    demo.write(folder, train=250, test=100)
    return folder
