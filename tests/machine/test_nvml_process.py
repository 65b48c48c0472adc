"""NVML is asked by a process of its own: one that hangs delays nobody, and keeps no GPU awake."""

import subprocess
import sys
from pathlib import Path

import pytest

from engine.machine import gpus, system
from engine.machine.gpus import NvmlProcess

WITH_MADE_UP_CARDS = """
import sys
from tests.support.fake_nvml import pynvml
sys.modules["pynvml"] = pynvml
from engine.machine import nvml_process
nvml_process.main()
"""
HANGS = ("sh", "-c", "read line; exec sleep 600")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list["subprocess.Popen[bytes]"]:
    """The processes that were started to ask."""
    processes: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *given, **named) -> None:
            super().__init__(*given, **named)
            processes.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return processes


def test_cards_are_read_again_and_again_by_one_process_that_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list["subprocess.Popen[bytes]"]
):
    described = tmp_path / "cards.json"
    monkeypatch.setenv("FAKE_NVML", str(described))
    nvml = NvmlProcess([sys.executable, "-c", WITH_MADE_UP_CARDS])
    described.write_text('{"cards": [{"uuid": "GPU-a", "pids": [7]}, {"lost": true}], "driver": "570.1"}')
    inventory = nvml.read()
    assert (inventory.driver, [gpu.uuid for gpu in inventory.gpus], inventory.gpus[0].pids) == (
        "570.1",
        ["GPU-a", ""],
        (7,),
    )
    assert (inventory.gpus[0].utilisation, inventory.gpus[0].temperature, inventory.gpus[0].power) == (0.5, 40, 100)
    described.write_text('{"cards": [{"uuid": "GPU-b"}]}')
    assert [gpu.uuid for gpu in nvml.read().gpus] == ["GPU-b"]
    nvml.close()
    nvml.close()
    (process,) = started
    assert process.returncode is not None, "the GPU may sleep"
    described.write_text('{"fails": "LibRmVersionMismatch"}')
    assert "reboot" in nvml.read().problem
    nvml.close()
    assert len(started) == 2


def test_a_driver_that_hangs_is_given_up_and_asked_again(
    monkeypatch: pytest.MonkeyPatch, started: list["subprocess.Popen[bytes]"]
):
    monkeypatch.setattr(gpus, "ANSWER_SECONDS", 0.1)
    nvml = NvmlProcess(HANGS)
    assert nvml.read() == gpus.Inventory(problem=gpus.HANGS)
    assert started[0].returncode is not None
    assert nvml.read().problem == gpus.HANGS
    assert len(started) == 2


def test_beside_one_that_cannot_be_killed_no_other_is_started(
    monkeypatch: pytest.MonkeyPatch, started: list["subprocess.Popen[bytes]"]
):
    monkeypatch.setattr(gpus, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(gpus, "END_SECONDS", 0.1)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: None)
    nvml = NvmlProcess(HANGS)
    try:
        assert [nvml.read().problem for _ in range(3)] == [gpus.HANGS] * 3
        assert len(started) == 1, "a thousand would hang with it"
    finally:
        for process in started:
            process.terminate()
            process.wait()


def test_one_that_is_closed_while_it_hangs_is_remembered(
    monkeypatch: pytest.MonkeyPatch, started: list["subprocess.Popen[bytes]"]
):
    monkeypatch.setattr(gpus, "END_SECONDS", 0.1)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: None)
    nvml = NvmlProcess(HANGS)
    try:
        nvml._process = nvml._started()
        nvml.close()  # as when nobody looks at the devices any more, in the middle of a query
        assert nvml.read().problem == gpus.HANGS
        assert len(started) == 1
    finally:
        for process in started:
            process.terminate()
            process.wait()


def test_a_process_that_ends_is_told_and_started_again(started: list["subprocess.Popen[bytes]"]):
    nvml = NvmlProcess(["false"])
    for _ in range(2):
        assert "could not be asked (" in nvml.read().problem
    assert len(started) == 2


def test_without_nvidias_library_nothing_is_started(
    monkeypatch: pytest.MonkeyPatch, started: list["subprocess.Popen[bytes]"]
):
    monkeypatch.setattr(system, "has_library", lambda name: False)
    assert gpus.read() == gpus.Inventory()
    assert not started


def test_a_library_that_prints_spoils_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAKE_NVML", '{"cards": [{"uuid": "GPU-a"}]}')
    loud = WITH_MADE_UP_CARDS.replace(
        "nvml_process.main()", "pynvml.nvmlInit = lambda: print('{}')\nnvml_process.main()"
    )
    nvml = NvmlProcess([sys.executable, "-c", loud])
    try:
        assert [gpu.uuid for gpu in nvml.read().gpus] == ["GPU-a"]
    finally:
        nvml.close()
