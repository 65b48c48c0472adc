"""Made-up machines."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.machine import gpus, nvml_process
from tests.support.fake_nvml import pynvml

Cards = Callable[..., None]


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cards:
    """Return a function that makes up the cards of this machine, each a dict as the fake NVML describes them."""
    monkeypatch.setitem(sys.modules, "pynvml", pynvml)
    monkeypatch.setattr(gpus, "NvmlProcess", nvml_process.Nvml)
    gpus.driver.cache_clear()
    monkeypatch.setenv("SVHN_TUI_LOCKS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FAKE_NVML", '{"fails": "LibraryNotFound"}')
    pynvml.CALLS.clear()

    def make_up(*described: dict[str, object], **machine: object) -> None:
        named = [{"uuid": f"GPU-{index}0000000-aaaa", **card} for index, card in enumerate(described)]
        monkeypatch.setenv("FAKE_NVML", json.dumps({"cards": named, **machine}))

    return make_up
