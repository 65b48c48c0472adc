"""Which cards a host trains on: what there is, what the environment allows, what the user chose, and why no more."""

from collections.abc import Mapping

import pytest

from engine.machine import card_choice, gpus, probe
from engine.machine.card_choice import GpuChoice, among
from tests.machine.conftest import Cards


def chosen(environment: Mapping[str, str], wanted: str = "") -> tuple[list[str], str]:
    """Return the labels of the chosen cards, and why there are no more."""
    choice = among(gpus.read(), environment, wanted, lambda environment: ["GPU-10000000-aaaa", "GPU-00000000-aaaa"])
    return [gpu.label for gpu in choice.gpus], " ".join(choice.problems)


def test_no_card_is_no_problem(cards: Cards):
    assert among(gpus.read(), {}) == GpuChoice()


def test_a_driver_that_does_not_answer_is_told(cards: Cards):
    cards(fails="LibRmVersionMismatch")
    assert "reboot" in chosen({})[1]


def test_all_cards_are_taken_unless_the_environment_or_the_user_say_otherwise(cards: Cards):
    cards(*[{}] * 8)
    assert len(chosen({})[0]) == 8
    assert chosen({"CUDA_VISIBLE_DEVICES": "5"}) == (["gpu5"], "")
    assert chosen({"CUDA_VISIBLE_DEVICES": "5,6"}, "6") == (["gpu6"], "")
    assert chosen({}, "1,3") == (["gpu1", "gpu3"], "")
    assert chosen({}, "none") == ([], "")
    assert chosen({"CUDA_VISIBLE_DEVICES": "5"}, "1") == (
        [], "There is no GPU '1' to be used; those that may be are: 5."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES="),
        ({"CUDA_VISIBLE_DEVICES": "9"}, "CUDA_VISIBLE_DEVICES=9"),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, "Slurm gave this job no GPU: ask for one with --gres=gpu:1."),
        ({"JAX_PLATFORMS": "cpu"}, "JAX_PLATFORMS=cpu"),
    ],
)
def test_an_environment_that_hides_every_card_is_obeyed_and_told(cards: Cards, environment: dict[str, str], says: str):
    cards({}, {})
    labels, problem = chosen(environment)
    assert (labels, says in problem) == ([], True)


def test_a_lost_card_is_told_and_the_others_train(cards: Cards):
    cards({}, {"lost": True}, {"mode": 2}, {})
    labels, problem = chosen({"JAX_PLATFORMS": "cuda,cpu"})
    assert labels == ["gpu0", "gpu3"]
    assert "GPU 1 does not answer" in problem
    assert "nvidia-smi -i 2 -c 0" in problem


def test_unlike_cards_are_numbered_as_cuda_says(cards: Cards):
    cards({"name": "NVIDIA T400"}, {"name": "NVIDIA RTX 4090"})
    assert chosen({"CUDA_VISIBLE_DEVICES": "0"})[0] == ["gpu1"]
    assert chosen({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})[0] == ["gpu0"]


def test_slices_are_cards_of_their_own(cards: Cards):
    cards({"slices": [{"uuid": "MIG-a"}, {"uuid": "MIG-b"}]}, {})
    assert chosen({})[0] == ["gpu0:0", "gpu0:1", "gpu1"]
    assert chosen({}, "0:1")[0] == ["gpu0:1"]


def test_slurm_is_not_asked_for_a_gpu_that_jax_could_not_use(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe, "find_spec", lambda name: None)
    assert "make install SVHN_TUI_CUDA=cuda12" in card_choice.lacks_plugin({})
    assert card_choice.lacks_plugin({"JAX_PLATFORMS": "cpu"}) == "", "it is to train on CPUs"
    monkeypatch.setattr(probe, "find_spec", lambda name: name == "jax_cuda13_plugin" or None)
    assert card_choice.lacks_plugin({}) == ""
