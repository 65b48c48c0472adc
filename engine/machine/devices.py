"""A look at the machine: how much there is to train on, and how busy it is."""

import os
from collections.abc import Collection

import psutil

from engine.core.device_sample import DeviceSample
from engine.core.machine import Card, Machine
from engine.machine import card_choice, gpus
from engine.machine.card_choice import GpuChoice
from engine.machine.gpus import Gpu
from engine.machine.system import usable_cores

GROUPS_ON_A_CARD = 1 if os.environ.get("SVHN_TUI_GROUPS_ON_A_CARD") == "1" else 2
"""Each in a process of its own, so that a card computes while the other group compiles or is written."""
LANES_VARIABLE = "SVHN_TUI_LANES"
"""Seeds that a card trains side by side at most, where `make gpu` found that another number than 10 is faster."""


def machine(choice: GpuChoice | None = None) -> Machine:
    """Return what this process may train on.

    Args:
        choice: of the GPUs; looked for where none is given.
    """
    gpus = choose_gpus() if choice is None else choice
    here = Machine(usable_cores(), psutil.virtual_memory().total, tuple(map(_card, gpus.gpus)))
    lanes = os.environ.get(LANES_VARIABLE, "")
    return here._replace(lanes=max(1, int(lanes))) if lanes.isdecimal() else here


def choose_gpus(wanted: str = "") -> GpuChoice:
    """Return the GPUs that this process may give to workers: all, or those that the user wants."""
    return card_choice.choose(os.environ, wanted)


def sample(watched: Collection[str] = (), own: Collection[int] = ()) -> tuple[DeviceSample, ...]:
    """Look at the GPUs if there are any, and at the CPU. NVML is held open from the first look until `rest`.

    Args:
        watched: UUIDs of the GPUs that may be used; of all where none is named.
        own: processes of ours, beside which a card is nobody else's.
    """
    memory = psutil.virtual_memory()
    cpu = DeviceSample("cpu", psutil.cpu_percent() / 100, int(memory.total - memory.available), int(memory.total))
    return (*_gpus.sample(watched, own), cpu)


def rest() -> None:
    """Let the GPUs sleep while nobody looks."""
    _gpus.close()


_gpus = gpus.GpuMonitor()
"""NVML is open once a process, or not."""


def _card(gpu: Gpu) -> Card:
    return Card(gpu.uuid, gpu.label, gpu.name, gpu.memory_free, 1 if gpu.is_exclusive else GROUPS_ON_A_CARD)
