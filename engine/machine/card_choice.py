"""Which GPUs a host trains on: those of the machine that the environment allows and the user chose."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from engine.machine import card_signs, child_process, gpus, probe, system, visible
from engine.machine.gpus import Gpu, Inventory

FLAGS_DROPPED = "XLA_FLAGS is set and not used: what is trained follows from what is asked alone."


SLURMS_NONE = "NoDevFiles"
"""CUDA_VISIBLE_DEVICES in a job to which Slurm gave no GPU; newer versions of Slurm leave the variable out."""
NO_GPU_OF_SLURM = "Slurm gave this job no GPU: ask for one with --gres=gpu:1."


class GpuChoice(msgspec.Struct, frozen=True):
    """The GPUs to train on, and why others are not used."""

    gpus: tuple[Gpu, ...] = ()
    problems: tuple[str, ...] = ()
    """Why GPUs of this machine are not used, a sentence each."""
    remarks: tuple[str, ...] = ()
    """Variables of the environment that are ignored, a sentence each."""


def choose(environment: Mapping[str, str], wanted: str = "") -> GpuChoice:
    """Choose among the GPUs of this machine.

    Args:
        environment: CUDA_VISIBLE_DEVICES and JAX_PLATFORMS in it are always obeyed.
        wanted: the user's choice, as `visible.chosen` reads it.
    """
    if _is_none(wanted):
        return GpuChoice()
    inventory = gpus.read()
    inventory = inventory if inventory.gpus else _without_nvml(inventory, environment)
    return among(inventory, environment, wanted, probe.order_of_cards)


def among(
    inventory: Inventory,
    environment: Mapping[str, str],
    wanted: str = "",
    ask_order: Callable[[Mapping[str, str]], Sequence[str]] = lambda environment: (),
) -> GpuChoice:
    """Choose among the GPUs that were read.

    Args:
        inventory: the GPUs, as NVML or the driver lists them.
        environment: as of `choose`.
        wanted: as of `choose`.
        ask_order: returns the UUIDs of the cards as CUDA numbers them; called only where that is not clear.
    """
    if _is_none(wanted):
        return GpuChoice()
    if not inventory.gpus:
        is_problem = inventory.problem and not excludes_gpus(environment)
        return GpuChoice(problems=(inventory.problem,) if is_problem else ())
    if excludes_gpus(environment):
        platforms = environment["JAX_PLATFORMS"]
        return GpuChoice(problems=(f"JAX_PLATFORMS={platforms} keeps JAX from the GPU; unset it to train on it.",))
    setting = environment.get("CUDA_VISIBLE_DEVICES")
    order: Sequence[str] = ()
    if visible.depends_on_order(setting, environment.get("CUDA_DEVICE_ORDER", ""), inventory.gpus):
        order = ask_order(environment) or visible.fastest_first(inventory.gpus)
    allowed = visible.visible(setting, inventory.gpus, order)
    if setting == SLURMS_NONE:
        return GpuChoice(problems=(NO_GPU_OF_SLURM,))
    if setting is None and _is_job_without_gpu(environment) and not wanted.strip():
        return GpuChoice(problems=(f"{NO_GPU_OF_SLURM} If Slurm does not manage GPUs there, --gpus 0 takes one.",))
    if not allowed:
        return GpuChoice(problems=(f"CUDA_VISIBLE_DEVICES={setting} names no GPU that is here: none is used.",))
    try:
        chosen = visible.chosen(wanted, allowed)
    except ValueError as error:
        return GpuChoice(problems=(str(error),))
    broken = tuple(gpu.problem for gpu in chosen if gpu.problem)
    remarks = (FLAGS_DROPPED,) if environment.get("XLA_FLAGS") else ()
    return GpuChoice(tuple(gpu for gpu in chosen if not gpu.problem), broken, remarks)


def excludes_gpus(environment: Mapping[str, str]) -> bool:
    """Say whether the user set JAX_PLATFORMS to something else."""
    platforms = environment.get("JAX_PLATFORMS", "")
    return bool(platforms) and not {"cuda", "gpu"} & set(platforms.split(","))


def lacks_plugin(environment: Mapping[str, str]) -> str:
    """Return why JAX would not use a GPU of another node; empty where it would, or where the user excludes GPUs."""
    return "" if probe.plugins() or excludes_gpus(environment) else f"A GPU is asked of Slurm. {probe.NO_PLUGIN}"


def _is_job_without_gpu(environment: Mapping[str, str]) -> bool:
    """Say whether this is a job to which Slurm gave no GPU: those that are seen there may be other jobs'."""
    has_gpus = any(name.startswith("SLURM_") and "GPUS" in name for name in environment)
    return "SLURM_JOB_ID" in environment and not has_gpus


def _is_none(wanted: str) -> bool:
    return wanted.strip().lower() == "none"


def _without_nvml(inventory: Inventory, environment: Mapping[str, str]) -> Inventory:
    """List the cards by CUDA's driver where NVML lists none: it may have some, or report why they cannot be used.

    A driver that hangs is not queried a second time.

    Args:
        inventory: what NVML reported.
        environment: LD_LIBRARY_PATH in it may be the only way to the driver, and CUDA_DEVICE_ORDER numbers the cards.
    """
    if inventory.problem == gpus.HANGS:
        return inventory
    if not system.has_library("libcuda.so.1"):
        problem = probe.NO_LIBRARY if not inventory.problem and card_signs.is_there() else inventory.problem
        return Inventory(problem=problem)
    listed = probe.cards(child_process.program_environment(environment))
    if listed.uuids:
        names = (*listed.names, *("",) * len(listed.uuids))
        return Inventory(tuple(Gpu(uuid, index, names[index]) for index, uuid in enumerate(listed.uuids)))
    return Inventory(problem=inventory.problem or (listed.reason if card_signs.is_there() else ""))
