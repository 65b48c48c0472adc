"""What doctor says of the GPUs."""

import os

import pytest

from engine.machine import card_choice, card_lock, gpu_doctor, gpus, system
from engine.machine.probe import NO_PLUGIN, ProbeResult
from tests.machine.conftest import Cards


def examined(environment: dict[str, str], wanted: str = "") -> list[tuple[str, str]]:
    """Return level and text of each finding; of the cards JAX sees the first alone."""

    def look(given):
        sees = given["CUDA_VISIBLE_DEVICES"].startswith("GPU-0")
        return ProbeResult("gpu") if sees else ProbeResult(reason=NO_PLUGIN)

    choice = card_choice.among(gpus.read(), environment, wanted)
    return [(findings.level, findings.text) for findings in gpu_doctor.examine(environment, choice, look)]


def test_without_a_card_there_is_nothing_to_say(cards: Cards):
    assert examined({}) == []


def test_each_card_is_told_as_a_worker_would_find_it(cards: Cards):
    cards({}, {}, {"free": 1}, {"lost": True})
    held = card_lock.acquire("GPU-20000000-aaaa")
    assert held is not None
    assert examined({}) == [
        ("note", "GPU 3 does not answer (GPU is lost); it needs a reset or a reboot"),
        ("fine", "gpu0 NVIDIA H100 80GB HBM3, 80 GiB: JAX computes on it"),
        ("note", f"gpu1 NVIDIA H100 80GB HBM3 is not used: {NO_PLUGIN.rstrip('.')}"),
        ("fine", f"gpu2 NVIDIA H100 80GB HBM3: a worker of svhn-tui trains on it (process {os.getpid()})"),
    ]
    os.close(held)
    assert examined({}, "2") == [
        ("note", "gpu2 NVIDIA H100 80GB HBM3 is left alone: only 1.0 of 80 GiB of its memory are free")
    ]


def test_a_notebook_from_which_it_is_started_may_compute_on_the_card(cards: Cards, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(system, "pids_are_the_kernels", lambda: True)
    cards({"pids": [os.getppid()]})
    assert examined({}) == [("fine", "gpu0 NVIDIA H100 80GB HBM3, 80 GiB: JAX computes on it")], "as for a worker"


def test_flags_of_the_image_are_said_not_to_count(cards: Cards):
    cards({})
    assert examined({"XLA_FLAGS": "--xla_bogus=1"})[0][1].startswith("XLA_FLAGS is set and not used")
    assert card_choice.among(gpus.read(), {"XLA_FLAGS": "--xla_bogus=1"}).remarks == (card_choice.FLAGS_DROPPED,)


def test_hidden_cards_are_told(cards: Cards):
    cards({})
    assert examined({"JAX_PLATFORMS": "cpu"}) == [
        ("note", "JAX_PLATFORMS=cpu keeps JAX from the GPU; unset it to train on it")
    ]


@pytest.mark.parametrize(("error", "name"), [(PermissionError, ""), (ProcessLookupError, None), (None, "")])
def test_a_process_that_proc_hides_from_us_is_there_all_the_same(
    monkeypatch: pytest.MonkeyPatch, error: type[OSError] | None, name: str | None
):
    def kill(pid: int, signal: int) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(os, "kill", kill)
    assert system.name_of(2**22 + 1) == name, "with hidepid, /proc has our own processes alone"


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1], ids=["ours", "nobody"])
def test_processes_have_names_and_owners_or_are_gone(pid: int):
    assert (system.name_of(pid) is None) is (pid != os.getpid())
    assert system.owner_of(pid)
