"""What the host, the command line and doctor say of the cards before anything trains."""

import shutil
from functools import partial
from pathlib import Path

import pytest
import typer

from engine import protocol as p
from engine.host.service import Service
from engine.machine import card_choice, gpu_doctor, system
from engine.machine.probe import ProbeResult
from engine.storage.workspace import Workspace
from svhn_tui.cli import arguments, doctor
from tests.machine.conftest import Cards


def notices(tmp_path: Path) -> list[tuple[str, str]]:
    """Return what every client of a new host is told, and how loudly."""
    events = Service(Workspace(tmp_path))._state_events()
    return [(event.severity, event.text) for event in events if isinstance(event, p.Noticed)]


@pytest.fixture(autouse=True)
def without_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "has_library", lambda name: False)
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)


def test_the_host_says_why_a_card_is_not_used(cards: Cards, tmp_path: Path):
    cards(fails="LibRmVersionMismatch")
    assert any(severity == "warning" and "reboot" in text for severity, text in notices(tmp_path))


async def test_the_host_says_it_no_more_once_no_card_of_this_machine_is_wanted(
    cards: Cards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/srun")
    cards(fails="LibRmVersionMismatch")
    service = Service(Workspace(tmp_path / "w"))
    for fleet, is_said in ((p.Fleet(), True), (p.Fleet(gpus="none"), False), (p.Fleet(slurm="-p cpu"), False)):
        await service._commands._set_fleet(p.SetFleet(fleet=fleet, on_command_line=True))
        texts = [event.text for event in service._state_events() if isinstance(event, p.Noticed)]
        assert any("reboot" in text for text in texts) is is_said, fleet


def test_the_host_says_what_of_the_environment_does_not_count(
    cards: Cards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cards({})
    assert notices(tmp_path) == []
    monkeypatch.setenv("XLA_FLAGS", "--xla_bogus=1")
    assert notices(tmp_path) == [("information", card_choice.FLAGS_DROPPED)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "9")
    assert any("CUDA_VISIBLE_DEVICES=9 names no GPU" in text for _, text in notices(tmp_path))


def test_cards_that_are_not_there_are_refused_on_the_command_line(cards: Cards, capsys: pytest.CaptureFixture[str]):
    cards({}, {})
    arguments._check_gpus("0,1")
    arguments._check_gpus("none")
    with pytest.raises(typer.Exit):
        arguments._check_gpus("5")
    assert "There is no GPU '5' to be used; those that may be are: 0, 1." in capsys.readouterr().err


def test_doctor_counts_cards_and_tells_of_each(cards: Cards, monkeypatch: pytest.MonkeyPatch):
    seen = partial(gpu_doctor.examine, look=lambda environment: ProbeResult("gpu"))
    monkeypatch.setattr(gpu_doctor, "examine", seen)
    cards({}, {"lost": True})
    texts = [finding.text for finding in doctor._devices()]
    assert texts[0].startswith("1 GPU, ")
    assert any("JAX computes on it" in text for text in texts) and any(
        "GPU 1 does not answer" in text for text in texts
    )
