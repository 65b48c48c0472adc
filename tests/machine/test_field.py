"""What goes wrong for people on GPU boxes, on machines that are not here.

Of the sixteen things of the review: environments and probes in `test_probe`, installing in `test_install`, locks in
`test_card_lock` and `tests/faults/test_cards`, what NVML tells in `test_gpus`, CUDA_VISIBLE_DEVICES in `test_visible`.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from engine import protocol as p
from engine.machine import (
    backends,
    card,
    card_choice,
    card_lock,
    compile_cache,
    devices,
    gpu_doctor,
    gpus,
    probe,
    system,
    xla_flags,
)
from engine.machine.card_choice import GpuChoice
from engine.machine.gpus import Gpu
from engine.machine.probe import CudaCards, ProbeResult
from engine.protocol import Fleet
from engine.training.worker import remarks_on
from tests.machine.conftest import Cards
from tests.support.bridge import Bridge

GIB = 2**30
UUID = "GPU-00000000-aaaa"


def test_2_slurm_is_not_asked_for_a_gpu_that_jax_could_not_use(tmp_path: Path):
    if not card_choice.lacks_plugin({}):
        pytest.skip("JAX has a plugin for GPUs here")
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\nexit 1\n")
    srun.chmod(0o755)
    with Bridge(tmp_path / "w", begins=False, JAX_PLATFORMS="", PATH=f"{tmp_path}:{os.environ['PATH']}") as bridge:
        bridge.send(p.SetFleet(fleet=Fleet(slurm="--gres=gpu:1"), on_command_line=True))
        refused = bridge.until_kind(p.Refused)
    assert "make install SVHN_TUI_CUDA=cuda12" in refused.reason


def test_5_a_server_that_shares_the_card_is_nobody(cards: Cards, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(system, "pids_are_the_kernels", lambda: True)
    monkeypatch.setattr(system, "name_of", {7: "nvidia-cuda-mps-server\n", 8: "python\n", 9: None}.get)
    cards({"pids": [7, 8, 9]})
    (gpu,) = gpus.read().gpus
    assert gpus.users(gpu) == (8,), "MPS is there for sharing, and what is gone computes nothing"
    assert gpus.users(gpu, own=[8]) == ()


@pytest.mark.parametrize(
    ("others", "total", "free", "own", "says"),
    [
        ((8,), 80, 1, 0, "process 8 of"),
        ((), 80, 1, 0, ""),
        (None, 80, 1, 70, "others hold 9.0 GiB"),
        (None, 80, 1, 78, ""),
        (None, None, None, 0, ""),
    ],
)
def test_5_who_has_the_memory_is_told_by_pids_or_by_what_is_our_own(
    others: tuple[int, ...] | None, total: int | None, free: int | None, own: int, says: str
):
    gpu = Gpu(UUID, 0, memory_total=total and total * GIB, memory_free=free and free * GIB)
    held = card.holders(gpu, others, own * GIB)
    assert held.startswith(says) and bool(held) is bool(says)


@pytest.mark.parametrize("fails", ["LibraryNotFound", "DriverNotLoaded", "LibRmVersionMismatch", "NotSupported"])
def test_6_nvml_failing_ends_no_worker(cards: Cards, monkeypatch: pytest.MonkeyPatch, fails: str):
    cards(fails=fails)
    monkeypatch.setattr(probe, "look", lambda environment: ProbeResult("gpu", "NVIDIA A100", UUID))
    assert card.claim(UUID, {}) is not None
    assert card.others_on(0) == ""
    with card.watched(60):
        pass
    assert gpus.GpuMonitor().sample() == ()


def test_6_a_card_that_cuda_has_and_nvml_does_not_is_used(cards: Cards, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(system, "has_library", lambda name: True)
    monkeypatch.setattr(probe, "cards", lambda environment: CudaCards(("GPU-b", "GPU-a")))
    assert [gpu.uuid for gpu in card_choice.choose({}).gpus] == ["GPU-b", "GPU-a"]
    assert [gpu.uuid for gpu in card_choice.choose({"CUDA_VISIBLE_DEVICES": "1"}).gpus] == ["GPU-a"]
    asked: list[Mapping[str, str]] = []
    listed = CudaCards(("GPU-b", "GPU-a"), names=("NVIDIA A100", "NVIDIA T4"))
    monkeypatch.setattr(probe, "cards", lambda environment: asked.append(environment) or listed)
    environment = {"LD_LIBRARY_PATH": "/usr/local/nvidia/lib64", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert [gpu.name for gpu in card_choice.choose(environment).gpus] == ["NVIDIA A100", "NVIDIA T4"]
    assert asked == [environment], "the driver may be there alone, and numbers the cards as the user has it"


@pytest.mark.parametrize(("mode", "seats"), [(0, 2), (1, 1), (3, 1)], ids=["default", "thread", "process"])
def test_8_an_exclusive_card_takes_one_process(cards: Cards, mode: int, seats: int):
    cards({"mode": mode}, {"mode": 2}, {"slices": [{"uuid": "MIG-a"}], "mode": mode})
    gpus_seen = devices.machine(card_choice.choose({})).gpus
    assert [(card.label, card.seats) for card in gpus_seen] == [("gpu0", seats), ("gpu2:0", seats)]


def test_the_memory_of_a_card_that_is_in_use_is_what_it_has_once_it_is_free(cards: Cards):
    cards({"free": 1}, {"free": 70}, {"free": 60}, {})
    held = card_lock.acquire("GPU-20000000-aaaa", "a host that ends")
    assert held is not None
    assert [card.memory for card in devices.machine(card_choice.choose({})).gpus] == [
        80 * GIB, 70 * GIB, 80 * GIB, 80 * GIB,
    ]  # fmt: skip
    os.close(held)


def test_what_measures_takes_a_card_that_nobody_uses(cards: Cards, monkeypatch: pytest.MonkeyPatch):
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    cards({"free": 1}, {}, {})
    assert [card.label for card in devices.unused_machine().gpus] == ["gpu1", "gpu2"]
    cards({"free": 1})
    with pytest.raises(RuntimeError, match="All GPUs that may be used are in use"):
        devices.unused_machine()
    cards()
    assert devices.unused_machine().gpus == (), "the cores are measured"


@pytest.mark.parametrize(("asked", "lanes"), [("", 10), ("20", 20), ("0", 1), ("many", 10)])
def test_how_many_seeds_train_side_by_side_can_be_set(
    cards: Cards, monkeypatch: pytest.MonkeyPatch, asked: str, lanes: int
):
    monkeypatch.setenv(devices.LANES_VARIABLE, asked)
    cards({})
    assert devices.machine(card_choice.choose({})).lanes == lanes


@pytest.mark.parametrize(
    ("installed", "says"),
    [(("cuda12",), False), (("cuda13",), False), (("cuda12", "cuda13"), True), ((), False)],
    ids=["cuda12", "cuda13", "both", "neither"],
)
def test_9_both_kinds_of_jax_together_are_told(
    cards: Cards, monkeypatch: pytest.MonkeyPatch, installed: tuple[str, ...], says: bool
):
    plugins = {f"jax_{kind}_plugin" for kind in installed}
    monkeypatch.setattr(probe, "find_spec", lambda name: name in plugins or None)
    cards({})
    choice = GpuChoice(gpus.read().gpus)
    texts = [finding.text for finding in gpu_doctor.examine({}, choice, lambda environment: ProbeResult("gpu"))]
    assert any("break each other" in text for text in texts) is says
    assert bool(card_choice.lacks_plugin({})) is not bool(installed)


def test_10_tensorflow_without_a_gpu_is_told_where_the_worker_has_one():
    seen = ProbeResult("gpu", "NVIDIA B200", UUID, remarks=("One.",))
    assert remarks_on(None, "cpu") == ()
    assert remarks_on(seen, "gpu") == ("One.",)
    assert "TensorFlow sees no GPU here" in remarks_on(seen, "cpu")[1]


def test_11_the_flags_of_a_worker_follow_from_the_driver_and_from_what_is_asked():
    loop, deterministic = xla_flags.LOOP_FLAG, xla_flags.DETERMINISTIC_FLAG
    asked: Mapping[str, str] = {"XLA_FLAGS": "--xla_bogus=1", xla_flags.DETERMINISTIC_VARIABLE: "1"}
    assert xla_flags.flags_for(13000, {}) == loop
    assert xla_flags.flags_for(12040, {}) == ""
    assert xla_flags.flags_for(13000, asked) == f"{loop} {deterministic}"
    assert xla_flags.flags_for(13000, asked, has_hung=True) == deterministic


def test_12_without_a_place_for_the_cache_it_compiles_anew(monkeypatch: pytest.MonkeyPatch):
    def fails(name: str) -> Path:
        raise OSError("Read-only file system")

    monkeypatch.setattr(compile_cache, "cache_folder", fails)
    for name in ("JAX_COMPILATION_CACHE_DIR", "KERAS_BACKEND", "KERAS_HOME"):
        monkeypatch.setenv(name, "")
    monkeypatch.setitem(sys.modules, "tensorflow", sys.modules.get("tensorflow"))
    backends.prepare_jax()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == ""


def test_15_in_a_job_the_cards_of_others_do_not_count(cards: Cards):
    cards({"hidden": True}, {"hidden": True}, {}, {"hidden": True}, {})
    for setting, expected in (("0", ["gpu2"]), ("0,1", ["gpu2", "gpu4"]), (None, ["gpu2", "gpu4"])):
        environment = {} if setting is None else {"CUDA_VISIBLE_DEVICES": setting}
        choice = card_choice.choose(environment)
        assert ([gpu.label for gpu in choice.gpus], choice.problems) == (expected, ())


@pytest.mark.parametrize(
    ("environment", "wanted", "labels"),
    [
        ({}, "", []),
        ({"SLURM_STEP_GPUS": "1"}, "", ["gpu0", "gpu1"]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, "", ["gpu1"]),
        ({}, "0", ["gpu0"]),
    ],
    ids=["no GPU was given", "Slurm gave some", "what was given", "the user insists"],
)
def test_15_without_cgroups_a_job_takes_no_card_that_slurm_did_not_give_it(
    cards: Cards, environment: dict[str, str], wanted: str, labels: list[str]
):
    cards({}, {})
    choice = card_choice.choose({"SLURM_JOB_ID": "7", **environment}, wanted)
    assert [gpu.label for gpu in choice.gpus] == labels
    assert bool(choice.problems) is not bool(labels)
    assert all("Slurm gave this job no GPU" in problem and "--gpus 0" in problem for problem in choice.problems)


def test_15_in_a_job_every_card_is_0_and_the_worker_tells_which_it_is(cards: Cards, monkeypatch: pytest.MonkeyPatch):
    for uuid, pci in (("GPU-a", "0000:1B:00.0"), ("GPU-b", "0000:3E:00.0")):
        cards({"uuid": uuid})
        seen = ProbeResult("gpu", "A100", uuid, pci)
        monkeypatch.setattr(probe, "look", lambda environment, seen=seen: seen)
        environment = {"CUDA_VISIBLE_DEVICES": "0"}
        claimed = card.claim(card.GIVEN, environment)
        assert claimed is not None and (claimed.uuid, claimed.pci) == (uuid, pci)
        assert environment["CUDA_VISIBLE_DEVICES"] == "0", "what Slurm set stays"
