"""Workers on other machines and in Slurm's jobs: a card that is free, or a sentence; never the CPU in silence."""

import os
from argparse import Namespace
from pathlib import Path

import msgspec
import pytest

from engine.machine import card, card_lock, card_signs, probe, system
from engine.machine.card import CardRefused
from engine.machine.probe import CudaCards, ProbeResult
from engine.training import preflight
from engine.training.preflight import Preflight
from engine.training.worker import claim_device
from tests.machine.conftest import Cards


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that lets a worker claim what it is to train on; it tells the card, and what it remarks."""
    token, versions = preflight.issue_token(tmp_path), preflight.versions("fast")
    monkeypatch.setattr(os, "environ", {**os.environ, "JAX_PLATFORMS": ""})
    monkeypatch.setattr(system, "claim_cores", lambda cores: None)
    monkeypatch.setattr(
        probe, "look", lambda environment: ProbeResult("gpu", "A100", environment["CUDA_VISIBLE_DEVICES"])
    )
    os.environ.pop("SVHN_TUI_PLATFORM", None)

    def claim(setting: str | None = None, **wanted: object) -> tuple[str, str]:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        if setting is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = setting
        asked = Preflight(str(tmp_path), token, (), versions, **wanted)
        given = Namespace(preflight=msgspec.json.encode(asked).decode(), name="boxA", cores="", gpu="", host="")
        seen, remarks = claim_device(given, "fast")
        return seen.uuid if seen else "", " ".join(remarks)

    return claim


def test_on_another_machine_a_card_is_taken_that_nobody_computes_on(cards: Cards, worker):
    cards({"free": 1}, {}, {}, {})
    held = card_lock.acquire("GPU-10000000-aaaa", "another host")
    assert held is not None
    assert worker() == ("GPU-20000000-aaaa", "")
    assert worker(index=1, count=2) == ("GPU-30000000-aaaa", "")
    os.close(held)


def test_where_all_are_taken_one_is_waited_for(cards: Cards, worker):
    cards({"free": 1}, {"free": 1})
    with pytest.raises(CardRefused, match="Others use this GPU") as refused:
        worker()
    assert refused.value.status == card.BUSY


def test_a_card_of_another_machine_that_cannot_be_used_is_said_with_its_name(cards: Cards, worker):
    cards(fails="LibRmVersionMismatch")
    uuid, remarks = worker()
    assert not uuid and os.environ["JAX_PLATFORMS"] == "cpu"
    assert remarks.startswith("boxA: NVIDIA's driver and its libraries have different versions")
    assert remarks.endswith("It trains on the CPU there.")
    cards()
    assert worker() == ("", ""), "without a card there is nothing to say"


@pytest.mark.parametrize(
    ("setting", "asks", "has_gpu"),
    [("0", True, True), ("0", False, True), (None, True, True), (None, False, False), ("NoDevFiles", False, False),
     ("", False, False), ("-1", False, False)],
)  # fmt: skip
def test_a_job_that_asked_for_a_gpu_never_falls_back_and_another_is_not_refused(
    cards: Cards, worker, monkeypatch: pytest.MonkeyPatch, setting: str | None, asks: bool, has_gpu: bool
):
    monkeypatch.setattr(probe, "look", lambda environment: ProbeResult("gpu", "A100", "GPU-x"))
    assert worker(setting, is_slurms=True, asks_for_gpu=asks) == ("GPU-x" if has_gpu else "", "")
    monkeypatch.setattr(probe, "look", lambda environment: ProbeResult(reason=probe.CUDA_ERRORS[100]))
    if asks:
        with pytest.raises(CardRefused, match="gives this process no GPU"):
            worker(setting, is_slurms=True, asks_for_gpu=True)


def test_a_job_without_a_gpu_on_a_node_that_has_some_says_that_it_trains_on_the_cpu(
    cards: Cards, worker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(card_signs, "is_there", lambda: True)
    uuid, remarks = worker(None, is_slurms=True)
    assert not uuid and os.environ["JAX_PLATFORMS"] == "cpu"
    assert remarks == ("boxA: Slurm gave this job no GPU: ask for one with --gres=gpu:1. It trains on the CPU there.")
    assert worker("0", is_slurms=True)[1] == ""


def test_without_nvml_the_driver_says_whether_a_loop_may_be_a_graph(
    cards: Cards, worker, monkeypatch: pytest.MonkeyPatch
):
    for cuda, flags in ((12080, card.xla_flags.LOOP_FLAG), (12040, "")):
        monkeypatch.setattr(probe, "cards", lambda environment, cuda=cuda: CudaCards(("GPU-x",), cuda))
        worker("0", is_slurms=True)
        assert os.environ["XLA_FLAGS"] == flags
    card.note_hang("")
    monkeypatch.setattr(probe, "cards", lambda environment: CudaCards(("GPU-x",), 12080))
    worker("0", is_slurms=True)
    assert os.environ["XLA_FLAGS"] == "", "a hang is remembered though the driver has no name"
