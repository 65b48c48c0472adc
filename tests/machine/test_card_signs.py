"""A card that is there and cannot be used is told before the CPU trains, whatever NVIDIA's libraries lack."""

from pathlib import Path

import pytest

from engine.machine import card_choice, card_signs, probe, system
from engine.machine.card_choice import GpuChoice
from engine.machine.probe import CUDA_ERRORS, NO_LIBRARY, CudaCards
from tests.machine.conftest import Cards


def machine(root: Path, *devices: tuple[str, str]) -> Path:
    """Make up the PCI devices of a machine, each by maker and class."""
    for number, (vendor, kind) in enumerate(devices):
        folder = root / f"sys/bus/pci/devices/0000:{number:02}:00.0"
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(f"{vendor}\n")
        (folder / "class").write_text(f"{kind}\n")
    return root


@pytest.mark.parametrize(
    ("devices", "is_there"),
    [
        ((), False),
        ((("0x8086", "0x030000"),), False),
        ((("0x10de", "0x040300"),), False),
        ((("0x8086", "0x030000"), ("0x10de", "0x030200")), True),
        ((("0x10de", "0x030000"),), True),
    ],
    ids=["nothing", "another's", "its sound", "a server's", "a desktop's"],
)
def test_the_kernel_knows_a_card_without_nvidias_driver(
    tmp_path: Path, devices: tuple[tuple[str, str], ...], is_there: bool
):
    assert card_signs.is_there(machine(tmp_path, *devices)) is is_there


def test_a_sandbox_that_hides_the_bus_shows_the_drivers_module(tmp_path: Path):
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    assert not card_signs.is_there(tmp_path)
    (tmp_path / "proc/driver/nvidia/version").touch()
    assert card_signs.is_there(tmp_path)


def test_in_windows_a_card_needs_its_driver_to_be_there(tmp_path: Path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/dxg").touch()
    assert not card_signs.is_there(tmp_path), "any maker's card has that"
    (tmp_path / "usr/lib/wsl/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/wsl/lib/libcuda.so.1").touch()
    assert card_signs.is_there(tmp_path)


@pytest.mark.parametrize(
    ("is_there", "listed", "says"),
    [
        (True, None, NO_LIBRARY),
        (False, None, ""),
        (True, CudaCards(reason=CUDA_ERRORS[100]), CUDA_ERRORS[100]),
        (False, CudaCards(reason=CUDA_ERRORS[100]), ""),
        (True, CudaCards(reason=CUDA_ERRORS[802]), CUDA_ERRORS[802]),
        (True, CudaCards(("GPU-a",)), ""),
    ],
    ids=["container without --gpus", "no card", "none was given", "login node", "fabric manager", "NVML alone lacks"],
)
def test_a_card_that_nvml_does_not_list_is_told_with_what_mends_it(
    cards: Cards, monkeypatch: pytest.MonkeyPatch, is_there: bool, listed: CudaCards | None, says: str
):
    monkeypatch.setattr(card_signs, "is_there", lambda: is_there)
    monkeypatch.setattr(system, "has_library", lambda name: listed is not None)
    monkeypatch.setattr(probe, "cards", lambda environment: listed)
    choice = card_choice.choose({})
    assert choice.problems == ((says,) if says else ())
    assert [gpu.uuid for gpu in choice.gpus] == list(listed.uuids if listed else ())
    assert card_choice.choose({}, "none") == GpuChoice(), "nothing is said where none is wanted"
    assert says not in card_choice.choose({"JAX_PLATFORMS": "cpu"}).problems


def test_a_driver_that_works_counts_though_nvml_was_updated_under_it(cards: Cards, monkeypatch: pytest.MonkeyPatch):
    cards(fails="LibRmVersionMismatch")
    monkeypatch.setattr(system, "has_library", lambda name: True)
    monkeypatch.setattr(probe, "cards", lambda environment: CudaCards(("GPU-a",)))
    assert [gpu.uuid for gpu in card_choice.choose({}).gpus] == ["GPU-a"]
    monkeypatch.setattr(probe, "cards", lambda environment: CudaCards(reason=CUDA_ERRORS[803]))
    assert "reboot" in card_choice.choose({}).problems[0]
