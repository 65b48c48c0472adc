"""The devices of this machine: what may be used for training, and the load of the cores."""

import os

import msgspec
import psutil

from engine.core.device_sample import DeviceSample
from engine.core.machine import Card, Machine
from engine.machine import card, card_choice
from engine.machine.card_choice import GpuChoice
from engine.machine.gpus import Gpu
from engine.machine.system import usable_cores, usable_memory

GROUPS_ON_A_CARD = 1 if os.environ.get("SVHN_TUI_GROUPS_ON_A_CARD") == "1" else 2
"""Groups that share a GPU, each in a process of its own: one trains while the other compiles or writes its files."""
LANES_VARIABLE = "SVHN_TUI_LANES"
"""Number of seeds that a card trains side by side at most, where `make gpu` showed another one than 10 to be faster."""


def machine(choice: GpuChoice | None = None) -> Machine:
    """Return what this process may train on.

    Args:
        choice: the GPUs; None chooses among those of this machine.
    """
    gpus = choose_gpus() if choice is None else choice
    here = Machine(usable_cores(), usable_memory(), tuple(map(_card, gpus.gpus)))
    lanes = os.environ.get(LANES_VARIABLE, "")
    return here._replace(lanes=max(1, int(lanes))) if lanes.isdecimal() else here


def unused_machine() -> Machine:
    """Return what this process may train on, of the GPUs those alone that nobody uses.

    Raises:
        RuntimeError: all GPUs are in use.
    """
    choice = choose_gpus()
    unused = tuple(gpu for gpu in choice.gpus if not card.is_in_use(gpu))
    if choice.gpus and not unused:
        raise RuntimeError(
            "All GPUs that may be used are in use: try again later, or measure the cores, with CUDA_VISIBLE_DEVICES= "
            "before the command."
        )
    return machine(msgspec.structs.replace(choice, gpus=unused))


def choose_gpus(wanted: str = "") -> GpuChoice:
    """Return the GPUs that this process may give to workers: all, or those that the user wants."""
    return card_choice.choose(os.environ, wanted)


def cpu_sample() -> DeviceSample:
    """Return the load of all cores together since the last call, and the memory in use."""
    memory = psutil.virtual_memory()
    return DeviceSample("cpu", psutil.cpu_percent() / 100, int(memory.total - memory.available), int(memory.total))


def _card(gpu: Gpu) -> Card:
    memory = gpu.memory_total if card.is_in_use(gpu) else gpu.memory_free  # one in use is left alone until it is free
    return Card(gpu.uuid, gpu.label, gpu.name, memory, 1 if gpu.is_exclusive else GROUPS_ON_A_CARD)
