"""Machines that are not here: slots, environments of workers, and what is said of the rest."""

from typing import Any, NamedTuple

import pytest

from engine.core.data_shape import ASSIGNMENT
from engine.core.spec import Configuration
from engine.machine import card_choice, devices, gpus
from engine.scheduling.placement import slots
from engine.workers import process
from tests.machine.conftest import Cards

SLICED = {"slices": [{"uuid": "MIG-a", "total": 10}, {"uuid": "MIG-b", "total": 10}]}
T400, RTX = {"name": "NVIDIA T400", "capability": [7, 5]}, {"name": "NVIDIA RTX 4090", "capability": [8, 9]}
EIGHT: tuple[dict[str, Any], ...] = ({},) * 8


class Box(NamedTuple):
    """A machine: its cards as the made-up NVML has them, and what its user set."""

    cards: tuple[dict[str, Any], ...]
    expected: str
    """Cards that train, by label."""
    says: str = ""
    setting: str | None = None
    """CUDA_VISIBLE_DEVICES."""
    wanted: str = ""
    """The user's `--gpus`."""
    nvml: dict[str, Any] = {}
    more: dict[str, str] = {}


BOXES = {
    "no card": Box((), ""),
    "no driver": Box((), "", nvml={"fails": "LibraryNotFound"}),
    "driver updated under us": Box((), "", "reboot", nvml={"fails": "LibRmVersionMismatch"}),
    "one": Box(({},), "gpu0"),
    "eight": Box(EIGHT, "gpu0 gpu1 gpu2 gpu3 gpu4 gpu5 gpu6 gpu7"),
    "eight, one by index": Box(EIGHT, "gpu5", setting="5"),
    "eight, in another order": Box(EIGHT, "gpu6 gpu2", setting="6,2"),
    "eight, by UUID": Box(EIGHT, "gpu3", setting="GPU-30000000-aaaa"),
    "eight, by the beginning of one": Box(EIGHT, "gpu4", setting="GPU-4"),
    "eight, none of them": Box(EIGHT, "", "CUDA_VISIBLE_DEVICES= names no GPU", setting=""),
    "eight, cut short": Box(EIGHT, "gpu0", setting="0,-1,2"),
    "eight, one twice": Box(EIGHT, "", "names no GPU", setting="1,1"),
    "eight, beyond the last": Box(EIGHT, "", "names no GPU", setting="8"),
    "eight, two chosen": Box(EIGHT, "gpu1 gpu3", wanted="1,3"),
    "eight, none chosen": Box(EIGHT, "", wanted="none"),
    "eight, chosen outside of what is allowed": Box(EIGHT, "", "no GPU '1' to be used", setting="5", wanted="1"),
    "slices": Box((SLICED, {}), "gpu0:0 gpu0:1 gpu1"),
    "a slice by its name": Box((SLICED, {}), "gpu0:1", setting="MIG-b"),
    "a card that is to be cut and is not": Box(({"slices": []}, {}), "gpu1", "nvidia-smi mig -cgi"),
    "virtual": Box(({"name": "GRID T4-4Q", "lacks": ["temperature", "power", "pids", "mode"]},), "gpu0"),
    "lost": Box(({}, {"lost": True}, {}), "gpu0 gpu2", "GPU 1 does not answer"),
    "prohibited": Box(({"mode": 2}, {}), "gpu1", "nvidia-smi -i 0 -c 0"),
    "two kinds": Box((T400, RTX), "gpu1", setting="0"),
    "two kinds, by address": Box((T400, RTX), "gpu0", setting="0", more={"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
    "kept from them": Box(({},), "", "JAX_PLATFORMS=cpu keeps JAX from the GPU", more={"JAX_PLATFORMS": "cpu"}),
    "falling back allowed": Box(({},), "gpu0", more={"JAX_PLATFORMS": "cuda,cpu"}),
}


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_a_box_trains_on_the_cards_that_it_may_and_says_why_not_on_others(
    cards: Cards, monkeypatch: pytest.MonkeyPatch, box: Box
):
    cards(*box.cards, **box.nvml)
    for name, value in {"XLA_FLAGS": "--xla_bogus=1", "CUDA_VISIBLE_DEVICES": box.setting, **box.more}.items():
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name, raising=False)
    environment = dict(box.more) if box.setting is None else {**box.more, "CUDA_VISIBLE_DEVICES": box.setting}
    monkeypatch.delenv("SVHN_TUI_WORKER", raising=False)
    by_label = {gpu.label: gpu.uuid for gpu in gpus.read().gpus}
    choice = card_choice.among(gpus.read(), environment, box.wanted)
    chosen = slots(Configuration(), devices.machine(choice), ASSIGNMENT)
    names = dict.fromkeys(slot.name.partition("#")[0] for slot in chosen if slot.gpu)
    assert list(names) == box.expected.split()
    assert box.says in " ".join(choice.problems) and bool(choice.problems) is bool(box.says)
    for slot in chosen:
        given = process.command_of(slot).environment
        assert given["CUDA_VISIBLE_DEVICES"] == by_label.get(slot.name.partition("#")[0], "")
        assert given.get("JAX_PLATFORMS", "") == ("" if slot.gpu else "cpu"), "which it asks for once it has its card"
        assert "XLA_FLAGS" not in given, "those of an image reach no training"
