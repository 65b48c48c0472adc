"""A worker comes to its card: one at a time, looked at again under the lock, and never to the CPU instead."""

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from engine.core.spec import Network, OwnModel
from engine.machine import card, card_lock, gpus, probe, system
from engine.machine.card import CardRefused
from engine.machine.probe import ProbeResult
from engine.machine.xla_flags import LOOP_FLAG
from tests.machine.conftest import Cards
from tests.support.patience import PATIENCE

UUID = "GPU-00000000-aaaa"
SEEN = ProbeResult("gpu", "NVIDIA H100 80GB HBM3", UUID)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, str]]:
    """What the probe was asked with; it sees the card."""
    environments: list[Mapping[str, str]] = []

    def look(environment: Mapping[str, str]) -> ProbeResult:
        environments.append(dict(environment))
        return SEEN

    monkeypatch.setattr(probe, "look", look)
    return environments


def test_a_worker_on_the_cpu_sees_no_gpu():
    environment = {"CUDA_VISIBLE_DEVICES": "0,1", "JAX_PLATFORMS": "cuda,cpu"}
    assert card.claim(card.NONE, environment) is None
    assert environment == {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}


def test_a_worker_on_a_gpu_sees_that_one_and_asks_for_cuda_alone(cards: Cards, tried: list[Mapping[str, str]]):
    cards({}, {}, cuda=12080)
    environment = {"CUDA_VISIBLE_DEVICES": "0,1", "JAX_PLATFORMS": "cuda,cpu", "XLA_FLAGS": "--xla_dump_to=/x"}
    assert card.claim(UUID, environment) == SEEN
    assert environment["CUDA_VISIBLE_DEVICES"] == UUID
    assert environment["JAX_PLATFORMS"] == "cuda"
    assert environment["XLA_FLAGS"] == LOOP_FLAG, "the user's own flags reach no training"
    assert tried == [environment], "what was probed is what the worker runs with"
    assert card_lock.holder(UUID) == os.getpid()
    for host in ("", "another"):
        with pytest.raises(CardRefused, match="Another svhn-tui") as refused:
            card.claim(UUID, {}, host)
        assert refused.value.status == card.BUSY


def test_with_an_older_driver_or_after_a_hang_the_loop_is_no_graph(cards: Cards, tried: list[Mapping[str, str]]):
    cards({}, cuda=12040)
    environment: dict[str, str] = {}
    card.claim(card.GIVEN, environment)
    assert environment["XLA_FLAGS"] == ""
    cards({}, cuda=13000)
    card.note_hang("580.82.07")
    card.claim(card.GIVEN, environment)
    assert environment["XLA_FLAGS"] == ""
    cards({}, cuda=13000, driver="580.95.05")
    card.claim(card.GIVEN, environment)
    assert environment["XLA_FLAGS"] == LOOP_FLAG, "another driver may not hang"


def test_what_slurm_gives_is_kept(cards: Cards, tried: list[Mapping[str, str]]):
    cards({})
    environment = {"CUDA_VISIBLE_DEVICES": "3"}
    card.claim(card.GIVEN, environment)
    assert environment["CUDA_VISIBLE_DEVICES"] == "3"


def test_a_second_card_that_lies_idle_is_told(cards: Cards, monkeypatch: pytest.MonkeyPatch):
    cards({}, {})
    monkeypatch.setattr(probe, "look", lambda environment: ProbeResult("gpu", "NVIDIA A100", UUID, count=2))
    seen = card.claim(card.GIVEN, {"CUDA_VISIBLE_DEVICES": "0,1"})
    assert seen is not None
    assert seen.remarks == (
        "2 GPUs were given to this worker and one is used: ask for one a worker, as --gres=gpu:1 does.",
    )


def test_a_card_that_others_took_before_the_lock_is_left_to_them(cards: Cards, tried: list[Mapping[str, str]]):
    cards({"free": 1})
    with pytest.raises(CardRefused, match=r"Others use this GPU: only 1.0 of 80 GiB") as refused:
        card.claim(UUID, {})
    assert refused.value.status == card.BUSY
    assert not tried, "and it is not even probed"


def test_who_started_us_may_compute_on_the_card_and_nobody_else(
    cards: Cards, tried: list[Mapping[str, str]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(system, "pids_are_the_kernels", lambda: True)
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        cards({"pids": [stranger.pid, os.getppid()]})
        with pytest.raises(CardRefused, match=f"process {stranger.pid} of .* computes on it"):
            card.claim(UUID, {})
    finally:
        stranger.kill()
        stranger.wait()
    cards({"uuid": "GPU-b", "pids": [os.getppid()]})
    assert card.claim("GPU-b", {}) == SEEN, "a notebook's kernel is no other"


def test_a_card_without_nvml_is_tried_all_the_same(cards: Cards, tried: list[Mapping[str, str]]):
    assert card.claim(UUID, {}) == SEEN


def test_where_nvml_hangs_the_driver_is_asked_by_the_probe_alone(
    cards: Cards, tried: list[Mapping[str, str]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gpus, "read", lambda: gpus.Inventory(problem=gpus.HANGS))
    monkeypatch.setattr(probe, "cards", lambda environment: pytest.fail("asked twice"))
    environment: dict[str, str] = {}
    assert card.claim(UUID, environment) == SEEN
    assert environment["XLA_FLAGS"] == "", "whether a loop may be a graph is not known"


def test_a_prohibited_card_is_refused(cards: Cards, tried: list[Mapping[str, str]]):
    cards({"mode": 2})
    with pytest.raises(CardRefused, match="no computing") as refused:
        card.claim(UUID, {})
    assert refused.value.status == card.UNUSABLE


def test_a_card_on_which_the_probe_hangs_is_tried_once_more(cards: Cards, monkeypatch: pytest.MonkeyPatch):
    cards({})
    monkeypatch.setattr(probe, "look", lambda environment: ProbeResult(reason=probe.HANGS))
    with pytest.raises(CardRefused, match="did not answer on it within 120 s") as refused:
        card.claim(UUID, {})
    assert refused.value.status == card.SICK, "after two it is set aside"


@pytest.mark.parametrize(("code", "status"), [(803, card.UNUSABLE), (2, card.BUSY), (46, card.BUSY)])
def test_a_card_that_jax_does_not_see_is_refused_with_the_reason(
    cards: Cards, monkeypatch: pytest.MonkeyPatch, code: int, status: int
):
    cards({})
    monkeypatch.setattr(probe, "look", lambda environment: ProbeResult(reason=probe.cuda_reason(code)))
    with pytest.raises(CardRefused) as refused:
        card.claim(UUID, {})
    assert (refused.value.status, str(refused.value)) == (status, probe.CUDA_ERRORS[code])


def test_other_libraries_need_another_start_that_keeps_the_lock(cards: Cards, monkeypatch: pytest.MonkeyPatch):
    cards({})
    seen = ProbeResult("gpu", "Tesla T4", UUID, environment=(("LD_LIBRARY_PATH", "/mpi"),))
    monkeypatch.setattr(probe, "look", lambda environment: seen)
    started: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda program, words, environment: started.append(dict(environment)))
    card.claim(UUID, {"LD_LIBRARY_PATH": "/cuda:/mpi"})
    (environment,) = started
    assert environment["LD_LIBRARY_PATH"] == "/mpi"
    monkeypatch.setattr(probe, "look", lambda environment: pytest.fail("asked twice"))
    again = card.claim(UUID, environment)
    assert again is not None
    assert again.uuid == UUID, "the second start takes what the first one saw"
    assert card_lock.holder(UUID) == os.getpid()


def test_an_own_model_whose_epochs_are_long_does_not_count_as_one_that_hangs():
    own = Network(model=OwnModel("a" * 64, "build"))
    assert card.first_epoch_seconds(Network((1024,), "relu")) == 300
    assert card.first_epoch_seconds(own) == 3600


HANGS = """
import os, sys, time
from tests.support.fake_nvml import pynvml
sys.modules["pynvml"] = pynvml
from engine.machine import card, gpus, nvml_process
gpus.NvmlProcess = nvml_process.Nvml
with card.watched(0.2):
    time.sleep(600)
"""


def test_a_first_epoch_that_hangs_ends_the_worker_and_the_next_launches_step_by_step(cards: Cards):
    cards({}, driver="560.1")
    environment = {**os.environ, "XLA_FLAGS": LOOP_FLAG}
    done = subprocess.run([sys.executable, "-c", HANGS], env=environment, timeout=PATIENCE, check=False)
    assert done.returncode == card.HUNG
    assert card.has_hung("560.1")
    with card.watched(0.0):
        pass  # what is no graph is not watched
